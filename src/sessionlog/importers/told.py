"""What one object of a transcript tells of the loops: the words in which a format answers, the same for all formats."""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from ..loops import AssistantMessage, ToolResultMessage, UserMessage
from .lines import Found


class Answered(msgspec.Struct, frozen=True):
    """A tool's answer; ``details`` for everybody but the model, ``agent`` the id of the sub-agent that it ran.

    The tool's name may be empty: it is that of the call.
    """

    message: ToolResultMessage
    details: Any = None
    agent: str | None = None


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What an object tells, in this order.

    ``compacts``: the context is compacted here, and held so many tokens before (0: unknown). ``asked``: what went to
    the model beside tools' answers; a person ``prompts`` with it, or the tool put it in, or it only ``interrupts``.
    ``answer``: the model's message ``message_id``, or the next part of it. ``ends``: the model has no more to do.
    ``metadata``: any JSON, for a loop that begins here.
    """

    compacts: int | None = None
    results: Sequence[Answered] = ()
    asked: UserMessage | None = None
    prompts: bool = False
    interrupts: bool = False
    message_id: str = ""
    answer: AssistantMessage | None = None
    ends: bool = False
    metadata: Any = None


class TellsLoops(Protocol):
    """A transcript that tells of loops, beside what :class:`~.protocol.Transcript` asks.

    A format without it imports sessions that have no loops.
    """

    @property
    def agent_id(self) -> str:
        """Who acts in the sessions of the file that are no side chains."""
        ...

    def told(self, found: Found, *, ts: int) -> Told | None:
        """Return what the object tells, at ``ts``; ``None`` for nothing. Pure, as ``entries`` is."""
        ...
