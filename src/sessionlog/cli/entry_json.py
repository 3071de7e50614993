"""Entries as other programs write them: one JSON object, read strictly.

An entry that would lose something, or that readers could understand in two ways, is refused and not mended: duplicate
members, NaN, numbers that a double cannot hold, members that a known kind does not have.
"""

import json
import math
from decimal import Decimal, DecimalException
from typing import Any, Final

import msgspec

from .. import LogEntry, UnknownEntry, decode_entry

_ENVELOPE: Final = ("hash", "prev_hash", "seq")


class BadEntry(ValueError):
    """The line is no entry; the text says why."""


def parse_entry(line: bytes, *, now_ms: int) -> LogEntry:
    """Return the entry in ``line``; without a ``ts``, it is of ``now_ms``.

    A whole record is taken too: its place in its own log is left out. A kind that is not known gives an
    :class:`UnknownEntry`. Raises :class:`BadEntry`.
    """
    try:
        given = json.loads(
            line.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_kept
        )
    except UnicodeDecodeError as error:
        raise BadEntry(f"byte {error.start + 1} is no UTF-8") from error
    except json.JSONDecodeError as error:
        raise BadEntry(f"no JSON: {error.msg} at character {error.colno}") from error
    except RecursionError as error:
        raise BadEntry("nested too deeply") from error
    if not isinstance(given, dict) or not isinstance(given.get("kind"), str):
        raise BadEntry('an entry is an object with a "kind", such as {"kind":"extension","domain":"my","payload":1}')
    members = {name: value for name, value in given.items() if name not in _ENVELOPE}
    members.setdefault("ts", now_ms)
    try:
        entry = decode_entry(msgspec.json.encode(members))
    except (msgspec.ValidationError, msgspec.EncodeError, OverflowError, RecursionError) as error:
        raise BadEntry(f"{given['kind']}: {error}") from error
    except UnicodeEncodeError as error:
        raise BadEntry("a string holds a lone surrogate, which UTF-8 cannot carry: replace it") from error
    if not isinstance(entry, UnknownEntry):
        _refuse_lost(members, msgspec.to_builtins(entry), given["kind"])
    return entry


def _refuse_lost(given: Any, kept: Any, where: str) -> None:
    """Refuse members of ``given`` that say something and are not in ``kept``, what the log would hold."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for name, value in given.items():
            if name in kept:
                _refuse_lost(value, kept[name], f"{where}.{name}")
            elif value not in (None, False, []):  # as good as not set
                raise BadEntry(f"{where} has no member {name!r}: put it into an extension entry")
    elif isinstance(given, list) and isinstance(kept, list):
        for index, (one, other) in enumerate(zip(given, kept, strict=True)):
            _refuse_lost(one, other, f"{where}[{index}]")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        raise BadEntry(f"the member {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return members


def _no_constant(name: str) -> None:
    raise BadEntry(f"{name} is no JSON: write null or a string")


def _kept(text: str) -> float:
    """Return the double that ``text`` stands for, whose shortest spelling must have the same value as ``text``."""
    value = float(text)
    if not math.isfinite(value):
        raise BadEntry(f"{text[:24]} is larger than any number that JSON readers keep: write it as a string")
    try:
        same = Decimal(text) == Decimal(repr(value))
    except DecimalException:  # an exponent of 20 digits, say
        same = False
    if not same:
        raise BadEntry(f"{text[:24]} would become {value!r}, the nearest double: write it as a string")
    return value
