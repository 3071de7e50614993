"""sessionlog: a hash-chained, append-only session log store for AI agents.

Everything is an append to one chain per session, and a fold over it. Start with :class:`FileStore` and
:func:`create_session`; :func:`restore` resumes, :func:`fork_at` and :func:`compact` derive sessions that name their
source, :func:`audit_session` proves what is there. ``python -m sessionlog`` is the command line (extra ``cli``).
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .audit import Finding, Report, audit_session, audit_store, verify_session, verify_store
    from .chain import LogState, Verdict, build_chain, compute_hash, link, verify_chain
    from .entries import (
        AgentEventEntry,
        AssistantItems,
        CacheUnlocked,
        ConfigChanged,
        Extension,
        HookInjectedItems,
        LabelsChanged,
        LlmUsage,
        Locked,
        LogEntry,
        Outcome,
        RequestConfig,
        RunOutcome,
        SessionOrigin,
        SessionStart,
        ToolResults,
        TurnEnd,
        UnknownEntry,
        UserInput,
        decode_entry,
        encode_entry,
        entry_kind,
    )
    from .errors import (
        CorruptLog,
        Damage,
        EntryNotFound,
        HeadConflict,
        InvalidEntry,
        InvalidSessionId,
        SessionContended,
        SessionExists,
        SessionHeld,
        SessionLocked,
        SessionLogError,
        SessionNotFound,
        StoreFailed,
        UnknownStore,
        WorkerDied,
        WrongEventLoop,
    )
    from .ids import EntryHash, Head, SessionId, new_session_id, now_ms
    from .items import (
        ImagePart,
        Item,
        Message,
        Reasoning,
        RefusalPart,
        TextPart,
        ToolCall,
        ToolResult,
        assistant_message,
        reasoning,
        system_message,
        tool_call,
        tool_result,
        user_message,
    )
    from .receipts import RECEIPT_DOMAIN, RECEIPTS_SESSION, Receipt, Receipts, ReceiptState
    from .record import HashedEntry, Position, parse_record
    from .session import (
        HOLD_LABEL,
        Deletions,
        Domain,
        DomainLog,
        DomainRecord,
        SessionLog,
        SessionStartState,
        compact,
        create_compacted_session,
        create_session,
        create_session_with_id,
        delete,
        fork,
        fork_at,
        open_or_create_session,
        open_session,
        restore,
        settle_deletion,
    )
    from .state import RestoredState, collect_state
    from .store import Store
    from .stores.file import REPAIR_DOMAIN, DamagedPart, Durability, FileStore, Repair
    from .stores.memory import MemoryStore
    from .stores.opening import open_store

__all__ = [
    "HOLD_LABEL",
    "RECEIPTS_SESSION",
    "RECEIPT_DOMAIN",
    "REPAIR_DOMAIN",
    "AgentEventEntry",
    "AssistantItems",
    "CacheUnlocked",
    "ConfigChanged",
    "CorruptLog",
    "Damage",
    "DamagedPart",
    "Deletions",
    "Domain",
    "DomainLog",
    "DomainRecord",
    "Durability",
    "EntryHash",
    "EntryNotFound",
    "Extension",
    "FileStore",
    "Finding",
    "HashedEntry",
    "Head",
    "HeadConflict",
    "HookInjectedItems",
    "ImagePart",
    "InvalidEntry",
    "InvalidSessionId",
    "Item",
    "LabelsChanged",
    "LlmUsage",
    "Locked",
    "LogEntry",
    "LogState",
    "MemoryStore",
    "Message",
    "Outcome",
    "Position",
    "Reasoning",
    "Receipt",
    "ReceiptState",
    "Receipts",
    "RefusalPart",
    "Repair",
    "Report",
    "RequestConfig",
    "RestoredState",
    "RunOutcome",
    "SessionContended",
    "SessionExists",
    "SessionHeld",
    "SessionId",
    "SessionLocked",
    "SessionLog",
    "SessionLogError",
    "SessionNotFound",
    "SessionOrigin",
    "SessionStart",
    "SessionStartState",
    "Store",
    "StoreFailed",
    "TextPart",
    "ToolCall",
    "ToolResult",
    "ToolResults",
    "TurnEnd",
    "UnknownEntry",
    "UnknownStore",
    "UserInput",
    "Verdict",
    "WorkerDied",
    "WrongEventLoop",
    "assistant_message",
    "audit_session",
    "audit_store",
    "build_chain",
    "collect_state",
    "compact",
    "compute_hash",
    "create_compacted_session",
    "create_session",
    "create_session_with_id",
    "decode_entry",
    "delete",
    "encode_entry",
    "entry_kind",
    "fork",
    "fork_at",
    "link",
    "new_session_id",
    "now_ms",
    "open_or_create_session",
    "open_session",
    "open_store",
    "parse_record",
    "reasoning",
    "restore",
    "settle_deletion",
    "system_message",
    "tool_call",
    "tool_result",
    "user_message",
    "verify_chain",
    "verify_session",
    "verify_store",
]

_HOMES = {
    ".audit": (
        "Finding",
        "Report",
        "audit_session",
        "audit_store",
        "verify_session",
        "verify_store",
    ),
    ".chain": (
        "LogState",
        "Verdict",
        "build_chain",
        "compute_hash",
        "link",
        "verify_chain",
    ),
    ".entries": (
        "AgentEventEntry",
        "AssistantItems",
        "CacheUnlocked",
        "ConfigChanged",
        "Extension",
        "HookInjectedItems",
        "LabelsChanged",
        "LlmUsage",
        "Locked",
        "LogEntry",
        "Outcome",
        "RequestConfig",
        "RunOutcome",
        "SessionOrigin",
        "SessionStart",
        "ToolResults",
        "TurnEnd",
        "UnknownEntry",
        "UserInput",
        "decode_entry",
        "encode_entry",
        "entry_kind",
    ),
    ".errors": (
        "CorruptLog",
        "Damage",
        "EntryNotFound",
        "HeadConflict",
        "InvalidEntry",
        "InvalidSessionId",
        "SessionContended",
        "SessionExists",
        "SessionHeld",
        "SessionLocked",
        "SessionLogError",
        "SessionNotFound",
        "StoreFailed",
        "UnknownStore",
        "WorkerDied",
        "WrongEventLoop",
    ),
    ".ids": (
        "EntryHash",
        "Head",
        "SessionId",
        "new_session_id",
        "now_ms",
    ),
    ".items": (
        "ImagePart",
        "Item",
        "Message",
        "Reasoning",
        "RefusalPart",
        "TextPart",
        "ToolCall",
        "ToolResult",
        "assistant_message",
        "reasoning",
        "system_message",
        "tool_call",
        "tool_result",
        "user_message",
    ),
    ".receipts": (
        "RECEIPTS_SESSION",
        "RECEIPT_DOMAIN",
        "Receipt",
        "ReceiptState",
        "Receipts",
    ),
    ".record": (
        "HashedEntry",
        "Position",
        "parse_record",
    ),
    ".session": (
        "HOLD_LABEL",
        "Deletions",
        "Domain",
        "DomainLog",
        "DomainRecord",
        "SessionLog",
        "SessionStartState",
        "compact",
        "create_compacted_session",
        "create_session",
        "create_session_with_id",
        "delete",
        "fork",
        "fork_at",
        "open_or_create_session",
        "open_session",
        "restore",
        "settle_deletion",
    ),
    ".state": (
        "RestoredState",
        "collect_state",
    ),
    ".store": ("Store",),
    ".stores.file": (
        "REPAIR_DOMAIN",
        "DamagedPart",
        "Durability",
        "FileStore",
        "Repair",
    ),
    ".stores.memory": ("MemoryStore",),
    ".stores.opening": ("open_store",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


__version__: str
"""The version of the installed package; ``"0+unknown"`` when it runs from a source tree that is not installed."""


def __getattr__(name: str) -> object:
    """Load a public name on first use (PEP 562), so that a program pays for the parts that it takes."""
    if name == "__version__":
        globals()[name] = _installed_version()
        return globals()[name]
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home, __name__), name)
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__, "__version__"})


def _installed_version() -> str:
    metadata = import_module("importlib.metadata")
    try:
        return str(metadata.version(__name__))
    except metadata.PackageNotFoundError:
        return "0+unknown"
