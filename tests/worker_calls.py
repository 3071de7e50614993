"""What the tests of worker processes let them do: another process finds it here."""

import logging
import os
import signal
from pathlib import Path
from typing import Never

import anyio

from sessionlog import StoreFailed
from sessionlog.workers import Tell


async def add(tell: Tell, first: int, second: int) -> int:
    """Tell both numbers and return their sum."""
    tell(first)
    tell(second)
    return first + second


async def pid(_tell: Tell) -> int:
    return os.getpid()


async def fail(_tell: Tell, path: Path) -> Never:
    raise StoreFailed("there is no room", path=path)


async def fail_oddly(_tell: Tell) -> Never:
    raise BlockingIOError("a call's own")


async def die(_tell: Tell, number: int) -> None:
    os.kill(os.getpid(), number)
    await anyio.sleep_forever()


async def leave(_tell: Tell, status: int) -> None:
    os._exit(status)


async def log(_tell: Tell) -> None:
    logging.getLogger("sessionlog.importers").warning("odd: %s", {"a": 1})
    logging.getLogger("sessionlog.importers").debug("not asked for")


async def print_text(_tell: Tell) -> None:
    print("this goes to standard error")


async def wait(tell: Tell, path: Path) -> None:
    """Tell that it waits; leave a file when it is cancelled."""
    try:
        tell(os.getpid())
        await anyio.sleep_forever()
    finally:
        path.write_text("cancelled")


async def ignore_the_end(tell: Tell) -> None:
    """Hold the event loop up for good."""
    tell(os.getpid())
    signal.pause()
