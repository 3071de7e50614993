"""Conversations of Pydantic AI: messages as its ``ModelMessagesTypeAdapter`` dumps them."""

from collections.abc import Iterator
from typing import Any

from ..items import ContentPart, ImagePart, Item, Message, Reasoning, ToolCall, ToolResult
from .values import Usage, content_parts, count_of, dicts, json_text, text_of, whole, word


def items_of(payload: Any) -> list[Item | Usage]:
    """Return what a message says, and what a response cost; nothing if a fork shares it: its source counts it."""
    if not isinstance(payload, dict) or payload.get("op") != "message":
        return []
    message = whole(payload.get("message"))
    said: list[Item | Usage] = [item for part in dicts(message.get("parts")) for item in _items(part)]
    usage = message.get("usage")
    if message.get("kind") == "response" and isinstance(usage, dict) and "of" not in payload:
        said.append(
            Usage(
                word(message.get("model_name")) or None,
                count_of(usage.get("input_tokens")),
                count_of(usage.get("cache_read_tokens")),
                count_of(usage.get("cache_write_tokens")),
                count_of(usage.get("output_tokens")),
            )
        )
    return said


def _items(part: dict[str, Any]) -> Iterator[Item]:
    content, call_id = part.get("content"), word(part.get("tool_call_id"))
    match part.get("part_kind"):
        case "user-prompt":
            yield Message("user", _parts(content))
        case "system-prompt":
            yield Message("system", content_parts(content))
        case "text":
            if content:
                yield Message("assistant", content_parts(content))
        case "thinking":
            if content:
                yield Reasoning(word(content))
        case "tool-call" | "builtin-tool-call":
            args = part.get("args")
            arguments = args if isinstance(args, str) else json_text(args or {})
            yield ToolCall(call_id, word(part.get("tool_name")), arguments)
        case "tool-return" | "builtin-tool-return":
            failed = part.get("outcome") in ("failed", "retried")
            yield ToolResult(call_id, text_of(content), is_error=failed)
        case "retry-prompt" if part.get("tool_name"):
            yield ToolResult(call_id, text_of(content), is_error=True)
        case "retry-prompt" | "retry-feedback":
            yield Message("system", content_parts(text_of(content)))
        case _:
            pass


def _parts(content: Any) -> list[ContentPart]:
    """Return the parts of a prompt: texts and images; of other files, nothing."""
    parts: list[ContentPart] = []
    for part in content if isinstance(content, list) else [content]:
        match part:
            case {"kind": "image-url", "url": str(url)}:
                parts.append(ImagePart(url=url))
            case {"kind": "binary", "data": str(data), "media_type": str(kind)} if kind.startswith("image/"):
                parts.append(ImagePart(data=data, media_type=kind))
            case {"kind": "text-content", "content": str(text)}:
                parts += content_parts(text)
            case _:
                parts += content_parts(part)
    return parts
