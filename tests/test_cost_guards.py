"""What the store costs, counted and not timed: system calls, hops to a thread, flushes, bytes read, blocks of memory.

Each bound is what the code needs today. One that is exceeded is a regression or a decision; the figures behind them
are in docs/performance.md.
"""

import gc
import inspect
import json
import os
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from sessionlog import (
    Durability,
    FileStore,
    SessionId,
    SessionLog,
    SessionStartState,
    TurnEnd,
    UserInput,
    audit_session,
    create_session_with_id,
    open_session,
    user_message,
    verify_session,
)
from sessionlog.stores.file.spans import CHUNK_BYTES
from sessionlog.stores.file.system import System
from sessionlog.stores.file.worker import Worker

pytestmark = pytest.mark.anyio
SESSION = SessionId("one")
TAIL_BYTES = 16 * 1024
BINDING_BYTES = 512
MIB = 2**20


class CountingSystem(System):
    """Counts every call by its name, and the bytes read."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.bytes_read = 0

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        self.calls["pread"] += 1
        data = super().pread(fd, size, offset)
        self.bytes_read += len(data)
        return data

    def start_over(self) -> None:
        self.calls.clear()
        self.bytes_read = 0

    @property
    def flushes(self) -> int:
        return self.calls["flush"] + self.calls["flush_file_system"] + self.calls["flush_directory"]


def _counted(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    def call(self: CountingSystem, *arguments: Any) -> Any:
        self.calls[name] += 1
        return method(self, *arguments)

    return call


for _name, _method in inspect.getmembers(System, inspect.isfunction):
    if not _name.startswith("_") and _name not in vars(CountingSystem):
        setattr(CountingSystem, _name, _counted(_name, _method))


@pytest.fixture
def system() -> CountingSystem:
    return CountingSystem()


@pytest.fixture
def hops(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note each call that is handed to another thread."""
    found: list[str] = []
    run_sync, call = anyio.to_thread.run_sync, Worker.call

    async def noted_run_sync(*arguments: Any, **options: Any) -> Any:
        found.append("anyio")
        return await run_sync(*arguments, **options)

    def noted_call(*arguments: Any, **options: Any) -> None:
        found.append("worker")
        call(*arguments, **options)

    monkeypatch.setattr(anyio.to_thread, "run_sync", noted_run_sync)
    monkeypatch.setattr(Worker, "call", noted_call)
    return found


def turn(number: int) -> TurnEnd:
    return TurnEnd(ts=number, turn_count=number)


async def create(store: FileStore, session_id: str = SESSION) -> SessionLog:
    return await create_session_with_id(store, session_id, SessionStartState())


async def write_log(root: Path, size: int) -> Path:
    """Write a log of at least ``size`` bytes; return its path."""
    path = root / f"{SESSION}.jsonl"
    entry = UserInput(ts=1, item=user_message("x" * 740))
    async with FileStore(root, "os") as store:
        log = await create(store)
        while path.stat().st_size < size:
            await log.append_all([entry] * 500)
    return path


@pytest.mark.parametrize(("durability", "calls_max"), [("os", 4), ("disk", 5)])
async def test_system_calls_per_append(
    tmp_path: Path, system: CountingSystem, durability: Durability, calls_max: int
) -> None:
    """An append to a log that is open locks, looks, writes and unlocks; with "disk" it flushes, once."""
    async with FileStore(tmp_path, durability, system=system) as store:
        log = await create(store)
        await log.append(turn(0))
        system.start_over()
        for number in range(100):
            await log.append(turn(number))
        assert system.calls["write"] == 100
        assert system.calls.total() <= 100 * calls_max
        assert system.flushes == (100 if durability == "disk" else 0)
        assert system.bytes_read == 0


@pytest.mark.parametrize(("durability", "calls_max"), [("os", 4), ("disk", 5)])
async def test_system_calls_per_batch(
    tmp_path: Path, system: CountingSystem, durability: Durability, calls_max: int
) -> None:
    """A batch costs what one append does: one write, one flush."""
    async with FileStore(tmp_path, durability, system=system) as store:
        log = await create(store)
        system.start_over()
        await log.append_all([turn(number) for number in range(100)])
        assert system.calls["write"] == 1
        assert system.calls.total() <= calls_max


