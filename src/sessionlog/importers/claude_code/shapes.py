"""The shapes of a Claude Code transcript's lines, as far as they matter here, as frozen structs.

There is no official schema, so parsing is lenient in three steps: the whole line; only its place in the conversation
tree, when the rest has another shape; nothing but that there is a line. Whatever a struct has no member for stays in
the line's own JSON, which is what is kept of every line that is no message.
"""

from typing import Any

import msgspec

from ..values import stamp_ms


class Usage(msgspec.Struct, frozen=True, gc=False):
    """What one API message cost, in tokens, as the line has it; ``input_tokens`` are those that no cache served."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None


class ImageSource(msgspec.Struct, frozen=True, gc=False):
    """Where an image's bytes are: ``data`` in base64, or a ``url``."""

    type: str | None = None
    media_type: str | None = None
    data: str | None = None
    url: str | None = None


class Block(msgspec.Struct, frozen=True):
    """One content block of a message; which members are set depends on ``type``."""

    type: str
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    id: str | None = None
    name: str | None = None
    input: Any = None
    tool_use_id: str | None = None
    content: Any = None
    is_error: bool | None = None
    source: ImageSource | None = None


class Said(msgspec.Struct, frozen=True):
    """The ``message`` of a line: what the API was sent or gave back."""

    role: str | None = None
    id: str | None = None
    model: str | None = None
    content: str | list[Block] | None = None
    stop_reason: Any = None
    usage: Usage | None = None


class Place(msgspec.Struct, frozen=True, rename="camel"):
    """Where a line stands: its kind, and its place in the conversation tree where it has a ``uuid``."""

    type: str
    uuid: str | None = None
    parent_uuid: str | None = None
    logical_parent_uuid: str | None = None
    session_id: str | None = None
    agent_id: str | None = None
    subtype: str | None = None
    is_sidechain: bool | None = None
    is_meta: bool | None = None
    is_compact_summary: bool | None = None
    timestamp: str | int | float | None = None
    cwd: str | None = None
    version: str | None = None


class Line(Place, frozen=True, rename="camel"):
    """A line in full, as far as it is used."""

    message: Said | None = None
    tool_use_result: Any = None
    request_id: str | None = None
    data: Any = None
    parent_tool_use_id: str | None = msgspec.field(default=None, name="parentToolUseID")


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


def line_ms(line: Place) -> int | None:
    """Return the line's timestamp in unix milliseconds; ``None`` where it has none that can be read."""
    return stamp_ms(line.timestamp)


def blocks_of(line: Line) -> list[Block]:
    """Return the content blocks of the line's message; a plain string counts as one text block."""
    if line.message is None or line.message.content is None:
        return []
    content = line.message.content
    return [Block(type="text", text=content)] if isinstance(content, str) else content


def spawned_agent(line: Line) -> str | None:
    """Return the id of the sub-agent whose result or progress the line brings."""
    for source in (line.tool_use_result, line.data):
        if isinstance(source, dict):
            agent_id = source.get("agentId")
            if isinstance(agent_id, str) and agent_id and agent_id != line.agent_id:
                return agent_id
    return None
