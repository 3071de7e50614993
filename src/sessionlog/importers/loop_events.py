"""The agent events of one session, from what the objects of its file tell, one after the other.

A loop begins with what the user says, and ends when the user says something after the model has answered. A turn is
one message of the model with what went in before it and the tools' answers to it; its usage is that of the message's
last part. An event is written as soon as an object proves it, never before: so a file that grows in steps gives the
events of one that is read at once. For that, objects that are in the log already are taken again, and what they give
is dropped.

At the end of a file that is whole, the last turn ends, and the loop too if the file says that the model had no more to
do, or a parent's log that the call that ran the agent was answered. Should it go on after all, :class:`EarlyEnds`, read
from the log, says what was ended: answers that come late are then the input of the next turn, and the model's next
message begins another loop.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from ..ids import SessionId
from ..loops import (
    AgentEnd,
    AgentEvent,
    AgentMessage,
    AgentStart,
    AssistantMessage,
    Branch,
    Compaction,
    CompactionEnded,
    CompactionStarted,
    Content,
    ContinuationKind,
    Default,
    Initial,
    MessageEnd,
    Rerun,
    SessionFormed,
    SessionScope,
    SpawnLinked,
    StopReason,
    ToolCallContent,
    ToolExecutionEnd,
    ToolExecutionStart,
    ToolResult,
    ToolResultMessage,
    TurnEnd,
    TurnId,
    TurnStart,
    TurnTrigger,
    Usage,
    UserMessage,
)
from .plan import PlannedSession
from .told import Answered, Told

CONFIG: Final = "main"
"""The middle of the loops' ids."""
LOOP_MESSAGES_MAX: Final = 10_000
"""A loop's end repeats its messages up to so many; the turns of a longer one have them all the same."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TS_END: Final = 253_402_300_800_000


@dataclass
class EarlyEnds:
    """What earlier imports ended because the file did, and whose sub-agent the log says the session is."""

    turns: dict[tuple[str, int], frozenset[str]] = field(default_factory=dict)
    """Turns by loop and index, with the calls that were answered by then."""
    loops: dict[str, int] = field(default_factory=dict)
    """Loops, with the index of their last turn."""
    linked: bool = False
    turn_open: bool = False
    """The log's last turn has not ended: it does with a file that is whole."""

    def take(self, event: Any, *, at_end: bool) -> None:
        """Note an event of the log; ``at_end``: it was written when the file ended, for no object of it."""
        kind = event.get("type") if isinstance(event, dict) else None
        if kind in ("TurnStart", "TurnEnd"):
            self.turn_open = kind == "TurnStart"
        match event:
            case {"type": "SpawnLinked"}:
                self.linked = True
            case {
                "type": "TurnEnd",
                "loop_id": str(loop_id),
                "message": {"turn_id": {"turn_index": int(index)}},
            } if at_end:
                results = event.get("tool_results", ())
                self.turns[loop_id, index] = frozenset(one.get("tool_call_id", "") for one in results)
            case {"type": "AgentEnd", "loop_id": str(loop_id)} if at_end:
                self.loops[loop_id] = max((index for loop, index in self.turns if loop == loop_id), default=-1)
            case _:
                pass


def loop_id(session_id: str, number: int) -> str:
    """Return the id of a session's loop."""
    return f"{session_id}.{CONFIG}.{number}"


@dataclass(slots=True)
class _Turn:
    index: int
    message_id: str
    message: AssistantMessage
    inputs: list[AgentMessage]
    content: list[Content]
    open_calls: set[str] = field(default_factory=set)
    results: list[ToolResultMessage] = field(default_factory=list)
    ended_ms: int = 0


@dataclass(slots=True)
class _Loop:
    loop_id: str
    messages: list[AgentMessage] = field(default_factory=list)
    turn: _Turn | None = None
    message_count: int = 0
    turn_count: int = 0
    usage: Usage = field(default_factory=Usage)
    last_ms: int = 0
    done: bool = False
    """It was said last that the model has no more to do."""


