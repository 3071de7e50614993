"""Sessions of the OpenAI Agents SDK: input items of the Responses API."""

from typing import Any

from ..items import Item, Message, Reasoning, ToolCall, ToolResult
from .values import content_parts, dicts, json_text, text_of, whole, word

_OUTPUT = "_output"
_CALL = "_call"


def items_of(payload: Any) -> list[Item]:
    """Return what was added to the session."""
    if not isinstance(payload, dict) or payload.get("op") != "add":
        return []
    return [item for kept in dicts(payload.get("items")) for item in _items(whole(kept))]


def _items(item: dict[str, Any]) -> list[Item]:
    kind = word(item.get("type")) or "message"
    id = word(item.get("id")) or None
    call_id = word(item.get("call_id")) or id or ""
    match kind:
        case "message":
            role = {"user": "user", "assistant": "assistant"}.get(word(item.get("role")), "system")
            parts = content_parts(item.get("content"))
            return [Message(role, parts, id)] if parts else []  # type: ignore[arg-type]
        case "reasoning":
            texts = [word(part.get("text")) for part in dicts(item.get("summary"))]
            texts += [word(part.get("text")) for part in dicts(item.get("content"))]
            text = "\n\n".join(filter(None, texts))
            return [Reasoning(text, id=id)] if text else []
        case "function_call" | "custom_tool_call":
            arguments = item.get("arguments", item.get("input"))
            return [ToolCall(call_id, word(item.get("name")), word(arguments), id)]
        case _ if kind.endswith(_OUTPUT):
            return [ToolResult(call_id, text_of(item.get("output")), id=id)]
        case _ if kind.endswith(_CALL):
            rest = {name: value for name, value in item.items() if name not in ("type", "id", "call_id", "status")}
            return [ToolCall(call_id, kind.removesuffix(_CALL), json_text(rest), id)]
        case _:
            return []
