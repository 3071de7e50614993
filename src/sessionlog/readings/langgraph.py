"""Threads of LangGraph: the messages that a checkpoint added to its channels.

Values are MessagePack, as LangGraph's own serializer writes it; a message is an extension of code 5 that names its
class (langgraph/checkpoint/serde/jsonplus.py). Values of other serializers, such as encrypted ones, give nothing.
"""

import base64
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec

from ..items import Item, Message, Reasoning, TextPart, ToolCall, ToolResult
from .values import content_parts, dicts, json_text, text_of, word

_PYDANTIC: Final = 5
_MESSAGES: Final = "langchain_core.messages."
_INPUT: Final = "__start__"


class _Message(NamedTuple):
    members: dict[str, Any]


def items_of(payload: Any) -> list[Item]:
    """Return the messages that a checkpoint has and its parent had not."""
    if not isinstance(payload, dict) or payload.get("op") != "put" or not isinstance(payload.get("values"), list):
        return []
    return [item for value in payload["values"] for message in _messages(value) for item in _items(message)]


def _messages(value: Any) -> Iterator[dict[str, Any]]:
    match value:
        case [str(channel), _, "msgpack", str(text), *since] if channel != _INPUT:
            pass
        case _:
            return
    try:
        data = base64.b64decode(text)
        if since:
            data = b"\xdd" + min(int(since[1]), len(data)).to_bytes(4, "big") + data
        found = msgspec.msgpack.decode(data, ext_hook=_extension)
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError):
        return
    for one in found if isinstance(found, list) else [found]:
        if isinstance(one, _Message):
            yield one.members


def _extension(code: int, data: memoryview) -> Any:
    if code == _PYDANTIC:
        match msgspec.msgpack.decode(data, ext_hook=_extension):
            case [str(module), str(), dict(members), *_] if module.startswith(_MESSAGES):
                return _Message(members)
            case _:
                pass
    return None


def _items(message: dict[str, Any]) -> Iterator[Item]:
    kind, content, id = word(message.get("type")), message.get("content"), word(message.get("id")) or None
    parts = content_parts(content)
    if kind == "tool":
        failed = message.get("status") == "error"
        yield ToolResult(word(message.get("tool_call_id")), text_of(content), is_error=failed, id=id)
    elif kind in ("human", "HumanMessageChunk"):
        yield Message("user", parts, id)
    elif kind in ("system", "SystemMessageChunk"):
        yield Message("system", parts, id)
    elif kind in ("ai", "AIMessageChunk"):
        more = message.get("additional_kwargs")
        thoughts = [word(part.get("thinking")) or word(part.get("reasoning")) for part in dicts(content)]
        thoughts.append(word(more.get("reasoning_content")) if isinstance(more, dict) else "")
        for thought in filter(None, thoughts):
            yield Reasoning(thought)
        if any(not isinstance(part, TextPart) or part.text for part in parts):
            yield Message("assistant", parts, id)
        for call in dicts(message.get("tool_calls")):
            yield ToolCall(word(call.get("id")), word(call.get("name")), json_text(call.get("args")))
