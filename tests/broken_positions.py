"""Stores that read on from where they stopped in a wrong way: each breaks one promise."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import anyio
import anyio.lowlevel

from right_store import SharedMemoryStore
from sessionlog import (
    CorruptLog,
    Damage,
    EntryNotFound,
    HashedEntry,
    Position,
    SessionId,
    SessionNotFound,
)


class CountsBytesWithoutLf(SharedMemoryStore):
    """A position's ``end`` counts no line feeds."""

    async def read_position(self, session_id: str) -> Position | None:
        position = await super().read_position(session_id)
        return position and Position(position.seq, position.hash, position.end - position.seq - 1)


class LagsBehindInPositions(SharedMemoryStore):
    """``read_position`` tells where the log was one append ago."""

    async def read_position(self, session_id: str) -> Position | None:
        position = await super().read_position(session_id)
        before = self.__dict__.get("_before")
        self.__dict__["_before"] = position
        return before or position


class PositionOfMissingIsNone(SharedMemoryStore):
    """``read_position`` takes a session that is not there for one without records."""

    async def read_position(self, session_id: str) -> Position | None:
        try:
            return await super().read_position(session_id)
        except SessionNotFound:
            return None


class ReadsFromPosition(SharedMemoryStore):
    """``read`` gives the record at the position again."""

    async def read(self, session_id: str, *, after: int | Position | None = None) -> AsyncGenerator[HashedEntry, None]:
        if isinstance(after, Position):
            yield self._fetch(session_id, after.seq)
        async with aclosing(super().read(session_id, after=after)) as records:
            async for record in records:
                yield record


class FollowsFromStart(SharedMemoryStore):
    """``follow`` does not look at the position."""

    async def follow(
        self, session_id: str, *, after: int | Position | None = None
    ) -> AsyncGenerator[HashedEntry, None]:
        start = None if isinstance(after, Position) else after
        async with aclosing(super().follow(session_id, after=start)) as records:
            async for record in records:
                yield record


class TrustsPosition(SharedMemoryStore):
    """Counts records up to the position, and does not ask whether the log holds it."""

    def _check_held(self, session_id: str, position: Position) -> None:
        pass


class WaitsForPosition(SharedMemoryStore):
    """A follower waits until the record that it was given is there."""

    async def follow(
        self, session_id: str, *, after: int | Position | None = None
    ) -> AsyncGenerator[HashedEntry, None]:
        while True:
            try:
                async with aclosing(super().follow(session_id, after=after)) as records:
                    async for record in records:
                        yield record
            except EntryNotFound:
                await anyio.lowlevel.checkpoint()


class TakesReplacementForDamage(SharedMemoryStore):
    """Says CorruptLog of a log that was made anew."""

    def _check_held(self, session_id: str, position: Position) -> None:
        try:
            super()._check_held(session_id, position)
        except EntryNotFound as error:
            seq = position.seq
            raise CorruptLog("another record stands there", damage=Damage.LINK, seq=seq, offset=position.end) from error


class ServesAnythingBehindPosition(SharedMemoryStore):
    """Verifies nothing where it begins behind a position."""

    def _begin(self, path: str, session_id: str, after: int | Position | None) -> tuple[Callable[[bytes], object], int]:
        check, index = super()._begin(path, session_id, after)
        return ((lambda line: line) if isinstance(after, Position) else check), index


class ScansToPosition(SharedMemoryStore):
    """Reads the log up to the position."""

    def _check_held(self, session_id: str, position: Position) -> None:
        for index in range(position.seq):
            self._fetch(session_id, index)
        super()._check_held(session_id, position)


class ScansForPosition(SharedMemoryStore):
    """Reads the whole log to tell where it ends."""

    async def read_position(self, session_id: str) -> Position | None:
        found: Position | None = None
        for record in await self.read_all(SessionId(session_id)):
            found = Position.after(record, found)
        return found


class CountsTailFromStart(SharedMemoryStore):
    """``read_tail`` gives the first records."""

    async def read_tail(self, session_id: str, count: int) -> list[HashedEntry]:
        await super().read_tail(session_id, count)
        return self._log(session_id)[:count]


class TakesAnyCount(SharedMemoryStore):
    """``read_tail`` takes what slices take."""

    async def read_tail(self, session_id: str, count: int) -> list[HashedEntry]:
        return await super().read_tail(session_id, count) if count >= 0 else self._log(session_id)


class ReadsTailUnverified(SharedMemoryStore):
    """``read_tail`` serves what it finds."""

    def _unverified(self) -> tuple[str, ...]:
        return ("read_tail",)


class ScansForTail(SharedMemoryStore):
    """``read_tail`` reads the whole log."""

    async def read_tail(self, session_id: str, count: int) -> list[HashedEntry]:
        await self.read_all(session_id)
        return await super().read_tail(session_id, count)


class StampsByLength(SharedMemoryStore):
    """Its change tokens are the numbers of records: a log that was made anew looks as it did."""

    async def stamps(self) -> dict[SessionId, str]:
        return {SessionId(name): str(len(self._logs[name])) for name in await super().stamps()}


class StampsOnce(SharedMemoryStore):
    """Keeps the tokens that it gave first."""

    async def stamps(self) -> dict[SessionId, str]:
        self._given: dict[SessionId, str] = await super().stamps() | getattr(self, "_given", {})
        return {name: self._given[name] for name in await super().stamps()}


class StampsLatest(SharedMemoryStore):
    """Gives a token for the session that was changed last."""

    async def stamps(self) -> dict[SessionId, str]:
        return dict(list((await super().stamps()).items())[-1:])


BREAKS: dict[type[SharedMemoryStore], set[str]] = {
    CountsBytesWithoutLf: {"position_of_last_record"},
    LagsBehindInPositions: {"position_of_last_record"},
    PositionOfMissingIsNone: {"missing_session_is_told"},
    ReadsFromPosition: {"read_after_position"},
    FollowsFromStart: {"follow_after_position"},
    TrustsPosition: {"foreign_position_is_refused", "replaced_log_is_noticed"},
    WaitsForPosition: {"foreign_position_is_refused", "replaced_log_is_noticed"},
    TakesReplacementForDamage: {"foreign_position_is_refused", "replaced_log_is_noticed"},
    ServesAnythingBehindPosition: {"damage_behind_position_is_not_served"},
    ScansToPosition: {"cost_of_position"},
    ScansForPosition: {"cost_of_position"},
    CountsTailFromStart: {"read_tail"},
    TakesAnyCount: {"read_tail"},
    ReadsTailUnverified: {"damaged_tail_is_not_served"},
    ScansForTail: {"cost_of_position"},
    StampsByLength: {"stamps_tell_changes"},
    StampsOnce: {"stamps_tell_changes"},
    StampsLatest: {"stamps_tell_changes"},
}
"""The checks that must catch each store."""
