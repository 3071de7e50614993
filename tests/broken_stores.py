"""Stores that break one promise each, on purpose, so that every conformance check is seen to fail.

Here: writing, many writers, following, cancellation and closing. ``broken_reads`` holds those that read what they must
not, read too much, or mistake a lock.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import anyio
import anyio.lowlevel

from right_store import Place, SharedMemoryStore
from sessionlog import (
    HashedEntry,
    Head,
    HeadConflict,
    InvalidEntry,
    Position,
    SessionExists,
    SessionId,
    SessionNotFound,
    StoreFailed,
)


class ForgetsCreation(SharedMemoryStore):
    """Says that a session was made, and has not made it."""

    async def create_session(self, session_id: str, records: Sequence[HashedEntry]) -> None:
        await self._ready(session_id, records)


class CreatesAgain(SharedMemoryStore):
    """Creating a session that is there replaces it."""

    async def create_session(self, session_id: str, records: Sequence[HashedEntry]) -> None:
        await self._ready(session_id, records)
        self._logs[session_id] = list(records)


class NeedsCreate(SharedMemoryStore):
    """An append never makes a session."""

    async def append(self, session_id: str, *records: HashedEntry) -> None:
        await self._ready(session_id, records)
        if session_id not in self._logs:
            raise SessionNotFound(session_id)
        await super().append(session_id, *records)


class MakesMissingSession(SharedMemoryStore):
    """An append to a session that is not there makes it, empty, before it refuses."""

    def _commit(self, session_id: str, expected: Head | None, records: Sequence[HashedEntry]) -> None:
        try:
            super()._commit(session_id, expected, records)
        except SessionNotFound:
            self._logs[session_id] = []
            raise


class DropsOfBatch(SharedMemoryStore):
    """Loses the last record of a batch of more than ten."""

    def _commit(self, session_id: str, expected: Head | None, records: Sequence[HashedEntry]) -> None:
        super()._commit(session_id, expected, records[:10])


class Reserialises(SharedMemoryStore):
    """Writes JSON anew: what another writer spelled differently comes back in other bytes."""

    def _commit(self, session_id: str, expected: Head | None, records: Sequence[HashedEntry]) -> None:
        spelled = [
            HashedEntry(
                record.line.replace(b"\\u00e9", "é".encode()),
                hash=record.hash,
                prev_hash=record.prev_hash,
                seq=record.seq,
            )
            for record in records
        ]
        super()._commit(session_id, expected, spelled)


class ChecksNothing(SharedMemoryStore):
    """Appends whatever it is given."""

    def _commit(self, session_id: str, expected: Head | None, records: Sequence[HashedEntry]) -> None:
        if session_id not in self._logs and expected is not None:
            raise SessionNotFound(session_id)
        self._logs.setdefault(session_id, []).extend(records)


class WritesThenRefuses(SharedMemoryStore):
    """Tells of the conflict, and writes all the same."""

    def _commit(self, session_id: str, expected: Head | None, records: Sequence[HashedEntry]) -> None:
        try:
            super()._commit(session_id, expected, records)
        except HeadConflict:
            self._logs[session_id].extend(records)
            raise


class ForgetsFound(SharedMemoryStore):
    """Its conflicts do not say what the head is."""

    def _commit(self, session_id: str, expected: Head | None, records: Sequence[HashedEntry]) -> None:
        try:
            super()._commit(session_id, expected, records)
        except HeadConflict as error:
            raise HeadConflict(session_id, expected=expected, found=None) from error


class ComparesHashOnly(SharedMemoryStore):
    """Looks at the head's hash, not at its position."""

    def _commit(self, session_id: str, expected: Head | None, records: Sequence[HashedEntry]) -> None:
        log = self._logs.get(session_id)
        if log and expected is not None and expected.hash == log[-1].hash:
            expected = log[-1].head
        super()._commit(session_id, expected, records)


class RestartsLog(SharedMemoryStore):
    """A first record starts the log anew."""

    def _commit(self, session_id: str, expected: Head | None, records: Sequence[HashedEntry]) -> None:
        if expected is None and self._logs.get(session_id) and asyncio.iscoroutinefunction(self.append):
            self._logs[session_id] = []
        super()._commit(session_id, expected, records)

    async def create_session(self, session_id: str, records: Sequence[HashedEntry]) -> None:
        if self._logs.get(session_id):
            raise SessionExists(session_id)
        await super().create_session(session_id, records)


