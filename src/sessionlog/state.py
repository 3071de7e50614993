"""The fold from records to the state in which a runtime resumes.

    collect_state(a + b) == collect_state(b, onto=collect_state(a))

Pure: no I/O, no clock. Records are trusted to chain; stores and audits see to that.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from .entries import (
    AssistantItems,
    CacheUnlocked,
    ConfigChanged,
    Extension,
    HookInjectedItems,
    LabelsChanged,
    LlmUsage,
    Locked,
    LogEntry,
    RequestConfig,
    RunOutcome,
    SessionOrigin,
    SessionStart,
    ToolResults,
    TurnEnd,
    UserInput,
)
from .ids import EntryHash, Head
from .items import Item, ToolCall, ToolResult
from .record import HashedEntry


@dataclass(repr=False)
class RestoredState:
    """What a session's log says as of its last folded record."""

    system_prompt: str | None = None
    config: RequestConfig = field(default_factory=RequestConfig)
    history: list[Item] = field(default_factory=list)
    turn_count: int = 0
    locked_prefix_len: int = 0
    last_run_interrupted: bool = False
    head: Head | None = None
    usage_history: list[LlmUsage] = field(default_factory=list)
    extensions: list[Extension] = field(default_factory=list)
    forked_from: SessionOrigin | None = None
    compacted_from: SessionOrigin | None = None
    title: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    extension_domains: Collection[str] | None = None
    """The domains whose extensions are kept; ``None``: all."""

    def __repr__(self) -> str:
        """Show the head and how much there is of everything, and nothing of what was said."""
        origin = self.forked_from or self.compacted_from
        source = "" if origin is None else f", from {origin.session_id!r} at {origin.at_hash!r}"
        return (
            f"RestoredState(head={self.head!r}, {len(self.history)} history items, turn_count={self.turn_count}, "
            f"{len(self.dangling_tool_calls)} dangling tool calls, "
            f"last_run_interrupted={self.last_run_interrupted}{source})"
        )

    @property
    def head_hash(self) -> EntryHash | None:
        """The hash of the last record; ``None`` for an empty log."""
        return None if self.head is None else EntryHash(self.head.hash)

    @property
    def dangling_tool_calls(self) -> list[ToolCall]:
        """The calls in the history that no later result answers, in order: what a crash left open.

        A result answers the oldest open call of its ``call_id``.
        """
        open_calls: dict[str, deque[tuple[int, ToolCall]]] = {}
        for index, item in enumerate(self.history):
            if isinstance(item, ToolCall):
                open_calls.setdefault(item.call_id, deque()).append((index, item))
            elif isinstance(item, ToolResult) and open_calls.get(item.call_id):
                open_calls[item.call_id].popleft()
        left = {index: call for calls in open_calls.values() for index, call in calls}
        return [left[index] for index in sorted(left)]

    def apply(self, record: HashedEntry) -> None:
        """Fold one more record in."""
        self._apply_entry(record.entry)
        self.head = record.head

    def _apply_entry(self, entry: LogEntry) -> None:
        match entry:
            case SessionStart():
                self.system_prompt = entry.system_prompt
                self.config = entry.config
                self.history = list(entry.history)
                self.forked_from = entry.forked_from
                self.compacted_from = entry.compacted_from
                self.title = entry.title
                self.labels = dict(entry.labels)
            case UserInput():
                self.history.append(entry.item)
            case AssistantItems() | ToolResults() | HookInjectedItems():
                self.history.extend(entry.items)
            case TurnEnd():
                self.turn_count = entry.turn_count
            case RunOutcome():
                self.last_run_interrupted = entry.interrupted
            case LlmUsage():
                self.usage_history.append(entry)
            case Extension():
                if self.extension_domains is None or entry.domain in self.extension_domains:
                    self.extensions.append(entry)
            case _:
                self._apply_setting(entry)

    def _apply_setting(self, entry: LogEntry) -> None:
        match entry:
            case Locked():
                self.locked_prefix_len = entry.locked_prefix_len
            case CacheUnlocked():
                self.locked_prefix_len = 0
            case ConfigChanged():
                self.config = entry.config
            case LabelsChanged():
                if entry.title is not msgspec.UNSET:
                    self.title = entry.title
                self.labels = merge_labels(self.labels, entry.labels)
            case _:
                pass  # agent events have a fold of their own; unknown kinds are kept in the log and skipped here


def merge_labels(labels: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return ``labels`` with ``changes`` laid over them; a change of ``None`` takes the label away."""
    merged = {**labels, **changes}
    return {key: value for key, value in merged.items() if value is not None}


def collect_state(records: Iterable[HashedEntry], *, onto: RestoredState | None = None) -> RestoredState:
    """Fold ``records`` from the start of a log, or further ones ``onto`` a state (which is changed and returned)."""
    state = RestoredState() if onto is None else onto
    for record in records:
        state.apply(record)
    return state
