"""Reading trees out of a store: one, those of an agent, those that a session spawned."""

from pathlib import Path

import pytest
from loops_factories import end, start, tool_end

from sessionlog import (
    AgentEventEntry,
    CorruptLog,
    FileStore,
    HashedEntry,
    MemoryStore,
    SessionId,
    SessionNotFound,
    SessionStartState,
    create_session_with_id,
)
from sessionlog.loops import (
    SessionRecorder,
    SessionScope,
    collect_session,
    encode_event,
    list_sessions_for_agent,
    load_session,
    load_spawned,
)

pytestmark = pytest.mark.anyio


async def filled(*events: object) -> MemoryStore:
    store = MemoryStore()
    recorder = SessionRecorder(store=store)
    for event in events:
        await recorder.record(event)  # type: ignore[arg-type] # the tests' own events
    return store


async def test_a_session_that_is_not_there_is_an_error() -> None:
    """The store's own."""
    with pytest.raises(SessionNotFound):
        await load_session(MemoryStore(), SessionId("s"))


async def test_an_empty_log_is_an_empty_session() -> None:
    """It is there, and holds nothing yet."""
    store = MemoryStore()
    store._logs[SessionId("s")] = []
    session = await load_session(store, SessionId("s"))
    assert (session.session_id, session.loops) == ("s", [])


async def test_the_scope_is_told_by_the_store(tmp_path: Path) -> None:
    """Also where the log was written by something else than a recorder, and says nothing of it."""
    async with FileStore(tmp_path, durability="os") as store:
        log = await create_session_with_id(store, SessionId("s"), SessionStartState())
        await log.append(AgentEventEntry(ts=0, event=encode_event(start("s.c.0"))))
        assert (await load_session(store, SessionId("s"))).scope is SessionScope.PERSISTENT
        assert collect_session(await store.read_all(SessionId("s"))).scope is SessionScope.EPHEMERAL


async def test_sessions_are_listed_by_agent() -> None:
    """By the first loop's agent, last activity first; a session without loops is nobody's."""
    store = await filled(
        start("a.c.0"), start("b.c.0", agent_id="other"), start("c.c.0"), start("a.c.1", agent_id="other"), end("b.c.0")
    )
    await create_session_with_id(store, SessionId("empty"), SessionStartState())
    assert [session.session_id for session in await list_sessions_for_agent(store, "agent")] == ["a", "c"]
    assert [session.session_id for session in await list_sessions_for_agent(store, "other")] == ["b"]
    assert [len(session.loops) for session in await list_sessions_for_agent(store, "agent")] == [2, 1]
    assert await list_sessions_for_agent(store, "nobody") == []


async def test_a_session_that_vanishes_meanwhile_is_left_out() -> None:
    """It was listed and is gone."""
    store = await filled(start("a.c.0"), start("b.c.0"))

    class Vanishing(MemoryStore):
        async def list_sessions(self) -> list[SessionId]:
            return [SessionId("gone"), *await store.list_sessions()]

    vanishing = Vanishing()
    vanishing._logs = store._logs
    assert [session.session_id for session in await list_sessions_for_agent(vanishing, "agent")] == ["b", "a"]


async def test_a_damaged_record_is_an_error() -> None:
    """It is not passed over."""
    store = await filled(start("a.c.0"))
    log = store._logs[SessionId("a")]
    line = log[1].line.replace(b'"event":{', b'"event":[')
    log[1] = HashedEntry(line, hash=log[1].hash, prev_hash=log[1].prev_hash, seq=1)
    for call in (load_session(store, SessionId("a")), list_sessions_for_agent(store, "agent")):
        with pytest.raises(CorruptLog):
            await call


async def test_spawned_sessions_are_followed() -> None:
    """Each once, nearest first, around cycles and past those that are not there."""
    store = await filled(
        start("a.c.0"),
        start("b.c.0"),
        start("c.c.0"),
        tool_end("a.c.0", "t1", child="b.c.0"),
        tool_end("a.c.0", "t2", child="gone.c.0"),
        tool_end("a.c.0", "t3", child="no good.c.0"),
        tool_end("b.c.0", "t4", child="c.c.0"),
        tool_end("c.c.0", "t5", child="a.c.0"),
        tool_end("a.c.0", "t6", child="b.c.1"),
    )
    spawned = await load_spawned(store, await load_session(store, SessionId("a")))
    assert [session.session_id for session in spawned] == ["b", "c"]
    assert await load_spawned(store, await load_session(store, SessionId("b"))) != spawned
