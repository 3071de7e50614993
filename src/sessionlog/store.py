"""The store: one narrow promise, conditional append, and the reads around it.

A store keeps one chain of records per session id. What every store promises, in prose; ``sessionlog.testing``
checks it:

*Append is conditional and atomic.* ``append(session_id, *records)`` succeeds only if the first record's
``prev_hash`` is the session's head and its ``seq`` follows, atomically against every other task, handle and
process. All of the records become readable, or none. Otherwise :class:`HeadConflict`, and nothing was written. A
first record (seq 0) makes the session. The check *is* the write: there is no moment between the two for another
writer to slip into.

*A return means it is in, an exception means it is out.* That holds for cancellation too: a cancelled append either
raises and wrote nothing, or, once the commit has begun, finishes and returns; the cancellation then surfaces at the
caller's next checkpoint. What "kept" survives (a killed process, power loss) is each store's own word.

*Reads verify.* They give whole records that chain from the first one on; damage raises :class:`CorruptLog` instead
of being served. It names the first bad record by its ``seq``, and by its ``offset``: the byte, in the log as
``read_raw`` streams it, where that record's line starts. A read that begins at the first record or at a
:class:`Position` knows it; the other calls tell the true offset or ``None``. Bytes of an unfinished record at the end
are no part of the log and no error. Reads of a session that is not there raise :class:`SessionNotFound`, whichever read
it is; ids that cannot name a session raise :class:`InvalidSessionId`. Whoever stops a stream early closes it
(``contextlib.aclosing``).

*Deletion is conditional as an append is.* ``delete_session`` removes a session whose head is the one expected, with its
trace, atomically against every append: an acknowledged append is in what was deleted, or the deletion raises
:class:`HeadConflict` and nothing is gone. The id may be used again. Whoever knew the session meets
:class:`SessionNotFound` then. Once it was made anew, that is :class:`HeadConflict` for an append and
:class:`EntryNotFound` for reading on; followers that wait are woken to be told. A log that was made anew with the same
first record cannot be told from the deleted one.

*Reading goes on where it stopped.* ``read(after=Position)`` and ``follow(after=Position)`` give what stands behind a
record, at the cost of what is new, whatever the log's length. That the log still holds the record is checked first, by
its hash: by the next record, which chains onto it, or by itself if it is the last. If not, they raise
:class:`EntryNotFound`: the log was cut, replaced or made anew, and what was folded from it before is void. So does a
reader or follower that a log was replaced under. ``Position.end`` is for stores that keep logs as bytes; others may
find the record by its place and hash alone.

*One event loop.* A store belongs to the event loop, and so the thread, that first used it. Every method raises
:class:`WrongEventLoop` on any other, before anything is read or written, until the owner has ended.

*Order.* Whoever reads after an append returned sees it. Appends of one task are in the order of their calls.
"""

from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from .binding import BINDING_BYTES_MAX, bound_session
from .entries import FORMAT
from .errors import InvalidEntry, InvalidSessionId
from .ids import EntryHash, Head, SessionId, is_session_id
from .record import HashedEntry, Position


