"""A store in memory: the model that every other store is compared with.

Keeps every promise of :mod:`sessionlog.store` as long as the process lives.
"""

from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.lowlevel

from ..entries import Extension, encode_entry
from ..errors import EntryNotFound, HeadConflict, SessionExists, SessionNotFound, StoreFailed
from ..ids import EntryHash, Head, SessionId
from ..owner import Owner
from ..record import LINE_BYTES_MAX, HashedEntry, Position
from ..store import check_commit, check_count, check_session_id


class MemoryStore:
    """Keeps sessions in memory."""

    def __init__(self, *, line_bytes_max: int = LINE_BYTES_MAX) -> None:
        """Make an empty store."""
        self._line_bytes_max = line_bytes_max
        self._logs: dict[str, list[HashedEntry]] = {}
        self._traces: dict[str, list[Any]] = {}
        self._grown: dict[str, anyio.Event] = {}
        self._owner = Owner()
        self._closed = False

    def __repr__(self) -> str:
        """Show how much is in it."""
        return f"MemoryStore({len(self._logs)} sessions{', closed' if self._closed else ''})"

    @property
    def line_bytes_max(self) -> int:
        """The longest record line that this store takes."""
        return self._line_bytes_max

    async def create_session(self, session_id: str, records: Sequence[HashedEntry]) -> None:
        """Make the session with its first records in one commit."""
        expected = await self._ready(session_id, records)
        if self._logs.get(session_id):
            raise SessionExists(session_id)
        self._commit(session_id, expected, records)

    async def append(self, session_id: str, *records: HashedEntry) -> None:
        """Append ``records`` in one atomic commit, if they chain onto the head."""
        expected = await self._ready(session_id, records)
        self._commit(session_id, expected, records)

    async def read_all(self, session_id: str) -> list[HashedEntry]:
        """Return every record."""
        await anyio.lowlevel.checkpoint()
        return list(self._log(session_id))

    async def read(self, session_id: str, *, after: int | Position | None = None) -> AsyncGenerator[HashedEntry, None]:
        """Stream the records behind ``after``."""
        await anyio.lowlevel.checkpoint()
        for record in self._log(session_id)[self._first_seq(session_id, after) :]:
            yield record

    async def follow(
        self, session_id: str, *, after: int | Position | None = None
    ) -> AsyncGenerator[HashedEntry, None]:
        """Stream the records behind ``after``, then wait for more."""
        await anyio.lowlevel.checkpoint()
        seq = self._first_seq(session_id, after)
        followed = self._log(session_id)
        while True:
            log = self._log(session_id)
            if log is not followed:
                raise EntryNotFound(session_id, followed[0].hash if followed else "")
            if seq >= len(log):
                await self._grown.setdefault(session_id, anyio.Event()).wait()
                continue
            yield log[seq]
            seq += 1

    async def read_head(self, session_id: str) -> Head | None:
        """Return the last record's position and hash."""
        await anyio.lowlevel.checkpoint()
        log = self._log(session_id)
        return log[-1].head if log else None

    async def read_head_hash(self, session_id: str) -> EntryHash | None:
        """Return the last record's hash."""
        head = await self.read_head(session_id)
        return None if head is None else EntryHash(head.hash)

    async def read_position(self, session_id: str) -> Position | None:
        """Return the last record's position."""
        await anyio.lowlevel.checkpoint()
        log = self._log(session_id)
        return Position(log[-1].seq, log[-1].hash, sum(len(record.line) + 1 for record in log)) if log else None

    async def read_tail(self, session_id: str, count: int) -> list[HashedEntry]:
        """Return the last ``count`` records."""
        await anyio.lowlevel.checkpoint()
        check_count(count)
        log = self._log(session_id)
        return log[max(0, len(log) - count) :]

    async def stamps(self) -> dict[SessionId, str]:
        """Return a change token for each session: its head, of which every record before it is a part."""
        await anyio.lowlevel.checkpoint()
        self._check_open()
        return {SessionId(name): f"{len(log)}-{log[-1].hash}" if log else "0" for name, log in self._logs.items()}

    async def read_raw(self, session_id: str) -> AsyncGenerator[bytes, None]:
        """Stream the log's bytes."""
        await anyio.lowlevel.checkpoint()
        for record in list(self._log(session_id)):
            yield record.line + b"\n"

    async def list_sessions(self) -> list[SessionId]:
        """Return the ids of all sessions, last activity first."""
        await anyio.lowlevel.checkpoint()
        self._check_open()
        return [SessionId(session_id) for session_id in reversed(self._logs)]

    async def exists(self, session_id: str) -> bool:
        """Tell whether the session is there."""
        await anyio.lowlevel.checkpoint()
        self._check_open()
        return check_session_id(session_id) in self._logs

    async def append_trace(self, session_id: str, trace_entry: Any) -> None:
        """Add a JSON value to the session's raw trace."""
        await anyio.lowlevel.checkpoint()
        self._check_open()
        encode_entry(Extension(ts=0, domain="trace", payload=trace_entry))
        self._log(session_id)
        self._traces.setdefault(session_id, []).append(trace_entry)

    async def delete_session(self, session_id: str, expected: Head | None) -> None:
        """Delete the session and its trace, if its head is ``expected``."""
        await anyio.lowlevel.checkpoint()
        self._delete(session_id, expected)

    async def aclose(self) -> None:
        """Refuse further calls."""
        self._owner.check()
        await anyio.lowlevel.checkpoint()
        self._close()

    async def __aenter__(self) -> Self:
        """Return the store."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the store."""
        self._owner.check()
        self._close()

    def _close(self) -> None:
        self._closed = True
        for grown in self._grown.values():  # whoever follows wakes up and is told
            grown.set()

    async def _ready(self, session_id: str, records: Sequence[HashedEntry]) -> Head | None:
        expected = check_commit(session_id, records, line_bytes_max=self._line_bytes_max)
        await anyio.lowlevel.checkpoint()
        self._check_open()
        return expected

    def _commit(self, session_id: str, expected: Head | None, records: Sequence[HashedEntry]) -> None:
        """Check the condition and write, with no await in between."""
        log = self._logs.get(session_id, [])
        found = log[-1].head if log else None
        if found is None and expected is not None and session_id not in self._logs:
            raise SessionNotFound(session_id)
        if found != expected:
            raise HeadConflict(session_id, expected=expected, found=found)
        self._logs.pop(session_id, None)  # and in again: the last in the order of activity
        self._logs[session_id] = log
        log.extend(records)
        self._wake(session_id)

    def _delete(self, session_id: str, expected: Head | None) -> None:
        """Check the condition and delete, with no await in between."""
        log = self._log(session_id)
        found = log[-1].head if log else None
        if found != expected:
            raise HeadConflict(session_id, expected=expected, found=found)
        del self._logs[session_id]
        self._traces.pop(session_id, None)
        self._wake(session_id)

    def _wake(self, session_id: str) -> None:
        grown = self._grown.pop(session_id, None)
        if grown is not None:
            grown.set()

    def _log(self, session_id: str) -> list[HashedEntry]:
        self._check_open()
        try:
            return self._logs[check_session_id(session_id)]
        except KeyError:
            raise SessionNotFound(session_id) from None

    def _first_seq(self, session_id: str, after: int | Position | None) -> int:
        """Return the position of the first record behind ``after``."""
        if not isinstance(after, Position):
            return 0 if after is None else after + 1
        log = self._log(session_id)
        if not 0 <= after.seq < len(log) or log[after.seq].hash != after.hash:
            raise EntryNotFound(session_id, after.hash)
        return after.seq + 1

    def _check_open(self) -> None:
        if self._closed:
            raise StoreFailed("the store is closed: open it again")
        self._owner.check()
