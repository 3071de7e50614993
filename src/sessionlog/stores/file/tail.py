"""The end of a log, found without reading the rest: what makes heads and appends cost the same at any length."""

from typing import NamedTuple

from ...binding import BINDING_BYTES_MAX, bound_session, head_from_ends
from ...entries import FORMAT
from ...errors import CorruptLog, Damage
from ...ids import Head
from ...record import HashedEntry, parse_record
from ...scanner import LogScanner
from .spans import CHUNK_BYTES, LAST_BYTES, read_span, rfind_lf
from .system import System


class Tail(NamedTuple):
    """Where a log ends: its head, the byte behind the last LF, and the file's size at that moment."""

    head: Head | None
    end: int
    size: int


def read_tail(system: System, fd: int, session_id: str, size: int, *, line_bytes_max: int) -> Tail:
    """Return the tail of the log open at ``fd``, ``size`` bytes long.

    The last record's own hash is checked, and that the first one binds the log to ``session_id``; the chain between
    is the readers' business. Where that fails, the log is scanned from its start so that the error names the first
    bad record. Raises :class:`CorruptLog`.
    """
    last = last_line(system, fd, size, line_bytes_max)
    if last is None:
        return Tail(None, 0, size)
    line, end = last
    first = line if end == len(line) + 1 else system.pread(fd, BINDING_BYTES_MAX, 0)
    head = head_from_ends(first, line, session_id)
    if head is None:
        head = scan(system, fd, session_id, end, line_bytes_max=line_bytes_max).head
    return Tail(head, end, size)


def last_records(
    system: System, fd: int, session_id: str, size: int, count: int, *, line_bytes_max: int
) -> list[HashedEntry]:
    """Return the last ``count`` records of the log open at ``fd``, fewer if there are not so many.

    They are linked to each other, the last of them is the head, and the log's first record binds it to ``session_id``.
    Reads about twice their bytes. Where a check fails, the log is scanned as for :func:`read_tail`. Raises
    :class:`CorruptLog`.
    """
    last = rfind_lf(system, fd, 0, size)
    if last is None or count == 0:
        return []
    end = last.start + last.at + 1
    try:
        lines = _last_lines(system, fd, end, count, line_bytes_max)
        offset = end - sum(len(line) + 1 for line in lines)
        first = parse_record(lines[0])
        if (first.prev_hash is None) is not (first.seq == offset == 0):
            raise CorruptLog("a first record in the middle", damage=Damage.SEQ, seq=first.seq, offset=offset)
        if bound_session(system.pread(fd, BINDING_BYTES_MAX, 0)) != (FORMAT, session_id):
            raise CorruptLog("another log", damage=Damage.WRONG_SESSION, seq=0, offset=0)
        before = None if first.prev_hash is None else Head(first.seq - 1, first.prev_hash)
        scanner = LogScanner(session_id, head=before, offset=offset, line_bytes_max=line_bytes_max)
        return [scanner.check(line) for line in lines]
    except CorruptLog:
        scan(system, fd, session_id, end, line_bytes_max=line_bytes_max)  # names the first bad record
        raise


def _last_lines(system: System, fd: int, end: int, count: int, line_bytes_max: int) -> list[bytes]:
    """Return the last ``count`` lines before ``end``, which is behind an LF; fewer only if there are not so many."""
    blocks: list[bytes] = []
    lf_count = unended_bytes = 0
    start, block_bytes = end, LAST_BYTES
    while start > 0 and lf_count <= count:
        wanted = min(block_bytes, start)
        start -= wanted
        blocks.append(read_span(system, fd, start, start + wanted))
        found = blocks[-1].count(b"\n")
        lf_count += found
        unended_bytes = 0 if found else unended_bytes + wanted
        if unended_bytes > line_bytes_max:
            raise CorruptLog("the line is too long", damage=Damage.LINE_TOO_LONG, seq=0, offset=None)
        block_bytes = min(block_bytes * 2, CHUNK_BYTES)
    data = b"".join(reversed(blocks))
    return data[:-1].split(b"\n")[-count:]


def scan(
    system: System,
    fd: int,
    session_id: str,
    end: int,
    *,
    line_bytes_max: int,
    head: Head | None = None,
    offset: int = 0,
) -> LogScanner:
    """Check the log from ``offset``, behind ``head``, up to byte ``end``. Raises :class:`CorruptLog`."""
    scanner = LogScanner(session_id, head=head, offset=offset, line_bytes_max=line_bytes_max)
    while offset < end:
        data = system.pread(fd, min(CHUNK_BYTES, end - offset), offset)
        if not data:
            break
        scanner.feed_into(data, None)
        offset += len(data)
    return scanner


def last_line(system: System, fd: int, size: int, line_bytes_max: int) -> tuple[bytes, int] | None:
    """Return the last line that ends in LF, without it, and the byte behind its LF; ``None`` if there is none.

    What stands behind that LF is passed over, not held. Of a line that is too long, its end is returned.
    """
    found = rfind_lf(system, fd, 0, size)
    if found is None:
        return None
    start, block, last = found
    line, end = block[:last], start + last + 1
    before = line.rfind(b"\n")
    if before >= 0 or start == 0:
        return line[before + 1 :], end
    floor = max(0, end - line_bytes_max - 2)
    found = rfind_lf(system, fd, floor, start)
    if found is None and floor > 0:
        return line, end
    return read_span(system, fd, 0 if found is None else found.start + found.at + 1, end - 1), end
