"""For any sequence of events, the live tree is what the log folds to; and any prefix of a log folds."""

import contextlib

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loops_factories import as_read, assert_log_says_the_same, events_strategy, records_of

from sessionlog import AgentEventEntry, InvalidEntry, InvalidSessionId, MemoryStore, open_session
from sessionlog.ids import SessionId
from sessionlog.loops import (
    AgentEvent,
    SessionFold,
    SessionRecorder,
    SessionRecorderConfig,
    UnknownEvent,
    collect_session,
    decode_event,
    session_from_json,
    session_to_json,
)

CONFIGS = st.builds(SessionRecorderConfig, include_streaming_events=st.booleans(), capture_turn_requests=st.booleans())
INTERRUPTIONS = st.sampled_from([None, None, None, None, "drain", "flush", "foreign", "restart"])


async def record(recorder: SessionRecorder, event: AgentEvent) -> None:
    # what belongs to nothing that a store can name is refused: neither tree nor log may change
    with contextlib.suppress(InvalidEntry, InvalidSessionId):
        await recorder.record(event)


@settings(max_examples=250)
@given(st.lists(st.tuples(events_strategy(), INTERRUPTIONS), max_size=40), CONFIGS)
def test_the_log_folds_to_the_live_tree(
    steps: list[tuple[AgentEvent, str | None]], config: SessionRecorderConfig
) -> None:
    """Whatever comes in whatever order, with drains, flushes, restarts and another recorder on the same chains."""

    async def run() -> None:
        recorder = SessionRecorder(config, MemoryStore())
        for event, interruption in steps:
            await record(recorder, event)
            match interruption:
                case "drain":
                    recorder.checkpoint()
                    recorder.drain_completed()
                case "flush":
                    await recorder.record_flush()
                case "foreign":
                    await record(SessionRecorder(config, recorder.store), event)
                case "restart":
                    recorder = SessionRecorder(config, recorder.store)
                case _:
                    pass
        await catch_up(recorder)
        await assert_log_says_the_same(recorder)

    anyio.run(run)


async def catch_up(recorder: SessionRecorder) -> None:
    """Let the recorder see what the foreign one wrote last: an event of its own brings it up to the log."""
    for session in recorder.sessions():
        await recorder.record({"type": "Noticed", "session_id": session.session_id})


@settings(max_examples=150)
@given(st.lists(events_strategy(), max_size=30))
def test_memory_and_log_agree_without_interruptions(events: list[AgentEvent]) -> None:
    """A program that keeps no log sees the same trees as one that does, for the sessions that a store can name."""

    async def run() -> None:
        recorded, in_memory = SessionRecorder(), SessionRecorder()
        for event in events:
            await record(recorded, event)
            in_memory.on_event(event)
        for session in recorded.sessions():
            seen = in_memory.get_session(session.session_id)
            assert seen is not None
            assert seen == session

    anyio.run(run)


@settings(max_examples=150)
@given(st.lists(events_strategy(), max_size=30))
def test_trees_survive_their_json(events: list[AgentEvent]) -> None:
    """A tree is the same after it went through JSON data."""
    fold = SessionFold("s")
    for event in events:
        fold.apply(as_read(event))
    assert session_from_json(session_to_json(fold.session)) == fold.session


@settings(max_examples=200)
@given(
    st.lists(
        st.recursive(
            st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["AgentStart", "s", "s.c.0"]),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["type", "session_id", "loop_id", "timestamp", "loop", "session", "count"]),
                    inner,
                    max_size=5,
                )
            ),
        ),
        max_size=6,
    )
)
def test_any_json_folds(values: list[object]) -> None:
    """An agent event may hold any JSON: the fold takes it without an error, and so does ``on_event``."""
    fold, recorder = SessionFold("s"), SessionRecorder()
    for value in values:
        fold.apply(decode_event(value))
        recorder.on_event(value)


@pytest.mark.anyio
async def test_agent_events_that_are_no_events_fold() -> None:
    """What somebody else appended as an agent event, though it is none, is passed over."""
    recorder = SessionRecorder()
    await recorder.record(
        {
            "type": "AgentStart",
            "agent_id": "a",
            "session_id": "s",
            "loop_id": "s.c.0",
            "timestamp": "2026-03-01T12:00:00Z",
        }
    )
    log = await open_session(recorder.store, SessionId("s"))
    values: list[object] = [None, 7, "AgentEnd", [], {}, {"type": 3}, {"type": "AgentEnd", "loop_id": "s.c.0"}]
    for value in values:
        await log.append(AgentEventEntry(ts=0, event=value))
    session = collect_session(await records_of(recorder.store, "s"))
    assert [item.event for item in session.loops[0].events[1:]] == [UnknownEvent("AgentEnd", {"loop_id": "s.c.0"})]
