"""The two things that a store needs of an event loop: to be called from another thread, and an event to wait for.

Both are asyncio's or trio's own, because every append needs them and anyio's cost as much again.
"""

import sys
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

import anyio
import anyio.lowlevel

Post: TypeAlias = Callable[..., Any]
"""Has a function called on an event loop, with the arguments behind it, from any thread."""


class Event(Protocol):
    """What tasks wait for, once: ``anyio.Event``, ``asyncio.Event`` or ``trio.Event``."""

    async def wait(self) -> object:
        """Return once it is set."""
        ...

    def set(self) -> None:
        """Wake who waits."""
        ...

    def is_set(self) -> bool:
        """Tell whether it is set."""
        ...


class Loop(NamedTuple):
    """What is needed of an event loop."""

    post: Post
    new_event: Callable[[], Event]
    is_running: Callable[[], bool]
    """Tells whether it is known to run still."""


NO_LOOP: Final = Loop(post=lambda *_: None, new_event=anyio.Event, is_running=lambda: False)


def running_loop() -> Loop:
    """Return the event loop that runs this."""
    token: Any = anyio.lowlevel.current_token().native_token
    if hasattr(token, "call_soon_threadsafe"):
        return Loop(token.call_soon_threadsafe, sys.modules["asyncio"].Event, token.is_running)
    return Loop(token.run_sync_soon, sys.modules["trio"].Event, lambda: False)
