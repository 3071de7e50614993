"""The bare loops of appending: the least work that gives the same bytes, and the least that keeps the promises, too.

The first kind checks nothing, knows of no other writer and mostly stands in the way of the event loop; no library gets
beyond it. The second, *checked*, adds what the promises take and nothing else: each entry is decoded and compared,
each write is locked and preceded by a look at the path, a flush leaves the event loop free, and where many append at
once, each of them is a task that goes on when its own record is durable.
"""

import asyncio
import fcntl
import os
import queue
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Self

from sessionlog import LogEntry, decode_entry
from sessionlog.stores.file.system import System

from .harness import Contender
from .peers import KILLED_CHAINED, POWER_CHAINED
from .work import GENESIS, Stopwatch, bare_record, entries, open_files

IN_PLACE: Final = "bare loop: encode, hash, write"
IN_PLACE_CHECKED: Final = "bare loop: encode, decode, hash, lock, look, write, unlock"
FLUSHED: Final = "bare loop: write, fdatasync"
FLUSHED_CHECKED: Final = "bare loop: encode, decode, hash, lock, look, write, unlock, fdatasync in a thread"
GROUP: Final = "bare loop: encode, hash, write to all, one flush"
GROUP_CHECKED: Final = "bare tasks: encode, decode, hash, lock, look, write, unlock, one flush for all"
_SYSTEM: Final = System()


def in_place(*, sessions: int, each: int) -> Contender:
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

    return Contender(IN_PLACE, "floor", measure, KILLED_CHAINED)


def in_place_checked(*, sessions: int, each: int) -> Contender:
    """The same with what the promises take."""

    async def measure(folder: Path) -> float:
        with open_files(folder, sessions) as files:
            paths = _paths(files)
            heads = [GENESIS] * sessions
            work = entries(each)
            watch = Stopwatch()
            for seq, entry in enumerate(work):
                for number, file in enumerate(files):
                    heads[number], line = checked_record(heads[number], seq, entry)
                    write_locked(file, paths[number], line)
            return watch.rate(sessions * each)

    return Contender(IN_PLACE_CHECKED, "kept", measure, KILLED_CHAINED)


def flushed(*, count: int) -> Contender:
    """Write and flush lines that were made beforehand."""

    async def measure(folder: Path) -> float:
        with open_files(folder, 1) as (file,):
            lines = _lines(count)
            watch = Stopwatch()
            for line in lines:
                os.write(file, line)
                os.fdatasync(file)
            return watch.rate(count)

    return Contender(FLUSHED, "floor", measure, POWER_CHAINED)


def flushed_checked(*, count: int) -> Contender:
    """The same with what the promises take, and with what makes a line."""

    async def measure(folder: Path) -> float:
        with open_files(folder, 1) as files, _Flusher(lambda: os.fdatasync(files[0])) as flusher:
            (file,), (path,) = files, _paths(files)
            head = GENESIS
            work = entries(count)
            watch = Stopwatch()
            for seq, entry in enumerate(work):
                head, line = checked_record(head, seq, entry)
                write_locked(file, path, line)
                await flusher.flushed()
            return watch.rate(count)

    return Contender(FLUSHED_CHECKED, "kept", measure, POWER_CHAINED)


def group(*, sessions: int, each: int) -> Contender:
    """Encode, hash and write one record to each session, then flush them all: by the file system where that is had."""

    async def measure(folder: Path) -> float:
        with open_files(folder, sessions) as files:
            heads = [GENESIS] * sessions
            work = entries(each)
            watch = Stopwatch()
            for seq, entry in enumerate(work):
                for number, file in enumerate(files):
                    heads[number], line = bare_record(heads[number], seq, entry)
                    os.write(file, line)
                _flush_all(files)
            return watch.rate(sessions * each)

    return Contender(GROUP, "floor", measure, POWER_CHAINED)


def group_checked(*, sessions: int, each: int) -> Contender:
    """The same with what the promises take, and a task for each session: it goes on once its record is durable."""

    async def measure(folder: Path) -> float:
        with open_files(folder, sessions) as files, _Flusher(lambda: _flush_all(files)) as flusher:
            together = _Together(flusher, sessions)
            work = entries(each)
            watch = Stopwatch()
            await asyncio.gather(
                *[_append_checked(file, path, work, together) for file, path in zip(files, _paths(files), strict=True)]
            )
            return watch.rate(sessions * each)

    return Contender(GROUP_CHECKED, "kept", measure, POWER_CHAINED)


class _Flusher:
    """A thread that flushes when asked to, with the shortest way there and back that asyncio has."""

    def __init__(self, flush: Callable[[], None]) -> None:
        self._flush = flush
        self._loop = asyncio.get_running_loop()
        self._asked: queue.SimpleQueue[asyncio.Future[None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run)

    def flushed(self) -> "asyncio.Future[None]":
        """Flush, and return what is done once that has ended."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._asked.put(future)
        return future

    def _run(self) -> None:
        while (future := self._asked.get()) is not None:
            self._flush()
            self._loop.call_soon_threadsafe(future.set_result, None)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._asked.put(None)
        self._thread.join()


class _Together:
    """Flushes once all of so many tasks have written, for all of them."""

    def __init__(self, flusher: _Flusher, count: int) -> None:
        self._flusher = flusher
        self._count = count
        self._waiting: list[asyncio.Future[None]] = []

    async def flushed(self) -> None:
        """Return once what this task has written is durable."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        if len(self._waiting) == self._count:
            self._flusher.flushed().add_done_callback(self._go_on)
        await future

    def _go_on(self, _: "asyncio.Future[None]") -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            future.set_result(None)


async def _append_checked(file: int, path: str, work: Sequence[LogEntry], together: _Together) -> None:
    """Append each entry, with what the promises take."""
    head = GENESIS
    for seq, entry in enumerate(work):
        head, line = checked_record(head, seq, entry)
        write_locked(file, path, line)
        await together.flushed()


def _paths(files: Sequence[int]) -> list[str]:
    """Return where open files lie."""
    return [os.readlink(f"/proc/self/fd/{file}") if sys.platform == "linux" else "." for file in files]


def checked_record(head: bytes, seq: int, entry: LogEntry) -> tuple[bytes, bytes]:
    """Encode and hash; refuse what would come back as another entry."""
    head, line = bare_record(head, seq, entry)
    if decode_entry(line) != entry:
        raise ValueError("the entry would come back as another")
    return head, line


def write_locked(file: int, path: str, line: bytes) -> None:
    """Lock, look, write, unlock."""
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.lstat(path)
    os.write(file, line)
    fcntl.flock(file, fcntl.LOCK_UN)


def _flush_all(files: Sequence[int]) -> None:
    """Flush the file system, or each file where that is not to be had."""
    if not _SYSTEM.flush_file_system(files[0]):
        for file in files:
            os.fsync(file)


def _lines(count: int) -> list[bytes]:
    """Return ``count`` chained lines."""
    lines, head = [], GENESIS
    for seq, entry in enumerate(entries(count)):
        head, line = bare_record(head, seq, entry)
        lines.append(line)
    return lines
