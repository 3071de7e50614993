"""Appends: many sessions in one transaction, and no outcome left unknown.

What is appended at the same time is sent as one statement, which commits by itself: the server flushes once for all.
A session whose head is another one, or that another transaction holds, fails or waits alone.

If the connection is lost, or no answer comes, nobody knows yet whether the commit is in. Before the caller is told, the
server's process behind the lost connection is ended and seen to be gone, so that it cannot commit any more; then the
record's own row tells. Only where this cannot be found out in time is the outcome told as unknown: ``poisoned``.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum, auto
from typing import Any, Final

import asyncpg

from ...errors import HeadConflict, SessionLocked, SessionLogError, SessionNotFound, StoreFailed
from ...ids import Head
from ...record import HashedEntry
from . import schema
from .database import ANSWER_S, LOST, Backend, Database

SESSIONS_MAX: Final = 256
"""So many sessions share a transaction at most."""
BYTES_MAX: Final = 8 * 1024 * 1024
"""No further session joins a transaction that has so many bytes."""
COMMITTERS: Final = 4
"""So many transactions are under way at once."""
SETTLE_S: Final = 30.0
"""For so long it is tried to find out whether a commit is in."""
SETTLE_EVERY_S: Final = 0.05
ATTEMPTS: Final = 3
"""So often a commit is sent that is known not to be in."""


class Commit:
    """An append on its way. ``ended`` is set when ``failure`` says how it ended."""

    __slots__ = ("bytes", "ended", "expected", "failure", "records", "session_id")

    def __init__(self, session_id: str, expected: Head | None, records: Sequence[HashedEntry]) -> None:
        """Wait to be taken."""
        self.session_id: str = session_id
        self.expected: Head | None = expected
        self.records: Sequence[HashedEntry] = records
        self.bytes: int = sum(len(record.line) + 1 for record in records)
        self.ended: asyncio.Event = asyncio.Event()
        self.failure: SessionLogError | None = None

    @property
    def last(self) -> HashedEntry:
        """The record that becomes the head."""
        return self.records[-1]

    def end(self, failure: SessionLogError | None = None) -> None:
        """Tell the outcome to who waits."""
        self.failure = failure
        self.ended.set()


class _Fate(Enum):
    IN = auto()
    CONFLICT = auto()
    MISSING = auto()
    HELD = auto()


class Committer:
    """Takes appends, and sends them with others."""

    def __init__(self, database: Database, *, lock_wait_s: float, settle_s: float = SETTLE_S) -> None:
        """Send to ``database``."""
        self._database = database
        self._lock_wait_s = lock_wait_s
        self._settle_s = settle_s
        self._waiting: list[Commit] = []
        self._under_way: set[str] = set()
        """The sessions of which a commit has been sent: the next one of the same session waits for it."""
        self._tasks: set[asyncio.Task[None]] = set()

    def submit(self, commit: Commit) -> None:
        """Take ``commit``: from here on it runs to its end, whoever is cancelled."""
        self._waiting.append(commit)
        if len(self._tasks) < COMMITTERS:
            task = asyncio.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """Wait for everything that was taken."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def _work(self) -> None:
        while commits := self._take():
            try:
                await self._send(commits)
            except BaseException as error:
                for commit in commits:
                    if not commit.ended.is_set():
                        commit.end(self._database.failure(error, "the commit broke off", poisoned=True))
                raise
            finally:
                self._under_way.difference_update(commit.session_id for commit in commits)

    def _take(self) -> list[Commit]:
        """Take what may share a transaction out of what waits: of each session the first, in their order."""
        taken: list[Commit] = []
        left: list[Commit] = []
        size = 0
        for commit in self._waiting:
            if commit.session_id in self._under_way or len(taken) == SESSIONS_MAX or size > BYTES_MAX:
                left.append(commit)
                continue
            self._under_way.add(commit.session_id)
            taken.append(commit)
            size += commit.bytes
        self._waiting = left
        return taken

    async def _send(self, commits: list[Commit]) -> None:
        """Send ``commits`` together; then, alone, those that have no outcome by that."""
        alone = commits
        if len(commits) > 1:
            try:
                fates = await self._append(schema.APPEND_FREE, commits)
            except StoreFailed as failure:
                if failure.poisoned:  # any of them may be in: sent again, it would be told as a conflict
                    for commit in commits:
                        commit.end(failure)
                    return
            except asyncpg.PostgresError:
                pass  # each of them finds out alone what is wrong
            else:
                alone = [one for one in commits if not self._settle_fate(one, fates.get(one.session_id, _Fate.HELD))]
        for commit in alone:
            await self._send_alone(commit)

    async def _send_alone(self, commit: Commit) -> None:
        for attempt in range(ATTEMPTS):
            is_last = attempt == ATTEMPTS - 1
            try:
                fates = await self._append(schema.APPEND_WAITING, [commit])
            except asyncpg.LockNotAvailableError:
                return commit.end(SessionLocked(commit.session_id, waited_s=self._lock_wait_s))
            except asyncpg.DeadlockDetectedError as error:
                if is_last:
                    return commit.end(self._database.failure(error, "the server refused"))
            except asyncpg.PostgresError as error:
                return commit.end(self._database.failure(error, "the server refused"))
            except StoreFailed as failure:
                if failure.poisoned or is_last:
                    return commit.end(failure)
            else:
                self._settle_fate(commit, fates.get(commit.session_id, _Fate.MISSING))
                return None
        return None

    def _settle_fate(self, commit: Commit, fate: _Fate) -> bool:
        """End ``commit`` as ``fate`` says; return whether it says anything."""
        match fate:
            case _Fate.IN:
                commit.end()
            case _Fate.CONFLICT:
                commit.end(HeadConflict(commit.session_id, expected=commit.expected, found=None))
            case _Fate.MISSING:
                commit.end(SessionNotFound(commit.session_id))
            case _Fate.HELD:
                return False
        return True

    async def _append(self, statement: str, commits: Sequence[Commit]) -> dict[str, _Fate]:
        """Send one statement, and find out its outcome if the connection is lost.

        Raises :class:`StoreFailed`: nothing of it is in, unless it says ``poisoned``; and the server's own errors,
        after which nothing is in either.
        """
        async with self._database.connection() as lent:
            backend = self._database.backend(lent)
            warnings: list[str] = []
            with _warnings_of(lent, warnings):
                sent = asyncio.ensure_future(lent.fetch(statement, *_arguments(commits)))
                await asyncio.wait([sent], timeout=ANSWER_S + self._lock_wait_s)
                if not sent.done():
                    lent.terminate()
                    await asyncio.wait([sent])
            error = sent.exception()
            if error is None and warnings:
                raise self._database.failure(
                    RuntimeError("; ".join(warnings)), "the commit is in but may not be replicated", poisoned=True
                )
            if error is None:
                return {row["session_id"]: _Fate.IN if row["is_in"] else _Fate.CONFLICT for row in sent.result()}
            if not isinstance(error, LOST):
                raise error
            with suppress(asyncpg.InterfaceError):
                lent.terminate()
        return await self._find_out(commits, backend, error)

    async def _find_out(self, commits: Sequence[Commit], backend: Backend, lost: BaseException) -> dict[str, _Fate]:
        """Return which of ``commits`` are in, once the lost ``backend`` can commit no more."""
        try:
            async with asyncio.timeout(self._settle_s):
                return await self._settled(commits, backend, lost)
        except TimeoutError:
            raise self._database.failure(
                lost, f"no outcome within {self._settle_s:g} s: whether the records are in is not known", poisoned=True
            ) from lost

    async def _settled(self, commits: Sequence[Commit], backend: Backend, lost: BaseException) -> dict[str, _Fate]:
        while True:
            try:
                async with self._database.connection() as lent:
                    while await lent.fetch(schema.END_BACKEND, *backend):  # noqa: ASYNC110 - the server tells nobody
                        await asyncio.sleep(SETTLE_EVERY_S)
                    rows = [
                        await lent.fetchrow(schema.IS_IN, one.session_id, one.last.seq, one.last.line)
                        for one in commits
                    ]
            except (StoreFailed, asyncpg.PostgresError, *LOST):
                await asyncio.sleep(SETTLE_EVERY_S)
                continue
            fates: dict[str, _Fate] = {}
            for commit, row in zip(commits, rows, strict=True):
                if row is None and commit.expected is not None:
                    raise self._database.failure(
                        lost, f"session {commit.session_id} was deleted before the outcome was known", poisoned=True
                    )
                if row is not None and row["is_in"]:
                    fates[commit.session_id] = _Fate.IN
            if fates:  # it has committed: those that are not in conflicted, or were held
                return fates
            raise self._database.failure(lost, "the connection was lost, and nothing was written")


