"""The first pass over a file: every piece of it is counted, and what no log entry can hold is found and listed.

Values that cannot be stored: integers past 64 bits, nesting deeper than 64, records longer than the store takes.
"""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from ..entries import HookInjectedItems, RequestConfig, encode_entry
from ..errors import InvalidEntry
from .lines import Bad, Found, Piece, Tail
from .marks import Marks, Prefixes
from .protocol import Kept, Transcript
from .report import NotUnderstood

RECORD_OVERHEAD_BYTES: Final = 512
"""Room for a record's envelope and an entry's own members around what a line says."""

_DIGITS_AS_ZEROS: Final = bytes.maketrans(b"123456789", b"000000000")
_SUSPICIOUS_INTEGER: Final = b"0" * 19
"""So many digits in a row, in a line whose digits are all zeros, may be an integer past 64 bits."""
_SUSPICIOUS_BRACKETS: Final = 50


@dataclass
class Survey:
    """What stands in a file, object by object, and what of it cannot be imported."""

    left_out: set[int] = field(default_factory=set)
    """Ordinals of the objects that are listed, not imported."""
    not_understood: list[NotUnderstood] = field(default_factory=list)
    waiting: list[NotUnderstood] = field(default_factory=list)
    unfinished: bool = False
    """The file ends in the middle of a line."""
    consumed_bytes: int = 0
    lines: "array[int]" = field(default_factory=lambda: array("Q"))
    """For each object, its line."""

    sizes: "array[int]" = field(default_factory=lambda: array("Q"))
    """For each object, how many bytes it has."""
    ends: "array[int]" = field(default_factory=lambda: array("Q"))
    """For each object, the byte at which it ends."""
    marks: Marks = field(default_factory=Marks)
    prefixes: Prefixes = field(default_factory=Prefixes)

    @property
    def object_count(self) -> int:
        """How many JSON objects there are."""
        return len(self.lines)

    @property
    def digest(self) -> str:
        """The BLAKE3 of the bytes that were consumed."""
        return self.prefixes.settle(self.consumed_bytes)

    def take(self, chunk: bytes) -> None:
        """Take the next bytes of the file, before the pieces that end in them."""
        self.prefixes.take(chunk, consumed=self.consumed_bytes)

    def leave_out(self, ordinals: Iterable[int], reason: str) -> None:
        """List objects instead of importing them."""
        for ordinal in set(ordinals) - self.left_out:
            self.left_out.add(ordinal)
            self.not_understood.append(NotUnderstood(self.lines[ordinal], reason))
        self.not_understood.sort(key=lambda one: one.line)

    def add(self, piece: Piece, transcript: Transcript, *, line_bytes_max: int) -> None:
        """Take the next piece of the file in, and show it to ``transcript``."""
        if isinstance(piece, Tail):
            self.unfinished = True
            self.waiting.append(NotUnderstood(piece.line, f"an unfinished line of {piece.size} bytes: it waits"))
            return
        self.consumed_bytes = piece.end
        if isinstance(piece, Bad):
            self.not_understood.append(NotUnderstood(piece.line, piece.reason))
            return
        self.lines.append(piece.line)
        self.sizes.append(len(piece.raw))
        self.ends.append(piece.end)
        self.marks.add(piece.raw)
        reason = _refusal(piece, transcript, line_bytes_max=line_bytes_max)
        again = transcript.add(piece, fits=reason is None)
        if isinstance(again, Kept):
            if reason is None:
                self.not_understood.append(NotUnderstood(piece.line, again.reason))
            again = None
        if reason is not None or again is not None:
            self.left_out.add(piece.ordinal)
            self.not_understood.append(NotUnderstood(piece.line, reason or again or ""))


def _refusal(piece: Found, transcript: Transcript, *, line_bytes_max: int) -> str | None:
    """Say why no entry can hold the line; the costly check is made only where a cheap look gives cause."""
    raw = piece.raw
    cheap = (
        len(raw) * 3 + RECORD_OVERHEAD_BYTES < line_bytes_max
        and raw.count(b"{") + raw.count(b"[") < _SUSPICIOUS_BRACKETS
        and _SUSPICIOUS_INTEGER not in raw.translate(_DIGITS_AS_ZEROS)
    )
    return None if cheap else _full_refusal(piece, transcript, line_bytes_max=line_bytes_max)


def _full_refusal(piece: Found, transcript: Transcript, *, line_bytes_max: int) -> str | None:
    try:
        entries = transcript.entries(piece, ts=0, config=RequestConfig())
        items = transcript.summary(piece)
        sizes = [len(encode_entry(entry)) for entry in entries]
        sizes.append(len(encode_entry(HookInjectedItems(ts=0, items=items))) if items else 0)
    except (InvalidEntry, ValueError, OverflowError) as error:
        return str(error)
    if max(sizes) + RECORD_OVERHEAD_BYTES > line_bytes_max:
        return f"its record would be longer than the {line_bytes_max} bytes that the store takes"
    return None
