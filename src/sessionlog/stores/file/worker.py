"""One thread for what blocks: it runs calls in their order and reports each end to the event loop.

A hop to it and back costs a third of one through ``anyio.to_thread``, and once a call is handed over nothing can
abandon it: not a cancelled scope, not ``task.cancel()``. The thread starts with the first call and ends with
:meth:`Worker.stop`, or with the worker itself; it is a daemon, so it never holds up the end of the process.
"""

import queue
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from ...event_loop import Post

_Job: TypeAlias = tuple[Callable[[Any], None], Callable[[Any], None], Any, Post]
_T = TypeVar("_T")


class Worker:
    """Runs calls on a thread of its own, one after the other."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def call(self, call: Callable[[_T], None], work: _T, *, done: Callable[[_T], None], post: Post) -> None:
        """Run ``call(work)``, which must not raise, on the thread; then have ``done(work)`` called through ``post``.

        Raises ``RuntimeError`` if there is no thread to be had.
        """
        if self._thread is None:
            thread = threading.Thread(target=_work, args=(self._jobs,), name="sessionlog", daemon=True)
            thread.start()
            self._thread = thread
            weakref.finalize(self, self._jobs.put, None)
        self._jobs.put((call, done, work, post))

    def stop(self) -> None:
        """End the thread, which must be idle."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None


def _work(jobs: "queue.SimpleQueue[_Job | None]") -> None:
    while (job := jobs.get()) is not None:
        call, done, work, post = job
        call(work)
        try:  # noqa: SIM105 - each append waits for this, and contextlib.suppress takes half a microsecond
            post(done, work)
        except RuntimeError:  # the event loop has ended meanwhile, and with it all who waited
            pass
        del job, call, done, work, post  # or the last call would be kept alive until the next
