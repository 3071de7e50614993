"""A whole store over SQLite: the example of docs/stores.md, which explains it. It passes every conformance check.

An append that has returned survives power loss. One writer at a time holds the whole file; readers are not held up.
"""

import sqlite3
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, NamedTuple, Self, TypeAlias, TypeVar

import anyio
import anyio.to_thread

from sessionlog import EntryHash, Extension, HashedEntry, Head, Position, SessionId, StoreFailed, parse_record
from sessionlog.cancellation import run_to_end
from sessionlog.chain import BINDING_BYTES_MAX, LogScanner, head_from_ends
from sessionlog.entries import encode_entry
from sessionlog.errors import CorruptLog, EntryNotFound, HeadConflict, SessionExists, SessionLocked, SessionNotFound
from sessionlog.owner import Owner
from sessionlog.store import check_commit, check_count, check_session_id

T = TypeVar("T")
Rows: TypeAlias = list[tuple[bytes, int]]  # lines, and the byte of the log at which each ends
Stream: TypeAlias = AsyncGenerator[HashedEntry, None]
PAGE_LINES: Final = 16  # a stream holds this many lines at most
POLL_S: Final = 0.05  # a follower looks this often for what other stores have appended

SCHEMA: Final = """
-- log: never used again, so a session that is made anew has another one.
-- changed: the largest one belongs to the session that was appended to last.
CREATE TABLE IF NOT EXISTS sessions (log INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT UNIQUE, changed INTEGER);
CREATE INDEX IF NOT EXISTS sessions_by_change ON sessions (changed);
-- end: as Position.end, the bytes of all lines up to this one, line feeds included.
CREATE TABLE IF NOT EXISTS records (log INTEGER, seq INTEGER, line BLOB, end INTEGER, UNIQUE (log, seq));
CREATE TABLE IF NOT EXISTS traces (log INTEGER, entry BLOB);
"""
PAGE: Final = """
SELECT sessions.log, line, end FROM sessions LEFT JOIN records ON records.log = sessions.log AND seq >= ?
WHERE session_id = ? ORDER BY seq LIMIT ?
"""
ENDS: Final = """
SELECT log, (SELECT substr(line, 1, ?) FROM records WHERE log = sessions.log ORDER BY seq LIMIT 1), last.line, last.end
FROM sessions LEFT JOIN records AS last USING (log) WHERE session_id = ? ORDER BY seq DESC LIMIT 1
"""
WRITING: Final = "BEGIN IMMEDIATE"  # from here to the commit, nobody else writes, in any process
TAIL: Final = "SELECT line, end FROM records WHERE log = ? ORDER BY seq DESC LIMIT ?"
TOUCH: Final = """
INSERT INTO sessions (session_id, changed) VALUES (?, (SELECT ifnull(max(changed), 0) + 1 FROM sessions))
ON CONFLICT DO UPDATE SET changed = excluded.changed RETURNING log
"""


class Found(NamedTuple):
    """A session that is there: the number of its log, its head if it holds a record, and the log's size."""

    log: int
    head: Head | None
    end: int


