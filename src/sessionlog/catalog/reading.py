"""Reading what is new of sessions, for the catalog: pure of it, so that another process can do it.

A hop reads sessions until it has enough to write; a long log is read in pieces, each of which the catalog can go on
from. One session that cannot be read keeps no other out: its row says why.
"""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Final, NamedTuple

from ..errors import CorruptLog, EntryNotFound, SessionNotFound, StoreFailed
from ..ids import Head
from ..queries import ToolUse
from ..record import HashedEntry, Position
from ..store import Store
from .rows import RowFold, SessionRow, SessionState
from .texts import Block, Blocks

PIECE_CHARS: Final = 4 * 1024 * 1024
PIECE_BYTES: Final = 32 * 1024 * 1024
"""A hop ends when what it read holds so many characters to index, or is so long."""


class Known(NamedTuple):
    """What is kept of a session: its number, the position to go on from, and the fold."""

    no: int
    head: Head | None
    end: int
    frozen: bytes | None


class Task(NamedTuple):
    """A session to read: its change token, and what is known of it."""

    session_id: str
    stamp: str
    known: Known | None


class News(NamedTuple):
    """What reading a session gave: its row, what to go on with, and the texts that are new.

    ``before`` is what it was read on from; ``None``: from the start, so that all that was known is replaced.
    ``stamp`` is ``None`` where the session is to be read again, and ``more`` says that this was a piece of it.
    """

    row: SessionRow
    stamp: str | None
    end: int
    frozen: bytes | None
    kinds: Sequence[tuple[str, int]]
    tools: Sequence[tuple[str, ToolUse]]
    spawned: Mapping[str, Head]
    blocks: Sequence[Block]
    before: Known | None
    more: bool = False


class Batch(NamedTuple):
    """What was read in one hop: of the first ``done`` tasks all there is, and perhaps a piece of the next."""

    news: Sequence[News]
    done: int


async def read_batch(store: Store, tasks: Sequence[Task]) -> Batch:
    """Read the sessions of ``tasks``, in order, until there is enough to write; a session that is gone gives no news.

    Raises nothing of a single session.
    """
    news: list[News] = []
    chars = size = 0
    for done, task in enumerate(tasks):
        one = await _read(store, task, PIECE_CHARS - chars, PIECE_BYTES - size)
        if one is None:
            continue
        news.append(one)
        if one.more:
            return Batch(news, done)
        chars += sum(len(block.words) for block in one.blocks)
        size += one.end - (0 if one.before is None else one.before.end)
        if chars >= PIECE_CHARS or size >= PIECE_BYTES:
            return Batch(news, done + 1)
    return Batch(news, len(tasks))


async def _read(store: Store, task: Task, chars_max: int, bytes_max: int) -> News | None:
    known = task.known
    try:
        if known is not None and known.head is not None and known.frozen is not None:
            try:
                fold = RowFold.thaw(known.frozen)
                return await _Reading(fold, known, chars_max, bytes_max).run(store, task)
            except (EntryNotFound, CorruptLog, ValueError):
                pass  # another log by now, or a damaged one: from its start
        return await _Reading(RowFold.begin(task.session_id), None, chars_max, bytes_max).run(store, task)
    except (SessionNotFound, EntryNotFound):
        return None  # deleted, or made anew while it was read: the next refresh tells


class _Reading:
    """One pass over what is new of a log."""

    def __init__(self, fold: RowFold, known: Known | None, chars_max: int, bytes_max: int) -> None:
        self._fold = fold
        self._known = known
        self._end = 0 if known is None else known.end
        self._end_max = self._end + bytes_max
        self._chars_max = chars_max
        self._blocks = Blocks()

    async def run(self, store: Store, task: Task) -> News:
        """Read on. Raises if the log is not there, or does not go on from what is known."""
        known = self._known
        head = None if known is None else known.head
        after = None if head is None else Position(head.seq, head.hash, self._end)
        state: SessionState = "valid"
        fault, more = None, False
        try:
            async with aclosing(store.read(task.session_id, after=after)) as records:
                async for record in records:
                    self._take(record)
                    more = self._blocks.chars >= self._chars_max or self._end >= self._end_max
                    if more:
                        break
        except CorruptLog as error:
            if known is not None:
                raise
            state, fault = "broken", str(error)
        except StoreFailed as error:
            state, fault = "unreadable", str(error)
        self._blocks.finish()
        stats = self._fold.stats
        return News(
            row=self._fold.row(state=state, fault=fault),
            stamp=None if more or state == "unreadable" else task.stamp,
            end=self._end,
            frozen=self._frozen() if fault is None else None,
            kinds=list(stats.kinds.items()),
            tools=list(stats.tools.items()),
            spawned=self._fold.spawned,
            blocks=self._blocks.blocks,
            before=known,
            more=more,
        )

    def _frozen(self) -> bytes | None:
        try:
            return self._fold.freeze()
        except OverflowError:  # sums that msgpack cannot hold: such a log is read from its start each time
            return None

    def _take(self, record: HashedEntry) -> None:
        calls = self._fold.open_calls() if self._blocks.is_between else {}
        self._fold.take(record)
        self._blocks.take(record, self._end, calls)
        self._end += len(record.line) + 1
