"""A store that keeps every promise there is, with every seam that the conformance checks can use.

``SharedMemoryStore`` does more than ``MemoryStore``: it is persistent, as long as its ``Place`` lives, may be opened
several times, verifies what it reads, and its place can be damaged, locked and asked what was read. Broken stores are
made from it (``broken_stores``, ``broken_reads``).
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel

from sessionlog import (
    CorruptLog,
    EntryHash,
    EntryNotFound,
    HashedEntry,
    Head,
    MemoryStore,
    Position,
    SessionId,
    SessionLocked,
    parse_record,
)
from sessionlog.binding import BINDING_BYTES_MAX, bound_session, head_from_ends
from sessionlog.scanner import LogScanner
from sessionlog.testing.conformance import Capabilities


class Place:
    """Where the stores of one test keep their data."""

    def __init__(self) -> None:
        self.logs: dict[str, list[HashedEntry]] = {}
        self.tails: dict[str, bytes] = {}
        self.grown: dict[str, anyio.Event] = {}
        self.locked: set[str] = set()
        self.records_read = 0

    async def replace_lines(self, session_id: SessionId, lines: Sequence[bytes]) -> None:
        """Keep the lines as they are, right or wrong."""
        self.logs[session_id] = [_as_record(line) for line in lines]

    async def write_tail(self, session_id: SessionId, tail: bytes) -> None:
        """Keep what follows the last line feed beside the lines."""
        self.tails[session_id] = tail

    async def empty_log(self, session_id: SessionId) -> None:
        """Leave the session without records."""
        self.logs[session_id] = []

    @asynccontextmanager
    async def hold_lock(self, session_id: SessionId) -> AsyncGenerator[None, None]:
        """Lock everybody else out."""
        self.locked.add(session_id)
        yield
        self.locked.discard(session_id)

    def read_cost(self) -> int:
        """Return how many records were read."""
        return self.records_read

    @property
    def capabilities(self) -> Capabilities:
        """Everything."""
        return Capabilities(
            persistent=True,
            several_handles=True,
            replace_lines=self.replace_lines,
            write_tail=self.write_tail,
            empty_log=self.empty_log,
            read_cost=self.read_cost,
            hold_lock=self.hold_lock,
        )


def _as_record(line: bytes) -> HashedEntry:
    try:
        return parse_record(line)
    except CorruptLog:
        return HashedEntry(line, hash=EntryHash(""), prev_hash=None, seq=-1)


def _named_session(first: HashedEntry) -> str:
    bound = bound_session(first.line[:BINDING_BYTES_MAX])
    return bound[1] if bound else ""


class SharedMemoryStore(MemoryStore):
    """Keeps the whole contract over a ``Place``."""

    lock_turns = 100
    """For so many turns of the event loop it waits for a lock."""

    def __init__(self, place: Place) -> None:
        super().__init__(line_bytes_max=256 * 1024)
        self.place = place
        self._logs = place.logs
        self._grown = place.grown

    async def read_all(self, session_id: str) -> list[HashedEntry]:
        await anyio.lowlevel.checkpoint()
        check = self._checker("read_all", session_id)
        records = []
        for index in range(len(self._log(session_id))):
            records.append(self._fetch(session_id, index))
            check(records[-1].line)
        return records

    async def read(self, session_id: str, *, after: int | Position | None = None) -> AsyncGenerator[HashedEntry, None]:
        await anyio.lowlevel.checkpoint()
        check, index = self._begin("read", session_id, after)
        log = self._log(session_id)
        for at in range(index, len(log)):
            self._check_same(session_id, log)
            record = self._fetch(session_id, at)
            check(record.line)
            if not isinstance(after, int) or at > after:
                yield record

    async def follow(
        self, session_id: str, *, after: int | Position | None = None
    ) -> AsyncGenerator[HashedEntry, None]:
        await anyio.lowlevel.checkpoint()
        check, index = self._begin("follow", session_id, after)
        followed = self._log(session_id)
        while True:
            while index >= len(self._log(session_id)):
                await self._grown.setdefault(SessionId(session_id), anyio.Event()).wait()
                self._check_same(session_id, followed)
            record = self._fetch(session_id, index)
            check(record.line)
            if not isinstance(after, int) or index > after:
                yield record
            index += 1

    async def read_head(self, session_id: str) -> Head | None:
        await anyio.lowlevel.checkpoint()
        return self._checked_head("read_head", session_id) if self._log(session_id) else None

    async def read_position(self, session_id: str) -> Position | None:
        await anyio.lowlevel.checkpoint()
        if not self._log(session_id):
            return None
        head = self._checked_head("read_head", session_id)
        return Position(head.seq, head.hash, sum(len(record.line) + 1 for record in self._log(session_id)))

    def _check_same(self, session_id: str, followed: list[HashedEntry]) -> None:
        """Raise if the log that is read was deleted, and made anew or not."""
        if self._log(session_id) is not followed:
            raise EntryNotFound(session_id, followed[0].hash)

    async def read_tail(self, session_id: str, count: int) -> list[HashedEntry]:
        records: list[HashedEntry] = []
        right = await super().read_tail(session_id, count)
        if not right:
            return right
        length = len(self._log(session_id))
        self._checked_head("read_tail", session_id)
        check: Callable[[bytes], object] = lambda line: line  # noqa: E731 - of stores that are broken
        for index in range(length - len(right), length):
            records.append(self._fetch(session_id, index))
            if not records[1:] and "read_tail" not in self._unverified():
                first = parse_record(records[0].line)
                before = None if first.prev_hash is None else Head(first.seq - 1, first.prev_hash)
                offset = len(b"".join(record.line + b"\n" for record in self._log(session_id)[:index]))
                check = LogScanner(SessionId(session_id), head=before, offset=offset).check
            check(records[-1].line)
        return records

    async def read_raw(self, session_id: str) -> AsyncGenerator[bytes, None]:
        await anyio.lowlevel.checkpoint()
        for index in range(len(self._log(session_id))):
            yield self._fetch(session_id, index).line + b"\n"
        yield self.place.tails.get(SessionId(session_id), b"")

    def _commit(self, session_id: str, expected: Head | None, records: Sequence[HashedEntry]) -> None:
        self._check_unlocked(session_id)
        if self._logs.get(SessionId(session_id)):
            self._checked_head("append", session_id)
        super()._commit(session_id, expected, records)
        self.place.tails.pop(SessionId(session_id), None)

    def _delete(self, session_id: str, expected: Head | None) -> None:
        self._check_unlocked(session_id)
        if self._log(session_id):
            self._checked_head("append", session_id)
        super()._delete(session_id, expected)
        self.place.tails.pop(SessionId(session_id), None)

    async def _ready(self, session_id: str, records: Sequence[HashedEntry]) -> Head | None:
        expected = await super()._ready(session_id, records)
        await self._wait_unlocked(session_id)
        return expected

    async def delete_session(self, session_id: str, expected: Head | None) -> None:
        await self._wait_unlocked(session_id)
        await super().delete_session(session_id, expected)

    async def _wait_unlocked(self, session_id: str) -> None:
        for _ in range(self.lock_turns):
            if session_id not in self.place.locked:
                return
            await anyio.lowlevel.checkpoint()

    def _check_unlocked(self, session_id: str) -> None:
        if session_id in self.place.locked:
            raise SessionLocked(SessionId(session_id), waited_s=0)

    def _checked_head(self, path: str, session_id: str) -> Head:
        """Return the head of a log that holds records, judged by its ends."""
        first, last = self._fetch(session_id, 0), self._fetch(session_id, -1)
        if path in self._unverified():
            return last.head
        head = head_from_ends(first.line, last.line, self._binding(path, session_id) or _named_session(first))
        if head is None:
            scanner = LogScanner(SessionId(session_id))
            for index in range(len(self._log(session_id))):
                scanner.check(self._fetch(session_id, index).line)
        return last.head

    def _checker(self, path: str, session_id: str) -> Callable[[bytes], object]:
        """Return what checks each next line of the log that ``path`` reads."""
        if path in self._unverified():
            return lambda line: line
        return LogScanner(self._binding(path, session_id)).check

    def _begin(self, path: str, session_id: str, after: int | Position | None) -> tuple[Callable[[bytes], object], int]:
        """Return what checks the lines that ``path`` reads, and the index of the first of them."""
        if not isinstance(after, Position):
            return self._checker(path, session_id), 0
        self._check_held(session_id, after)
        if path in self._unverified():
            return (lambda line: line), after.seq + 1
        return LogScanner(SessionId(session_id), head=after.head, offset=after.end).check, after.seq + 1

    def _check_held(self, session_id: str, position: Position) -> None:
        """Raise unless the log holds the record at ``position``."""
        seq, log = position.seq, self._log(session_id)
        if not 0 <= seq < len(log) or self._fetch(session_id, seq).hash != position.hash:
            raise EntryNotFound(session_id, position.hash)

    def _fetch(self, session_id: str, index: int) -> HashedEntry:
        """Return one record; the one way to what is kept."""
        self.place.records_read += 1
        return self._log(session_id)[index]

    def _unverified(self) -> tuple[str, ...]:
        """Return the paths that serve what they find; for stores that are broken."""
        return ()

    def _binding(self, path: str, session_id: str) -> SessionId | None:  # noqa: ARG002 - for stores that are broken
        """Return the session that ``path`` holds the first record to."""
        return SessionId(session_id)
