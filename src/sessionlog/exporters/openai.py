"""A session as the body of a Chat Completions request of the OpenAI API: ``messages``, and the settings that are set.

The messages are ``ChatCompletionMessageParam`` of the ``openai`` package. See
https://platform.openai.com/docs/api-reference/chat/create. Tool definitions are in no log: whoever sends the request
adds ``tools``.
"""

from collections.abc import Sequence
from typing import Any

from ..entries import RequestConfig
from ..items import ImagePart, Message, Reasoning, RefusalPart, TextPart, ToolCall, ToolResult
from ..state import RestoredState
from .omissions import Omissions
from .steps import Answered, count_bookkeeping, count_whole_contents, steps_of, unique_ids

CALL_ID_CHARS_MAX = 40


def export_openai(state: RestoredState, omitted: Omissions) -> dict[str, Any]:
    """Return the request body for ``state``; what it cannot say is counted in ``omitted``."""
    steps = steps_of(state.history, omitted)
    calls = [item for step in steps if isinstance(step, Answered) for item in step.items if isinstance(item, ToolCall)]
    call_ids = iter(unique_ids([call.call_id for call in calls], omitted, chars_max=CALL_ID_CHARS_MAX))
    messages: list[dict[str, Any]] = []
    if state.system_prompt:
        messages.append({"role": "system", "content": state.system_prompt})
    for step in steps:
        if isinstance(step, Answered):
            messages += _answered(step, [next(call_ids) for _ in step.results], omitted)
        else:
            messages += _said(step.message, omitted)
    count_bookkeeping(state, omitted)
    return {**_settings(state.config, omitted), "messages": messages}


def _said(message: Message, omitted: Omissions) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    for part in message.content:
        match part:
            case TextPart():
                parts.append({"type": "text", "text": part.text})
            case RefusalPart():
                omitted.add("refusal by somebody else than the assistant: sent as text")
                parts.append({"type": "text", "text": part.refusal})
            case ImagePart():
                url = _image_url(part)
                if url is None or message.role != "user":
                    omitted.add("image without data, or outside a user's message: left out")
                else:
                    parts.append({"type": "image_url", "image_url": {"url": url}})
    if not parts:
        omitted.add("message without content: left out")
        return []
    content = parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts
    return [{"role": message.role, "content": content}]


def _answered(step: Answered, call_ids: Sequence[str], omitted: Omissions) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for item in step.items:
        match item:
            case Message():
                parts += _assistant_parts(item, omitted)
            case Reasoning():
                omitted.add("reasoning: left out")
            case ToolCall():
                function = {"name": item.name, "arguments": item.arguments}
                calls.append({"id": call_ids[len(calls)], "type": "function", "function": function})
    if not parts and not calls:
        return []
    message: dict[str, Any] = {"role": "assistant"}
    if parts:
        message["content"] = parts[0]["text"] if len(parts) == 1 and "text" in parts[0] else parts
    if calls:
        message["tool_calls"] = calls
    count_whole_contents(step.results, omitted)
    return [message, *(_result(call_id, one, omitted) for call_id, one in zip(call_ids, step.results, strict=True))]


def _assistant_parts(message: Message, omitted: Omissions) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    for part in message.content:
        match part:
            case TextPart():
                parts.append({"type": "text", "text": part.text})
            case RefusalPart():
                parts.append({"type": "refusal", "refusal": part.refusal})
            case ImagePart():
                omitted.add("image without data, or outside a user's message: left out")
    return parts


def _result(call_id: str, result: ToolResult, omitted: Omissions) -> dict[str, Any]:
    if result.is_error:
        omitted.add("mark that a tool failed: left out, its text stays")
    return {"role": "tool", "tool_call_id": call_id, "content": result.summary}


def _image_url(part: ImagePart) -> str | None:
    if part.data is not None and part.media_type is not None:
        return f"data:{part.media_type};base64,{part.data}"
    return part.url


def _settings(config: RequestConfig, omitted: Omissions) -> dict[str, Any]:
    if config.top_k is not None:
        omitted.add("top_k: left out")
    settings = {
        "model": config.model,
        "max_completion_tokens": config.max_tokens,
        "temperature": config.temperature,
        "top_p": config.top_p,
        "stop": list(config.stop_sequences) or None,
    }
    return {name: value for name, value in settings.items() if value is not None}