class Unchecked(SharedMemoryStore):
    """Takes records as they come: no check of the id, of the batch, of what the first one binds, of the length."""

    async def _ready(self, session_id: str, records: Sequence[HashedEntry]) -> Head | None:
        await anyio.lowlevel.checkpoint()
        self._check_open()
        if not records:
            return self._logs[session_id][-1].head if self._logs.get(session_id) else None
        first = records[0]
        return None if first.prev_hash is None else Head(first.seq - 1, first.prev_hash)

    def _check(self, session_id: str, records: Sequence[HashedEntry]) -> None:
        pass


class RefusesLongLines(SharedMemoryStore):
    """Takes one byte less than it says."""

    async def _ready(self, session_id: str, records: Sequence[HashedEntry]) -> Head | None:
        expected = await super()._ready(session_id, records)
        if any(len(record.line) >= self.line_bytes_max for record in records):
            raise InvalidEntry("too long")
        return expected


class CutsLargeRecords(SharedMemoryStore):
    """Gives large records back cut short in the raw bytes."""

    async def read_raw(self, session_id: str) -> AsyncGenerator[bytes, None]:
        async with aclosing(super().read_raw(session_id)) as parts:
            async for data in parts:
                yield data[:100_000]


class FoldsCase(SharedMemoryStore):
    """Takes ids that differ in case only for one, as some file systems do."""

    async def create_session(self, session_id: str, records: Sequence[HashedEntry]) -> None:
        if session_id.lower() in {known.lower() for known in self._logs}:
            raise SessionExists(session_id)
        await super().create_session(session_id, records)


class ListsInOrderOfCreation(SharedMemoryStore):
    """Lists what was made last first, whatever was appended since."""

    async def list_sessions(self) -> list[SessionId]:
        return sorted(await super().list_sessions())


class ReadsMissingAsEmpty(SharedMemoryStore):
    """A session that is not there reads as empty."""

    def _log(self, session_id: str) -> list[HashedEntry]:
        try:
            return super()._log(session_id)
        except SessionNotFound:
            return []


class TakesAnyTrace(SharedMemoryStore):
    """Writes NaN to the trace, as JSON libraries do."""

    async def append_trace(self, session_id: str, trace_entry: Any) -> None:
        with contextlib.suppress(InvalidEntry):
            await super().append_trace(session_id, trace_entry)


class LagsBehind(SharedMemoryStore):
    """Reads see what was appended one append ago."""

    async def read_head(self, session_id: str) -> Head | None:
        await anyio.lowlevel.checkpoint()
        log = self._log(session_id)
        return log[-2].head if len(log) > 5 else log[-1].head if log else None


class CountsPositionsFromOne(SharedMemoryStore):
    """``after`` is off by one."""

    async def read(self, session_id: str, *, after: int | Position | None = None) -> AsyncGenerator[HashedEntry, None]:
        async with aclosing(super().read(session_id, after=after - 1 if isinstance(after, int) else after)) as records:
            async for record in records:
                yield record


