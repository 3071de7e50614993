"""Stores that serve what they must not, read too much, or mistake a lock: each breaks one promise, on one path."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

import anyio
import anyio.lowlevel

from right_store import SharedMemoryStore
from sessionlog import (
    CorruptLog,
    Damage,
    HashedEntry,
    Head,
    MemoryStore,
    Position,
    SessionId,
    SessionNotFound,
    StoreFailed,
    parse_record,
)


class ServesAnything(SharedMemoryStore):
    """All read verification is removed."""

    def _unverified(self) -> tuple[str, ...]:
        return ("read_all", "read", "follow", "read_head", "append")


class ReadsAllUnverified(SharedMemoryStore):
    """``read_all`` serves what it finds."""

    def _unverified(self) -> tuple[str, ...]:
        return ("read_all",)


class ReadsUnverified(SharedMemoryStore):
    """``read`` serves what it finds."""

    def _unverified(self) -> tuple[str, ...]:
        return ("read",)


class FollowsUnverified(SharedMemoryStore):
    """``follow`` serves what it finds."""

    def _unverified(self) -> tuple[str, ...]:
        return ("follow",)


class TrustsHead(SharedMemoryStore):
    """``read_head`` tells what the last record says of itself."""

    def _unverified(self) -> tuple[str, ...]:
        return ("read_head",)


class AppendsToAnything(SharedMemoryStore):
    """An append looks at the head that the last record claims."""

    def _unverified(self) -> tuple[str, ...]:
        return ("append",)


class VerifiesFromAfter(SharedMemoryStore):
    """``read`` verifies what it gives, not what stands before that."""

    async def read(self, session_id: str, *, after: int | Position | None = None) -> AsyncGenerator[HashedEntry, None]:
        right = super().read(session_id, after=after)
        async with aclosing(self._rest(session_id, after) if isinstance(after, int) else right) as records:
            async for record in records:
                yield record

    async def _rest(self, session_id: str, after: int) -> AsyncGenerator[HashedEntry, None]:
        for record in self._log(session_id)[after + 1 :]:
            yield parse_record(record.line)


class ChecksHashesOnly(SharedMemoryStore):
    """Verifies each record by itself, and no chain."""

    def _checker(self, path: str, session_id: str) -> Callable[[bytes], object]:  # noqa: ARG002
        return parse_record


class MisplacesDamage(SharedMemoryStore):
    """Finds damage, and does not say at which byte."""

    def _checker(self, path: str, session_id: str) -> Callable[[bytes], object]:
        check = super()._checker(path, session_id)

        def misplaced(line: bytes) -> object:
            try:
                return check(line)
            except CorruptLog as error:
                raise CorruptLog(error.reason, damage=error.damage, seq=error.seq, offset=None) from error

        return misplaced


def _elsewhere(error: CorruptLog) -> CorruptLog:
    """Return the error with an offset that is wrong for its record."""
    offset = 1 if error.offset is None else error.offset + 1
    return CorruptLog(error.reason, damage=error.damage, seq=error.seq, offset=offset)


class CountsOffsetWithoutLF(SharedMemoryStore):
    """Adds the lines up without their line feeds, to say where damage is."""

    def _checker(self, path: str, session_id: str) -> Callable[[bytes], object]:
        check = super()._checker(path, session_id)

        def misplaced(line: bytes) -> object:
            try:
                return check(line)
            except CorruptLog as error:
                offset = None if error.offset is None else error.offset - error.seq
                raise CorruptLog(error.reason, damage=error.damage, seq=error.seq, offset=offset) from error

        return misplaced


class CountsOffsetFromTail(SharedMemoryStore):
    """``read_tail`` says where damage is in what it read, as if the log began there."""

    async def read_tail(self, session_id: str, count: int) -> list[HashedEntry]:
        try:
            return await super().read_tail(session_id, count)
        except CorruptLog as error:
            raise _elsewhere(error) from error


class CountsOffsetFromPosition(SharedMemoryStore):
    """A read from a position says where damage is in what it read."""

    async def read(self, session_id: str, *, after: int | Position | None = None) -> AsyncGenerator[HashedEntry, None]:
        try:
            async with aclosing(super().read(session_id, after=after)) as records:
                async for record in records:
                    yield record
        except CorruptLog as error:
            start = after.end if isinstance(after, Position) else 0
            offset = None if error.offset is None else error.offset - start
            raise CorruptLog(error.reason, damage=error.damage, seq=error.seq, offset=offset) from error


class MisplacesDamagedHead(SharedMemoryStore):
    """``read_head`` and appends say a wrong byte."""

    def _checked_head(self, path: str, session_id: str) -> Head:
        try:
            return super()._checked_head(path, session_id)
        except CorruptLog as error:
            raise _elsewhere(error) from error


class Unbound(SharedMemoryStore):
    """Reads any session's log under any name."""

    def _binding(self, path: str, session_id: str) -> SessionId | None:  # noqa: ARG002
        return None


