"""Going over a log's bytes on the event loop, which turns meanwhile.

Checking gains nothing on a worker thread: the interpreter runs one thread at a time, hands over only every 5 ms, and
a slice takes less. So slices are checked in between whatever else there is to do, and only the longest lines, which
cannot be cut, go to a thread.
"""

from collections.abc import Callable
from typing import Final

import anyio.lowlevel
import anyio.to_thread

from .scanner import LogScanner

SLICE_BYTES: Final = 64 * 1024
"""The event loop turns after this many bytes: a fifth of a millisecond of verifying, some milliseconds of auditing."""
INLINE_BYTES_MAX: Final = 256 * 1024
"""A longer line is checked on a worker thread."""


class Turns:
    """Feeds a scanner, slice by slice."""

    def __init__(self, scanner: LogScanner, feed: Callable[[bytes], None]) -> None:
        """Feed by ``feed``, which hands what it gets to ``scanner``."""
        self._scanner = scanner
        self._feed = feed
        self._since_turn = 0

    async def feed(self, data: bytes) -> None:
        """Feed ``data``. Raises what the scanner raises; cancelled, what was fed is fed."""
        start = 0
        while start < len(data):
            end = data.rfind(b"\n", start, start + SLICE_BYTES) + 1 or start + SLICE_BYTES  # cuts no line if it can
            part, start = data[start:end], end
            if self._since_turn + len(part) > SLICE_BYTES:
                self._since_turn = 0
                await anyio.lowlevel.checkpoint()
            if b"\n" in part and self._scanner.torn_bytes + len(part) > INLINE_BYTES_MAX:
                await anyio.to_thread.run_sync(self._feed, part)
            else:
                self._feed(part)
            self._since_turn += len(part)
