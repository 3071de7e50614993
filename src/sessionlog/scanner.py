"""Checking the bytes of a log back into records (FORMAT section 5, *verify*). Pure, no I/O.

:class:`LogScanner` is the one reader of log bytes: stores, audits and tools all feed it chunks, and it either returns
records that chain without a gap or raises :class:`CorruptLog` naming the first bad one.
"""

import re
from enum import StrEnum
from typing import Final

import msgspec

from .binding import BINDING_BYTES_MAX, bound_session
from .entries import FORMAT
from .errors import CorruptLog, Damage
from .ids import EntryHash, Head
from .record import ENVELOPE, HASHED_FROM, LINE_BYTES_MAX, HashedEntry, hash_payload, new_hasher, shape_fault


class LogState(StrEnum):
    """The outcome of a check, in one word (FORMAT section 5); ``UNREADABLE``: no check was possible."""

    VALID = "valid"
    TORN_TAIL = "torn_tail"
    BROKEN = "broken"
    UNREADABLE = "unreadable"


class Verdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, repr_omit_defaults=True):
    """What checking a log found; never a bare boolean.

    ``record_count`` and ``head`` are those of the valid records at the front, up to ``valid_bytes``. For
    ``broken``, the other members name the first bad record: its position ``seq``, 1-based ``line``, byte ``offset``
    and the ``reason``. For ``torn_tail``, ``offset`` is where the unfinished record starts and ``torn_bytes`` how
    long it is. For ``unreadable``, nothing is known but the ``reason``.
    """

    state: LogState
    record_count: int
    valid_bytes: int
    head: Head | None = None
    torn_bytes: int = 0
    seq: int | None = None
    line: int | None = None
    offset: int | None = None
    damage: Damage | None = None
    reason: str | None = None

    @property
    def ok(self) -> bool:
        """True if the log was read and is not broken; a torn tail is the mark of a crash, not of a change."""
        return self.state in (LogState.VALID, LogState.TORN_TAIL)


_CLOSING_BRACE: Final = 0x7D


