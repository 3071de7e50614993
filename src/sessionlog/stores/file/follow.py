"""Waiting for a log to grow, whoever writes it.

With inotify (extra ``follow``, Linux) the kernel wakes the waiter; what it misses, as on network file systems, a
slow look at the size finds. Without it, appends of the same store wake at once and those of others are found by a
look at the size every 50 ms: one system call, no descriptor.
"""

import contextlib
import functools
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import anyio
import anyio.to_thread

from .stamps import is_settled, stamp
from .system import System

if TYPE_CHECKING:
    from inotify_simple import INotify

POLL_S: Final = 0.05
POLL_WITH_INOTIFY_S: Final = 1.0
_GONE_MASK: Final = 0x4 | 0x800 | 0x400
"""IN_ATTRIB, which the end of a name is too, IN_MOVE_SELF, IN_DELETE_SELF of inotify(7)."""
_MASK: Final = 0x2 | _GONE_MASK
"""IN_MODIFY too."""


class Look(NamedTuple):
    """What can be told of a file without opening it."""

    stamp: str
    settled: bool


GONE: Final = Look("", settled=True)


class Growth:
    """Lets one reader wait until one file is not what it was. Use it as an async context manager."""

    def __init__(self, system: System, path: str, appended: "Appended") -> None:
        """Watch ``path``; ``appended`` tells of appends by the same store."""
        self._system = system
        self._path = path
        self._appended = appended
        self._inotify: INotify | None = None

    async def __aenter__(self) -> Self:
        """Begin to watch; before the first look at the size, so that nothing falls in between."""
        if self._appended.use_inotify:
            await anyio.to_thread.run_sync(_prime)
            self._inotify = _watch(self._path)  # here, so that a cancellation cannot lose it on its way from a thread
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop watching."""
        if self._inotify is not None:
            self._inotify.close()

    def look(self) -> Look:
        """Return what can be told of the file without opening it."""
        try:
            status = self._system.lstat(self._path)
        except OSError:
            return GONE
        return Look(stamp(status), is_settled(status))

    async def wait(self, seen: Look) -> None:
        """Return once the file may be another than at ``seen``, or the store is closed.

        While it is unsettled, that is after each pause: another file of the same size could look the same.
        """
        while self.look().stamp == seen.stamp and not self._appended.closed:
            if self._inotify is None:
                with anyio.move_on_after(POLL_S) as pause:
                    await self._appended.wait(self._path)
                if pause.cancelled_caught and not seen.settled:
                    return
                continue
            with anyio.move_on_after(POLL_WITH_INOTIFY_S) as pause, self._appended.ending(pause):
                await anyio.wait_readable(self._inotify)
            gone = any(event.mask & _GONE_MASK for event in self._inotify.read(timeout=0))
            if gone or (pause.cancelled_caught and not seen.settled):
                return


class Appended:
    """Wakes whoever waits in this process for an append to a path."""

    def __init__(self) -> None:
        """Nobody waits."""
        self.closed: bool = False
        self.use_inotify: bool = sys.platform == "linux"
        self._events: dict[str, tuple[anyio.Event, int]] = {}
        self._ended_by_close: set[anyio.CancelScope] = set()

    @property
    def awaited(self) -> bool:
        """Whether anybody waits."""
        return bool(self._events)

    async def wait(self, path: str) -> None:
        """Return at the next :meth:`tell` of ``path``."""
        event, waiting = self._events.get(path) or (anyio.Event(), 0)
        self._events[path] = event, waiting + 1
        try:
            await event.wait()
        finally:
            current = self._events.get(path)
            if current is not None and current[0] is event:
                if current[1] == 1:
                    del self._events[path]
                else:
                    self._events[path] = event, current[1] - 1

    @contextlib.contextmanager
    def ending(self, scope: anyio.CancelScope) -> Iterator[None]:
        """Have :meth:`close` end ``scope``, in which something waits that this cannot wake."""
        self._ended_by_close.add(scope)
        try:
            yield
        finally:
            self._ended_by_close.discard(scope)

    def close(self) -> None:
        """Wake everybody, for there will be no more."""
        self.closed = True
        for path in list(self._events):
            self.tell(path)
        for scope in self._ended_by_close:
            scope.cancel()

    def tell(self, path: str) -> None:
        """Wake all who wait for ``path``."""
        if self._events and (waited := self._events.pop(path, None)):
            waited[0].set()


@functools.cache
def _prime() -> None:
    """Load the library and have it look for libc, which takes tens of milliseconds, off the event loop, once."""
    with contextlib.suppress(ImportError, OSError):
        from inotify_simple import INotify  # noqa: PLC0415 - only followers need it, and only if it is installed

        INotify().close()


def _watch(path: str) -> "INotify | None":
    """Return an inotify instance on ``path``; ``None`` without the extra, or where the system has no more of them."""
    try:
        from inotify_simple import INotify  # noqa: PLC0415 - see above
    except ImportError:
        return None
    watched: INotify | None = None
    try:
        watched = INotify(nonblocking=True)
        watched.add_watch(path, _MASK)
    except OSError:
        if watched is not None:
            watched.close()
        return None
    return watched
