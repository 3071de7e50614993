"""Questions about what sessions hold: search, statistics with cost, and where two sessions part.

Pure folds over records (:class:`Matcher`, :class:`Tally`, :func:`price`), and functions that stream a store through
them. They hold a bounded amount of memory whatever a log's size, and the store has verified what they are given.
"""

from .diff import After, Lineage, Parting, diff_sessions
from .patterns import QueryError
from .prices import DatedRates, ListPrices, has_list_prices, list_prices
from .rates import RATES_BYTES_MAX, Cost, Gap, ModelRates, Rates, RatesError, RateTable, parse_rates, price
from .search import Hit, HitLine, Matcher, Query, search_session
from .stats import Request, SessionStats, Tally, ToolUse, session_stats, total_stats
from .texts import Piece, Place, Texts
from .tokens import DayUsage, Tokens, all_tokens, by_model, day_of

__all__ = [
    "RATES_BYTES_MAX",
    "After",
    "Cost",
    "DatedRates",
    "DayUsage",
    "Gap",
    "Hit",
    "HitLine",
    "Lineage",
    "ListPrices",
    "Matcher",
    "ModelRates",
    "Parting",
    "Piece",
    "Place",
    "Query",
    "QueryError",
    "RateTable",
    "Rates",
    "RatesError",
    "Request",
    "SessionStats",
    "Tally",
    "Texts",
    "Tokens",
    "ToolUse",
    "all_tokens",
    "by_model",
    "day_of",
    "diff_sessions",
    "has_list_prices",
    "list_prices",
    "parse_rates",
    "price",
    "search_session",
    "session_stats",
    "total_stats",
]
