"""The catalog of a store: its sessions by project, time, model, label and words, without reading their logs again.

A derived index, kept in a file beside a file store (``catalog.sqlite3`` in its directory), in the user's cache folder
for another store, or in memory. Each :meth:`Catalog.refresh` asks the store once for what changed and reads only what
is new. The file may be thrown away at any time, and is made anew if it is damaged, of another version or of another
program.

Nothing authoritative lives in it. Whoever can write the file can make it hide or misstate a session; he cannot make it
show a text that no log holds, because a text that a search shows is read from the log, and verified.
"""

import hashlib
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeAlias, TypeVar

import anyio
import anyio.to_thread
import msgspec

from ..errors import CorruptLog, EntryNotFound, SessionNotFound, StoreFailed
from ..ids import Head
from ..queries import Tokens
from ..queries.texts import Texts
from ..record import HashedEntry, Position
from ..store import Store
from ..stores.file import FileStore
from ..stores.memory import MemoryStore
from .database import Candidate, Database, Known, News, Text
from .rows import RowFold, SessionKind, SessionRow, day_of
from .texts import trigrams_of, words_of

T = TypeVar("T")
Order: TypeAlias = Literal["last", "first", "turns", "tokens", "records", "bytes"]
"""By what sessions are ordered: when the conversation went on last, when it began, or the most of something."""
UsageBy: TypeAlias = Literal["day", "week", "month", "project", "model", "agent", "session"]
"""By what tokens are added up."""

FILE_NAME: Final = "catalog.sqlite3"
BATCH_SESSIONS: Final = 200
BATCH_CHARS: Final = 8 * 1024 * 1024
"""What was read is written when it is of so many sessions, or holds so many characters of text."""


class SessionPage(msgspec.Struct, frozen=True):
    """Some of the sessions that were asked for, in their order; ``cursor`` asks for those after them, if there are."""

    rows: Sequence[SessionRow]
    cursor: str | None


class UsageRow(msgspec.Struct, frozen=True):
    """What was used under one ``name`` (a day, a project, …): tokens by model, and how many sessions used them."""

    name: str
    sessions: int
    models: Mapping[str | None, Tokens]


class Refreshed(msgspec.Struct, frozen=True):
    """What a refresh did; ``rebuilt`` says why the file was made anew, if it was."""

    read: int
    gone: int
    faults: Mapping[str, str]
    rebuilt: str | None = None