class LocksWhileReading(SharedMemoryStore):
    """A stream that is not read to its end keeps the session locked."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._reading: set[str] = set()

    async def read(self, session_id: str, *, after: int | Position | None = None) -> AsyncGenerator[HashedEntry, None]:
        async with aclosing(super().read(session_id, after=after)) as records:
            async for record in records:
                self._reading.add(session_id)
                yield record
        self._reading.discard(session_id)

    def _commit(self, session_id: str, expected: Head | None, records: Sequence[HashedEntry]) -> None:
        if session_id in self._reading:
            raise StoreFailed("somebody reads")
        super()._commit(session_id, expected, records)


class ReadsAhead(SharedMemoryStore):
    """A stream that appends run past repeats a record."""

    async def read(self, session_id: str, *, after: int | Position | None = None) -> AsyncGenerator[HashedEntry, None]:
        count = len(self._log(session_id)) if session_id in self._logs else 0
        last: HashedEntry | None = None
        async with aclosing(super().read(session_id, after=after)) as records:
            async for record in records:
                last = record
                yield record
        if last is not None and len(self._log(session_id)) > count:
            yield last


class WritesOneByOne(SharedMemoryStore):
    """A batch becomes readable record by record."""

    async def append(self, session_id: str, *records: HashedEntry) -> None:
        await self._ready(session_id, records)
        for record in records:
            expected = None if record.prev_hash is None else Head(record.seq - 1, record.prev_hash)
            self._commit(session_id, expected, [record])
            await anyio.lowlevel.checkpoint()


class NeverWakes(SharedMemoryStore):
    """A follower sees what is there, and never what comes."""

    async def follow(
        self, session_id: str, *, after: int | Position | None = None
    ) -> AsyncGenerator[HashedEntry, None]:
        async with aclosing(self.read(session_id, after=after)) as records:
            async for record in records:
                yield record
        await anyio.sleep_forever()


class EndsFollowing(SharedMemoryStore):
    """A follower ends at the end of the log instead of waiting."""

    async def follow(
        self, session_id: str, *, after: int | Position | None = None
    ) -> AsyncGenerator[HashedEntry, None]:
        async with aclosing(self.read(session_id, after=after)) as records:
            async for record in records:
                yield record


class WakesOneFollower(SharedMemoryStore):
    """Of several followers one gets each record."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._taken: set[int] = set()

    async def follow(
        self, session_id: str, *, after: int | Position | None = None
    ) -> AsyncGenerator[HashedEntry, None]:
        async with aclosing(super().follow(session_id, after=after)) as records:
            async for record in records:
                if record.seq not in self._taken:
                    self._taken.add(record.seq)
                    yield record


class FollowsDeafly(SharedMemoryStore):
    """A follower does not notice that its store was closed."""

    async def follow(
        self, session_id: str, *, after: int | Position | None = None
    ) -> AsyncGenerator[HashedEntry, None]:
        while True:
            try:
                async with aclosing(super().follow(session_id, after=after)) as records:
                    async for record in records:
                        yield record
                        after = record.seq
            except StoreFailed:
                await anyio.sleep_forever()


class ChecksThenWrites(SharedMemoryStore):
    """Looks at the head, gives way, and writes: what conditional append is there to prevent."""

    async def append(self, session_id: str, *records: HashedEntry) -> None:
        expected = await self._ready(session_id, records)
        log = self._logs.get(session_id, [])
        if not log:
            self._commit(session_id, expected, records)
            return
        if log[-1].head != expected:
            raise HeadConflict(session_id, expected=expected, found=log[-1].head)
        await anyio.lowlevel.checkpoint()
        log.extend(records)


class CreatesThenWrites(SharedMemoryStore):
    """Looks whether the session is there, gives way, and makes it."""

    async def create_session(self, session_id: str, records: Sequence[HashedEntry]) -> None:
        await self._ready(session_id, records)
        if self._logs.get(session_id):
            raise SessionExists(session_id)
        await anyio.lowlevel.checkpoint()
        self._logs[session_id] = list(records)


class MixesSessions(SharedMemoryStore):
    """Remembers the session that it was called for last, across an await."""

    async def append(self, session_id: str, *records: HashedEntry) -> None:
        expected = await self._ready(session_id, records)
        self._last = session_id
        await anyio.lowlevel.checkpoint()
        self._commit(self._last, expected, records)


class FailsTogether(SharedMemoryStore):
    """One refused append refuses all that run at the same time."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._running = 0
        self._failed = False

    async def append(self, session_id: str, *records: HashedEntry) -> None:
        self._running += 1
        try:
            expected = await self._ready(session_id, records)
            await anyio.lowlevel.checkpoint()
            if self._failed:
                raise StoreFailed("another append failed")
            self._commit(session_id, expected, records)
        except HeadConflict:
            self._failed = True
            raise
        finally:
            self._running -= 1
            self._failed = self._failed and self._running > 0


class RefusesOnceInAWhile(SharedMemoryStore):
    """Every seventh append is told that the disk is full."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._appends = 0

    async def append(self, session_id: str, *records: HashedEntry) -> None:
        self._appends += 1
        if self._appends % 7 == 0:
            raise StoreFailed("no space left")
        await super().append(session_id, *records)


