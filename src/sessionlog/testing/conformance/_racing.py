"""Checks of many writers: tasks on one store, and, where a store says so, several stores on the same data."""

from collections.abc import Sequence
from contextlib import AsyncExitStack

import anyio
import anyio.lowlevel

from ...chain import LogState, link, verify_chain
from ...entries import Extension
from ...errors import HeadConflict, SessionExists
from ...ids import EntryHash, Head, SessionId
from ...record import HashedEntry
from ...session import SessionLog
from ...store import Store
from ._kit import (
    ID,
    MakeStore,
    chain_onto,
    conformance_check,
    expect,
    expect_log,
    expect_records,
    fail,
    first_record,
    new_log,
    next_record,
    take,
    within_patience,
)

WRITERS = 8
APPENDS = 6
SESSIONS = 40


@conformance_check
async def check_one_winner(make_store: MakeStore) -> None:
    """Of several appends on one head at the same time one goes in; each other is told the head that beat it."""
    log = new_log(1)
    async with make_store() as store:
        await store.create_session(ID, log)
        for _ in range(10):
            log.append(await _race_on_head([store] * WRITERS, log[-1].head))
        await expect_log("after races", store, ID, log)


@conformance_check
async def check_one_creator(make_store: MakeStore) -> None:
    """Of several creations of one session at the same time one succeeds; each other raises SessionExists."""
    async with make_store() as store:
        await _race_to_create([store] * WRITERS)


@conformance_check
async def check_racing_writers(make_store: MakeStore) -> None:
    """Writers that retry after each HeadConflict leave one linear chain that holds each acknowledged record once."""
    async with make_store() as store:
        await _race_with_retries([store] * WRITERS)


@conformance_check
async def check_many_sessions_at_once(make_store: MakeStore) -> None:
    """Appends to many sessions at once each go to their own."""
    logs = {f"session-{number}": new_log(1, f"session-{number}") for number in range(SESSIONS)}
    async with make_store() as store:

        async def write(session_id: str) -> None:
            log = logs[session_id]
            await store.create_session(session_id, log)
            for count in (1, 2, 1, 3):
                more = chain_onto(log[-1].head, count, session_id)
                await store.append(session_id, *more)
                log += more

        with within_patience("appends to many sessions at once"):
            async with anyio.create_task_group() as tasks:
                for session_id in logs:
                    tasks.start_soon(write, session_id)
        for session_id, log in logs.items():
            expect_records(f"session {session_id}", await store.read_all(session_id), log)
        expect("list_sessions", sorted(await store.list_sessions()), sorted(logs))


@conformance_check
async def check_failure_stays_alone(make_store: MakeStore) -> None:
    """Appends that are refused do not disturb those to other sessions that run at the same time."""
    logs = {f"session-{number}": new_log(2, f"session-{number}") for number in range(8)}
    async with make_store() as store:
        for session_id, log in logs.items():
            await store.create_session(session_id, log)
        conflicts: list[str] = []

        async def write(number: int, session_id: str) -> None:
            log = logs[session_id]
            for _ in range(5):
                if number % 2:
                    log.append(next_record(log[-1].head))
                    await store.append(session_id, log[-1])
                else:
                    try:
                        await store.append(session_id, next_record(log[0].head))
                    except HeadConflict:
                        conflicts.append(session_id)

        with within_patience("appends beside refused ones"):
            async with anyio.create_task_group() as tasks:
                for number, session_id in enumerate(logs):
                    tasks.start_soon(write, number, session_id)
        expect("refused appends", len(conflicts), 4 * 5)
        for session_id, log in logs.items():
            await expect_log(f"session {session_id}", store, session_id, log)


@conformance_check
async def check_shared_session_log(make_store: MakeStore) -> None:
    """Tasks that share one SessionLog all get their entries in, and its head is the store's."""
    log = new_log(1)
    async with make_store() as store:
        await store.create_session(ID, log)
        shared = SessionLog(store, ID, log[-1].head)
        acknowledged: list[EntryHash] = []

        async def write(number: int) -> None:
            for index in range(APPENDS):
                entry = Extension(ts=0, domain="x", payload=[number, index])
                acknowledged.append(await shared.append(entry))

        with within_patience("tasks that share a SessionLog"):
            async with anyio.create_task_group() as tasks:
                for number in range(WRITERS):
                    tasks.start_soon(write, number)
        records = await store.read_all(ID)
        _expect_all_once(records, acknowledged)
        expect("the head of the SessionLog", shared.head, records[-1].head)


