"""Text that is safe to show: what comes out of a log is data, and a terminal obeys data.

``safe`` shows every character that acts instead of being seen, or that hides, as a backslash escape; ``json_safe`` does
it as JSON does, so that the value stays the same. Which ones these are: :mod:`sessionlog.cli.escaping`.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from .escaping import escaped

SHORT_HASH_CHARS: Final = 8
_SPACES: Final = re.compile(r"[ \t\r\n\v\f]+")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def safe(text: str) -> str:
    """Return ``text`` with every character that acts or hides shown as an escape; no line feed survives."""
    return escaped(text, _backslash)


def json_safe(text: str) -> str:
    """Return compact JSON ``text`` with such characters as JSON escapes: the same to a parser, inert to a terminal."""
    return escaped(text, _json_escape)


def one_line(text: str, *, chars_max: int) -> str:
    """Return the start of ``text`` on one line: white space collapsed, "…" where it was cut. Not escaped."""
    start = _SPACES.sub(" ", text[: 4 * chars_max]).strip()
    cut = len(text) > 4 * chars_max or len(start) > chars_max
    return start[: chars_max - 1] + "…" if cut else start


def short(hash_: str) -> str:
    """Return the beginning of a record's hash, as people are shown it."""
    return hash_[:SHORT_HASH_CHARS]


def utc(ts_ms: int) -> str:
    """Return unix milliseconds as ``2026-01-31 12:34:56``, UTC; as the number where no calendar reaches."""
    try:
        return (_EPOCH + timedelta(milliseconds=ts_ms)).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError):
        return f"{ts_ms} ms"


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return ``1 record``, ``2 records``, ``1,234 records``."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def duration(ms: int, *, compact: bool = False) -> str:
    """Return milliseconds for people, in two units at most: ``0.4 s``, ``3 min 5 s``; if ``compact``, ``3m05s``."""
    seconds, minutes, hours = ms // 1000, ms // 60_000, ms // 3_600_000
    if minutes < 1:
        text = f"{ms / 1000:.1f} s" if ms < 9_950 else f"{seconds} s"
        return text.replace(" ", "") if compact else text
    large, unit, small, rest = (minutes, "min", seconds % 60, "s")
    if hours >= 48:
        large, unit, small, rest = (hours // 24, "d", hours % 24, "h")
    elif hours:
        large, unit, small, rest = (hours, "h", minutes % 60, "min")
    return f"{large}{unit[0]}{small:02}{rest[0]}" if compact else f"{large} {unit} {small} {rest}"


def compact(count: int) -> str:
    """Return a count in few columns: ``999``, ``12.3k``, ``4.5M``, powers of 1000."""
    if abs(count) < 1000:
        return str(count)
    value = float(count)
    for unit in ("k", "M", "G"):
        value /= 1000
        if abs(value) < 999.95:
            return f"{value:.1f}{unit}"
    return f"{value / 1000:.1f}T"


def size(byte_count: int) -> str:
    """Return a byte count for people: ``512 B``, ``12.3 KB``, powers of 1000."""
    if byte_count < 1000:
        return f"{byte_count} B"
    value = float(byte_count)
    for unit in ("KB", "MB", "GB"):
        value /= 1000
        if value < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"


def _backslash(one: str) -> str:
    code = ord(one)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_escape(one: str) -> str:
    code = ord(one)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 | code >> 10:04x}\\u{0xDC00 | code & 0x3FF:04x}"
