"""Looking a text up: where the index says that it may stand, the log is read, verified, and looked at.

Neighbouring blocks of a log are read in one go. What stands in no block that holds all trigrams holds no match, so the
texts that were told before a block and matter for it were in blocks that were read before.
"""

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Final, NamedTuple

from ..errors import CorruptLog, EntryNotFound, SessionLogError, SessionNotFound, StoreFailed
from ..queries import Hit, Matcher, Query, search_session
from ..record import HashedEntry, Position
from ..store import Store
from .hops import Hops
from .texts import trigrams_of

NEAR_BYTES: Final = 1024 * 1024
"""Blocks that lie no further apart are read in one go: a store reads about so much at a time."""
_HOP_CANDIDATES: Final = 32
_SAYING_KINDS: Final = frozenset(
    {"session_start", "user_input", "assistant_items", "tool_results", "hook_injected_items"}
)


class Candidate(NamedTuple):
    """Records of a session, from ``seq`` to ``last_seq``, in which a text may stand.

    They begin at byte ``start`` of the log, behind the record with ``prev_hash``. ``calls`` are the tools of the calls
    that wait for their results there.
    """

    session_id: str
    seq: int
    last_seq: int
    start: int
    prev_hash: str | None
    calls: Mapping[str, str] = {}


class Found(NamedTuple):
    """What was found in one session, and the error that kept it from being read, if one did."""

    session_id: str
    hits: Sequence[Hit]
    fault: SessionLogError | None


def trigrams_for(query: Query) -> list[str] | None:
    """Return the trigrams of a query; ``None`` if it can match what is not in the index, so that all is to be read."""
    said = "other" not in query.places and (query.places or query.roles or query.tools)
    if query.regex or not (said or (query.kinds and query.kinds <= _SAYING_KINDS)):
        return None
    return trigrams_of(query.text)


def is_indexed(query: Query) -> bool:
    """Tell whether a catalog can look ``query`` up. If not, as for a regular expression, all records are read."""
    return trigrams_for(query) is not None


async def read_candidate(store: Store, candidate: Candidate) -> list[HashedEntry]:
    """Return the records, verified. Raises what reading raises."""
    found: list[HashedEntry] = []
    async with aclosing(store.read(candidate.session_id, after=_position(candidate))) as records:
        async for record in records:
            if record.seq > candidate.last_seq:
                break
            found.append(record)
    return found


async def scan(store: Store, query: Query, sessions: Sequence[str], context: int) -> AsyncGenerator[Found, None]:
    """Yield what is found in each session, all of them read from their start, a hit at a time."""
    for session_id in sessions:
        try:
            async with aclosing(search_session(store, session_id, query, context=context, searched=sessions)) as hits:
                async for hit in hits:
                    yield Found(session_id, [hit], None)
        except SessionNotFound:
            pass  # gone since the last refresh
        except SessionLogError as error:
            yield Found(session_id, (), error)


async def look_up(
    hops: Hops, query: Query, sessions: Sequence[str], context: int, candidates: Iterable[Candidate]
) -> AsyncGenerator[Found, None]:
    """Yield what is found in each of the ``sessions`` that have ``candidates``, some of them read in one hop."""
    places: dict[str, list[Candidate]] = {}
    for one in candidates:
        places.setdefault(one.session_id, []).append(one)
    chunk: list[list[Candidate]] = []
    count = 0
    for session_id in sessions:
        if session_id in places:
            chunk.append(places[session_id])
            count += len(chunk[-1])
        if count >= _HOP_CANDIDATES:
            for found in await hops.run(_find_each, query, context, sessions, chunk):
                yield found
            chunk, count = [], 0
    for found in await hops.run(_find_each, query, context, sessions, chunk):
        yield found


async def _find_each(
    store: Store, query: Query, context: int, searched: Sequence[str], places: Sequence[Sequence[Candidate]]
) -> list[Found]:
    return [await _find(store, Matcher(query, context=context, searched=searched), one) for one in places]


async def _find(store: Store, matcher: Matcher, candidates: Sequence[Candidate]) -> Found:
    hits: list[Hit] = []
    session_id = candidates[0].session_id
    try:
        for stretch in _stretches(candidates):
            calls = {one.seq: one.calls for one in stretch}
            async with aclosing(store.read(session_id, after=_position(stretch[0]))) as records:
                async for record in records:
                    if record.seq > stretch[-1].last_seq:
                        break
                    matcher.know_calls(calls.get(record.seq, {}))
                    hits += matcher.hits(session_id, record)
    except (SessionNotFound, EntryNotFound, CorruptLog, StoreFailed) as error:
        return Found(session_id, hits, error)
    return Found(session_id, hits, None)


def _stretches(candidates: Iterable[Candidate]) -> Iterator[list[Candidate]]:
    """Yield the candidates of one session, those that lie near each other together."""
    stretch: list[Candidate] = []
    for one in candidates:
        if stretch and one.start - stretch[-1].start > NEAR_BYTES:
            yield stretch
            stretch = []
        stretch.append(one)
    if stretch:
        yield stretch


def _position(candidate: Candidate) -> Position | None:
    if candidate.prev_hash is None:
        return None
    return Position(candidate.seq - 1, candidate.prev_hash, candidate.start)