class SQLiteStore:
    """Keeps sessions in one SQLite file."""

    def __init__(self, path: str, *, line_bytes_max: int = 16 * 1024 * 1024, lock_wait_s: float = 5.0) -> None:
        """Open the file, which is made if it is not there; an append waits ``lock_wait_s`` for other writers."""
        self.line_bytes_max: int = line_bytes_max
        self._scanner = partial(LogScanner, line_bytes_max=line_bytes_max)
        self._lock_wait_s = lock_wait_s
        self._owner = Owner()
        self._closed = False
        self._grown = anyio.Event()
        self._thread = ThreadPoolExecutor(1, "sqlite")
        with self._typed_errors(""):
            self._db = sqlite3.connect(path, timeout=lock_wait_s, isolation_level=None, check_same_thread=False)
            self._db.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; {SCHEMA}")

    async def create_session(self, session_id: str, records: Sequence[HashedEntry]) -> None:
        """Make the session with its first records."""
        try:
            await self.append(session_id, *records)
        except HeadConflict as conflict:
            raise SessionExists(session_id) from conflict

    async def append(self, session_id: str, *records: HashedEntry) -> None:
        """Append in one transaction, in which the head is compared."""
        expected = check_commit(session_id, records, line_bytes_max=self.line_bytes_max)

        def commit() -> None:
            try:
                found = self._find(session_id)
            except SessionNotFound:
                if expected is not None:
                    raise
                found = Found(0, None, 0)
            if found.head != expected:
                raise HeadConflict(session_id, expected=expected, found=found.head)
            ((log,),) = self._db.execute(TOUCH, [session_id]).fetchall()
            end = found.end
            for record in records:
                end += len(record.line) + 1
                self._db.execute("INSERT INTO records VALUES (?, ?, ?, ?)", (log, record.seq, record.line, end))

        await self._run(session_id, commit, WRITING)
        self._wake()

    async def delete_session(self, session_id: str, expected: Head | None) -> None:
        """Delete the session and its trace in one transaction, in which the head is compared."""

        def delete() -> None:
            found = self._find(session_id)
            if found.head != expected:
                raise HeadConflict(session_id, expected=expected, found=found.head)
            for table in ("records", "traces", "sessions"):
                self._db.execute(f"DELETE FROM {table} WHERE log = ?", [found.log])  # noqa: S608 - a name of ours

        await self._run(session_id, delete, WRITING)
        self._wake()

    async def append_trace(self, session_id: str, trace_entry: Any) -> None:
        """Add a JSON value to the session's trace."""
        entry = encode_entry(Extension(ts=0, domain="trace", payload=trace_entry))  # refuses what JSON cannot hold
        insert = "INSERT INTO traces SELECT log, ? FROM sessions WHERE session_id = ?"
        if await self._run(session_id, lambda: self._db.execute(insert, [entry, session_id]).rowcount, WRITING) == 0:
            raise SessionNotFound(session_id)

    async def read_all(self, session_id: str) -> list[HashedEntry]:
        """Return every record."""
        return [record async for record in self.read(session_id)]

    def read(self, session_id: str, *, after: int | Position | None = None) -> Stream:
        """Stream the records behind ``after``."""
        return self._stream(session_id, after, follow=False)

    def follow(self, session_id: str, *, after: int | Position | None = None) -> Stream:
        """Stream the records behind ``after``, then wait for more."""
        return self._stream(session_id, after, follow=True)

    async def read_raw(self, session_id: str) -> AsyncGenerator[bytes, None]:
        """Stream the lines as they lie there."""
        seq, log = 0, None
        while (page := await self._page(session_id, seq, log))[1]:
            log, rows = page
            seq += len(rows)
            for line, _ in rows:
                yield line + b"\n"

    async def read_head(self, session_id: str) -> Head | None:
        """Return the last record's place and hash."""
        return (await self._run(session_id, lambda: self._find(session_id))).head

    async def read_head_hash(self, session_id: str) -> EntryHash | None:
        """Return the last record's hash."""
        head = await self.read_head(session_id)
        return None if head is None else EntryHash(head.hash)

    async def read_position(self, session_id: str) -> Position | None:
        """Return the last record's position."""
        found = await self._run(session_id, lambda: self._find(session_id))
        return None if found.head is None else Position(found.head.seq, found.head.hash, found.end)

    async def read_tail(self, session_id: str, count: int) -> list[HashedEntry]:
        """Return the last ``count`` records."""
        check_count(count)

        def last_rows() -> Rows:
            found = self._find(session_id)
            limit = 0 if found.head is None else min(count, found.head.seq + 1)
            return self._db.execute(TAIL, [found.log, limit]).fetchall()[::-1]

        rows = await self._run(session_id, last_rows)
        if not rows:
            return []
        line, end = rows[0]
        first = parse_record(line)
        before = None if first.prev_hash is None else Head(first.seq - 1, first.prev_hash)
        scanner = self._scanner(session_id, head=before, offset=end - len(line) - 1)
        return [scanner.check(line) for line, _ in rows]

    async def list_sessions(self) -> list[SessionId]:
        """Return the ids of all sessions, last activity first."""
        ids = "SELECT session_id FROM sessions ORDER BY changed DESC"
        return await self._run(None, lambda: [SessionId(name) for (name,) in self._db.execute(ids)])

    async def exists(self, session_id: str) -> bool:
        """Tell whether the session is there."""
        one = "SELECT 1 FROM sessions WHERE session_id = ?"
        return await self._run(session_id, lambda: self._db.execute(one, [session_id]).fetchone() is not None)

    async def stamps(self) -> dict[SessionId, str]:
        """Return a change token for each session."""
        tokens = "SELECT session_id, log || '-' || changed FROM sessions"
        return await self._run(None, lambda: {SessionId(name): token for name, token in self._db.execute(tokens)})

    async def aclose(self) -> None:
        """Wait for the calls that were accepted, then close the file."""
        self._owner.check()
        if not self._closed:
            self._closed = True
            self._wake()
            self._thread.submit(self._db.close)  # the last call of the thread
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._thread.shutdown)

    async def __aenter__(self) -> Self:
        """Return the store."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the store."""
        await self.aclose()

    async def _stream(self, session_id: str, after: int | Position | None, *, follow: bool) -> Stream:
        """Verify and give page after page; with ``follow``, wait where the log ends."""
        position = after if isinstance(after, Position) else None
        head, end = (None, 0) if position is None else (position.head, position.end)
        scanner = self._scanner(session_id, head=head, offset=end)
        log: int | None = None
        while True:
            grown = self._grown  # before the look, so that nothing falls in between
            if position is not None:  # the page begins with the record at the position, which must be there
                log, rows = await self._page(session_id, position.seq, log)
                if not rows or not _is_at(*rows[0], position):
                    raise EntryNotFound(session_id, position.hash)
                position, rows = None, rows[1:]
            else:
                log, rows = await self._page(session_id, scanner.seq, log, scanner.prev_hash or "")
            for line, _ in rows:
                record = scanner.check(line)
                if not isinstance(after, int) or record.seq > after:
                    yield record
            if not rows and not follow:
                return
            if not rows:
                with anyio.move_on_after(POLL_S):
                    await grown.wait()

    async def _page(self, session_id: str, seq: int, log: int | None, last_hash: str = "") -> tuple[int, Rows]:
        """Return which log the session has, and its next rows from ``seq`` on; it must be ``log`` still, if given."""
        query = (seq, session_id, PAGE_LINES)
        page = await self._run(session_id, lambda: self._db.execute(PAGE, query).fetchall())
        if not page:
            raise SessionNotFound(session_id)
        if log is not None and page[0][0] != log:
            raise EntryNotFound(session_id, last_hash)
        return page[0][0], [(line, end) for _, line, end in page if line is not None]

    def _find(self, session_id: str) -> Found:
        """Look a session up, and judge its log by the first and the last line."""
        row = self._db.execute(ENDS, [BINDING_BYTES_MAX, session_id]).fetchone()
        if row is None:
            raise SessionNotFound(session_id)
        log, first, last, end = row
        if last is None:
            return Found(log, None, 0)
        head = head_from_ends(first, last, session_id)
        if head is None:  # the scanner names the first bad record
            scanner = self._scanner(session_id)
            for (line,) in self._db.execute("SELECT line FROM records WHERE log = ? ORDER BY seq", [log]):
                head, end = scanner.check(line).head, scanner.offset
        return Found(log, head, end)

    async def _run(self, session_id: str | None, call: Callable[[], T], begin: str = "BEGIN") -> T:
        """Run ``call`` in a transaction, on the store's thread; once begun, it runs to its end."""
        if session_id is not None:
            check_session_id(session_id)
        if self._closed:
            raise StoreFailed("the store is closed: open it again")
        self._owner.check()

        def transaction() -> T:
            with self._typed_errors(session_id or ""):
                self._db.execute(begin)
                with self._db:  # commits at the end, rolls back after an exception
                    return call()

        return await run_to_end(self._thread, transaction)

    @contextmanager
    def _typed_errors(self, session_id: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                raise SessionLocked(session_id, waited_s=self._lock_wait_s) from error
            raise StoreFailed(f"SQLite refused: {error}") from error

    def _wake(self) -> None:
        self._grown.set()
        self._grown = anyio.Event()


def _is_at(line: bytes, end: int, position: Position) -> bool:
    """Tell whether the record at the position is the one in ``line``, unchanged."""
    try:
        return end == position.end and parse_record(line).head == position.head
    except CorruptLog:
        return False
