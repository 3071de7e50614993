"""The portal: one event loop on a thread of its own, which runs what any other thread asks for.

There is one for each process, started by the first call and kept. It is a daemon thread, so it never holds up the end
of the process. A child that was forked has none of its parent's threads: it starts a portal of its own.

Whoever waits for a call can be interrupted, as by Ctrl-C. The call is cancelled then, and its end is awaited before the
interruption goes on: a commit that has begun is in by then, and anything else has not happened.
"""

import asyncio
import contextvars
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, ParamSpec, TypeVar

from ..errors import WrongEventLoop

P = ParamSpec("P")
ResultT = TypeVar("ResultT")

_ON_ITS_OWN_THREAD: Final = (
    "a blocking call was made on the thread that runs all blocking calls, such as from a 'decide' or 'apply' function: "
    "it would wait for itself for ever; nothing was read or written: make it from another thread"
)


class Portal:
    """An event loop on a thread of its own."""

    def __init__(self) -> None:
        """Start the thread."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sessionlog portal", daemon=True)
        self._pid = os.getpid()
        self._context = contextvars.Context()
        """Empty: that of a caller may say that it is trio which runs there."""
        self._thread.start()

    @property
    def is_this_thread(self) -> bool:
        """Whether the portal's own thread asks."""
        return threading.get_ident() == self._thread.ident

    @property
    def is_running(self) -> bool:
        """Whether calls are answered: not in a forked child, nor while the interpreter shuts down."""
        return os.getpid() == self._pid and not sys.is_finalizing()

    def run(self, function: Callable[P, Coroutine[Any, Any, ResultT]], /, *args: P.args, **kwargs: P.kwargs) -> ResultT:
        """Run ``function`` on the loop; return its result or raise its error.

        Raises :class:`WrongEventLoop` on the portal's own thread.
        """
        if self.is_this_thread:
            raise WrongEventLoop(_ON_ITS_OWN_THREAD)
        call = _Call(lambda: function(*args, **kwargs))
        try:
            self._loop.call_soon_threadsafe(call.start, context=self._context)
            call.done.acquire()
        except BaseException:  # a signal's handler raised, as that of Ctrl-C does
            call.end(self._loop)
            raise
        return call.outcome()


class _Call(Generic[ResultT]):
    """One call: made by the loop's thread, awaited by another."""

    def __init__(self, make: Callable[[], Coroutine[Any, Any, ResultT]]) -> None:
        self.done = threading.Lock()
        """Taken until the call has ended. Giving it never blocks the loop, whatever became of who waits."""
        self.done.acquire()
        self._make = make
        self._task: asyncio.Task[ResultT]
        self._started = False
        self._ended = False

    def start(self) -> None:
        """Begin, on the loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(self._end)
        self._started = True

    def end(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cancel, and wait for the end, however often that is interrupted."""
        while not self._ended:
            try:
                loop.call_soon_threadsafe(self._cancel)
                self.done.acquire()
            except BaseException:  # noqa: BLE001, S112 - the first interruption is raised, behind the end
                continue

    def outcome(self) -> ResultT:
        """Return the result or raise the error."""
        return self._task.result()

    async def _run(self) -> ResultT:
        return await self._make()

    def _cancel(self) -> None:
        """Cancel, on the loop; also where the interruption kept the call from being handed over."""
        if self._started:
            self._task.cancel()
        elif not self._ended:
            self._end(None)

    def _end(self, _: object) -> None:
        self._ended = True
        self.done.release()


_portal: Portal | None = None
_starting = threading.Lock()


def portal() -> Portal:
    """Return this process's portal, started if it is not."""
    global _portal  # noqa: PLW0603 - one for each process
    if _portal is None:
        with _starting:
            if _portal is None:
                _portal = Portal()
    return _portal


def run(function: Callable[P, Coroutine[Any, Any, ResultT]], /, *args: P.args, **kwargs: P.kwargs) -> ResultT:
    """Run an async function on the event loop that all blocking calls run on; return its result or raise its error.

    For what has no blocking form of its own: ``run(search, store.asynchronous, …)``. May be called from any thread but
    that loop's, where it raises :class:`WrongEventLoop`. Interrupted, as by Ctrl-C, it cancels the function and waits
    for its end first.
    """
    return portal().run(function, *args, **kwargs)


def _forget() -> None:
    """Let a forked child begin without the parent's portal; nobody there holds the lock."""
    global _portal, _starting
    _portal, _starting = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
