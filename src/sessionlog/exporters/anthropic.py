"""A session as the body of a Messages request of the Anthropic API: ``system``, ``messages``, the settings.

The messages are ``MessageParam`` of the ``anthropic`` package. See https://docs.anthropic.com/en/api/messages. Tool
definitions are in no log: whoever sends the request adds ``tools``, and ``max_tokens`` where the log has none.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from ..entries import RequestConfig
from ..items import ImagePart, Message, Reasoning, RefusalPart, TextPart, ToolCall, ToolResult
from ..state import RestoredState
from .omissions import Omissions
from .steps import Answered, Said, Step, count_bookkeeping, count_whole_contents, steps_of, unique_ids

IMAGE_TYPES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_NO_TEXT: Final = "empty text: left out"


def export_anthropic(state: RestoredState, omitted: Omissions) -> dict[str, Any]:
    """Return the request body for ``state``; what it cannot say is counted in ``omitted``."""
    steps = steps_of(state.history, omitted)
    system = _take_system(state, steps, omitted)
    calls = [item for step in steps if isinstance(step, Answered) for item in step.items if isinstance(item, ToolCall)]
    call_ids = iter(unique_ids([call.call_id for call in calls], omitted))
    messages: list[dict[str, Any]] = []
    for step in steps:
        if isinstance(step, Answered):
            own_ids = [next(call_ids) for _ in step.results]
            _add(messages, "assistant", _answered(step, own_ids, omitted))
            results = [_result(call_id, one) for call_id, one in zip(own_ids, step.results, strict=True)]
            _add(messages, "user", results)
            count_whole_contents(step.results, omitted)
        else:
            _add(messages, "user", _said(step.message, omitted))
    if messages and messages[0]["role"] != "user":
        omitted.add("first message is the assistant's: the API may want one of the user's before it")
    count_bookkeeping(state, omitted)
    body: dict[str, Any] = _settings(state.config)
    return {**body, **({"system": system} if system else {}), "messages": messages}


def _take_system(state: RestoredState, steps: list[Step], omitted: Omissions) -> str:
    """Return the system prompt with the system messages that the history begins with; take these out of ``steps``."""
    texts = [state.system_prompt or ""]
    while steps and isinstance(first := steps[0], Said) and first.message.role == "system":
        texts.append(first.message.text)
        if any(not isinstance(part, TextPart) for part in first.message.content):
            omitted.add("part of a system message that is no text: left out")
        steps.pop(0)
    return "\n\n".join(text for text in texts if text.strip())


def _add(messages: list[dict[str, Any]], role: str, blocks: Sequence[dict[str, Any]]) -> None:
    """Add ``blocks`` as a message, or to the last one of the same ``role``: roles take turns."""
    if not blocks:
        return
    if messages and messages[-1]["role"] == role:
        messages[-1]["content"].extend(blocks)
    else:
        messages.append({"role": role, "content": list(blocks)})


def _said(message: Message, omitted: Omissions) -> list[dict[str, Any]]:
    if message.role == "system":
        omitted.add("system message in the middle: sent as the user's")
    return _parts(message, omitted)


def _parts(message: Message, omitted: Omissions) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    for part in message.content:
        match part:
            case TextPart():
                blocks += _text(part.text, omitted)
            case RefusalPart():
                omitted.add("refusal: sent as text")
                blocks += _text(part.refusal, omitted)
            case ImagePart():
                source = _image_source(part)
                if source is None or message.role != "user":
                    omitted.add("image of a type that the API does not take, or outside a user's message: left out")
                else:
                    blocks.append({"type": "image", "source": source})
    return blocks


def _text(text: str, omitted: Omissions) -> list[dict[str, Any]]:
    if text.strip():
        return [{"type": "text", "text": text}]
    omitted.add(_NO_TEXT)
    return []


def _image_source(part: ImagePart) -> dict[str, Any] | None:
    if part.data is not None and part.media_type in IMAGE_TYPES:
        return {"type": "base64", "media_type": part.media_type, "data": part.data}
    return None if part.url is None else {"type": "url", "url": part.url}


def _answered(step: Answered, call_ids: Sequence[str], omitted: Omissions) -> list[dict[str, Any]]:
    """Return the assistant's blocks: the calls last, as the API gives them and wants them back."""
    blocks: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for item in step.items:
        match item:
            case Message():
                blocks += _parts(item, omitted)
            case Reasoning(signature=str(signature)) if signature:
                blocks.append({"type": "thinking", "thinking": item.text, "signature": signature})
            case Reasoning():
                omitted.add("reasoning without a signature: left out")
            case ToolCall():
                call = {"type": "tool_use", "id": call_ids[len(calls)], "name": item.name}
                calls.append({**call, "input": _arguments(item, omitted)})
    return blocks + calls


def _arguments(call: ToolCall, omitted: Omissions) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(call.arguments)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        return value
    omitted.add('arguments that are no JSON object: sent as {"arguments": text}')
    return {"arguments": call.arguments}


def _result(call_id: str, result: ToolResult) -> dict[str, Any]:
    block = {"type": "tool_result", "tool_use_id": call_id, "content": result.summary}
    return {**block, "is_error": True} if result.is_error else block


def _settings(config: RequestConfig) -> dict[str, Any]:
    settings = {
        "model": config.model,
        "max_tokens": config.max_tokens,
        "temperature": config.temperature,
        "top_p": config.top_p,
        "top_k": config.top_k,
        "stop_sequences": list(config.stop_sequences) or None,
    }
    return {name: value for name, value in settings.items() if value is not None}
