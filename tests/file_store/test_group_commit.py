"""Group commit: whom one flush is for, what is written beside it, and that none returns before a flush of its own."""

import asyncio
import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from sessionlog import (
    Durability,
    FileStore,
    HashedEntry,
    Head,
    SessionId,
    SessionLog,
    SessionStartState,
    StoreFailed,
    TurnEnd,
    create_session_with_id,
    link,
)
from sessionlog.stores.file import group
from sessionlog.stores.file.system import System

on_both_backends = pytest.mark.anyio
COMPANY = 64
PATIENCE_S = 20


class WatchedDisk(System):
    """Knows which records a flush has made durable; is full, holds flushes, or fails the next one, when told to."""

    def __init__(self) -> None:
        """Hold and fail nothing yet."""
        self.written: dict[str, int] = {}
        self.durable: dict[str, int] = {}
        self.flush_count = 0
        self.write_count = 0
        self.holding = False
        self.held = threading.Event()
        self.let_go = threading.Event()
        self.failing = False
        self.full = False
        self.writers: list[threading.Thread] = []
        """The thread of each write."""
        self.flushed_through: list[str] = []
        """The files by which the whole file system was flushed."""

    def write(self, fd: int, data: bytes | memoryview) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "the disk of the test is full")
        count = super().write(fd, data)
        name = file_name(fd)
        self.written[name] = self.written.get(name, 0) + bytes(data[:count]).count(b"\n")
        self.write_count += 1
        self.writers.append(threading.current_thread())
        return count

    def flush(self, fd: int) -> None:
        self._flush({file_name(fd)})
        super().flush(fd)

    def flush_file_system(self, fd: int) -> bool:
        self.flushed_through.append(file_name(fd))
        self._flush(set(self.written))
        return True

    def _flush(self, names: set[str]) -> None:
        began = {name: self.written[name] for name in names if name in self.written}
        if self.holding:
            self.held.set()
            assert self.let_go.wait(PATIENCE_S)
        if self.failing:
            self.failing = False
            raise OSError(errno.EIO, "flush refused by the test")
        self.durable.update(began)
        self.flush_count += 1


def file_name(fd: int) -> str:
    return Path(f"/proc/self/fd/{fd}").readlink().name


def position(log: SessionLog) -> int:
    """Return the position of the last record."""
    assert log.head is not None
    return log.head.seq


def ticking(step_s: float) -> Callable[[], float]:
    """Return a clock that goes on by a step each time it is read; each thread has its own."""
    clock = threading.local()

    def read() -> float:
        clock.now = getattr(clock, "now", 0.0) + step_s
        return float(clock.now)

    return read


@pytest.fixture
def brief_flushes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flush, and gathering half of the company, take a microsecond: halving is worth it."""
    monkeypatch.setattr(group, "perf_counter", ticking(1e-6))


@pytest.fixture
def long_flushes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flush takes longer than what may be written beside."""
    monkeypatch.setattr(group, "perf_counter", ticking(2 * group.BRIEF_S))


async def create_all(store: FileStore, count: int = COMPANY) -> list[SessionLog]:
    return [await create_session_with_id(store, SessionId(f"s{n}"), SessionStartState()) for n in range(count)]


async def append_to_all(logs: list[SessionLog], rounds: int = 1) -> None:
    async def append(log: SessionLog) -> None:
        for turn in range(rounds):
            await log.save_turn_end(turn)

    async with anyio.create_task_group() as tasks:
        for log in logs:
            tasks.start_soon(append, log)


async def create_company(store: FileStore, count: int = COMPANY) -> list[SessionLog]:
    """Make sessions that have appended together before, so that the next batch reckons with all of them."""
    logs = await create_all(store, count)
    await append_to_all(logs)
    await append_to_all(logs)
    return logs


async def until_held(system: WatchedDisk) -> None:
    assert await anyio.to_thread.run_sync(system.held.wait, PATIENCE_S)


