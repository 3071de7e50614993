"""What was used by day, week, month, project, model or label: ``stats --by``, from the catalog."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from .base import App
from .catalogs import open_catalog, tell_catalog_faults
from .rates import cost_cell, cost_fields, find_rates, tell_gaps
from .text import compact, one_line, safe

if TYPE_CHECKING:
    from ..catalog import UsageBy, UsageRow
    from ..queries import DayUsage, Rates, RateTable

BY: Final = ("day", "week", "month", "project", "model", "label")
_NONE: Final = "-"
_NAME_CHARS_MAX: Final = 60
_COLUMNS: Final = f"{'SESSIONS':>8} {'REQUESTS':>8} {'IN':>7} {'CACHED':>7} {'OUT':>7}"


async def print_usage(
    app: App, by: "UsageBy", given: "RateTable | None", *, since_ms: int | None, until_ms: int | None
) -> int:
    """Print a row for each day, week, …, and their sum where no session counts twice; return the exit status."""
    async with app.open_store() as store, open_catalog(app, store) as catalog:
        rows = await catalog.usage(by, since_ms=since_ms, until_ms=until_ms)
        links = await catalog.links()
    rates = await find_rates(_all_usage(rows), given)
    if not rows:
        await app.out.note("no tokens were used" if links else f"there is no session in {app.store_name} yet")
    elif app.out.json:
        for row in rows:
            await app.out.object(_object(by, row, rates))
    else:
        await _print_table(app, by, rows, rates)
    if rates is not None:
        await _tell_gaps(app, rows, rates)
    return await tell_catalog_faults(app, ((link.state, link.fault) for link in links))


async def _print_table(app: App, by: "UsageBy", rows: "Sequence[UsageRow]", rates: "Rates | None") -> None:
    costs = "" if rates is None else f" {f'{rates.currency} COST'[-10:]:>10}"
    await app.out.row((f"{_COLUMNS}{costs}  {by.upper()}", "bold"))
    for row in rows:
        cells, cost = _cells(row.usage, rates)
        name = one_line(safe(row.name), chars_max=_NAME_CHARS_MAX) or _NONE
        await app.out.row(f"{row.sessions:>8,} {cells}{cost}  ", rest=name)
    if len(rows) > 1 and by != "label":  # tokens of a session with two labels stand under both
        cells, cost = _cells(_all_usage(rows), rates)
        await app.out.row((f"{'':>8} {cells}{cost}  all", "bold"))


def _cells(usage: "Sequence[DayUsage]", rates: "Rates | None") -> tuple[str, str]:
    from ..queries import all_tokens, price  # noqa: PLC0415

    total = all_tokens(usage)
    counts = (total.input_total, total.cache_read, total.output)
    cells = f"{total.requests:>8,} " + " ".join(f"{compact(count):>7}" for count in counts)
    if rates is None:
        return cells, ""
    return cells, f" {cost_cell(price(usage, rates)):>10}"


def _all_usage(rows: "Sequence[UsageRow]") -> "list[DayUsage]":
    return [one for row in rows for one in row.usage]


async def _tell_gaps(app: App, rows: "Sequence[UsageRow]", rates: "Rates") -> None:
    from ..queries import price  # noqa: PLC0415

    await tell_gaps(app, price(_all_usage(rows), rates))


def _object(by: "UsageBy", row: "UsageRow", rates: "Rates | None") -> dict[str, object]:
    from ..queries import all_tokens, price  # noqa: PLC0415

    return {
        by: row.name or None,
        "sessions": row.sessions,
        "tokens": all_tokens(row.usage),
        "models": [{"model": model, "tokens": tokens} for model, tokens in row.models.items()],
        "cost": None if rates is None else cost_fields(price(row.usage, rates)),
    }
