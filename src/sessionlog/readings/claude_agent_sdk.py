"""Transcripts of the Claude Agent SDK: the messages in the entries that were appended. Other entries give nothing."""

import json
from typing import Any

from ..items import ContentPart, ImagePart, Item, Message, Reasoning, TextPart, ToolCall, ToolResult
from .values import dicts, json_text, word


def items_of(payload: Any) -> list[Item]:
    """Return what the entries say."""
    if not isinstance(payload, dict) or payload.get("op") != "append":
        return []
    return [item for kept in dicts(payload.get("entries")) for item in _items(_whole(kept))]


def _whole(kept: dict[str, Any]) -> dict[str, Any]:
    """Return the entry; one that a log refuses is kept as JSON text. What no log could say is replaced."""
    if kept.keys() != {"json"} or not isinstance(kept["json"], str):
        return kept
    try:
        text = json.dumps(json.loads(kept["json"]), ensure_ascii=False).encode("utf-8", "replace").decode()
        whole = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return whole if isinstance(whole, dict) else {}


def _items(entry: dict[str, Any]) -> list[Item]:
    message = entry.get("message")
    if not isinstance(message, dict) or entry.get("type") not in ("user", "assistant"):
        return []
    content = message.get("content")
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else list(dicts(content))
    if entry["type"] == "assistant":
        id = word(message.get("id")) or None
        return [item for block in blocks if (item := _of_the_model(block, id)) is not None]
    id = word(entry.get("uuid")) or None
    role = "system" if entry.get("isMeta") is True or entry.get("isCompactSummary") is True else "user"
    results: list[Item] = [
        ToolResult(word(block.get("tool_use_id")), _text(block.get("content")), is_error=block.get("is_error") is True)
        for block in blocks
        if block.get("type") == "tool_result"
    ]
    parts = [part for block in blocks if (part := _part(block)) is not None]
    return [*results, Message(role, parts, id)] if parts else results  # type: ignore[arg-type]


def _of_the_model(block: dict[str, Any], id: str | None) -> Item | None:
    kind = block.get("type")
    if kind == "thinking":
        return Reasoning(word(block.get("thinking")), id=id) if word(block.get("thinking")) else None
    if kind == "tool_use":
        return ToolCall(word(block.get("id")), word(block.get("name")), json_text(block.get("input")), id)
    part = _part(block)
    return None if part is None else Message("assistant", [part], id)


def _part(block: dict[str, Any]) -> ContentPart | None:
    match block:
        case {"type": "text", "text": str(text)} if text:
            return TextPart(text)
        case {"type": "image", "source": {"data": str(data), "media_type": str(media_type)}}:
            return ImagePart(data=data, media_type=media_type)
        case {"type": "image", "source": {"url": str(url)}}:
            return ImagePart(url=url)
        case _:
            return None


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    texts = [word(block.get("text")) for block in dicts(content)]
    return "\n".join(filter(None, texts))
