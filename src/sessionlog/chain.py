"""The chain: linking entries into records and checking bytes back into them. Pure functions, no I/O.

    link(head, entry) -> record        record.prev_hash == head.hash, record.seq == head.seq + 1
    build_chain(entries) == records    where each is link()ed onto the one before
    verify_chain(build_chain(entries)).state == "valid"

:class:`LogScanner` is the one reader of log bytes: stores, audits and tools all feed it chunks, and it either returns
records that chain without a gap or raises :class:`CorruptLog` naming the first bad one (FORMAT section 5, *verify*).
"""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec

from .entries import FORMAT, LogEntry, SessionStart, encode_entry
from .errors import CorruptLog, Damage, InvalidEntry
from .ids import EntryHash, Head, SessionId
from .record import (
    ENVELOPE,
    HASHED_FROM,
    LINE_BYTES_MAX,
    HashedEntry,
    hash_payload,
    new_hasher,
    parse_record,
    record_line,
    record_payload,
    shape_fault,
)


def compute_hash(prev_hash: str | None, seq: int, entry: LogEntry) -> EntryHash:
    """Return the hash of the record that holds ``entry`` at ``seq`` after ``prev_hash``."""
    return hash_payload(record_payload(prev_hash, seq, encode_entry(entry)))


def link(head: Head | None, entry: LogEntry, *, line_bytes_max: int = LINE_BYTES_MAX) -> HashedEntry:
    """Return the record that puts ``entry`` behind ``head`` (``None``: as the first, which must be a ``SessionStart``).

    Raises :class:`InvalidEntry` for an entry that cannot be kept faithfully, stands in the wrong place, binds no
    session, or makes a line of more than ``line_bytes_max`` bytes (LF not counted).
    """
    if head is None:
        return link_at(None, 0, entry, line_bytes_max=line_bytes_max)
    return link_at(head.hash, head.seq + 1, entry, line_bytes_max=line_bytes_max)


def link_at(prev_hash: str | None, seq: int, entry: LogEntry, *, line_bytes_max: int = LINE_BYTES_MAX) -> HashedEntry:
    """Return the record that puts ``entry`` at position ``seq`` behind the record ``prev_hash``; as :func:`link`."""
    if (prev_hash is None) is not (type(entry) is SessionStart):
        raise InvalidEntry("session_start is the first record of a log, and only that")
    return link_encoded(prev_hash, seq, encode_entry(entry), line_bytes_max=line_bytes_max)


def link_encoded(
    prev_hash: str | None, seq: int, encoded: bytes, *, line_bytes_max: int = LINE_BYTES_MAX
) -> HashedEntry:
    """Return the record of an entry that :func:`encode_entry`, or :func:`encode_event_entry`, has encoded.

    Raises :class:`InvalidEntry` for a first record that binds no session, and for a line that is too long.
    """
    payload = record_payload(prev_hash, seq, encoded)
    if len(payload) + HASHED_FROM > line_bytes_max:
        raise InvalidEntry(
            f"the record would be {len(payload) + HASHED_FROM} bytes long, more than the {line_bytes_max} of a line: "
            "keep large data in a file of its own and log its name and hash"
        )
    hash_ = hash_payload(payload)
    line = record_line(hash_, payload)
    if prev_hash is None:
        binding = bound_session(line[:BINDING_BYTES_MAX])
        if binding is None or binding[0] != FORMAT:
            raise InvalidEntry(f"session_start must name a session id and the format {FORMAT!r}")
    return HashedEntry(line, hash=hash_, prev_hash=prev_hash, seq=seq)


def link_all(
    head: Head | None, entries: Iterable[LogEntry], *, line_bytes_max: int = LINE_BYTES_MAX
) -> list[HashedEntry]:
    """Return ``entries`` linked one behind the other, the first behind ``head``. Raises as :func:`link`."""
    prev_hash, seq = (None, 0) if head is None else (head.hash, head.seq + 1)
    records: list[HashedEntry] = []
    for entry in entries:
        record = link_at(prev_hash, seq, entry, line_bytes_max=line_bytes_max)
        records.append(record)
        prev_hash, seq = record.hash, seq + 1
    return records


def build_chain(entries: Iterable[LogEntry]) -> list[HashedEntry]:
    """Return a whole log: the first entry a ``SessionStart``, each record chained to the one before."""
    return link_all(None, entries)


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


def verify_chain(records: Iterable[HashedEntry]) -> Verdict:
    """Check shape, hashes, links and positions of ``records``, a log from its first record on."""
    scanner = LogScanner()
    try:
        for record in records:
            scanner.check(record.line)
    except CorruptLog as damage:
        return scanner.verdict(damage)
    return scanner.verdict()


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

    def feed_into(self, data: bytes, records: list[HashedEntry] | None) -> None:
        """Take the next bytes of the log, adding each completed record to ``records`` (``None``: only check)."""
        if b"\n" in data:
            if self._lost:
                raise self._lost_fault(self._parts_bytes + data.index(b"\n"))
            if self._parts:
                data = b"".join((*self._parts, data))
                self._parts, self._parts_bytes = [], 0
            offset = self.offset
            self._check_lines(data, records)
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

    def _check_lines(self, data: bytes, records: list[HashedEntry] | None) -> None:
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
_BINDING: Final = re.compile(
    rb'\{"hash":"[0-9a-f]{64}","prev_hash":null,"seq":0,"kind":"session_start","ts":-?[0-9]+,'
    rb'"format":"([^"\\]{1,64})","session_id":"([A-Za-z0-9][A-Za-z0-9_-]{0,127})"[,}]'
)
BINDING_BYTES_MAX: Final = 512
"""The first record names its format and session within this many bytes."""


def bound_session(line_start: bytes) -> tuple[str, SessionId] | None:
    """Return format and session id that a first record names; ``line_start`` is its first 512 bytes or more."""
    binding = _BINDING.match(line_start)
    if binding is None:
        return None
    return binding[1].decode("utf-8", "replace"), SessionId(binding[2].decode())


def head_from_ends(first_line: bytes, last_line: bytes, session_id: str) -> Head | None:
    """Return the head of a log, judged by its two ends; ``None`` if they are not those of a log of this session.

    For stores that look a head up, or append, without reading the log. The first record must bind the log to
    ``session_id`` (FORMAT section 3), and the last one's bytes must hash to what it says; the chain between is the
    readers' business. After ``None``, feed the log to a :class:`LogScanner`: it names the first bad record.

    Args:
        first_line: The first record without LF, or its first ``BINDING_BYTES_MAX`` bytes.
        last_line: The last record without LF, whole; the first one again if there is no other.
        session_id: The session that the log is kept for.
    """
    if bound_session(first_line[:BINDING_BYTES_MAX]) != (FORMAT, session_id):
        return None
    try:
        head = parse_record(last_line).head
    except CorruptLog:
        return None
    is_first = last_line.startswith(first_line[:BINDING_BYTES_MAX])
    return head if (head.seq == 0) is is_first else None


__all__ = [
    "BINDING_BYTES_MAX",
    "LogScanner",
    "LogState",
    "Verdict",
    "build_chain",
    "compute_hash",
    "head_from_ends",
    "link",
    "verify_chain",
]