class GivesWayAfterWriting(SharedMemoryStore):
    """Awaits once more behind the commit: whoever is cancelled there is told that nothing went in."""

    async def append(self, session_id: str, *records: HashedEntry) -> None:
        await super().append(session_id, *records)
        await anyio.lowlevel.checkpoint()

    async def create_session(self, session_id: str, records: Sequence[HashedEntry]) -> None:
        await super().create_session(session_id, records)
        await anyio.lowlevel.checkpoint()


class ShieldsWholly(SharedMemoryStore):
    """Keeps anyio's cancellation out with a shield, and forgets that ``task.cancel()`` of asyncio knows none."""

    async def append(self, session_id: str, *records: HashedEntry) -> None:
        with anyio.CancelScope(shield=True):
            await super().append(session_id, *records)
            await anyio.lowlevel.checkpoint()


class SwallowsCancellation(SharedMemoryStore):
    """Catches the cancellation of an append and goes on as if nothing had been said."""

    async def append(self, session_id: str, *records: HashedEntry) -> None:
        await super().append(session_id, *records)
        with contextlib.suppress(anyio.get_cancelled_exc_class()):
            await anyio.lowlevel.checkpoint()


class CancelsAgainAtOnce(SharedMemoryStore):
    """Says a swallowed ``task.cancel()`` again, at once: behind a timeout that is over nobody takes it back."""

    async def append(self, session_id: str, *records: HashedEntry) -> None:
        await super().append(session_id, *records)
        try:
            await anyio.lowlevel.checkpoint()
        except anyio.get_cancelled_exc_class():
            if anyio.current_effective_deadline() != float("-inf"):
                task = asyncio.current_task()
                assert task is not None
                task.uncancel()
                task.cancel()


class QueuesForEver(SharedMemoryStore):
    """An append that is cancelled keeps the lock that it waited for."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._locked = False

    async def append(self, session_id: str, *records: HashedEntry) -> None:
        while self._locked:
            await anyio.lowlevel.checkpoint()
        self._locked = True
        await super().append(session_id, *records)
        self._locked = False


class BreaksWhenReadIsCancelled(SharedMemoryStore):
    """A cancelled read leaves the store unusable."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._broken = False

    async def read_all(self, session_id: str) -> list[HashedEntry]:
        self._broken = True
        records = await super().read_all(session_id)
        self._broken = False
        return records

    async def follow(
        self, session_id: str, *, after: int | Position | None = None
    ) -> AsyncGenerator[HashedEntry, None]:
        try:
            async with aclosing(super().follow(session_id, after=after)) as records:
                async for record in records:
                    yield record
        except anyio.get_cancelled_exc_class():
            self._broken = True
            raise

    def _commit(self, session_id: str, expected: Head | None, records: Sequence[HashedEntry]) -> None:
        if self._broken:
            raise StoreFailed("a read was cancelled")
        super()._commit(session_id, expected, records)


class NeverCloses(SharedMemoryStore):
    """Goes on when it was closed."""

    def _close(self) -> None:
        for grown in self._grown.values():
            grown.set()


class ForgetsToLeave(SharedMemoryStore):
    """Can be closed, but leaving the ``async with`` does not close it."""

    async def __aexit__(self, *error: object) -> None:
        pass


class DropsOnClose(SharedMemoryStore):
    """Appends that were in flight when it was closed end with an error that nobody documented."""

    async def create_session(self, session_id: str, records: Sequence[HashedEntry]) -> None:
        try:
            await super().create_session(session_id, records)
        except StoreFailed:
            raise OSError("bad file descriptor") from None


class ForgetsOnReopening(SharedMemoryStore):
    """Keeps the last record in memory only."""

    def _close(self) -> None:
        super()._close()
        for log in self._logs.values():
            del log[3:]


class CommitsAfterClose(SharedMemoryStore):
    """Does not wait for what it accepted: it is written once ``aclose`` has returned."""

    async def append(self, session_id: str, *records: HashedEntry) -> None:
        expected = await self._ready(session_id, records)
        for _ in range(8):
            await anyio.lowlevel.checkpoint()
        super(SharedMemoryStore, self)._commit(session_id, expected, records)


