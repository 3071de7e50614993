"""Where the objects of a file go, decided as they come: the way that a new format should take.

Every object has one before it, its parent. The first object behind a parent goes on in the parent's session; each later
one starts a session that is forked from there, for that is what going back in an append-only log is. A compaction
always starts a session. So an object's place follows from what stands before it, and from nothing that comes later.
"""

from array import array
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from ..ids import SessionId
from .plan import Names, Plan, PlannedSession, SessionRole

START: Final = -1
"""Stands for a parent: before the first object."""


class Spot(NamedTuple):
    """An object that has a place."""

    ordinal: int
    ts: int | None


class _Branch(NamedTuple):
    role: SessionRole
    first: Spot
    source: int
    parting: Spot | None
    name: str
    kept_from: int | None


class Layout:
    """Places objects, in the order of the file; every object once."""

    def __init__(self) -> None:
        self.last: int = START
        """The object that was placed last, which is where the conversation is."""
        self._branches: list[_Branch] = []
        self._branch_of = array("L")
        self._continued: set[int] = set()

    def __len__(self) -> int:
        """Return how many objects have a place."""
        return len(self._branch_of)

    def follow(self, name: str, *, ts: int | None, after: int) -> None:
        """Place the next object behind ``after``; a session that starts with it is called ``name``."""
        ordinal = len(self)
        if after in self._continued:
            self._start("fork", Spot(ordinal, ts), after, name, None)
        elif after == START:
            self._start("main", Spot(ordinal, ts), after, name, None)
        else:
            self._branch_of.append(self._branch_of[after])
        self._continued.add(after)
        self.last = ordinal

    def compact(self, name: str, *, ts: int | None, after: int, kept_from: int | None = None) -> None:
        """Place the next object behind ``after``: a compaction, which keeps the history from ``kept_from`` on."""
        if after == START:
            self.follow(name, ts=ts, after=after)
            return
        ordinal = len(self)
        self._start("compaction", Spot(ordinal, ts), after, name, kept_from)
        self.last = ordinal

    def aside(self) -> None:
        """Place the next object, which is not the first, beside the last one: nothing comes behind it."""
        self._branch_of.append(self._branch_of[self.last])

    def leads_to(self, ordinal: int, to: int) -> bool:
        """Tell whether ``ordinal`` stands on the path from the start to the object ``to``."""
        branch, wanted = self._branch_of[to], self._branch_of[ordinal]
        while branch != wanted:
            parting = self._branches[branch].parting
            if parting is None:
                return False
            branch, to = self._branch_of[parting.ordinal], parting.ordinal
        return ordinal <= to

    def plan(
        self,
        base: SessionId,
        settled: Mapping[int, SessionId],
        taken: Iterable[SessionId],
        *,
        role: SessionRole = "main",
        system_prompt: str | None = None,
        spawned_by: SessionId | None = None,
    ) -> Plan:
        """Return the plan; the main session is ``base``, of this ``role``."""
        names = Names(base, settled, taken)
        main = PlannedSession(base, role, None, system_prompt=system_prompt, spawned_by=spawned_by)
        sessions = [main]
        for number, branch in enumerate(self._branches):
            if number == 0:
                main.first = branch.first
                continue
            word = "compact" if branch.role == "compaction" else branch.role
            session_id = names.pick(branch.first.ordinal, word, branch.name)
            session = PlannedSession(session_id, branch.role, branch.first, sessions[branch.source], branch.parting)
            if branch.role == "compaction":
                session.summary, session.kept_from = branch.first.ordinal, branch.kept_from
            sessions.append(session)
        session_of = {ordinal: sessions[branch] for ordinal, branch in enumerate(self._branch_of)}
        live = None if self.last == START else session_of[self.last]
        return Plan(sessions=sessions, session_of=session_of, live=live)

    def _start(self, role: SessionRole, first: Spot, after: int, name: str, kept_from: int | None) -> None:
        source = self._branch_of[after] if after != START else 0
        parting = None if after == START else Spot(after, None)
        self._branches.append(_Branch(role, first, source, parting, name, kept_from))
        self._branch_of.append(len(self._branches) - 1)
