"""Importing many files: one after the other, or several at the same time, each in a worker process.

The store ends up the same, and what became of each file is told in the order of the files, whatever the number of
processes. Files that have to be imported one after the other are (:mod:`.grouping`). Should two processes write to one
session all the same, the store lets one of them win (:class:`HeadConflict`); the other's file is put off until all the
others are done, and imported here.

A worker that dies fails the file that it was at (:class:`ImportFailed`); the others go on in a new one. What the store
raises, and cancellation, ends all workers between two commits. Each worker holds what the import of one file holds.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import anyio
import anyio.to_thread

from ..audit.chunks import Directory, directory_of
from ..errors import HeadConflict, SessionExists, SessionLocked, WorkerDied
from ..store import Store
from ..workers import Tell, Workers, ignore, together
from .deleted import Deleted
from .grouping import UNKNOWN, groups_of, keys_of
from .paths import find_transcripts
from .protocol import Format
from .report import ImportFailed, ImportReport, ImportSummary

PROCESS_BYTES: Final = 4 * 1024 * 1024
"""There is one process for each so many bytes, at most: starting one takes as long as importing some of them."""
FILE_BYTES: Final = 32 * 1024
"""A file costs as much as so many bytes, beside those that it has."""
BATCH_BYTES: Final = 4 * 1024 * 1024
"""A process is given so many bytes of small files at a time."""
SHARES: Final = 4
"""The work is parted so that each process gets so many batches, at least."""
LOOKED_AT_FILES: Final = 500
"""A process is given the beginnings of so many files at a time to look at."""

_Outcome: TypeAlias = ImportReport | ImportFailed


class ImportOne(Protocol):
    """Imports one file; a function of a module, or a :class:`functools.partial` of one, for other processes to find."""

    def __call__(
        self, store: Store, path: Path, *, progress: Callable[[int], None] | None, deleted: Deleted
    ) -> Awaitable[ImportReport]:
        """Return the report, or raise :class:`ImportFailed`, or what the store raises."""
        ...


async def import_each(
    store: Store,
    files: Sequence[Path],
    import_one: ImportOne,
    *,
    formats: Sequence[Format],
    on_file: Callable[[ImportReport | ImportFailed], Awaitable[None]],
    again: bool = False,
    jobs: int = 1,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Import ``files``, and await ``on_file`` for each, in their order.

    Args:
        store: Where to. Only a :class:`FileStore` can be written to by other processes.
        files: As :func:`find_transcripts` returns them: a conversation before its sub-agents.
        import_one: Imports a file.
        formats: Those that a file may be of; if there is only one, all are.
        on_file: Told of each file; what it raises stops the import.
        again: Bring back what was deleted from the store.
        jobs: Up to so many processes work at the same time, if there is enough to do for them.
        progress: Told how many bytes more are done.

    Raises what ``import_one`` raises but for :class:`ImportFailed`, and :class:`WorkerDied` if no process can be
    started.
    """
    directory = directory_of(store) if jobs > 1 else None
    if directory is not None:
        sizes = await anyio.to_thread.run_sync(_sizes, files)
        count = process_count(sizes, jobs)
        if count > 1:
            apart = _Apart(store, directory, files, sizes, import_one, again=again, progress=progress)
            await apart.run(count, formats, on_file)
            return
    deleted = Deleted(store, again=again)
    for path in files:
        await on_file(await _outcome(import_one, store, path, progress, deleted))


async def import_below(
    store: Store,
    paths: Iterable[Path],
    import_one: ImportOne,
    *,
    formats: Sequence[Format],
    on_file: Callable[[_Outcome], None] | None,
    again: bool,
    jobs: int,
    progress: Callable[[int], None] | None,
) -> ImportSummary:
    """Import what :func:`find_transcripts` finds at ``paths``; the others are those of :func:`import_each`."""
    summary = ImportSummary([], [])

    async def take(outcome: _Outcome) -> None:
        if isinstance(outcome, ImportFailed):
            summary.failures.append(outcome)
        else:
            summary.reports.append(outcome)
        if on_file is not None:
            on_file(outcome)

    files = await find_transcripts(paths)
    await import_each(
        store, files, import_one, formats=formats, on_file=take, again=again, jobs=jobs, progress=progress
    )
    return summary


