"""Sessions of Strands Agents: the messages that were added. A later version, as of a redaction, gives nothing."""

from typing import Any

from ..items import Item, Message, Reasoning, TextPart, ToolCall, ToolResult
from .values import dicts, json_text, word


def items_of(payload: Any) -> list[Item]:
    """Return what a message says. One that a log refuses, and is kept as JSON text, gives nothing."""
    match payload:
        case {"op": "message", "message": {"message": {"role": str(role), "content": [*content]}}}:
            return [item for block in dicts(content) for item in _items(role, block)]
        case _:
            return []


def _items(role: str, block: dict[str, Any]) -> list[Item]:
    match block:
        case {"text": str(text)} if text:
            return [Message("assistant" if role == "assistant" else "user", [TextPart(text)])]
        case {"toolUse": dict(call)}:
            return [ToolCall(word(call.get("toolUseId")), word(call.get("name")), json_text(call.get("input")))]
        case {"toolResult": dict(result)}:
            texts = [word(part.get("text")) or json_text(part) for part in dicts(result.get("content"))]
            failed = result.get("status") == "error"
            return [ToolResult(word(result.get("toolUseId")), "\n".join(texts), is_error=failed)]
        case {"reasoningContent": {"reasoningText": {"text": str(text)}}} if text:
            return [Reasoning(text)]
        case _:
            return []
