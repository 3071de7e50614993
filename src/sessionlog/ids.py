"""Identity: session ids, record hashes, and the head of a log.

A session id is ``[A-Za-z0-9][A-Za-z0-9_-]{0,127}`` (FORMAT section 1): safe as a file name, compared byte for
byte. New ones are UUIDv7 (RFC 9562 section 5.7), so they sort by the millisecond in which they were made.

Functions accept ids and hashes as plain ``str`` and check ids when they are used. They return :data:`SessionId` and
:data:`EntryHash`, so that a type checker can tell the two apart.
"""

import os
import re
import time
from typing import NewType

import msgspec

SessionId = NewType("SessionId", str)
"""The name of a session: 1 to 128 ASCII letters, digits, ``-`` and ``_``, a letter or digit first."""
EntryHash = NewType("EntryHash", str)
"""A record's hash: 64 lower-case hex digits."""

SESSION_ID_CHARS_MAX = 128
_SESSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}\Z", re.ASCII)


class Head(msgspec.Struct, frozen=True, gc=False):
    """The last record of a log: its 0-based position and its hash. The next record chains onto it."""

    seq: int
    hash: str


def is_session_id(text: str) -> bool:
    """Tell whether ``text`` may name a session."""
    return _SESSION_ID.match(text) is not None


def now_ms() -> int:
    """Return the wall clock in unix milliseconds, the unit of every ``ts``."""
    return time.time_ns() // 1_000_000


def new_session_id() -> SessionId:
    """Return a fresh UUIDv7: 48 bits of unix milliseconds, then 74 random bits around version and variant."""
    random_bits = int.from_bytes(os.urandom(10), "big")
    value = (now_ms() & (1 << 48) - 1) << 80
    value |= 0x7 << 76 | (random_bits >> 62 & 0xFFF) << 64
    value |= 0b10 << 62 | random_bits & (1 << 62) - 1
    text = f"{value:032x}"
    return SessionId(f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}")
