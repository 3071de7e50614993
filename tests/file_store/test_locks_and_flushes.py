"""The lock that a commit is made under, and the flushes that make it durable: who waits, for how long, for what."""

import errno
import os
import threading
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from sessionlog import (
    Durability,
    FileStore,
    HashedEntry,
    SessionId,
    SessionLocked,
    SessionLog,
    SessionStartState,
    StoreFailed,
    TurnEnd,
    create_session_with_id,
    link,
    open_session,
)
from sessionlog.stores.file.system import System

pytestmark = pytest.mark.anyio
SESSION = SessionId("one")


class NoSyncfs(System):
    """A platform without a flush for whole file systems; counts the flushes of single files."""

    def __init__(self) -> None:
        """Count from nothing."""
        self.flushes = 0

    def flush(self, fd: int) -> None:
        self.flushes += 1
        super().flush(fd)

    def flush_file_system(self, fd: int) -> bool:  # noqa: ARG002
        return False


class FailingFlush(System):
    """A disk on which the flush of one session's log fails, once it is told to."""

    def __init__(self, name: str) -> None:
        """Fail for the log called ``name``."""
        self.name = name
        self.failing = False

    def flush(self, fd: int) -> None:
        if self.failing and os.readlink(f"/proc/self/fd/{fd}").endswith(self.name):
            raise OSError(errno.EIO, "flush refused by the test")
        super().flush(fd)

    def flush_file_system(self, fd: int) -> bool:  # noqa: ARG002
        return False


class HeldFlush(System):
    """A disk whose flush lasts until it is let go; it then fails if told to. Counts the writes."""

    def __init__(self) -> None:
        """Flush at once, until told to hold."""
        self.holding = False
        self.failing = False
        self.held = threading.Event()
        self.let_go = threading.Event()
        self.write_count = 0

    def write(self, fd: int, data: bytes | memoryview) -> int:
        self.write_count += 1
        return super().write(fd, data)

    def flush(self, fd: int) -> None:
        if self.holding:
            self.held.set()
            assert self.let_go.wait(20)
        if self.failing:
            raise OSError(errno.EIO, "flush refused by the test")
        super().flush(fd)


class FullDisk(System):
    """A disk with room for ``room`` more writes; knows how many flushes went well."""

    def __init__(self) -> None:
        """Start with all the room there is."""
        self.room = 1_000_000
        self.flushes = 0

    def write(self, fd: int, data: bytes | memoryview) -> int:
        if self.room == 0:
            raise OSError(errno.ENOSPC, "the disk of the test is full")
        self.room -= 1
        return super().write(fd, data)

    def flush(self, fd: int) -> None:
        super().flush(fd)
        self.flushes += 1


async def create_at_once(store: FileStore, count: int) -> list[SessionLog]:
    """Create sessions in one batch of several: the next batch then gathers for one turn of the event loop."""
    logs: list[SessionLog] = []

    async def create(number: int) -> None:
        logs.append(await create_session_with_id(store, SessionId(f"s{number}"), SessionStartState()))

    async with anyio.create_task_group() as group:
        for number in range(count):
            group.start_soon(create, number)
    return logs


@pytest.mark.parametrize("durability", ["os", "disk"])
async def test_a_lock_that_stays_taken_is_told(tmp_path: Path, durability: Durability) -> None:
    """An append waits for another writer's lock as long as it may, then says so; nothing was written."""
    async with FileStore(tmp_path, durability, lock_wait_s=0.05) as store:
        log = await create_session_with_id(store, SESSION, SessionStartState())
        path = tmp_path / f"{SESSION}.jsonl"
        other = os.open(path, os.O_RDWR)
        try:
            assert System().try_lock(other)
            before = path.read_bytes()
            with pytest.raises(SessionLocked) as caught:
                await log.save_turn_end(1)
            assert caught.value.waited_s == 0.05
            assert path.read_bytes() == before
            System().unlock(other)
            await log.save_turn_end(1)
        finally:
            os.close(other)