def process_count(sizes: Sequence[int], jobs: int) -> int:
    """Return how many processes are worth starting for files of ``sizes`` bytes; for less than two, none is."""
    return min(jobs, len(sizes), sum(sizes, FILE_BYTES * len(sizes)) // PROCESS_BYTES)


def batches_of(groups: Sequence[Sequence[int]], sizes: Sequence[int], count: int) -> list[list[int]]:
    """Return ``groups`` of files in their order, small ones joined; first those that ``count`` processes may wait for.

    Args:
        groups: Positions in ``sizes``; those of a group stay together, in their order.
        sizes: Of all files, in bytes.
        count: How many processes there are.
    """
    costs = [sum(sizes[at] + FILE_BYTES for at in group) for group in groups]
    share = sum(costs) // (SHARES * count)
    large_first = sorted(range(len(groups)), key=lambda at: -costs[at] if costs[at] > share else 0)
    batches: list[list[int]] = []
    room = 0
    for at in large_first:
        if not batches or costs[at] > room:
            batches.append([])
            room = min(BATCH_BYTES, share)
        batches[-1] += groups[at]
        room -= costs[at]
    return batches


class _Apart:
    """Many files, imported in worker processes."""

    def __init__(
        self,
        store: Store,
        directory: Directory,
        files: Sequence[Path],
        sizes: Sequence[int],
        import_one: ImportOne,
        *,
        again: bool,
        progress: Callable[[int], None] | None,
    ) -> None:
        self._store = store
        self._directory = directory
        self._files = files
        self._sizes = sizes
        self._import_one = import_one
        self._again = again
        self._progress = progress
        self._queue: deque[list[int]] = deque()
        self._working = 0
        self._outcomes: dict[int, _Outcome | None] = {}
        """What became of the files that were not told yet; ``None``: put off."""
        self._news = anyio.Event()

    async def run(self, count: int, formats: Sequence[Format], on_file: Callable[[_Outcome], Awaitable[None]]) -> None:
        async with Workers(count) as workers:
            groups = groups_of(await self._keys(workers, formats))
            self._queue.extend(batches_of(groups, self._sizes, count))
            self._working = count
            async with together() as tasks:
                for _ in range(count):
                    tasks.start_soon(self._work, workers)
                for at in range(len(self._files)):
                    await on_file(await self._next(at))

    async def _keys(self, workers: Workers, formats: Sequence[Format]) -> list[frozenset[str]]:
        """Return the keys of all files; of those that a worker died of, :data:`UNKNOWN`."""
        keys = [UNKNOWN] * len(self._files)

        async def look(start: int) -> None:
            paths = [str(path) for path in self._files[start : start + LOOKED_AT_FILES]]
            with suppress(WorkerDied):
                keys[start : start + len(paths)] = await workers.run(_keys_of_each, ignore, paths, formats)

        async with together() as tasks:
            for start in range(0, len(self._files), LOOKED_AT_FILES):
                tasks.start_soon(look, start)
        return keys

    async def _work(self, workers: Workers) -> None:
        """Give batches to a worker until there is none left."""
        while self._queue:
            batch = deque(self._queue.popleft())
            paths = [self._files[at] for at in batch]
            try:
                await workers.run(
                    _import_all, partial(self._take, batch), self._directory, paths, self._import_one, self._again
                )
            except WorkerDied as error:
                if not error.started:
                    raise
                self._blame(batch, error)
        self._working -= 1
        self._wake()

    def _take(self, batch: deque[int], told: int | _Outcome | None) -> None:
        """Take in what a worker tells: bytes that are done, or what became of the next file of its batch."""
        if not isinstance(told, int):
            self._outcomes[batch.popleft()] = told
            self._wake()
        elif self._progress is not None:
            self._progress(told)

    def _blame(self, batch: deque[int], error: WorkerDied) -> None:
        """Fail the file that a worker died at; the rest of its batch is imported by another one."""
        if batch:
            path = self._files[batch[0]]
            self._take(
                batch, ImportFailed(path, f"the process that imported it died ({error.reason}): import it again")
            )
        if batch:
            self._queue.appendleft(list(batch))

    async def _next(self, at: int) -> _Outcome:
        """Return what became of a file, once that is known."""
        while True:
            outcome = self._outcomes.get(at)
            if outcome is not None:
                del self._outcomes[at]
                return outcome
            if at in self._outcomes and not self._working:
                deleted = Deleted(self._store, again=self._again)
                return await _outcome(self._import_one, self._store, self._files[at], None, deleted)
            await self._news.wait()

    def _wake(self) -> None:
        self._news.set()
        self._news = anyio.Event()


async def _outcome(
    import_one: ImportOne, store: Store, path: Path, progress: Callable[[int], None] | None, deleted: Deleted
) -> _Outcome:
    try:
        return await import_one(store, path, progress=progress, deleted=deleted)
    except ImportFailed as error:
        return error


def _sizes(paths: Sequence[Path]) -> list[int]:
    """Return how many bytes the files have; what is not there has none: the import will tell."""
    return [_size(path) for path in paths]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0


# In a worker:


async def _keys_of_each(_tell: Tell, paths: Sequence[str], formats: Sequence[Format]) -> list[frozenset[str]]:
    return [await keys_of(path, formats) for path in paths]


async def _import_all(
    tell: Tell, directory: Directory, paths: Sequence[Path], import_one: ImportOne, again: bool
) -> None:
    """Import one file after the other; tell the bytes that are done, and what became of each: ``None`` is put off."""
    async with directory.open() as store:
        deleted = Deleted(store, again=again)
        for path in paths:
            try:
                tell(await _outcome(import_one, store, path, tell, deleted))
            except (HeadConflict, SessionExists, SessionLocked):
                tell(None)
