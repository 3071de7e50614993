"""Rates: what a model's tokens cost, and the price of what was used. A file of the user's says them, in TOML or JSON.

    currency = "USD"

    [models."a-model"]            # exactly as sessions name it
    input = 3.0                   # each per million tokens: not from a cache, not into one
    output = 15.0
    cache_read = 0.3
    cache_write = 3.75

Or they are the list prices of :mod:`sessionlog.queries.prices`. Nothing is guessed: tokens without a rate are left out
of the cost and told as a gap.
"""

import math
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from .tokens import DayUsage

RATES_BYTES_MAX: Final = 1024 * 1024
"""The longest rates, in bytes: ten thousand models. TOML is parsed at about two megabytes a second."""
LINE_DOTS_MAX: Final = 32
"""The most dots on a line of TOML, comments aside. A key of many parts takes ``tomllib`` the square of their number."""
_TOKENS_PER_RATE: Final = 1_000_000


class RatesError(ValueError):
    """The file holds no rates; the text says why."""


class ModelRates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one model's tokens cost, for each million; ``None`` where that is not known."""

    input: float | None = None
    output: float | None = None
    cache_read: float | None = None
    cache_write: float | None = None


UNKNOWN: Final = ModelRates()
"""The rates of a model of which none is known."""


class Rates(Protocol):
    """What tokens cost, in one ``currency``, as ``source`` has it (words for people)."""

    @property
    def currency(self) -> str: ...  # noqa: D102

    @property
    def source(self) -> str: ...  # noqa: D102

    def of(self, model: str, day: str) -> ModelRates:
        """Return what the tokens of ``model`` cost on ``day`` (``2026-01-31``, UTC)."""
        ...


class RateTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rates of a file: what tokens cost, by the model's name, on any day."""

    models: dict[str, ModelRates]
    currency: str = "USD"

    @property
    def source(self) -> str:
        """What these rates are called."""
        return "the rates file"

    def of(self, model: str, day: str) -> ModelRates:  # noqa: ARG002 - a file has one rate for all days
        """Return what the tokens of ``model`` cost."""
        return self.models.get(model, UNKNOWN)


class Gap(NamedTuple):
    """Tokens that no rate was given for: ``model`` as the log names it, ``None`` where it names none."""

    model: str | None
    what: str
    tokens: int


@dataclass
class Cost:
    """What was used cost at least ``amount`` by the rates of ``source``; that, where there are no ``gaps``."""

    currency: str
    source: str
    amount: float = 0.0
    gaps: Sequence[Gap] = field(default_factory=list)


def parse_rates(data: bytes) -> RateTable:
    """Return the rates in ``data``: JSON if it begins with a brace, else TOML.

    Raises :class:`RatesError`, at once if it is longer than :data:`RATES_BYTES_MAX` or nested too deep.
    """
    if len(data) > RATES_BYTES_MAX:
        raise RatesError(f"it is longer than {RATES_BYTES_MAX:,} bytes")
    try:
        text = data.decode("utf-8-sig")
        value = msgspec.json.decode(text) if text.lstrip().startswith("{") else _read_toml(text)
        rates = msgspec.convert(value, RateTable)
    except UnicodeDecodeError as error:
        raise RatesError("it is no text in UTF-8") from error
    except RecursionError as error:
        raise RatesError("it is nested too deep") from error
    except ValueError as error:
        raise RatesError(str(error)) from error
    for model, one in rates.models.items():
        for name, rate in msgspec.structs.asdict(one).items():
            if rate is not None and not (math.isfinite(rate) and rate >= 0):
                raise RatesError(f"{model}: {name} must be a number from 0 on, for a million tokens")
    return rates


def _read_toml(text: str) -> dict[str, Any]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.count(".") > LINE_DOTS_MAX and not line.lstrip().startswith("#"):
            raise RatesError(f"line {number} has more than {LINE_DOTS_MAX} dots: it is nested too deep")
    return tomllib.loads(text)


def price(usage: Iterable[DayUsage], rates: Rates) -> Cost:
    """Return what the tokens cost, by the rates of their days, and for which no rate is there."""
    amounts: list[float] = []
    gaps: dict[tuple[str | None, str], int] = {}
    for one in usage:
        model, tokens = one.model, one.tokens
        known = UNKNOWN if model is None else rates.of(model, one.day)
        for what, count, rate in (
            ("input", tokens.uncached, known.input),
            ("cache_read", tokens.cache_read, known.cache_read),
            ("cache_write", tokens.cache_write, known.cache_write),
            ("output", tokens.output, known.output),
        ):
            if count and rate is None:
                gaps[model, what] = gaps.get((model, what), 0) + count
            elif count and rate is not None:
                amounts.append(count * rate / _TOKENS_PER_RATE)
    found = [Gap(model, what, count) for (model, what), count in gaps.items()]
    return Cost(rates.currency, rates.source, math.fsum(amounts), found)
