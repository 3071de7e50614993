"""The memory store, where it alone could be wrong; ``test_conformance`` holds it to the contract of every store."""

from contextlib import aclosing

import anyio
import pytest

from sessionlog import (
    HeadConflict,
    InvalidEntry,
    MemoryStore,
    RequestConfig,
    SessionExists,
    SessionId,
    SessionNotFound,
    SessionStart,
    SessionStartState,
    StoreFailed,
    TurnEnd,
    create_session_with_id,
    link,
)
from sessionlog.record import LINE_BYTES_MAX

pytestmark = pytest.mark.anyio

ID = SessionId("s")


async def test_raw_bytes_are_the_lines() -> None:
    """The raw stream is every line with its LF."""
    async with MemoryStore() as store:
        log = await create_session_with_id(store, ID, SessionStartState())
        await log.save_turn_end(1)
        raw = b"".join([chunk async for chunk in store.read_raw(ID)])
        assert raw == b"".join(record.line + b"\n" for record in await store.read_all(ID))


async def test_last_activity_comes_first() -> None:
    """A session moves to the front of the list with each append, and not with a refused one."""
    async with MemoryStore() as store:
        logs = [await create_session_with_id(store, SessionId(name), SessionStartState()) for name in "abc"]
        assert await store.list_sessions() == ["c", "b", "a"]
        await logs[0].save_turn_end(1)
        assert await store.list_sessions() == ["a", "c", "b"]
        with pytest.raises(SessionExists):
            await create_session_with_id(store, SessionId("b"), SessionStartState())
        assert await store.list_sessions() == ["a", "c", "b"]


async def test_a_refused_append_leaves_no_session_behind() -> None:
    """Neither a conflict nor a missing session changes what the store holds."""
    async with MemoryStore() as store:
        log = await create_session_with_id(store, ID, SessionStartState())
        first = await store.read_all(ID)
        second = link(log.head, TurnEnd(ts=1, turn_count=1))
        await store.append(ID, second)
        with pytest.raises(HeadConflict) as conflict:
            await store.append(ID, second)
        assert (conflict.value.expected, conflict.value.found) == (first[0].head, second.head)
        with pytest.raises(SessionNotFound):
            await store.append(SessionId("gone"), second)
        with pytest.raises(InvalidEntry):
            await store.append(SessionId("other"), first[0])
        assert await store.list_sessions() == [ID]
        assert await store.read_all(ID) == [*first, second]


async def test_lines_have_a_limit() -> None:
    """A record longer than ``line_bytes_max`` is refused by store and session alike."""
    assert MemoryStore().line_bytes_max == LINE_BYTES_MAX
    start = SessionStart(ts=1, format="sessionlog/1", session_id=ID, config=RequestConfig(), history=[])
    record = link(None, start)
    async with MemoryStore(line_bytes_max=len(record.line)) as store:
        await store.append(ID, record)
    async with MemoryStore(line_bytes_max=len(record.line) - 1) as store:
        with pytest.raises(InvalidEntry, match="bytes"):
            await store.append(ID, record)
        assert await store.list_sessions() == []


async def test_closing_wakes_followers() -> None:
    """Whoever waits for more when the store is closed is told so instead of waiting for ever."""
    store = MemoryStore()
    log = await create_session_with_id(store, ID, SessionStartState())
    seen: list[int] = []

    async def follow() -> None:
        async with aclosing(store.follow(ID)) as records:
            while len(seen) < 2:
                seen.append((await anext(records)).seq)
            with pytest.raises(StoreFailed):
                await anext(records)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            await anyio.wait_all_tasks_blocked()
            await log.save_turn_end(1)
            await anyio.wait_all_tasks_blocked()
            await store.aclose()
    assert seen == [0, 1]
    with pytest.raises(StoreFailed):
        await store.read_head(ID)