class ReadsAllUnbound(SharedMemoryStore):
    """``read_all`` reads any session's log under any name."""

    def _binding(self, path: str, session_id: str) -> SessionId | None:
        return None if path == "read_all" else super()._binding(path, session_id)


class ReadsUnbound(SharedMemoryStore):
    """``read`` reads any session's log under any name."""

    def _binding(self, path: str, session_id: str) -> SessionId | None:
        return None if path == "read" else super()._binding(path, session_id)


class FollowsUnbound(SharedMemoryStore):
    """``follow`` reads any session's log under any name."""

    def _binding(self, path: str, session_id: str) -> SessionId | None:
        return None if path == "follow" else super()._binding(path, session_id)


class HeadUnbound(SharedMemoryStore):
    """``read_head`` tells the head of any session's log under any name."""

    def _binding(self, path: str, session_id: str) -> SessionId | None:
        return None if path == "read_head" else super()._binding(path, session_id)


class AppendsUnbound(SharedMemoryStore):
    """Appends to any session's log under any name."""

    def _binding(self, path: str, session_id: str) -> SessionId | None:
        return None if path == "append" else super()._binding(path, session_id)


class HidesDamageFromAudits(SharedMemoryStore):
    """``read_raw`` gives only what verifies."""

    async def read_raw(self, session_id: str) -> AsyncGenerator[bytes, None]:
        async with aclosing(self.read(session_id)) as records:
            async for record in records:
                yield record.line + b"\n"


class RefusesTornTail(SharedMemoryStore):
    """Takes the mark of a crash for damage."""

    async def read_all(self, session_id: str) -> list[HashedEntry]:
        if self.place.tails.get(SessionId(session_id)):
            raise CorruptLog("an unfinished record", damage=Damage.SHAPE, seq=0, offset=0)
        return await super().read_all(session_id)


class ServesTornTail(SharedMemoryStore):
    """Serves a record that lacks its line feed, which no commit mark ends."""

    async def read_all(self, session_id: str) -> list[HashedEntry]:
        records = await super().read_all(session_id)
        tail = self.place.tails.get(SessionId(session_id), b"")
        return [*records, parse_record(tail)] if tail.endswith(b"}") else records


class CutsTailFromAudits(SharedMemoryStore):
    """``read_raw`` leaves out what follows the last line feed."""

    async def read_raw(self, session_id: str) -> AsyncGenerator[bytes, None]:
        async with aclosing(super().read_raw(session_id)) as parts:
            async for data in parts:
                if data.endswith(b"\n"):
                    yield data


class GluesToTornTail(SharedMemoryStore):
    """Writes behind an unfinished record, on the same line."""

    def _commit(self, session_id: str, expected: Head | None, records: Sequence[HashedEntry]) -> None:
        tail = self.place.tails.get(SessionId(session_id), b"")
        super()._commit(session_id, expected, records)
        if tail:
            log = self._logs[SessionId(session_id)]
            glued = log[-len(records)]
            log[-len(records)] = HashedEntry(
                tail + glued.line, hash=glued.hash, prev_hash=glued.prev_hash, seq=glued.seq
            )


class HidesEmptySession(SharedMemoryStore):
    """A session that holds no record is not there."""

    def _log(self, session_id: str) -> list[HashedEntry]:
        log = super()._log(session_id)
        if not log:
            raise SessionNotFound(SessionId(session_id))
        return log


class ListsNoEmptySession(SharedMemoryStore):
    """Lists the sessions that hold records."""

    async def list_sessions(self) -> list[SessionId]:
        return [session_id for session_id in await super().list_sessions() if self._logs[session_id]]


class ScansForHead(SharedMemoryStore):
    """Reads the whole log to tell its head."""

    async def read_head(self, session_id: str) -> Head | None:
        records = await self.read_all(session_id)
        return records[-1].head if records else None


class ScansToAppend(SharedMemoryStore):
    """Verifies the whole log at each append."""

    def _commit(self, session_id: str, expected: Head | None, records: Sequence[HashedEntry]) -> None:
        check = self._checker("append", session_id)
        for index in range(len(self._logs.get(SessionId(session_id), ()))):
            check(self._fetch(session_id, index).line)
        super()._commit(session_id, expected, records)


