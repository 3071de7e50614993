"""Cancelling a call at each of its moments, by each of the ways in which Python programs cancel.

:class:`Stepped` counts the moments at which a call is suspended, so that a check can cancel it at the first, the second
and so on until the call ends with fewer. That is every await point there is, whatever the machine's speed. What goes on
during one suspension is met by cancelling from outside too, after one turn of the event loop, after two and so on.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Generic, TypeAlias, TypeVar

import anyio
import anyio.lowlevel

from ._kit import fail

SUSPENSIONS_MAX: Final = 100
"""A call that is suspended more often than this, which only polling ones are, is cancelled at the first so many."""
TURNS_MAX: Final = 24
"""How many turns of the event loop a call is given at most before it is cancelled from outside."""

_T = TypeVar("_T")


class Stepped(Generic[_T]):
    """Awaits ``call``, telling ``on_suspension`` the number, from 1, of each suspension just before it happens."""

    def __init__(self, call: Coroutine[Any, Any, _T], on_suspension: Callable[[int], None]) -> None:
        """Run nothing yet."""
        self._call = call
        self._on_suspension = on_suspension

    def __await__(self) -> Generator[Any, Any, _T]:
        """Pass everything through between ``call`` and the event loop."""
        steps = self._call.__await__()
        number = 0
        resume: Callable[[], Any] = steps.__next__
        while True:
            try:
                wanted = resume()
            except StopIteration as end:
                result: _T = end.value
                return result
            number += 1
            self._on_suspension(number)
            try:
                sent = yield wanted
            except BaseException as error:  # noqa: BLE001 - cancellations too: all of it is for the call
                resume = _throwing(steps, error)
            else:
                resume = _sending(steps, sent)


def _sending(steps: Generator[Any, Any, Any], value: object) -> Callable[[], Any]:
    return lambda: steps.send(value)


def _throwing(steps: Generator[Any, Any, Any], error: BaseException) -> Callable[[], Any]:
    return lambda: steps.throw(error)


Call: TypeAlias = Callable[[], Coroutine[Any, Any, object]]
Wrap: TypeAlias = Callable[[Coroutine[Any, Any, object]], Awaitable[object]]
Moment: TypeAlias = Callable[[int, Callable[[], None]], AbstractAsyncContextManager[Wrap]]
"""Calls a function at the N-th moment of the one call that is awaited, wrapped, in the block."""


@asynccontextmanager
async def at_suspension(number: int, fire: Callable[[], None]) -> AsyncGenerator[Wrap, None]:
    """Fire just before the call is suspended for the ``number``-th time."""

    def on_suspension(now: int) -> None:
        if now == number:
            fire()

    yield lambda call: Stepped(call, on_suspension)


@asynccontextmanager
async def after_turns(number: int, fire: Callable[[], None]) -> AsyncGenerator[Wrap, None]:
    """Fire from outside after ``number`` turns of the event loop: also in the middle of a long suspension."""
    if on_asyncio():
        loop = asyncio.get_running_loop()
        left = number

        def turn() -> None:
            nonlocal left
            left -= 1
            if left:
                loop.call_soon(turn)
            else:
                fire()

        loop.call_soon(turn)
        yield lambda call: call
        return

    async def turns() -> None:
        for _ in range(number):
            await anyio.lowlevel.checkpoint()
        fire()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(turns)
        yield lambda call: call
        tasks.cancel_scope.cancel()


class Attempt:
    """What became of a call that was cancelled at one of its moments."""

    def __init__(self) -> None:
        self.cancelled = False
        self.returned = False
        self.surfaced = False


Attempts: TypeAlias = Callable[[Call, Moment, int], Awaitable[Attempt]]


async def cancel_scope(call: Call, moment: Moment, number: int) -> Attempt:
    """Cancel through a scope of anyio."""
    attempt = Attempt()
    scope = anyio.CancelScope()

    def fire() -> None:
        if not attempt.returned:
            attempt.cancelled = True
            scope.cancel()

    async with moment(number, fire) as wrap:
        with scope:
            await wrap(call())
            attempt.returned = True
            await anyio.lowlevel.checkpoint()
        attempt.surfaced = scope.cancelled_caught
    return attempt


async def cancel_task(call: Call, moment: Moment, number: int) -> Attempt:
    """Cancel through ``task.cancel()`` of asyncio, which is said once."""
    attempt = Attempt()

    async def run(wrap: Wrap) -> None:
        await wrap(call())
        attempt.returned = True
        await _turn_asyncio()

    def fire() -> None:
        if not attempt.returned:
            attempt.cancelled = True
            task.cancel("by the check")

    async with moment(number, fire) as wrap:
        task = asyncio.create_task(run(wrap))
        await asyncio.wait([task])
    attempt.surfaced = task.cancelled()
    if not attempt.surfaced:
        task.result()
    return attempt


async def time_out(call: Call, moment: Moment, number: int) -> Attempt:
    """Cancel through ``asyncio.timeout``, with an await behind the call to time out at."""
    return await _time_out_in_task(call, moment, number, await_behind=True)


async def time_out_at_last(call: Call, moment: Moment, number: int) -> Attempt:
    """Cancel through ``asyncio.timeout`` whose last await the call is: nothing may be left over behind it."""
    return await _time_out_in_task(call, moment, number, await_behind=False)


async def _time_out_in_task(call: Call, moment: Moment, number: int, *, await_behind: bool) -> Attempt:
    attempt = Attempt()
    timeout = asyncio.timeout(None)

    def fire() -> None:
        if not attempt.returned:
            attempt.cancelled = True
            timeout.reschedule(asyncio.get_running_loop().time())

    async def run() -> None:
        try:
            async with timeout, moment(number, fire) as wrap:
                await wrap(call())
                attempt.returned = True
                if await_behind:
                    await _turn_asyncio()
        except TimeoutError:
            attempt.surfaced = True
        await _turn_asyncio()

    task = asyncio.create_task(run())
    await asyncio.wait([task])
    if task.cancelled():
        fail("the task behind its timeout", expected="not cancelled", found="cancelled")
    task.result()
    if not await_behind:
        attempt.surfaced = attempt.cancelled  # there is no checkpoint at which it could
    return attempt


async def _turn_asyncio() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def on_asyncio() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


MOMENTS: Final[dict[Moment, int]] = {at_suspension: SUSPENSIONS_MAX, after_turns: TURNS_MAX}
