"""Transcripts of tools that sessionlog does not import yet, known by what only they have: refused by name, not guessed.

A format that is imported is asked first (:mod:`.recognise`). A signature is a condition on one JSON object: a line of
the file, or the whole of it. It should hold for most lines of a file, as the first may be lost. What is said of the
formats was observed in real files and read from the tools' published sources.
"""

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

WHOLE_BYTES_MAX: Final = 8 * 1024 * 1024
"""A file that is one JSON document over many lines is looked at up to this size."""
PHI_CORE: Final = "a phi-core document"

_COPILOT_TYPE: Final = re.compile(r"(?:session|user|assistant|tool|hook|system|subagent|skill)\.[a-z_]+")
_ROLES: Final = ("system", "developer", "user", "assistant", "tool")


class Signature(NamedTuple):
    """A format by its name, and the condition that only its objects meet. It must hold for any JSON, never raise."""

    name: str
    matches: Callable[[dict[str, Any]], bool]


def foreign_name(value: Any) -> str | None:
    """Return the name of the foreign format that this JSON value is of, a line or a whole file; ``None`` for none."""
    if isinstance(value, list):
        value = value[0] if value else None
    if not isinstance(value, dict):
        return None
    return next((one.name for one in SIGNATURES if one.matches(value)), None)


def foreign_document(data: bytes) -> str | None:
    """Return the name of the foreign format of a whole file that is no JSON lines; ``None`` for none."""
    if data.startswith(b"PK\x03\x04") and (b"_journal/" in data[:4096] or b"header.json" in data):
        return "Inspect"
    try:
        return foreign_name(msgspec.json.decode(data))
    except (ValueError, RecursionError):
        return None


def _qwen(value: dict[str, Any]) -> bool:
    parts = _member(value, "message", "parts")
    return "uuid" in value and (
        isinstance(parts, list) or not value.keys().isdisjoint(("systemPayload", "usageMetadata"))
    )


def _droid(value: dict[str, Any]) -> bool:
    """Its messages are shaped like pi's; the blocks of a message are not."""
    if value.get("type") == "session_start":
        return isinstance(value.get("id"), str)
    content = _member(value, "message", "content")
    types = [_member(block, "type") for block in content] if isinstance(content, list) else []
    return value.get("type") == "message" and ("tool_use" in types or "tool_result" in types)


def _gemini(value: dict[str, Any]) -> bool:
    return (
        {"sessionId", "projectHash"} <= value.keys()
        or "$set" in value
        or (value.get("type") == "gemini" and {"id", "timestamp", "content"} <= value.keys())
    )


def _kimi(value: dict[str, Any]) -> bool:
    kind = value.get("type")
    if kind == "metadata":
        return "protocol_version" in value
    return isinstance(kind, str) and kind.startswith(("context.append_", "turn.prompt", "tools.set_active_tools"))


def _copilot(value: dict[str, Any]) -> bool:
    kind = value.get("type")
    return isinstance(kind, str) and _COPILOT_TYPE.fullmatch(kind) is not None and isinstance(value.get("data"), dict)


def _cursor(value: dict[str, Any]) -> bool:
    """Nothing but a role and a message: no ids and no times."""
    return value.keys() == {"role", "message"} and isinstance(_member(value, "message", "content"), list)


def _opencode(value: dict[str, Any]) -> bool:
    return (
        isinstance(value.get("sessionID"), str)
        or ({"projectID", "directory"} <= value.keys())
        or ({"id", "type", "text"} <= value.keys() and _member(value, "time", "start") is not None)
    )


def _atif(value: dict[str, Any]) -> bool:
    version = value.get("schema_version")
    return isinstance(version, str) and version.startswith("ATIF-")


def _inspect(value: dict[str, Any]) -> bool:
    return "version" in value and _member(value, "eval", "task") is not None


def _phi_core(value: dict[str, Any]) -> bool:
    return {"session_id", "formation", "loops"} <= value.keys()


def _chat_messages(value: dict[str, Any]) -> bool:
    role = value.get("role")
    says = not value.keys().isdisjoint(("content", "tool_calls"))
    return (isinstance(role, str) and role in _ROLES and says and "type" not in value) or (
        isinstance(value.get("conversations"), list)
    )


def _member(value: Any, *names: str) -> Any:
    """Return the member of the member of ``value``; ``None`` where one is missing or no object."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


SIGNATURES: Final = (
    Signature("Qwen Code", _qwen),
    Signature("Factory Droid", _droid),
    Signature("Gemini CLI", _gemini),
    Signature("Kimi Code", _kimi),
    Signature("GitHub Copilot CLI", _copilot),
    Signature("Cursor", _cursor),
    Signature("opencode", _opencode),
    Signature("ATIF", _atif),
    Signature("Inspect", _inspect),
    Signature(PHI_CORE, _phi_core),
    Signature("a list of chat messages", _chat_messages),
)
"""In the order in which they are asked."""