class CountsNothing(SharedMemoryStore):
    """Its author's seam counts nothing, so that any cost looks flat."""

    def _fetch(self, session_id: str, index: int) -> HashedEntry:
        return self._log(session_id)[index]


def _copied(records: Sequence[HashedEntry]) -> list[HashedEntry]:
    """Return records in memory of their own, as a database driver that fetches all of them does."""
    return [parse_record(bytes(bytearray(record.line))) for record in records]


class ReadsUnbounded(SharedMemoryStore):
    """``read`` fetches the whole log first."""

    async def read(self, session_id: str, *, after: int | Position | None = None) -> AsyncGenerator[HashedEntry, None]:
        for record in _copied(await self.read_all(session_id)):
            if not isinstance(after, int) or record.seq > after:
                yield record


class FollowsUnbounded(SharedMemoryStore):
    """``follow`` keeps what it gave."""

    async def follow(
        self, session_id: str, *, after: int | Position | None = None
    ) -> AsyncGenerator[HashedEntry, None]:
        kept: list[HashedEntry] = []
        async with aclosing(super().follow(session_id, after=after)) as records:
            async for record in records:
                kept += _copied([record])
                yield record


class ReadsRawUnbounded(SharedMemoryStore):
    """``read_raw`` joins the whole log first."""

    async def read_raw(self, session_id: str) -> AsyncGenerator[bytes, None]:
        async with aclosing(super().read_raw(session_id)) as parts:
            data = b"".join([part async for part in parts])
        yield data


class WritesThroughLock(SharedMemoryStore):
    """Knows of no lock."""

    def _check_unlocked(self, session_id: str) -> None:
        pass


class WaitsForLock(SharedMemoryStore):
    """Waits for a lock for ever, instead of saying SessionLocked."""

    async def append(self, session_id: str, *records: HashedEntry) -> None:
        while session_id in self.place.locked:
            await anyio.lowlevel.checkpoint()
        await super().append(session_id, *records)


class GivesUpAtOnce(SharedMemoryStore):
    """Says SessionLocked without having waited."""

    lock_turns = 0


class GivesUpDeletionAtOnce(SharedMemoryStore):
    """Waits for a lock to append, and not to delete."""

    async def delete_session(self, session_id: str, expected: Head | None) -> None:
        await MemoryStore.delete_session(self, session_id, expected)


class FailsOnLock(SharedMemoryStore):
    """Takes a lock for a failure of the disk."""

    def _check_unlocked(self, session_id: str) -> None:
        if session_id in self.place.locked:
            raise StoreFailed("database is locked")


class WritesThenSaysLocked(SharedMemoryStore):
    """Says SessionLocked, and has written."""

    def _commit(self, session_id: str, expected: Head | None, records: Sequence[HashedEntry]) -> None:
        if session_id in self.place.locked:
            self._logs[SessionId(session_id)].extend(records)
        super()._commit(session_id, expected, records)


class StaysLocked(SharedMemoryStore):
    """Once a session was locked, it stays so."""

    def _check_unlocked(self, session_id: str) -> None:
        self._seen: set[str] = getattr(self, "_seen", set()) | self.place.locked
        if session_id in self._seen:
            self.place.locked.add(session_id)
        super()._check_unlocked(session_id)


class SaysAllExist(SharedMemoryStore):
    """``exists`` says yes."""

    async def exists(self, session_id: str) -> bool:
        await super().exists(session_id)
        return True


class SaysNoneExist(SharedMemoryStore):
    """``exists`` says no."""

    async def exists(self, session_id: str) -> bool:
        await super().exists(session_id)
        return False


class HeadOfMissingIsNone(SharedMemoryStore):
    """``read_head`` takes a session that is not there for one without records."""

    async def read_head(self, session_id: str) -> Head | None:
        try:
            return await super().read_head(session_id)
        except SessionNotFound:
            return None


class RawOfMissingIsEmpty(SharedMemoryStore):
    """``read_raw`` of a session that is not there gives no bytes."""

    async def read_raw(self, session_id: str) -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(super().read_raw(session_id)) as parts:
                async for data in parts:
                    yield data
        except SessionNotFound:
            return


class TracesIntoLog(SharedMemoryStore):
    """Writes the trace into the log."""

    async def append_trace(self, session_id: str, trace_entry: Any) -> None:
        await super().append_trace(session_id, trace_entry)
        if session_id in self._logs:
            log = self._logs[SessionId(session_id)]
            log.append(log[-1])