class Catalog:
    """The catalog of one store; an async context manager. For one event loop, as its store is."""

    def __init__(self, store: Store, path: str | os.PathLike[str] | None = None) -> None:
        """Keep the catalog of ``store`` in ``path``, by default where the module says; nothing is opened before use."""
        self._store = store
        self._path = _default_path(store) if path is None else Path(path)
        self._database: Database | None = None
        self._limiter = anyio.CapacityLimiter(1)

    @property
    def path(self) -> Path | None:
        """The file; ``None`` for one in memory."""
        return self._path

    async def refresh(self, progress: Callable[[int, int], object] | None = None) -> Refreshed:
        """Take in what changed in the store, at a cost of what is new.

        ``progress`` is called with how many of how many changed sessions are read. A log that is damaged or cannot be
        read keeps its row as of what stands before that, with its ``fault``; it keeps no other session out. Raises
        :class:`StoreFailed` if the store cannot be listed, or the catalog's file cannot be used.
        """
        stamps = await self._store.stamps()
        known = await self._call(lambda database: database.known())
        gone = [one for one in known if one not in stamps]
        if gone:
            await self._call(lambda database: database.forget(gone))
        changed = [one for one, stamp in stamps.items() if one not in known or known[one].stamp != stamp]
        news: list[News] = []
        chars = 0
        faults: dict[str, str] = {}
        for count, session_id in enumerate(changed, start=1):
            one = await self._read(session_id, stamps[session_id], known.get(session_id))
            if one is not None:
                news.append(one)
                chars += sum(len(text.words) for text in one.texts)
                if one.row.fault is not None:
                    faults[session_id] = one.row.fault
            if len(news) >= BATCH_SESSIONS or chars >= BATCH_CHARS:
                await self._call(partial(_write, news=news))
                news, chars = [], 0
            if progress is not None:
                progress(count, len(changed))
        await self._call(partial(_write, news=news))
        database = self._database
        return Refreshed(len(changed), len(gone), faults, None if database is None else database.rebuilt)

    async def sessions(
        self,
        *,
        since_ms: int | None = None,
        until_ms: int | None = None,
        project: str | None = None,
        model: str | None = None,
        label: str | None = None,
        kind: SessionKind | None = None,
        order: Order = "last",
        limit: int | None = None,
        after: str | None = None,
    ) -> SessionPage:
        """Return sessions, those with most, or latest, first.

        ``since_ms`` and ``until_ms`` (unix ms; the second is excluded) take those whose conversation touches that time.
        ``project`` is a directory or the last parts of one, ``model`` a model's name or its beginning, ``label`` is
        ``key`` or ``key=value``. ``after`` is the cursor of the page before. Raises ``ValueError`` for a cursor that
        is none, and :class:`StoreFailed`.
        """
        wheres, values = _conditions(
            {"last_ts >= ?": since_ms, "first_ts < ?": until_ms, "kind = ?": kind},
            project=project,
            model=model,
            label=label,
        )
        key = _ORDERS[order]
        if after is not None:
            at, session_id = _decode_cursor(after)
            wheres.append(f"({key}, session_id) < (?, ?)")
            values += [at, session_id]
        where = f" WHERE {' AND '.join(wheres)}" if wheres else ""
        sql = f"SELECT row FROM sessions{where} ORDER BY {key} DESC, session_id DESC"  # noqa: S608 - no text of others
        if limit is not None:
            sql += " LIMIT ?"
            values.append(limit + 1)
        rows = await self._call(lambda database: database.rows(sql, values))
        if limit is None or len(rows) <= limit:
            return SessionPage(rows, None)
        rows = rows[:limit]
        return SessionPage(rows, _encode_cursor(_order_of(rows[-1], order), rows[-1].session_id) if rows else None)

    async def session(self, session_id: str) -> SessionRow | None:
        """Return the row of one session, if there is one."""
        rows = await self._call(
            lambda database: database.rows("SELECT row FROM sessions WHERE session_id = ?", [session_id])
        )
        return rows[0] if rows else None

    async def usage(self, by: UsageBy, *, since_ms: int | None = None, until_ms: int | None = None) -> list[UsageRow]:
        """Return the tokens that were used, by ``by``, in the order of the names; days, weeks and months are UTC."""
        name = _USAGE_NAMES[by]
        wheres, values = [], []
        for operator, ms in ((">=", since_ms), ("<", until_ms)):
            if ms is not None:
                wheres.append(f"day {operator} ?")
                values.append(day_of(ms))
        where = f" WHERE {' AND '.join(wheres)}" if wheres else ""
        rows = await self._call(
            lambda database: database.query(
                f"SELECT {name}, model, s.no, sum(u.requests), sum(u.input_tokens), sum(u.cache_read_tokens), "  # noqa: S608
                "sum(u.cache_write_tokens), sum(u.output_tokens) FROM usage u JOIN sessions s ON s.no = u.no"
                f"{where} GROUP BY 1, 2, 3 ORDER BY 1",
                values,
            )
        )
        return _usage_rows(rows)

    async def candidates(self, text: str) -> list[Candidate] | None:
        """Return the records in which ``text`` may stand, case aside; ``None`` where only reading all of them tells.

        What is said here is no proof: read the record, which :meth:`read` verifies, and look.
        """
        trigrams = trigrams_of(text)
        return None if trigrams is None else await self._call(lambda database: database.candidates(trigrams))

    async def read(self, candidate: Candidate) -> HashedEntry | None:
        """Return the record at ``candidate``, read from the log and verified; ``None`` if it is not there any more."""
        after = None
        if candidate.prev_hash is not None:
            after = Position(candidate.seq - 1, candidate.prev_hash, candidate.start)
        try:
            async with aclosing(self._store.read(candidate.session_id, after=after)) as records:
                async for record in records:
                    return record if record.seq == candidate.seq else None
        except (SessionNotFound, EntryNotFound, CorruptLog):
            pass
        return None

    async def forget(self, session_ids: Sequence[str]) -> None:
        """Drop all that the catalog holds of sessions, their words included: before or after they are deleted.

        The words of one session cannot be taken out of the index, so all of it is made anew by the next refresh.
        """
        known = await self._call(lambda database: database.known())
        if any(one in known for one in session_ids):
            await self._call(lambda database: database.purge())

    async def aclose(self) -> None:
        """Close the file."""
        if self._database is not None:
            database, self._database = self._database, None
            await anyio.to_thread.run_sync(database.close, limiter=self._limiter)

    async def __aenter__(self) -> Self:
        """Return the catalog."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the file."""
        with anyio.CancelScope(shield=True):
            await self.aclose()

    async def _call(self, call: Callable[[Database], T]) -> T:
        """Run ``call`` on the database, in a thread."""

        def run() -> T:
            try:
                if self._database is None:
                    if self._path is not None:
                        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                    self._database = Database(self._path)
                return call(self._database)
            except (OSError, sqlite3.Error) as error:
                raise StoreFailed(f"the catalog cannot be used: {error}", path=self._path) from error

        return await anyio.to_thread.run_sync(run, limiter=self._limiter)

    async def _read(self, session_id: str, stamp: str, known: Known | None) -> News | None:
        """Read what is new of a session; ``None`` if it is gone."""
        if known is not None and known.head is not None:
            frozen = await self._call(lambda database: database.frozen(known.no))
            if frozen is not None:
                try:
                    reading = _Reading(RowFold.thaw(frozen), known)
                    return await reading.run(self._store, session_id, stamp)
                except (EntryNotFound, CorruptLog, ValueError):
                    pass  # another log by now, or a damaged one: from its start
        try:
            return await _Reading(RowFold.begin(session_id), None).run(self._store, session_id, stamp)
        except SessionNotFound:
            return None


