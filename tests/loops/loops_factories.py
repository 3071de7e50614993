"""Short ways to make events and messages, for the tests of the loop tree."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from sessionlog import HashedEntry, SessionId, Store
from sessionlog.loops import (
    AgentEnd,
    AgentEvent,
    AgentMessage,
    AgentStart,
    AssistantMessage,
    Branch,
    CompactedSection,
    CompactionBlock,
    CompactionBlockAdded,
    Default,
    EventsFiltered,
    Explicit,
    InactivityTimeout,
    Initial,
    InputRejected,
    LoopConfigSnapshot,
    MessageEnd,
    MessageStart,
    MessageUpdate,
    ParallelLoopEnd,
    ParallelLoopStart,
    Rerun,
    Session,
    SessionFlushed,
    SessionFormed,
    SessionRecorder,
    SessionScope,
    SpawnLinked,
    Text,
    TextDelta,
    ToolExecutionEnd,
    ToolResult,
    ToolResultMessage,
    TurnEnd,
    TurnRange,
    TurnRequest,
    TurnStart,
    TurnTrigger,
    UnknownEvent,
    Usage,
    UserMessage,
    collect_session,
    decode_event,
    encode_event,
)

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """Return the moment so many seconds after the start."""
    return START + timedelta(seconds=seconds)


def user(text: str) -> UserMessage:
    return UserMessage([Text(text)], 1)


def answer(text: str, model: str = "m-1", provider: str = "p") -> AssistantMessage:
    return AssistantMessage([Text(text)], 2, model=model, provider=provider, usage=Usage(input=3, output=4))


def tool_answer(call_id: str, text: str) -> ToolResultMessage:
    return ToolResultMessage(call_id, "ls", [Text(text)], timestamp=3)


def start(loop_id: str, session_id: str | None = None, seconds: float = 0, **members: Any) -> AgentStart:
    session_id = loop_id.partition(".")[0] if session_id is None else session_id
    members = {"agent_id": "agent", "timestamp": at(seconds), **members}
    return AgentStart(session_id=session_id, loop_id=loop_id, **members)


def end(loop_id: str, seconds: float = 9, **members: Any) -> AgentEnd:
    return AgentEnd(loop_id=loop_id, timestamp=at(seconds), **members)


def turn_start(loop_id: str, turn_index: int = 0, seconds: float = 1) -> TurnStart:
    return TurnStart(loop_id=loop_id, turn_index=turn_index, timestamp=at(seconds))


def turn_end(
    loop_id: str, text: str = "done", seconds: float = 2, tool_results: Sequence[AgentMessage] = (), **members: Any
) -> TurnEnd:
    members = {"message": answer(text), **members}
    return TurnEnd(loop_id=loop_id, timestamp=at(seconds), tool_results=tool_results, **members)


def said(loop_id: str, message: AgentMessage) -> MessageEnd:
    return MessageEnd(loop_id=loop_id, message=message)


def streamed(loop_id: str, text: str = "do") -> MessageUpdate:
    return MessageUpdate(loop_id=loop_id, message=answer(text), delta=TextDelta(text))


def tool_end(loop_id: str, call_id: str, child: str | None = None) -> ToolExecutionEnd:
    return ToolExecutionEnd(
        loop_id=loop_id, tool_call_id=call_id, tool_name="task", result=ToolResult([Text("ok")], child_loop_id=child)
    )


def group_start(*loop_ids: str, session_id: str = "s", seconds: float = 0) -> ParallelLoopStart:
    return ParallelLoopStart(session_id=session_id, loop_ids=loop_ids, timestamp=at(seconds))


def group_end(selected: str, index: int = 0, session_id: str = "s") -> ParallelLoopEnd:
    return ParallelLoopEnd(
        session_id=session_id,
        selected_loop_id=selected,
        selected_config_index=index,
        evaluation_usage=Usage(input=7),
        timestamp=at(8),
    )


def as_read(event: AgentEvent) -> AgentEvent:
    """Return the event as a log gives it back."""
    return decode_event(json.loads(json.dumps(encode_event(event))))


def fed(*events: object) -> SessionRecorder:
    """Return a recorder that took the events in memory."""
    recorder = SessionRecorder()
    for event in events:
        recorder.on_event(event)
    return recorder


def tree(*events: object, session_id: str = "s") -> Session:
    """Return the tree of one session after the events."""
    session = fed(*events).get_session(session_id)
    assert session is not None
    return session


async def records_of(store: Store, session_id: str) -> list[HashedEntry]:
    return await store.read_all(SessionId(session_id))


async def assert_log_says_the_same(recorder: SessionRecorder) -> None:
    """Every session of the recorder is what its log folds to, and every prefix of that log folds."""
    for session in recorder.sessions():
        records = await records_of(recorder.store, session.session_id)
        assert collect_session(records) == session
        for length in range(len(records)):
            collect_session(records[:length])


def events_strategy() -> st.SearchStrategy[AgentEvent]:
    """Draw events of few sessions and loops, in no order that makes sense, some with ids that follow no pattern."""
    sessions = st.sampled_from(["s", "k", "weird", "no good"])
    loops = st.sampled_from(["s.c.0", "s.c.1", "s.a.b.2", "k.c.0", "k.c.1", "weird", "w2", "no good.c.0", ""])
    times = st.integers(0, 5).map(at)
    messages = st.sampled_from([user("hi"), answer("yes"), answer("no", model="m-2"), tool_answer("t1", "out")])
    kinds = st.sampled_from([Initial(), Default(), Rerun("r"), Branch("b")])
    configs = st.sampled_from([None, LoopConfigSnapshot("m-0", "p")])
    usages = st.integers(0, 9).map(lambda tokens: Usage(input=tokens, output=tokens))
    turns = st.integers(0, 2)
    calls = st.sampled_from(["t1", "t2"])
    block = CompactionBlock(keep_compacted=CompactedSection(TurnRange(0, 1), [user("summary")]), created_at=START)
    builds = st.builds
    return st.one_of(
        builds(
            AgentStart,
            agent_id=st.sampled_from(["agent", "other"]),
            session_id=sessions,
            loop_id=loops,
            parent_loop_id=st.none() | loops,
            continuation_kind=kinds,
            timestamp=times,
            metadata=st.sampled_from([None, {"a": (1, 2)}]),
            config_snapshot=configs,
        ),
        builds(
            AgentEnd,
            loop_id=loops,
            messages=st.lists(messages, max_size=2),
            usage=usages,
            timestamp=times,
            rejection=st.sampled_from([None, None, "no"]),
        ),
        builds(TurnStart, loop_id=loops, turn_index=turns, timestamp=times, triggered_by=st.sampled_from(TurnTrigger)),
        builds(TurnRequest, loop_id=loops, turn_index=turns, payload=st.just({"model": "m"}), timestamp=times),
        builds(
            TurnEnd,
            loop_id=loops,
            message=messages,
            usage=usages,
            timestamp=times,
            tool_results=st.lists(messages, max_size=1),
        ),
        builds(MessageStart, loop_id=loops, message=messages),
        builds(MessageUpdate, loop_id=loops, message=messages, delta=st.just(TextDelta("d"))),
        builds(MessageEnd, loop_id=loops, message=messages),
        builds(
            ToolExecutionEnd,
            loop_id=loops,
            tool_call_id=calls,
            tool_name=st.just("task"),
            child_loop_id=st.none() | loops,
        ),
        builds(InputRejected, loop_id=loops, reason=st.just("no")),
        builds(ParallelLoopStart, session_id=sessions, loop_ids=st.lists(loops, max_size=3), timestamp=times),
        builds(ParallelLoopEnd, session_id=sessions, selected_loop_id=loops, evaluation_usage=usages, timestamp=times),
        builds(
            SessionFormed,
            session_id=sessions,
            formation=st.sampled_from([None, Explicit(START), InactivityTimeout(threshold_secs=60, timestamp=START)]),
            scope=st.sampled_from([None, *SessionScope]),
        ),
        builds(SessionFlushed, session_id=sessions),
        builds(EventsFiltered, loop_id=loops, count=st.integers(-1, 3)),
        builds(CompactionBlockAdded, loop_id=loops, block=st.just(block)),
        builds(
            SpawnLinked,
            parent_session_id=sessions,
            parent_loop_id=loops,
            child_session_id=sessions,
            child_loop_id=loops,
            tool_call_id=calls,
            tool_name=st.just("task"),
        ),
        builds(
            UnknownEvent,
            type=st.just("Novel"),
            members=st.fixed_dictionaries({"x": st.just(1)}, optional={"loop_id": loops, "session_id": sessions}),
        ),
    )
