"""Tokens: how many a model request took, and what many of them add up to, by day and model."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import Final

import msgspec

from ..entries import LlmUsage

_DAY_MS: Final = 86_400_000


@dataclass
class Tokens:
    """Tokens of ``requests`` model requests; ``input_total`` is the whole prompts, ``cache_…`` are parts of it."""

    requests: int = 0
    input_total: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0

    @property
    def uncached(self) -> int:
        """Input that was neither read from a cache nor written to one."""
        return max(0, self.input_total - self.cache_read - self.cache_write)

    def add(self, other: "Tokens") -> None:
        """Count ``other`` in."""
        self.requests += other.requests
        self.input_total += other.input_total
        self.cache_read += other.cache_read
        self.cache_write += other.cache_write
        self.output += other.output


class DayUsage(msgspec.Struct, frozen=True, array_like=True):
    """Tokens of one ``day`` (``2026-01-31``, UTC) with one ``model``; ``None`` where the log names none."""

    day: str
    model: str | None
    tokens: Tokens


def tokens_of(usage: LlmUsage) -> Tokens:
    """Return the tokens of one model request."""
    return Tokens(1, usage.input_total_tokens, usage.cache_read_tokens, usage.cache_write_tokens, usage.output_tokens)


def all_tokens(usage: Iterable[DayUsage]) -> Tokens:
    """Return the tokens of all days and models."""
    total = Tokens()
    for one in usage:
        total.add(one.tokens)
    return total


def by_model(usage: Iterable[DayUsage]) -> dict[str | None, Tokens]:
    """Return the tokens of each model, in the order in which ``usage`` first has them."""
    models: dict[str | None, Tokens] = {}
    for one in usage:
        models.setdefault(one.model, Tokens()).add(one.tokens)
    return models


def day_of(ts_ms: int) -> str:
    """Return the day of unix milliseconds, UTC, as ``2026-01-31``; of a time that no calendar has, ``0000-00-00``."""
    return _day(ts_ms // _DAY_MS)


@lru_cache
def _day(number: int) -> str:
    try:
        return (date(1970, 1, 1) + timedelta(days=number)).isoformat()
    except OverflowError:
        return "0000-00-00"
