"""The file store: each session one append-only JSON Lines file, as FORMAT lays it out.

Durability is the store's word on what survives once ``append`` has returned: with ``"disk"`` power loss, with
``"os"`` a killed process. Both write at once, on the event loop, for a write into the page cache is thirty times
cheaper than the way to a thread and back. With ``"os"`` that is all, and every 32nd append lets the loop turn; with
``"disk"`` the flush follows, on a worker thread, one for all that were written meanwhile. What comes while a flush
runs that is not brief, and whatever is not as it mostly is, goes the whole way, :class:`Commit`.
"""

import os
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeAlias

import anyio
import anyio.lowlevel

from ... import cancellation
from ...entries import Extension, encode_entry
from ...errors import CorruptLog, SessionNotFound, StoreFailed
from ...ids import EntryHash, Head, SessionId, now_ms
from ...owner import Owner
from ...record import LINE_BYTES_MAX, HashedEntry, Position
from ...store import check_commit, check_count, check_session_id
from .commit import Commit, Deletion, Fate, Request
from .damage import DamagedPart, find_damaged_part
from .follow import Appended, Growth
from .group import GroupCommit
from .layout import Layout, store_failed
from .lock_wait import LockWait
from .open_logs import OpenLogs
from .reading import LogReader, RawReader, settled_status
from .repairing import Repair, repair_log
from .system import System
from .tail import last_records, read_tail
from .trace import Traces

Durability: TypeAlias = Literal["disk", "os"]
"""What a returned append survives: ``"disk"`` power loss, ``"os"`` a killed process."""

LOCK_WAIT_S: Final = 5.0
INLINE_BYTES_MAX: Final = 256 * 1024
"""Larger commits go to a worker thread, also with ``"os"``: copying them would hold the event loop up."""
APPENDS_PER_YIELD: Final = 32


