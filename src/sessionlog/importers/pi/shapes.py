"""The shapes of a pi session's lines, as far as they matter here, as frozen structs; parsing is lenient."""

from typing import Any, Final

import msgspec

from ..values import stamp_ms

_ONLY_PI: Final[dict[str, frozenset[str]]] = {
    "compaction": frozenset(("summary",)),
    "branch_summary": frozenset(("fromId",)),
    "model_change": frozenset(("modelId",)),
    "thinking_level_change": frozenset(("thinkingLevel",)),
    "custom": frozenset(("customType",)),
    "custom_message": frozenset(("customType",)),
    "label": frozenset(("targetId",)),
    "session_info": frozenset(("name",)),
}
"""Lines other than messages, by type: the member that each has."""
_ONLY_PI_SAYS: Final[dict[str, frozenset[str]]] = {
    "user": frozenset(("timestamp",)),
    "assistant": frozenset(("stopReason",)),
    "toolResult": frozenset(("toolCallId",)),
    "bashExecution": frozenset(("command",)),
}
"""Messages by role: the member that each has."""


class Block(msgspec.Struct, frozen=True):
    """One content block of a message; which members are set depends on ``type``."""

    type: str
    text: str | None = None
    thinking: str | None = None
    thinking_signature: str | None = msgspec.field(default=None, name="thinkingSignature")
    id: str | None = None
    name: str | None = None
    arguments: Any = None
    data: str | None = None
    mime_type: str | None = msgspec.field(default=None, name="mimeType")


class Usage(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """What a request cost, in tokens; ``input`` are those that no cache served."""

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None


class Said(msgspec.Struct, frozen=True, rename="camel"):
    """The ``message`` of a line; which members are set depends on ``role``."""

    role: str
    content: str | list[Block] | None = None
    model: str | None = None
    usage: Usage | None = None
    stop_reason: str | None = None
    error_message: str | None = None
    tool_call_id: str | None = None
    is_error: bool | None = None
    details: Any = None
    command: str | None = None
    output: str | None = None
    exclude_from_context: bool | None = None

    @property
    def blocks(self) -> list[Block]:
        """The content; a plain string counts as one text block."""
        if isinstance(self.content, str):
            return [Block(type="text", text=self.content)]
        return self.content or []


class Place(msgspec.Struct, frozen=True, rename="camel"):
    """Where a line stands."""

    type: str
    id: str | None = None
    parent_id: str | None = None
    timestamp: str | int | float | None = None


class Line(Place, frozen=True, rename="camel"):
    """A line in full, as far as it is used; of the header too."""

    message: Said | None = None
    content: str | list[Block] | None = None
    summary: str | None = None
    first_kept_entry_id: str | None = None
    first_kept_entry_index: int | None = None
    model_id: str | None = None
    version: int | None = None
    cwd: str | None = None
    parent_session: str | None = None


def parse_line(value: dict[str, Any]) -> Line:
    """Return what is known about the line ``value``; never raises."""
    for shape in (Line, Place):
        try:
            parsed = msgspec.convert(value, shape)
        except msgspec.ValidationError:
            continue
        if isinstance(parsed, Line):
            return parsed
        return Line(**{name: getattr(parsed, name) for name in Place.__struct_fields__})
    kind = value.get("type")
    return Line(type=kind if isinstance(kind, str) else "unknown")


def is_header(value: dict[str, Any]) -> bool:
    """Tell whether this is a session's first line."""
    return value.get("type") == "session" and isinstance(value.get("id"), str) and "timestamp" in value


def is_line(value: dict[str, Any]) -> bool:
    """Tell whether this is a line of a pi session, and of nothing else."""
    if is_header(value):
        return True
    kind, said = value.get("type"), value.get("message")
    if kind == "message" and isinstance(said, dict):
        wanted = _ONLY_PI_SAYS.get(said["role"]) if isinstance(said.get("role"), str) else None
        return wanted is not None and "timestamp" in value and wanted <= said.keys()
    wanted = _ONLY_PI.get(kind) if isinstance(kind, str) else None
    return wanted is not None and value.keys() >= wanted | {"timestamp"}


def line_ms(line: Line) -> int | None:
    """Return the line's time in unix ms."""
    return stamp_ms(line.timestamp)
