"""The catalog: a derived index of a store's sessions, by project, time, model, label and words."""

from .catalog import Catalog, Order, Refreshed, SessionPage, UsageBy, UsageRow
from .database import Candidate
from .rows import SessionKind, SessionRow

__all__ = [
    "Candidate",
    "Catalog",
    "Order",
    "Refreshed",
    "SessionKind",
    "SessionPage",
    "SessionRow",
    "UsageBy",
    "UsageRow",
]
