"""Checking many sessions: chunks of them, each in one hop, in as many processes as are wanted.

A chunk is checked by an event loop of its own, which waits for each read: for small logs, the way to a thread and back
takes longer than all the rest. Results come in the order of the chunks. Whoever cancels ends the processes.
"""

import functools
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Final, NamedTuple, TypeVar

import anyio
import anyio.to_thread

from ..store import Store
from ..stores.file import Durability, FileStore
from ..stores.file.system import InlineSystem
from ..workers import Tell, Workers, ignore, together

C = TypeVar("C")
T = TypeVar("T")

CHUNK_SESSIONS: Final = 200
"""About so many sessions are checked in one hop."""
WORTH_PROCESSES_S: Final = 0.7
"""If the rest would take no longer than this in one process, no others are started."""
_WINDOW: Final = 8
"""So many chunks for each process are under way at a time; their results are held until all of them are there."""


class Directory(NamedTuple):
    """A file store, for another thread or process to open."""

    root: str
    durability: Durability
    line_bytes_max: int

    def open(self) -> FileStore:
        """Return a store of its own, which reads and writes on the thread that it is used from."""
        return FileStore(self.root, self.durability, line_bytes_max=self.line_bytes_max, system=InlineSystem())


def directory_of(store: Store) -> Directory | None:
    """Return what another process needs to open ``store``; ``None`` where only this one can."""
    if isinstance(store, FileStore) and store.can_be_reopened:
        return Directory(str(store.root), store.durability, store.line_bytes_max)
    return None


async def in_chunks(
    check: Callable[[Store, C], Awaitable[T]],
    directory: Directory,
    chunks: Sequence[C],
    *,
    jobs: int,
) -> AsyncGenerator[T, None]:
    """Yield what ``check`` returns for each chunk of sessions, in their order, from up to ``jobs`` processes.

    ``check`` is a function of a module, so that another process finds it, and so are the types that it takes and
    returns. With one job it runs in a thread; so does the first chunk, and all of them if the rest would take no longer
    than starting processes does. Raises what it raises, and :class:`WorkerDied`.
    """
    window, apart, start, spent_s = 1, False, 0, 0.0
    async with Workers(max(1, jobs), grace_s=0) as workers:
        while start < len(chunks):
            results: dict[int, T] = {}

            async def run(at: int, chunk: C, apart: bool) -> None:
                if apart:
                    results[at] = await workers.run(_check_apart, ignore, check, directory, chunk)  # noqa: B023
                else:
                    call = functools.partial(anyio.run, _check_apart, ignore, check, directory, chunk)
                    results[at] = await anyio.to_thread.run_sync(call)  # noqa: B023

            began = time.monotonic()
            async with together() as tasks:
                for at, chunk in enumerate(chunks[start : start + window]):
                    tasks.start_soon(run, at, chunk, apart)
            spent_s += time.monotonic() - began
            start += window
            if jobs > 1 and not apart and spent_s / start * (len(chunks) - start) > WORTH_PROCESSES_S:
                window, apart = _WINDOW * jobs, True
            for at in sorted(results):
                yield results[at]


async def _check_apart(_tell: Tell, check: Callable[[Store, C], Awaitable[T]], directory: Directory, chunk: C) -> T:
    async with directory.open() as store:
        return await check(store, chunk)
