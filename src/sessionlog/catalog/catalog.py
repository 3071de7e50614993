"""The catalog of a store: its sessions by project, time, model, label and words, without reading their logs again.

A derived index, kept in a file beside a file store (``catalog.sqlite3`` in its directory), in the user's cache folder
for another store or where that directory cannot be written, and in memory for a :class:`~sessionlog.MemoryStore`, which
it would outlive. Each :meth:`Catalog.refresh` asks the store once for what changed and reads only what is new. The file
may be thrown away at any time, and is made anew if it is damaged, of another version or of another program.

Nothing authoritative lives in it. Whoever can write the file can make it hide or misstate a session; he cannot make it
show a text that no log holds, because a text that a search shows is read from the log, and verified.
``refresh(verify=True)`` folds every log anew.
"""

import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import anyio
import msgspec

from ..errors import CorruptLog, EntryNotFound, SessionLogError, SessionNotFound
from ..ids import Head
from ..queries import Hit, Place, Query, SessionStats
from ..record import HashedEntry
from ..store import Store
from . import asking, tables
from .access import Access, Remade
from .asking import Link, Order, UsageBy, UsageRow
from .database import Database
from .forgetting import Changed, Indexed, words_of
from .hops import Hops
from .refreshing import Progress, Refreshed, refresh
from .rows import SessionKind, SessionRow
from .searching import Candidate, Found, look_up, read_candidate, scan, trigrams_for
from .texts import trigrams_of

T = TypeVar("T")
_SAID: Final[frozenset[Place]] = frozenset({"user", "assistant", "tools", "system"})


class SessionPage(msgspec.Struct, frozen=True):
    """Some of the sessions that were asked for, in their order; ``cursor`` asks for those after them, if there are."""

    rows: Sequence[SessionRow]
    cursor: str | None


