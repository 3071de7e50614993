"""Checks of ``delete_session``: its condition, what it leaves, and what those meet who knew the session."""

from contextlib import aclosing
from functools import partial

import anyio
import anyio.lowlevel

from ...errors import EntryNotFound, HeadConflict, SessionLogError, SessionNotFound
from ...ids import Head
from ...record import HashedEntry
from ...store import Store
from ._kit import (
    ID,
    OTHER_ID,
    MakeStore,
    chain_onto,
    collect,
    conformance_check,
    expect,
    expect_absent,
    expect_log,
    expect_records,
    fail,
    first_record,
    new_log,
    next_record,
    reading_calls,
    record_of_size,
    refused,
    within_patience,
)
from ._moments import MOMENTS, cancel_scope, cancel_task, on_asyncio


@conformance_check
async def check_delete_removes_session(make_store: MakeStore) -> None:
    """A deleted session is gone for every call, others stay, and its id may be used again."""
    log, other = new_log(4), new_log(2, OTHER_ID)
    async with make_store() as store:
        await store.create_session(ID, log)
        await store.create_session(OTHER_ID, other)
        await store.append_trace(ID, {"a": "trace"})
        for anew in (_made_anew(3), log, None):
            head = await store.read_head(ID)
            await store.delete_session(ID, head)
            await _expect_gone(store, head)
            await expect_log("another session after a deletion", store, OTHER_ID, other)
            if anew is not None:
                await store.create_session(ID, anew)
                await expect_log("a session made anew", store, ID, anew)


@conformance_check
async def check_delete_is_conditional(make_store: MakeStore) -> None:
    """A deletion for another head than the session's raises HeadConflict, names the head, and nothing is gone."""
    log = new_log(4)
    async with make_store() as store:
        await store.create_session(ID, log)
        await store.append_trace(ID, {"a": "trace"})
        last = log[-1].head
        for expected in (None, log[-2].head, log[0].head, Head(last.seq + 1, last.hash), Head(last.seq, "0" * 64)):
            raised = await refused(f"delete_session for {expected}", HeadConflict, store.delete_session(ID, expected))
            expect("HeadConflict.expected", raised.expected, expected)
            expect("HeadConflict.found", raised.found, last)
            await expect_log("after a refused deletion", store, ID, log)
        log.append(next_record(last))
        await store.append(ID, log[-1])
        await refused("delete_session for the head before", HeadConflict, store.delete_session(ID, last))
        await expect_log("after a refused deletion", store, ID, log)


@conformance_check
async def check_deleted_session_is_told(make_store: MakeStore) -> None:
    """Who knew a deleted session is told: SessionNotFound, or once it was made anew HeadConflict and EntryNotFound."""
    log = new_log(5)
    async with make_store() as store:
        await store.create_session(ID, log)
        kept = await store.read_position(ID)
        await store.delete_session(ID, log[-1].head)
        await refused("an append to a deleted session", SessionNotFound, store.append(ID, next_record(log[-1].head)))
        await refused("reading on in it", SessionNotFound, collect(store.read(ID, after=kept)))
        for count in (2, 5, 9):
            anew = _made_anew(count)
            await store.create_session(ID, anew)
            stale = next_record(log[-1].head)
            raised = await refused("an append behind a head of the deleted log", HeadConflict, store.append(ID, stale))
            expect("HeadConflict.found", raised.found, anew[-1].head)
            await refused("reading on behind it", EntryNotFound, collect(store.read(ID, after=kept)))
            await expect_log("after stale calls", store, ID, anew)
            await store.delete_session(ID, anew[-1].head)


@conformance_check
async def check_follower_of_deleted_session_is_told(make_store: MakeStore) -> None:
    """A follower that waits when its session is deleted is told: SessionNotFound, or EntryNotFound if made anew."""
    for count in (None, 1, 4, 7):
        log = new_log(4)
        async with make_store() as store:
            await store.create_session(ID, log)
            outcome: list[object] = []
            caught_up = anyio.Event()

            with within_patience("the end of a follower whose session is deleted"):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_watch, store, outcome, caught_up)
                    await caught_up.wait()
                    await store.delete_session(ID, log[-1].head)
                    if count is not None:
                        await store.create_session(ID, _made_anew(count))
            expect("what a follower got of its session", outcome[:-1], [record.hash for record in log])
            allowed = (SessionNotFound,) if count is None else (SessionNotFound, EntryNotFound)
            if outcome[-1] not in allowed:
                fail("the end of a follower whose session is deleted", expected=allowed, found=outcome[-1])
            if count is not None:
                await store.delete_session(ID, _made_anew(count)[-1].head)


async def _watch(store: Store, outcome: list[object], caught_up: anyio.Event) -> None:
    try:
        async with aclosing(store.follow(ID)) as records:
            async for record in records:
                outcome.append(record.hash)
                if record.seq == 3:
                    caught_up.set()
    except SessionLogError as error:
        outcome.append(type(error))