@contextmanager
def _warnings_of(lent: "asyncpg.pool.PoolConnectionProxy[Any]", warnings: list[str]) -> Iterator[None]:
    """Collect the server's warnings: one is that it no longer waits for a standby, though the commit is in here."""

    def hear(_: object, message: asyncpg.PostgresLogMessage) -> None:
        if message.severity_en == "WARNING":
            warnings.append(message.message)

    lent.add_log_listener(hear)
    try:
        yield
    finally:
        with suppress(asyncpg.InterfaceError):  # a connection that was lost is not in our hands any more
            lent.remove_log_listener(hear)


def _arguments(commits: Sequence[Commit]) -> tuple[list[Any], ...]:
    """Return the arrays of :data:`schema.APPEND_FREE`."""
    sessions, seqs, ends, lines = [], [], [], []
    for commit in commits:
        end = 0
        for record in commit.records:
            end += len(record.line) + 1
            sessions.append(commit.session_id)
            seqs.append(record.seq)
            ends.append(end)
            lines.append(record.line)
    return (
        [commit.session_id for commit in commits],
        [commit.expected and commit.expected.hash for commit in commits],
        [commit.last.seq for commit in commits],
        [commit.last.hash for commit in commits],
        [commit.bytes for commit in commits],
        sessions,
        seqs,
        ends,
        lines,
    )


__all__ = ["Commit", "Committer"]
