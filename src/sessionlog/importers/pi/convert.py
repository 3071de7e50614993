"""One line of a pi session as log entries. Pure.

- ``message`` of ``user``: ``user_input``; of ``assistant``: ``assistant_items``, before it ``config_changed`` for a new
  model, and behind it, where a turn ends, ``turn_end`` and ``run_outcome``; of ``toolResult``: ``tool_results``;
- a ``bashExecution``, a ``custom_message``, a ``branch_summary``: ``hook_injected_items``, as the model is shown them;
- ``model_change``: ``config_changed``;
- whatever else a line says, and every other line: ``extension`` of domain ``pi`` with its JSON.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Final

import msgspec

from ...entries import (
    AssistantItems,
    ConfigChanged,
    Extension,
    HookInjectedItems,
    LogEntry,
    Outcome,
    RequestConfig,
    RunOutcome,
    ToolResults,
    TurnEnd,
    UserInput,
)
from ...items import ContentPart, ImagePart, Item, Message, Reasoning, TextPart, ToolCall, ToolResult
from ..values import json_text, plain_text
from .shapes import Block, Line, Said

DOMAIN: Final = "pi"
"""The domain of the ``extension`` entries that hold what has no entry of its own."""
OUTCOMES: Final[dict[str, Outcome]] = {
    "stop": "finished",
    "length": "limit_reached",
    "aborted": "paused",
    "error": "error",
}
"""What a message's ``stopReason`` says of the run; for others it goes on."""
TURN_ENDS: Final = ("stop", "length")


def line_entries(
    line: Line, value: dict[str, Any], *, ts: int, config: RequestConfig, turn_count: int, begins: bool
) -> list[LogEntry]:
    """Return what ``line``, whose JSON object is ``value``, says.

    ``begins``: a compaction whose summary its session's first record holds; ``turn_count``: the turns that are over
    behind the line.
    """
    match line:
        case Line(type="message", message=Said() as said):
            return _message_entries(line, said, value, ts=ts, config=config, turn_count=turn_count)
        case Line(type="custom_message") if (parts := _parts(Said("custom", line.content))) is not None:
            return [_injected(parts, line, ts=ts), _extension(value, ts=ts, but="content")]
        case Line(type="branch_summary", summary=str(summary)) if summary:
            return [_injected([TextPart(summary)], line, ts=ts), _extension(value, ts=ts, but="summary")]
        case Line(type="session" | "model_change", model_id=str(model)) if model:
            return [*_new_model(model, ts=ts, config=config), _extension(value, ts=ts)]
        case Line(type="compaction") if begins:
            return [_extension(value, ts=ts, but="summary")]
        case _:
            return [_extension(value, ts=ts)]


def is_understood(line: Line) -> bool:
    """Tell whether something of a message becomes an item, or it has no content; other lines are no messages."""
    if line.type != "message":
        return True
    said = line.message
    if said is None:
        return False
    match said.role:
        case "assistant":
            return not said.blocks or any(_assistant_item(block, None) is not None for block in said.blocks)
        case "toolResult":
            return said.tool_call_id is not None
        case "bashExecution":
            return said.command is not None
        case "user" | "custom" | "hookMessage":
            return said.content is not None and (not said.blocks or _parts(said) is not None)
        case _:
            return False


def summary_message(line: Line) -> Message | None:
    """Return the message that a compacted session starts with."""
    return None if line.summary is None else Message("user", [TextPart(line.summary)], id=line.id)


def _message_entries(
    line: Line, said: Said, value: dict[str, Any], *, ts: int, config: RequestConfig, turn_count: int
) -> list[LogEntry]:
    match said.role:
        case "assistant":
            return _assistant_entries(line, said, value, ts=ts, config=config, turn_count=turn_count)
        case "user" if (parts := _parts(said)) is not None:
            return [UserInput(ts=ts, item=Message("user", parts, id=line.id))]
        case "toolResult" if said.tool_call_id is not None:
            return [ToolResults(ts=ts, items=[_result(said, value, item_id=line.id)])]
        case "bashExecution" if said.command is not None and not said.exclude_from_context:
            text = TextPart(f"$ {said.command}\n{said.output or ''}")
            return [_injected([text], line, ts=ts), _extension(value, ts=ts, but="output")]
        case "custom" | "hookMessage" if (parts := _parts(said)) is not None:
            return [_injected(parts, line, ts=ts), _extension(value, ts=ts, but="content")]
        case _:
            return [_extension(value, ts=ts)]


