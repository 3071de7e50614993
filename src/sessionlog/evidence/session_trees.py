"""Reading sessions into their trees: what is new, verified, up to where the log is on the medium."""

from contextlib import aclosing
from typing import Final, TypeAlias

import msgspec

from ..errors import CorruptLog, EntryNotFound, SessionLocked, SessionNotFound, StoreFailed
from ..record import Position
from ..store import Store
from ..stores.file import FileStore
from .errors import InvalidEvidence
from .merkle import Frontier
from .nonces import nonces, record_leaf
from .statements import SessionStatement
from .strict import NUMBER_MAX

ReadFault: TypeAlias = CorruptLog | EntryNotFound | SessionLocked | SessionNotFound | StoreFailed
READ_FAULTS: Final = (CorruptLog, EntryNotFound, SessionLocked, SessionNotFound, StoreFailed)
"""What keeps one session from being read, and no other."""


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """What is kept of a session that was read: its change token, where reading stopped, and its tree's right edge."""

    stamp: str
    position: Position
    stack: list[bytes]

    @property
    def records(self) -> int:
        """How many records were read."""
        return self.position.seq + 1

    def root(self) -> bytes:
        """Return the root of the session's tree."""
        return Frontier(self.records, self.stack).root()


class SessionChanged(Exception):
    """The log does not go on from what was anchored: cut, rewritten or made anew. The text says which."""


async def flushed_end(store: Store, session_id: str) -> int | None:
    """Return how many bytes of a log are on the medium; ``None`` if every record that the store gives is.

    Records of a file store can be read before they are flushed.
    """
    return await store.flush_session(session_id) if isinstance(store, FileStore) else None


async def read_session(
    store: Store, session_id: str, stamp: str, secret: bytes, *, kept: Kept | None, before: SessionStatement | None
) -> Kept | None:
    """Read what is new of a session; ``None`` if it holds no record yet.

    Raises :class:`SessionChanged` if the log does not go on from the statement ``before``, and one of ``READ_FAULTS``.
    """
    if before is not None and kept is not None and (kept.records, _root(kept)) != (before.records, before.root):
        kept = None
    end = await flushed_end(store, session_id)
    frontier = Frontier() if kept is None else Frontier(kept.records, kept.stack)
    position = None if kept is None else kept.position
    ahead = nonces(secret, frontier.size, NUMBER_MAX)
    async with aclosing(store.read(session_id, after=position)) as records:
        async for record in records:
            following = Position.after(record, position)
            if end is not None and following.end > end:
                break
            position = following
            frontier.push(record_leaf(next(ahead), record.hash))
            if before is not None and frontier.size == before.records and frontier.root() != before.root:
                raise SessionChanged(f"its first {before.records} records are not the ones that were anchored")
    if before is not None and frontier.size < before.records:
        raise SessionChanged(f"it holds {frontier.size} records, {before.records} were anchored")
    return None if position is None else Kept(stamp, position, frontier.stack)


def _root(kept: Kept) -> bytes | None:
    try:
        return kept.root()
    except InvalidEvidence:
        return None
