"""Reading a log in verified chunks, nothing held in between.

Each step opens the log, checks that it is still the same file, takes one chunk from behind the last whole record,
and closes it, all on a worker thread: a reader that is dropped half-way leaks nothing, and any number of readers needs
one descriptor a worker thread. Whoever streams has the bytes checked in turns with what else runs on the event loop.

A reader that has caught up with the log and follows it does all of that on the event loop, if what came since is little
and nobody holds the lock: it lies in memory still, and the way to a thread and back takes longer than all the rest.
That it does lie there is not hoped for but asked of the system; where that cannot tell, the thread reads, as ever.

An inode number is no identity: a file that is made where one was deleted mostly gets the same. So where the log may be
another one, since a line does not chain on or a look finds nothing new, its first record is compared with what it was.
"""

import os
import time
from typing import Final, NamedTuple

import anyio.lowlevel

from ...binding import BINDING_BYTES_MAX, bound_session
from ...entries import FORMAT
from ...errors import CorruptLog, Damage, EntryNotFound, SessionLogError, SessionNotFound, StoreFailed
from ...record import ENVELOPE, ENVELOPE_BYTES_MAX, HASH_AT, HASHED_FROM, HashedEntry, Position, parse_record
from ...scanner import LogScanner
from ...turns import Turns
from .layout import Layout, store_failed
from .spans import CHUNK_BYTES, find_lf, read_span
from .system import System
from .tail import last_line, scan

NEWS_BYTES_MAX: Final = 64 * 1024
"""More than this is not read on the event loop."""
SETTLE_S: Final = 0.1
_SETTLE_PAUSE_S: Final = 0.0002


def settled_status(system: System, fd: int) -> os.stat_result:
    """Return the file's status as of a moment at which no writer was in the middle of a commit.

    Taken under the shared lock, held for this one call: below the size that it tells, commits are whole. A lock that
    stays taken holds no reader up for longer than ``SETTLE_S``; then what is there is taken as it is.
    """
    give_up_at = None
    while (status := _status_if_free(system, fd)) is None:
        now = time.monotonic()
        give_up_at = now + SETTLE_S if give_up_at is None else give_up_at
        if now >= give_up_at:
            return system.fstat(fd)
        time.sleep(_SETTLE_PAUSE_S)
    return status


