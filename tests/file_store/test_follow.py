"""Following a log that others write: every record once, in order, whatever happens to the file meanwhile."""

import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from sessionlog import (
    CorruptLog,
    FileStore,
    HashedEntry,
    SessionId,
    SessionNotFound,
    SessionStartState,
    StoreFailed,
    create_session_with_id,
    open_session,
)
from sessionlog.stores.file import follow as follow_module

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