class Catalog:
    """The catalog of one store; an async context manager. For one event loop, as its store is.

    Queries tell what the last :meth:`refresh` found, by whichever process.
    """

    def __init__(self, store: Store, path: str | os.PathLike[str] | None = None) -> None:
        """Keep the catalog of ``store`` in ``path``, by default where the module says; nothing is opened before use.

        ``path`` may be :data:`IN_MEMORY`.
        """
        self._store = store
        self._access = Access(store, path)
        self._call = self._access.call
        self._hops = Hops(store)

    @property
    def path(self) -> Path | None:
        """The file; ``None`` for one in memory."""
        return self._access.path

    async def refresh(self, progress: Progress | None = None, *, jobs: int = 1, verify: bool = False) -> Refreshed:
        """Take in what changed in the store, at a cost of what is new.

        Args:
            progress: Called with how many of how many changed sessions are read.
            jobs: Up to so many processes read where there is much to read in a :class:`FileStore`.
            verify: Fold every log anew, from its start, whatever the catalog says.

        A log that is damaged or cannot be read keeps its row as of what stands before that, with its ``state`` and
        ``fault``; it keeps no other session out. Whoever cancels leaves what was taken in so far, each session wholly
        or up to a record. Raises :class:`StoreFailed` if the store cannot be listed, or the catalog's file cannot be
        used, and :class:`WorkerDied` if a process that reads was killed.
        """
        if verify:
            await self._call(Database.empty)
        try:
            done = await refresh(self._store, self._call, self._hops, jobs=jobs, progress=progress)
        except Remade:
            done = await refresh(self._store, self._call, self._hops, jobs=jobs, progress=progress)
        return msgspec.structs.replace(done, rebuilt=self._access.take_rebuilt())

    async def sessions(
        self,
        *,
        since_ms: int | None = None,
        until_ms: int | None = None,
        project: str | None = None,
        model: str | None = None,
        label: str | None = None,
        text: str | None = None,
        kind: SessionKind | None = None,
        order: Order = "last",
        limit: int | None = None,
        after: str | None = None,
    ) -> SessionPage:
        """Return sessions, those with most, or latest, first.

        Args:
            since_ms: Only those whose conversation goes on from this time (unix ms).
            until_ms: Only those whose conversation begins before this time (unix ms).
            project: A directory, or the last parts of one.
            model: A model's name or its beginning.
            label: ``key`` or ``key=value``.
            text: What somebody said in them, case aside; it is read from the logs and verified. Costs a look at each
                session that the index names; each session that is otherwise asked for, if it is shorter than three
                characters.
            kind: What kind of session; receipts are left out unless they are asked for.
            order: By what they are ordered.
            limit: So many at most; costs as much as there are, with ``order="last"``.
            after: The cursor of the page before.

        Raises ``ValueError`` for a cursor that is none, and :class:`StoreFailed`.
        """
        asked = asking.asked(since_ms=since_ms, until_ms=until_ms, project=project, model=model, label=label, kind=kind)
        if text is None:
            rows = await self._rows(*asking.page(asked, order, limit, after))
        else:
            rows = await self._saying(text, asked, order, limit, after)
        if limit is None or len(rows) <= limit:
            return SessionPage(rows, None)
        rows = rows[:limit]
        return SessionPage(rows, asking.cursor_of(rows[-1], order) if rows else None)

    async def session(self, session_id: str) -> SessionRow | None:
        """Return the row of one session, if there is one."""
        rows = await self._rows(f"SELECT {tables.ROW_COLUMNS} FROM sessions s WHERE s.session_id = ?", [session_id])  # noqa: S608
        return rows[0] if rows else None

    async def children(self, session_id: str) -> list[SessionRow]:
        """Return the sessions that were forked or compacted from this one, or run by its tool calls."""
        return await self._rows(asking.CHILDREN, [session_id, session_id])

    async def links(self) -> list[Link]:
        """Return where each session comes from, last activity first; receipts are left out."""
        return await self._ask(lambda database: asking.links(database.connection))

    async def usage(
        self,
        by: UsageBy,
        *,
        since_ms: int | None = None,
        until_ms: int | None = None,
        project: str | None = None,
        model: str | None = None,
        label: str | None = None,
    ) -> list[UsageRow]:
        """Return the tokens that were used, by ``by``, in the order of the names; costs a pass over days and models.

        Days, weeks (ISO 8601) and months are UTC, and ``since_ms`` and ``until_ms`` take whole days; ``label`` is named
        ``key=value``, and tokens of sessions with several labels count under each. The rest as for :meth:`sessions`.
        """
        asked = asking.asked(project=project, model=model, label=label)
        tokens, sessions, values = asking.usage_queries(by, asked, since_ms, until_ms)

        def run(database: Database) -> list[UsageRow]:
            execute = database.connection.execute
            return asking.usage_rows(execute(tokens, values).fetchall(), execute(sessions, values).fetchall())

        return await self._ask(run)

    async def total(
        self,
        *,
        since_ms: int | None = None,
        until_ms: int | None = None,
        project: str | None = None,
        model: str | None = None,
        label: str | None = None,
    ) -> SessionStats:
        """Return what sessions add up to, as :func:`sessionlog.queries.total_stats` does, in a pass over their rows.

        Arguments as for :meth:`sessions`.
        """
        asked = asking.asked(since_ms=since_ms, until_ms=until_ms, project=project, model=model, label=label)
        return await self._ask(lambda database: tables.add_up(database.connection, *asked))

    async def stats(self, session_id: str) -> SessionStats | None:
        """Return what one session was counted as, if there is one: a row more for each kind and each tool."""
        return await self._ask(lambda database: tables.stats(database.connection, session_id))

    async def search(
        self,
        query: Query,
        sessions: Sequence[str] | None = None,
        *,
        context: int = 0,
        on_fault: Callable[[str, SessionLogError], object] | None = None,
    ) -> AsyncGenerator[Hit, None]:
        """Stream what is found, session by session, last activity first; what it shows is read from the log, verified.

        Costs a look at the index, and reading each block (about 16 KiB of text) that holds all trigrams of the text.
        A regular expression, a text of under three characters, and a query that looks at more than what was said
        (``other``, or all places) read all sessions instead.

        Args:
            query: What is searched for.
            sessions: Only in these, in this order; by default in all but receipts.
            context: How many lines around a match a hit has.
            on_fault: Called with the id of a session that could not be read to its end, and why; the others go on.

        Raises :class:`QueryError`, and :class:`StoreFailed` where the catalog's file cannot be used.
        """
        trigrams = trigrams_for(query)
        candidates = None
        if trigrams is not None:
            candidates = await self._ask(lambda database: tables.candidates(database.connection, trigrams))
        if sessions is None and candidates is not None:
            sessions = list(dict.fromkeys(one.session_id for one in candidates))  # a source without them told none
        elif sessions is None:
            sessions = await self._ask(partial(_ids, asked=asking.asked()))
        async with aclosing(self._find(query, sessions, context, candidates)) as founds:
            async for found in founds:
                for hit in found.hits:
                    yield hit
                if found.fault is not None and on_fault is not None:
                    on_fault(found.session_id, found.fault)

    async def candidates(self, text: str) -> list[Candidate] | None:
        """Return the records in which ``text`` may be said, case aside; ``None`` where only reading all of them tells.

        What is said here is no proof: read the records, which :meth:`read` verifies, and look.
        """
        trigrams = trigrams_of(text)
        if trigrams is None:
            return None
        return await self._ask(lambda database: tables.candidates(database.connection, trigrams))

    async def read(self, candidate: Candidate) -> list[HashedEntry]:
        """Return the records of ``candidate``, read from the log and verified; none if they are not there any more."""
        try:
            return await read_candidate(self._store, candidate)
        except (SessionNotFound, EntryNotFound, CorruptLog):
            return []

    async def forget(self, session_ids: Sequence[str]) -> None:
        """Take all that the catalog holds of sessions out of its file, their words included: before they are deleted.

        Costs reading them once more, and writing the index anew. Where a log is not there any more, or is another one,
        all of the catalog goes instead, and the next refresh reads every session. Raises :class:`StoreFailed`; what was
        not taken out yet is still there then.
        """
        if self._access.is_empty:
            return
        known = await self._call(partial(_known, session_ids=session_ids))
        if not known:
            return
        try:
            for session_id, (head, places) in known.items():
                async with aclosing(words_of(self._store, session_id, head, places)) as batches:
                    async for batch in batches:
                        await self._call(partial(_take_out, batch=batch))
        except (Changed, CorruptLog, EntryNotFound, SessionNotFound):
            await self._call(Database.empty)
        else:
            await self._call(partial(_drop, session_ids=list(known)))

    async def aclose(self) -> None:
        """Close the file."""
        await self._access.aclose()

    async def __aenter__(self) -> Self:
        """Return the catalog."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the file."""
        with anyio.CancelScope(shield=True):
            await self.aclose()

    async def _rows(self, sql: str, values: Sequence[object]) -> list[SessionRow]:
        return await self._ask(lambda database: tables.rows(database.connection, sql, values))

    async def _saying(
        self, text: str, asked: asking.Asked, order: Order, limit: int | None, after: str | None
    ) -> list[SessionRow]:
        """Return the rows of a page of sessions in which ``text`` is said, with one more than ``limit``."""
        query = Query(text=text, places=_SAID)
        candidates = await self.candidates(text)
        if candidates is not None:
            asked = asking.among(asked, {one.session_id for one in candidates})
        rows = await self._rows(*asking.page(asked, order, None, after))
        founds = self._find(query, [row.session_id for row in rows], 0, candidates)
        saying: set[str] = set()
        async with aclosing(founds):
            async for found in founds:
                saying.update(hit.session_id for hit in found.hits)
                if limit is not None and len(saying) > limit:
                    break
        return [row for row in rows if row.session_id in saying]

    def _find(
        self, query: Query, sessions: Sequence[str], context: int, candidates: Sequence[Candidate] | None
    ) -> AsyncGenerator[Found, None]:
        if candidates is None:
            return scan(self._store, query, sessions, context)
        return look_up(self._hops, query, sessions, context, candidates)

    async def _ask(self, call: Callable[[Database], T]) -> T:
        """Run a query; on a file that turns out to be damaged, once more, when the catalog was made anew."""
        try:
            return await self._call(call)
        except Remade:
            await self.refresh()
            return await self._call(call)


def _ids(database: Database, asked: asking.Asked) -> list[str]:
    sql = f"SELECT s.session_id FROM sessions s{asked.where} ORDER BY coalesce(s.last_ts, 0) DESC, s.session_id DESC"  # noqa: S608
    return [one for (one,) in database.connection.execute(sql, asked.values)]


def _known(database: Database, session_ids: Sequence[str]) -> dict[str, tuple[Head, list[Indexed]]]:
    """Return what is known of sessions of which anything is."""
    found: dict[str, tuple[Head, list[Indexed]]] = {}
    for one in session_ids:
        known = tables.known(database.connection, one)
        if known is not None:
            found[one] = known.head or Head(-1, ""), tables.places(database.connection, known.no)
    return found


def _take_out(database: Database, batch: Sequence[tuple[int, str]]) -> None:
    with database.transaction() as connection:
        tables.take_out(connection, batch)


def _drop(database: Database, session_ids: Sequence[str]) -> None:
    with database.transaction() as connection:
        tables.drop(connection, session_ids)
        tables.merge(connection)
    database.shrink()
    database.scrub()
