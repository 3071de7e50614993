"""A mutex between the tasks of one event loop, for what is mostly taken by one task alone."""

from collections import deque

import anyio


class Mutex:
    """Lets one task at a time through, in the order in which they came; costs nothing while there is one."""

    __slots__ = ("_waiting", "taken")

    def __init__(self) -> None:
        """Nobody has it."""
        self.taken: bool = False
        self._waiting: deque[anyio.Event] = deque()

    async def take(self) -> None:
        """Wait for the turn. Cancelled, it is passed on."""
        if not self.taken:
            self.taken = True
            return
        given = anyio.Event()
        self._waiting.append(given)
        try:
            await given.wait()
        except BaseException:
            if given.is_set():
                self.give()
            else:
                self._waiting.remove(given)
            raise

    async def __aenter__(self) -> None:
        """Wait for the turn."""
        await self.take()

    async def __aexit__(self, *_: object) -> None:
        """End the turn."""
        self.give()

    def give(self) -> None:
        """End the turn: the next task has it at once, if one waits."""
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self.taken = False