@pytest.mark.parametrize("durability", ["os", "disk"])
async def test_an_append_goes_on_once_the_lock_is_free(tmp_path: Path, durability: Durability) -> None:
    """An append that waits for a lock is in, once, as soon as it is let go."""
    async with FileStore(tmp_path, durability) as store:
        log = await create_session_with_id(store, SESSION, SessionStartState())
        other = os.open(tmp_path / f"{SESSION}.jsonl", os.O_RDWR)
        try:
            assert System().try_lock(other)
            async with anyio.create_task_group() as group:
                group.start_soon(log.save_turn_end, 1)
                for _ in range(50):
                    await anyio.lowlevel.checkpoint()
                at_start = log.head
                System().unlock(other)
            assert at_start is not None
            assert log.head is not None
            assert (at_start.seq, log.head.seq) == (0, 1)
            assert len(await store.read_all(SESSION)) == 2
        finally:
            os.close(other)


async def test_a_waiting_append_holds_no_other_session_up(tmp_path: Path) -> None:
    """While one session's append waits for its lock, another session's goes through."""
    async with FileStore(tmp_path, "disk") as store:
        locked = await create_session_with_id(store, SESSION, SessionStartState())
        free = await create_session_with_id(store, SessionId("free"), SessionStartState())
        other = os.open(tmp_path / f"{SESSION}.jsonl", os.O_RDWR)
        try:
            assert System().try_lock(other)
            async with anyio.create_task_group() as group:
                group.start_soon(locked.save_turn_end, 1)
                for turn in range(5):
                    await free.save_turn_end(turn)
                System().unlock(other)
        finally:
            os.close(other)


async def test_closing_another_descriptor_keeps_the_lock(tmp_path: Path) -> None:
    """A lock survives that some other descriptor of the same file is opened and closed in the same process."""
    async with FileStore(tmp_path, "disk", lock_wait_s=0.05) as store:
        log = await create_session_with_id(store, SESSION, SessionStartState())
        path = tmp_path / f"{SESSION}.jsonl"
        holder = os.open(path, os.O_RDWR)
        try:
            assert System().try_lock(holder)
            path.read_bytes()
            os.close(os.open(path, os.O_RDWR))
            with pytest.raises(SessionLocked):
                await log.save_turn_end(1)
        finally:
            os.close(holder)


async def test_two_stores_in_one_process_exclude_each_other(tmp_path: Path) -> None:
    """Two stores on one directory in one process are two writers: one chain, and the loser is told."""
    async with FileStore(tmp_path, "os") as one, FileStore(tmp_path, "disk") as two:
        first = await create_session_with_id(one, SESSION, SessionStartState())
        second = await open_session(two, SESSION, on_conflict="fork")
        await first.save_turn_end(1)
        await second.save_turn_end(2)
        assert second.session_id != SESSION
        assert len(await two.read_all(SESSION)) == 2


async def test_without_a_file_system_flush_each_file_is_flushed(tmp_path: Path) -> None:
    """Where many files cannot be flushed by one call, each of them is, before any append returns."""
    system = NoSyncfs()
    async with FileStore(tmp_path, "disk", system=system) as store:
        logs = [await create_session_with_id(store, SessionId(f"s{n}"), SessionStartState()) for n in range(20)]
        system.flushes = 0
        async with anyio.create_task_group() as group:
            for log in logs:
                group.start_soon(log.save_turn_end, 1)
        assert system.flushes == 20


