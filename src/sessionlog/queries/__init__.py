"""Questions about what sessions hold: search, statistics with cost, and where two sessions part.

Pure folds over records (:class:`Matcher`, :class:`Tally`, :func:`price`), and functions that stream a store through
them. They hold a bounded amount of memory whatever a log's size, and the store has verified what they are given.
"""

from .diff import After, Lineage, Parting, diff_sessions
from .patterns import QueryError
from .rates import RATES_BYTES_MAX, Cost, Gap, ModelRates, Rates, RatesError, parse_rates, price
from .search import Hit, HitLine, Matcher, Query, search_session
from .stats import Request, SessionStats, Tally, Tokens, ToolUse, session_stats, total_stats
from .texts import Piece, Place, Texts

__all__ = [
    "RATES_BYTES_MAX",
    "After",
    "Cost",
    "Gap",
    "Hit",
    "HitLine",
    "Lineage",
    "Matcher",
    "ModelRates",
    "Parting",
    "Piece",
    "Place",
    "Query",
    "QueryError",
    "Rates",
    "RatesError",
    "Request",
    "SessionStats",
    "Tally",
    "Texts",
    "Tokens",
    "ToolUse",
    "diff_sessions",
    "parse_rates",
    "price",
    "search_session",
    "session_stats",
    "total_stats",
]
