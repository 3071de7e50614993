"""The portal: one event loop on a thread of its own, which runs what any other thread asks for.

There is one for each process, started by the first call and kept. It is a daemon thread, so it never holds up the end
of the process. A child that was forked has none of its parent's threads: it starts a portal of its own.

Whoever waits for a call can be interrupted, as by Ctrl-C. The call is cancelled then, and its end is awaited before the
interruption goes on: a commit that has begun is in by then, and anything else has not happened.
"""

import asyncio
import contextlib
import contextvars
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, ParamSpec, TypeVar

import anyio

from ..errors import WrongEventLoop
from ..event_loop import running_loop

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

    async def arun(
        self, function: Callable[P, Coroutine[Any, Any, ResultT]], /, *args: P.args, **kwargs: P.kwargs
    ) -> ResultT:
        """Run ``function`` as :meth:`run` does, for code on another event loop, of asyncio or trio; or on this one.

        Cancelled, it cancels the function and waits for its end first.
        """
        if self.is_this_thread:
            return await function(*args, **kwargs)
        caller = running_loop()
        ended = caller.new_event()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the caller's loop has ended meanwhile
                caller.post(ended.set)

        call = _Call(lambda: function(*args, **kwargs), tell)
        self._loop.call_soon_threadsafe(call.start, context=self._context)
        try:
            await ended.wait()
        except BaseException:
            self._loop.call_soon_threadsafe(call.cancel)
            while not ended.is_set():
                with anyio.CancelScope(shield=True), contextlib.suppress(anyio.get_cancelled_exc_class()):
                    await ended.wait()
            raise
        return call.outcome()


class _Call(Generic[ResultT]):
    """One call: made by the loop's thread, awaited by another."""

    def __init__(
        self, make: Callable[[], Coroutine[Any, Any, ResultT]], tell: Callable[[], None] | None = None
    ) -> None:
        self.done = threading.Lock()
        """Taken until the call has ended. Giving it never blocks the loop, whatever became of who waits."""
        self.done.acquire()
        self._make = make
        self._tell = tell
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
                loop.call_soon_threadsafe(self.cancel)
                self.done.acquire()
            except BaseException:  # noqa: BLE001, S112 - the first interruption is raised, behind the end
                continue

    def outcome(self) -> ResultT:
        """Return the result or raise the error."""
        return self._task.result()

    async def _run(self) -> ResultT:
        return await self._make()

    def cancel(self) -> None:
        """Cancel, on the loop; also where the interruption kept the call from being handed over."""
        if self._started:
            self._task.cancel()
        elif not self._ended:
            self._end(None)

    def _end(self, _: object) -> None:
        self._ended = True
        self.done.release()
        if self._tell is not None:
            self._tell()


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


async def arun(function: Callable[P, Coroutine[Any, Any, ResultT]], /, *args: P.args, **kwargs: P.kwargs) -> ResultT:
    """Run an async function on the event loop of :func:`run`, for code that runs on another one, of asyncio or trio.

    Cancelled, it cancels the function and waits for its end first: a commit that has begun is in by then.
    """
    return await portal().arun(function, *args, **kwargs)


def _forget() -> None:
    """Let a forked child begin without the parent's portal; nobody there holds the lock."""
    global _portal, _starting
    _portal, _starting = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
