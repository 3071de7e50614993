"""Behind which record of its source a fork or a compaction was made.

A session's first record names the hash, and only the source's log tells at which position that is. A source is read
once for all that were made from it, to the last record that is looked for; one whose head is all that is looked for, as
a compaction mostly does, is not read. What a source does not hold is looked for again when the source has changed.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Final, NamedTuple

from ..errors import SessionLogError
from ..ids import Head
from ..store import Store
from .database import Call, Database

CHUNK_SOURCES: Final = 200
_NOWHERE: Final = -1
"""In the place of a position: the source holds no such record."""


class Wanted(NamedTuple):
    """The records of one source whose positions are looked for, and the source's head as the catalog knows it."""

    source_id: str
    head: Head | None
    hashes: frozenset[str]


class Place(NamedTuple):
    """The position of a record; ``None``: there is none in its source, as far as that can be read."""

    hash: str
    seq: int | None


async def find_origins(call: Call, run: Callable[..., Awaitable[list[list[Place]]]]) -> None:
    """Look for what the catalog does not know yet.

    Args:
        call: Runs a function on the database.
        run: Runs :func:`find_places` on the store.
    """
    wanted = await call(_wanted)
    for start in range(0, len(wanted), CHUNK_SOURCES):
        chunk = wanted[start : start + CHUNK_SOURCES]
        await call(partial(_keep, found=list(zip(chunk, await run(find_places, chunk), strict=True))))


async def find_places(store: Store, wanted: Sequence[Wanted]) -> list[list[Place]]:
    """Return where the records of each source stand. Raises nothing of a single session."""
    return [await _places(store, one) for one in wanted]


async def _places(store: Store, wanted: Wanted) -> list[Place]:
    found: dict[str, int] = {}
    if wanted.head is not None and wanted.hashes == {wanted.head.hash}:
        return [Place(wanted.head.hash, wanted.head.seq)]
    try:
        async with aclosing(store.read(wanted.source_id)) as records:
            async for record in records:
                if record.hash in wanted.hashes:
                    found[record.hash] = record.seq
                    if len(found) == len(wanted.hashes):
                        break
    except SessionLogError:
        pass  # its row tells
    return [Place(one, found.get(one)) for one in wanted.hashes]


def look_again(connection: sqlite3.Connection, source_id: str, *, replaced: bool) -> None:
    """Have the records of a source looked for that it did not hold; all of them, if its log is another one now."""
    at = "" if replaced else f" AND origin_seq = {_NOWHERE}"
    connection.execute(f"UPDATE sessions SET origin_seq = NULL WHERE origin_id = ?{at}", (source_id,))  # noqa: S608


def _wanted(database: Database) -> list[Wanted]:
    found: dict[tuple[str, Head | None], set[str]] = {}
    for source_id, seq, hash_, at_hash in database.connection.execute(
        "SELECT p.session_id, p.head_seq, p.head_hash, s.origin_hash FROM sessions s "
        "JOIN sessions p ON p.session_id = s.origin_id WHERE s.origin_seq IS NULL AND s.origin_id IS NOT NULL"
    ):
        head = None if seq is None else Head(seq, hash_)
        found.setdefault((source_id, head), set()).add(at_hash)
    return [Wanted(*source, frozenset(hashes)) for source, hashes in found.items()]


def _keep(database: Database, found: Iterable[tuple[Wanted, Iterable[Place]]]) -> None:
    """Keep what was found, unless the catalog knows more of the source by now: then another process looks."""
    with database.transaction() as connection:
        connection.executemany(
            "UPDATE sessions SET origin_seq = ? WHERE origin_id = ? AND origin_hash = ? AND origin_seq IS NULL "
            "AND (SELECT p.head_hash FROM sessions p WHERE p.session_id = sessions.origin_id) IS ?",
            [
                (
                    _NOWHERE if place.seq is None else place.seq,
                    wanted.source_id,
                    place.hash,
                    None if wanted.head is None else wanted.head.hash,
                )
                for wanted, places in found
                for place in places
            ],
        )
