"""Bringing a catalog up to date: what changed is read in batches, and each batch is written as one transaction.

Where there is more than one batch, processes read at the same time. Each has one batch under way, so what is held in
memory is bounded by their number, whatever the store holds.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

import msgspec

from ..store import Store
from ..workers import Workers, together
from . import tables
from .database import Call, Database
from .hops import Hops
from .origins import find_origins
from .reading import Batch, News, Task, read_batch

Progress: TypeAlias = Callable[[int, int], object]

CHUNK_SESSIONS: Final = 200
"""So many sessions are read in one hop, if they are small."""


class Refreshed(msgspec.Struct, frozen=True):
    """What a refresh did.

    ``read`` sessions were read and ``gone`` ones dropped. ``faults`` says, by session, why it could not be read to its
    end, of those that were read. ``rebuilt`` says why the file was made anew, if it was.
    """

    read: int
    gone: int
    faults: Mapping[str, str]
    rebuilt: str | None = None


async def refresh(store: Store, call: Call, hops: Hops, *, jobs: int, progress: Progress | None) -> Refreshed:
    """Take in what changed. Raises :class:`StoreFailed` if the store cannot be listed, and what ``call`` raises."""
    stamps = {str(one): stamp for one, stamp in (await store.stamps()).items()}
    known = await call(lambda database: tables.stamps(database.connection))
    gone = known.keys() - stamps.keys()
    if gone:
        await call(partial(_drop, gone=gone))
    changed = [one for one, stamp in stamps.items() if known.get(one) != stamp]
    faults: Mapping[str, str] = {}
    if changed:
        refresher = _Refresher(call, hops, stamps, changed, progress)
        await refresher.run(jobs)
        if len(changed) > len(stamps) // 2:
            await call(_merge)
        faults = refresher.faults
    await find_origins(call, hops.run)
    return Refreshed(len(changed), len(gone), faults)


class _Refresher:
    def __init__(
        self, call: Call, hops: Hops, stamps: Mapping[str, str], changed: Sequence[str], progress: Progress | None
    ) -> None:
        self.faults: dict[str, str] = {}
        self._call = call
        self._hops = hops
        self._stamps = stamps
        self._left = deque(changed)
        self._count = len(changed)
        self._done = 0
        self._progress = progress

    async def run(self, jobs: int) -> None:
        """Read the first batch here, since there is mostly no other, and the rest with all ``jobs``."""
        self._tell_progress()
        await self._read_some(self._hops.run)
        if jobs > 1 and self._hops.can_fan_out and len(self._left) > 1:
            async with Workers(jobs, grace_s=0) as workers, together() as tasks:
                for _ in range(jobs):
                    tasks.start_soon(self._read_all, partial(self._hops.run_apart, workers))
        else:
            await self._read_all(self._hops.run)

    async def _read_all(self, run: Callable[..., Awaitable[Batch]]) -> None:
        while self._left:
            await self._read_some(run)

    async def _read_some(self, run: Callable[..., Awaitable[Batch]]) -> None:
        """Read a batch; what is left of the sessions that it was asked for goes back to the others."""
        ids = [self._left.popleft() for _ in range(min(CHUNK_SESSIONS, len(self._left)))]
        tasks = await self._call(partial(_tasks, session_ids=ids, stamps=self._stamps))
        batch = await run(read_batch, tasks)
        await self._call(partial(_write, news=batch.news))
        for one in batch.news:
            if one.row.fault is not None:
                self.faults[one.row.session_id] = one.row.fault
        self._left.extendleft(reversed(ids[batch.done :]))
        self._done += batch.done
        self._tell_progress()

    def _tell_progress(self) -> None:
        if self._progress is not None:
            self._progress(self._done, self._count)


def _tasks(database: Database, session_ids: Sequence[str], stamps: Mapping[str, str]) -> list[Task]:
    return tables.tasks(database.connection, session_ids, stamps)


def _write(database: Database, news: Sequence[News]) -> None:
    if news:
        with database.transaction() as connection:
            tables.write(connection, news)


def _drop(database: Database, gone: Any) -> None:
    with database.transaction() as connection:
        tables.drop(connection, gone)


def _merge(database: Database) -> None:
    with database.transaction() as connection:
        tables.merge(connection)
    database.shrink()