class Store(Protocol):
    """Keeps chains of records; see the module for the contract.

    Use it as an async context manager, or ``aclose`` it.
    """

    @property
    def line_bytes_max(self) -> int:
        """The longest record line, in bytes without LF, that this store takes and reads."""
        ...

    async def create_session(self, session_id: str, records: Sequence[HashedEntry]) -> None:
        """Make the session with its first records in one commit.

        Raises :class:`SessionExists` if it holds records already, else as :meth:`append`.
        """
        ...

    async def append(self, session_id: str, *records: HashedEntry) -> None:
        """Append ``records``, which chain onto each other, in one atomic commit.

        Raises :class:`HeadConflict`, :class:`SessionNotFound` (no such session and the first record's seq is not 0),
        :class:`InvalidEntry` (the records do not chain, bind another session, or are too long), :class:`SessionLocked`,
        :class:`StoreFailed`, :class:`CorruptLog`. Nothing was written after any of these but a ``StoreFailed`` that
        says ``poisoned``.
        """
        ...

    async def read_all(self, session_id: str) -> list[HashedEntry]:
        """Return every record, verified. Raises :class:`SessionNotFound`, :class:`CorruptLog`, :class:`StoreFailed`."""
        ...

    def read(self, session_id: str, *, after: int | Position | None = None) -> AsyncGenerator[HashedEntry, None]:
        """Stream the records behind ``after``, verified, in bounded memory. Ends at the last whole record.

        Raises, while iterating, as :meth:`read_all`; :class:`EntryNotFound` if the log does not hold the record at
        ``after``, or was replaced by another one while it was read.

        Args:
            session_id: The session.
            after: ``None`` for all records. A 0-based position: the log is verified from its first record on, and those
                behind the position are given. A :class:`Position`: reading begins there, at the cost of what is new,
                and what stands before it is not looked at.
        """
        ...

    def follow(self, session_id: str, *, after: int | Position | None = None) -> AsyncGenerator[HashedEntry, None]:
        """Stream as :meth:`read`, then wait for more, for ever: each record once and in order. Ends by cancellation."""
        ...

    async def read_position(self, session_id: str) -> Position | None:
        """Return the last record's position, from which reading can go on later; as :meth:`read_head`."""
        ...

    async def read_head(self, session_id: str) -> Head | None:
        """Return the last record's position and hash, at a cost that does not grow with the log.

        ``None``: the session is there but holds no record yet. Raises :class:`SessionNotFound`, :class:`CorruptLog`.
        """
        ...

    async def read_head_hash(self, session_id: str) -> EntryHash | None:
        """Return the last record's hash; as :meth:`read_head`."""
        ...

    def read_raw(self, session_id: str) -> AsyncGenerator[bytes, None]:
        """Stream the log's bytes as they lie there, unverified and with whatever follows the last LF: for audits.

        Raises, while iterating, :class:`SessionNotFound`, :class:`StoreFailed`, and :class:`CorruptLog` where something
        else stands in the log's place.
        """
        ...

    async def list_sessions(self) -> list[SessionId]:
        """Return the ids of all sessions, last activity first."""
        ...

    async def exists(self, session_id: str) -> bool:
        """Tell whether the session is there."""
        ...

    async def append_trace(self, session_id: str, trace_entry: Any) -> None:
        """Add a JSON value to the session's raw trace, for debugging: unchained, and not flushed.

        Raises :class:`InvalidEntry` for what JSON cannot hold, :class:`SessionNotFound`, :class:`StoreFailed`.
        """
        ...

    async def read_tail(self, session_id: str, count: int) -> list[HashedEntry]:
        """Return the last ``count`` records, all if there are not so many, at the cost of reading these.

        They are verified, linked to each other, and the last one is the head; what stands before them is not looked at.
        Raises as :meth:`read_all`, and ``ValueError`` for a negative ``count``.
        """
        ...

    async def stamps(self) -> dict[SessionId, str]:
        """Return a change token for each session, without reading the logs.

        If a session's token equals an earlier one, its log is what it was when that was taken; another token says that
        it may have changed. Take the tokens first and read then: what is appended in between is noticed the next time.
        """
        ...

    async def delete_session(self, session_id: str, expected: Head | None) -> None:
        """Delete the session and its trace, if its head is ``expected`` (``None``: it holds no record).

        Raises :class:`HeadConflict`, :class:`SessionNotFound`, :class:`SessionLocked`, :class:`StoreFailed`,
        :class:`CorruptLog`. Nothing is gone after any of these but a ``StoreFailed`` that says ``poisoned``.
        """
        ...

    async def aclose(self) -> None:
        """Wait for the commits that were accepted, and let go of everything. Further calls raise ``StoreFailed``."""
        ...

    async def __aenter__(self) -> Self:
        """Return the store."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the store."""
        ...


def check_session_id(session_id: str) -> SessionId:
    """Return ``session_id`` if it may name a session, else raise :class:`InvalidSessionId`."""
    if not isinstance(session_id, str) or not is_session_id(session_id):
        raise InvalidSessionId(session_id)
    return SessionId(session_id)


def check_count(count: int) -> None:
    """Raise ``ValueError`` unless so many records can be asked for."""
    if count < 0:
        raise ValueError(f"{count} records cannot be read: ask for 0 or more")


def check_commit(session_id: str, records: Sequence[HashedEntry], *, line_bytes_max: int) -> Head | None:
    """Check that ``records`` may be one commit to ``session_id``; return the head that they must meet.

    For stores to call first, before anything is written. Raises :class:`InvalidSessionId`, :class:`InvalidEntry`.
    """
    check_session_id(session_id)
    if not records:
        raise InvalidEntry("nothing to append: give at least one record")
    before: HashedEntry | None = None
    for record in records:
        if len(record.line) > line_bytes_max:
            raise InvalidEntry(f"record {record.seq} is {len(record.line)} bytes long, more than {line_bytes_max}")
        if before is not None and (record.prev_hash != before.hash or record.seq != before.seq + 1):
            raise InvalidEntry(f"record {record.seq} does not chain onto record {before.seq} of the same commit")
        before = record
    first = records[0]
    if (first.seq == 0) is not (first.prev_hash is None):
        raise InvalidEntry("the first record of a log, and only that, has seq 0 and no prev_hash")
    if first.prev_hash is not None:
        return Head(first.seq - 1, first.prev_hash)
    if bound_session(first.line[:BINDING_BYTES_MAX]) != (FORMAT, session_id):
        raise InvalidEntry(f"the first record does not bind the log to session {session_id} in format {FORMAT}")
    return None


__all__ = ["Store", "check_commit", "check_count", "check_session_id"]
