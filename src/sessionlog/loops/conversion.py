"""From messages to the items of a session's history, and back.

    to_items(from_items(items)) == items

for items without ``id`` and ``status``, without refusals and longer ``content`` of tool results, whose tool arguments
are compact JSON objects (or text that is no JSON object). What the other side has no word for:

- *going to items*: timestamps, stop reasons, models, usage, error messages, tool names of results, turn and node ids,
tags
  and hints are left out; images in tool results become ``[image]``; extension messages are left out, but for system
  texts.
- *going to messages*: ids and statuses are left out; a refusal becomes text; of a tool result, the ``summary`` is
what the
  model saw and becomes the content; arguments are parsed, so their white space and repeated members are lost. A system
  message becomes an extension message of kind ``system``, which never reaches the model.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from ..items import ContentPart, ImagePart, Item, Message, Reasoning, Role, TextPart, ToolCall
from ..items import ToolResult as ToolResultItem
from .messages import (
    AgentMessage,
    AssistantMessage,
    Content,
    ExtensionMessage,
    Image,
    Text,
    Thinking,
    ToolCallContent,
    ToolResultMessage,
    UserMessage,
)

SYSTEM_KIND: Final = "system"
"""The kind of the extension message that stands for a system text."""


def to_items(messages: Iterable[AgentMessage]) -> list[Item]:
    """Return the history items that say what the messages say to a model; see the module for what is left out."""
    items: list[Item] = []
    for message in messages:
        match message:
            case UserMessage():
                items += _spoken("user", message.content)
            case AssistantMessage():
                items += _spoken("assistant", message.content)
            case ToolResultMessage():
                summary = "\n".join(_plain(part) for part in message.content)
                items.append(ToolResultItem(message.tool_call_id, summary, is_error=message.is_error))
            case ExtensionMessage(kind=kind, data=str(text)) if kind == SYSTEM_KIND:
                items.append(Message("system", [TextPart(text)]))
            case _:
                pass
    return items


def from_items(items: Iterable[Item], *, timestamp: int = 0, model: str = "", provider: str = "") -> list[AgentMessage]:
    """Return the messages that say what history items say; see the module for what is left out.

    A run of reasoning, text and tool calls becomes one message of the model; a second text right behind another
    begins a new one. ``timestamp`` (unix ms) is every message's, ``model`` and ``provider`` every answer's. A tool
    result takes its tool's name from the call that it answers.
    """
    messages: list[AgentMessage] = []
    answer: list[Content] = []
    tool_names: dict[str, str] = {}

    def close_answer() -> None:
        if answer:
            messages.append(AssistantMessage(list(answer), timestamp, model=model, provider=provider))
            answer.clear()

    for item in items:
        match item:
            case Message(role="assistant"):
                if answer and isinstance(answer[-1], Text | Image):
                    close_answer()
                answer += map(_content, item.content)
            case Reasoning():
                answer.append(Thinking(item.text, item.signature))
            case ToolCall():
                tool_names[item.call_id] = item.name
                answer.append(ToolCallContent(item.call_id, item.name, _arguments(item.arguments)))
            case ToolResultItem():
                close_answer()
                name = tool_names.get(item.call_id, "")
                messages.append(ToolResultMessage(item.call_id, name, [Text(item.summary)], item.is_error, timestamp))
            case Message(role="system"):
                close_answer()
                messages.append(ExtensionMessage(SYSTEM_KIND, item.text))
            case Message():
                close_answer()
                messages.append(UserMessage([_content(part) for part in item.content], timestamp))
    close_answer()
    return messages


def _spoken(role: Role, content: Sequence[Content]) -> list[Item]:
    """Return runs of text and images as messages of ``role``, with reasoning and tool calls where they stand."""
    items: list[Item] = []
    parts: list[ContentPart] = []
    for part in (*content, None):
        if isinstance(part, Text):
            parts.append(TextPart(part.text))
            continue
        if isinstance(part, Image):
            parts.append(ImagePart(part.data or None, part.mime_type or None, part.url))
            continue
        if parts:
            items.append(Message(role, parts))
            parts = []
        if isinstance(part, Thinking):
            items.append(Reasoning(part.thinking, part.signature))
        elif isinstance(part, ToolCallContent):
            items.append(ToolCall(part.id, part.name, _arguments_text(part.arguments)))
    return items or [Message(role, [])] if not content else items


def _content(part: ContentPart) -> Content:
    match part:
        case TextPart():
            return Text(part.text)
        case ImagePart():
            return Image(part.data or "", part.media_type or "", part.url)
        case _:
            return Text(part.refusal)


def _plain(part: Content) -> str:
    match part:
        case Text():
            return part.text
        case Thinking():
            return part.thinking
        case Image():
            return "[image]"
        case _:
            return f"[{part.name}]"


def _arguments(text: str) -> Any:
    try:
        value = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, dict) else text


def _arguments_text(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()


__all__ = ["SYSTEM_KIND", "from_items", "to_items"]
