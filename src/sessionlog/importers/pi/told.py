"""What a line of a pi session tells of the loops. Pure, as :mod:`.convert`, which says what it means otherwise."""

from collections.abc import Iterable
from typing import Any, Final

from ...loops import (
    AssistantMessage,
    Content,
    Image,
    StopReason,
    Text,
    Thinking,
    ToolCallContent,
    ToolResultMessage,
    Usage,
    UserMessage,
)
from ..told import Answered, Told
from ..usage import token_count
from ..values import json_text
from .shapes import Block, Line, Said

AGENT_ID: Final = "pi"

_STOP_REASONS: Final = {
    "stop": StopReason.STOP,
    "length": StopReason.LENGTH,
    "toolUse": StopReason.TOOL_USE,
    "aborted": StopReason.USER_STOP,
    "error": StopReason.ERROR,
}


def told_by(line: Line, value: dict[str, Any], *, ordinal: int, ts: int, metadata: Any) -> Told | None:
    """Return what ``line``, whose JSON object is ``value``, tells at ``ts``; ``None`` for nothing.

    ``metadata`` is for a loop that begins here.
    """
    match line:
        case Line(type="message", message=Said() as said):
            return _told_by_message(line, said, value, ordinal=ordinal, ts=ts, metadata=metadata)
        case Line(type="custom_message"):
            return _asked(_contents(Said("custom", line.content).blocks), line, ts=ts, metadata=metadata)
        case Line(type="branch_summary", summary=str(summary)) if summary:
            return _asked([Text(summary)], line, ts=ts, metadata=metadata)
        case Line(type="compaction"):
            before = value.get("tokensBefore")
            asked = None if line.summary is None else _user([Text(line.summary)], line, ts=ts)
            tokens = token_count(before) if isinstance(before, int) else 0
            return Told(compacts=tokens, asked=asked, metadata=metadata)
        case _:
            return None


def _told_by_message(
    line: Line, said: Said, value: dict[str, Any], *, ordinal: int, ts: int, metadata: Any
) -> Told | None:
    match said.role:
        case "assistant":
            answer = _answer(line, said, value["message"], ts=ts)
            ends = said.stop_reason is not None and said.stop_reason in _STOP_REASONS and said.stop_reason != "toolUse"
            return Told(message_id=str(ordinal), answer=answer, ends=ends, metadata=metadata)
        case "toolResult" if said.tool_call_id is not None:
            name = value["message"].get("toolName")
            message = ToolResultMessage(
                said.tool_call_id,
                name if isinstance(name, str) else "",
                _result_contents(said.blocks),
                bool(said.is_error),
                ts,
                node_id=line.id,
                parent_id=line.parent_id,
            )
            return Told(results=[Answered(message, said.details)], metadata=metadata)
        case "user":
            return _asked(_contents(said.blocks), line, ts=ts, metadata=metadata, prompts=True)
        case "bashExecution" if said.command is not None and not said.exclude_from_context:
            return _asked([Text(f"$ {said.command}\n{said.output or ''}")], line, ts=ts, metadata=metadata)
        case "custom" | "hookMessage":
            return _asked(_contents(said.blocks), line, ts=ts, metadata=metadata)
        case _:
            return None


def _asked(content: list[Content], line: Line, *, ts: int, metadata: Any, prompts: bool = False) -> Told | None:
    return Told(asked=_user(content, line, ts=ts), prompts=prompts, metadata=metadata) if content else None


def _user(content: list[Content], line: Line, *, ts: int) -> UserMessage:
    return UserMessage(content, ts, node_id=line.id, parent_id=line.parent_id)


def _answer(line: Line, said: Said, message: dict[str, Any], *, ts: int) -> AssistantMessage:
    content = _contents(said.blocks)
    provider, used = message.get("provider"), said.usage
    stop = _STOP_REASONS.get(said.stop_reason or "")
    if stop is None:
        calls = any(isinstance(piece, ToolCallContent) for piece in content)
        stop = StopReason.TOOL_USE if calls else StopReason.STOP
    usage = Usage()
    if used is not None:
        usage = Usage(
            input=token_count(used.input),
            output=token_count(used.output),
            cache_read=token_count(used.cache_read),
            cache_write=token_count(used.cache_write),
        )
    return AssistantMessage(
        content,
        ts,
        stop_reason=stop,
        model=said.model or "",
        provider=provider if isinstance(provider, str) else "",
        usage=usage,
        error_message=said.error_message,
        node_id=line.id,
        parent_id=line.parent_id,
    )


def _contents(blocks: Iterable[Block]) -> list[Content]:
    return [piece for block in blocks if (piece := _content(block)) is not None]


def _result_contents(blocks: Iterable[Block]) -> list[Content]:
    return [_content(block) or Text(json_text(block)) for block in blocks]


def _content(block: Block) -> Content | None:
    if block.type == "text" and block.text is not None:
        return Text(block.text)
    if block.type == "image" and block.data is not None:
        return Image(block.data, block.mime_type or "")
    if block.type == "thinking" and block.thinking is not None:
        return Thinking(block.thinking, block.thinking_signature)
    if block.type == "toolCall" and block.id is not None and block.name is not None:
        return ToolCallContent(block.id, block.name, {} if block.arguments is None else block.arguments)
    return None