@on_both_backends
@pytest.mark.parametrize("flushes", ["brief_flushes", "long_flushes"])
async def test_none_returns_before_its_flush(tmp_path: Path, request: pytest.FixtureRequest, flushes: str) -> None:
    """Each append returns only when a flush has ended that began after its write."""
    request.getfixturevalue(flushes)
    system = WatchedDisk()
    async with FileStore(tmp_path, "disk", system=system) as store:
        logs = await create_all(store)

        async def append(number: int, log: SessionLog) -> None:
            for turn in range(30):
                await log.save_turn_end(turn)
                assert log.head is not None
                assert system.durable[f"{log.session_id}.jsonl"] > log.head.seq
                if turn % (number % 7 + 2) == 0:
                    await anyio.lowlevel.checkpoint()  # some come later than others

        async with anyio.create_task_group() as tasks:
            for number, log in enumerate(logs):
                tasks.start_soon(append, number, log)


@on_both_backends
@pytest.mark.usefixtures("long_flushes")
async def test_one_flush_for_all_where_it_takes_long(tmp_path: Path) -> None:
    """Where flushing takes longer than appending, those who append at once share flushes, round after round.

    All of them share one on an idle machine. On a busy one some come too late for it, and share the next.
    """
    system = WatchedDisk()
    async with FileStore(tmp_path, "disk", system=system) as store:
        logs = await create_all(store)
        await append_to_all(logs, 3)
        system.flush_count = 0
        await append_to_all(logs, 10)
    assert system.flush_count <= 10 * COMPANY / 16


@on_both_backends
@pytest.mark.usefixtures("brief_flushes")
async def test_half_is_written_beside_the_flush_of_the_other_half(tmp_path: Path) -> None:
    """Where flushing is brief, half of the company is flushed while the others are written; two flushes do for all."""
    system = WatchedDisk()
    async with FileStore(tmp_path, "disk", system=system) as store:
        logs = await create_company(store)
        system.holding, system.write_count, system.flush_count = True, 0, 0
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(append_to_all, logs)
            await until_held(system)
            await anyio.wait_all_tasks_blocked()
            assert system.write_count == COMPANY
            assert system.flush_count == 0
            system.let_go.set()
        assert system.flush_count == 2


@on_both_backends
@pytest.mark.usefixtures("brief_flushes")
async def test_what_goes_the_whole_way_takes_no_others_along(tmp_path: Path) -> None:
    """A session that is made beside the halves is written by the worker; what follows is not, or not for long."""
    rounds = 20
    system = WatchedDisk()
    async with FileStore(tmp_path, system=system) as store:
        logs = await create_company(store)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(append_to_all, logs, rounds)
            while system.write_count < 6 * COMPANY:
                await anyio.lowlevel.checkpoint()
            await create_session_with_id(store, SessionId("late"), SessionStartState())
            behind = system.write_count
    assert [position(log) for log in logs] == [rounds + 2] * COMPANY
    writers = system.writers[behind : behind + 10 * COMPANY]
    assert writers.count(threading.current_thread()) > len(writers) * 3 // 4


@on_both_backends
@pytest.mark.usefixtures("brief_flushes")
async def test_a_failed_flush_fails_what_was_written_beside_it(tmp_path: Path) -> None:
    """A record that was written beside a flush that failed is not acknowledged: no later flush tells of it."""
    system = WatchedDisk()
    async with FileStore(tmp_path, "disk", system=system) as store:
        logs = await create_company(store)
        head = logs[0].head
        assert head is not None
        first = link(head, TurnEnd(ts=0, turn_count=1))
        behind = link(first.head, TurnEnd(ts=0, turn_count=2))
        failures: list[StoreFailed] = []

        async def append(record: HashedEntry) -> None:
            try:
                await store.append(logs[0].session_id, record)
            except StoreFailed as failure:
                failures.append(failure)

        system.holding, system.failing = True, True
        written, flushed = system.write_count, system.flush_count
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(append, first)
            await until_held(system)
            tasks.start_soon(append, behind)
            tasks.start_soon(logs[1].save_turn_end, 1)
            await anyio.wait_all_tasks_blocked()
            assert system.write_count == written + 3
            system.let_go.set()
        assert [failure.poisoned for failure in failures] == [True, True]
        assert system.flush_count == flushed + 1  # the later flush, of the other file alone
        with pytest.raises(StoreFailed, match="since"):
            await logs[0].save_turn_end(3)
        await logs[1].save_turn_end(3)


