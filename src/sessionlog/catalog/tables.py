"""Writing what was read into the catalog's tables, and what they say of each session.

A session's rows are replaced only if they are still those that the news were read on from: of two processes that read
the same news, one writes them, and the other finds them written.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from ..entries import SessionOrigin
from ..ids import Head
from ..queries import DayUsage, SessionStats, Tokens, ToolUse
from .forgetting import Indexed
from .origins import look_again
from .reading import Known, News, Task
from .rows import NUMBER_MAX, SessionRow
from .searching import Candidate
from .texts import Block

_SAME: Final = (
    *("session_id", "title", "project", "agent", "version", "kind", "first_ts", "last_ts", "first_words", "turns"),
    *("tool_calls", "tool_failures", "dangling_calls", "records", "bytes", "state", "fault"),
)
"""The columns that are members of a row."""
_COLUMNS: Final = (
    *_SAME,
    *("origin_id", "origin_hash", "parent_id", "head_seq", "head_hash"),
    *("requests", "input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens"),
)
ROW_COLUMNS: Final = ", ".join(
    f"s.{name}" for name in ("no", "origin_id", "origin_hash", "parent_id", "head_seq", "head_hash", *_SAME)
)
"""What :func:`rows` needs a query to select."""
_FEW: Final = 500
SUM_TOKENS: Final = ", ".join(
    f"CAST(total(u.{name}) AS INTEGER)"
    for name in ("requests", "input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")
)
"""The sums of tokens, in the order of :class:`Tokens`; ``sum`` raises where they overflow, this does not."""
_USAGE: Final = (
    "SELECT no, day, model, requests, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens FROM usage {} "
    "ORDER BY no, day, model"
)
_INSERT: Final = f"INSERT INTO sessions ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608
_UPDATE: Final = f"UPDATE sessions SET {', '.join(f'{name} = ?' for name in _COLUMNS)} WHERE no = ?"  # noqa: S608
_COUNTED: Final = ("labels", "usage", "spawns", "kinds", "tools")


def stamps(connection: sqlite3.Connection) -> dict[str, str | None]:
    """Return the change token of every session, as of when it was read."""
    return dict(connection.execute("SELECT session_id, stamp FROM stamps"))


def tasks(connection: sqlite3.Connection, session_ids: Iterable[str], stamps: Mapping[str, str]) -> list[Task]:
    """Return what it takes to read on in each session."""
    return [Task(one, stamps[one], known(connection, one)) for one in session_ids]


def known(connection: sqlite3.Connection, session_id: str) -> Known | None:
    """Return what is kept of a session."""
    found = connection.execute(
        "SELECT s.no, s.head_seq, s.head_hash, f.end_at, f.frozen FROM sessions s JOIN folds f ON f.no = s.no "
        "WHERE s.session_id = ?",
        (session_id,),
    ).fetchone()
    if found is None:
        return None
    no, seq, hash_, end, frozen = found
    return Known(no, None if seq is None else Head(seq, hash_), end, frozen)


def write(connection: sqlite3.Connection, news: Iterable[News]) -> None:
    """Take in what was read of some sessions."""
    for one in news:
        _write_one(connection, one)


def drop(connection: sqlite3.Connection, session_ids: Iterable[str]) -> None:
    """Drop the rows of sessions. Their trigrams stay in ``words``; nothing leads from them to a log."""
    ids = [(one,) for one in session_ids]
    connection.executemany("DELETE FROM sessions WHERE session_id = ?", ids)
    connection.executemany("DELETE FROM stamps WHERE session_id = ?", ids)
    for (one,) in ids:
        look_again(connection, one, replaced=True)


def merge(connection: sqlite3.Connection) -> None:
    """Make the index one piece, in which the trigrams of blocks that were taken out do not occur."""
    connection.execute("INSERT INTO words (words) VALUES ('optimize')")


def places(connection: sqlite3.Connection, no: int) -> list[Indexed]:
    """Return the blocks of a session, in order."""
    found = connection.execute("SELECT id, seq, last_seq, fresh FROM blocks WHERE no = ? ORDER BY seq", (no,))
    return [Indexed(id_, seq, last_seq, bool(fresh)) for id_, seq, last_seq, fresh in found]


def take_out(connection: sqlite3.Connection, words: Iterable[tuple[int, str]]) -> None:
    """Take blocks out of the index, by their ids and exactly the words that they were put in with."""
    for one in words:
        connection.execute("INSERT INTO words (words, rowid, text) VALUES ('delete', ?, ?)", one)
        connection.execute("DELETE FROM blocks WHERE id = ?", one[:1])


def rows(connection: sqlite3.Connection, sql: str, values: Sequence[object]) -> list[SessionRow]:
    """Return the rows that ``sql``, which selects :data:`ROW_COLUMNS`, finds. Raises ``ValueError`` for odd content."""
    found = connection.execute(sql, values).fetchall()
    nos = [one[0] for one in found]
    usage: dict[int, list[DayUsage]] = {}
    for no, day, model, *tokens in _of(connection, _USAGE, nos):
        usage.setdefault(no, []).append(DayUsage(day, model or None, Tokens(*tokens)))
    labels: dict[int, dict[str, str]] = {}
    for no, key, value in _of(connection, "SELECT no, key, value FROM labels {}", nos):
        labels.setdefault(no, {})[key] = value
    return [_row(one, labels.get(one[0]), usage.get(one[0], [])) for one in found]


def add_up(connection: sqlite3.Connection, where: str, values: Sequence[object]) -> SessionStats:
    """Return what the sessions ``s`` add up to that ``where`` takes."""
    total = SessionStats()
    sums = ("records", "bytes", "turns", "dangling_calls", "last_ts - first_ts")
    found = connection.execute(
        f"SELECT {', '.join(f'CAST(total({one}) AS INTEGER)' for one in sums)} FROM sessions s{where}",  # noqa: S608
        values,
    ).fetchone()
    total.records, total.record_bytes, total.turns, total.dangling_calls, total.wall_ms = found

    def grouped(columns: str, table: str, *, by: str) -> Iterator[Any]:
        return connection.execute(
            f"SELECT {columns} FROM {table} JOIN sessions s USING (no){where} GROUP BY {by} ORDER BY {by}",  # noqa: S608
            values,
        )

    for kind, count in grouped("u.kind, sum(u.records)", "kinds u", by="u.kind"):
        total.kinds[kind] = count
    total.turns_ended = total.kinds["turn_end"]
    use = "u.tool, sum(u.calls), sum(u.failures), sum(u.timed), CAST(total(u.time_ms) AS INTEGER)"
    for tool, *counts in grouped(use, "tools u", by="u.tool"):
        total.tools[tool] = ToolUse(*counts)
    for day, model, *tokens in grouped(f"u.day, u.model, {SUM_TOKENS}", "usage u", by="u.day, u.model"):
        total.days.setdefault(day, {})[model or None] = Tokens(*tokens)
    return total


def stats(connection: sqlite3.Connection, session_id: str) -> SessionStats | None:
    """Return what one session was counted as."""
    found = connection.execute("SELECT first_ts, last_ts FROM sessions WHERE session_id = ?", (session_id,)).fetchone()
    if found is None:
        return None
    one = add_up(connection, " WHERE s.session_id = ?", [session_id])
    one.session_id = session_id
    one.first_ts, one.last_ts = found
    return one


def candidates(connection: sqlite3.Connection, trigrams: Sequence[str]) -> list[Candidate]:
    """Return the blocks that hold all ``trigrams``: by session, last activity first, and in order."""
    match = " AND ".join('"' + one.replace('"', '""') + '"' for one in trigrams)
    found = connection.execute(
        "SELECT s.session_id, b.seq, b.last_seq, b.start_at, b.prev_hash, b.calls FROM words w "
        "JOIN blocks b ON b.id = w.rowid JOIN sessions s ON s.no = b.no "
        "WHERE words MATCH ? AND s.kind <> 'receipts' "
        "ORDER BY coalesce(s.last_ts, 0) DESC, s.session_id DESC, b.seq",
        (match,),
    )
    return [
        Candidate(session_id, seq, last_seq, start, None if prev is None else prev.hex(), _calls(calls))
        for session_id, seq, last_seq, start, prev, calls in found
    ]


def _of(connection: sqlite3.Connection, sql: str, nos: Sequence[int]) -> Iterator[Any]:
    """Run ``sql`` for some sessions: for each, if they are few, else once for all."""
    if len(nos) > _FEW:
        return connection.execute(sql.format(""))
    return connection.execute(sql.format(f"WHERE no IN ({', '.join('?' * len(nos))})"), nos)


def _row(found: Sequence[Any], labels: dict[str, str] | None, usage: Sequence[DayUsage]) -> SessionRow:
    _, origin_id, origin_hash, parent, seq, hash_, *same = found
    return SessionRow(
        origin=None if origin_id is None else SessionOrigin(session_id=origin_id, at_hash=origin_hash),
        parent=parent,
        head=None if seq is None else Head(seq, hash_),
        labels=labels or {},
        usage=tuple(usage),
        **dict(zip(_SAME, same, strict=True)),
    )


def _write_one(connection: sqlite3.Connection, news: News) -> None:
    row, before = news.row, news.before
    found = connection.execute(
        "SELECT no, head_seq, head_hash FROM sessions WHERE session_id = ?", (row.session_id,)
    ).fetchone()
    if before is not None:
        head = None if found is None or found[1] is None else Head(found[1], found[2])
        if found is None or found[0] != before.no or head != before.head:
            return  # another process was here first
    elif found is not None:
        connection.execute("DELETE FROM sessions WHERE no = ?", (found[0],))
        found = None
    if found is None:
        no = connection.execute(_INSERT, _columns(row)).lastrowid
    else:
        no = found[0]
        connection.execute(_UPDATE, (*_columns(row), no))
        for table in _COUNTED:
            connection.execute(f"DELETE FROM {table} WHERE no = ?", (no,))  # noqa: S608 - names of ours
    look_again(connection, row.session_id, replaced=before is None)
    connection.execute("INSERT OR REPLACE INTO stamps VALUES (?, ?)", (row.session_id, news.stamp))
    connection.execute("INSERT OR REPLACE INTO folds VALUES (?, ?, ?)", (no, news.end, news.frozen))
    connection.executemany("INSERT INTO labels VALUES (?, ?, ?)", [(no, *one) for one in row.labels.items()])
    connection.executemany(
        "INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [(no, one.day, one.model or "", *_counts(one.tokens)) for one in row.usage],
    )
    connection.executemany(
        "INSERT INTO spawns VALUES (?, ?, ?, ?)",
        [(no, child, head.seq, head.hash) for child, head in news.spawned.items()],
    )
    connection.executemany("INSERT INTO kinds VALUES (?, ?, ?)", [(no, *one) for one in news.kinds])
    connection.executemany(
        "INSERT INTO tools VALUES (?, ?, ?, ?, ?, ?)",
        [(no, tool, use.calls, use.failures, use.timed, min(use.time_ms, NUMBER_MAX)) for tool, use in news.tools],
    )
    for block in news.blocks:
        _write_block(connection, no, block)


def _write_block(connection: sqlite3.Connection, no: object, block: Block) -> None:
    cursor = connection.execute(
        "INSERT INTO blocks (no, seq, last_seq, start_at, prev_hash, calls, fresh) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            *(no, block.seq, block.last_seq, block.start),
            None if block.prev_hash is None else bytes.fromhex(block.prev_hash),
            msgspec.msgpack.encode(block.calls) if block.calls else None,
            block.fresh,
        ),
    )
    connection.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (cursor.lastrowid, block.words))


def _calls(calls: bytes | None) -> Mapping[str, str]:
    return {} if calls is None else msgspec.msgpack.decode(calls, type=dict[str, str])


def _columns(row: SessionRow) -> tuple[object, ...]:
    origin, head = row.origin, row.head
    return (
        *(getattr(row, name) for name in _SAME),
        *((None, None) if origin is None else (origin.session_id, origin.at_hash)),
        row.parent,
        *((None, None) if head is None else (head.seq, head.hash)),
        *_counts(row.tokens),
    )


def _counts(tokens: Tokens) -> tuple[int, int, int, int, int]:
    return tokens.requests, tokens.input_total, tokens.cache_read, tokens.cache_write, tokens.output
