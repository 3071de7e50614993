"""Outlasting cancellation: a commit that has begun runs to its end, and the cancellation surfaces after it.

For stores. A store owes its caller the outcome of an append, whatever cancels the caller (see :mod:`sessionlog.store`).
:func:`run_to_end` is all that most stores need: it runs blocking calls on threads of the store's own. A store that
waits for something else sets an event at its end, and awaits that by :func:`outlast`.

Covers anyio's cancel scopes, on asyncio and trio, and asyncio's own ``task.cancel()`` and ``asyncio.timeout``, which
no anyio shield keeps out. The cancellation surfaces at the task's next checkpoint. A task that only makes calls which
outlast would never come to one, so each of them begins with :func:`surface`; :func:`run_to_end` does.
"""

import contextlib
import sys
import weakref
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Final, TypeVar

import anyio
import anyio.lowlevel

from .event_loop import Event, Loop, running_loop

_T = TypeVar("_T")

_CANCELLED: Final = float("-inf")
_told_late: "weakref.WeakSet[Any]" = weakref.WeakSet()
"""The tasks that have outlasted a cancellation, and have not come to a checkpoint of ours since."""


async def run_to_end(executor: Executor, call: Callable[[], _T]) -> _T:
    """Run a blocking call in ``executor``; return what it returns, or raise what it raises.

    If the task is cancelled before the call has begun, the call never begins and the cancellation is raised. After
    that, the call is waited for to its end, so that its outcome is known, and the cancellation surfaces at the task's
    next checkpoint. Runs on asyncio and on trio.

    Args:
        executor: Where the call runs. With one thread, ``ThreadPoolExecutor(1)``, calls run in the order in which they
            were made, one at a time: what a connection to a database needs. Whoever made it shuts it down.
        call: A function without arguments.
    """
    await surface()
    loop = running_loop()
    ended = loop.new_event()
    future = executor.submit(call)
    future.add_done_callback(lambda _: _post(loop, ended.set))
    try:
        await ended.wait()
    except BaseException as cancellation:
        if future.cancel():
            raise
        await outlast_cancelled(ended, cancellation)
    return future.result()


def is_due() -> bool:
    """Tell whether this task has outlasted a cancellation, so that a checkpoint is due; say so once."""
    if not _told_late:
        return False
    task = _current_task()
    due = task in _told_late
    _told_late.discard(task)
    return due


async def surface() -> None:
    """Raise the cancellation of this task, if it is cancelled; call it before anything begins that will outlast one."""
    if is_due():
        await anyio.lowlevel.checkpoint()
    await anyio.lowlevel.checkpoint_if_cancelled()


async def outlast(event: Event) -> None:
    """Wait for ``event``, and put a cancellation off to the task's next checkpoint.

    Args:
        event: Whoever sets it must do so on the event loop, and in any case: nothing else ends the waiting.
    """
    postponed: BaseException | None = None
    while not event.is_set():
        try:
            with anyio.CancelScope(shield=True):
                await event.wait()
        except anyio.get_cancelled_exc_class() as cancellation:
            postponed = cancellation
    if postponed is not None:
        _postpone(postponed)


async def outlast_cancelled(event: Event, cancellation: BaseException) -> None:
    """Wait for ``event`` as :func:`outlast`, after ``cancellation`` was caught: it surfaces later as well.

    For stores that take back what has not begun when a cancellation arrives, and outlast it otherwise.

    Args:
        event: As for :func:`outlast`.
        cancellation: What ended an ordinary wait. Any exception that is no cancellation is raised again, after the
            wait.
    """
    await outlast(event)
    if not isinstance(cancellation, anyio.get_cancelled_exc_class()):
        raise cancellation
    _postpone(cancellation)


def _postpone(cancellation: BaseException) -> None:
    """Have a cancellation that was caught surface at the task's next checkpoint.

    A cancelled anyio scope sees to that itself. ``task.cancel()`` of asyncio is said only once, so it is said again,
    its count left as it was for ``asyncio.timeout`` and task groups to read; but not before the loop's next turn, and
    only if it still stands then: a timeout whose block ended meanwhile has taken it back, and nobody else asked for it.
    """
    task = _current_task()
    if task is None:  # no task, nobody to tell
        return
    _told_late.add(task)
    if anyio.current_effective_deadline() == _CANCELLED:
        return
    import asyncio  # noqa: PLC0415 - only there does an exception reach this line

    requests = task.cancelling()

    def say_again() -> None:
        if task.cancelling() >= requests:
            task.uncancel()
            task.cancel(*cancellation.args)

    asyncio.get_running_loop().call_soon(say_again)


def _current_task() -> Any:
    """Return the task that runs, of whichever library."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        return trio.lowlevel.current_task()
    return sys.modules["asyncio"].current_task()


def _post(loop: Loop, call: Callable[[], None]) -> None:
    """Have ``call`` called on ``loop``, unless that has ended, and with it every task that waited."""
    with contextlib.suppress(RuntimeError):
        loop.post(call)


__all__ = ["Event", "outlast", "outlast_cancelled", "run_to_end", "surface"]