@on_both_backends
@pytest.mark.usefixtures("brief_flushes")
async def test_a_full_disk_closes_nothing_that_is_flushed(tmp_path: Path) -> None:
    """An append that finds the disk full takes nothing from the one before it, whose flush it was written beside."""
    system = WatchedDisk()
    async with FileStore(tmp_path, "disk", system=system) as store:
        logs = await create_company(store)
        head = logs[0].head
        assert head is not None
        first = link(head, TurnEnd(ts=0, turn_count=1))
        behind = link(first.head, TurnEnd(ts=0, turn_count=2))
        system.holding = True
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.append, logs[0].session_id, first)
            await until_held(system)
            system.full = True
            with pytest.raises(StoreFailed) as caught:
                await store.append(logs[0].session_id, behind)
            assert not caught.value.poisoned
            system.full = False
            system.let_go.set()
        await store.append(logs[0].session_id, behind)
        assert await store.read_head(logs[0].session_id) == behind.head


@on_both_backends
@pytest.mark.usefixtures("brief_flushes")
async def test_no_file_system_is_flushed_through_a_file_that_failed(tmp_path: Path) -> None:
    """A file tells of an error of its file system once: where it did, the next flush goes through another file."""
    system = WatchedDisk()
    async with FileStore(tmp_path, "disk", system=system) as store:
        logs = await create_company(store)
        failed, beside = logs[:6], logs[6:12]
        refused: list[str] = []

        async def append(log: SessionLog, head: Head | None, turn: int) -> None:
            assert head is not None
            try:
                await store.append(log.session_id, link(head, TurnEnd(ts=0, turn_count=turn)))
            except StoreFailed:
                refused.append(log.session_id)

        system.holding, system.failing = True, True
        system.flushed_through = []
        async with anyio.create_task_group() as tasks:
            for log in failed:
                tasks.start_soon(append, log, log.head, 1)
            await until_held(system)
            for log in failed:
                assert log.head is not None
                behind = link(log.head, TurnEnd(ts=0, turn_count=1)).head
                tasks.start_soon(append, log, behind, 2)
            await anyio.wait_all_tasks_blocked()
            for log in beside:
                tasks.start_soon(append, log, log.head, 1)
            await anyio.wait_all_tasks_blocked()
            system.let_go.set()
        assert sorted(refused) == sorted([log.session_id for log in failed] * 2)
        first, second = system.flushed_through
        assert first in {f"{log.session_id}.jsonl" for log in failed}
        assert second in {f"{log.session_id}.jsonl" for log in beside}


class BreakingFlush(System):
    """A disk that refuses to flush one file, and breaks the program off at another one."""

    def __init__(self) -> None:
        """Do neither yet."""
        self.breaking = False

    def flush(self, fd: int) -> None:
        name = file_name(fd)
        if self.breaking and name == "s0.jsonl":
            raise OSError(errno.EIO, "flush refused by the test")
        if self.breaking and name == "s1.jsonl":
            raise MemoryError
        super().flush(fd)


