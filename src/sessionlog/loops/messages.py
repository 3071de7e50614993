"""Messages: what passes between a runtime and its model, and beside it.

Content is told apart by ``"type"`` (``text``, ``image``, ``thinking``, ``toolCall``), messages by ``"role"``
(``user``, ``assistant``, ``toolResult``, ``extension``). Every message but the last may say where it belongs: its
turn, its node and parent in a conversation tree, tags, and a hint of where it came from. Message timestamps are unix
milliseconds.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, TypeAlias

import msgspec

from .kinds import TurnId
from .usage import Usage

NodeId: TypeAlias = int | str
"""Names a node of a conversation tree, in the runtime's own way."""


class StopReason(StrEnum):
    """Why the model stopped."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_USE = "tool_use"
    ERROR = "error"
    ABORTED = "aborted"
    MAX_TURNS = "max_turns"
    USER_STOP = "user_stop"
    HANDOFF = "handoff"
    GUARD_RAIL = "guard_rail"
    CONTEXT_COMPACTED = "context_compacted"
    PAUSED = "paused"


class Text(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="type", tag="text"):
    """A piece of text."""

    text: str


class Image(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="type", tag="image"):
    """An image: base64 ``data`` of a ``mime_type`` such as ``image/png``, or a ``url``."""

    data: str = ""
    mime_type: str = ""
    url: str | None = None


class Thinking(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="type", tag="thinking"):
    """The model's reasoning; ``signature`` is the provider's seal, to be sent back unchanged."""

    thinking: str
    signature: str | None = None


class ToolCallContent(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="toolCall"):
    """The model asks for a tool; ``arguments`` is any JSON; text that is no JSON object, as a string."""

    id: str
    name: str
    arguments: Any = None


Content: TypeAlias = Text | Image | Thinking | ToolCallContent
"""One piece of a message."""


class UserMessage(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="role", tag="user"):
    """What a person, or whoever speaks for one, said."""

    content: Sequence[Content]
    timestamp: int = 0
    turn_id: TurnId | None = None
    node_id: NodeId | None = None
    parent_id: NodeId | None = None
    tags: Sequence[Any] = msgspec.field(default_factory=list)
    provenance_hint: Any = None


class AssistantMessage(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="role", tag="assistant"):
    """What the model answered, which model it was, what it cost, and why it stopped."""

    content: Sequence[Content]
    timestamp: int = 0
    stop_reason: StopReason = StopReason.STOP
    model: str = ""
    provider: str = ""
    usage: Usage = Usage()
    error_message: str | None = None
    turn_id: TurnId | None = None
    node_id: NodeId | None = None
    parent_id: NodeId | None = None
    tags: Sequence[Any] = msgspec.field(default_factory=list)
    provenance_hint: Any = None


class ToolResultMessage(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="role", tag="toolResult"):
    """What a tool answered to the call ``tool_call_id``."""

    tool_call_id: str
    tool_name: str
    content: Sequence[Content]
    is_error: bool = False
    timestamp: int = 0
    turn_id: TurnId | None = None
    node_id: NodeId | None = None
    parent_id: NodeId | None = None
    tags: Sequence[Any] = msgspec.field(default_factory=list)
    provenance_hint: Any = None


class ExtensionMessage(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="role", tag="extension"):
    """An application's own message, of its own ``kind``; it never reaches the model. ``data`` is any JSON."""

    kind: str
    data: Any = None


LlmMessage: TypeAlias = UserMessage | AssistantMessage | ToolResultMessage
"""What a model sees."""
AgentMessage: TypeAlias = UserMessage | AssistantMessage | ToolResultMessage | ExtensionMessage
"""What a runtime keeps: what a model sees, and what it never sees."""


class ToolResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a tool hands back to the runtime: content for the model, ``details`` (any JSON) for everybody else.

    ``child_loop_id`` names the loop of the sub-agent that the tool ran, if it ran one.
    """

    content: Sequence[Content] = msgspec.field(default_factory=list)
    details: Any = None
    child_loop_id: str | None = None


__all__ = [
    "AgentMessage",
    "AssistantMessage",
    "Content",
    "ExtensionMessage",
    "Image",
    "LlmMessage",
    "NodeId",
    "StopReason",
    "Text",
    "Thinking",
    "ToolCallContent",
    "ToolResult",
    "ToolResultMessage",
    "UserMessage",
]
