"""JSON that a log refuses, kept as text.

A log refuses what would not come back equal from every JSON library: nesting deeper than 64, lone surrogates, integers
past 64 bits, NaN and infinities. Frameworks meet all of these, and their own stores keep them.

    restored(keepable(value)) == value       for every JSON value, NaN aside, which comes back as NaN
"""

import json
from typing import Any, Final

from ..entries import Extension, encode_entry
from ..errors import InvalidEntry

JSON_MEMBER: Final = "json"
"""A value that a log refuses stands as an object of this one member, its JSON text; so does one of that very form."""
LEVELS_AROUND_MAX: Final = 4
"""In a payload, a value may stand so many levels deep."""


def keepable(value: Any) -> Any:
    """Return what a log keeps for a JSON value: itself, or an object that holds its JSON text.

    Raises :class:`InvalidEntry` for what is no JSON value, and for nesting that Python's ``json`` cannot write.
    """
    try:
        _check(value)
    except InvalidEntry as refusal:
        if not _is_json(value):
            raise
        try:
            return {JSON_MEMBER: json.dumps(value)}
        except (ValueError, RecursionError) as error:
            raise refusal from error
    if isinstance(value, dict) and value.keys() == {JSON_MEMBER}:
        return {JSON_MEMBER: json.dumps(value)}
    return value


def restored(kept: Any) -> Any:
    """Return the value that :func:`keepable` was given."""
    if isinstance(kept, dict) and kept.keys() == {JSON_MEMBER}:
        return json.loads(kept[JSON_MEMBER])
    return kept


def _check(value: Any) -> None:
    for _ in range(LEVELS_AROUND_MAX):
        value = [value]
    encode_entry(Extension(ts=0, domain="", payload=value))


def _is_json(value: Any) -> bool:
    """Tell whether a value is made of what JSON has, its limits aside; without recursion, however deep it is."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            if not all(isinstance(key, str) for key in one):
                return False
            left += one.values()
        elif isinstance(one, list | tuple):
            left += one
        elif one is not None and not isinstance(one, str | int | float):
            return False
    return True
