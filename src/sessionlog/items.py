"""Items: what a conversation with a model is made of.

``Item = Message | ToolCall | ToolResult | Reasoning``, told apart on disk by ``"type"``. They are plain frozen structs;
members that are not set are not written (FORMAT section 9). Members that a newer version wrote and this one does not
know are left out of the struct and stay in the record's bytes.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

Role: TypeAlias = Literal["user", "assistant", "system"]
Status: TypeAlias = Literal["in_progress", "completed", "incomplete"]


class TextPart(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="type", tag="text"):
    """A piece of text in a message."""

    text: str


class ImagePart(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="type", tag="image"):
    """An image in a message: base64 ``data`` of a ``media_type`` such as ``image/png``, or a ``url``."""

    data: str | None = None
    media_type: str | None = None
    url: str | None = None


class RefusalPart(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="type", tag="refusal"):
    """The model's refusal, as the provider gave it."""

    refusal: str


ContentPart: TypeAlias = TextPart | ImagePart | RefusalPart


class Message(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="type", tag="message"):
    """What a user, the assistant or the system said."""

    role: Role
    content: Sequence[ContentPart]
    id: str | None = None
    status: Status | None = None

    @property
    def text(self) -> str:
        """The text parts, joined without a separator."""
        return "".join(part.text for part in self.content if isinstance(part, TextPart))


class ToolCall(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="type", tag="tool_call"):
    """The model asks for a tool; ``arguments`` is JSON text exactly as the model wrote it, valid or not."""

    call_id: str
    name: str
    arguments: str
    id: str | None = None
    status: Status | None = None


class ToolResult(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="type", tag="tool_result"):
    """What a tool answered to ``call_id``: a ``summary`` for the model, the whole ``content`` where it is longer."""

    call_id: str
    summary: str
    content: str | None = None
    is_error: bool = False
    id: str | None = None


class Reasoning(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="type", tag="reasoning"):
    """The model's thinking, with the provider's ``signature`` where it must be sent back."""

    text: str
    signature: str | None = None
    id: str | None = None
    status: Status | None = None


Item: TypeAlias = Message | ToolCall | ToolResult | Reasoning
"""One piece of a history."""


def user_message(text: str) -> Message:
    """Return a user message of one text part."""
    return Message("user", [TextPart(text)])


def assistant_message(text: str) -> Message:
    """Return an assistant message of one text part."""
    return Message("assistant", [TextPart(text)])


def system_message(text: str) -> Message:
    """Return a system message of one text part."""
    return Message("system", [TextPart(text)])


def tool_call(call_id: str, name: str, arguments: str) -> ToolCall:
    """Return a tool call; ``arguments`` is JSON text."""
    return ToolCall(call_id, name, arguments)


def tool_result(call_id: str, summary: str, content: str | None = None) -> ToolResult:
    """Return a successful tool result."""
    return ToolResult(call_id, summary, content)


def reasoning(text: str) -> Reasoning:
    """Return a piece of the model's thinking."""
    return Reasoning(text)
