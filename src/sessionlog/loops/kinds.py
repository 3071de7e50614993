"""The small vocabulary of the loop tree: how sessions and loops begin, what state they are in, what ran them.

String enums are written by their value. Variants that carry data are structs told apart by ``"type"``. Members that are
not set are not written.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, TypeAlias

import msgspec

Timestamp: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
"""An aware ``datetime``, RFC 3339 on disk, to the microsecond."""


class LoopStatus(StrEnum):
    """The life of a loop: pending, running, then one of the three ends, which are final."""

    PENDING = "pending"
    """Announced by ``ParallelLoopStart``; its own ``AgentStart`` has not come yet."""
    RUNNING = "running"
    """``AgentStart`` came. A log that ends here was cut short, or its runtime is still at work."""
    COMPLETED = "completed"
    """``AgentEnd`` came, without a rejection."""
    REJECTED = "rejected"
    """``AgentEnd`` came with a rejection: an input filter stopped the run."""
    ABORTED = "aborted"
    """The recorder was flushed before ``AgentEnd`` came."""

    @property
    def is_open(self) -> bool:
        """True for pending and running."""
        return self in {LoopStatus.PENDING, LoopStatus.RUNNING}


class TurnTrigger(StrEnum):
    """What made a turn begin. Its third member is also read under its old name, ``FollowUp``."""

    USER = "user"
    SUB_AGENT = "sub_agent"
    CONTINUATION = "continuation"
    """A tool's results came back, a steering message was put in, or the loop continues an earlier one."""
    BRANCH = "branch"

    @classmethod
    def _missing_(cls, value: object) -> "TurnTrigger | None":
        return cls.CONTINUATION if value in {"FollowUp", "follow_up"} else None


class SessionScope(StrEnum):
    """Where a session lives: in memory only, or in a store that outlives the process."""

    EPHEMERAL = "ephemeral"
    PERSISTENT = "persistent"


class Explicit(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="explicit"):
    """The session was made by hand; the recorder never says this by itself."""

    timestamp: Timestamp


class FirstLoop(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="first_loop"):
    """The session began with the first ``AgentStart`` that named it."""

    timestamp: Timestamp


class InactivityTimeout(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="inactivity_timeout"
):
    """The agent had been idle for longer than ``threshold_secs`` seconds, so its runtime took a new session id."""

    threshold_secs: int
    previous_session_id: str | None = None
    timestamp: Timestamp


SessionFormation: TypeAlias = Explicit | FirstLoop | InactivityTimeout
"""Why a session was made."""


class Initial(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="type", tag="initial"):
    """A loop of its own, or a sub-agent's."""


class Default(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="type", tag="default"):
    """An ordinary continuation of the parent loop."""


class Rerun(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="type", tag="rerun"):
    """The same again, after an error or on request; ``tag`` tells reruns apart."""

    tag: str = ""


class Branch(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="type", tag="branch"):
    """Another way from the same point; ``tag`` tells branches apart."""

    tag: str = ""


class Compaction(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="type", tag="compaction"):
    """A pass that compacts the context and asks no model."""


ContinuationKind: TypeAlias = Initial | Default | Rerun | Branch | Compaction
"""How a loop relates to its parent."""


class TurnId(msgspec.Struct, frozen=True, gc=False):
    """Names a turn: its loop, and its 0-based index in there."""

    loop_id: str
    turn_index: int


class LoopConfigSnapshot(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which model ran a loop, and how it was set. No keys, no secrets, nothing that cannot be written.

    ``config_id`` is the middle segment of the loop ids that this configuration makes. ``context_window`` and
    ``max_tokens`` count tokens. ``api`` and ``thinking_level`` are kept in the runtime's own words.
    """

    model: str
    provider: str = ""
    config_id: str | None = None
    name: str | None = None
    api: str | None = None
    base_url: str | None = None
    reasoning: bool | None = None
    context_window: int | None = None
    max_tokens: int | None = None
    thinking_level: str | None = None
    temperature: float | None = None


__all__ = [
    "Branch",
    "Compaction",
    "ContinuationKind",
    "Default",
    "Explicit",
    "FirstLoop",
    "InactivityTimeout",
    "Initial",
    "LoopConfigSnapshot",
    "LoopStatus",
    "Rerun",
    "SessionFormation",
    "SessionScope",
    "Timestamp",
    "TurnId",
    "TurnTrigger",
]
