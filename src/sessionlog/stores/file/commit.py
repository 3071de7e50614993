"""One commit: what is to be appended to one session, and what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from ...errors import SessionLogError
from ...ids import Head
from ...record import HashedEntry


class Fate(Enum):
    """Where a commit is."""

    WAITING = "waiting"
    TAKEN = "taken"
    DONE = "done"
    LOCKED = "locked"


@dataclass(eq=False, slots=True)
class Commit:
    """Records to append to one session, all or none, behind ``expected``."""

    session_id: str
    expected: Head | None
    records: Sequence[HashedEntry]
    creates: bool
    """Made by ``create_session``: a session that holds records is no conflict but exists already."""
    fate: Fate = Fate.WAITING
    error: SessionLogError | None = None

    @property
    def size(self) -> int:
        """The number of bytes to append."""
        return sum(len(record.line) + 1 for record in self.records)

    @property
    def data(self) -> bytes:
        """The bytes to append."""
        if len(self.records) == 1:
            return self.records[0].line + b"\n"
        return b"".join([part for record in self.records for part in (record.line, b"\n")])

    @property
    def head(self) -> Head:
        """The head once this is in."""
        return self.records[-1].head

    def fail(self, error: SessionLogError) -> None:
        """End with ``error``."""
        self.fate, self.error = Fate.DONE, error
