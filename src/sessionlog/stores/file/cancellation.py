"""Outlasting cancellation: what has begun is waited for to its end, and the cancellation surfaces behind it.

For anyio's scopes and for asyncio's own ``task.cancel()`` alike.
"""

import anyio

from .worker import Event


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
    if anyio.current_effective_deadline() == float("-inf"):
        return
    import asyncio  # noqa: PLC0415 - only there does an exception reach this line

    task = asyncio.current_task()
    if task is None:
        return
    requests = task.cancelling()

    def say_again() -> None:
        if task.cancelling() >= requests:
            task.uncancel()
            task.cancel(*cancellation.args)

    asyncio.get_running_loop().call_soon(say_again)
