"""Appending one record after the other: by the library, by the bare loops, by the peers.

Sessions are made and opened, and entries made, before the clock starts; encoding an entry counts.
"""

import fcntl
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import anyio

from sessionlog import (
    Durability,
    FileStore,
    LogEntry,
    SessionId,
    SessionLog,
    SessionStartState,
    create_session_with_id,
    decode_entry,
    link,
)
from sessionlog.stores.file.system import System

from .harness import Contender, Measure, Promise
from .peers import KILLED_CHAINED, POWER_CHAINED, Append, AppendNow, AsyncPeer, BlockingPeer
from .work import GENESIS, Stopwatch, bare_record, entries, open_files

LIBRARY: Final = "sessionlog"
STORE: Final = "sessionlog, FileStore.append alone"
BARE: Final[dict[Durability, str]] = {
    "os": "bare loop: encode, hash, write",
    "disk": "bare loop: write, fdatasync",
}
BARE_CHECKED: Final = "bare loop: encode, decode, hash, lock, look, write, unlock"
BARE_HOP: Final = "bare loop: write, fdatasync, each in a thread"
BARE_GROUP: Final = "bare loop: encode, hash, write to all, one flush"
PROMISE: Final[dict[Durability, Promise]] = {"os": KILLED_CHAINED, "disk": POWER_CHAINED}


def library(durability: Durability, *, sessions: int, each: int) -> Contender:
    """Append through ``SessionLog.append``, what a runtime awaits."""

    async def measure(folder: Path) -> float:
        async with FileStore(folder, durability) as store:
            logs = await _create_all(store, sessions)
            work = entries(each)
            watch = Stopwatch()
            await at_once([_append_each(log, work) for log in logs])
            return watch.rate(sessions * each)

    return Contender(LIBRARY, "ours", measure, PROMISE[durability])


def store_alone(durability: Durability, *, sessions: int, each: int) -> Contender:
    """Append records that were linked beforehand."""

    async def append_each(store: FileStore, log: SessionLog, work: Sequence[LogEntry]) -> Callable[[], Awaitable[None]]:
        records = []
        head = log.head
        for entry in work:
            record = link(head, entry)
            records.append(record)
            head = record.head

        async def run() -> None:
            for record in records:
                await store.append(log.session_id, record)

        return run

    async def measure(folder: Path) -> float:
        async with FileStore(folder, durability) as store:
            logs = await _create_all(store, sessions)
            runs = [await append_each(store, log, entries(each)) for log in logs]
            watch = Stopwatch()
            await at_once([run() for run in runs])
            return watch.rate(sessions * each)

    return Contender(STORE, "ours", measure, PROMISE[durability])


def bare_os(*, sessions: int, each: int) -> Contender:
    """Encode, hash and write each entry, session after session in turn."""

    async def measure(folder: Path) -> float:
        with open_files(folder, sessions) as files:
            heads = [GENESIS] * sessions
            work = entries(each)
            watch = Stopwatch()
            for seq, entry in enumerate(work):
                for number, file in enumerate(files):
                    heads[number], line = bare_record(heads[number], seq, entry)
                    os.write(file, line)
            return watch.rate(sessions * each)

    return Contender(BARE["os"], "floor", measure, KILLED_CHAINED)


def bare_os_checked(*, sessions: int, each: int) -> Contender:
    """The bare loop with what the promises take: the entry decoded and compared, a lock, a look at the path."""

    async def measure(folder: Path) -> float:
        with open_files(folder, sessions) as files:
            paths = [os.readlink(f"/proc/self/fd/{file}") if sys.platform == "linux" else "." for file in files]
            heads = [GENESIS] * sessions
            work = entries(each)
            watch = Stopwatch()
            for seq, entry in enumerate(work):
                for number, file in enumerate(files):
                    heads[number], line = bare_record(heads[number], seq, entry)
                    if decode_entry(line) != entry:
                        raise ValueError("the entry would come back as another")
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.lstat(paths[number])
                    os.write(file, line)
                    fcntl.flock(file, fcntl.LOCK_UN)
            return watch.rate(sessions * each)

    return Contender(BARE_CHECKED, "floor", measure, KILLED_CHAINED)