async def test_os_appends_stay_on_the_event_loop(tmp_path: Path, hops: list[str]) -> None:
    """With "os", no append goes to a thread."""
    async with FileStore(tmp_path, "os") as store:
        log = await create(store)
        for number in range(100):
            await log.append(turn(number))
    assert hops == []


async def test_one_hop_per_disk_append(tmp_path: Path, hops: list[str]) -> None:
    """With "disk", an append on its own takes one hop to a thread."""
    async with FileStore(tmp_path, "disk") as store:
        log = await create(store)
        hops.clear()
        for number in range(10):
            await log.append(turn(number))
        assert len(hops) == 10


async def test_appends_at_once_share_hops_and_flushes(tmp_path: Path, system: CountingSystem, hops: list[str]) -> None:
    """Of 320 appends to 64 sessions at once, ten share a hop to a thread, and five a flush; mostly it is far more.

    Who is in a batch is up to the event loop's order, so there is room above the two batches a round that it takes.
    """
    async with FileStore(tmp_path, "disk", system=system) as store:
        logs = [await create(store, SessionId(f"s{number}")) for number in range(64)]
        together = flushes_together(tmp_path)
        for log in logs:
            await log.append(turn(0))
        system.start_over()
        hops.clear()

        async def append(log: SessionLog) -> None:
            for number in range(5):
                await log.append(turn(number))

        async with anyio.create_task_group() as tasks:
            for log in logs:
                tasks.start_soon(append, log)
        assert system.calls["write"] == 64 * 5
        assert len(hops) <= 64 * 5 / 10
        if together:
            assert system.flushes <= 64 * 5 / 5


def flushes_together(folder: Path) -> bool:
    system = System()
    file = system.open(str(folder), os.O_RDONLY)
    try:
        return system.flush_file_system(file)
    finally:
        system.close(file)


async def test_appends_to_one_session_at_once_are_one_write(
    tmp_path: Path, system: CountingSystem, hops: list[str]
) -> None:
    """Batches of one session take one write, one flush and one hop each."""
    async with FileStore(tmp_path, "disk", system=system) as store:
        log = await create(store)
        system.start_over()
        hops.clear()
        await log.append_all([turn(number) for number in range(50)])
        assert (system.calls["write"], system.flushes, len(hops)) == (1, 1, 1)


@pytest.mark.parametrize("size", [MIB, 20 * MIB])
async def test_head_reads_the_end_alone(tmp_path: Path, system: CountingSystem, hops: list[str], size: int) -> None:
    """The head of a log of any length takes 16 KiB of its end, its first 512 bytes, nine calls and one hop."""
    await write_log(tmp_path, size)
    hops.clear()
    async with FileStore(tmp_path, system=system) as store:
        assert await store.read_head(SESSION) is not None
    assert system.bytes_read <= TAIL_BYTES + BINDING_BYTES
    assert system.calls.total() <= 9
    assert len(hops) == 1


@pytest.mark.parametrize("size", [MIB, 20 * MIB])
async def test_first_append_reads_the_end_alone(tmp_path: Path, system: CountingSystem, size: int) -> None:
    """Opening a log of any length and appending to it reads its end, for the head and for the append."""
    await write_log(tmp_path, size)
    async with FileStore(tmp_path, "os", system=system) as store:
        await (await open_session(store, SESSION)).append(turn(0))
    assert system.bytes_read <= 2 * (TAIL_BYTES + BINDING_BYTES)


async def test_known_head_takes_one_call(tmp_path: Path, system: CountingSystem, hops: list[str]) -> None:
    """The head of a log that this store has appended to takes one look at the file, and no hop."""
    async with FileStore(tmp_path, "os", system=system) as store:
        await create(store)
        system.start_over()
        hops.clear()
        await store.read_head(SESSION)
        assert system.calls == {"lstat": 1}
        assert hops == []


