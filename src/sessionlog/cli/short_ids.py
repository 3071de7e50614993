"""Short forms of session ids: what a terminal shows, and what every command accepts.

An id is a base and, in a derived session, what importers add to it: ``-agent-NAME``, ``-fork-NAME``, ``-compact-NAME``,
or ``-2`` behind a UUID. Each of these pieces may be cut to a beginning that no other session has in its place:
``8d924656-agent-a3f1`` is short for ``8d924656-df80-5729-bdda-039c00a23def-agent-a3f19c07``. A short form is found
again::

    candidates(ShortIds(ids)(session_id), ids)[0] == session_id
"""

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeAlias

from .. import SessionId

ShownId: TypeAlias = Callable[[str], str]
"""How an id is shown: a :class:`ShortIds` on a terminal, ``str`` elsewhere."""
_Pieces: TypeAlias = list[tuple[str, str]]
"""What joins a piece to the one before it, and the piece: ``[("", "8d924656-…"), ("-agent-", "a3f19c07")]``."""

HEX_CHARS_MIN: Final = 8
"""At least so much is shown of a base that is made of hex digits, as a UUID is."""
WORD_CHARS_MIN: Final = 20
"""At least so much of any other base: somebody chose it, to be read."""
NAME_CHARS_MIN: Final = 4
"""At least so much of what a derived session is called."""
COLUMN_CHARS_MAX: Final = 24
_ROLE: Final = re.compile("(-(?:agent|compact|fork)-)")
_NUMBERED: Final = re.compile(r"([0-9a-f-]{8,36}?)(-)([0-9]{1,3})", re.ASCII)
_HEX: Final = re.compile(r"[0-9a-f-]+", re.ASCII)
_LAST: Final = "\x7f"
"""Sorts behind every character of an id."""


def candidates(text: str, session_ids: Iterable[SessionId]) -> list[SessionId]:
    """Return the sessions that ``text`` may mean, sorted: those whose ids begin so, else those that it is short for.

    What was made from a session that it means is among them, behind that session.
    """
    ids = list(session_ids)
    literally = [one for one in ids if one.startswith(text)]
    return sorted(literally or _abbreviated(_split(text), ids))


def column(shown: Iterable[str]) -> int:
    """Return how wide a column of ids is: a few long ones do not push everything else aside."""
    return min(COLUMN_CHARS_MAX, max(map(len, shown), default=0))


class ShortIds:
    """The short form of every id of ``session_ids``, which are all that the store holds: call it with an id."""

    def __init__(self, session_ids: Iterable[str]) -> None:
        """Sort the ids, and the names that stand in the same place: O(n log n)."""
        self._ids = sorted(session_ids)
        places: dict[tuple[str, str], set[str]] = defaultdict(set)
        for session_id in self._ids:
            for before, joint, name in _places(session_id):
                places[before, joint].add(name)
        self._siblings = {place: sorted(names) for place, names in places.items()}

    def __call__(self, session_id: str) -> str:
        """Return the short form of ``session_id``; the whole of one that the store does not hold."""
        at = bisect_left(self._ids, session_id)
        if self._ids[at : at + 1] != [session_id]:
            return session_id
        cut = [(joint, self._cut(before, joint, name)) for before, joint, name in _places(session_id)]
        base = _split(session_id)[0][1]
        for chars in range(len(cut[0][1]), len(base) + 1):
            cut[0] = ("", _beginning(base, chars))
            text = "".join([joint + name for joint, name in cut])
            if self._begins_no_other(text, session_id) and (len(cut) == 1 or _split(text) == cut):
                return text
        return session_id

    def add(self, session_id: str) -> None:
        """Take in a session that was made since. Forms that were given out before may mean several from now on."""
        at = bisect_left(self._ids, session_id)
        if self._ids[at : at + 1] == [session_id]:
            return
        self._ids.insert(at, session_id)
        for before, joint, name in _places(session_id):
            names = self._siblings.setdefault((before, joint), [])
            at = bisect_left(names, name)
            if names[at : at + 1] != [name]:
                names.insert(at, name)

    def _cut(self, before: str, joint: str, name: str) -> str:
        """Return as much of ``name`` as tells it from its siblings; all, where it is the beginning of one of them."""
        names = self._siblings[before, joint]
        at = bisect_left(names, name)
        least = NAME_CHARS_MIN if joint else HEX_CHARS_MIN if _HEX.fullmatch(name) else WORD_CHARS_MIN
        return _beginning(name, max(least, *(_shared_chars(name, one) + 1 for one in _neighbours(names, at)), 0))

    def _begins_no_other(self, text: str, session_id: str) -> bool:
        """Tell whether all ids that begin with ``text`` are ``session_id`` and what was made from it."""
        first, end = bisect_left(self._ids, text), bisect_left(self._ids, text + _LAST)
        return first == end or (self._ids[first] == session_id and self._ids[end - 1].startswith(session_id))


def _split(text: str) -> _Pieces:
    base, *others = _ROLE.split(text)
    numbered = _NUMBERED.fullmatch(base)
    first = [("", base)] if numbered is None else [("", numbered[1]), (numbered[2], numbered[3])]
    return first + list(zip(others[::2], others[1::2], strict=True))


def _places(session_id: str) -> Iterator[tuple[str, str, str]]:
    """Yield each piece of an id: all that stands before it, what joins it to that, and the piece."""
    before = ""
    for joint, name in _split(session_id):
        yield before, joint, name
        before += joint + name


def _abbreviated(pieces: _Pieces, ids: Iterable[SessionId]) -> list[SessionId]:
    """Return the ids of which ``pieces`` are beginnings; a whole piece is preferred to a beginning."""
    left = [(_split(one), one) for one in ids if one.startswith(pieces[0][1])]
    for at, (joint, name) in enumerate(pieces):
        left = [one for one in left if len(one[0]) > at and _is_short_for(joint, name, one[0][at])]
        left = [one for one in left if one[0][at][1] == name] or left
    return [session_id for _, session_id in left]


def _is_short_for(joint: str, name: str, piece: tuple[str, str]) -> bool:
    return piece[0] == joint and piece[1].startswith(name)


def _beginning(name: str, chars: int) -> str:
    """Return the first ``chars`` of ``name``, or more: it does not end in a hyphen."""
    while chars < len(name) and name[chars - 1] in "-_":
        chars += 1
    return name[:chars]


def _neighbours(names: list[str], at: int) -> list[str]:
    return names[max(0, at - 1) : at] + names[at + 1 : at + 2]


def _shared_chars(one: str, other: str) -> int:
    """Return how many characters both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (left, right) in pairs if left != right), min(len(one), len(other)))
