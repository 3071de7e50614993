"""The catalog's file: an SQLite database that is made anew whenever it is not what it should be.

Blocking, for one thread at a time; any number of processes may use the same file. A change is one transaction, and a
session's row is replaced only if it is still the one that the change was made from: of two processes that read the same
news, one writes it, and the other finds it written.

    sessions   a row for each session; ``frozen`` is the fold to go on with, ``stamp`` the store's change token
    labels     the labels of each session            usage   its tokens by day (UTC) and model
    texts      the records with words, and where each stands in its log; an id is never used again, since the trigrams
               of a session that is gone stay in ``words`` until it is made anew
    words      their trigrams (FTS5, contentless): says in which records a text may stand, never what they say
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from ..ids import Head
from .rows import DayUsage, SessionRow

APPLICATION_ID: Final = 0x736C6F67
"""``slog``, in the header of the file (SQLite, "PRAGMA application_id")."""
SCHEMA_VERSION: Final = 1
BUSY_MS: Final = 10_000
"""So long a writer waits for another process that writes."""

_SCHEMA: Final = """
CREATE TABLE sessions (
    no INTEGER PRIMARY KEY,
    session_id TEXT NOT NULL UNIQUE,
    stamp TEXT,
    seq INTEGER, hash TEXT, end_at INTEGER NOT NULL DEFAULT 0,
    title TEXT, project TEXT, agent TEXT, version TEXT,
    kind TEXT NOT NULL, origin_id TEXT, origin_hash TEXT, parent_id TEXT,
    first_ts INTEGER, last_ts INTEGER, first_words TEXT NOT NULL,
    turns INTEGER NOT NULL, tool_calls INTEGER NOT NULL, tool_failures INTEGER NOT NULL,
    dangling_calls INTEGER NOT NULL,
    requests INTEGER NOT NULL, input_tokens INTEGER NOT NULL, cache_read_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    records INTEGER NOT NULL, bytes INTEGER NOT NULL,
    fault TEXT,
    row BLOB NOT NULL, frozen BLOB
);
CREATE INDEX sessions_last ON sessions (last_ts);
CREATE TABLE labels (
    no INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE, key TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (no, key)
) WITHOUT ROWID;
CREATE TABLE usage (
    no INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE, day TEXT NOT NULL, model TEXT NOT NULL,
    requests INTEGER NOT NULL, input_tokens INTEGER NOT NULL, cache_read_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    PRIMARY KEY (no, day, model)
) WITHOUT ROWID;
CREATE TABLE texts (
    id INTEGER PRIMARY KEY AUTOINCREMENT, no INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
    seq INTEGER NOT NULL, start_at INTEGER NOT NULL, prev_hash BLOB
);
CREATE INDEX texts_of ON texts (no);
CREATE VIRTUAL TABLE words USING fts5 (text, content = '', detail = 'none', tokenize = 'trigram');
"""


class Known(NamedTuple):
    """What is kept of a session: the store's token, the position to go on from, and the fold."""

    no: int
    stamp: str | None
    head: Head | None
    end: int
    frozen: bytes | None


class Text(NamedTuple):
    """The words of one record, and where it stands: its position, its first byte, the hash of the record before it."""

    seq: int
    start: int
    prev_hash: str | None
    words: str


class News(NamedTuple):
    """What reading a session gave: its row, what to go on with, and the texts that are new."""

    row: SessionRow
    stamp: str | None
    end: int
    frozen: bytes | None
    usage: Sequence[DayUsage]
    texts: Sequence[Text]
    before: Known | None
    """What it was read on from; ``None``: from the start, so that all that was known is replaced."""


class Candidate(NamedTuple):
    """A record that may hold the words of a search."""

    session_id: str
    seq: int
    start: int
    prev_hash: str | None


