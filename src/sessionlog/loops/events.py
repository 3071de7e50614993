"""Events: what a runtime reports while it works, and how one is written.

    decode_event(encode_event(e)) == e

An event is a JSON object told apart by ``"type"``: the name of its class. The first group is the runtime's
vocabulary; the second is what the recorder adds, so that everything the tree shows stands in the chain of the session
that shows it. A type that this version does not know decodes to :class:`UnknownEvent` with all its members; members
that it does not know stay in the record's bytes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias, get_args

import msgspec

from .blocks import CompactionBlock
from .kinds import (
    ContinuationKind,
    Initial,
    LoopConfigSnapshot,
    SessionFormation,
    SessionScope,
    Timestamp,
    TurnTrigger,
)
from .messages import AgentMessage, NodeId, ToolResult
from .usage import Usage


class TextDelta(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag=True):
    """The next piece of the model's text."""

    delta: str


class ThinkingDelta(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag=True):
    """The next piece of the model's reasoning."""

    delta: str


class ToolCallDelta(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag=True):
    """The next piece of a tool call's arguments, as JSON text; whole only when the message has ended."""

    delta: str


StreamDelta: TypeAlias = TextDelta | ThinkingDelta | ToolCallDelta
"""What came last of a message that is still arriving."""


class AgentStart(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=True):
    """A loop begins. The first one that names a session opens that session. ``metadata`` is the caller's, any JSON."""

    agent_id: str
    session_id: str
    loop_id: str
    parent_loop_id: str | None = None
    continuation_kind: ContinuationKind = Initial()
    timestamp: Timestamp
    metadata: Any = None
    config_snapshot: LoopConfigSnapshot | None = None


class AgentEnd(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=True):
    """A loop is over, with all the messages that it added; ``rejection`` says why its input was refused."""

    loop_id: str
    messages: Sequence[AgentMessage] = msgspec.field(default_factory=list)
    usage: Usage = Usage()
    timestamp: Timestamp
    rejection: str | None = None


class TurnStart(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=True):
    """A turn begins: one model request, and the tools that it calls for. ``turn_index`` is 0-based within the loop."""

    loop_id: str
    turn_index: int
    timestamp: Timestamp
    triggered_by: TurnTrigger = TurnTrigger.USER


class TurnRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=True):
    """The whole request that goes to the model, as any JSON."""

    loop_id: str
    turn_index: int
    payload: Any = None
    timestamp: Timestamp | None = None


class TurnEnd(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=True):
    """A turn is over: the model's message, and the results of the tools that it called."""

    loop_id: str
    message: AgentMessage
    usage: Usage = Usage()
    timestamp: Timestamp
    tool_results: Sequence[AgentMessage] = msgspec.field(default_factory=list)


class MessageStart(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=True):
    """A message begins to arrive."""

    loop_id: str
    message: AgentMessage


class MessageUpdate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=True):
    """A message as far as it has arrived, and what came last."""

    loop_id: str
    message: AgentMessage
    delta: StreamDelta


class MessageEnd(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=True):
    """A message is whole."""

    loop_id: str
    message: AgentMessage


class ToolExecutionStart(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=True):
    """A tool begins to run; ``args`` is the JSON that the model gave."""

    loop_id: str
    tool_call_id: str
    tool_name: str
    args: Any = None


class ToolExecutionUpdate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=True):
    """What a running tool has so far; for people, not for the model."""

    loop_id: str
    tool_call_id: str
    tool_name: str
    partial_result: ToolResult = ToolResult()


class ToolExecutionEnd(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=True):
    """A tool is done. ``child_loop_id`` (here or in the result) names the sub-agent's loop, if it ran one."""

    loop_id: str
    tool_call_id: str
    tool_name: str
    result: ToolResult = ToolResult()
    is_error: bool = False
    child_loop_id: str | None = None

    @property
    def child(self) -> str | None:
        """The sub-agent's loop, from either place."""
        return self.child_loop_id or self.result.child_loop_id


class ProgressMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=True):
    """A line of progress that a tool shows."""

    loop_id: str
    tool_call_id: str
    tool_name: str
    text: str = ""


class InputRejected(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=True):
    """An input filter refused the user's message; no model was asked."""

    loop_id: str
    reason: str = ""


