"""The PostgreSQL store: one row a session that an append moves, one row a record.

An append that has returned is in the server's write-ahead log, flushed; on the standbys that
``synchronous_standby_names`` asks for as well. The condition is a row's value, compared under that row's lock in the
statement that writes: there is nothing to slip into, from any process or machine.
"""

import asyncio
import sys
from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

import anyio
import asyncpg

from ...cancellation import outlast, surface
from ...chain import LogScanner
from ...entries import Extension, encode_entry
from ...errors import (
    CorruptLog,
    EntryNotFound,
    HeadConflict,
    SessionExists,
    SessionLocked,
    SessionNotFound,
    StoreFailed,
)
from ...ids import EntryHash, Head, SessionId
from ...owner import Owner
from ...record import LINE_BYTES_MAX, HashedEntry, Position, parse_record
from ...store import check_commit, check_count, check_session_id
from . import schema
from .bell import LOOK_EVERY_S, Bell
from .committing import Commit, Committer
from .database import LOST, Database
from .ends import Ends, judge_ends, missing_records

PAGE_RECORDS: Final = 512
PAGE_BYTES: Final = 1024 * 1024
"""A read fetches so much at a time, and one record at least."""
CONNECTIONS: Final = 8
LOCK_WAIT_S: Final = 5.0
KNOWN_MAX: Final = 4096
"""Of so many sessions the head that was checked last is kept, so that the next append need not look at it."""