@conformance_check
async def check_handles_see_each_other(make_store: MakeStore) -> None:
    """What one open store appended, another open one reads at once, appends onto, lists and reports as a conflict."""
    async with make_store() as one, make_store() as other:
        log = new_log(2)
        await one.create_session(ID, log)
        for index in range(10):
            writer, reader = (other, one) if index % 2 else (one, other)
            await expect_log("in the other store", reader, ID, log)
            stale = log[-1].head
            log.append(next_record(stale, str(index)))
            await writer.append(ID, log[-1])
            try:
                await reader.append(ID, next_record(stale, "late"))
            except HeadConflict as raised:
                expect("HeadConflict.found by the other store", raised.found, log[-1].head)
            else:
                fail("an append on a head that another store moved", expected="HeadConflict", found="no error")
        await expect_log("in the first store", one, ID, log)


@conformance_check
async def check_handles_race(make_store: MakeStore) -> None:
    """Writers on several open stores leave one linear chain; of racing creations and appends one wins."""
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(make_store()) for _ in range(4)]
        head = (await _race_to_create(stores)).head
        for _ in range(5):
            head = (await _race_on_head(stores, head)).head
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(make_store()) for _ in range(4)]
        await _race_with_retries(stores, SessionId("retries"))


@conformance_check
async def check_follow_across_handles(make_store: MakeStore) -> None:
    """A follower sees what another open store appends, each record once and in order."""
    log = new_log(2)
    more = chain_onto(log[-1].head, 6)
    async with make_store() as reader, make_store() as writer:
        await writer.create_session(ID, log)
        found: list[HashedEntry] = []

        async def watch() -> None:
            found.extend(await take(reader.follow(ID), len(log) + len(more)))

        with within_patience("a follower of what another store appends"):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(watch)
                for start in range(0, len(more), 2):
                    await writer.append(ID, *more[start : start + 2])
                    await anyio.lowlevel.checkpoint()
        expect_records("follow", found, log + more)


async def _race_on_head(stores: Sequence[Store], head: Head) -> HashedEntry:
    """Append on ``head`` through all ``stores`` at once; return the record that won."""
    winners: list[HashedEntry] = []
    found: list[Head | None] = []

    async def write(number: int, store: Store) -> None:
        record = next_record(head, f"by writer {number}")
        try:
            await store.append(ID, record)
            winners.append(record)
        except HeadConflict as raised:
            expect("HeadConflict.expected", raised.expected, head)
            found.append(raised.found)

    with within_patience("appends on one head"):
        async with anyio.create_task_group() as tasks:
            for number, store in enumerate(stores):
                tasks.start_soon(write, number, store)
    expect("appends on one head that went in", len(winners), 1)
    expect("the heads that the others were told", found, [winners[0].head] * (len(stores) - 1))
    return winners[0]


async def _race_to_create(stores: Sequence[Store]) -> HashedEntry:
    """Create ``ID`` through all ``stores`` at once; return the first record that won."""
    winners: list[HashedEntry] = []
    told: list[str] = []

    async def create(number: int, store: Store) -> None:
        record = first_record(ID, f"by creator {number}")
        try:
            await store.create_session(ID, [record])
            winners.append(record)
        except SessionExists as raised:
            told.append(raised.session_id)

    with within_patience("creations of one session"):
        async with anyio.create_task_group() as tasks:
            for number, store in enumerate(stores):
                tasks.start_soon(create, number, store)
    expect("creations that succeeded", len(winners), 1)
    expect("creations that raised SessionExists", told, [ID] * (len(stores) - 1))
    await expect_log("after creations of one session", stores[0], ID, winners)
    return winners[0]


async def _race_with_retries(stores: Sequence[Store], session_id: str = ID) -> None:
    """Let a writer on each of ``stores`` append, retrying on the head that each conflict names."""
    first = first_record(session_id)
    await stores[0].create_session(session_id, [first])
    acknowledged: list[EntryHash] = []

    async def write(number: int, store: Store) -> None:
        for index in range(APPENDS):
            head = await store.read_head(session_id)
            while True:
                if head is None:
                    fail("the head of a session with records", expected="a head", found=None)
                record = link(head, Extension(ts=0, domain="race", payload=[number, index]))
                try:
                    await store.append(session_id, record)
                except HeadConflict as raised:
                    if raised.found is None or raised.found.seq < head.seq or raised.found == head:
                        fail(
                            "HeadConflict.found",
                            expected=f"another head than {head}, not before it",
                            found=raised.found,
                        )
                    head = raised.found
                else:
                    acknowledged.append(record.hash)
                    break
                await anyio.lowlevel.checkpoint()

    with within_patience("writers that retry"):
        async with anyio.create_task_group() as tasks:
            for number, store in enumerate(stores):
                tasks.start_soon(write, number, store)
    records = await stores[-1].read_all(session_id)
    expect("records of the session", len(records), 1 + APPENDS * len(stores))
    _expect_all_once(records, acknowledged)


def _expect_all_once(records: Sequence[HashedEntry], acknowledged: Sequence[EntryHash]) -> None:
    """Fail unless ``records`` are one valid chain of a first record and the acknowledged ones, each once."""
    expect("the chain", verify_chain(records).state, LogState.VALID)
    expect("the records behind the first", sorted(record.hash for record in records[1:]), sorted(acknowledged))