class LoopEvents:
    """Gives the events of one session."""

    def __init__(
        self,
        session: PlannedSession,
        early: EarlyEnds,
        *,
        agent_id: str,
        scope: SessionScope,
        parent_loop: Callable[[], str | None],
        source_tool: Callable[[str], str],
    ) -> None:
        """Begin; ``parent_loop`` tells, when the first loop begins, the loop of another session that it comes from.

        ``source_tool`` names the tool of a call that was made before this session parted from its source.
        """
        self._session = session
        self._session_id = session.session_id
        self._early = early
        self._agent_id = agent_id
        self._scope = scope
        self._parent_loop = parent_loop
        self._source_tool = source_tool
        self._loop: _Loop | None = None
        self._starts: list[tuple[int, str]] = []
        self._waiting: list[AgentMessage] = []
        self._asked_ms: int | None = None
        self._tools: dict[str, str] = {}
        self._message_ids: set[str] = set()
        self._agents: dict[str, SessionId] = {}
        self._calls: dict[str, SessionId] = {}
        self._events: list[AgentEvent] = []
        self.links: dict[SessionId, SpawnLinked] = {}
        """The sub-agents that tool calls of this session ran, as told so far."""

    def loop_at(self, ordinal: int) -> str | None:
        """Return the loop that was running at an object of the session, or else the one that the session comes from."""
        for first, found in reversed(self._starts):
            if first <= ordinal:
                return found
        return self._parent_loop() if self._session.source is not None else None

    @property
    def last_loop(self) -> str | None:
        """The loop that began last."""
        return self._starts[-1][1] if self._starts else None

    def tool_name(self, call_id: str) -> str:
        """Return the name of the tool that a call is for; empty for a call that nobody made."""
        return self._tools.get(call_id) or self._source_tool(call_id)

    def take(
        self, told: Told | None, ordinal: int, *, ts: int, spawn: tuple[str, SessionId, str | None] | None
    ) -> list[AgentEvent]:
        """Return what the next object of the session proves; ``spawn`` is the sub-agent that it tells of first."""
        if spawn is not None:
            self._agents[spawn[0]] = spawn[1]
            if spawn[2] is not None:
                self._calls[spawn[2]] = spawn[1]
        if told is not None:
            if told.compacts is not None:
                self._compact(told, ordinal, ts)
            for answered in told.results:
                self._result(answered, told, ordinal, ts)
            if told.asked is not None:
                self._ask(told.asked, told, ordinal, ts)
            if told.answer is not None:
                self._answer(told.answer, told, ordinal, ts)
            if self._loop is not None and (told.ends or told.answer is not None):
                self._loop.done = told.ends
        return self._taken()

    def finish(self, *, whole: bool, left: bool, answered: bool = False) -> list[AgentEvent]:
        """Return what the end of the file ends: the turn, if it is ``whole`` or the session was ``left`` for another.

        The loop ends as well if it was left, or if the model had no more to do, as the file says, or as follows from
        the call that ran this agent: it was ``answered``.
        """
        loop = self._loop
        if loop is None or not (whole or left):
            return []
        done = (loop.done or answered) and not self._waiting and not (loop.turn is not None and loop.turn.open_calls)
        self._end_turn(loop)
        if left or done:
            self._end_loop(loop)
        return self._taken()

    def _taken(self) -> list[AgentEvent]:
        events, self._events = self._events, []
        return events

    def _begin(self, kind: ContinuationKind | None, ordinal: int, ts: int, metadata: Any) -> _Loop:
        """Begin a loop; without a ``kind``, it goes on from the one before, if there is one."""
        first = not self._starts
        parent = self._parent_loop() if first else self._starts[-1][1]
        if kind is None:
            kind = self._first_kind(kind=Branch) if first else Default()
        if first:
            self._events.append(SessionFormed(session_id=self._session_id, scope=self._scope))
        self._loop = loop = _Loop(loop_id(self._session_id, len(self._starts)), last_ms=ts)
        self._starts.append((ordinal, loop.loop_id))
        self._events.append(
            AgentStart(
                agent_id=self._agent_id,
                session_id=self._session_id,
                loop_id=loop.loop_id,
                parent_loop_id=parent,
                continuation_kind=kind,
                timestamp=_time(ts),
                metadata=metadata,
            )
        )
        return loop

    def _first_kind(self, *, kind: type[Branch] | type[Rerun]) -> ContinuationKind:
        start = self._session.first
        tag = getattr(start, "uuid", "")
        return kind(tag[:8]) if self._session.role == "fork" else Initial()

    def _compact(self, told: Told, ordinal: int, ts: int) -> None:
        """A loop of its own, which asks no model."""
        if self._loop is not None:
            self._end_loop(self._loop)
        loop = self._begin(Compaction(), ordinal, ts, told.metadata)
        started = CompactionStarted(loop_id=loop.loop_id, estimated_tokens=told.compacts or 0, timestamp=_time(ts))
        ended = CompactionEnded(loop_id=loop.loop_id, estimated_tokens_before=told.compacts or 0, timestamp=_time(ts))
        self._events += [started, ended]
        self._end_loop(loop)

    def _ask(self, message: UserMessage, told: Told, ordinal: int, ts: int) -> None:
        loop = self._loop
        if told.interrupts and loop is not None and loop.turn is not None:
            loop.turn.message = msgspec.structs.replace(loop.turn.message, stop_reason=StopReason.USER_STOP)
            self._end_loop(loop)
        if told.prompts and (loop is None or loop.turn_count):
            if loop is not None:
                self._end_loop(loop)
            self._begin(None, ordinal, ts, told.metadata)
        self._waiting.append(message)
        self._asked_ms = ts

    def _result(self, answered: Answered, told: Told, ordinal: int, ts: int) -> None:
        if not self._starts:
            self._begin(None, ordinal, ts, told.metadata)
        loop, current = self._loop, self._starts[-1][1]
        if loop is not None:
            loop.last_ms = ts
        self._asked_ms = ts
        call_id = answered.message.tool_call_id
        name = answered.message.tool_name or self.tool_name(call_id)
        message = msgspec.structs.replace(answered.message, tool_name=name)
        turn = None if loop is None else loop.turn
        late = self._early.turns.get((current, -1 if turn is None else turn.index))
        if turn is not None and call_id in turn.open_calls and (late is None or call_id in late):
            turn.open_calls.discard(call_id)
            turn.results.append(msgspec.structs.replace(message, turn_id=TurnId(current, turn.index)))
            turn.ended_ms = ts
        else:
            self._waiting.append(message)
        child = self._agents.get(answered.agent or "") or self._calls.get(call_id)
        child_loop = None if child is None else loop_id(child, 0)
        self._events.append(
            ToolExecutionEnd(
                loop_id=current,
                tool_call_id=call_id,
                tool_name=name,
                result=ToolResult(message.content, answered.details),
                is_error=message.is_error,
                child_loop_id=child_loop,
            )
        )
        if child is not None and child_loop is not None:
            link = SpawnLinked(
                parent_session_id=self._session_id,
                parent_loop_id=current,
                child_session_id=child,
                child_loop_id=child_loop,
                tool_call_id=call_id,
                tool_name=name,
            )
            self.links.setdefault(child, link)

    def _answer(self, part: AssistantMessage, told: Told, ordinal: int, ts: int) -> None:
        loop = self._loop
        turn = None if loop is None else loop.turn
        if told.message_id in self._message_ids and (turn is None or turn.message_id != told.message_id):
            return  # a part of a message that is over: counted once
        if loop is None or turn is None or turn.message_id != told.message_id:
            ended_at = None if loop is None else self._early.loops.get(loop.loop_id)
            if loop is None or ended_at == loop.turn_count - 1:
                loop = self._begin(None if self._starts else self._first_kind(kind=Rerun), ordinal, ts, told.metadata)
            turn = self._begin_turn(loop, part, told.message_id, ts)
        loop.last_ms = turn.ended_ms = ts
        for piece in part.content:
            if isinstance(piece, ToolCallContent):
                if piece.id in self._tools:
                    continue
                self._tools[piece.id] = piece.name
                turn.open_calls.add(piece.id)
                self._events.append(
                    ToolExecutionStart(
                        loop_id=loop.loop_id, tool_call_id=piece.id, tool_name=piece.name, args=piece.arguments
                    )
                )
            turn.content.append(piece)
        whole = turn.message
        turn.message = msgspec.structs.replace(
            part,
            content=turn.content,
            timestamp=whole.timestamp,
            turn_id=whole.turn_id,
            node_id=whole.node_id,
            parent_id=whole.parent_id,
            usage=part.usage if part.usage != Usage() else whole.usage,
        )

    def _begin_turn(self, loop: _Loop, part: AssistantMessage, message_id: str, ts: int) -> _Turn:
        self._end_turn(loop)
        turn_id = TurnId(loop.loop_id, loop.turn_count)
        inputs = [msgspec.structs.replace(message, turn_id=turn_id) for message in self._waiting]
        self._waiting = []
        self._message_ids.add(message_id)
        message = msgspec.structs.replace(part, turn_id=turn_id)
        loop.turn = turn = _Turn(turn_id.turn_index, message_id, message, inputs, [])
        trigger = TurnTrigger.CONTINUATION
        if loop.turn_count == 0 and inputs and not isinstance(inputs[0], ToolResultMessage):
            trigger = self._first_trigger() if len(self._starts) == 1 else TurnTrigger.USER
        loop.turn_count += 1
        started_ms = ts if self._asked_ms is None else min(self._asked_ms, ts)
        self._asked_ms = None
        self._events.append(
            TurnStart(
                loop_id=loop.loop_id,
                turn_index=turn.index,
                timestamp=_time(started_ms),
                triggered_by=trigger,
            )
        )
        self._events += [MessageEnd(loop_id=loop.loop_id, message=one) for one in inputs]
        return turn

    def _first_trigger(self) -> TurnTrigger:
        by_role = {"agent": TurnTrigger.SUB_AGENT, "fork": TurnTrigger.BRANCH}
        return by_role.get(self._session.role, TurnTrigger.USER)

    def _end_turn(self, loop: _Loop) -> None:
        turn, loop.turn = loop.turn, None
        if turn is None:
            return
        loop.message_count += len(turn.inputs) + 1 + len(turn.results)
        if loop.message_count <= LOOP_MESSAGES_MAX:
            loop.messages += [*turn.inputs, turn.message, *turn.results]
        else:
            loop.messages = []
        loop.usage += turn.message.usage
        if (loop.loop_id, turn.index) not in self._early.turns:
            self._events.append(
                TurnEnd(
                    loop_id=loop.loop_id,
                    message=turn.message,
                    usage=turn.message.usage,
                    timestamp=_time(turn.ended_ms),
                    tool_results=turn.results,
                )
            )

    def _end_loop(self, loop: _Loop) -> None:
        self._end_turn(loop)
        self._loop = None
        if loop.loop_id in self._early.loops:
            return
        self._events.append(
            AgentEnd(
                loop_id=loop.loop_id,
                messages=loop.messages,
                usage=loop.usage,
                timestamp=_time(loop.last_ms),
            )
        )