def bare_disk(*, count: int) -> Contender:
    """Write and flush lines that were made beforehand."""

    async def measure(folder: Path) -> float:
        with open_files(folder, 1) as (file,):
            lines = bare_lines(count)
            watch = Stopwatch()
            for line in lines:
                os.write(file, line)
                os.fdatasync(file)
            return watch.rate(count)

    return Contender(BARE["disk"], "floor", measure, POWER_CHAINED)


def bare_disk_in_threads(*, count: int) -> Contender:
    """The same, with the way to a worker thread and back, so that the event loop is free meanwhile."""

    def write(file: int, line: bytes) -> None:
        os.write(file, line)
        os.fdatasync(file)

    async def measure(folder: Path) -> float:
        with open_files(folder, 1) as (file,):
            lines = bare_lines(count)
            watch = Stopwatch()
            for line in lines:
                await anyio.to_thread.run_sync(write, file, line)
            return watch.rate(count)

    return Contender(BARE_HOP, "floor", measure, POWER_CHAINED)


def bare_group(*, sessions: int, each: int) -> Contender:
    """Encode, hash and write one record to each session, then flush them all: by the file system where that is had."""

    async def measure(folder: Path) -> float:
        system = System()
        with open_files(folder, sessions) as files:
            heads = [GENESIS] * sessions
            work = entries(each)
            watch = Stopwatch()
            for seq, entry in enumerate(work):
                for number, file in enumerate(files):
                    heads[number], line = bare_record(heads[number], seq, entry)
                    os.write(file, line)
                if not system.flush_file_system(files[0]):
                    for file in files:
                        os.fsync(file)
            return watch.rate(sessions * each)

    return Contender(BARE_GROUP, "floor", measure, POWER_CHAINED)


def bare_lines(count: int) -> list[bytes]:
    """Return ``count`` chained lines."""
    lines, head = [], GENESIS
    for seq, entry in enumerate(entries(count)):
        head, line = bare_record(head, seq, entry)
        lines.append(line)
    return lines


def peer(peer: AsyncPeer | BlockingPeer, *, sessions: int, each: int) -> Contender:
    """Append by a peer: one that blocks session after session in turn, others all at once."""
    measure: Measure
    if isinstance(peer, AsyncPeer):
        opened = peer.open

        async def measure(folder: Path) -> float:
            async with opened(folder, sessions) as append:
                watch = Stopwatch()
                await at_once([_await_each(append, number, each) for number in range(sessions)])
                return watch.rate(sessions * each)
    else:
        opened_now = peer.open

        async def measure(folder: Path) -> float:
            async with opened_now(folder, sessions) as append:
                watch = Stopwatch()
                _call_each(append, sessions, each)
                return watch.rate(sessions * each)

    return Contender(peer.name, "peer", measure, peer.promise)


async def at_once(work: Sequence[Awaitable[None]]) -> None:
    """Await one on the spot, several as tasks."""
    if len(work) == 1:
        await work[0]
        return
    async with anyio.create_task_group() as tasks:
        for one in work:
            tasks.start_soon(_wait, one)


async def _wait(one: Awaitable[None]) -> None:
    await one


async def _create_all(store: FileStore, count: int) -> list[SessionLog]:
    logs: list[SessionLog] = []

    async def create(number: int) -> None:
        logs.append(await create_session_with_id(store, SessionId(f"session-{number}"), SessionStartState()))

    await at_once([create(number) for number in range(count)])
    return logs


async def _append_each(log: SessionLog, work: Sequence[LogEntry]) -> None:
    for entry in work:
        await log.append(entry)


async def _await_each(append: Append, number: int, each: int) -> None:
    for _ in range(each):
        await append(number)


def _call_each(append: AppendNow, sessions: int, each: int) -> None:
    for _ in range(each):
        for number in range(sessions):
            append(number)