class CachesHead(SharedMemoryStore):
    """Trusts the head that it wrote last, whoever has appended since."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._heads: dict[str, Head] = {}

    def _commit(self, session_id: str, expected: Head | None, records: Sequence[HashedEntry]) -> None:
        head = self._heads.get(session_id)
        if head is None:
            super()._commit(session_id, expected, records)
        elif head != expected:
            raise HeadConflict(session_id, expected=expected, found=head)
        else:
            self._logs[session_id].extend(records)
        self._heads[session_id] = records[-1].head


class FollowsItselfOnly(SharedMemoryStore):
    """A follower is woken by appends of its own store only."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._grown = {}


BREAKS: dict[type[SharedMemoryStore], set[str]] = {
    ForgetsCreation: {"create_session"},
    CreatesAgain: {"create_existing_writes_nothing"},
    NeedsCreate: {"append_makes_session"},
    MakesMissingSession: {"append_to_missing_session"},
    DropsOfBatch: {"append_chains_on"},
    Reserialises: {"bytes_are_kept"},
    ChecksNothing: {"stale_head_writes_nothing", "gap_writes_nothing", "second_first_record_writes_nothing"},
    WritesThenRefuses: {"stale_head_writes_nothing", "gap_writes_nothing"},
    ForgetsFound: {"stale_head_writes_nothing", "racing_writers", "one_winner"},
    ComparesHashOnly: {"gap_writes_nothing"},
    RestartsLog: {"second_first_record_writes_nothing"},
    Unchecked: {
        "broken_batch_writes_nothing",
        "foreign_first_record_writes_nothing",
        "empty_append_is_refused",
        "invalid_ids_are_refused",
        "line_limit",
    },
    RefusesLongLines: {"line_limit"},
    CutsLargeRecords: {"large_records"},
    FoldsCase: {"valid_ids_are_distinct"},
    ListsInOrderOfCreation: {"list_order"},
    ReadsMissingAsEmpty: {"missing_session_is_told"},
    TakesAnyTrace: {"trace_leaves_log_alone"},
    LagsBehind: {"order_of_one_task"},
    CountsPositionsFromOne: {"read_after_each_position"},
    LocksWhileReading: {"read_stopped_early"},
    ReadsAhead: {"read_during_appends"},
    WritesOneByOne: {"batch_is_read_whole", "cancelled_batch"},
    NeverWakes: {"follow_each_position", "several_followers"},
    EndsFollowing: {"follow_ends_by_cancellation"},
    WakesOneFollower: {"several_followers"},
    FollowsDeafly: {"follow_ends_with_store"},
    ChecksThenWrites: {"one_winner", "racing_writers", "handles_race"},
    CreatesThenWrites: {"one_creator"},
    MixesSessions: {"many_sessions_at_once"},
    FailsTogether: {"failure_stays_alone"},
    RefusesOnceInAWhile: {"shared_session_log"},
    GivesWayAfterWriting: {
        "cancelled_append",
        "cancelled_batch",
        "cancelled_append_beside_others",
        "cancelled_create",
        "session_log_head_after_cancel",
        "asyncio_task_cancel",
        "asyncio_task_cancel_beside_others",
        "asyncio_task_cancel_of_session_log",
        "asyncio_timeout",
    },
    ShieldsWholly: {"asyncio_task_cancel"},
    SwallowsCancellation: {"asyncio_task_cancel", "asyncio_timeout"},
    CancelsAgainAtOnce: {"asyncio_timeout_ends_with_block", "asyncio_timeout_beside_others"},
    QueuesForEver: {"cancelled_append"},
    BreaksWhenReadIsCancelled: {"cancelled_reads", "cancelled_follow"},
    NeverCloses: {"closed_store_refuses"},
    ForgetsToLeave: {"left_store_refuses"},
    DropsOnClose: {"close_settles_appends"},
    ForgetsOnReopening: {"reopened_store_has_all"},
    CommitsAfterClose: {"close_waits_for_commits"},
    CachesHead: {"handles_see_each_other"},
    FollowsItselfOnly: {"follow_across_handles"},
}
"""The checks that must catch each store."""
