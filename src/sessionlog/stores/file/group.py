"""Group commit: what is appended at the same time becomes durable over one hop to a worker thread, with one flush.

There is no background task: an append that finds the worker idle starts it, and the end of a batch, called on the
event loop, wakes whoever was in it and starts the next. Appends come in two kinds. Those that were written on the event
loop await the flush alone, :meth:`GroupCommit.flush`; a :class:`Request` is settled on the worker, which has the open
logs to itself meanwhile (``held``).

**How long a batch gathers.** Where many append at once, a batch is handed over a turn of the event loop late, so that
all who were woken by the last one can be in it: one flush for all. That is best while flushing takes longer than
appending does. Where it takes less, the batch goes when half of them are in it, and the others are written while it is
flushed: the disk works beside the interpreter, not after it. A batch with commits in it is never halved: what is
appended while the worker has the logs becomes a commit as well, so it would be followed by commits for ever.

Cancellation is settled here, for anyio's scopes and for asyncio's own ``task.cancel()`` alike: until a commit is
taken into a batch, cancelling takes it out and nothing is written; once that happened, or it was written on the event
loop, it runs to its end, the append returns its outcome, and the cancellation surfaces at the caller's next checkpoint.
"""

import sys
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any, Final

import anyio

from ...cancellation import outlast, outlast_cancelled
from ...errors import StoreFailed
from ...event_loop import NO_LOOP, Event, Loop, running_loop
from .commit import Fate, Request
from .log_file import LogFile
from .open_logs import OpenLogs, broken_off
from .worker import Worker

HALVED_MIN: Final = 16
"""Fewer appends at once than these are never halved: a hop for each half costs more than it brings."""
BRIEF_S: Final = 0.001
"""Where the last flush took longer than this, the next is not written beside: a write may have to wait for it."""
_NEVER: Final = sys.maxsize
_NONE: Final[Mapping[str, Any]] = {}


class Batch:
    """Appends that are settled together: those still to be written, and those that only await the flush."""

    __slots__ = (
        "broken",
        "commits",
        "failures",
        "flush_count",
        "flush_errors",
        "flush_s",
        "gathered_since",
        "logs",
        "settled",
    )

    def __init__(self, settled: Event) -> None:
        """Nothing is in it yet; ``settled`` is what they wait for."""
        self.commits: list[Request] = []
        self.flush_count: int = 0
        self.gathered_since: float = 0.0
        """When the first came that awaits the flush."""
        self.logs: Sequence[LogFile] = ()
        """What is to be flushed."""
        self.flush_errors: Mapping[str, OSError] = _NONE
        self.flush_s: float = 0.0
        self.settled: Event = settled
        self.failures: Mapping[str, StoreFailed] = _NONE
        """The sessions whose flush failed."""
        self.broken: StoreFailed | None = None
        """Why nothing is known of any of them."""

    @property
    def size(self) -> int:
        """How many appends are in it."""
        return len(self.commits) + self.flush_count

    def break_off(self, error: BaseException) -> None:
        """End everything in it that is not settled yet with a failure of unknown effect."""
        self.broken = StoreFailed(f"the commit broke off: {error!r}", poisoned=True)
        self.broken.__cause__ = error
        for commit in self.commits:
            if commit.fate is Fate.TAKEN:
                commit.fail(self.broken)