async def test_one_failed_flush_poisons_that_session_alone(tmp_path: Path) -> None:
    """A session whose flush failed is closed for writing; those of the same batch are in, and go on."""
    system = FailingFlush("bad.jsonl")
    async with FileStore(tmp_path, "disk", system=system) as store:
        bad = await create_session_with_id(store, SessionId("bad"), SessionStartState())
        good = [await create_session_with_id(store, SessionId(f"s{n}"), SessionStartState()) for n in range(5)]
        system.failing = True
        failures: list[StoreFailed] = []

        async def append(log: SessionLog) -> None:
            try:
                await log.save_turn_end(1)
            except StoreFailed as failure:
                failures.append(failure)

        async with anyio.create_task_group() as group:
            for log in (bad, *good):
                group.start_soon(append, log)
        assert [failure.poisoned for failure in failures] == [True]
        assert bad.head is not None
        assert bad.head.seq == 0
        system.failing = False
        with pytest.raises(StoreFailed, match="since") as again:
            await bad.save_turn_end(2)
        assert again.value.poisoned
        for log in good:
            await log.save_turn_end(2)
    async with FileStore(tmp_path, "disk") as store:  # opened anew, it verifies what is there and goes on behind it
        log = await open_session(store, SessionId("bad"))
        await store.read_all(SessionId("bad"))
        await log.save_turn_end(3)


async def test_nothing_is_written_while_a_batch_is_settled(tmp_path: Path) -> None:
    """An append that comes during a flush waits for its end, then it is written and flushed itself."""
    system = HeldFlush()
    async with FileStore(tmp_path, "disk", system=system) as store:
        one, two = await create_at_once(store, 2)
        await one.save_turn_end(1)
        system.holding = True
        written = system.write_count
        async with anyio.create_task_group() as group:
            group.start_soon(one.save_turn_end, 2)
            assert await anyio.to_thread.run_sync(system.held.wait, 20)
            assert system.write_count == written + 1
            group.start_soon(two.save_turn_end, 2)
            await anyio.wait_all_tasks_blocked()
            assert system.write_count == written + 1
            system.let_go.set()
        assert system.write_count == written + 2
        assert [(await store.read_head(log.session_id)) for log in (one, two)] == [one.head, two.head]


async def test_an_append_behind_a_failed_flush_fails_too(tmp_path: Path) -> None:
    """Whoever waits to append behind a record whose flush fails is told; nothing of it is written."""
    system = HeldFlush()
    async with FileStore(tmp_path, "disk", system=system) as store:
        log, _ = await create_at_once(store, 2)
        await log.save_turn_end(1)
        assert log.head is not None
        first = link(log.head, TurnEnd(ts=0, turn_count=2))
        second = link(first.head, TurnEnd(ts=0, turn_count=3))
        system.holding = system.failing = True
        failures: list[StoreFailed] = []

        async def append(record: HashedEntry) -> None:
            try:
                await store.append(log.session_id, record)
            except StoreFailed as failure:
                failures.append(failure)

        async with anyio.create_task_group() as group:
            group.start_soon(append, first)
            assert await anyio.to_thread.run_sync(system.held.wait, 20)
            written = system.write_count
            group.start_soon(append, second)
            await anyio.wait_all_tasks_blocked()
            system.let_go.set()
        assert [failure.poisoned for failure in failures] == [True, True]
        assert system.write_count == written


async def test_a_full_disk_takes_nothing_from_the_append_before(tmp_path: Path) -> None:
    """Where the second of two appends of one batch finds the disk full, the first is flushed and returns all the same.

    Both are of one session, so what the failure closes is what the flush is for.
    """
    system = FullDisk()
    async with FileStore(tmp_path, "disk", system=system) as store:
        log, *_ = await create_at_once(store, 3)
        assert log.head is not None
        first = link(log.head, TurnEnd(ts=0, turn_count=1))
        second = link(first.head, TurnEnd(ts=0, turn_count=2))
        system.room, system.flushes = 1, 0
        outcomes: list[str] = []

        async def append(record: HashedEntry) -> None:
            try:
                await store.append(log.session_id, record)
            except StoreFailed as failure:
                outcomes.append("poisoned" if failure.poisoned else "failed")
            else:
                outcomes.append(f"in, {system.flushes} flushed")

        async with anyio.create_task_group() as group:
            group.start_soon(append, first)
            group.start_soon(append, second)
        assert sorted(outcomes) == ["failed", "in, 1 flushed"]
        assert await store.read_head(log.session_id) == first.head
        system.room = 1
        await store.append(log.session_id, second)
