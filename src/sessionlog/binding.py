"""The ends of a log: what session its first record binds it to, and what head its last one makes (FORMAT section 3)."""

import re
from typing import Final

from .entries import FORMAT
from .errors import CorruptLog
from .ids import Head, SessionId
from .record import parse_record

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


__all__ = ["BINDING_BYTES_MAX", "bound_session", "head_from_ends"]
