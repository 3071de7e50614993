"""Reading a log in verified chunks, nothing held in between.

Each step opens the log, checks that it is still the same file, takes one chunk from behind the last whole record,
and closes it, all on a worker thread: a reader that is dropped half-way leaks nothing, and any number of readers needs
one descriptor a worker thread. Whoever streams has the bytes checked in turns with what else runs on the event loop.
"""

import os
import time
from typing import Final, NamedTuple

import anyio.to_thread

from ...chain import LogScanner
from ...errors import CorruptLog, Damage, SessionLogError
from ...ids import SessionId
from ...record import HashedEntry
from ...turns import Turns
from .layout import Layout, store_failed
from .system import System

CHUNK_BYTES: Final = 1024 * 1024
SETTLE_S: Final = 0.1
_SETTLE_PAUSE_S: Final = 0.0002


def settled_status(system: System, fd: int) -> os.stat_result:
    """Return the file's status as of a moment at which no writer was in the middle of a commit.

    Taken under the shared lock, held for this one call: below the size that it tells, commits are whole. A lock that
    stays taken holds no reader up for longer than ``SETTLE_S``; then what is there is taken as it is.
    """
    give_up_at = None
    while not system.try_share(fd):
        now = time.monotonic()
        give_up_at = now + SETTLE_S if give_up_at is None else give_up_at
        if now >= give_up_at:
            return system.fstat(fd)
        time.sleep(_SETTLE_PAUSE_S)
    try:
        return system.fstat(fd)
    finally:
        system.unlock(fd)


class Step(NamedTuple):
    """What one step gave: records, then whether the file's end was met, then the fault behind them."""

    records: list[HashedEntry]
    at_end: bool
    fault: SessionLogError | None


class LogReader:
    """Reads one log from its start, a chunk a step; a ``Step`` never ends inside a record."""

    def __init__(self, layout: Layout, system: System, session_id: SessionId, *, line_bytes_max: int) -> None:
        """Begin before the first record; nothing is opened yet."""
        self._layout = layout
        self._system = system
        self._session_id = session_id
        self._line_bytes_max = line_bytes_max
        self._identity: tuple[int, int] | None = None
        self._chunk_bytes = CHUNK_BYTES
        self.scanner: LogScanner = LogScanner(session_id, line_bytes_max=line_bytes_max)

    async def step(self) -> Step:
        """Read the next chunk on a worker thread, check it on the event loop; otherwise as :meth:`step_blocking`."""
        data, at_end = await anyio.to_thread.run_sync(self._read)
        records: list[HashedEntry] = []
        turns = Turns(self.scanner, lambda part: self.scanner.feed_into(part, records))
        offset = self.scanner.offset
        try:
            await turns.feed(data)
        except CorruptLog as fault:
            return Step(records, at_end, fault)
        self._end_chunk(grows=self.scanner.offset == offset and not at_end)
        return Step(records, at_end, None)

    def step_blocking(self) -> Step:
        """Read and check the next chunk. Raises :class:`SessionNotFound`, :class:`CorruptLog`, :class:`StoreFailed`."""
        data, at_end = self._read()
        records: list[HashedEntry] = []
        offset = self.scanner.offset
        try:
            self.scanner.feed_into(data, records)
        except CorruptLog as fault:
            return Step(records, at_end, fault)
        self._end_chunk(grows=self.scanner.offset == offset and not at_end)
        return Step(records, at_end, None)

    def _end_chunk(self, *, grows: bool) -> None:
        """Leave the record that the chunk's end cut to the next chunk, which is longer if there was no other."""
        self.scanner.drop_torn()
        self._chunk_bytes = min(self._chunk_bytes * 2, self._line_bytes_max + 2) if grows else CHUNK_BYTES

    def _read(self) -> tuple[bytes, bool]:
        """Return the next chunk and whether it reaches the file's end."""
        offset = self.scanner.offset
        fd = self._layout.open_to_read(self._session_id)
        try:
            status = settled_status(self._system, fd)
            identity = (status.st_dev, status.st_ino)
            if self._identity is not None and identity != self._identity:
                raise self._changed("the file was replaced while it was read")
            if status.st_size < offset:
                raise self._changed(f"the file was cut to {status.st_size} bytes while it was read")
            self._identity = identity
            data = self._system.pread(fd, min(self._chunk_bytes, status.st_size - offset), offset)
            return data, offset + len(data) >= status.st_size
        except OSError as error:
            raise store_failed(error, self._layout.log_path(self._session_id), "cannot read the log") from error
        finally:
            self._layout.close(fd)

    def _changed(self, reason: str) -> CorruptLog:
        return CorruptLog(
            reason,
            damage=Damage.FILE,
            seq=self.scanner.seq,
            offset=self.scanner.offset,
            session_id=self._session_id,
        )


class RawReader:
    """Reads a log's bytes as they lay there when it began, a chunk a step."""

    def __init__(self, layout: Layout, system: System, session_id: SessionId) -> None:
        """Begin at byte 0; nothing is opened yet."""
        self._layout = layout
        self._system = system
        self._session_id = session_id
        self._offset = 0
        self._snapshot: tuple[int, int, int] | None = None

    async def step(self) -> bytes:
        """Return the next bytes; none at the end.

        Raises :class:`SessionNotFound`, :class:`CorruptLog` where the file is no log or was replaced,
        :class:`StoreFailed`.
        """
        return await anyio.to_thread.run_sync(self._step_blocking)

    def _step_blocking(self) -> bytes:
        fd = self._layout.open_to_read(self._session_id)
        try:
            status = settled_status(self._system, fd) if self._snapshot is None else self._system.fstat(fd)
            device, inode, size = self._snapshot = self._snapshot or (status.st_dev, status.st_ino, status.st_size)
            if (status.st_dev, status.st_ino) != (device, inode):
                raise CorruptLog(
                    "the file was replaced while it was read",
                    damage=Damage.FILE,
                    seq=0,
                    offset=self._offset,
                    session_id=self._session_id,
                )
            data = self._system.pread(fd, min(CHUNK_BYTES, size - self._offset), self._offset)
        except OSError as error:
            raise store_failed(error, self._layout.log_path(self._session_id), "cannot read the log") from error
        finally:
            self._layout.close(fd)
        self._offset += len(data)
        return data