def _status_if_free(system: System, fd: int) -> os.stat_result | None:
    """Return the file's status, taken under the shared lock; ``None`` if a writer has the lock."""
    if not system.try_share(fd):
        return None
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
    """Reads one log, a chunk a step; a ``Step`` never ends inside a record."""

    def __init__(
        self, layout: Layout, system: System, session_id: str, after: Position | None = None, *, line_bytes_max: int
    ) -> None:
        """Begin before the first record, or behind ``after``; nothing is opened yet."""
        self._layout = layout
        self._system = system
        self._session_id = session_id
        self._line_bytes_max = line_bytes_max
        self._identity: tuple[int, int] | None = None
        self._caught_up = False
        self._sought = after
        """The record behind which to begin, until it was found in the log."""
        self._start: bytes | None = None
        """What the first record begins with, its hash included: by this a log that was made anew is known."""
        head, offset = (None, 0) if after is None else (after.head, after.end)
        self.scanner: LogScanner = LogScanner(session_id, head=head, offset=offset, line_bytes_max=line_bytes_max)

    async def step(self) -> Step:
        """Read the next chunk on a worker thread, check it on the event loop; otherwise as :meth:`step_blocking`."""
        news = await self._read_news()
        data, at_end = await self._system.in_thread(self._read) if news is None else news
        records: list[HashedEntry] = []
        offset = self.scanner.offset
        turns = Turns(self.scanner, lambda part: self.scanner.feed_into(part, records))
        try:
            await turns.feed(data)
        except CorruptLog as fault:
            if fault.offset == offset:
                await self._system.in_thread(self._look_again)
            return Step(records, at_end, fault)
        self.scanner.drop_torn()
        return Step(records, at_end, None)

    def step_blocking(self) -> Step:
        """Read and check the next chunk.

        Raises :class:`SessionNotFound`, :class:`EntryNotFound`, :class:`CorruptLog`, :class:`StoreFailed`.
        """
        data, at_end = self._read()
        records: list[HashedEntry] = []
        offset = self.scanner.offset
        try:
            self.scanner.feed_into(data, records)
        except CorruptLog as fault:
            if fault.offset == offset:
                self._look_again()
            return Step(records, at_end, fault)
        self.scanner.drop_torn()
        return Step(records, at_end, None)

    async def _read_news(self) -> tuple[bytes, bool] | None:
        """Return what came since the reader had caught up, as :meth:`_read`; ``None`` where that may take time."""
        if not (self._caught_up and self._system.tells_cached):
            return None
        await anyio.lowlevel.checkpoint()
        fd = self._open()
        try:
            status = _status_if_free(self._system, fd)
            if status is None or not 0 < (left := self._left(fd, status)) <= NEWS_BYTES_MAX:
                return None
            data = self._system.pread_cached(fd, left, self.scanner.offset)
            return None if data is None else (data, True)
        except OSError as error:
            raise self._unreadable(error) from error
        finally:
            self._layout.close(fd)

    def _read(self) -> tuple[bytes, bool]:
        """Return the next whole lines, about a chunk of them, and whether they reach the log's end.

        What stands behind the last LF is searched for one, not held.
        """
        fd = self._open()
        try:
            start = self.scanner.offset
            left = self._left(fd, settled_status(self._system, fd))
            data = self._system.pread(fd, min(CHUNK_BYTES, left), start)
            if len(data) < min(CHUNK_BYTES, left):
                self._check_there(self._system.fstat(fd))  # cut off under the read, as a deletion does
            if 0 < len(data) < left and b"\n" not in data:
                lf = find_lf(self._system, fd, start + len(data), start + left)
                if lf is None:
                    left, data = 0, b""
                elif lf - start > self._line_bytes_max:
                    raise self.scanner.too_long()
                else:
                    data = read_span(self._system, fd, start, lf + 1)
            if b"\n" not in data:
                self._check_same(fd)
            elif start == 0:
                self._start = data[:HASHED_FROM]
        except OSError as error:
            raise self._unreadable(error) from error
        finally:
            self._layout.close(fd)
        self._caught_up = len(data) >= left
        return data, self._caught_up

    def _open(self) -> int:
        return self._layout.open_to_read(self._session_id)

    def _left(self, fd: int, status: os.stat_result) -> int:
        """Return how many bytes of the file are to be read yet. Raises if it is not the log that it was."""
        self._check_there(status)
        if self._sought is not None:
            self._find(fd, self._sought, status.st_size)
        identity = (status.st_dev, status.st_ino)
        if self._identity is not None and identity != self._identity:
            self._check_same(fd)
            raise self._changed("the file was replaced while it was read")
        if status.st_size < self.scanner.offset:
            self._check_same(fd)
            raise self._changed(f"the file was cut to {status.st_size} bytes while it was read")
        self._identity = identity
        return status.st_size - self.scanner.offset

    def _find(self, fd: int, sought: Position, size: int) -> None:
        """Check that the log holds the record behind which to begin, where its line should end.

        The next record tells, without another look, since it names the one before; where there is none, that one does.
        """
        lf = sought.end - 1
        if not 0 <= lf < size:
            raise self._not_there()
        start = self._system.pread(fd, BINDING_BYTES_MAX, 0)
        if bound_session(start) != (FORMAT, self._session_id):
            line_bytes_max = self._line_bytes_max
            scan(self._system, fd, self._session_id, size, line_bytes_max=line_bytes_max)  # names what is there instead
            raise self._not_there()
        around = self._system.pread(fd, 1 + ENVELOPE_BYTES_MAX, lf)
        if not around.startswith(b"\n"):
            raise self._not_there()
        behind = ENVELOPE.match(around, 1)
        chained = behind and behind[2] == sought.hash.encode() and int(behind[3]) == sought.seq + 1
        if not chained and not self._ends_with(fd, sought):
            raise self._not_there()
        self._sought, self._start = None, start[:HASHED_FROM]

    def _ends_with(self, fd: int, sought: Position) -> bool:
        """Tell whether the line that ends where the sought record should is that record."""
        found = last_line(self._system, fd, sought.end, self._line_bytes_max)
        try:
            return found is not None and parse_record(found[0]).head == sought.head
        except CorruptLog:
            return False

    def _check_there(self, status: os.stat_result) -> None:
        """Raise :class:`SessionNotFound` if the open file was deleted."""
        if status.st_nlink == 0:
            raise SessionNotFound(self._session_id)

    def _check_same(self, fd: int) -> None:
        """Raise :class:`EntryNotFound` if the log does not begin as it did: another one was made in its place."""
        if self._start is None:
            return
        start = self._system.pread(fd, HASHED_FROM, 0)
        if not start or not self._start.startswith(start):  # a log that was cut begins as it did, as far as it goes
            raise self._not_there()

    def _look_again(self) -> None:
        """Raise what is to blame for a line that does not chain on, if that is not the line itself."""
        fd = self._open()
        try:
            self._check_there(self._system.fstat(fd))
            self._check_same(fd)
        except OSError as error:
            raise self._unreadable(error) from error
        finally:
            self._layout.close(fd)

    def _not_there(self) -> EntryNotFound:
        return EntryNotFound(self._session_id, self.scanner.prev_hash or "")

    def _unreadable(self, error: OSError) -> StoreFailed:
        return store_failed(error, self._layout.log_path(self._session_id), "cannot read the log")

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

    def __init__(self, layout: Layout, system: System, session_id: str) -> None:
        """Begin at byte 0; nothing is opened yet."""
        self._layout = layout
        self._system = system
        self._session_id = session_id
        self._offset = 0
        self._snapshot: tuple[int, int, int] | None = None
        self._seq = self._line_offset = 0
        """The position and the start of the line that was not given to its end yet."""
        self._start = b""
        """What the first line begins with: by this a log that was made anew is known."""

    async def step(self) -> bytes:
        """Return the next bytes; none at the end.

        Raises :class:`SessionNotFound`, :class:`EntryNotFound` if another log was made in its place meanwhile,
        :class:`CorruptLog` where the file is no log or was replaced otherwise, :class:`StoreFailed`.
        """
        return b"" if self.at_end else await self._system.in_thread(self.step_blocking)

    @property
    def at_end(self) -> bool:
        """True once all was given that was there at the beginning."""
        return self._snapshot is not None and self._offset == self._snapshot[2]

    def step_blocking(self) -> bytes:
        """Return the next bytes, as :meth:`step`."""
        fd = self._layout.open_to_read(self._session_id)
        try:
            status = settled_status(self._system, fd) if self._snapshot is None else self._system.fstat(fd)
            if status.st_nlink == 0:
                raise SessionNotFound(self._session_id)
            device, inode, size = self._snapshot = self._snapshot or (status.st_dev, status.st_ino, status.st_size)
            if self._offset:
                self._check_same(self._system.pread(fd, HASHED_FROM, 0))
            if (status.st_dev, status.st_ino) != (device, inode):
                raise CorruptLog(
                    "the file was replaced while it was read",
                    damage=Damage.FILE,
                    seq=self._seq,
                    offset=self._line_offset,
                    session_id=self._session_id,
                )
            data = self._system.pread(fd, min(CHUNK_BYTES, size - self._offset), self._offset)
            if not self._offset:
                self._start = data[:HASHED_FROM]
        except OSError as error:
            raise store_failed(error, self._layout.log_path(self._session_id), "cannot read the log") from error
        finally:
            self._layout.close(fd)
        last = data.rfind(b"\n")
        if last >= 0:
            self._seq = self._seq_behind(data, last)
            self._line_offset = self._offset + last + 1
        self._offset += len(data)
        return data

    def _seq_behind(self, data: bytes, last: int) -> int:
        """Return the position of the record behind the LF at ``last``: that line says its own, if it is a record."""
        envelope = ENVELOPE.match(data, data.rfind(b"\n", 0, last) + 1)
        return self._seq + data.count(b"\n") if envelope is None else int(envelope[3]) + 1

    def _check_same(self, start: bytes) -> None:
        """Raise :class:`EntryNotFound` if the log does not begin as it did."""
        if start != self._start:
            raise EntryNotFound(self._session_id, self._start[HASH_AT].decode("ascii", "replace"))
