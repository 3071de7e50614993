"""Search: the lines of a session's text that a pattern is found in, with the record to fork at.

A record whose bytes cannot hold the words is not decoded. That test errs to one side only: whatever would match is
looked at. Lines are matched one by one, as grep does, so a pattern does not reach over a line's end.
Words and expressions are matched by :mod:`sessionlog.queries.patterns`.
"""

import re
from bisect import bisect_right
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, NamedTuple

import anyio.lowlevel

from ..entries import entry_kind
from ..readings import is_read
from ..record import HashedEntry
from ..store import Store
from .patterns import Span, find_spans, make_pattern
from .texts import Piece, Place, Texts

_ENVELOPE: Final = re.compile(
    rb'.{75}"prev_hash":(?:null|"[0-9a-f]{64}"),"seq":[0-9]+,"kind":"([a-z_]+)","ts":(-?[0-9]+)[,}]', re.DOTALL
)
_WORD: Final = re.compile(r"[A-Za-z_]{2,}")
_FOLD_TO_ASCII: Final = tuple(letter.encode() for letter in "\u0130\u0131\u017f\u212a")
"""The letters beyond ASCII that match an ASCII one where case does not count: dotted I, dotless i, long s, Kelvin."""
_CALL: Final = b'"type":"tool_call"'
_DOMAIN: Final = re.compile(rb'"domain":"(\w+)"')
_TURNS_EVERY: Final = 64


@dataclass(frozen=True, kw_only=True)
class Query:
    """What is searched for; an empty set or ``None`` does not narrow it.

    With ``regex``, ``text`` is a regular expression as RE2 has them (extra ``cli``): its time is linear in the text's.
    ``places`` are where to look: what people said, what models said (messages and reasoning), tools (their calls and
    results), system texts, and ``other``, the rest. ``since_ms`` is included, ``until_ms`` is not (unix milliseconds).
    ``role`` is ``user``, ``assistant``, ``system`` or ``tool``; ``tool`` is the name of one, and takes both its calls
    and its results.
    """

    text: str
    regex: bool = False
    case: bool = False
    kinds: frozenset[str] = frozenset()
    places: frozenset[Place] = frozenset()
    roles: frozenset[str] = frozenset()
    tools: frozenset[str] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None


class HitLine(NamedTuple):
    """A line of a hit: its 1-based number in the piece, its text, and where it matches; no span: it is context."""

    number: int
    text: str
    spans: Sequence[tuple[int, int]]


class Hit(NamedTuple):
    """A piece of a record's text in which the pattern was found. ``record.hash`` is where to fork behind it."""

    session_id: str
    record: HashedEntry
    role: str
    tool: str | None
    lines: Sequence[HitLine]


class Matcher:
    """Finds a query in the records of one log, which it must be given in order."""

    def __init__(self, query: Query, *, context: int = 0, searched: Iterable[str] = ()) -> None:
        """Prepare; ``context`` is how many lines around a match a hit has, ``searched`` as for :func:`search_session`.

        Raises :class:`QueryError`.
        """
        self._pattern = make_pattern(query.text, regex=query.regex, case=query.case)
        self._query = query
        self._context = context
        words = [] if query.regex else _WORD.findall(query.text)
        word = max(words, key=len, default="")
        self._needle = (word if query.case else word.lower()).encode()
        self._texts = Texts(searched=searched)

    def know_calls(self, tools: Mapping[str, str]) -> None:
        """Take over which tool each call asks for, by the calls' ids, if the records with the calls are not given."""
        self._texts.know_calls(tools)

    def hits(self, session_id: str, record: HashedEntry) -> Iterator[Hit]:
        """Yield what is found in ``record``. Raises :class:`CorruptLog` if it must be decoded and cannot."""
        for piece in self._pieces(record):
            if lines := self._lines(piece.text, self._pattern.spans(piece.text)):
                yield Hit(session_id, record, piece.role, piece.tool, lines)

    async def find(self, session_id: str, record: HashedEntry) -> list[Hit]:
        """Return what :meth:`hits` yields; other tasks run meanwhile, and cancelling ends it at once."""
        return [
            Hit(session_id, record, piece.role, piece.tool, lines)
            for piece in self._pieces(record)
            if (lines := self._lines(piece.text, await find_spans(self._pattern, piece.text)))
        ]

    def _pieces(self, record: HashedEntry) -> Iterator[Piece]:
        """Yield the pieces of ``record`` to look at: none if it cannot match."""
        if self._may_match(record):
            yield from filter(self._wanted, self._texts.pieces(record.entry))
        elif _CALL in record.line:
            self._texts.note_calls(record.entry)

    def _may_match(self, record: HashedEntry) -> bool:
        """Tell whether ``record`` is of the kinds and times wanted, and whether its bytes may hold the words."""
        query, line = self._query, record.line
        envelope = _ENVELOPE.match(line)
        if envelope is not None and envelope[1] != b"cache_locked":
            kind, ts = envelope[1].decode(), int(envelope[2])
        else:
            kind, ts = entry_kind(record.entry), record.entry.ts
        if query.kinds and kind not in query.kinds:
            return False
        if query.since_ms is not None and ts < query.since_ms:
            return False
        if query.until_ms is not None and ts >= query.until_ms:
            return False
        if kind == "extension" and (domain := _DOMAIN.search(line)) and is_read(domain[1].decode()):
            return True  # its words may stand there in another form
        if self._needle in (line if query.case else line.lower()) or b"\\u" in line:
            return True
        return not query.case and any(letter in line for letter in _FOLD_TO_ASCII)

    def _wanted(self, piece: Piece) -> bool:
        query = self._query
        return (
            (not query.places or piece.place in query.places)
            and (not query.roles or piece.role in query.roles)
            and (not query.tools or piece.tool in query.tools)
        )

    def _lines(self, text: str, spans: Iterable[Span]) -> list[HitLine]:
        """Return the lines that ``spans`` lie in, and those around them."""
        first = next(iter(spans := iter(spans)), None)
        if first is None:
            return []
        lines = text.split("\n")
        starts = [0, *accumulate(len(line) + 1 for line in lines)]
        found: dict[int, list[Span]] = {}
        for start, end in (first, *spans):
            at = bisect_right(starts, start) - 1
            found.setdefault(at, []).append((start - starts[at], end - starts[at]))
        shown = {near for at in found for near in range(at - self._context, at + self._context + 1)}
        return [HitLine(at + 1, lines[at], found.get(at, ())) for at in sorted(shown) if 0 <= at < len(lines)]


async def search_session(
    store: Store, session_id: str, query: Query, *, context: int = 0, searched: Iterable[str] = ()
) -> AsyncGenerator[Hit, None]:
    """Stream what is found in one session, in its order; each text once, however often events repeat it.

    A fork's first record holds what it took over: that is left out if its source is among the sessions that are
    ``searched`` as well. Raises :class:`QueryError`, and whatever reading raises.
    """
    matcher = Matcher(query, context=context, searched=searched)
    async with aclosing(store.read(session_id)) as records:
        async for record in records:
            for hit in await matcher.find(session_id, record):
                yield hit
            if record.seq % _TURNS_EVERY == 0:
                await anyio.lowlevel.checkpoint()
