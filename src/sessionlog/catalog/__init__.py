"""The catalog: a derived index of a store's sessions, by project, time, model, label and words."""

from .asking import Link, Order, UsageBy, UsageRow
from .catalog import Catalog, SessionPage
from .refreshing import Refreshed
from .rows import SessionKind, SessionRow, SessionState
from .searching import Candidate

__all__ = [
    "Candidate",
    "Catalog",
    "Link",
    "Order",
    "Refreshed",
    "SessionKind",
    "SessionPage",
    "SessionRow",
    "SessionState",
    "UsageBy",
    "UsageRow",
]
