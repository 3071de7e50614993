"""Following a log that others write: every record once, in order, whatever happens to the file meanwhile."""

import contextlib
import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from sessionlog import (
    CorruptLog,
    FileStore,
    HashedEntry,
    Head,
    SessionId,
    SessionNotFound,
    SessionStartState,
    StoreFailed,
    TurnEnd,
    UserInput,
    create_session_with_id,
    link,
    open_session,
    user_message,
)
from sessionlog.stores.file import follow as follow_module
from sessionlog.stores.file.reading import NEWS_BYTES_MAX
from sessionlog.stores.file.system import System

pytestmark = pytest.mark.anyio
SESSION = SessionId("followed")
WORKERS = Path(__file__).with_name("workers.py")


@pytest.fixture(params=["inotify", "polling"], autouse=True)
def waking(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Wake by the kernel, and without it."""
    if request.param == "polling":
        monkeypatch.setattr(follow_module, "_watch", lambda _path: None)
    else:
        pytest.importorskip("inotify_simple", reason="the extra 'follow' is not installed")
    return str(request.param)


async def take(stream: AsyncGenerator[HashedEntry, None], count: int) -> list[int]:
    """Return the positions of the next ``count`` records."""
    with anyio.fail_after(60):
        return [(await anext(stream)).seq for _ in range(count)]


async def test_a_follower_sees_what_another_process_writes(tmp_path: Path, anyio_backend_name: str) -> None:
    """A follower gets each of 500 records that another process appends, once and in order."""
    async with FileStore(tmp_path) as store:
        await create_session_with_id(store, SESSION, SessionStartState())
        async with contextlib.aclosing(store.follow(SESSION)) as stream:
            assert await take(stream, 1) == [0]
            command = [sys.executable, str(WORKERS), "race", anyio_backend_name, str(tmp_path), SESSION, "a", "500"]
            writer = subprocess.Popen(command, stdin=subprocess.DEVNULL)
            try:
                assert await take(stream, 500) == list(range(1, 501))
            finally:
                assert writer.wait() == 0


async def test_a_follower_starts_at_any_position(tmp_path: Path) -> None:
    """From every position, also one that is not written yet, what comes is what lies behind it."""
    async with FileStore(tmp_path, "os") as store:
        log = await create_session_with_id(store, SESSION, SessionStartState())
        for turn in range(4):
            await log.save_turn_end(turn)
        for after in (None, *range(7)):
            first = 0 if after is None else after + 1
            async with contextlib.aclosing(store.follow(SESSION, after=after)) as stream:
                there = max(0, log.head.seq + 1 - first) if log.head else 0
                assert await take(stream, there) == list(range(first, first + there))
                async with anyio.create_task_group() as group:
                    group.start_soon(_append, log, 3)
                    position = first + there
                    assert (await take(stream, 1))[0] >= position
        assert (await store.read_head(SESSION)) == log.head


async def _append(log, count: int) -> None:  # type: ignore[no-untyped-def]
    for turn in range(count):
        await log.save_turn_end(turn)


async def test_a_follower_goes_on_through_the_repair_of_a_torn_tail(tmp_path: Path) -> None:
    """Torn bytes are not shown; the records that the next writer puts in their place are."""
    path = tmp_path / f"{SESSION}.jsonl"
    async with FileStore(tmp_path, "os") as store:
        log = await create_session_with_id(store, SESSION, SessionStartState())
        async with contextlib.aclosing(store.follow(SESSION)) as stream:
            assert await take(stream, 1) == [0]
            for turn in range(1, 20):
                with path.open("ab") as file:
                    file.write(b'{"hash":"torn' * turn)
                async with anyio.create_task_group() as group:
                    group.start_soon(log.save_turn_end, turn)
                    assert await take(stream, 1) == [turn]


async def test_a_follower_of_a_log_that_is_cut_or_removed_is_told(tmp_path: Path) -> None:
    """Records that were shown and are gone are a typed error, not a silent end."""
    path = tmp_path / f"{SESSION}.jsonl"
    for gone in (CorruptLog, SessionNotFound):
        async with FileStore(tmp_path, "os") as store:
            log = await create_session_with_id(store, SESSION, SessionStartState())
            await log.save_turn_end(1)
            async with contextlib.aclosing(store.follow(SESSION)) as stream:
                assert await take(stream, 2) == [0, 1]
                os.truncate(path, 10) if gone is CorruptLog else path.unlink()
                with pytest.raises(gone), anyio.fail_after(60):
                    await anext(stream)
        path.unlink(missing_ok=True)


async def test_a_follower_that_is_cancelled_leaves_nothing_open(tmp_path: Path) -> None:
    """Cancelling followers ends them at once and gives back every descriptor."""
    async with FileStore(tmp_path, "os") as store:
        log = await create_session_with_id(store, SESSION, SessionStartState())
        await log.save_turn_end(1)
        await store.read_all(SESSION)
        seen: list[int] = []

        async def follow() -> None:
            async with contextlib.aclosing(store.follow(SESSION)) as stream:
                async for record in stream:
                    seen.append(record.seq)  # noqa: PERF401 - it never ends

        before = len(os.listdir("/proc/self/fd"))
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(follow)
            while len(seen) < 20:
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        assert len(os.listdir("/proc/self/fd")) == before
        await (await open_session(store, SESSION)).save_turn_end(2)


async def test_a_follower_of_a_store_that_is_closed_is_told(tmp_path: Path) -> None:
    """Closing the store ends its followers with a typed error; none waits for ever."""
    store = FileStore(tmp_path, "os")
    log = await create_session_with_id(store, SESSION, SessionStartState())
    async with contextlib.aclosing(store.follow(SESSION)) as stream:
        assert await take(stream, 1) == [0]
        async with anyio.create_task_group() as group:
            group.start_soon(store.aclose)
            with pytest.raises(StoreFailed, match="closed"), anyio.fail_after(60):
                await anext(stream)
    with pytest.raises(StoreFailed):
        await log.save_turn_end(1)


class Memory(System):
    """Has all of a file in memory, or nothing; adds a line to it each time that it is asked, while there are any."""

    tells_cached = True

    def __init__(self, *, holds: bool) -> None:
        self.holds = holds
        self.asked = 0
        self.path = ""
        self.lines: list[bytes] = []

    def pread_cached(self, fd: int, size: int, offset: int) -> bytes | None:
        self.asked += 1
        if self.lines:
            write_line(self.path, self.lines.pop(0))
        return super().pread(fd, size, offset) if self.holds else None


def write_line(path: str, line: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(fd, line + b"\n")
    os.close(fd)


def more_lines(head: Head | None, count: int) -> list[bytes]:
    lines: list[bytes] = []
    for number in range(count):
        record = link(head, TurnEnd(ts=1, turn_count=number))
        head = record.head
        lines.append(record.line)
    return lines


@pytest.fixture
def hops(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Note each call that is handed to another thread."""
    found: list[Any] = []
    run_sync = anyio.to_thread.run_sync

    async def noted(call: Any, *arguments: Any, **options: Any) -> Any:
        found.append(call)
        return await run_sync(call, *arguments, **options)

    monkeypatch.setattr(anyio.to_thread, "run_sync", noted)
    return found


@pytest.mark.parametrize("in_memory", [True, False])
async def test_what_lies_in_memory_takes_no_thread(tmp_path: Path, hops: list[Any], in_memory: bool) -> None:
    """A follower that has caught up reads what is appended on the event loop, or else by one hop each."""
    system = Memory(holds=in_memory)
    async with FileStore(tmp_path, "os", system=system) as store:
        log = await create_session_with_id(store, SESSION, SessionStartState())
        async with contextlib.aclosing(store.follow(SESSION)) as stream:
            assert await take(stream, 1) == [0]
            hops.clear()
            for turn in range(1, 6):
                await log.save_turn_end(turn)
                assert await take(stream, 1) == [turn]
            assert system.asked >= 5
            assert (len(hops) == 0) is in_memory


async def test_much_is_read_by_a_thread(tmp_path: Path, hops: list[Any]) -> None:
    """What came since is read on the event loop up to 64 KiB, and not a byte beyond."""
    system = Memory(holds=True)
    async with FileStore(tmp_path, "os", system=system) as store:
        log = await create_session_with_id(store, SESSION, SessionStartState())
        async with contextlib.aclosing(store.follow(SESSION)) as stream:
            assert await take(stream, 1) == [0]
            for size, by_thread in ((NEWS_BYTES_MAX, False), (NEWS_BYTES_MAX + 1, True)):
                hops.clear()
                overhead = len(link(log.head, UserInput(ts=1, item=user_message(""))).line) + 1
                await log.append(UserInput(ts=1, item=user_message("x" * (size - overhead))))
                assert log.head is not None
                assert await take(stream, 1) == [log.head.seq]
                assert (len(hops) > 0) is by_thread


async def test_a_commit_that_is_being_written_is_waited_for_by_a_thread(tmp_path: Path, hops: list[Any]) -> None:
    """Where a writer holds the lock, the event loop does not wait for it; the follower gets the record all the same."""
    system = Memory(holds=True)
    async with FileStore(tmp_path, "os", system=system) as store:
        log = await create_session_with_id(store, SESSION, SessionStartState())
        path = tmp_path / f"{SESSION}.jsonl"
        async with contextlib.aclosing(store.follow(SESSION)) as stream:
            assert await take(stream, 1) == [0]
            hops.clear()
            with path.open("ab") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                write_line(str(path), more_lines(log.head, 1)[0])
                assert await take(stream, 1) == [1]
            assert system.asked == 0
            assert len(hops) > 0


async def test_a_follower_of_a_busy_log_lets_others_run(tmp_path: Path) -> None:
    """There is something new whenever the follower looks, and other tasks have their turns all the same."""
    system = Memory(holds=True)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await anyio.lowlevel.checkpoint()
            ticks += 1

    async with FileStore(tmp_path, "os", system=system) as store:
        log = await create_session_with_id(store, SESSION, SessionStartState())
        async with contextlib.aclosing(store.follow(SESSION)) as stream, anyio.create_task_group() as tasks:
            assert await take(stream, 1) == [0]
            system.path = str(tmp_path / f"{SESSION}.jsonl")
            system.lines = more_lines(log.head, 200)
            write_line(system.path, system.lines.pop(0))
            tasks.start_soon(tick)
            assert await take(stream, 200) == list(range(1, 201))
            assert ticks > 100
            tasks.cancel_scope.cancel()


async def test_a_system_that_cannot_tell_is_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the call is forbidden, or the file system knows none, the follower goes on by thread and asks once."""
    asked = 0

    def forbidden(*_: object) -> int:
        nonlocal asked
        asked += 1
        raise PermissionError(errno.EPERM, "forbidden by the test")

    monkeypatch.setattr(os, "preadv", forbidden)
    monkeypatch.setattr(System, "tells_cached", True)
    async with FileStore(tmp_path, "os") as store:
        log = await create_session_with_id(store, SESSION, SessionStartState())
        async with contextlib.aclosing(store.follow(SESSION)) as stream:
            assert await take(stream, 1) == [0]
            for turn in range(1, 6):
                await log.save_turn_end(turn)
                assert await take(stream, 1) == [turn]
    assert asked == 1


async def test_only_what_lies_in_memory_whole_is_given(tmp_path: Path) -> None:
    """The system's own call gives what was just written, and nothing where some of it is missing."""
    path = tmp_path / "file"
    path.write_bytes(content := bytes(range(256)) * 64)
    system = System()
    with path.open("rb") as file:
        assert system.pread_cached(file.fileno(), 300, len(content) - 299) is None
        given = [system.pread_cached(file.fileno(), size, 100) for size in (0, 1, 300)]
    assert given == ([content[100:100], content[100:101], content[100:400]] if system.tells_cached else [None] * 3)