class ParallelLoopStart(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=True):
    """Several loops of one session are about to try the same; ``loop_ids`` in the order of their configurations."""

    session_id: str
    loop_ids: Sequence[str]
    timestamp: Timestamp


class ParallelLoopEnd(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=True):
    """One of the parallel loops was chosen; ``evaluation_usage`` is what the judge cost."""

    session_id: str
    selected_loop_id: str
    selected_config_index: int = 0
    evaluation_usage: Usage = Usage()
    timestamp: Timestamp


class CompactionStarted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=True):
    """The context is about to be compacted; counts are of tokens and messages before."""

    loop_id: str
    estimated_tokens: int = 0
    message_count: int = 0
    timestamp: Timestamp | None = None


class CompactionEnded(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=True):
    """The context was compacted; ``loops_compacted`` counts the loops that got a block, this one included."""

    loop_id: str
    messages_before: int = 0
    messages_after: int = 0
    estimated_tokens_before: int = 0
    estimated_tokens_after: int = 0
    loops_compacted: int = 0
    timestamp: Timestamp | None = None


class PrunApplied(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=True):
    """Messages were pruned from the context of the run; ``pruned_timestamps`` (unix ms) names them."""

    loop_id: str
    tokens_removed: int = 0
    messages_removed: int = 0
    memo: str | None = None
    pruned_timestamps: Sequence[int] = msgspec.field(default_factory=list)
    timestamp: Timestamp | None = None


class RevertApplied(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=True):
    """The agent went back to an earlier node and left what followed; ``reason`` says why not, if not ``applied``."""

    loop_id: str
    category: str = ""
    target: NodeId | None = None
    abandoned_node_ids: Sequence[NodeId] = msgspec.field(default_factory=list)
    summary: str | None = None
    applied: bool = True
    reason: str | None = None
    timestamp: Timestamp | None = None


class SessionFormed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=True):
    """Says why a session was made, or where it lives; members that are not set leave that as it is."""

    session_id: str
    formation: SessionFormation | None = None
    scope: SessionScope | None = None


class SpawnLinked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=True):
    """A tool call of one session ran a loop of another: written to the child's chain.

    Written to the parent's chain too, where the child's session cannot be read from the child's loop id.
    """

    parent_session_id: str
    parent_loop_id: str
    child_session_id: str
    child_loop_id: str
    tool_call_id: str
    tool_name: str


class EventsFiltered(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=True):
    """``count`` events of the loop came before the next one and were not kept: the gap in ``LoopEvent.sequence``."""

    loop_id: str
    count: int


class SessionFlushed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=True):
    """The recorder gave up on the loops of the session that were still open: they are aborted."""

    session_id: str


class CompactionBlockAdded(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=True):
    """From here on, ``block`` lies over the loop, in the place of an earlier one."""

    loop_id: str
    block: CompactionBlock


class SessionImported(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=True):
    """A session as another program kept it, without its loops; they follow, one :class:`LoopImported` each."""

    session_id: str
    session: Any


class LoopImported(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=True):
    """A loop as another program kept it."""

    session_id: str
    loop: Any


class UnknownEvent(msgspec.Struct, frozen=True):
    """An event of a type that this version does not know, or that does not decode: kept with all its ``members``.

    It belongs to the loop or the session that a string member ``loop_id`` or ``session_id`` names.
    """

    type: str
    members: Mapping[str, Any] = msgspec.field(default_factory=dict)


_RuntimeEvent: TypeAlias = (
    AgentStart
    | AgentEnd
    | TurnStart
    | TurnRequest
    | TurnEnd
    | MessageStart
    | MessageUpdate
    | MessageEnd
    | ToolExecutionStart
    | ToolExecutionUpdate
    | ToolExecutionEnd
    | ProgressMessage
    | InputRejected
    | ParallelLoopStart
    | ParallelLoopEnd
    | CompactionStarted
    | CompactionEnded
    | PrunApplied
    | RevertApplied
)
_RecorderEvent: TypeAlias = (
    SessionFormed
    | SpawnLinked
    | EventsFiltered
    | SessionFlushed
    | CompactionBlockAdded
    | SessionImported
    | LoopImported
)
KnownEvent: TypeAlias = _RuntimeEvent | _RecorderEvent
AgentEvent: TypeAlias = KnownEvent | UnknownEvent
"""Anything that an ``agent_event`` entry may hold."""


_MESSAGES: Final = ("message", "messages", "tool_results")


