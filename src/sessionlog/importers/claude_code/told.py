"""What a Claude Code line tells of the loops. Pure, as :mod:`.convert`, which says what it means for the history."""

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
from ..values import json_text
from .convert import SYNTHETIC_MODEL
from .index import ends_turn, message_id_of, usage_tokens
from .shapes import Block, Line, blocks_of, spawned_agent

AGENT_ID: Final = "claude-code"
PROVIDER: Final = "anthropic"
INTERRUPTED: Final = "[Request interrupted by user"
"""Begins what the tool writes in the user's name when a request was stopped: no prompt."""

_METADATA: Final = ("cwd", "gitBranch", "version", "userType", "entrypoint", "permissionMode", "slug")
_STOP_REASONS: Final = {
    "end_turn": StopReason.STOP,
    "stop_sequence": StopReason.STOP,
    "max_tokens": StopReason.LENGTH,
    "model_context_window_exceeded": StopReason.LENGTH,
    "tool_use": StopReason.TOOL_USE,
    "refusal": StopReason.GUARD_RAIL,
    "pause_turn": StopReason.PAUSED,
}

_DONE: Final = frozenset({StopReason.STOP, StopReason.LENGTH, StopReason.GUARD_RAIL, StopReason.ERROR})


def told_by(line: Line, value: dict[str, Any], *, ts: int) -> Told | None:
    """Return what ``line``, whose JSON object is ``value``, tells at ``ts``; ``None`` for nothing."""
    metadata = {name: value[name] for name in _METADATA if isinstance(value.get(name), str)} or None
    if line.type == "system" and line.subtype == "compact_boundary":
        return Told(compacts=_tokens_before(value), metadata=metadata)
    if ends_turn(line):
        return Told(ends=True)
    blocks = blocks_of(line)
    if line.type == "user" and blocks:
        content = _contents(blocks)
        interrupts = _is_interruption(content)
        results = _results(line, blocks, ts=ts)
        injected = line.is_meta or line.is_compact_summary or results
        return Told(
            results=results,
            asked=UserMessage(content, ts, node_id=line.uuid, parent_id=line.parent_uuid) if content else None,
            prompts=not injected and not interrupts,
            interrupts=interrupts,
            metadata=metadata,
        )
    message_id = message_id_of(line)
    if message_id is None:
        return None
    answer = _answer(line, blocks, value, ts=ts)
    ends = line.message is not None and line.message.stop_reason is not None and answer.stop_reason in _DONE
    return Told(message_id=message_id, answer=answer, ends=ends, metadata=metadata)


def _answer(line: Line, blocks: list[Block], value: dict[str, Any], *, ts: int) -> AssistantMessage:
    said = line.message
    assert said is not None  # noqa: S101 - it has an id
    model = "" if said.model in (None, SYNTHETIC_MODEL) else said.model or ""
    content = _contents(blocks)
    failed = value.get("isApiErrorMessage") is True
    stop = _STOP_REASONS.get(said.stop_reason) if isinstance(said.stop_reason, str) else None
    if stop is None:
        calls = any(isinstance(piece, ToolCallContent) for piece in content)
        # While a message streams, its lines give no reason.
        only_thinks = bool(content) and all(isinstance(piece, Thinking) for piece in content)
        stop = StopReason.TOOL_USE if calls or only_thinks else StopReason.STOP
    return AssistantMessage(
        content,
        ts,
        stop_reason=StopReason.ERROR if failed else stop,
        model=model,
        provider=PROVIDER if model else "",
        usage=Usage() if said.usage is None else _usage(usage_tokens(said.usage)),
        error_message="".join(piece.text for piece in content if isinstance(piece, Text)) if failed else None,
        node_id=line.uuid,
        parent_id=line.parent_uuid,
    )


def _usage(tokens: tuple[int, int, int, int]) -> Usage:
    total, read, written, output = tokens
    return Usage(input=total - read - written, output=output, cache_read=read, cache_write=written)


def _results(line: Line, blocks: list[Block], *, ts: int) -> list[Answered]:
    answers = [block for block in blocks if block.type == "tool_result" and block.tool_use_id is not None]
    details = line.tool_use_result if len(answers) == 1 else None
    agent = spawned_agent(line)
    return [
        Answered(
            ToolResultMessage(
                block.tool_use_id or "",
                "",
                _result_contents(block.content),
                bool(block.is_error),
                ts,
                node_id=line.uuid,
                parent_id=line.parent_uuid,
            ),
            details,
            agent if len(answers) == 1 else None,
        )
        for block in answers
    ]


def _contents(blocks: Iterable[Block]) -> list[Content]:
    return [piece for block in blocks if (piece := _content(block)) is not None]


def _content(block: Block) -> Content | None:
    if block.type == "text" and block.text is not None:
        return Text(block.text)
    if block.type == "image" and block.source is not None:
        return Image(block.source.data or "", block.source.media_type or "", block.source.url)
    if block.type == "thinking" and block.thinking is not None:
        return Thinking(block.thinking, block.signature)
    if block.type == "tool_use" and block.id is not None and block.name is not None:
        return ToolCallContent(block.id, block.name, {} if block.input is None else block.input)
    return None


def _result_contents(content: Any) -> list[Content]:
    if content is None:
        return []
    if isinstance(content, str):
        return [Text(content)]
    return [_result_content(part) for part in content] if isinstance(content, list) else [Text(json_text(content))]


def _result_content(part: Any) -> Content:
    match part:
        case {"type": "text", "text": str(text)}:
            return Text(text)
        case {"type": "image", "source": {"type": "base64", "data": str(data), "media_type": str(media_type)}}:
            return Image(data, media_type)
        case {"type": "image", "source": {"url": str(url)}}:
            return Image(url=url)
        case _:
            return Text(json_text(part))


def _is_interruption(content: list[Content]) -> bool:
    return len(content) == 1 and isinstance(content[0], Text) and content[0].text.startswith(INTERRUPTED)


def _tokens_before(value: dict[str, Any]) -> int:
    match value.get("compactMetadata"):
        case {"preTokens": int(tokens)} if 0 <= tokens < 2**53:
            return tokens
        case _:
            return 0