class _Reading:
    """One pass over what is new of a log."""

    def __init__(self, fold: RowFold, known: Known | None) -> None:
        self._fold = fold
        self._known = known
        self._end = 0 if known is None else known.end
        self._head: Head | None = None if known is None else known.head
        self._texts = Texts()
        self._found: list[Text] = []

    async def run(self, store: Store, session_id: str, stamp: str) -> News | None:
        """Return what the log gives. Damage raises if this goes on from before, and is a fault of the row otherwise."""
        after = None if self._head is None else Position(self._head.seq, self._head.hash, self._end)
        fault: str | None = None
        try:
            async with aclosing(store.read(session_id, after=after)) as records:
                async for record in records:
                    self._take(record)
        except (CorruptLog, StoreFailed) as error:
            if isinstance(error, CorruptLog) and self._known is not None:
                raise
            fault = str(error)
        return News(
            row=self._fold.row(fault=fault),
            stamp=stamp,
            end=self._end,
            frozen=self._fold.freeze() if fault is None else None,
            usage=self._fold.usage(),
            texts=self._found,
            before=self._known,
        )

    def _take(self, record: HashedEntry) -> None:
        self._fold.take(record)
        words = words_of(self._texts, record.entry)
        if words:
            self._found.append(Text(record.seq, self._end, record.prev_hash, words))
        self._end += len(record.line) + 1


_ORDERS: Final[Mapping[Order, str]] = {
    "last": "coalesce(last_ts, 0)",
    "first": "coalesce(first_ts, 0)",
    "turns": "turns",
    "tokens": "(input_tokens + output_tokens)",
    "records": "records",
    "bytes": "bytes",
}
_USAGE_NAMES: Final[Mapping[UsageBy, str]] = {
    "day": "u.day",
    "week": "strftime('%Y-W%W', u.day)",
    "month": "substr(u.day, 1, 7)",
    "project": "coalesce(s.project, '')",
    "model": "u.model",
    "agent": "coalesce(s.agent, '')",
    "session": "s.session_id",
}


def _order_of(row: SessionRow, order: Order) -> int:
    match order:
        case "last":
            return row.last_ts or 0
        case "first":
            return row.first_ts or 0
        case "tokens":
            return row.tokens.input_total + row.tokens.output
        case _:
            value: int = getattr(row, order)
            return value


def _conditions(
    plain: Mapping[str, object], *, project: str | None, model: str | None, label: str | None
) -> tuple[list[str], list[Any]]:
    """Return what is asked for, as SQL and its values; ``plain`` holds conditions of one value, or ``None``."""
    asked = {sql: [value] for sql, value in plain.items() if value is not None}
    if project is not None:
        asked["(project = ? OR substr(project, -length(?) - 1) = '/' || ?)"] = [project] * 3
    if model is not None:
        asked["no IN (SELECT no FROM usage WHERE substr(model, 1, length(?)) = ?)"] = [model] * 2
    if label is not None:
        key, equals, value = label.partition("=")
        asked["no IN (SELECT no FROM labels WHERE key = ?)"] = [key]
        if equals:
            asked["no IN (SELECT no FROM labels WHERE key = ? AND value = ?)"] = [key, value]
    return list(asked), [value for values in asked.values() for value in values]


def _usage_rows(rows: Sequence[tuple[Any, ...]]) -> list[UsageRow]:
    found: dict[str, tuple[set[int], dict[str | None, Tokens]]] = {}
    for name, model, no, requests, total, read, write, output in rows:
        sessions, models = found.setdefault(name, (set(), {}))
        sessions.add(no)
        models.setdefault(model or None, Tokens()).add(Tokens(requests, total, read, write, output))
    return [UsageRow(name, len(sessions), models) for name, (sessions, models) in found.items()]


def _encode_cursor(at: int, session_id: str) -> str:
    return f"{at}:{session_id}"


def _decode_cursor(cursor: str) -> tuple[int, str]:
    at, colon, session_id = cursor.partition(":")
    if not colon or not at.lstrip("-").isdecimal():
        raise ValueError(f"{cursor!r} is no cursor: give the one that came with the page before")
    return int(at), session_id


def _write(database: Database, news: Sequence[News]) -> None:
    if news:
        database.write(news)


def _default_path(store: Store) -> Path | None:
    if isinstance(store, FileStore):
        return store.root / FILE_NAME
    if isinstance(store, MemoryStore):
        return None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "sessionlog" / f"{hashlib.blake2b(repr(store).encode(), digest_size=16).hexdigest()}.sqlite3"
