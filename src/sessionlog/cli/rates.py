"""What tokens cost, for the commands that say it: by a rates file, or else by list prices, and what has no price."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio.to_thread
import click

from .base import AnyCommand, App
from .files import read_beginning
from .output import Refused
from .text import counted, one_line

if TYPE_CHECKING:
    from ..queries import Cost, DayUsage, Rates, RateTable

_NO_MODEL: Final = "no model"
_MODELS_SHOWN_MAX: Final = 10
"""Logs may name any number of models; JSON names all that have no price."""
_MODEL_CHARS_MAX: Final = 60
_CENT: Final = 0.01


def rates_option(command: AnyCommand) -> AnyCommand:
    """Add ``--rates``: prices of one's own."""
    return click.option(
        "--rates",
        "rates_file",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="What tokens cost, in JSON or TOML, instead of list prices.",
    )(command)


async def read_rates(path: Path | None) -> "RateTable | None":
    """Return the rates in the file, JSON or TOML, if there is one. Raises :class:`Refused`, and ``OSError``."""
    from ..queries import RATES_BYTES_MAX, RatesError, parse_rates  # noqa: PLC0415 - `list` need not wait for it

    if path is None:
        return None
    try:
        return parse_rates(await read_beginning(path, size_bytes=RATES_BYTES_MAX + 1))
    except RatesError as error:
        raise Refused(f"{path} holds no rates: {one_line(str(error), chars_max=300)}") from error


async def find_rates(usage: "Iterable[DayUsage]", given: "RateTable | None") -> "Rates | None":
    """Return the rates that were ``given``, or else list prices: if they are installed, and there is one of a model."""
    from ..queries import has_list_prices, list_prices  # noqa: PLC0415

    if given is not None or not has_list_prices():
        return given
    models = {one.model for one in usage if one.model is not None}
    prices = await anyio.to_thread.run_sync(list_prices, models)
    return prices if any(prices.models.values()) else None


async def tell_gaps(app: App, cost: "Cost") -> None:
    """Tell on standard error which tokens the cost leaves out, and why."""
    models: dict[str | None, list[tuple[str, int]]] = {}
    for gap in cost.gaps:
        models.setdefault(gap.model, []).append((gap.what, gap.tokens))
    for model, gaps in list(models.items())[:_MODELS_SHOWN_MAX]:
        tokens = _and([f"{count:,} {what}" for what, count in gaps])
        price = f"{_and([what for what, _ in gaps])} price"
        why = "the log names none" if model is None else f"{cost.source} has no {price} for it"
        await app.out.note(f"sessionlog: {tokens} tokens of {_named(model)} are not in the cost: {why}")
    if len(models) > _MODELS_SHOWN_MAX:
        more = counted(len(models) - _MODELS_SHOWN_MAX, "more model")
        await app.out.note(f"sessionlog: tokens of {more} are not in the cost")


async def tell_left_out(app: App, costs: "Sequence[Cost]") -> None:
    """Tell on standard error how many of the sessions used models without a price, and which these are."""
    sessions = [cost for cost in costs if cost.gaps]
    if not sessions:
        return
    models = list(dict.fromkeys(gap.model for cost in sessions for gap in cost.gaps))
    what = counted(len(sessions), "session")
    await app.out.note(f"sessionlog: {what} used what {sessions[0].source} has no price for: {_names(models)}")


def _names(models: Sequence[str | None]) -> str:
    names = [_NO_MODEL if one is None else one_line(one, chars_max=_MODEL_CHARS_MAX) for one in models]
    return _and(names if len(names) <= _MODELS_SHOWN_MAX else [*names[: _MODELS_SHOWN_MAX - 1], "others"])


def _named(model: str | None) -> str:
    return _NO_MODEL if model is None else f"model {one_line(model, chars_max=_MODEL_CHARS_MAX)}"


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def amount(cost: "Cost") -> str:
    """Return the amount with as many digits as small ones need."""
    return f"{cost.amount:,.2f}" if cost.amount >= 1 or not cost.amount else f"{cost.amount:.4f}"


def cost_cell(cost: "Cost") -> str:
    """Return a cost for a column: ``>1.20`` if there are tokens without a price, ``?`` if none has one."""
    if cost.gaps:
        return f">{cost.amount:,.2f}" if cost.amount else "?"
    return "<0.01" if 0 < cost.amount < _CENT / 2 else f"{cost.amount:,.2f}"


def cost_fields(cost: "Cost | None") -> dict[str, object] | None:
    """Return a cost as ``--json`` prints it."""
    if cost is None:
        return None
    return {
        "currency": cost.currency,
        "source": cost.source,
        "amount": cost.amount,
        "complete": not cost.gaps,
        "gaps": [gap._asdict() for gap in cost.gaps],
    }
