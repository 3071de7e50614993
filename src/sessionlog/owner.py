"""Which event loop a store belongs to: the one that first used it, and with it that loop's thread.

A store's state is kept consistent by running on one event loop: two of them would both find the head as it was, and
both write. So each call asks first, :meth:`Owner.check`, before anything is read or written. When the owner has ended,
the next loop to ask becomes the owner: ``anyio.run`` may be called twice with the same store.

The check takes as long as asking asyncio or trio for the running loop does. A child process that was forked has no
running loop in their eyes, so it is not the owner either.
"""

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import anyio.lowlevel

from .errors import WrongEventLoop


class Owner:
    """The event loop that a store belongs to.

    Where even a method call counts, compare ``current()`` with ``loop``, and call :meth:`check` if they differ.
    """

    __slots__ = ("_claiming", "_thread", "current", "loop")

    def __init__(self) -> None:
        """Belong to nobody yet."""
        self.current: Callable[[], object] = object
        """Returns the running event loop, as the owner's library has it; something else where that runs none."""
        self.loop: Any = None
        self._thread = 0
        self._claiming = threading.Lock()

    def check(self) -> None:
        """Return if the running event loop is the owner or becomes it now; else raise :class:`WrongEventLoop`."""
        if self.current() is self.loop:
            return
        with self._claiming:
            if self.loop is not None and not self._has_ended():
                raise WrongEventLoop
            self.loop = anyio.lowlevel.current_token().native_token
            self._thread = threading.get_ident()
            self.current = _asker(self.loop)

    def _has_ended(self) -> bool:
        """Tell whether the owner runs no more: closed, or, on this very thread, stopped."""
        if _is_asyncio(self.loop):
            return self.loop.is_closed() or (self._thread == threading.get_ident() and not self.loop.is_running())
        try:
            self.loop.run_sync_soon(_do_nothing)
        except sys.modules["trio"].RunFinishedError:
            return True
        return False


def _is_asyncio(loop: Any) -> bool:
    return hasattr(loop, "call_soon_threadsafe")


def _asker(loop: Any) -> Callable[[], object]:
    """Return the cheapest function that returns ``loop`` where it runs, and nowhere else."""
    if _is_asyncio(loop):
        running: Callable[[], object] = sys.modules["asyncio"]._get_running_loop  # noqa: SLF001 - public by its __all__
        return running
    current_token, pid = sys.modules["trio"].lowlevel.current_trio_token, os.getpid()

    def running_or_none() -> object:
        if os.getpid() != pid:
            return None
        try:
            return current_token()
        except RuntimeError:  # no trio runs here
            return None

    return running_or_none


def _do_nothing() -> None:
    pass


__all__ = ["Owner"]
