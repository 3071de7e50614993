"""Which records of a log ``show`` and ``tail`` show: ``--kind``, ``--not-kind``, ``--seq``."""

import re
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, TypeVar, get_args

import click

from .. import HashedEntry, LogEntry, Position, SessionId, Store, UnknownEntry, entry_kind
from .text import safe

AnyCommand = TypeVar("AnyCommand", bound=Callable[..., Any])

KINDS: Final = tuple(str(one.__struct_config__.tag) for one in get_args(LogEntry) if one is not UnknownEntry)
"""The kinds that this version knows."""
TAIL_RECORDS_MAX: Final = 1000
"""More records are not looked for from the log's end, where they are held at once, but streamed."""
_SEQS: Final = re.compile(r"(?P<first>[0-9]{1,18})?(?P<range>\.\.)?(?P<last>[0-9]{1,18})?", re.ASCII)


@dataclass(frozen=True)
class Seqs:
    """The positions ``first`` to ``last``, both included; ``None``: to the log's end."""

    first: int = 0
    last: int | None = None

    @property
    def after(self) -> int | None:
        """The position to read behind."""
        return self.first - 1 if self.first else None


class SeqsType(click.ParamType[Seqs]):
    """``A..B``, ``A..``, ``..B`` or ``N``."""

    name = "seqs"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Seqs:
        """Return the positions."""
        found = _SEQS.fullmatch(value)
        if found is None or not (found["first"] or found["last"]):
            self.fail(f"{safe(value)!r} names no records: write 5, 5..9, 5.. or ..9", param, ctx)
        first = int(found["first"] or 0)
        last = int(found["last"]) if found["last"] else None if found["range"] else first
        if last is not None and last < first:
            self.fail(f"{value} is empty: write the smaller number first", param, ctx)
        return Seqs(first, last)


@dataclass(frozen=True)
class Selection:
    """Which records are wanted; an empty set of ``kinds`` wants all of them."""

    seqs: Seqs
    kinds: frozenset[str]
    other_than: frozenset[str]

    @property
    def is_all(self) -> bool:
        """Tell whether every record of the log is wanted."""
        return not self.kinds and not self.other_than and self.seqs == Seqs()

    def wants(self, record: HashedEntry) -> bool:
        """Tell whether ``record`` is wanted. Raises :class:`CorruptLog` if its kind must be known and cannot be."""
        if record.seq < self.seqs.first or (self.seqs.last is not None and record.seq > self.seqs.last):
            return False
        if not self.kinds and not self.other_than:
            return True
        kind = entry_kind(record.entry)
        return kind not in self.other_than and (not self.kinds or kind in self.kinds)

    async def filter(self, records: AsyncGenerator[HashedEntry, None]) -> AsyncGenerator[HashedEntry, None]:
        """Stream those of ``records`` that are wanted; stop reading behind the last that can be."""
        async with aclosing(records):
            async for record in records:
                if self.wants(record):
                    yield record
                if self.seqs.last is not None and record.seq >= self.seqs.last:
                    return

    async def before_last(self, store: Store, session_id: SessionId, count: int) -> int | Position | None:
        """Return the position behind which the last ``count`` records stand that are wanted; ``None``: the start."""
        last = await store.read_position(session_id)
        if last is None:
            return None
        head = last.head
        if self.is_all and head.seq >= count:
            return await _before_tail(store, session_id, last, count) or head.seq - count
        if self.is_all:
            return None
        wanted: deque[int] = deque(maxlen=count)
        async for record in self.filter(store.read(session_id, after=self.seqs.after)):
            wanted.append(record.seq)
        first = wanted[0] if wanted else head.seq + 1
        return first - 1 if first else None

    async def misspelled(self, store: Store, session_id: SessionId) -> str | None:
        """Return what is wrong with a kind that is neither known nor in the log; ``None``: nothing.

        The log is read for it only where a kind is named that this version does not know.
        """
        strangers = (self.kinds | self.other_than) - set(KINDS)
        seen: set[str] = set()
        if strangers:
            async with aclosing(store.read(session_id)) as records:
                async for record in records:
                    seen.add(entry_kind(record.entry))
        if strangers <= seen:
            return None
        names = ", ".join((*KINDS, *sorted(seen - set(KINDS))))
        return f"{session_id} has no record of kind {min(strangers - seen)}; the kinds are {names}"


async def _before_tail(store: Store, session_id: SessionId, last: Position, count: int) -> Position | None:
    """Return where the last ``count`` records up to ``last`` begin, found from the log's end.

    ``None`` if they are too many to hold, or another writer came in between.
    """
    if count == 0:
        return last
    records = await store.read_tail(session_id, count) if count <= TAIL_RECORDS_MAX else []
    if not records or records[-1].head != last.head or records[0].prev_hash is None:
        return None
    start = last.end - sum(len(record.line) + 1 for record in records)
    return Position(records[0].seq - 1, records[0].prev_hash, start)


def selection_options(command: AnyCommand) -> AnyCommand:
    """Add ``--kind``, ``--not-kind`` and ``--seq`` to a command."""
    kind_option = click.option(
        "--kind", "kinds", multiple=True, metavar="KIND", help="Only records of this kind; may be repeated."
    )
    not_kind_option = click.option(
        "--not-kind", "other_than", multiple=True, metavar="KIND", help="No records of this kind; may be repeated."
    )
    seq_option = click.option(
        "--seq", "seqs", type=SeqsType(), metavar="A..B", help="Only these positions; or A.., ..B, a single one."
    )
    return kind_option(not_kind_option(seq_option(command)))


def make_selection(seqs: Seqs | None, kinds: Sequence[str], other_than: Sequence[str]) -> Selection:
    """Return the selection that the options ask for."""
    return Selection(seqs or Seqs(), frozenset(kinds), frozenset(other_than))