class TracesMakeSessions(SharedMemoryStore):
    """A trace makes its session."""

    async def append_trace(self, session_id: str, trace_entry: Any) -> None:
        self._logs.setdefault(SessionId(session_id), [])
        await super().append_trace(session_id, trace_entry)


class FollowSkips(SharedMemoryStore):
    """A follower misses what is appended in a batch behind its first record."""

    async def follow(
        self, session_id: str, *, after: int | Position | None = None
    ) -> AsyncGenerator[HashedEntry, None]:
        there = len(self._log(session_id))
        async with aclosing(super().follow(session_id, after=after)) as records:
            async for record in records:
                if record.seq < there or (record.seq - there) % 3 == 0:
                    yield record


class FollowRepeats(SharedMemoryStore):
    """A follower that waited gets the last record again."""

    async def follow(
        self, session_id: str, *, after: int | Position | None = None
    ) -> AsyncGenerator[HashedEntry, None]:
        there = len(self._log(session_id))
        async with aclosing(super().follow(session_id, after=after)) as records:
            async for record in records:
                yield record
                if record.seq == there:
                    yield record


BREAKS: dict[type[SharedMemoryStore], set[str]] = {
    ServesAnything: {
        "changed_record_is_not_served",
        "moved_records_are_not_served",
        "foreign_log_is_not_served",
        "damaged_end_refuses_appends",
    },
    ReadsAllUnverified: {"changed_record_is_not_served", "moved_records_are_not_served"},
    ReadsUnverified: {"changed_record_is_not_served", "moved_records_are_not_served"},
    FollowsUnverified: {"changed_record_is_not_served", "moved_records_are_not_served"},
    TrustsHead: {"foreign_log_is_not_served", "damaged_end_refuses_appends"},
    AppendsToAnything: {"foreign_log_is_not_served", "damaged_end_refuses_appends"},
    VerifiesFromAfter: {"changed_record_is_not_served", "moved_records_are_not_served"},
    ChecksHashesOnly: {"moved_records_are_not_served"},
    MisplacesDamage: {"changed_record_is_not_served"},
    CountsOffsetWithoutLF: {"changed_record_is_not_served", "moved_records_are_not_served"},
    CountsOffsetFromTail: {"damaged_tail_is_not_served"},
    CountsOffsetFromPosition: {"damage_behind_position_is_not_served"},
    MisplacesDamagedHead: {"damaged_end_refuses_appends", "foreign_log_is_not_served"},
    Unbound: {"foreign_log_is_not_served"},
    ReadsAllUnbound: {"foreign_log_is_not_served"},
    ReadsUnbound: {"foreign_log_is_not_served"},
    FollowsUnbound: {"foreign_log_is_not_served"},
    HeadUnbound: {"foreign_log_is_not_served"},
    AppendsUnbound: {"foreign_log_is_not_served"},
    HidesDamageFromAudits: {"raw_bytes_of_damage"},
    RefusesTornTail: {"torn_tail_is_no_error"},
    ServesTornTail: {"torn_tail_is_no_error"},
    CutsTailFromAudits: {"torn_tail_is_no_error"},
    GluesToTornTail: {"torn_tail_is_no_error"},
    HidesEmptySession: {"empty_log_has_no_head"},
    ListsNoEmptySession: {"empty_log_has_no_head"},
    ScansForHead: {"cost_of_head"},
    ScansToAppend: {"cost_of_append"},
    CountsNothing: {"cost_of_head", "cost_of_append"},
    ReadsUnbounded: {"streams_hold_little"},
    FollowsUnbounded: {"streams_hold_little"},
    ReadsRawUnbounded: {"streams_hold_little"},
    WritesThroughLock: {"locked_session_is_told"},
    WaitsForLock: {"locked_session_is_told"},
    FailsOnLock: {"locked_session_is_told"},
    GivesUpAtOnce: {"freed_lock_is_waited_for"},
    GivesUpDeletionAtOnce: {"freed_lock_is_waited_for"},
    WritesThenSaysLocked: {"locked_session_is_told"},
    StaysLocked: {"locked_session_is_told"},
    SaysAllExist: {"create_session"},
    SaysNoneExist: {"create_session"},
    HeadOfMissingIsNone: {"missing_session_is_told"},
    RawOfMissingIsEmpty: {"missing_session_is_told"},
    TracesIntoLog: {"trace_leaves_log_alone"},
    TracesMakeSessions: {"trace_leaves_log_alone"},
    FollowSkips: {"several_followers"},
    FollowRepeats: {"several_followers"},
}
"""The checks that must catch each store."""
