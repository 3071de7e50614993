"""Taking a session's words out of the index.

The index cannot tell what words a block had, so they are taken from the log once more, exactly as they were put in, and
a batch at a time. Where the log does not give them any more, all of the index goes.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final, NamedTuple

from ..ids import Head
from ..store import Store
from .texts import Blocks

BATCH_CHARS: Final = 4 * 1024 * 1024


class Indexed(NamedTuple):
    """A block as the catalog keeps it: the id, the first and the last record, whether it was ``fresh``."""

    id: int
    seq: int
    last_seq: int
    fresh: bool


class Changed(Exception):
    """The log does not hold what the words were taken from."""


async def words_of(
    store: Store, session_id: str, head: Head, places: Sequence[Indexed]
) -> AsyncGenerator[list[tuple[int, str]], None]:
    """Yield the ids and words of a session's blocks, in batches; ``head`` is that of the records they were taken from.

    Raises :class:`Changed`, and what reading raises.
    """
    wanted = {place.seq: place for place in places}
    blocks = Blocks(chars=None)
    place: Indexed | None = None
    batch: list[tuple[int, str]] = []
    async with aclosing(store.read(session_id)) as records:
        async for record in records:
            if record.seq in wanted:
                place = wanted.pop(record.seq)
                blocks = Blocks(chars=None) if place.fresh else blocks
            blocks.take(record, 0, {})
            if place is not None and record.seq == place.last_seq:
                blocks.finish()
                batch += [(place.id, block.words) for block in blocks.blocks]
                blocks.blocks.clear()
                if blocks.chars >= BATCH_CHARS:
                    yield batch
                    batch, blocks.chars = [], 0
            if record.seq == head.seq:
                if record.hash != head.hash or wanted:
                    raise Changed
                yield batch
                return
    raise Changed
