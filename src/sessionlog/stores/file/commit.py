"""What is to be done to one session, to append to it or to delete it, and what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from ...errors import SessionLogError
from ...ids import Head
from ...record import HashedEntry


class Fate(Enum):
    """Where a request is."""

    WAITING = "waiting"
    TAKEN = "taken"
    DONE = "done"
    LOCKED = "locked"


@dataclass(eq=False, slots=True)
class Request:
    """What is to be done to a session whose head is ``expected``."""

    session_id: str
    expected: Head | None
    fate: Fate = field(default=Fate.WAITING, init=False)
    error: SessionLogError | None = field(default=None, init=False)

    def fail(self, error: SessionLogError) -> None:
        """End with ``error``."""
        self.fate, self.error = Fate.DONE, error


class Deletion(Request):
    """The session is to be deleted."""


@dataclass(eq=False, slots=True)
class Commit(Request):
    """Records to append to one session, all or none, behind ``expected``."""

    records: Sequence[HashedEntry]
    creates: bool
    """Made by ``create_session``: a session that holds records is no conflict but exists already."""

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
