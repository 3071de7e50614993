"""Sessions that belong together: each with the forks, compactions and sub-agents that come from it.

A family is called by the session that comes from no other one of those given. Its figures are those of all its
members, so the families of a store add up to the store.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from ..queries import DayUsage
from .rows import SessionKind, SessionRow


class Family(msgspec.Struct, frozen=True):
    """One session, and those that come from it, directly or through others."""

    root: SessionRow
    others: Sequence[SessionRow] = ()

    @property
    def members(self) -> Sequence[SessionRow]:
        """All of them, the root first."""
        return [self.root, *self.others]

    @property
    def first_ts(self) -> int | None:
        """When the earliest conversation began."""
        return min((one.first_ts for one in self.members if one.first_ts is not None), default=None)

    @property
    def last_ts(self) -> int | None:
        """When the latest conversation went on last."""
        return max((one.last_ts for one in self.members if one.last_ts is not None), default=None)

    @property
    def usage(self) -> list[DayUsage]:
        """The tokens that all of them used, by day and model."""
        return [one for member in self.members for one in member.usage]

    @property
    def kinds(self) -> Mapping[SessionKind, int]:
        """How many others there are of each kind."""
        kinds: dict[SessionKind, int] = {}
        for one in self.others:
            kinds[one.kind] = kinds.get(one.kind, 0) + 1
        return kinds


def families(rows: Iterable[SessionRow], sources: Mapping[str, str | None]) -> list[Family]:
    """Return the families of ``rows``, in the order of their roots.

    Args:
        rows: The sessions. One whose source is not among them is the root of its own family.
        sources: Where each session comes from, by id. Of those whose claims lead in a circle, the one
            with the smallest id is the root.
    """
    by_id = {row.session_id: row for row in rows}
    others: dict[str, list[SessionRow]] = {}
    roots = []
    for session_id, row in by_id.items():
        root = _root(session_id, by_id, sources)
        if root == session_id:
            roots.append(row)
        else:
            others.setdefault(root, []).append(row)
    return [Family(row, others.get(row.session_id, ())) for row in roots]


def _root(session_id: str, by_id: Mapping[str, SessionRow], sources: Mapping[str, str | None]) -> str:
    """Return the session that ``session_id`` comes from in the end; of a circle the one with the smallest id."""
    way = [session_id]
    while True:
        source = sources.get(way[-1])
        if source is None or source not in by_id:
            return way[-1]
        if source in way:
            return min(way[way.index(source) :])
        way.append(source)