class PostgresStore:
    """Keeps sessions in a PostgreSQL database, for any number of processes and machines. Runs on asyncio.

    Args:
        dsn: The server, as ``postgresql://user@host:5432/database``. Several hosts with
            ``?target_session_attrs=read-write`` find the primary after a standby was promoted.
        schema: The schema that holds the store's tables.
        make: Make the schema and its tables if they are not there. A role without that right needs ``False``.
        connections: So many connections are open at most, and one that listens.
        line_bytes_max: The longest record line, in bytes.
        lock_wait_s: For so long an append waits for another one on its session.
    """

    def __init__(
        self,
        dsn: str,
        *,
        schema: str = "sessionlog",
        make: bool = True,
        connections: int = CONNECTIONS,
        line_bytes_max: int = LINE_BYTES_MAX,
        lock_wait_s: float = LOCK_WAIT_S,
    ) -> None:
        """Connect to nothing yet."""
        self._line_bytes_max = line_bytes_max
        self._scanner = partial(LogScanner, line_bytes_max=line_bytes_max)
        self._lock_wait_s = lock_wait_s
        self._database = Database(dsn, schema, connections=connections, lock_wait_s=lock_wait_s, make=make)
        self._committer = Committer(self._database, lock_wait_s=lock_wait_s)
        self._bell = Bell(self._database)
        self._known: OrderedDict[str, Head | None] = OrderedDict()
        self._owner = Owner()
        self._closed = False

    def __repr__(self) -> str:
        """Show the server, without user and password."""
        return f"PostgresStore({self._database.name!r}{', closed' if self._closed else ''})"

    @property
    def line_bytes_max(self) -> int:
        """The longest record line that this store takes."""
        return self._line_bytes_max

    async def create_session(self, session_id: str, records: Sequence[HashedEntry]) -> None:
        """Make the session with its first records in one commit."""
        try:
            await self.append(session_id, *records)
        except HeadConflict as conflict:
            raise SessionExists(session_id) from conflict

    async def append(self, session_id: str, *records: HashedEntry) -> None:
        """Append ``records`` in one atomic commit, if they chain onto the head."""
        expected = check_commit(session_id, records, line_bytes_max=self._line_bytes_max)
        await self._ready(session_id)
        if self._known.get(session_id) != expected:
            await self._look_before(session_id, expected)
        commit = Commit(session_id, expected, records)
        self._committer.submit(commit)
        await outlast(commit.ended)
        self._forget(session_id)
        if commit.failure is None:
            self._know(session_id, records[-1].head)
            self._bell.ring(session_id)
        elif isinstance(commit.failure, HeadConflict):
            raise await self._conflict(session_id, expected)
        else:
            raise commit.failure

    async def read_all(self, session_id: str) -> list[HashedEntry]:
        """Return every record."""
        return [record async for record in self.read(session_id)]

    def read(self, session_id: str, *, after: int | Position | None = None) -> AsyncGenerator[HashedEntry, None]:
        """Stream the records behind ``after``."""
        return self._stream(session_id, after, follow=False)

    def follow(self, session_id: str, *, after: int | Position | None = None) -> AsyncGenerator[HashedEntry, None]:
        """Stream the records behind ``after``, then wait for more."""
        return self._stream(session_id, after, follow=True)

    async def read_raw(self, session_id: str) -> AsyncGenerator[bytes, None]:
        """Stream the lines as they lie there."""
        seq, log = 0, None
        while True:
            log, _, rows = await self._page(session_id, seq, log)
            if not rows:
                return
            seq += len(rows)
            for line, _ in rows:
                yield line + b"\n"

    async def read_head(self, session_id: str) -> Head | None:
        """Return the last record's position and hash."""
        return (await self._find(session_id)).head

    async def read_head_hash(self, session_id: str) -> EntryHash | None:
        """Return the last record's hash."""
        head = await self.read_head(session_id)
        return None if head is None else EntryHash(head.hash)

    async def read_position(self, session_id: str) -> Position | None:
        """Return the last record's position."""
        found = await self._find(session_id)
        return None if found.head is None else Position(found.head.seq, found.head.hash, found.end)

    async def read_tail(self, session_id: str, count: int) -> list[HashedEntry]:
        """Return the last ``count`` records."""
        check_count(count)
        head = await self.read_head(session_id)
        if head is None or count == 0:
            return []
        rows = await self._fetch(session_id, schema.TAIL, min(count, head.seq + 1))
        if not rows:
            raise SessionNotFound(session_id)
        first = parse_record(rows[0]["line"])
        before = None if first.prev_hash is None else Head(first.seq - 1, first.prev_hash)
        scanner = self._scanner(session_id, head=before, offset=rows[0]["end_at"] - len(first.line) - 1)
        records = [scanner.check(row["line"]) for row in rows]
        if records[-1].seq != rows[0]["head_seq"]:
            raise missing_records(session_id, seq=scanner.seq, offset=None)
        return records

    async def list_sessions(self) -> list[SessionId]:
        """Return the ids of all sessions, last activity first."""
        return [SessionId(row["session_id"]) for row in await self._fetch(None, schema.LIST)]

    async def exists(self, session_id: str) -> bool:
        """Tell whether the session is there."""
        return bool((await self._fetch(session_id, schema.EXISTS))[0][0])

    async def stamps(self) -> dict[SessionId, str]:
        """Return a change token for each session."""
        return {SessionId(row["session_id"]): row["stamp"] for row in await self._fetch(None, schema.STAMPS)}

    async def append_trace(self, session_id: str, trace_entry: Any) -> None:
        """Add a JSON value to the session's raw trace."""
        entry = encode_entry(Extension(ts=0, domain="trace", payload=trace_entry))  # refuses what JSON cannot hold
        if not await self._fetch(session_id, schema.ADD_TRACE, entry):
            raise SessionNotFound(session_id)

    async def delete_session(self, session_id: str, expected: Head | None) -> None:
        """Delete the session and its trace, if its head is ``expected``.

        The server frees the space when it next vacuums; its write-ahead log and backups hold the bytes for longer.
        """
        await self._ready(session_id)
        found = await self._find(session_id)
        if found.head != expected:
            raise HeadConflict(session_id, expected=expected, found=found.head)
        deletion = asyncio.ensure_future(self._delete(session_id, found))
        ended = asyncio.Event()
        deletion.add_done_callback(lambda _: ended.set())
        await outlast(ended)
        self._forget(session_id)
        if not deletion.result():
            raise await self._conflict(session_id, expected)
        self._bell.ring(session_id)

    async def aclose(self) -> None:
        """Wait for the calls that were accepted, then let go of the connections."""
        self._owner.check()
        self._closed = True
        with anyio.CancelScope(shield=True):
            await self._bell.aclose()
            await self._committer.aclose()
            await self._database.aclose()

    async def __aenter__(self) -> Self:
        """Return the store."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the store."""
        await self.aclose()

    async def _stream(
        self, session_id: str, after: int | Position | None, *, follow: bool
    ) -> AsyncGenerator[HashedEntry, None]:
        """Verify and give page after page; with ``follow``, wait where the log ends."""
        position = after if isinstance(after, Position) else None
        head, end = (None, 0) if position is None else (position.head, position.end)
        scanner = self._scanner(session_id, head=head, offset=end)
        log: int | None = None
        while True:
            await self._ready(session_id)
            grown = self._bell.grown(session_id) if follow else None
            if position is not None:  # the page begins with the record at the position, which must be there
                log, head_seq, rows = await self._page(session_id, position.seq, log)
                if not rows or not _is_at(*rows[0], position):
                    raise EntryNotFound(session_id, position.hash)
                position, rows = None, rows[1:]
            else:
                log, head_seq, rows = await self._page(session_id, scanner.seq, log, scanner.prev_hash or "")
            for line, _ in rows:
                record = scanner.check(line)
                if not isinstance(after, int) or record.seq > after:
                    yield record
            if rows:
                continue
            if head_seq >= scanner.seq:
                raise missing_records(session_id, seq=scanner.seq, offset=scanner.offset)
            if grown is None:
                return
            with anyio.move_on_after(LOOK_EVERY_S):
                await grown.wait()

    async def _page(
        self, session_id: str, seq: int, log: int | None, last_hash: str = ""
    ) -> tuple[int, int, list[tuple[bytes, int]]]:
        """Return which log the session has, its head's seq (-1 for none), and its next rows from ``seq`` on.

        It must be ``log`` still, if given.
        """
        rows = await self._fetch(session_id, schema.PAGE, seq, PAGE_RECORDS, PAGE_BYTES)
        if not rows:
            raise SessionNotFound(session_id)
        if log is not None and rows[0]["log"] != log:
            raise EntryNotFound(session_id, last_hash)
        head_seq = -1 if rows[0]["head_seq"] is None else rows[0]["head_seq"]
        return rows[0]["log"], head_seq, [(row["line"], row["end_at"]) for row in rows if row["line"] is not None]

    async def _find(self, session_id: str) -> Ends:
        """Look a session up, and judge its log by the first and the last line."""
        rows = await self._fetch(session_id, schema.ENDS)
        ends = judge_ends(rows[0] if rows else None, session_id)
        if ends is None:
            async for _ in self._stream(session_id, None, follow=False):
                pass  # the scanner names the first bad record
            # Between the two looks it was appended to, or its head's row was changed without its records.
            rows = await self._fetch(session_id, schema.ENDS)
            ends = judge_ends(rows[0] if rows else None, session_id)
        if ends is None:
            raise missing_records(session_id, seq=rows[0]["seq"] or 0, offset=None)
        return ends

    async def _look_before(self, session_id: str, expected: Head | None) -> None:
        """Check, before the first append behind a head that this store has not checked, that it is one."""
        try:
            found = await self._find(session_id)
        except SessionNotFound:
            if expected is not None:
                raise
            return
        if found.head != expected:
            raise HeadConflict(session_id, expected=expected, found=found.head)
        self._know(session_id, found.head)

    async def _conflict(self, session_id: str, expected: Head | None) -> HeadConflict:
        found = (await self._find(session_id)).head
        return HeadConflict(session_id, expected=expected, found=found)

    def _know(self, session_id: str, head: Head | None) -> None:
        self._known[session_id] = head
        self._known.move_to_end(session_id)
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)

    def _forget(self, session_id: str) -> None:
        self._known.pop(session_id, None)

    async def _delete(self, session_id: str, found: Ends) -> bool:
        """Delete in one transaction, in which the head is compared; return whether it was the one that was found."""
        expected_hash = found.head and found.head.hash
        try:
            async with self._database.connection() as lent, lent.transaction():
                row = await lent.fetchrow(schema.HOLD_TO_DELETE, session_id)
                if row is None:
                    raise SessionNotFound(session_id)
                if row["log"] != found.log or row["hash"] != expected_hash:
                    return False
                for statement in schema.DELETE:
                    await lent.execute(statement, *((found.log, session_id) if "$2" in statement else (found.log,)))
        except asyncpg.LockNotAvailableError as error:
            raise SessionLocked(session_id, waited_s=self._lock_wait_s) from error
        except LOST as error:
            if (await self._database.fetch(schema.LOG_IS_THERE, session_id, found.log))[0][0]:
                raise self._database.failure(
                    error, "the connection was lost: look whether it is gone", poisoned=True
                ) from error
        except asyncpg.PostgresError as error:
            raise self._database.failure(error, "the server refused") from error
        return True

    async def _fetch(self, session_id: str | None, statement: str, *arguments: object) -> list["asyncpg.Record"]:
        await self._ready(session_id)
        return await self._database.fetch(statement, *(() if session_id is None else (session_id,)), *arguments)

    async def _ready(self, session_id: str | None) -> None:
        if session_id is not None:
            check_session_id(session_id)
        if self._closed:
            raise StoreFailed("the store is closed: open it again")
        trio = sys.modules.get("trio")
        if trio is not None and trio.lowlevel.in_trio_run():
            raise StoreFailed("PostgresStore runs on asyncio: its driver knows no trio")
        self._owner.check()
        await surface()


def _is_at(line: bytes, end: int, position: Position) -> bool:
    """Tell whether the record at the position is the one in ``line``, unchanged."""
    try:
        return end == position.end and parse_record(line).head == position.head
    except CorruptLog:
        return False


__all__ = ["PostgresStore"]
