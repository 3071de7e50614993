"""Group commit: what appends at the same time becomes durable over one hop to a worker thread, and with one flush.

There is no background task: an append that finds the worker idle starts it, and the end of a batch, called on the
event loop, wakes whoever was in it and starts the next with those that came meanwhile. While the worker has a batch,
the open logs are its own, and appends wait as :class:`Commit` for the next one, which writes them; while it has none,
the event loop may write to them, and its appends join the next batch for the flush alone.

Cancellation is settled here, for anyio's scopes and for asyncio's own ``task.cancel()`` alike: until a commit is
taken into a batch, cancelling takes it out and nothing is written; once that happened, or it was written on the event
loop, it runs to its end, the append returns its outcome, and the cancellation surfaces at the caller's next checkpoint.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeAlias

import anyio
import anyio.lowlevel

from ...errors import StoreFailed
from ...ids import SessionId
from .cancellation import outlast, outlast_cancelled
from .commit import Commit, Fate
from .worker import Post, Worker, poster


class Batch:
    """Appends that are settled together: those still to be written, and those that only await the flush."""

    __slots__ = ("broken", "commits", "failures", "flush_count", "settled")

    def __init__(self) -> None:
        """Nothing is in it yet."""
        self.commits: list[Commit] = []
        self.flush_count: int = 0
        self.settled: anyio.Event = anyio.Event()
        self.failures: Mapping[SessionId, StoreFailed] = {}
        """The sessions whose flush failed."""
        self.broken: StoreFailed | None = None
        """Why nothing is known of any of them."""


Run: TypeAlias = Callable[[Sequence[Commit]], Mapping[SessionId, StoreFailed]]


class GroupCommit:
    """Runs commits and flushes in batches, one batch at a time."""

    def __init__(self, run: Run) -> None:
        """Have batches done by ``run``, which blocks.

        It settles the fate of each commit, flushes these and all that was written before, and returns the sessions
        whose flush failed.
        """
        self._run = run
        self._worker = Worker()
        self._post: Post | None = None
        self._next: Batch | None = None
        self._idle: anyio.Event | None = None
        self._lately = 0
        """How many appends the last batch had."""
        self.busy: bool = False
        """Something is waiting or being settled."""
        self.running: bool = False
        """The worker has a batch: until it ends, nobody else may touch the open logs."""

    async def submit(self, commit: Commit) -> None:
        """Return once ``commit`` is settled: ``DONE``, with or without an error, or ``LOCKED`` by another process.

        Raises the cancellation, and nothing else, if it came before the commit was taken.
        """
        await anyio.lowlevel.checkpoint_if_cancelled()
        batch = self._gathering()
        batch.commits.append(commit)
        commit.fate = Fate.WAITING
        if not self.busy:
            self._begin()
        try:
            await batch.settled.wait()
        except BaseException as cancellation:
            if commit.fate is Fate.WAITING:
                batch.commits.remove(commit)
                raise
            await outlast_cancelled(batch.settled, cancellation)

    async def flush(self, session_id: SessionId) -> None:
        """Return once what was just written to a session is durable, whatever cancels. Raises :class:`StoreFailed`."""
        batch = self._gathering()
        batch.flush_count += 1
        if not self.busy:
            self._begin()
        try:
            await batch.settled.wait()
        except BaseException as cancellation:  # noqa: BLE001 - raised there, or put off
            await outlast_cancelled(batch.settled, cancellation)
        failure = batch.broken or batch.failures.get(session_id)
        if failure is not None:
            raise failure

    async def aclose(self) -> None:
        """Wait, whatever cancels, until nothing is waiting or being committed; then end the thread."""
        while self.busy:
            if self._idle is None:
                self._idle = anyio.Event()
            await outlast(self._idle)
        self._worker.stop()

    def _gathering(self) -> Batch:
        """Return the batch that will be next."""
        batch = self._next
        if batch is None:
            batch = self._next = Batch()
        return batch

    def _begin(self) -> None:
        """Start the batch: at once, or a turn later, since whoever was in the last one is likely to come again now."""
        self.busy = True
        self._post = poster()
        if self._lately > 1:
            self._post(self._start)
        else:
            self._start()

    def _start(self) -> None:
        """Hand what was gathered to the worker."""
        batch, self._next = self._next, None
        if batch is None or not (batch.commits or batch.flush_count):
            self._rest()
            return
        self._lately = len(batch.commits) + batch.flush_count
        for commit in batch.commits:
            commit.fate = Fate.TAKEN
        assert self._post is not None  # noqa: S101 - set when the work began
        self.running = True
        self._worker.call(partial(self._run_batch, batch), done=partial(self._end, batch), post=self._post)

    def _run_batch(self, batch: Batch) -> None:
        """On the worker: settle ``batch``."""
        try:
            batch.failures = self._run(batch.commits)
        except BaseException as error:  # noqa: BLE001 - out of memory, or a bug: all who wait must learn of it
            failure = StoreFailed(f"the commit broke off: {error!r}", poisoned=True)
            failure.__cause__ = error
            batch.broken = failure
            for commit in batch.commits:
                if commit.fate is Fate.TAKEN:
                    commit.fail(failure)

    def _end(self, batch: Batch) -> None:
        """On the event loop again: wake who was in ``batch``; go on with those that came meanwhile.

        One turn later, so that whoever appends again at once is in the next batch too.
        """
        self.running = False
        batch.settled.set()
        if self._next is not None and self._post is not None:
            self._post(self._start)
        else:
            self._rest()

    def _rest(self) -> None:
        self.busy = False
        if self._idle is not None:
            self._idle.set()
            self._idle = None
