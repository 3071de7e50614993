"""The chain: linking entries into records, and checking that records are one. Pure functions, no I/O.

    link(head, entry) -> record        record.prev_hash == head.hash, record.seq == head.seq + 1
    build_chain(entries) == records    where each is link()ed onto the one before
    verify_chain(build_chain(entries)).state == "valid"

:class:`LogScanner` checks the bytes of a log; :func:`head_from_ends` judges one by its first and last record.
"""

from collections.abc import Iterable

from .binding import BINDING_BYTES_MAX, bound_session, head_from_ends
from .entries import FORMAT, LogEntry, SessionStart, encode_entry
from .errors import CorruptLog, InvalidEntry
from .ids import EntryHash, Head
from .record import HASHED_FROM, LINE_BYTES_MAX, HashedEntry, hash_payload, record_line, record_payload
from .scanner import LogScanner, LogState, Verdict


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


def link_all_encoded(
    head: Head | None, encoded: Iterable[bytes], *, line_bytes_max: int = LINE_BYTES_MAX
) -> list[HashedEntry]:
    """Return the records of entries that are encoded, the first behind ``head``. Raises as :func:`link_encoded`."""
    prev_hash, seq = (None, 0) if head is None else (head.hash, head.seq + 1)
    records: list[HashedEntry] = []
    for data in encoded:
        record = link_encoded(prev_hash, seq, data, line_bytes_max=line_bytes_max)
        records.append(record)
        prev_hash, seq = record.hash, seq + 1
    return records


def build_chain(entries: Iterable[LogEntry]) -> list[HashedEntry]:
    """Return a whole log: the first entry a ``SessionStart``, each record chained to the one before."""
    return link_all(None, entries)


def verify_chain(records: Iterable[HashedEntry]) -> Verdict:
    """Check shape, hashes, links and positions of ``records``, a log from its first record on."""
    scanner = LogScanner()
    try:
        for record in records:
            scanner.check(record.line)
    except CorruptLog as damage:
        return scanner.verdict(damage)
    return scanner.verdict()


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
