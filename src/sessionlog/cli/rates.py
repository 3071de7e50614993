"""What tokens cost, for the commands that say it: reading a rates file, and telling what it has no rate for."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from .base import App
from .files import read_beginning
from .output import Refused
from .text import counted, one_line

if TYPE_CHECKING:
    from ..queries import Cost, RateTable

_NO_MODEL: Final = "no model"


async def read_rates(path: Path) -> "RateTable":
    """Return the rates in the file, JSON or TOML. Raises :class:`Refused`, and ``OSError``."""
    from ..queries import RATES_BYTES_MAX, RatesError, parse_rates  # noqa: PLC0415 - `list` need not wait for it

    try:
        return parse_rates(await read_beginning(path, size_bytes=RATES_BYTES_MAX + 1))
    except RatesError as error:
        raise Refused(f"{path} holds no rates: {one_line(str(error), chars_max=300)}") from error


async def tell_gaps(app: App, cost: "Cost") -> None:
    """Tell on standard error which tokens the cost leaves out, and why."""
    for gap in cost.gaps:
        model = _NO_MODEL if gap.model is None else f"model {gap.model}"
        why = "the log names none" if gap.model is None else f"{cost.source} has no {gap.what} for it"
        tokens = counted(gap.tokens, f"{gap.what} token")
        await app.out.note(f"sessionlog: {tokens} of {model} are not in the cost: {why}")


def amount(cost: "Cost") -> str:
    """Return the amount with as many digits as small ones need."""
    return f"{cost.amount:,.2f}" if cost.amount >= 1 or not cost.amount else f"{cost.amount:.4f}"


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
