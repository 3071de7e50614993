"""Iterating over an async generator from another thread: it runs ahead on the portal, by a bounded amount.

One hand-over for many items: what lies ready is taken together, and nothing is waited for while something does.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing
from typing import Any, Final, Generic, TypeVar

from ..record import HashedEntry
from .portal import Portal, portal

ItemT = TypeVar("ItemT")

AHEAD_ITEMS_MAX: Final = 256
AHEAD_BYTES_MAX: Final = 1024 * 1024
"""So much is taken ahead of the iteration, and one item more."""


def stream(make: Callable[[], AsyncGenerator[ItemT, None]]) -> Generator[ItemT, None, None]:
    """Yield what the async generator of ``make`` yields. Nothing is done before the first item is asked for.

    Whoever stops early closes it (``contextlib.closing``), or drops it.
    """
    through = portal()
    ahead = _Ahead(make)
    try:
        while items := through.run(ahead.take):
            yield from items
    finally:
        ahead.close(through)


class _Ahead(Generic[ItemT]):
    """What an async generator has yielded and nobody has taken; on the loop, but for :meth:`close`."""

    def __init__(self, make: Callable[[], AsyncGenerator[ItemT, None]]) -> None:
        self._make = make
        self._items: list[ItemT] = []
        self._size = 0
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._taken = asyncio.Event()

    async def take(self) -> list[ItemT]:
        """Return what lies ready, waiting for one item; none at the end. Raises what the generator raises."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
            self._task.add_done_callback(lambda _: self._changed.set())
        while not self._items and not self._task.done():
            self._changed.clear()
            await self._changed.wait()
        if not self._items:
            self._task.result()
        items, self._items, self._size = self._items, [], 0
        self._taken.set()
        return items

    def close(self, through: Portal) -> None:
        """Stop, from any thread, and wait for the end of it where waiting is possible."""
        if not through.is_running:
            return
        if not through.is_this_thread:
            through.run(self._stop)
        elif self._task is not None:  # the garbage collector runs wherever it likes
            self._task.cancel()

    async def _run(self) -> None:
        async with aclosing(self._make()) as items:
            async for item in items:
                self._items.append(item)
                self._size += _size(item)
                self._changed.set()
                while len(self._items) >= AHEAD_ITEMS_MAX or self._size >= AHEAD_BYTES_MAX:
                    self._taken.clear()
                    await self._taken.wait()

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


def _size(item: Any) -> int:
    if isinstance(item, HashedEntry):
        return len(item.line)
    return len(item) if isinstance(item, bytes) else 0