class FileStore:
    """Keeps each session in ``<root>/<session_id>.jsonl``. Linux and macOS.

    Any number of tasks, stores and processes may append to the same sessions. A store belongs to the event loop that
    first used it: on any other, and in another thread, its methods raise :class:`WrongEventLoop` until that has ended.
    A process forked while it is open must make its own.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        durability: Durability = "disk",
        *,
        line_bytes_max: int = LINE_BYTES_MAX,
        lock_wait_s: float = LOCK_WAIT_S,
        system: System | None = None,
    ) -> None:
        """Keep sessions below ``root``, which the first append makes if it is missing; nothing is touched before.

        ``lock_wait_s`` is how long an append waits for a lock that another process holds; ``system`` is for tests.
        """
        if sys.platform == "win32":
            raise StoreFailed("FileStore needs the file locks of Linux or macOS: use MemoryStore, or WSL")
        if durability not in ("disk", "os"):
            raise ValueError(f"durability is 'disk' or 'os', not {durability!r}")
        self._root = Path(os.path.abspath(root))
        self._durability: Durability = durability
        self._line_bytes_max = line_bytes_max
        self._lock_wait_s = lock_wait_s
        self._system = System() if system is None else system
        self._layout = Layout(self._root, self._system)
        self._durable = durability == "disk"
        self._logs = OpenLogs(self._layout, self._system, durable=self._durable, line_bytes_max=line_bytes_max)
        self._group = GroupCommit(self._logs)
        self._traces = Traces(self._layout, self._system)
        self._inline_bytes_max = min(line_bytes_max, INLINE_BYTES_MAX)
        self._since_yield = 0
        self._appended = Appended()
        self._owner = Owner()
        self._pid = os.getpid()
        self._closed = False

    def __repr__(self) -> str:
        """Show where the sessions are, and how durable an append is."""
        return f"FileStore({os.fspath(self._root)!r}, {self._durability!r}{', closed' if self._closed else ''})"

    @property
    def root(self) -> Path:
        """The store's directory, absolute."""
        return self._root

    @property
    def durability(self) -> Durability:
        """What a returned append survives: ``"disk"`` power loss, ``"os"`` a killed process."""
        return self._durability

    @property
    def line_bytes_max(self) -> int:
        """The longest record line, in bytes without LF, that this store takes and reads."""
        return self._line_bytes_max

    @property
    def can_be_reopened(self) -> bool:
        """True if another store on :attr:`root` does the same: this one makes the system's own calls."""
        return type(self._system) is System

    async def create_session(self, session_id: str, records: Sequence[HashedEntry]) -> None:
        """Make the session with its first records in one commit.

        Raises :class:`SessionExists`, and as :meth:`append`.
        """
        expected = check_commit(session_id, records, line_bytes_max=self._line_bytes_max)
        await self._commit(Commit(session_id, expected, records, creates=True))

    async def append(self, session_id: str, *records: HashedEntry) -> None:
        """Append ``records`` in one commit, if they chain onto the head; see :meth:`sessionlog.Store.append`.

        After a crash of the machine or a kill in the middle of it, the first records of an unacknowledged commit may be
        there without the others; each of them is whole.
        """
        if self._owner.current() is not self._owner.loop:
            self._check_usable()
        if self._durable and cancellation.is_due():
            await anyio.lowlevel.checkpoint()
        if len(records) == 1 and self._append_now(session_id, records[0]):
            if self._durable:
                await self._group.flush(session_id)
            if self._appended.awaited:
                self._appended.tell(self._layout.log_path(session_id))
            return
        expected = check_commit(session_id, records, line_bytes_max=self._line_bytes_max)
        await self._commit(Commit(session_id, expected, records, creates=False))

    async def read_all(self, session_id: str) -> list[HashedEntry]:
        """Return every record, verified, read on a worker thread."""
        reader = self._reader(session_id)

        def read_whole() -> list[HashedEntry]:
            records: list[HashedEntry] = []
            while True:
                step = reader.step_blocking()
                records += step.records
                if step.fault is not None:
                    raise step.fault
                if step.at_end:
                    return records

        return await self._system.in_thread(read_whole)

    async def read(self, session_id: str, *, after: int | Position | None = None) -> AsyncGenerator[HashedEntry, None]:
        """Stream the records behind ``after``, verified; holds 1 MiB, or one record if that is longer."""
        first = after + 1 if isinstance(after, int) else 0
        reader = self._reader(session_id, after)
        while True:
            step = await reader.step()
            for record in step.records:
                if record.seq >= first:
                    yield record
            if step.fault is not None:
                raise step.fault
            if step.at_end:
                return

    async def follow(
        self, session_id: str, *, after: int | Position | None = None
    ) -> AsyncGenerator[HashedEntry, None]:
        """Stream as :meth:`read`, then wait for more, by whichever process; see :mod:`sessionlog.stores.file.follow`.

        Close it when you stop (``contextlib.aclosing``). Raises :class:`SessionNotFound` once the log is gone,
        :class:`EntryNotFound` if another one was made in its place, and :class:`CorruptLog` if the file was cut below
        what was streamed, or replaced by another that begins with the same record.
        """
        first = after + 1 if isinstance(after, int) else 0
        reader = self._reader(session_id, after)
        async with Growth(self._system, self._layout.log_path(session_id), self._appended) as growth:
            while True:
                seen = growth.look()
                step = await reader.step()
                for record in step.records:
                    if record.seq >= first:
                        yield record
                if step.fault is not None:
                    raise step.fault
                if step.at_end:
                    await growth.wait(seen)
                    self._check_usable()

    async def read_raw(self, session_id: str) -> AsyncGenerator[bytes, None]:
        """Stream the log's bytes as they lie there, unverified, in chunks of up to 1 MiB."""
        self._check_usable()
        reader = RawReader(self._layout, self._system, check_session_id(session_id))
        while data := await reader.step():
            yield data

    def read_now(self, session_id: str) -> bytes | None:
        """Return what :meth:`read_raw` streams, if this store reads on its event loop and the log is a chunk at most.

        ``None`` otherwise. For a process that checks many small logs and has nothing else to do meanwhile. Raises as
        :meth:`read_raw`.
        """
        if not self._system.is_inline:
            return None
        self._check_usable()
        reader = RawReader(self._layout, self._system, check_session_id(session_id))
        data = reader.step_blocking()
        return data if reader.at_end else None

    async def flush_session(self, session_id: str) -> int:
        """Flush a log, whoever wrote it, and return how many of its bytes are whole commits on the medium.

        The size is taken under the shared lock, so no write that may yet be cut back is counted, and a writer waits for
        that one call, not for the flush. Raises :class:`SessionNotFound`, :class:`CorruptLog`, :class:`SessionLocked`
        and :class:`StoreFailed`.
        """
        self._check_usable()
        check_session_id(session_id)
        wait = LockWait(session_id, self._lock_wait_s)
        while (size := await self._system.in_thread(self._flush_session_blocking, session_id)) is None:
            await wait.pause()
        return size

    async def read_head(self, session_id: str) -> Head | None:
        """Return the last record's position and hash; reads the file's end only."""
        position = await self.read_position(session_id)
        return None if position is None else position.head

    async def read_head_hash(self, session_id: str) -> EntryHash | None:
        """Return the last record's hash."""
        head = await self.read_head(session_id)
        return None if head is None else EntryHash(head.hash)

    async def read_position(self, session_id: str) -> Position | None:
        """Return the last record's position; reads the file's end only."""
        self._check_usable()
        check_session_id(session_id)
        await anyio.lowlevel.checkpoint()
        log = None if self._group.held else self._logs.known(session_id)
        if log is not None and log.is_current():
            return None if log.head is None else Position(log.head.seq, log.head.hash, log.size)
        return await self._system.in_thread(self._read_position_blocking, session_id)

    async def read_tail(self, session_id: str, count: int) -> list[HashedEntry]:
        """Return the last ``count`` records, linked to each other and to the head; reads about twice their bytes."""
        self._check_usable()
        check_session_id(session_id)
        check_count(count)
        return await self._system.in_thread(self._read_tail_blocking, session_id, count)

    async def stamps(self) -> dict[SessionId, str]:
        """Return a change token for each session, from its file's status alone; see :mod:`.stamps`.

        The token of a log that was changed in the last two seconds is another one at each call, for the next change
        could leave the status as it is.
        """
        self._check_usable()
        return await self._system.in_thread(self._layout.stamps)

    async def list_sessions(self) -> list[SessionId]:
        """Return the ids of all sessions, last written first; none while the directory is not there."""
        self._check_usable()
        return await self._system.in_thread(self._layout.sessions)

    async def exists(self, session_id: str) -> bool:
        """Tell whether there is a log, or anything in its place."""
        self._check_usable()
        check_session_id(session_id)
        await anyio.lowlevel.checkpoint()
        return self._layout.is_taken(session_id)

    def remarks(self, session_id: str | None = None) -> list[str]:
        """Say who else may write to the store's directory or, with an id, to the session's log; nothing, if nobody.

        No damage: what others wrote is in the chain, or breaks it. Raises :class:`StoreFailed`.
        """
        self._check_usable()
        return self._layout.remarks(None if session_id is None else check_session_id(session_id))

    async def find_damage(self, session_id: str) -> DamagedPart | None:
        """Return what :meth:`repair` would cut; ``None`` if the log's chain is whole. Changes nothing.

        Raises :class:`SessionNotFound`, :class:`StoreFailed`, and :class:`CorruptLog` where something else stands in
        the log's place.
        """
        self._check_usable()
        return await self._system.in_thread(self._find_damage_blocking, check_session_id(session_id))

    async def repair(self, session_id: str, *, clock: Callable[[], int] = now_ms) -> Repair | None:
        """Cut a damaged log at its first bad record; ``None``, and nothing done, if its chain is whole.

        For a person to decide: what is cut is lost from the chain, also records that are whole by themselves. All of it
        is kept in a file beside the log, and the log's new last record, an extension of the domain
        ``sessionlog/repair``, tells of it. A crash leaves the log as it was or repaired. The log becomes another file:
        whoever reads or follows it meanwhile is told, and other stores that had it open are to be opened anew.

        Raises :class:`CorruptLog` if the first record is the bad one, for then there is nothing to keep,
        :class:`SessionLocked`, :class:`SessionNotFound` and :class:`StoreFailed`; the log is as it was then, unless a
        ``StoreFailed`` says otherwise.
        """
        self._check_usable()
        check_session_id(session_id)
        wait = LockWait(session_id, self._lock_wait_s)
        while True:
            await self._group.settle()
            self._logs.forget(session_id)
            try:
                return await self._system.in_thread(
                    repair_log,
                    self._layout,
                    self._system,
                    session_id,
                    line_bytes_max=self._line_bytes_max,
                    clock=clock,
                )
            except BlockingIOError:
                pass
            await wait.pause()

    async def append_trace(self, session_id: str, trace_entry: Any) -> None:
        """Add a JSON value, one line, to ``<session_id>.trace.jsonl``; unchained, not flushed.

        Raises :class:`SessionNotFound`: where no log is, no trace is made.
        """
        self._check_usable()
        check_session_id(session_id)
        encode_entry(Extension(ts=0, domain="trace", payload=trace_entry))
        await anyio.lowlevel.checkpoint()
        wait: LockWait | None = None
        while not self._traces.append(session_id, trace_entry):
            wait = wait or LockWait(session_id, self._lock_wait_s)
            await wait.pause()
            self._check_usable()

    async def delete_session(self, session_id: str, expected: Head | None) -> None:
        """Delete a session whose head is ``expected``, with its trace and the files that repairs set aside.

        A crash at any moment leaves the log whole or gone; with either durability, a deletion that has returned
        survives power loss. Raises :class:`HeadConflict`, :class:`SessionNotFound`, :class:`SessionLocked`,
        :class:`CorruptLog` where the head cannot be told or the file has a second name, and :class:`StoreFailed`: the
        log is as it was then, unless that says ``poisoned``.
        """
        self._check_usable()
        check_session_id(session_id)
        self._traces.forget(session_id)
        await self._commit(Deletion(session_id, expected))

    async def aclose(self) -> None:
        """Wait for the commits that were accepted, then close every file. Raises :class:`WrongEventLoop`."""
        if os.getpid() != self._pid:  # a child that was forked has no worker to wait for, and has closed the files
            self._closed = True
            return
        self._owner.check()
        self._closed = True
        self._appended.close()
        await self._group.aclose()
        self._logs.close()
        self._traces.close()

    async def __aenter__(self) -> Self:
        """Return the store."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the store."""
        await self.aclose()

    def _append_now(self, session_id: str, record: HashedEntry) -> bool:
        """Append on the spot if everything is as it mostly is; False, with nothing done, if the whole way is needed."""
        if not self._durable:
            self._since_yield += 1
            if self._since_yield >= APPENDS_PER_YIELD:
                return False
        return not (
            self._group.held
            or self._closed
            or len(record.line) > self._inline_bytes_max
            or not self._logs.append_now(session_id, record)
        )

    async def _commit(self, commit: Request) -> None:
        """Get ``commit`` settled; wait for another process's lock within the budget."""
        self._check_usable()
        wait: LockWait | None = None
        while True:
            await self._settle(commit)
            if commit.fate is Fate.DONE:
                break
            wait = wait or LockWait(commit.session_id, self._lock_wait_s)
            await wait.pause()
            self._check_usable()
        if commit.error is not None:
            raise commit.error
        self._appended.tell(self._layout.log_path(commit.session_id))

    async def _settle(self, commit: Request) -> None:
        """Commit on the spot where that is cheap and allowed, else with the group."""
        if not self._durable:
            self._since_yield += 1
            if self._since_yield >= APPENDS_PER_YIELD:
                self._since_yield = 0
                await anyio.lowlevel.checkpoint()
                self._check_usable()
            if isinstance(commit, Commit) and not self._group.busy and commit.size <= INLINE_BYTES_MAX:
                self._logs.commit((commit,))
                return
        await cancellation.surface()
        self._check_usable()
        await self._group.submit(commit)

    def _reader(self, session_id: str, after: int | Position | None = None) -> LogReader:
        self._check_usable()
        check_session_id(session_id)
        position = after if isinstance(after, Position) else None
        return LogReader(self._layout, self._system, session_id, position, line_bytes_max=self._line_bytes_max)

    def _flush_session_blocking(self, session_id: str) -> int | None:
        """Return the size of the flushed log; ``None`` while a writer has the lock."""
        fd = self._layout.open_to_read(session_id)
        try:
            if not self._system.try_share(fd):
                return None
            size = self._system.fstat(fd).st_size
            self._system.unlock(fd)
            self._system.flush(fd)
            self._check_there(fd, session_id)
            return size
        except OSError as error:
            raise store_failed(error, self._layout.log_path(session_id), "cannot flush the log") from error
        finally:
            self._layout.close(fd)

    def _read_position_blocking(self, session_id: str) -> Position | None:
        fd = self._layout.open_to_read(session_id)
        try:
            size = settled_status(self._system, fd).st_size
            tail = read_tail(self._system, fd, session_id, size, line_bytes_max=self._line_bytes_max)
            if tail.head is None:
                self._check_there(fd, session_id)
            return None if tail.head is None else Position(tail.head.seq, tail.head.hash, tail.end)
        except OSError as error:
            raise store_failed(error, self._layout.log_path(session_id), "cannot read the end of the log") from error
        finally:
            self._layout.close(fd)

    def _read_tail_blocking(self, session_id: str, count: int) -> list[HashedEntry]:
        fd = self._layout.open_to_read(session_id)
        try:
            size = settled_status(self._system, fd).st_size
            found = last_records(self._system, fd, session_id, size, count, line_bytes_max=self._line_bytes_max)
            if not found:
                self._check_there(fd, session_id)
            return found
        except CorruptLog:
            self._check_there(fd, session_id)
            raise
        except OSError as error:
            raise store_failed(error, self._layout.log_path(session_id), "cannot read the end of the log") from error
        finally:
            self._layout.close(fd)

    def _check_there(self, fd: int, session_id: str) -> None:
        """Raise :class:`SessionNotFound` if the open log was deleted: it was cut under the read then."""
        if self._system.fstat(fd).st_nlink == 0:
            raise SessionNotFound(session_id)

    def _find_damage_blocking(self, session_id: str) -> DamagedPart | None:
        fd = self._layout.open_to_read(session_id)
        try:
            size = settled_status(self._system, fd).st_size
            return find_damaged_part(self._system, fd, session_id, size, line_bytes_max=self._line_bytes_max)
        except OSError as error:
            raise store_failed(error, self._layout.log_path(session_id), "cannot read the log") from error
        finally:
            self._layout.close(fd)

    def _check_usable(self) -> None:
        if self._closed:
            raise StoreFailed("the store is closed: open it again", path=self._root)
        if os.getpid() != self._pid:
            raise StoreFailed("the store was opened by the parent process: open one of your own", path=self._root)
        self._owner.check()
