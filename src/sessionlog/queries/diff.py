"""Where two sessions part: by lineage, as far as their logs say where they come from, and from there by content.

Lineage: the last record that both go back to, through forks and compactions. These are claims; an audit checks them.
Content: from there on (or from the beginning, for sessions that share no origin) what was said and done, item by item,
whatever the ids and times are. Both logs are streamed side by side; nothing of them is held.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

from ..entries import AssistantItems, HookInjectedItems, LogEntry, SessionOrigin, SessionStart, ToolResults, UserInput
from ..errors import SessionNotFound
from ..ids import Head
from ..items import Item, Message, Reasoning, ToolCall, ToolResult
from ..record import HashedEntry
from ..store import Store
from .stats import SessionStats, Tally, total_stats

ITEMS_DEFAULT: Final = 10


class _Segment(NamedTuple):
    """The part of a log that a session goes through: behind ``after`` (all, if ``None``), to ``until`` included."""

    session_id: str
    after: int | None
    until: int | None
    compacted: bool
    forked: bool


class Lineage(NamedTuple):
    """The last record that both sessions go back to, and the session that holds it."""

    session_id: str
    head: Head


class Place(NamedTuple):
    """An item, and the record that it is from."""

    session_id: str
    head: Head
    item: Item


@dataclass
class After:
    """What one of two sessions did after they parted: its first items, how many there are, and what they add up to."""

    session_id: str
    items: list[Place] = field(default_factory=list)
    item_count: int = 0
    stats: SessionStats = field(default_factory=SessionStats)


@dataclass
class Parting:
    """Where two sessions part.

    ``lineage`` is ``None`` where they have no origin in common. ``same_items`` say the same behind that (from the
    beginning, without lineage); ``last_same`` is the last of these, in either session.
    """

    lineage: Lineage | None
    same_items: int
    last_same: tuple[Place, Place] | None
    first: After
    second: After

    @property
    def identical(self) -> bool:
        """Whether neither said or did anything that the other did not."""
        return not self.first.item_count and not self.second.item_count


async def diff_sessions(store: Store, first: str, second: str, *, items_max: int = ITEMS_DEFAULT) -> Parting:
    """Return where the sessions part, with the first ``items_max`` items of each behind that.

    A source that is not there, or does not hold the record that is named, ends a lineage. Raises whatever reading
    raises, about any log that is read.
    """
    lineage, first_path, second_path = _part(await _path(store, first), await _path(store, second))
    first_after, second_after = After(first), After(second)
    same, last_same = 0, None
    async with aclosing(_steps(store, first_path)) as ours, aclosing(_steps(store, second_path)) as theirs:
        one, other = await anext(ours, None), await anext(theirs, None)
        while one is not None and other is not None and _content(one.item) == _content(other.item):
            same, last_same = same + 1, (one, other)
            one, other = await anext(ours, None), await anext(theirs, None)
        await _take_rest(first_after, one, ours, items_max)
        await _take_rest(second_after, other, theirs, items_max)
    last = (None, None) if last_same is None else last_same
    first_after.stats = await _stats_behind(store, first_path, last[0])
    second_after.stats = await _stats_behind(store, second_path, last[1])
    return Parting(lineage, same, last_same, first_after, second_after)


_Path: TypeAlias = list[tuple[_Segment, Head | None]]
"""A session's segments from its oldest source on, each with the record at which the next one leaves it."""


async def _path(store: Store, session_id: str) -> _Path:
    path: _Path = []
    seen = {session_id}
    until: Head | None = None
    while True:
        origin, compacted = await _origin(store, session_id)
        source = None
        if origin is not None and origin.session_id not in seen:
            source = await _find(store, origin)
        forked = source is not None and not compacted
        segment = _Segment(session_id, None, None if until is None else until.seq, compacted, forked)
        path.insert(0, (segment, until))
        if origin is None or source is None:
            return path
        session_id, until = origin.session_id, source
        seen.add(session_id)


