"""Where reading is done: in one hop to a thread for many sessions, in other processes, or on the store itself.

For small logs, the way to a thread and back takes longer than all the rest. A file store is opened anew on the other
side, by an event loop that waits for each read; any other store is read by the loop that it belongs to.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

import anyio
import anyio.to_thread

from ..audit.chunks import Directory, directory_of
from ..store import Store
from ..workers import Tell, Workers, ignore

P = ParamSpec("P")
T = TypeVar("T")
Work = Callable[Concatenate[Store, P], Awaitable[T]]


class Hops:
    """Runs work on one store."""

    def __init__(self, store: Store) -> None:
        """Read ``store``."""
        self._store = store
        self._directory = directory_of(store)

    @property
    def can_fan_out(self) -> bool:
        """Whether other processes can read the store."""
        return self._directory is not None

    async def run(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``work`` returns for the store and ``args``; in a thread, if the store can be opened there."""
        if self._directory is None:
            return await work(self._store, *args, **kwargs)
        call = partial(anyio.run, _run_apart, ignore, self._directory, partial(work, **kwargs), args)
        return await anyio.to_thread.run_sync(call)

    async def run_apart(self, workers: Workers, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the same from another process; ``work`` is a function of a module.

        Only if :attr:`can_fan_out`. Raises :class:`WorkerDied`.
        """
        assert self._directory is not None  # noqa: S101
        return await workers.run(_run_apart, ignore, self._directory, partial(work, **kwargs), args)


async def _run_apart(
    _tell: Tell, directory: Directory, work: Callable[..., Awaitable[T]], args: tuple[object, ...]
) -> T:
    async with directory.open() as store:
        return await work(store, *args)
