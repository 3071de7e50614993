"""Stores that delete in a wrong way: each breaks one promise of ``delete_session``."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import anyio
import anyio.lowlevel

from right_store import Place, SharedMemoryStore
from sessionlog import (
    CorruptLog,
    Damage,
    EntryNotFound,
    HashedEntry,
    Head,
    HeadConflict,
    Position,
    SessionId,
    SessionNotFound,
)


class KeepsEmptySession(SharedMemoryStore):
    """Deletes the records, and leaves the session."""

    def _delete(self, session_id: str, expected: Head | None) -> None:
        super()._delete(session_id, expected)
        self._logs[SessionId(session_id)] = []


class DeletesNothing(SharedMemoryStore):
    """Says that the session is deleted."""

    def _delete(self, session_id: str, expected: Head | None) -> None:  # noqa: ARG002
        self._log(session_id)


class DeletesAnyHead(SharedMemoryStore):
    """Does not look at the head."""

    def _delete(self, session_id: str, expected: Head | None) -> None:  # noqa: ARG002
        log = self._log(session_id)
        super()._delete(session_id, log[-1].head if log else None)


class ChecksHeadThenDeletes(SharedMemoryStore):
    """Looks at the head, gives way, and deletes: an append that comes in between is lost."""

    async def delete_session(self, session_id: str, expected: Head | None) -> None:
        log = self._log(session_id)
        if (log[-1].head if log else None) != expected:
            raise HeadConflict(session_id, expected=expected, found=log[-1].head if log else None)
        await anyio.lowlevel.checkpoint()
        log = self._log(session_id)
        self._delete(session_id, log[-1].head if log else None)


class DeletesForgivingly(SharedMemoryStore):
    """Deleting what is not there is no error."""

    async def delete_session(self, session_id: str, expected: Head | None) -> None:
        if session_id in self._logs or not session_id.isascii():
            await super().delete_session(session_id, expected)


class RevivesDeleted(SharedMemoryStore):
    """An append to a deleted session makes it again."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._buried: dict[str, list[HashedEntry]] = {}

    def _delete(self, session_id: str, expected: Head | None) -> None:
        log = self._log(session_id)
        super()._delete(session_id, expected)
        self._buried[session_id] = log

    def _commit(self, session_id: str, expected: Head | None, records: Sequence[HashedEntry]) -> None:
        if expected is not None and session_id not in self._logs and session_id in self._buried:
            self._logs[SessionId(session_id)] = self._buried[session_id]
        super()._commit(session_id, expected, records)


class FollowsDeletedForEver(SharedMemoryStore):
    """A follower of a session that is deleted goes on waiting."""

    async def follow(
        self, session_id: str, *, after: int | Position | None = None
    ) -> AsyncGenerator[HashedEntry, None]:
        there = session_id in self._logs
        try:
            async with aclosing(super().follow(session_id, after=after)) as records:
                async for record in records:
                    yield record
        except SessionNotFound:
            if there:
                await anyio.sleep_forever()
            raise


class TakesDeletionForDamage(SharedMemoryStore):
    """A follower of a session that was made anew is told that it is damaged."""

    def _check_same(self, session_id: str, followed: list[HashedEntry]) -> None:
        if self._logs.get(SessionId(session_id)) is not followed:
            raise CorruptLog("the log changed", damage=Damage.LINK, seq=0, offset=0)


class ReadsOnInAnotherLog(SharedMemoryStore):
    """A stream goes on in the log that was made where its own was deleted."""

    async def read(self, session_id: str, *, after: int | Position | None = None) -> AsyncGenerator[HashedEntry, None]:
        if after is not None:
            async with aclosing(super().read(session_id, after=after)) as records:
                async for record in records:
                    yield record
            return
        index = 0
        while index < len(self._log(session_id)):
            yield self._fetch(session_id, index)
            index += 1
            await anyio.lowlevel.checkpoint()


class ReadsDamageInAnotherLog(SharedMemoryStore):
    """Reading on in a log that was made anew is told to be damage, and appending behind the old head too."""

    def _check_held(self, session_id: str, position: Position) -> None:
        try:
            super()._check_held(session_id, position)
        except EntryNotFound as error:
            raise CorruptLog("not there", damage=Damage.LINK, seq=0, offset=0) from error


class GivesWayAfterDeleting(SharedMemoryStore):
    """Awaits once more behind the deletion: whoever is cancelled there is told that nothing was deleted."""

    async def delete_session(self, session_id: str, expected: Head | None) -> None:
        await super().delete_session(session_id, expected)
        await anyio.lowlevel.checkpoint()


class DeletesThroughLock(SharedMemoryStore):
    """A deletion knows of no lock."""

    def _delete(self, session_id: str, expected: Head | None) -> None:
        locked, self.place.locked = self.place.locked, set()
        try:
            super()._delete(session_id, expected)
        finally:
            self.place.locked = locked


class DeletesForItself(SharedMemoryStore):
    """What is deleted is gone in this store alone."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._gone: set[str] = set()

    def _delete(self, session_id: str, expected: Head | None) -> None:
        log = self._log(session_id)
        super()._delete(session_id, expected)
        self._logs[SessionId(session_id)] = log
        self._gone.add(session_id)

    def _log(self, session_id: str) -> list[HashedEntry]:
        return super()._log("deleted" if session_id in self._gone else session_id)

    async def exists(self, session_id: str) -> bool:
        return session_id not in self._gone and await super().exists(session_id)


class TracesOrphans(SharedMemoryStore):
    """Takes a trace of a session that is not there."""

    async def append_trace(self, session_id: str, trace_entry: Any) -> None:
        if session_id in self._logs:
            await super().append_trace(session_id, trace_entry)


BREAKS: dict[type[SharedMemoryStore], set[str]] = {
    KeepsEmptySession: {"delete_removes_session"},
    DeletesNothing: {"delete_removes_session", "delete_is_conditional"},
    DeletesAnyHead: {"delete_is_conditional"},
    ChecksHeadThenDeletes: {"delete_races_appends"},
    DeletesForgivingly: {"delete_removes_session"},
    RevivesDeleted: {"deleted_session_is_told"},
    FollowsDeletedForEver: {"follower_of_deleted_session_is_told"},
    TakesDeletionForDamage: {"follower_of_deleted_session_is_told"},
    ReadsOnInAnotherLog: {"reader_of_deleted_session_is_told"},
    ReadsDamageInAnotherLog: {"deleted_session_is_told"},
    GivesWayAfterDeleting: {"cancelled_delete"},
    DeletesThroughLock: {"locked_session_is_told"},
    DeletesForItself: {"delete_across_handles"},
    TracesOrphans: {"trace_leaves_log_alone"},
}
"""The checks that must catch each store."""