@on_both_backends
async def test_a_flush_that_breaks_off_has_failed_for_all(tmp_path: Path) -> None:
    """Where a flush ends with what nobody expects, every log in it is closed for writing, for none may be durable."""
    system = BreakingFlush()
    async with FileStore(tmp_path, "disk", system=system) as store:
        logs = await create_company(store, 3)
        failures: list[bool] = []

        async def append(log: SessionLog) -> None:
            try:
                await log.save_turn_end(1)
            except StoreFailed as failure:
                failures.append(failure.poisoned)

        system.breaking = True
        async with anyio.create_task_group() as tasks:
            for log in logs:
                tasks.start_soon(append, log)
        assert failures == [True] * 3
        system.breaking = False
        for log in logs:
            with pytest.raises(StoreFailed, match="since"):
                await log.save_turn_end(2)


@on_both_backends
async def test_a_thread_that_cannot_start_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no thread left, a commit fails; the next one finds a thread again."""
    start, refusals = threading.Thread.start, [True]

    def start_or_refuse(thread: threading.Thread) -> None:
        if thread.name == "sessionlog" and refusals:
            refusals.pop()
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_or_refuse)
    async with FileStore(tmp_path, "disk") as store:
        with pytest.raises(StoreFailed, match="can't start new thread"):
            await create_session_with_id(store, SessionId("one"), SessionStartState())
        log = await create_session_with_id(store, SessionId("two"), SessionStartState())
        await log.save_turn_end(1)


@on_both_backends
@pytest.mark.parametrize("durability", ["os", "disk"])
async def test_a_task_that_only_appends_can_be_cancelled(tmp_path: Path, durability: Durability) -> None:
    """A loop of appends ends soon after it was cancelled, though each append that has begun goes in."""
    async with FileStore(tmp_path, durability) as store:
        log = await create_session_with_id(store, SessionId("one"), SessionStartState())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(append_to_all, [log], 5000)
            while position(log) < 5:
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        last = position(log)
        assert last < 500
        await log.save_turn_end(1)
        assert len(await store.read_all(log.session_id)) == last + 2


def test_a_task_of_asyncio_that_only_appends_can_be_cancelled(tmp_path: Path) -> None:
    """So it is with ``task.cancel()``."""

    async def run() -> None:
        async with FileStore(tmp_path, "disk") as store:
            log = await create_session_with_id(store, SessionId("one"), SessionStartState())
            task = asyncio.create_task(append_to_all([log], 5000))
            while position(log) < 5:
                await anyio.lowlevel.checkpoint()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert position(log) < 500
            await log.save_turn_end(1)

    asyncio.run(run())


@on_both_backends
async def test_nothing_is_opened_again_after_closing(tmp_path: Path) -> None:
    """An append that let the event loop turn, while the store was closed, is refused, and leaves no file open."""
    store = FileStore(tmp_path, "os")
    log = await create_session_with_id(store, SessionId("one"), SessionStartState())

    async def append() -> None:
        for turn in range(100):
            await log.save_turn_end(turn)

    async def append_until_closed() -> None:
        with pytest.raises(StoreFailed, match="closed"):
            await append()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(append_until_closed)
        await anyio.lowlevel.checkpoint()
        await store.aclose()
    links = [Path(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
    assert [link for link in links if link.exists() and link.readlink().is_relative_to(tmp_path)] == []


ONE_LOOP_AFTER_THE_OTHER = """
import sys, anyio
from sessionlog import FileStore, SessionStartState, create_session

store = FileStore(sys.argv[1], "disk")

async def append_some():
    log = await create_session(store, SessionStartState())
    for turn in range(3):
        await log.save_turn_end(turn)

for backend in ("asyncio", "asyncio", "trio", "trio", "asyncio"):
    anyio.run(append_some, backend=backend)
anyio.run(store.aclose)
"""


def test_one_event_loop_after_the_other(tmp_path: Path) -> None:
    """A store that is used from one event loop, and when that has ended from another one, commits in both."""
    program = [sys.executable, "-c", ONE_LOOP_AFTER_THE_OTHER, str(tmp_path)]
    subprocess.run(program, check=True, timeout=60)
    assert [path.read_bytes().count(b"\n") for path in tmp_path.glob("*.jsonl")] == [4] * 5