def _assistant_entries(
    line: Line, said: Said, value: dict[str, Any], *, ts: int, config: RequestConfig, turn_count: int
) -> list[LogEntry]:
    entries: list[LogEntry] = []
    for known, run in groupby(said.blocks, lambda block: _assistant_item(block, None) is not None):
        if known:
            items = [item for block in run if (item := _assistant_item(block, line.id)) is not None]
            entries.append(AssistantItems(ts=ts, items=items))
        else:
            entries.extend(_unknown_block(line, block, ts=ts) for block in run)
    if entries and said.model:
        entries[:0] = _new_model(said.model, ts=ts, config=config)
    reason = said.stop_reason or ""
    if not entries:
        entries.append(_extension(value, ts=ts))
    if reason in TURN_ENDS:
        entries.append(TurnEnd(ts=ts, turn_count=turn_count))
    if reason in OUTCOMES:
        interrupted = reason == "aborted"
        entries.append(RunOutcome(ts=ts, outcome=OUTCOMES[reason], message=said.error_message, interrupted=interrupted))
    return entries


def _new_model(model: str, *, ts: int, config: RequestConfig) -> list[LogEntry]:
    if model == config.model:
        return []
    return [ConfigChanged(ts=ts, config=msgspec.structs.replace(config, model=model))]


def _assistant_item(block: Block, message_id: str | None) -> Item | None:
    if block.type == "thinking" and block.thinking is not None:
        return Reasoning(block.thinking, signature=block.thinking_signature, id=message_id)
    if block.type == "toolCall" and block.id is not None and block.name is not None:
        arguments = json_text({} if block.arguments is None else block.arguments)
        return ToolCall(block.id, block.name, arguments, id=message_id)
    part = _part(block)
    return None if part is None else Message("assistant", [part], id=message_id)


def _parts(said: Said) -> list[ContentPart] | None:
    """Return the content as parts; ``None`` if there is none, or a block that is no part."""
    parts = [_part(block) for block in said.blocks]
    known = [part for part in parts if part is not None]
    return known if known and len(known) == len(parts) else None


def _part(block: Block) -> ContentPart | None:
    if block.type == "text" and block.text is not None:
        return TextPart(block.text)
    if block.type == "image" and block.data is not None:
        return ImagePart(data=block.data, media_type=block.mime_type)
    return None


def _result(said: Said, value: dict[str, Any], *, item_id: str | None) -> ToolResult:
    """Return the result; ``content`` is what is no text, or the structured details where they say more."""
    blocks = value["message"].get("content")
    summary, plain = plain_text(blocks)
    content = None if plain else json_text(blocks)
    details = "" if said.details is None else json_text(said.details)
    if len(details) > len(content or summary):
        content = details
    return ToolResult(said.tool_call_id or "", summary, content, is_error=bool(said.is_error), id=item_id)


def _injected(parts: Sequence[ContentPart], line: Line, *, ts: int) -> HookInjectedItems:
    return HookInjectedItems(ts=ts, items=[Message("user", parts, id=line.id)])


def _unknown_block(line: Line, block: Block, *, ts: int) -> Extension:
    members = {name: value for name, value in msgspec.to_builtins(block).items() if value is not None}
    return Extension(ts=ts, domain=DOMAIN, payload={"type": "message.block", "id": line.id, "block": members})


def _extension(value: dict[str, Any], *, ts: int, but: str | None = None) -> Extension:
    """Return the line as it is, without the member ``but``, of it or its message, that another record holds."""
    if but is not None:
        value = _without(value.items(), but)
        message = value.get("message")
        if isinstance(message, dict):
            value["message"] = _without(message.items(), but)
    return Extension(ts=ts, domain=DOMAIN, payload=value)


def _without(members: Iterable[tuple[str, Any]], name: str) -> dict[str, Any]:
    return {key: member for key, member in members if key != name}