def parted(events: Sequence[AgentEvent]) -> tuple[Sequence[AgentEvent], Sequence[AgentEvent]]:
    """Return what begins a turn, or ends one before it, and what comes in it.

    The first stands in front of the entries of the object that proves it: what those say is said in that turn.
    """
    begins = [place for place, event in enumerate(events) if isinstance(event, TurnStart | MessageEnd)]
    at = begins[-1] + 1 if begins else 0
    return events[:at], events[at:]


def bare(event: AgentEvent) -> AgentEvent:
    """Return the event without what makes it long, or hard to store: the entries of the same commit have it."""
    match event:
        case ToolExecutionStart():
            return msgspec.structs.replace(event, args=None)
        case ToolExecutionEnd():
            return msgspec.structs.replace(event, result=ToolResult())
        case TurnEnd(message=AssistantMessage() as message):
            return msgspec.structs.replace(
                event,
                message=msgspec.structs.replace(message, content=[]),
                tool_results=[
                    msgspec.structs.replace(one, content=[])
                    for one in event.tool_results
                    if isinstance(one, ToolResultMessage)
                ],
            )
        case AgentEnd():
            return msgspec.structs.replace(event, messages=[])
        case AgentStart():
            return msgspec.structs.replace(event, metadata=None)
        case MessageEnd(message=UserMessage() | ToolResultMessage() as message):
            return msgspec.structs.replace(event, message=msgspec.structs.replace(message, content=[]))
        case _:
            return event


def due_links(links: Iterable[Mapping[SessionId, SpawnLinked]]) -> dict[SessionId, SpawnLinked]:
    """Return which tool call ran each sub-agent: the first that is told."""
    found: dict[SessionId, SpawnLinked] = {}
    for one in links:
        for child, link in one.items():
            found.setdefault(child, link)
    return found


def _time(ts_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=min(max(ts_ms, 0), _TS_END - 1))