@conformance_check
async def check_reader_of_deleted_session_is_told(make_store: MakeStore) -> None:
    """A stream whose session is deleted half-way gives a start of that log and ends, or says that it is gone."""
    async with make_store() as store:
        line_bytes = min(200_000, store.line_bytes_max)
        for remake in (False, True):
            log = new_log(1)
            for _ in range(24):
                log.append(record_of_size(log[-1].head, line_bytes))
            await store.create_session(ID, log)
            found: list[HashedEntry] = []
            try:
                async with aclosing(store.read(ID)) as records:
                    async for record in records:
                        found.append(record)
                        if len(found) == 1:
                            await store.delete_session(ID, log[-1].head)
                            if remake:
                                await store.create_session(ID, _made_anew(30))
            except (SessionNotFound, EntryNotFound):
                pass
            expect_records("a stream whose session is deleted", found, log[: len(found)])
            if remake:
                await store.delete_session(ID, _made_anew(30)[-1].head)


@conformance_check
async def check_delete_races_appends(make_store: MakeStore) -> None:
    """Beside appends a deletion conflicts, or every acknowledged record is in what was deleted."""
    async with make_store() as store:
        for _ in range(6):
            log = new_log(2)
            await store.create_session(ID, log)
            acknowledged: list[Head] = []
            deleted: list[Head | None] = []

            async def write(name: str, acknowledged: list[Head] = acknowledged) -> None:
                for number in range(40):
                    try:
                        head = await store.read_head(ID)
                        if head is None:
                            fail("the head of a session with records", expected="a head", found=None)
                        record = next_record(head, f"{name}{number}")
                        await store.append(ID, record)
                    except HeadConflict:
                        continue
                    except SessionNotFound:
                        return
                    acknowledged.append(record.head)

            async def delete(deleted: list[Head | None] = deleted) -> None:
                while not deleted:
                    head = await store.read_head(ID)
                    try:
                        await store.delete_session(ID, head)
                    except HeadConflict:
                        await anyio.lowlevel.checkpoint()
                        continue
                    deleted.append(head)

            with within_patience("a deletion beside appends"):
                async with anyio.create_task_group() as tasks:
                    for name in ("a", "b", "c"):
                        tasks.start_soon(write, name)
                    tasks.start_soon(delete)
            head = deleted[0]
            seqs = sorted(one.seq for one in acknowledged)
            last = log[-1].seq if head is None else head.seq
            expect("positions of the acknowledged appends", seqs, list(range(2, last + 1)))
            await _expect_gone(store, head)


@conformance_check
async def check_cancelled_delete(make_store: MakeStore) -> None:
    """A cancelled deletion raises and nothing is gone, or finishes and returns; never anything in between."""
    log = new_log(3)
    async with make_store() as store:
        for cancel in (cancel_scope, cancel_task) if on_asyncio() else (cancel_scope,):
            for moment, number_max in MOMENTS.items():
                for at in range(1, number_max):
                    await store.create_session(ID, log)
                    with within_patience(f"delete_session that is cancelled at its moment {at}"):
                        attempt = await cancel(partial(store.delete_session, ID, log[-1].head), moment, at)
                    what = f"after delete_session cancelled at its moment {at}"
                    expect(f"{what}: the cancellation surfaced", attempt.surfaced, attempt.cancelled)
                    if not attempt.returned:
                        await expect_log(what, store, ID, log)
                        await store.delete_session(ID, log[-1].head)
                    await expect_absent(what, store, ID)
                    if not attempt.cancelled:
                        break


@conformance_check
async def check_delete_across_handles(make_store: MakeStore) -> None:
    """Whoever has the session open in another store is told of its deletion, and never writes behind it."""
    log = new_log(3)
    async with make_store() as one, make_store() as other:
        await one.create_session(ID, log)
        for anew in (_made_anew(2), _made_anew(6)):
            head = await other.read_head(ID)
            if head is None:
                fail("the head of a session with records", expected="a head", found=None)
            more = chain_onto(head, 2)
            await other.append(ID, more[0])
            await refused("delete_session for a stale head", HeadConflict, one.delete_session(ID, head))
            await one.delete_session(ID, more[0].head)
            await _expect_gone(other, more[0].head)
            await refused("an append to a deleted session", SessionNotFound, other.append(ID, more[1]))
            await one.create_session(ID, anew)
            await refused("an append to a session made anew", HeadConflict, other.append(ID, more[1]))
            await expect_log("a session made anew, seen by another store", other, ID, anew)


async def _expect_gone(store: Store, head: Head | None) -> None:
    await expect_absent("after a deletion", store, ID)
    for name, start in reading_calls(store, ID):
        await refused(f"{name} of a deleted session", SessionNotFound, start())
    await refused("delete_session of a deleted session", SessionNotFound, store.delete_session(ID, head))
    await refused("append_trace of a deleted session", SessionNotFound, store.append_trace(ID, 1))


def _made_anew(count: int) -> list[HashedEntry]:
    first = first_record(text="made anew")
    return [first, *chain_onto(first.head, count - 1)]