class LogScanner:
    """Checks the bytes of one log as they come, from its start or from a trusted ``head`` at byte ``offset``.

    Bytes after the last LF are not part of a log (FORMAT section 1), however many there are: only an LF behind them
    makes them a line, which may then be too long or damaged. Holds one unfinished line at most; if that cannot become
    a record any more, its first ``TOLD_BYTES_MAX``. After a :class:`CorruptLog` the counters stand at the last good
    record.
    """

    __slots__ = (
        "_hasher",
        "_line_bytes_max",
        "_lost",
        "_parts",
        "_parts_bytes",
        "_session_id",
        "offset",
        "prev_hash",
        "seq",
    )

    def __init__(
        self,
        session_id: str | None = None,
        *,
        head: Head | None = None,
        offset: int = 0,
        line_bytes_max: int = LINE_BYTES_MAX,
    ) -> None:
        """Start behind ``head``, ending at byte ``offset``; the first record must name ``session_id``, if given."""
        self._session_id = session_id
        self._line_bytes_max = line_bytes_max
        self._hasher = new_hasher()  # one for all lines: starting it over takes less than copying it does
        self._parts: list[bytes] = []
        self._parts_bytes = 0
        self._lost = False
        """Of the unfinished line only the start is held: it cannot become a record any more."""
        self.offset: int = offset
        self.seq: int = 0 if head is None else head.seq + 1
        self.prev_hash = None if head is None else head.hash

    @property
    def head(self) -> Head | None:
        """The last good record; ``None`` before the first."""
        return None if self.prev_hash is None else Head(self.seq - 1, self.prev_hash)

    @property
    def torn(self) -> bytes:
        """The bytes after the last LF so far, an unfinished record or nothing; the start of what cannot become one."""
        return b"".join(self._parts)

    @property
    def torn_bytes(self) -> int:
        """How many bytes stand after the last LF so far."""
        return self._parts_bytes

    def feed(self, data: bytes) -> list[HashedEntry]:
        """Take the next bytes of the log; return the records that they complete.

        Raises :class:`CorruptLog` at the first bad one; those before it in ``data`` are not returned then, see
        :meth:`feed_into`.
        """
        records: list[HashedEntry] = []
        self.feed_into(data, records)
        return records

    def feed_into(self, data: bytes, records: list[HashedEntry] | None, *, lines: list[bytes] | None = None) -> None:
        """Take the next bytes of the log, adding each completed record to ``records`` or its line to ``lines``.

        Without either, the bytes are only checked.
        """
        if b"\n" in data:
            if self._lost:
                raise self._lost_fault(self._parts_bytes + data.index(b"\n"))
            if self._parts:
                data = b"".join((*self._parts, data))
                self._parts, self._parts_bytes = [], 0
            offset = self.offset
            self._check_lines(data, records, lines)
            data = data[self.offset - offset :]
        if data:
            self._hold(data)

    def _hold(self, data: bytes) -> None:
        """Keep the bytes of an unfinished line, unless it cannot become a record any more."""
        self._parts_bytes += len(data)
        if self._lost:
            return
        self._parts.append(data)
        if self._parts_bytes > self._line_bytes_max or (
            self._parts_bytes > TOLD_BYTES_MAX and not self._parts[0].startswith(_MAY_BEGIN_RECORD)
        ):
            self._lost = True
            self._parts = [self._torn_start(TOLD_BYTES_MAX)]

    def _torn_start(self, size: int) -> bytes:
        start = b""
        for part in self._parts:
            start += part[: size - len(start)]
            if len(start) == size:
                break
        return start

    def _lost_fault(self, line_bytes: int) -> CorruptLog:
        """Name the fault of a line that was not held, now that an LF ends it."""
        if line_bytes > self._line_bytes_max:
            return self.too_long()
        return self._corrupt(*_lost_shape_fault(self._parts[0]))

    def drop_torn(self) -> None:
        """Forget what was fed behind the last LF: it will be fed again, from :attr:`offset` on."""
        self._parts, self._parts_bytes, self._lost = [], 0, False

    def check(self, line: bytes) -> HashedEntry:
        """Check ``line`` (no LF) as the next record, step over it and return it. Raises :class:`CorruptLog`."""
        if b"\n" in line:
            raise self._corrupt(Damage.SHAPE, "a line feed stands inside the record")
        records: list[HashedEntry] = []
        self._check_lines(line + b"\n", records)
        return records[0]

    def _check_lines(self, data: bytes, records: list[HashedEntry] | None, lines: list[bytes] | None = None) -> None:
        """Check the lines of ``data`` that end in LF as the next records; what stands behind them is not looked at.

        The one loop that every byte read goes through: written for speed. A line is right if it begins with what its
        own bytes hash to, the hash before, and the position: all of it is compared as bytes, in one go, where they lie.
        What keeps a wrong one from that is looked into afterwards.
        """
        prev_hash, seq, offset = self.prev_hash, self.seq, self.offset
        line_bytes_max = self._line_bytes_max
        reset, update, digest = self._hasher.reset, self._hasher.update, self._hasher.digest
        view, find, startswith = memoryview(data), data.find, data.startswith
        start = 0
        link = "null" if prev_hash is None else f'"{prev_hash}"'
        try:
            while (end := find(b"\n", start)) >= 0:
                reset()
                update(view[start + HASHED_FROM : end])
                hash_: EntryHash = digest().hex()  # type: ignore[assignment]
                if (
                    not startswith(f'{{"hash":"{hash_}","prev_hash":{link},"seq":{seq},"kind":"'.encode(), start)
                    or data[end - 1] != _CLOSING_BRACE
                    or end - start > line_bytes_max
                ):
                    self.prev_hash, self.seq, self.offset = prev_hash, seq, offset + start
                    raise self._fault(data[start:end])
                if seq == 0:
                    self._check_first(data[start:end])
                if records is not None:
                    records.append(HashedEntry(data[start:end], hash_, prev_hash, seq))
                elif lines is not None:
                    lines.append(data[start:end])
                prev_hash = hash_
                link = f'"{hash_}"'
                seq += 1
                start = end + 1
        finally:
            self.prev_hash, self.seq, self.offset = prev_hash, seq, offset + start

    def verdict(self, fault: CorruptLog | None = None) -> Verdict:
        """Return the outcome so far: ``broken`` with ``fault``, else ``torn_tail`` or ``valid``."""
        count, size, head = self.seq, self.offset, self.head
        if fault is not None:
            return Verdict(
                state=LogState.BROKEN,
                record_count=count,
                valid_bytes=size,
                head=head,
                seq=fault.seq,
                line=fault.line,
                offset=fault.offset,
                damage=fault.damage,
                reason=fault.reason,
            )
        if self._parts:
            return Verdict(
                state=LogState.TORN_TAIL,
                record_count=count,
                valid_bytes=size,
                head=head,
                torn_bytes=self._parts_bytes,
                seq=count,
                line=count + 1,
                offset=size,
                reason=f"{self._parts_bytes} bytes after the last LF: {self._torn_reason()}",
            )
        reason_empty = None if count else "the file holds no record"
        return Verdict(state=LogState.VALID, record_count=count, valid_bytes=size, head=head, reason=reason_empty)

    def _torn_reason(self) -> str:
        if self._torn_is_record():
            return "a whole record without its LF; append one to take it back, or the next writer sets it aside"
        nul = not any(part.strip(b"\0") for part in self._parts)
        what = "NUL bytes, as a power loss leaves them" if nul else "an unfinished record, as a crash leaves it"
        return f"{what}; the next writer sets them aside"

    def _torn_is_record(self) -> bool:
        """Tell whether an LF is all that the bytes after the last one lack to be the next record."""
        if self._lost:
            return False
        hasher, skip = self._hasher, HASHED_FROM
        hasher.reset()
        for part in self._parts:  # joined, they would take their memory twice
            hasher.update(memoryview(part)[skip:])
            skip = max(0, skip - len(part))
        start = self._torn_start(BINDING_BYTES_MAX)
        if not start.startswith(self._line_start(hasher.digest().hex())) or not self._parts[-1].endswith(b"}"):
            return False
        try:
            if self.seq == 0:
                self._check_first(start)
        except CorruptLog:
            return False
        return True

    def _line_start(self, hash_: str) -> bytes:
        """Return what the next record begins with if its bytes hash to ``hash_``."""
        link = "null" if self.prev_hash is None else f'"{self.prev_hash}"'
        return f'{{"hash":"{hash_}","prev_hash":{link},"seq":{self.seq},"kind":"'.encode()

    def too_long(self) -> CorruptLog:
        """Return the error for a next line that is longer than the limit, for readers that need not feed it."""
        return self._corrupt(Damage.LINE_TOO_LONG, f"the line is longer than {self._line_bytes_max} bytes")

    def _corrupt(self, damage: Damage, reason: str) -> CorruptLog:
        return CorruptLog(reason, damage=damage, seq=self.seq, offset=self.offset, session_id=self._session_id)

    def _fault(self, line: bytes) -> CorruptLog:
        """Name what keeps ``line`` from being the next record."""
        if len(line) > self._line_bytes_max:
            return self.too_long()
        if len(line) > TOLD_BYTES_MAX and not line.startswith(_MAY_BEGIN_RECORD):
            return self._corrupt(*_lost_shape_fault(line))
        fault = shape_fault(line)
        if fault is not None:
            return self._corrupt(*fault)
        envelope = ENVELOPE.match(line)
        assert envelope is not None  # noqa: S101 - shape_fault has matched the same envelope
        computed, said = hash_payload(memoryview(line)[HASHED_FROM:]), envelope[1].decode()
        if computed != said:
            binding = bound_session(line) if self.seq == 0 else None
            if binding is not None and binding[0] != FORMAT and _ANY_FORMAT.fullmatch(binding[0]):
                # A format fixes its hash, so that of another cannot be judged here.
                return self._unknown_format(binding[0])
            return self._corrupt(
                Damage.HASH,
                f"the bytes hash to {computed}, the line says {said}: the record was changed "
                "(a tool that writes JSON anew, such as jq, changes it too)",
            )
        if int(envelope[3]) != self.seq:
            return self._corrupt(
                Damage.SEQ,
                f"seq is {int(envelope[3])} where {self.seq} must come: records were removed, inserted or reordered",
            )
        prev = "null" if envelope[2] is None else envelope[2].decode()
        return self._corrupt(
            Damage.LINK,
            f"prev_hash is {prev}, the record before has {self.prev_hash or 'no predecessor'}: "
            "records were removed, inserted or reordered",
        )

    def _check_first(self, line: bytes) -> None:
        """Check that the first record binds the chain to this session (FORMAT section 3)."""
        binding = bound_session(line)
        if binding is None:
            raise self._corrupt(
                Damage.FIRST_RECORD, "the first record is no session_start with format and session_id in their places"
            )
        format_, session_id = binding
        if format_ != FORMAT:
            raise self._unknown_format(format_)
        if self._session_id is not None and session_id != self._session_id:
            raise self._corrupt(
                Damage.WRONG_SESSION, f"this is the log of session {session_id}, under the name of another"
            )

    def _unknown_format(self, format_: str) -> CorruptLog:
        return self._corrupt(
            Damage.UNKNOWN_FORMAT,
            f"the log says that its format is {format_!r}, this version reads {FORMAT!r}: "
            "upgrade, or see who changed it",
        )


def _lost_shape_fault(line: bytes) -> tuple[Damage, str]:
    """Name the fault of a long line that does not begin as a record may, by its start alone."""
    damage, reason = shape_fault(line[:TOLD_BYTES_MAX]) or (Damage.SHAPE, "the line is no record")
    if damage is Damage.NUL_BYTES:
        reason = "NUL bytes stand where the record must begin, as a power loss leaves them"
    return damage, reason


TOLD_BYTES_MAX: Final = 64 * 1024
"""By so many bytes the fault of a line is named that does not begin as a record may; no more of it is held."""
_MAY_BEGIN_RECORD: Final = (b"{", b" ", b"\t", b"\r")
"""What a record begins with, also one that a tool wrote anew (:func:`shape_fault` parses that as JSON)."""
_ANY_FORMAT: Final = re.compile(r"sessionlog/[0-9]{1,9}", re.ASCII)


__all__ = ["TOLD_BYTES_MAX", "LogScanner", "LogState", "Verdict"]
