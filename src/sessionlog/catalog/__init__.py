"""The catalog: a derived index of a store's sessions, by project, time, model, label and words."""

from .access import IN_MEMORY
from .asking import Link, Order, UsageBy, UsageRow
from .catalog import Catalog, SessionPage
from .families import Family, families
from .refreshing import Refreshed
from .rows import SessionKind, SessionRow, SessionState
from .searching import Candidate, is_indexed

__all__ = [
    "IN_MEMORY",
    "Candidate",
    "Catalog",
    "Family",
    "Link",
    "Order",
    "Refreshed",
    "SessionKind",
    "SessionPage",
    "SessionRow",
    "SessionState",
    "UsageBy",
    "UsageRow",
    "families",
    "is_indexed",
]
