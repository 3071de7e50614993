"""What the tables say of a session's two ends, judged by its records' own bytes."""

from typing import NamedTuple

import asyncpg

from ...chain import head_from_ends
from ...errors import CorruptLog, Damage, SessionNotFound
from ...ids import Head


class Ends(NamedTuple):
    """A session that is there: the number of its log, its head if it holds a record, and the log's size in bytes."""

    log: int
    head: Head | None
    end: int


def judge_ends(row: "asyncpg.Record | None", session_id: str) -> Ends | None:
    """Return the ends in a row of :data:`schema.ENDS`; ``None`` if the bytes are not those of such a log.

    Raises :class:`SessionNotFound` for no row.
    """
    if row is None:
        raise SessionNotFound(session_id)
    said = None if row["hash"] is None or row["seq"] is None else Head(row["seq"], row["hash"])
    if row["line"] is None:
        return Ends(row["log"], None, 0) if said is None else None
    head = head_from_ends(row["first_line"], row["line"], session_id)
    return Ends(row["log"], head, row["end_at"]) if head is not None and head == said else None


def missing_records(session_id: str, *, seq: int, offset: int | None) -> CorruptLog:
    """Return the error for a log of whole records that ends before the head that the table of heads names."""
    return CorruptLog(
        "the table of heads names a later record than this log holds: records were removed at its end, or the head "
        "was changed",
        damage=Damage.SEQ,
        seq=seq,
        offset=offset,
        session_id=session_id,
    )


__all__ = ["Ends", "judge_ends", "missing_records"]
