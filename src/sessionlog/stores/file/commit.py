"""Group commit: all appends that wait while a commit runs go into the next one, over one hop to a worker thread.

There is no background task. The first append that finds nobody at work leads: it takes everything that waits,
commits it on a worker thread, wakes whoever was in it, and hands the lead to the first of those that came
meanwhile.

Cancellation is settled here, for anyio's scopes and for asyncio's own ``task.cancel()`` alike: until a commit is
taken into a batch, cancelling takes it out and nothing is written; from then on it runs to its end, the append
returns its outcome, and the cancellation surfaces at the caller's next checkpoint.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread

from ...errors import SessionLogError, StoreFailed
from ...ids import Head, SessionId
from ...record import HashedEntry

_T = TypeVar("_T")
_POLL_S: Final = 0.001


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
    leads: bool = False
    woken: anyio.Event | None = None
    size: int = field(init=False)

    def __post_init__(self) -> None:
        """Count the bytes."""
        self.size = sum(len(record.line) + 1 for record in self.records)

    @property
    def data(self) -> bytes:
        """The bytes to append."""
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
        self._waiting: list[Commit] = []
        self._limiter: anyio.CapacityLimiter | None = None
        self._idle: anyio.Event | None = None
        self.busy = False

    async def submit(self, commit: Commit) -> None:
        """Return once ``commit`` is settled: ``DONE``, with or without an error, or ``LOCKED`` by another process.

        Raises the cancellation, and nothing else, if it came before the commit was taken.
        """
        commit.fate = Fate.WAITING
        commit.leads, self.busy = not self.busy, True
        commit.woken = anyio.Event()
        self._waiting.append(commit)
        try:
            if commit.leads:
                await anyio.lowlevel.checkpoint()  # lets others that are ready join this batch
            else:
                await commit.woken.wait()
        except BaseException as cancellation:
            if commit.fate is Fate.WAITING:
                self._waiting.remove(commit)
                if commit.leads:
                    self._pass_lead()
                raise
            await _outlast(commit.woken)
            if not isinstance(cancellation, anyio.get_cancelled_exc_class()):
                raise
            _postpone(cancellation)
        if commit.fate is Fate.WAITING:
            await self._lead(commit)

    async def wait_idle(self) -> None:
        """Return once nothing is waiting or being committed, whatever cancels."""
        while self.busy:
            if self._idle is None:
                self._idle = anyio.Event()
            await _outlast(self._idle)

    async def _lead(self, own: Commit) -> None:
        """Commit all that waits, ``own`` among it."""
        batch, self._waiting = self._waiting, []
        for commit in batch:
            commit.fate = Fate.TAKEN
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(1)
        try:
            await run_whole(self._run_batch, batch, limiter=self._limiter)
        except BaseException:
            batch.remove(own)
            for commit in batch:
                commit.fate = Fate.WAITING
            self._waiting[:0] = batch
            self._pass_lead()
            raise
        for commit in batch:
            if commit.woken is not None and commit is not own:
                commit.woken.set()
        self._pass_lead()

    def _run_batch(self, batch: list[Commit]) -> None:
        try:
            self._run(batch)
        except BaseException as error:  # noqa: BLE001 - out of memory, or a bug: all who wait must learn of it
            for commit in batch:
                if commit.fate is Fate.TAKEN:
                    failure = StoreFailed(f"the commit broke off: {error!r}", poisoned=True)
                    failure.__cause__ = error
                    commit.fail(failure)

    def _pass_lead(self) -> None:
        if self._waiting:
            heir = self._waiting[0]
            heir.leads = True
            assert heir.woken is not None  # noqa: S101 - set before it was put among the waiting
            heir.woken.set()
            return
        self.busy = False
        if self._idle is not None:
            self._idle.set()
            self._idle = None


async def run_whole(call: Callable[[_T], None], argument: _T, *, limiter: anyio.CapacityLimiter) -> None:
    """Run ``call(argument)`` on a worker thread: wholly, or, when cancelled before it began, not at all.

    A shield keeps anyio's cancellation out, but not asyncio's ``task.cancel()``, which abandons the thread while it
    works. So thread and caller race for one claim: either the thread has it, and the caller outlasts it, or the
    caller has taken it back and the thread does nothing.
    """
    claim = threading.Lock()
    ended = False

    def work() -> None:
        nonlocal ended
        if claim.acquire(blocking=False):
            try:
                call(argument)
            finally:
                ended = True

    try:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(work, limiter=limiter)
    except anyio.get_cancelled_exc_class() as cancellation:
        if claim.acquire(blocking=False):
            raise
        postponed = cancellation
        while not ended:
            try:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(_POLL_S)
            except anyio.get_cancelled_exc_class() as again:
                postponed = again
        _postpone(postponed)


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
