"""Checks of reads and of ``follow``."""

from contextlib import aclosing

import anyio
import anyio.lowlevel

from ...errors import StoreFailed
from ...record import HashedEntry
from ...store import Store
from ._kit import (
    ID,
    MakeStore,
    chain_onto,
    collect,
    conformance_check,
    expect,
    expect_log,
    expect_records,
    fail,
    new_log,
    next_record,
    record_of_size,
    take,
    within_patience,
)


@conformance_check
async def check_read_after_each_position(make_store: MakeStore) -> None:
    """``read`` gives the records behind ``after``, whichever it is; none behind the last one or beyond."""
    log = new_log(12)
    async with make_store() as store:
        await store.create_session(ID, log)
        expect_records("read(after=None)", await collect(store.read(ID, after=None)), log)
        for after in range(len(log) + 3):
            expect_records(f"read(after={after})", await collect(store.read(ID, after=after)), log[after + 1 :])


@conformance_check
async def check_read_stopped_early(make_store: MakeStore) -> None:
    """A stream that is closed half-way gave what it gave, and disturbs neither appends nor other reads."""
    log = new_log(8)
    async with make_store() as store:
        await store.create_session(ID, log)
        for count in (0, 1, 5):
            expect_records("the start of read", await take(store.read(ID), count), log[:count])
            log.append(next_record(log[-1].head))
            await store.append(ID, log[-1])
        await expect_log("after streams that were closed half-way", store, ID, log)


@conformance_check
async def check_read_during_appends(make_store: MakeStore) -> None:
    """A stream that appends run past ends by itself, at a whole record, with a gapless start of the log."""
    log = new_log(4)
    async with make_store() as store:
        await store.create_session(ID, log)
        found: list[HashedEntry] = []
        with within_patience("the end of a read that appends run past"):
            async with aclosing(store.read(ID)) as records:
                async for record in records:
                    found.append(record)
                    if len(log) < 30:
                        log.append(next_record(log[-1].head))
                        await store.append(ID, log[-1])
        if len(found) < 4:
            fail("read during appends", expected="at least the 4 records there at its start", found=len(found))
        expect_records("read during appends", found, log[: len(found)])
        await expect_log("after a read during appends", store, ID, log)


@conformance_check
async def check_batch_is_read_whole(make_store: MakeStore) -> None:
    """Readers beside a writer of batches see whole batches, never a part of one."""
    batch_records, batches = 5, 12
    log = new_log(1)
    async with make_store() as store:
        await store.create_session(ID, log)
        written = anyio.Event()
        counts: set[int] = set()

        async def watch() -> None:
            while not written.is_set():
                counts.add(len(await store.read_all(ID)))
                counts.add(len(await collect(store.read(ID))))
                head = await store.read_head(ID)
                counts.add(0 if head is None else head.seq + 1)
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            for _ in range(batches):
                batch: list[HashedEntry] = []
                for _ in range(batch_records):
                    head = batch[-1].head if batch else log[-1].head
                    batch.append(record_of_size(head, min(20_000, store.line_bytes_max)))
                await store.append(ID, *batch)
                log += batch
                await anyio.lowlevel.checkpoint()
            written.set()
        partial = sorted(count for count in counts if (count - 1) % batch_records)
        expect("lengths at which a reader saw a part of a batch", partial, [])
        await expect_log("after batches", store, ID, log)


@conformance_check
async def check_follow_each_position(make_store: MakeStore) -> None:
    """``follow`` gives what is there behind ``after``, then what comes, each record once and in order."""
    async with make_store() as store:
        log = new_log(6)
        await store.create_session(ID, log)
        for after in (None, *range(len(log) + 2)):
            log += await _append_to_follower(store, log, after)


async def _append_to_follower(store: Store, log: list[HashedEntry], after: int | None) -> list[HashedEntry]:
    """Follow from behind ``after``; once that has given what is there, append; return what was appended."""
    more = chain_onto(log[-1].head, 5, f"{after}-")
    expected = (log + more)[0 if after is None else after + 1 :]
    found: list[HashedEntry] = []
    caught_up, got_all = anyio.Event(), anyio.Event()

    async def watch() -> None:
        async with aclosing(store.follow(ID, after=after)) as records:
            async for record in records:
                found.append(record)
                if len(found) == len(expected) - len(more):
                    caught_up.set()
                if len(found) == len(expected):
                    got_all.set()

    with within_patience(f"follow(after={after})"):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            if len(expected) > len(more):
                await caught_up.wait()
            for record in more:
                await store.append(ID, record)
                await anyio.lowlevel.checkpoint()
            await got_all.wait()
            tasks.cancel_scope.cancel()
    expect_records(f"follow(after={after})", found, expected)
    return more


@conformance_check
async def check_several_followers(make_store: MakeStore) -> None:
    """Any number of followers of one session each see every record once and in order."""
    log = new_log(3)
    more = chain_onto(log[-1].head, 30)
    async with make_store() as store:
        await store.create_session(ID, log)
        found: dict[int, list[HashedEntry]] = {}

        async def watch(number: int) -> None:
            found[number] = await take(store.follow(ID), len(log) + len(more))

        with within_patience("five followers"):
            async with anyio.create_task_group() as tasks:
                for number in range(5):
                    tasks.start_soon(watch, number)
                for index in range(0, len(more), 3):
                    await store.append(ID, *more[index : index + 3])
                    await anyio.lowlevel.checkpoint()
        for number in range(5):
            expect_records(f"follower {number}", found[number], log + more)


@conformance_check
async def check_follow_ends_by_cancellation(make_store: MakeStore) -> None:
    """A follower waits for ever, ends cleanly when it is cancelled, and leaves the store usable."""
    log = new_log(2)
    async with make_store() as store:
        await store.create_session(ID, log)
        for turns in range(8):
            caught_up = anyio.Event()
            ended_alone = False

            async def watch(caught_up: anyio.Event = caught_up, count: int = len(log)) -> None:
                nonlocal ended_alone
                left = count
                async with aclosing(store.follow(ID)) as records:
                    async for _ in records:
                        left -= 1
                        if not left:
                            caught_up.set()
                ended_alone = True

            with within_patience("a follower that is cancelled"):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(watch)
                    await caught_up.wait()
                    for _ in range(turns):
                        await anyio.lowlevel.checkpoint()
                    tasks.cancel_scope.cancel()
            expect("the follower ended before it was cancelled", ended_alone, expected=False)
            log.append(next_record(log[-1].head))
            await store.append(ID, log[-1])
        await expect_log("after cancelled followers", store, ID, log)
        with within_patience("a follower after cancelled ones"):
            expect_records("follow", await take(store.follow(ID), len(log)), log)


@conformance_check
async def check_follow_ends_with_store(make_store: MakeStore) -> None:
    """A follower that waits when its store is closed is told with StoreFailed, not left waiting."""
    log = new_log(2)
    async with make_store() as store:
        await store.create_session(ID, log)
        outcome: list[object] = []
        caught_up = anyio.Event()

        async def watch() -> None:
            try:
                async with aclosing(store.follow(ID)) as records:
                    async for record in records:
                        if record.seq == log[-1].seq:
                            caught_up.set()
                outcome.append("an end of the stream")
            except StoreFailed:
                outcome.append("StoreFailed")

        with within_patience("the end of a follower whose store is closed"):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(watch)
                await caught_up.wait()
                for _ in range(3):
                    await anyio.lowlevel.checkpoint()
                await store.aclose()
        expect("a follower whose store is closed", outcome, ["StoreFailed"])
