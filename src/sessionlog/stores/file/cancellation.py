"""Outlasting cancellation: what has begun is waited for to its end, and the cancellation surfaces behind it.

For anyio's scopes and for asyncio's own ``task.cancel()`` alike. A task that does nothing but what outlasts would
never come to a checkpoint: so whoever begins that asks :func:`is_due` first, and makes one.
"""

import sys
import weakref
from typing import Any, Final

import anyio
import anyio.lowlevel

from .worker import Event

_CANCELLED: Final = float("-inf")
_told_late: "weakref.WeakSet[Any]" = weakref.WeakSet()
"""The tasks that have outlasted a cancellation, and have not come to a checkpoint of ours since."""


def is_due() -> bool:
    """Tell whether this task has outlasted a cancellation, so that a checkpoint is due; say so once."""
    if not _told_late:
        return False
    task = _current_task()
    due = task in _told_late
    _told_late.discard(task)
    return due


async def surface() -> None:
    """Raise the cancellation of this task, if it is cancelled."""
    if is_due():
        await anyio.lowlevel.checkpoint()
    await anyio.lowlevel.checkpoint_if_cancelled()


async def outlast_cancelled(event: Event, cancellation: BaseException) -> None:
    """Wait for ``event`` in spite of ``cancellation``, and have that surface later; what is none is raised then."""
    await outlast(event)
    if not isinstance(cancellation, anyio.get_cancelled_exc_class()):
        raise cancellation
    _postpone(cancellation)


async def outlast(event: Event) -> None:
    """Wait for ``event``, putting cancellations off to the next checkpoint behind it."""
    postponed: BaseException | None = None
    while not event.is_set():
        try:
            with anyio.CancelScope(shield=True):
                await event.wait()
        except anyio.get_cancelled_exc_class() as cancellation:
            postponed = cancellation
    if postponed is not None:
        _postpone(postponed)


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
