"""One line of a transcript as log entries. Pure: the same line after the same model always gives the same entries.

- ``user`` with text or images: ``user_input``, or ``hook_injected_items`` where the tool put it there (``isMeta``);
- ``user`` with ``tool_result`` blocks: ``tool_results``; ``content`` is the structured result where it says more;
- ``assistant`` with text, thinking, ``tool_use``: ``assistant_items``; before them ``config_changed`` for a new model;
- a block of another type: ``extension`` of domain ``claude_code`` with the block;
- any other line: ``extension`` of domain ``claude_code`` with the line's whole JSON object.

Ids stay where an item has room for one: the API message's on messages and reasoning, the tool call's on calls and
results, the line's own on what the user said.
"""

from collections.abc import Iterable
from itertools import groupby
from typing import Any, Final

import msgspec

from ...entries import (
    AssistantItems,
    ConfigChanged,
    Extension,
    HookInjectedItems,
    LogEntry,
    RequestConfig,
    ToolResults,
    UserInput,
)
from ...items import ContentPart, ImagePart, Item, Message, Reasoning, Role, TextPart, ToolCall, ToolResult
from ..values import json_text, plain_text
from .shapes import Block, Line, blocks_of

DOMAIN: Final = "claude_code"
SYNTHETIC_MODEL: Final = "<synthetic>"
"""The model of messages that the tool made up itself, such as its notes on a failed request."""


def line_entries(line: Line, value: dict[str, Any], *, ts: int, config: RequestConfig) -> list[LogEntry]:
    """Return what ``line``, whose JSON object is ``value``, says; at least one entry."""
    blocks = blocks_of(line)
    entries: list[LogEntry] = []
    if line.type == "user":
        entries = _user_entries(line, blocks, ts=ts)
    elif line.type == "assistant":
        entries = _assistant_entries(line, blocks, ts=ts)
        model = None if line.message is None else line.message.model
        if entries and model and model not in (config.model, SYNTHETIC_MODEL):
            entries.insert(0, ConfigChanged(ts=ts, config=msgspec.structs.replace(config, model=model)))
    return entries or [Extension(ts=ts, domain=DOMAIN, payload=value)]


def is_understood(line: Line) -> bool:
    """Tell whether something of a message becomes an item, or it has no content; other lines are no messages."""
    if line.type not in ("user", "assistant"):
        return True
    if line.message is None or line.message.content is None:
        return False
    blocks = blocks_of(line)
    if line.type == "user":
        return not blocks or any(_user_kind(block) != "other" for block in blocks)
    return not blocks or any(_assistant_item(block, None) is not None for block in blocks)


def summary_message(line: Line) -> Message | None:
    """Return the message that a compacted session starts with; ``None`` if the line has no text."""
    parts = [part for part in map(_part, blocks_of(line)) if part is not None]
    return Message("user", parts, id=line.uuid) if parts else None


def _user_entries(line: Line, blocks: Iterable[Block], *, ts: int) -> list[LogEntry]:
    entries: list[LogEntry] = []
    for kind, run in groupby(blocks, _user_kind):
        if kind == "said":
            parts = [part for part in map(_part, run) if part is not None]
            message = Message("user", parts, id=line.uuid)
            injected = line.is_meta or line.is_compact_summary
            entries.append(HookInjectedItems(ts=ts, items=[message]) if injected else UserInput(ts=ts, item=message))
        elif kind == "result":
            entries.append(ToolResults(ts=ts, items=[_result(block, line) for block in run]))
        else:
            entries.extend(_unknown_block(line, block, ts=ts) for block in run)
    return entries


def _assistant_entries(line: Line, blocks: Iterable[Block], *, ts: int) -> list[LogEntry]:
    entries: list[LogEntry] = []
    message_id = None if line.message is None else line.message.id
    for known, run in groupby(blocks, lambda block: _assistant_item(block, None) is not None):
        if known:
            items = [item for block in run if (item := _assistant_item(block, message_id)) is not None]
            entries.append(AssistantItems(ts=ts, items=items))
        else:
            entries.extend(_unknown_block(line, block, ts=ts) for block in run)
    return entries


def _user_kind(block: Block) -> str:
    if block.type == "tool_result" and block.tool_use_id is not None:
        return "result"
    return "other" if _part(block) is None else "said"


def _part(block: Block) -> ContentPart | None:
    if block.type == "text" and block.text is not None:
        return TextPart(block.text)
    if block.type == "image" and block.source is not None:
        return ImagePart(data=block.source.data, media_type=block.source.media_type, url=block.source.url)
    return None


def _assistant_item(block: Block, message_id: str | None) -> Item | None:
    role: Role = "assistant"
    if block.type == "thinking" and block.thinking is not None:
        return Reasoning(block.thinking, signature=block.signature, id=message_id)
    if block.type == "tool_use" and block.id is not None and block.name is not None:
        return ToolCall(block.id, block.name, json_text({} if block.input is None else block.input), id=message_id)
    part = _part(block)
    return None if part is None else Message(role, [part], id=message_id)


def _result(block: Block, line: Line) -> ToolResult:
    """Return the result; ``content`` is what the model was not sent, or was sent in another form than text."""
    summary, plain = plain_text(block.content)
    content = None if plain else json_text(block.content)
    structured = line.tool_use_result
    answers = [other for other in blocks_of(line) if other.type == "tool_result"]
    if structured is not None and len(answers) == 1:
        text = structured if isinstance(structured, str) else json_text(structured)
        if len(text) > len(content or summary):
            content = text
    return ToolResult(
        call_id=block.tool_use_id or "",
        summary=summary,
        content=content,
        is_error=bool(block.is_error),
        id=line.uuid,
    )


def _unknown_block(line: Line, block: Block, *, ts: int) -> Extension:
    members = {name: value for name, value in msgspec.to_builtins(block).items() if value is not None}
    return Extension(ts=ts, domain=DOMAIN, payload={"type": f"{line.type}.block", "uuid": line.uuid, "block": members})