async def _origin(store: Store, session_id: str) -> tuple[SessionOrigin | None, bool]:
    async with aclosing(store.read(session_id)) as records:
        async for record in records:
            entry = record.entry
            if isinstance(entry, SessionStart):
                return entry.forked_from or entry.compacted_from, entry.compacted_from is not None
            break
    return None, False


async def _find(store: Store, origin: SessionOrigin) -> Head | None:
    with suppress(SessionNotFound):
        async with aclosing(store.read(origin.session_id)) as records:
            async for record in records:
                if record.hash == origin.at_hash:
                    return record.head
    return None


def _part(first: _Path, second: _Path) -> tuple[Lineage | None, list[_Segment], list[_Segment]]:
    """Return the last record in common, and what either path goes through behind it."""
    lineage = None
    for index, ((one, one_until), (other, other_until)) in enumerate(zip(first, second, strict=False)):
        if one.session_id != other.session_id:
            break
        ends = [head for head in (one_until, other_until) if head is not None]
        if not ends:  # both are this very session
            return lineage, [], []
        end = min(ends, key=lambda head: head.seq)
        lineage = Lineage(one.session_id, end)
        if one_until == other_until:
            continue
        return lineage, _behind(first, index, end), _behind(second, index, end)
    shared = (
        0
        if lineage is None
        else next(at for at, (segment, _) in enumerate(first) if segment.session_id == lineage.session_id) + 1
    )
    return lineage, [segment for segment, _ in first[shared:]], [segment for segment, _ in second[shared:]]


def _behind(path: _Path, index: int, head: Head) -> list[_Segment]:
    segment = path[index][0]
    return [segment._replace(after=head.seq), *(later for later, _ in path[index + 1 :])]


async def _steps(store: Store, segments: Sequence[_Segment]) -> AsyncGenerator[Place, None]:
    """Stream the items of the segments; what a fork repeats of its source is left out."""
    for segment in segments:
        async with aclosing(_records(store, segment)) as records:
            async for record in records:
                for item in _items(record.entry, forked=segment.forked):
                    yield Place(segment.session_id, record.head, item)


async def _records(store: Store, segment: _Segment) -> AsyncGenerator[HashedEntry, None]:
    if segment.until is not None and segment.after is not None and segment.after >= segment.until:
        return
    async with aclosing(store.read(segment.session_id, after=segment.after)) as records:
        async for record in records:
            yield record
            if record.seq == segment.until:
                return


def _items(entry: LogEntry, *, forked: bool) -> Sequence[Item]:
    match entry:
        case SessionStart():
            return () if forked else entry.history
        case UserInput():
            return (entry.item,)
        case AssistantItems() | ToolResults() | HookInjectedItems():
            return entry.items
        case _:
            return ()


def _content(item: Item) -> tuple[Any, ...]:
    """Return what two items must have in common to be the same: everything but ids, signatures and status."""
    match item:
        case Message():
            return ("message", item.role, list(item.content))
        case ToolCall():
            return ("call", item.name, item.arguments)
        case ToolResult():
            return ("result", item.summary, item.content, item.is_error)
        case Reasoning():
            return ("reasoning", item.text)


async def _take_rest(after: After, item: Place | None, rest: AsyncGenerator[Place, None], items_max: int) -> None:
    while item is not None:
        if len(after.items) < items_max:
            after.items.append(item)
        after.item_count += 1
        item = await anext(rest, None)


async def _stats_behind(store: Store, segments: Sequence[_Segment], last_same: Place | None) -> SessionStats:
    """Count the records behind the last one that is the same."""
    skipping = last_same is not None
    parts = []
    for segment in segments:
        tally = Tally(segment.session_id)
        async with aclosing(_records(store, segment)) as records:
            async for record in records:
                if not skipping:
                    tally.take(record)
                elif last_same is not None and (segment.session_id, record.head) == last_same[:2]:
                    skipping = False
        parts.append(tally.stats)
    return total_stats(parts)