class GroupCommit:
    """Settles commits and flushes in batches, one batch at a time."""

    def __init__(self, logs: OpenLogs) -> None:
        """Commit to ``logs`` and flush them."""
        self._logs = logs
        self._worker = Worker()
        self._loop: Loop = NO_LOOP
        self._next = Batch(NO_LOOP.new_event())
        self._running: Batch | None = None
        self._idle: anyio.Event | None = None
        self._company = 0
        """How many appends were in the last batch, or waiting at its end."""
        self._half = _NEVER
        """With how many appends a batch has gathered half of the company, where that is enough."""
        self._flush_s = float("inf")
        """How long the last flush took."""
        self._halving = False
        """The last flush took less time than gathering all who append takes, so gathering half is enough."""
        self.busy: bool = False
        """Something is waiting or being settled."""
        self.held: bool = False
        """The worker has the open logs: until it gives them back, nobody else may touch them."""

    async def submit(self, commit: Request) -> None:
        """Return once ``commit`` is settled: ``DONE``, with or without an error, or ``LOCKED`` by another process.

        Raises the cancellation, and nothing else, if it comes before the commit is taken.
        """
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

    async def flush(self, session_id: str) -> None:
        """Return once what was just written to a session is durable, whatever cancels. Raises :class:`StoreFailed`."""
        batch = self._gathering()
        batch.flush_count += 1
        if batch.flush_count == 1:
            batch.gathered_since = perf_counter()
        if not self.busy:
            self._begin()
        elif batch.flush_count == self._half:
            self._begin_half(batch)
        try:
            await batch.settled.wait()
        except BaseException as cancellation:  # noqa: BLE001 - raised there, or put off
            await outlast_cancelled(batch.settled, cancellation)
        failure = batch.broken or batch.failures.get(session_id)
        if failure is not None:
            raise failure

    async def aclose(self) -> None:
        """Wait, whatever cancels, until nothing is waiting or being committed; then end the thread."""
        await self.settle()
        self._worker.stop()

    async def settle(self) -> None:
        """Wait, whatever cancels, until nothing is waiting or being committed."""
        while self.busy:
            if self._idle is None:
                self._idle = anyio.Event()
            await outlast(self._idle)

    def _gathering(self) -> Batch:
        """Return the batch that will be next: made while the last one was settled, if that was on this event loop."""
        if not self.busy and not self._loop.is_running():
            self._loop = running_loop()
            self._next = Batch(self._loop.new_event())
        return self._next

    def _begin(self) -> None:
        """Start the batch: at once, or a turn later, since whoever was in the last one is likely to come again now."""
        self.busy = True
        if self._company > 1:
            self._loop.post(self._start)
        else:
            self._start()

    def _begin_half(self, batch: Batch) -> None:
        """Start the batch with half of the company in it, if that half took long enough to gather."""
        gathering_s = 2 * (perf_counter() - batch.gathered_since)
        self._halving = self._flush_s <= min(gathering_s, BRIEF_S)
        if self._halving and self._running is None and not batch.commits:
            self._start()

    def _start(self) -> None:
        """Hand what was gathered to the worker, unless it has a batch: the end of that comes here again."""
        if self._running is not None:
            return
        batch = self._next
        if not batch.size:
            self._rest()
            return
        for commit in batch.commits:
            commit.fate = Fate.TAKEN
        self._running = batch
        self.held = bool(batch.commits) or not self._halving
        if batch.commits:
            run = self._commit
        else:
            run, batch.logs = self._flush, self._logs.begin_flush()
        try:
            self._worker.call(run, batch, done=self._end, post=self._loop.post)
        except RuntimeError as error:  # the system has no thread left
            batch.break_off(error)
            batch.flush_errors = broken_off(batch.logs, error)
            self._loop.post(self._end, batch)
        self._next = Batch(self._loop.new_event())

    def _commit(self, batch: Batch) -> None:
        """On the worker: write and flush."""
        try:
            batch.failures = self._logs.commit(batch.commits)
        except BaseException as error:  # noqa: BLE001 - out of memory, or a bug: all who wait must learn of it
            batch.break_off(error)

    def _flush(self, batch: Batch) -> None:
        """On the worker: flush alone."""
        began = perf_counter()
        batch.flush_errors = self._logs.flush(batch.logs)
        batch.flush_s = perf_counter() - began

    def _end(self, batch: Batch) -> None:
        """On the event loop again: wake who was in ``batch``, go on with those that came meanwhile.

        Half of the company goes at once; else later, so that whoever appends again is in the next batch too.
        """
        self._running, self.held = None, False
        if not batch.commits:
            batch.failures = self._logs.end_flush(batch.flush_errors)
            self._flush_s = batch.flush_s
        waiting = self._next.size
        self._company = batch.size + waiting
        self._half = self._company // 2 if self._company >= HALVED_MIN else _NEVER
        self._halving = self._halving and self._half != _NEVER and self._flush_s <= BRIEF_S
        batch.settled.set()
        if not waiting:
            self._rest()
        elif self._halving and waiting >= self._half and not self._next.commits:
            self._start()
        else:  # two turns later, for trio runs what is posted among the tasks that were woken, not behind them
            self._loop.post(self._loop.post, self._start)

    def _rest(self) -> None:
        self.busy = False
        if self._idle is not None:
            self._idle.set()
            self._idle = None
