"""What a record says, if its hash is right: UTF-8, strict compact JSON, limits, envelope, kind (FORMAT 2, 4 and 5)."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Final, TypeAlias

import msgspec

from ..entries import (
    ENVELOPE_MEMBERS,
    INTEGER_MAX,
    INTEGER_MIN,
    NESTING_DEPTH_MAX,
    is_deeper,
    written_otherwise,
)
from ..errors import CorruptLog, Damage
from ..record import HashedEntry, parse_record

Fault: TypeAlias = tuple[Damage, str]

_TOO_DEEP: Final[Fault] = (Damage.LIMIT, f"nested more than {NESTING_DEPTH_MAX} deep")
_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_INTEGER_CHARS_MAX: Final = 20
"""No integer within 64 bits is written with more characters, sign included."""
_FIRST_MEMBERS_AT: Final = len('{"hash":"","prev_hash":null,"seq":0,') + 64
_MEMBERS_AT: Final = len('{"hash":"","prev_hash":"","seq":1,') + 2 * 64
"""Where a record's own members begin, its position having one digit."""


class Meaning:
    """Checks what a record says, its hash being right: the first fault of each, if it has one."""

    def __init__(self) -> None:
        self._noted: list[Fault] = []

    def faults(self, lines: Sequence[bytes], seq: int) -> Iterator[tuple[int, Fault]]:
        """Yield the position of each record with a fault, and that. A scanner has checked the ``lines``, from ``seq``.

        A record that is written as this version writes it is right, and nearly every record is; what other writers
        wrote, and every fault, takes the closer look.
        """
        first, rest = (lines[:1], lines[1:]) if seq == 0 else ((), lines)
        for at in chain(
            written_otherwise(first, seq, members_at=_FIRST_MEMBERS_AT),
            written_otherwise(rest, seq + len(first), members_at=_MEMBERS_AT),
        ):
            fault = self.fault(parse_record(lines[at - seq]))
            if fault is not None:
                yield at, fault

    def fault(self, record: HashedEntry) -> Fault | None:
        """Return what is wrong with ``record``, and how to say it; ``None``: nothing. The closer look."""
        self._noted.clear()
        try:
            text = record.line.decode()
            members = self._decoder.decode(text)
        except UnicodeDecodeError as error:
            return Damage.ENCODING, f"byte {error.start} of the line is no valid UTF-8: {error.reason}"
        except ValueError as error:
            return Damage.JSON, f"the line is no JSON: {error}"
        except RecursionError:
            return _TOO_DEEP
        brackets = record.line.count(b"{") + record.line.count(b"[")
        if brackets > NESTING_DEPTH_MAX and is_deeper(members, NESTING_DEPTH_MAX):
            return _TOO_DEEP
        if not self._noted and _SURROGATE_ESCAPE.search(text):
            self._check_surrogates(members)
        if self._noted:
            return self._noted[0]
        return _envelope_fault(members, record) or _entry_fault(record) or _white_space_fault(record.line)

    @cached_property
    def _decoder(self) -> json.JSONDecoder:
        return json.JSONDecoder(
            object_pairs_hook=self._members,
            parse_int=self._integer,
            parse_float=self._float,
            parse_constant=self._constant,
        )

    def _members(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        members = dict(pairs)
        if len(members) != len(pairs):
            name = Counter(name for name, _ in pairs).most_common(1)[0][0]
            self._noted.append((Damage.DUPLICATE_MEMBER, f"the member {shown(name)} is there more than once"))
        return members

    def _integer(self, text: str) -> int:
        value = int(text) if len(text) <= _INTEGER_CHARS_MAX else INTEGER_MAX + 1
        if not INTEGER_MIN <= value <= INTEGER_MAX:
            self._noted.append((Damage.LIMIT, f"the integer {shown(text)} does not fit in 64 bits"))
        return value

    def _float(self, text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            self._noted.append((Damage.LIMIT, f"the number {shown(text)} is too large"))
        return value

    def _constant(self, text: str) -> None:
        self._noted.append((Damage.JSON, f"{text} is no JSON"))

    def _check_surrogates(self, members: object) -> None:
        try:
            json.dumps(members, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            self._noted.append((Damage.LIMIT, "a string holds a lone surrogate"))


def _envelope_fault(members: Mapping[str, object], record: HashedEntry) -> Fault | None:
    """Compare the parsed envelope with the one at the fixed offsets."""
    for name, found in zip(ENVELOPE_MEMBERS, members, strict=False):
        if name != found:
            return Damage.ENVELOPE, f"the member {shown(found)} stands where {name!r} belongs"
    if len(members) < len(ENVELOPE_MEMBERS):
        return Damage.ENVELOPE, f"the member {ENVELOPE_MEMBERS[len(members)]!r} is missing"
    for name in ("hash", "prev_hash", "seq"):
        if members[name] != getattr(record, name):
            return Damage.ENVELOPE, f"{name} parses as {shown(members[name])}, its bytes say {getattr(record, name)}"
    if members["kind"] == "session_start" and record.seq:
        return Damage.FIRST_RECORD, "a session_start that is not the first record"
    return None


def _entry_fault(record: HashedEntry) -> Fault | None:
    try:
        record.entry  # noqa: B018 - decodes, and keeps what it decoded
    except CorruptLog as error:
        return error.damage, error.reason
    return None


def _white_space_fault(line: bytes) -> Fault | None:
    """Find white space outside strings in ``line``, which is known to be JSON (FORMAT section 2)."""
    surplus = len(line) - len(msgspec.json.format(line, indent=-1))  # takes white space out and changes nothing else
    if not surplus:
        return None
    return Damage.JSON, f"the JSON is not compact: white space outside strings ({surplus} bytes of it)"


def shown(value: object) -> str:
    """Return ``value`` for a message: printable, and short."""
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
