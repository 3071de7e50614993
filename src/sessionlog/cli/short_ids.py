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
from collections.abc import Callable, Iterable
from itertools import pairwise, starmap
from typing import Final, TypeAlias

from .. import SessionId

ShownId: TypeAlias = Callable[[SessionId], str]
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

    def __init__(self, session_ids: Iterable[SessionId]) -> None:
        """Compare the ids, in O(n log n)."""
        self._pieces = {session_id: _split(session_id) for session_id in sorted(session_ids)}
        self._ids = list(self._pieces)
        self._chars = _chars_needed(self._pieces.values())

    def __call__(self, session_id: SessionId) -> str:
        """Return the short form of ``session_id``; the whole of one that the store does not hold."""
        pieces = self._pieces.get(session_id)
        if pieces is None:
            return session_id
        cut: _Pieces = []
        before = ""
        for joint, name in pieces:
            before += joint + name
            cut.append((joint, _beginning(name, self._chars[before])))
        base = pieces[0][1]
        for chars in range(len(cut[0][1]), len(base) + 1):
            cut[0] = ("", _beginning(base, chars))
            text = "".join([joint + name for joint, name in cut])
            if self._begins_no_other(text, session_id) and (len(cut) == 1 or _split(text) == cut):
                return text
        return session_id

    def _begins_no_other(self, text: str, session_id: SessionId) -> bool:
        """Tell whether all ids that begin with ``text`` are ``session_id`` and what was made from it."""
        first, end = bisect_left(self._ids, text), bisect_left(self._ids, text + _LAST)
        return first == end or (self._ids[first] == session_id and self._ids[end - 1].startswith(session_id))


def _split(text: str) -> _Pieces:
    base, *others = _ROLE.split(text)
    numbered = _NUMBERED.fullmatch(base)
    first = [("", base)] if numbered is None else [("", numbered[1]), (numbered[2], numbered[3])]
    return first + list(zip(others[::2], others[1::2], strict=True))


def _abbreviated(pieces: _Pieces, ids: Iterable[SessionId]) -> list[SessionId]:
    """Return the ids of which ``pieces`` are beginnings; a whole piece is preferred to a beginning."""
    left = [(_split(one), one) for one in ids if one.startswith(pieces[0][1])]
    for at, (joint, name) in enumerate(pieces):
        left = [one for one in left if len(one[0]) > at and _is_short_for(joint, name, one[0][at])]
        left = [one for one in left if one[0][at][1] == name] or left
    return [session_id for _, session_id in left]


def _is_short_for(joint: str, name: str, piece: tuple[str, str]) -> bool:
    return piece[0] == joint and piece[1].startswith(name)


def _chars_needed(ids: Iterable[_Pieces]) -> dict[str, int]:
    """Return, for each id and each id that one was derived from, how much of its last piece tells it from the others.

    One more than the piece has, where it is itself the beginning of another.
    """
    siblings: dict[tuple[str, str], set[str]] = defaultdict(set)
    for pieces in ids:
        before = ""
        for joint, name in pieces:
            siblings[before, joint].add(name)
            before += joint + name
    needed = {}
    for (before, joint), names in siblings.items():
        ordered = sorted(names)
        shared = [0, *starmap(_shared_chars, pairwise(ordered)), 0]
        for name, left, right in zip(ordered, shared, shared[1:], strict=False):
            least = NAME_CHARS_MIN if joint else HEX_CHARS_MIN if _HEX.fullmatch(name) else WORD_CHARS_MIN
            needed[before + joint + name] = max(least, left + 1, right + 1)
    return needed


def _beginning(name: str, chars: int) -> str:
    """Return the first ``chars`` of ``name``, or more: it does not end in a hyphen."""
    while chars < len(name) and name[chars - 1] in "-_":
        chars += 1
    return name[:chars]


def _shared_chars(one: str, other: str) -> int:
    """Return how many characters both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (left, right) in pairs if left != right), min(len(one), len(other)))
