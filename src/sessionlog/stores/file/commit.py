"""Group commit: all appends that wait while a commit runs go into the next one, over one hop to a worker thread.

There is no background task: an append that finds the worker idle starts it, and the end of a batch, called on the
event loop, wakes whoever was in it and starts the next with those that came meanwhile.

Cancellation is settled here, for anyio's scopes and for asyncio's own ``task.cancel()`` alike: until a commit is
taken into a batch, cancelling takes it out and nothing is written; from then on it runs to its end, the append
returns its outcome, and the cancellation surfaces at the caller's next checkpoint.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial

import anyio
import anyio.lowlevel

from ...errors import SessionLogError, StoreFailed
from ...ids import Head, SessionId
from ...record import HashedEntry
from .worker import Post, Worker, poster


class Fate(Enum):
    """Where a commit is."""

    WAITING = "waiting"
    TAKEN = "taken"
    DONE = "done"
    LOCKED = "locked"


@dataclass(eq=False, slots=True)
class Commit:
    """Records to append to one session, all or none, behind ``expected``."""

    session_id: SessionId
    expected: Head | None
    records: Sequence[HashedEntry]
    creates: bool
    """Made by ``create_session``: a session that holds records is no conflict but exists already."""
    fate: Fate = Fate.WAITING
    error: SessionLogError | None = None
    woken: anyio.Event | None = None

    @property
    def size(self) -> int:
        """The number of bytes to append."""
        return sum(len(record.line) + 1 for record in self.records)

    @property
    def data(self) -> bytes:
        """The bytes to append."""
        if len(self.records) == 1:
            return self.records[0].line + b"\n"
        return b"".join([part for record in self.records for part in (record.line, b"\n")])

    @property
    def head(self) -> Head:
        """The head once this is in."""
        return self.records[-1].head

    def fail(self, error: SessionLogError) -> None:
        """End with ``error``."""
        self.fate, self.error = Fate.DONE, error


class GroupCommit:
    """Runs commits in batches, one batch at a time."""

    def __init__(self, run: Callable[[list[Commit]], None]) -> None:
        """Commit batches with ``run``, which blocks and settles the fate of each commit."""
        self._run = run
        self._worker = Worker()
        self._post: Post | None = None
        self._waiting: list[Commit] = []
        self._idle: anyio.Event | None = None
        self._lately = 0
        """How many commits the last batch had."""
        self.busy: bool = False

    async def submit(self, commit: Commit) -> None:
        """Return once ``commit`` is settled: ``DONE``, with or without an error, or ``LOCKED`` by another process.

        Raises the cancellation, and nothing else, if it came before the commit was taken.
        """
        await anyio.lowlevel.checkpoint_if_cancelled()
        commit.fate, commit.woken = Fate.WAITING, anyio.Event()
        self._waiting.append(commit)
        if not self.busy:
            self.busy = True
            self._post = poster()
            if self._lately > 1:
                self._post(self._start)  # a turn later: whoever was in the last batch is likely to come again at once
            else:
                self._start()
        try:
            await commit.woken.wait()
        except BaseException as cancellation:
            if commit.fate is Fate.WAITING:
                self._waiting.remove(commit)
                raise
            await _outlast(commit.woken)
            if not isinstance(cancellation, anyio.get_cancelled_exc_class()):
                raise
            _postpone(cancellation)

    async def aclose(self) -> None:
        """Wait, whatever cancels, until nothing is waiting or being committed; then end the thread."""
        while self.busy:
            if self._idle is None:
                self._idle = anyio.Event()
            await _outlast(self._idle)
        self._worker.stop()

    def _start(self) -> None:
        """Hand all that waits to the worker."""
        batch, self._waiting = self._waiting, []
        if not batch:
            self._rest()
            return
        self._lately = len(batch)
        for commit in batch:
            commit.fate = Fate.TAKEN
        assert self._post is not None  # noqa: S101 - set when the work began
        self._worker.call(partial(self._run_batch, batch), done=partial(self._end, batch), post=self._post)

    def _run_batch(self, batch: list[Commit]) -> None:
        """On the worker: settle every commit of ``batch``."""
        try:
            self._run(batch)
        except BaseException as error:  # noqa: BLE001 - out of memory, or a bug: all who wait must learn of it
            for commit in batch:
                if commit.fate is Fate.TAKEN:
                    failure = StoreFailed(f"the commit broke off: {error!r}", poisoned=True)
                    failure.__cause__ = error
                    commit.fail(failure)

    def _end(self, batch: list[Commit]) -> None:
        """On the event loop again: wake who was in ``batch``; go on with those that came meanwhile.

        One turn later, so that whoever appends again at once is in the next batch too.
        """
        for commit in batch:
            if commit.woken is not None:
                commit.woken.set()
        if self._waiting and self._post is not None:
            self._post(self._start)
        else:
            self._rest()

    def _rest(self) -> None:
        self.busy = False
        if self._idle is not None:
            self._idle.set()
            self._idle = None


async def _outlast(event: anyio.Event) -> None:
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
