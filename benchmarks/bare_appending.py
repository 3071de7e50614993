"""The bare loops of appending: the least work that gives the same bytes, and the least that keeps the promises, too.

The first kind checks nothing, knows of no other writer and mostly stands in the way of the event loop; no library gets
beyond it. The second, *checked*, adds what the promises take and nothing else: each entry is decoded and compared,
each write is locked and preceded by a look at the path, and a flush leaves the event loop free.
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
GROUP_CHECKED: Final = "bare loop: encode, decode, hash, lock, look, write, unlock all, one flush"
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
                    heads[number], line = _checked_record(heads[number], seq, entry)
                    _write_locked(file, paths[number], line)
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
                head, line = _checked_record(head, seq, entry)
                _write_locked(file, path, line)
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
    """The same with what the promises take."""

    async def measure(folder: Path) -> float:
        with open_files(folder, sessions) as files, _Flusher(lambda: _flush_all(files)) as flusher:
            paths = _paths(files)
            heads = [GENESIS] * sessions
            work = entries(each)
            watch = Stopwatch()
            for seq, entry in enumerate(work):
                for number, file in enumerate(files):
                    heads[number], line = _checked_record(heads[number], seq, entry)
                    _write_locked(file, paths[number], line)
                await flusher.flushed()
            return watch.rate(sessions * each)

    return Contender(GROUP_CHECKED, "kept", measure, POWER_CHAINED)


class _Flusher:
    """A thread that flushes when asked to, with the shortest way there and back that asyncio has."""

    def __init__(self, flush: Callable[[], None]) -> None:
        self._flush = flush
        self._loop = asyncio.get_running_loop()
        self._asked: queue.SimpleQueue[asyncio.Future[None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run)

    async def flushed(self) -> None:
        """Return once a flush that began after this call has ended."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._asked.put(future)
        await future

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


def _paths(files: Sequence[int]) -> list[str]:
    """Return where open files lie."""
    return [os.readlink(f"/proc/self/fd/{file}") if sys.platform == "linux" else "." for file in files]


def _checked_record(head: bytes, seq: int, entry: LogEntry) -> tuple[bytes, bytes]:
    """Encode and hash; refuse what would come back as another entry."""
    head, line = bare_record(head, seq, entry)
    if decode_entry(line) != entry:
        raise ValueError("the entry would come back as another")
    return head, line


def _write_locked(file: int, path: str, line: bytes) -> None:
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