async def test_reading_reads_each_byte_once(tmp_path: Path, system: CountingSystem, hops: list[str]) -> None:
    """A streamed read reads what is there once, 1 MiB a hop; reading all takes one hop."""
    size = (await write_log(tmp_path, 5 * MIB)).stat().st_size
    async with FileStore(tmp_path, system=system) as store:
        hops.clear()
        async with aclosing(store.read(SESSION)) as records:
            assert sum([1 async for _ in records]) > 0
        chunk_count = size // (CHUNK_BYTES - 2048) + 1  # a chunk ends with its last whole record, of 1 KiB each
        assert size <= system.bytes_read <= size + chunk_count * 2048
        assert len(hops) <= chunk_count + 1

        system.start_over()
        hops.clear()
        await store.read_all(SESSION)
        assert system.bytes_read <= size + chunk_count * 2048
        assert len(hops) == 1


async def test_blocks_per_record(tmp_path: Path) -> None:
    """A record that is read holds its line, its hash, its position and itself; one that was streamed holds nothing."""
    await write_log(tmp_path, 4 * MIB)
    held = left = float("inf")
    async with FileStore(tmp_path) as store:
        for _ in range(2):  # the first time round, caches fill
            gc.collect()
            before = sys.getallocatedblocks()
            records = await store.read_all(SESSION)
            held = (sys.getallocatedblocks() - before) / len(records)
            count = len(records)
            del records
            gc.collect()
            before = sys.getallocatedblocks()
            async with aclosing(store.read(SESSION)) as stream:
                async for record in stream:
                    record.entry  # noqa: B018 - decodes
            del record
            gc.collect()
            left = (sys.getallocatedblocks() - before) / count
    assert held <= 5
    assert left <= 0.1


@pytest.mark.parametrize("check", [verify_session, audit_session])
async def test_a_small_log_is_checked_in_one_look(
    tmp_path: Path, system: CountingSystem, hops: list[str], check: Callable[..., Any]
) -> None:
    """It is opened once, read once and closed, over one hop: with thousands of sessions, that is what counts."""
    await write_log(tmp_path, 4000)
    hops.clear()
    async with FileStore(tmp_path, system=system) as store:
        assert (await check(store, SESSION)).ok
    assert (system.calls["open"], system.calls["pread"], system.calls["close"]) == (1, 1, 1)
    assert len(hops) <= 1


@pytest.mark.parametrize("operation", ["read", "verify", "audit"])
async def test_streaming_holds_no_more_of_a_longer_log(tmp_path: Path, operation: str) -> None:
    """What streaming holds at its peak does not grow with the log, and is some chunks at most."""

    async def run(root: Path) -> int:
        async with FileStore(root) as store:
            tracemalloc.start()
            try:
                if operation == "read":
                    async with aclosing(store.read(SESSION)) as records:
                        async for _ in records:
                            pass
                else:
                    check = verify_session if operation == "verify" else audit_session
                    assert (await check(store, SESSION)).ok
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    await write_log(tmp_path / "short", 3 * MIB)
    await write_log(tmp_path / "long", 12 * MIB)
    await run(tmp_path / "short")
    short, long = await run(tmp_path / "short"), await run(tmp_path / "long")
    assert long <= short * 1.2
    assert long <= 6 * CHUNK_BYTES


IMPORTED = """
import json, sys
sys.modules["inotify_simple"] = None  # of an extra
before = set(sys.modules)
import sessionlog
found = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps(sorted(found)))
"""
THIRD_PARTY = {"anyio", "blake3", "idna", "msgspec", "sessionlog", "sniffio", "typing_extensions"}
SLOW = {"asyncio", "ctypes", "email", "http", "json", "multiprocessing", "sqlite3", "ssl", "trio", "unittest"}
"""Of the standard library and beyond: what would cost more than all else that is imported."""


def test_import_brings_its_dependencies_alone() -> None:
    """`import sessionlog` brings msgspec, blake3, anyio and what these bring; no event loop, no CLI, no importers."""
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True, timeout=600)
    found = set(json.loads(done.stdout))
    third_party = {name for name in found if name not in sys.stdlib_module_names and not name.startswith("_")}
    assert third_party <= THIRD_PARTY
    assert not found & SLOW
