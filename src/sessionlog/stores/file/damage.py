"""What of a log stands from its first bad record on: found and counted, in bounded memory, and nothing changed."""

from typing import Final

import msgspec

from ...errors import CorruptLog, Damage
from ...ids import Head
from ...record import parse_record
from ...scanner import LogScanner
from .spans import CHUNK_BYTES, read_span
from .system import System

PAGE_BYTES: Final = 4096
_ZERO_PAGE: Final = bytes(PAGE_BYTES)


class DamagedPart(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a log that a repair cuts: from the first bad record on, whatever stands there.

    ``seq`` is that record's position, ``offset`` the byte at which its line starts, ``damage`` and ``reason`` what is
    wrong with it. ``head`` is the last record before it, ``None`` if it is the first. Of the ``size`` bytes, so many
    lines are records whole by themselves (``record_count``), which would be lost from the chain, and so many aligned
    pages of 4096 bytes are filled with zeros (``nul_page_count``), as a power loss leaves them.
    """

    session_id: str
    seq: int
    offset: int
    damage: Damage
    reason: str
    head: Head | None
    size: int
    record_count: int
    nul_page_count: int


def find_damaged_part(
    system: System, fd: int, session_id: str, size: int, *, line_bytes_max: int
) -> DamagedPart | None:
    """Verify the log open at ``fd``, ``size`` bytes long; return its damaged part, ``None`` if its chain is whole.

    A torn tail alone is no damage: the next append sets it aside.
    """
    scanner = LogScanner(session_id, line_bytes_max=line_bytes_max)
    try:
        for start in range(0, size, CHUNK_BYTES):
            scanner.feed_into(read_span(system, fd, start, min(size, start + CHUNK_BYTES)), None)
    except CorruptLog as fault:
        census = _Census(line_bytes_max)
        first = scanner.offset
        for start in range(first - first % CHUNK_BYTES, size, CHUNK_BYTES):
            begin = max(start, first)
            census.feed(read_span(system, fd, begin, min(size, start + CHUNK_BYTES)), begin)
        return DamagedPart(
            session_id=session_id,
            seq=scanner.seq,
            offset=first,
            damage=fault.damage,
            reason=fault.reason,
            head=scanner.head,
            size=size - first,
            record_count=census.record_count,
            nul_page_count=census.nul_page_count,
        )
    return None


class _Census:
    """Counts records that are whole by themselves, and pages of zeros; holds one line at most."""

    def __init__(self, line_bytes_max: int) -> None:
        self.record_count = 0
        self.nul_page_count = 0
        self._line_bytes_max = line_bytes_max
        self._unfinished = b""
        self._too_long = False

    def feed(self, data: bytes, offset: int) -> None:
        """Take the bytes that stand at ``offset``."""
        if b"\0" in data:
            pages = range(-offset % PAGE_BYTES, len(data) - PAGE_BYTES + 1, PAGE_BYTES)
            self.nul_page_count += sum(data[page : page + PAGE_BYTES] == _ZERO_PAGE for page in pages)
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = self._unfinished + lines[0]
            if self._too_long:
                del lines[0]
            self.record_count += sum(map(_is_record, lines))
            self._unfinished, self._too_long = b"", False
        self._unfinished = (self._unfinished + rest).lstrip(b"\0")
        if len(self._unfinished) > self._line_bytes_max:
            self._unfinished, self._too_long = b"", True


def _is_record(line: bytes) -> bool:
    """Tell whether ``line`` is a whole record; zeros that a lost page left before it do not count."""
    try:
        parse_record(line.lstrip(b"\0"))
    except CorruptLog:
        return False
    return True