class Database:
    """The open file."""

    def __init__(self, path: Path | None) -> None:
        """Open ``path``, making it for the user alone where it is missing; ``None``: in memory.

        What is no catalog of this version, or is damaged, is made anew: :attr:`rebuilt` says why. Raises ``OSError``
        and ``sqlite3.Error`` where no file can be made.
        """
        self.rebuilt: str | None = None
        self._path = path
        self._connection = self._connect()
        fault = self._fault()
        if fault is not None:
            self._remake(fault)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def known(self) -> dict[str, Known]:
        """Return what is kept of every session, by id; without the folds."""
        rows = self._connection.execute("SELECT session_id, no, stamp, seq, hash, end_at FROM sessions")
        return {
            session_id: Known(no, stamp, None if seq is None else Head(seq, hash_), end, None)
            for session_id, no, stamp, seq, hash_, end in rows
        }

    def frozen(self, no: int) -> bytes | None:
        """Return the fold of a session."""
        found = self._connection.execute("SELECT frozen FROM sessions WHERE no = ?", (no,)).fetchone()
        return None if found is None else found[0]

    def write(self, news: Sequence[News]) -> None:
        """Take in what was read of some sessions, in one transaction."""
        with self._transaction() as connection:
            for one in news:
                self._write_one(connection, one)

    def forget(self, session_ids: Sequence[str]) -> None:
        """Drop sessions that are gone. Their trigrams stay until :meth:`purge`; nothing leads from them to a log."""
        with self._transaction() as connection:
            connection.executemany("DELETE FROM sessions WHERE session_id = ?", [(one,) for one in session_ids])

    def purge(self) -> None:
        """Drop all trigrams and the rows that they were made from: the next reading makes them anew."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM sessions")
            connection.execute("INSERT INTO words (words) VALUES ('delete-all')")
        self._connection.execute("VACUUM")

    def rows(self, sql: str, values: Sequence[object]) -> list[SessionRow]:
        """Return the rows that a query of ``row`` selects."""
        return [_decode_row(row) for (row,) in self._connection.execute(sql, values)]

    def query(self, sql: str, values: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """Return what a query selects."""
        return self._connection.execute(sql, values).fetchall()

    def candidates(self, trigrams: Sequence[str]) -> list[Candidate]:
        """Return the records that hold all ``trigrams``, those of one log together and in order."""
        match = " AND ".join('"' + one.replace('"', '""') + '"' for one in trigrams)
        rows = self._connection.execute(
            "SELECT s.session_id, t.seq, t.start_at, t.prev_hash FROM words w JOIN texts t ON t.id = w.rowid "
            "JOIN sessions s ON s.no = t.no WHERE words MATCH ? ORDER BY t.no, t.seq",
            (match,),
        )
        return [
            Candidate(session_id, seq, start, None if prev is None else prev.hex())
            for session_id, seq, start, prev in rows
        ]

    def _write_one(self, connection: sqlite3.Connection, news: News) -> None:
        found = connection.execute(
            "SELECT no, seq, hash FROM sessions WHERE session_id = ?", (news.row.session_id,)
        ).fetchone()
        before = news.before
        if before is not None:
            head = None if found is None or found[1] is None else Head(found[1], found[2])
            if found is None or found[0] != before.no or head != before.head:
                return  # another process was here first
        elif found is not None:
            connection.execute("DELETE FROM sessions WHERE no = ?", (found[0],))
            found = None
        columns = _columns(news)
        names = ", ".join(columns)
        marks = ", ".join("?" * len(columns))
        if found is None:
            cursor = connection.execute(f"INSERT INTO sessions ({names}) VALUES ({marks})", tuple(columns.values()))  # noqa: S608
            no = cursor.lastrowid
        else:
            no = found[0]
            sets = ", ".join(f"{name} = ?" for name in columns)
            connection.execute(f"UPDATE sessions SET {sets} WHERE no = ?", (*columns.values(), no))  # noqa: S608
            for table in ("labels", "usage"):
                connection.execute(f"DELETE FROM {table} WHERE no = ?", (no,))  # noqa: S608
        connection.executemany("INSERT INTO labels VALUES (?, ?, ?)", [(no, *one) for one in news.row.labels.items()])
        connection.executemany(
            "INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [_usage(no, one) for one in news.usage]
        )
        for text in news.texts:
            prev = None if text.prev_hash is None else bytes.fromhex(text.prev_hash)
            cursor = connection.execute(
                "INSERT INTO texts (no, seq, start_at, prev_hash) VALUES (?, ?, ?, ?)",
                (no, text.seq, text.start, prev),
            )
            connection.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (cursor.lastrowid, text.words))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
        except BaseException:
            self._connection.rollback()
            raise
        self._connection.commit()

    def _connect(self) -> sqlite3.Connection:
        if self._path is not None:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        name = ":memory:" if self._path is None else str(self._path)
        return sqlite3.connect(name, isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1000)

    def _fault(self) -> str | None:
        """Set the file up; say why it is none of ours, or damaged. An empty file becomes a catalog."""
        connection = self._connection
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if not tables:
                self._make()
                return None
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if application != APPLICATION_ID:
                return "it is a database of another program"
            if version != SCHEMA_VERSION:
                return f"it is of version {version}, this is version {SCHEMA_VERSION}"
            connection.execute("SELECT no, row, frozen FROM sessions LIMIT 1").fetchall()
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or "unable to open" in str(error):
                raise
            return str(error)
        except sqlite3.DatabaseError as error:
            return str(error)
        return None

    def _make(self) -> None:
        with self._transaction() as connection:
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if tables:
                return  # by another process
            for statement in _SCHEMA.split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _remake(self, fault: str) -> None:
        """Begin anew, with an empty file."""
        self._connection.close()
        self.rebuilt = fault
        assert self._path is not None  # noqa: S101 - what is in memory was made just now
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self._path}{suffix}")
        self._connection = self._connect()
        again = self._fault()
        if again is not None:
            raise sqlite3.DatabaseError(again)


def _columns(news: News) -> dict[str, object]:
    row, tokens = news.row, news.row.tokens
    return {
        "session_id": row.session_id,
        "stamp": news.stamp,
        "seq": None if row.head is None else row.head.seq,
        "hash": None if row.head is None else row.head.hash,
        "end_at": news.end,
        **{name: getattr(row, name) for name in ("title", "project", "agent", "version", "kind")},
        "origin_id": None if row.origin is None else row.origin.session_id,
        "origin_hash": None if row.origin is None else row.origin.at_hash,
        "parent_id": row.parent,
        **{name: getattr(row, name) for name in ("first_ts", "last_ts", "first_words", "turns")},
        **{name: getattr(row, name) for name in ("tool_calls", "tool_failures", "dangling_calls")},
        "requests": tokens.requests,
        "input_tokens": tokens.input_total,
        "cache_read_tokens": tokens.cache_read,
        "cache_write_tokens": tokens.cache_write,
        "output_tokens": tokens.output,
        **{name: getattr(row, name) for name in ("records", "bytes", "fault")},
        "row": _encode_row(row),
        "frozen": news.frozen,
    }


def _usage(no: object, usage: DayUsage) -> tuple[object, ...]:
    used = usage.tokens
    counts = (used.requests, used.input_total, used.cache_read, used.cache_write, used.output)
    return no, usage.day, usage.model, *counts


_encode_row = msgspec.msgpack.Encoder().encode
_decode_row = msgspec.msgpack.Decoder(SessionRow).decode
