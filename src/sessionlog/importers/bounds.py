"""How much larger than its source a store may grow: what sessions that part from others copy is bounded.

A fork begins with the whole history of its source up to where it parts (FORMAT section 7), so a small file with many
branches could fill a disk. All that a file's derived sessions copy, by estimate, is at most ``COPIED_PER_BYTE`` times
the bytes of the file before the one that starts, and ``COPIED_FREE_BYTES``. What lies past that bound is listed, with
its lines, and not imported, and so is what parts from it. Only what stands before a session decides, so a file that
grows keeps what it got. Real transcripts copy less than a fifth of their size.
"""

from array import array
from bisect import bisect_right
from collections.abc import Collection
from typing import Final

from ..ids import SessionId
from .plan import Plan, PlannedSession

COPIED_PER_BYTE: Final = 8
COPIED_FREE_BYTES: Final = 1024 * 1024
"""What may be copied beside, so that small files are never cut short."""
SESSION_BYTES: Final = 2048
"""What a session takes beside its history: its first record, its notes and its source's."""
PAST_BOUND_REASON: Final = (
    "it stands on a branch whose history would be copied, and the branches before have copied "
    f"{COPIED_PER_BYTE} times the file already"
)


def past_bound(
    plan: Plan, sizes: "array[int]", ends: "array[int]", known: Collection[SessionId], *, each_bytes: int
) -> set[SessionId]:
    """Return the sessions of ``plan`` that are past the bound.

    ``sizes`` are those of the file's objects in bytes, ``ends`` where they end. Sessions that are ``known`` to the
    store are counted and stay. ``each_bytes``: what every session repeats.
    """
    derived = [one for one in plan.sessions[1:] if one.first is not None and not one.held]
    if not derived:
        return set()
    histories = _Histories(plan, sizes)
    refused: set[SessionId] = set()
    copied = 0
    for session in sorted(derived, key=lambda one: one.first.ordinal if one.first is not None else 0):
        assert session.first is not None  # noqa: S101 - see above
        cost = histories.copied(session) + SESSION_BYTES + each_bytes
        allowed = COPIED_PER_BYTE * ends[session.first.ordinal] + COPIED_FREE_BYTES
        behind = session.source is not None and session.source.session_id in refused
        if session.session_id not in known and (behind or copied + cost > allowed):
            refused.add(session.session_id)
        else:
            copied += cost
    return refused


class _Histories:
    """Estimates how long a session's history is at an object: by the bytes of the objects that lead there."""

    def __init__(self, plan: Plan, sizes: "array[int]") -> None:
        self._sizes = sizes
        self._ordinals: dict[SessionId, list[int]] = {}
        self._sums: dict[SessionId, list[int]] = {}
        self._copied: dict[SessionId, int] = {}
        for ordinal in sorted(plan.session_of):
            session_id = plan.session_of[ordinal].session_id
            sums = self._sums.setdefault(session_id, [0])
            sums.append(sums[-1] + sizes[ordinal])
            self._ordinals.setdefault(session_id, []).append(ordinal)

    def copied(self, session: PlannedSession) -> int:
        """Return how many bytes the session starts with."""
        chain: list[PlannedSession] = []
        one: PlannedSession | None = session
        while one is not None and one.session_id not in self._copied:
            chain.append(one)
            one = one.source
        for one in reversed(chain):
            self._copied[one.session_id] = self._begins_with(one)
        return self._copied[session.session_id]

    def _begins_with(self, session: PlannedSession) -> int:
        if session.source is None:
            return 0
        summary = 0 if session.summary is None else self._sizes[session.summary]
        if session.role == "compaction" and session.kept_from is None:
            return summary
        parting = -1 if session.parting is None else session.parting.ordinal
        history = self._at(session.source, parting)
        if session.kept_from is not None:
            history -= self._at(session.source, session.kept_from - 1)
        return summary + max(0, history)

    def _at(self, session: PlannedSession, ordinal: int) -> int:
        own = bisect_right(self._ordinals.get(session.session_id, []), ordinal)
        return self._copied.get(session.session_id, 0) + self._sums.get(session.session_id, [0])[own]