class _Holder(msgspec.Struct):
    """What msgspec knows of a struct it keeps; of a union it would find out anew at each conversion, in 0.1 ms."""

    event: KnownEvent


_decode_known: Final = msgspec.json.Decoder(KnownEvent).decode

EVENT_TYPES: Final[Mapping[str, type]] = {struct.__name__: struct for struct in get_args(KnownEvent)}
"""The known events by their ``"type"``."""


def encode_event(event: AgentEvent) -> Any:
    """Return the event as plain JSON data, ``type`` first. Raises ``TypeError`` for what is no event."""
    if isinstance(event, UnknownEvent):
        return {"type": event.type, **{name: value for name, value in event.members.items() if name != "type"}}
    if type(event) not in KNOWN_TYPES:
        raise TypeError(f"{type(event).__name__} is no event")
    return msgspec.to_builtins(event)


def decode_event(data: Any) -> AgentEvent:
    """Return the event that JSON ``data`` says; never raises.

    What an event leaves out because the log has told it (``as_told``, FORMAT section 9) is empty here; the folds fill
    it in. An unknown type, and a known one whose members do not fit, decodes to :class:`UnknownEvent`; so does data
    that is no object or has no ``type`` (under the type ``""``).
    """
    if isinstance(data, dict) and data.get("as_told") is True:
        data = _with_blanks(data)
    try:
        event: AgentEvent = msgspec.convert({"event": data}, _Holder).event
    except (ValueError, TypeError, RecursionError):
        members = dict(data) if isinstance(data, Mapping) else {}
        kind = members.pop("type", "")
        event = UnknownEvent(kind if isinstance(kind, str) else "", members)
    return event


def decode_known_event(data: bytes) -> KnownEvent:
    """Return the known event that JSON text says, nothing of it left out: what :func:`decode_event` makes of its value.

    Raises ``ValueError`` for anything else.
    """
    event: KnownEvent = _decode_known(data)
    return event


def _with_blanks(data: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON of an event that left something out with empty messages and contents in its place."""
    blank: dict[str, Any] = {"message": {"role": "assistant"}} if data.get("type") == "TurnEnd" else {}
    return {name: _with_content(value) if name in _MESSAGES else value for name, value in (blank | data).items()}


def _with_content(given: Any) -> Any:
    if isinstance(given, list):
        return [_with_content(one) for one in given]
    return {"content": [], **given} if isinstance(given, dict) else given


def loop_of(event: AgentEvent) -> str | None:
    """Return the loop that the event belongs to; ``None`` for the events of a whole session."""
    if isinstance(event, UnknownEvent):
        return _text(event.members.get("loop_id"))
    return getattr(event, "loop_id", None)


def session_named_by(event: AgentEvent) -> str | None:
    """Return the session that the event names outright, if it does."""
    if isinstance(event, UnknownEvent):
        return _text(event.members.get("session_id"))
    return getattr(event, "session_id", None)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


KNOWN_TYPES: Final = frozenset(EVENT_TYPES.values())
LOOP_EVENTS: Final = frozenset(get_args(_RuntimeEvent)) - {AgentStart, ParallelLoopStart, ParallelLoopEnd}
"""Events of a loop that, unless a tool's end names a child, say nothing of another loop or session."""

__all__ = [
    "EVENT_TYPES",
    "KNOWN_TYPES",
    "LOOP_EVENTS",
    "AgentEnd",
    "AgentEvent",
    "AgentStart",
    "CompactionBlockAdded",
    "CompactionEnded",
    "CompactionStarted",
    "EventsFiltered",
    "InputRejected",
    "KnownEvent",
    "LoopImported",
    "MessageEnd",
    "MessageStart",
    "MessageUpdate",
    "ParallelLoopEnd",
    "ParallelLoopStart",
    "ProgressMessage",
    "PrunApplied",
    "RevertApplied",
    "SessionFlushed",
    "SessionFormed",
    "SessionImported",
    "SpawnLinked",
    "StreamDelta",
    "TextDelta",
    "ThinkingDelta",
    "ToolCallDelta",
    "ToolExecutionEnd",
    "ToolExecutionStart",
    "ToolExecutionUpdate",
    "TurnEnd",
    "TurnRequest",
    "TurnStart",
    "UnknownEvent",
    "decode_event",
    "decode_known_event",
    "encode_event",
    "loop_of",
    "session_named_by",
]
