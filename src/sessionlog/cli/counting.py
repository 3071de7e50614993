"""``stats``: what sessions add up to, as a table, as JSON, as plots, as a Parquet table."""

import importlib.util
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import click

from .. import RECEIPTS_SESSION, CorruptLog, SessionId, SessionLogError, SessionNotFound, Store
from .base import EXIT_FINDINGS, EXIT_GOOD, EXIT_WRONG_USE, App, common_options, example, runs
from .completion import complete_session
from .files import replacing
from .lookup import find_sessions
from .moments import since_option, until_option
from .output import Refused
from .rates import amount, cost_cell, cost_fields, find_rates, rates_option, read_rates, tell_gaps
from .short_ids import ShortIds, ShownId
from .text import compact, counted, duration, one_line, safe, size
from .usage import BY, print_usage

if TYPE_CHECKING:
    from ..catalog import UsageBy
    from ..exporters.parquet import ParquetFile
    from ..queries import Cost, RateTable, SessionStats, Tally, ToolUse

_PLOT_SUFFIXES: Final = (".svg", ".png")
_TOOL_CHARS_MAX: Final = 40
_NO_TOOL: Final = "(no call)"
_NO_MODEL: Final = "no model"
_LESS_WANTED: Final = ("CACHED", "OPEN", "FAILED", "TURNS")
"""The columns that go, one after the other, where a terminal is too narrow for all."""
_FILE: Final = click.Path(path_type=Path, dir_okay=False)


@click.command(
    epilog=example(
        "sessionlog stats",
        "sessionlog stats --by week --rates rates.toml",
        "sessionlog stats 0190163d --rates rates.toml --plot session.svg",
        "sessionlog stats --parquet entries.parquet --json | jq .tokens.input_total",
    )
)
@click.argument("sessions", metavar="[ID]...", nargs=-1, shell_complete=complete_session)
@rates_option
@click.option(
    "--by",
    type=click.Choice(BY),
    help="The tokens of all sessions by day, ISO week or month (UTC), project, model or label.",
)
@since_option
@until_option
@click.option("--plot", type=_FILE, metavar="FILE", help="Draw plots into FILE.svg or FILE.png.")
@click.option("--parquet", type=_FILE, metavar="FILE", help="Write a table of one row an entry.")
@common_options
@runs
async def stats(
    app: App,
    sessions: Sequence[str],
    *,
    rates_file: Path | None,
    by: "UsageBy | None",
    since: int | None,
    until: int | None,
    plot: Path | None,
    parquet: Path | None,
) -> int:
    """Count what sessions add up to.

    Of all sessions, or of those named: entries by kind, turns, tool calls and failures, calls without a result, tokens,
    time, and the cost, by the list prices of the extra "prices" or by --rates. What a fork took over counts in its
    source alone. Tokens that have no price are not in the cost, and are told. With --by, what all sessions used is
    added up by the catalog, in whole days.
    """
    if by is None and (since, until) != (None, None):
        raise Refused("--since and --until go with --by")
    if by is not None and (sessions or plot or parquet):
        raise Refused("--by adds up all sessions: name none, and no --plot or --parquet")
    _check_extras(plot, parquet)
    rates = await read_rates(rates_file)
    if by is not None:
        return await print_usage(app, by, rates, since_ms=since, until_ms=until)
    async with app.open_store() as store, AsyncExitStack() as stack:
        shown = await app.shown_ids(store)
        known = await store.list_sessions()
        conversations = [one for one in known if one != RECEIPTS_SESSION]
        session_ids = await find_sessions(store, sessions) if sessions else conversations
        table = None if parquet is None else await _open_parquet(stack, parquet)
        tallies, status = await _count(app, store, session_ids, table, keep_requests=plot is not None)
    await _print_all(app, [tally.stats for tally in tallies], rates, shown)
    if plot is not None:
        await _plot(plot, tallies, known)
    for path in (parquet, plot):
        if path is not None:
            await app.out.note(f"wrote {path}")
    return status


def _check_extras(plot: Path | None, parquet: Path | None) -> None:
    """Refuse before anything is counted what could not be done afterwards."""
    if plot is not None and plot.suffix.lower() not in _PLOT_SUFFIXES:
        raise Refused(f"{plot}: plots are drawn as .svg or .png; end the name in one of these")
    for wanted, extra, module in ((plot, "plot", "matplotlib"), (parquet, "parquet", "pyarrow")):
        if wanted is not None and importlib.util.find_spec(module) is None:
            raise Refused(f"--{extra} needs {module}: pip install 'sessionlog[{extra}]'")


async def _open_parquet(stack: AsyncExitStack, path: Path) -> "ParquetFile":
    from ..exporters.parquet import ParquetFile  # noqa: PLC0415 - an extra, and slow to load

    temporary = await stack.enter_async_context(replacing(path))
    return await stack.enter_async_context(ParquetFile(temporary))


async def _count(
    app: App, store: Store, session_ids: Sequence[SessionId], table: "ParquetFile | None", *, keep_requests: bool
) -> "tuple[list[Tally], int]":
    """Read each session once; return what was counted, and the exit status. A damaged log counts as far as it goes."""
    from ..queries import Tally  # noqa: PLC0415

    tallies, status = [], EXIT_GOOD
    with app.out.progress("counting", len(session_ids)) as advance:
        for session_id in session_ids:
            tally = Tally(session_id, keep_requests=keep_requests)
            try:
                async with aclosing(store.read(session_id)) as records:
                    async for record in records:
                        tally.take(record)
                        if table is not None:
                            await table.add(session_id, record)
            except SessionNotFound:
                continue  # gone since it was listed
            except SessionLogError as error:
                await app.out.note(f"sessionlog: {error}; what stands before that is counted")
                status = EXIT_FINDINGS if isinstance(error, CorruptLog) else status or EXIT_WRONG_USE
            tallies.append(tally)
            advance(1)
    return tallies, status


async def _plot(path: Path, tallies: "Sequence[Tally]", session_ids: Sequence[SessionId]) -> None:
    from .plots import draw  # noqa: PLC0415 - an extra, and slow to load

    async with replacing(path) as temporary:
        format_ = path.suffix.lower().lstrip(".")
        await anyio.to_thread.run_sync(partial(draw, temporary, format_, tallies, shown=ShortIds(session_ids)))


async def _print_all(app: App, all_stats: "Sequence[SessionStats]", given: "RateTable | None", shown: ShownId) -> None:
    from ..queries import price, total_stats  # noqa: PLC0415

    rates = await find_rates(total_stats(all_stats).usage, given)
    costs = [None if rates is None else price(one.usage, rates) for one in all_stats]
    if app.out.json:
        for one, cost in zip(all_stats, costs, strict=True):
            await app.out.object(stats_object(one, cost))
    elif len(all_stats) == 1:
        await _print_one(app, all_stats[0], costs[0], shown(all_stats[0].session_id or ""))
    elif all_stats:
        await _print_table(app, all_stats, costs, shown)
        total = total_stats(all_stats)
        await app.out.line()
        cost = None if rates is None else price(total.usage, rates)
        left_out = sum(bool(one.gaps) for one in costs if one is not None)
        await _print_one(app, total, cost, f"all {len(all_stats):,}", added_up=True, left_out=left_out)
    else:
        await app.out.note(f"there is no session in {app.store_name} yet")
    if rates is not None:
        await tell_gaps(app, price(total_stats(all_stats).usage, rates))


def stats_object(stats: "SessionStats", cost: "Cost | None") -> dict[str, object]:
    """Return what ``stats --json`` prints of one session."""
    return {
        "session_id": stats.session_id,
        "records": stats.records,
        "record_bytes": stats.record_bytes,
        "kinds": dict(stats.kinds.most_common()),
        "turns": stats.turns,
        "turns_ended": stats.turns_ended,
        "tool_calls": stats.tool_use.calls,
        "tool_failures": stats.tool_use.failures,
        "dangling_calls": stats.dangling_calls,
        "tools": stats.tools,
        "tokens": stats.tokens,
        "models": [{"model": model, **_fields(tokens)} for model, tokens in stats.models.items()],
        "first_ts": stats.first_ts,
        "last_ts": stats.last_ts,
        "wall_ms": stats.wall_ms,
        "cost": cost_fields(cost),
    }


def _fields(value: object) -> dict[str, object]:
    return dict(vars(value))


def _cost_text(cost: "Cost", *, left_out: int) -> str:
    text = f"{'at least ' if cost.gaps else ''}{amount(cost)} {cost.currency}"
    return f"{text}, {counted(left_out, 'session')} used tokens without a price" if left_out else text


@dataclass(frozen=True)
class _Column:
    """A column of numbers: what it is called, a cell for each session, and the style of those that are not 0."""

    heading: str
    cells: Sequence[str]
    style: str = ""

    @property
    def width(self) -> int:
        return max(len(self.heading), *map(len, self.cells))


def _columns(all_stats: "Sequence[SessionStats]", costs: "Sequence[Cost | None]") -> list[_Column]:
    columns = [
        _Column("RECORDS", [f"{one.records:,}" for one in all_stats]),
        _Column("TURNS", [f"{one.turns:,}" for one in all_stats]),
        _Column("CALLS", [f"{one.tool_use.calls:,}" for one in all_stats]),
        _Column("FAILED", [f"{one.tool_use.failures:,}" for one in all_stats], "red"),
        _Column("OPEN", [f"{one.dangling_calls:,}" for one in all_stats], "yellow"),
        _Column("IN", [compact(one.tokens.input_total) for one in all_stats]),
        _Column("CACHED", [compact(one.tokens.cache_read) for one in all_stats]),
        _Column("OUT", [compact(one.tokens.output) for one in all_stats]),
        _Column("TIME", [duration(one.wall_ms, compact=True) for one in all_stats], "dim"),
    ]
    priced = [cost for cost in costs if cost is not None]
    if priced:
        columns.insert(-1, _Column(f"{priced[0].currency} COST"[-8:], [cost_cell(cost) for cost in priced]))
    return columns


async def _print_table(
    app: App, all_stats: "Sequence[SessionStats]", costs: "Sequence[Cost | None]", shown: ShownId
) -> None:
    ids = [shown(one.session_id or "") for one in all_stats]
    columns = _columns(all_stats, costs)
    left_out = []
    for heading in _LESS_WANTED:
        if app.out.width is None or sum(one.width + 1 for one in columns) + 1 + max(map(len, ids)) <= app.out.width:
            break
        columns = [one for one in columns if one.heading != heading]
        left_out.append(heading)
    await app.out.row((" ".join(one.heading.rjust(one.width) for one in columns) + "  SESSION", "bold"))
    for at, session_id in enumerate(ids):
        cells = [(f"{one.cells[at]:>{one.width}} ", "" if one.cells[at] == "0" else one.style) for one in columns]
        await app.out.row(*cells, " ", (session_id, "cyan"))
    if left_out:
        await app.out.line((f"without {', '.join(left_out)}: the terminal is too narrow", "dim"))


async def _print_one(
    app: App, stats: "SessionStats", cost: "Cost | None", name: str, *, added_up: bool = False, left_out: int = 0
) -> None:
    tokens, use = stats.tokens, stats.tool_use
    open_calls = f", {stats.dangling_calls:,} without a result" if stats.dangling_calls else ""
    rows = [
        ("session", name),
        ("records", f"{stats.records:,} ({size(stats.record_bytes)})"),
        ("turns", f"{stats.turns:,}" + ("" if stats.turns_ended else " (inputs of the user: no turn end is logged)")),
        ("tool calls", f"{use.calls:,}, {use.failures:,} failed{open_calls}"),
        ("tokens in", f"{tokens.input_total:,} in {counted(tokens.requests, 'request')}"),
        ("  cached", f"{tokens.cache_read:,} read from a cache, {tokens.cache_write:,} written to one"),
        ("tokens out", f"{tokens.output:,}"),
        *([] if cost is None else [("cost", _cost_text(cost, left_out=left_out))]),
        ("time", duration(stats.wall_ms) + (", the sessions added up" if added_up else "")),
    ]
    for label, value in rows:
        await app.out.row((f"{label:<14}  ", "bold"), rest=value)
    await app.out.line()
    await app.out.row((f"{'KIND':<24}  RECORDS", "bold"))
    for kind, count in stats.kinds.most_common():
        await app.out.row(f"{one_line(safe(kind), chars_max=24):<24}  {count:>7,}")
    if stats.tools:
        await app.out.line()
        await _print_tools(app, stats.tools)


async def _print_tools(app: App, tools: "dict[str, ToolUse]") -> None:
    names = {name: one_line(safe(name), chars_max=_TOOL_CHARS_MAX) or _NO_TOOL for name in tools}
    width = max(24, *map(len, names.values()))
    await app.out.row((f"{'TOOL':<{width}}  {'CALLS':>7}  {'FAILED':>7}  {'TIME':>12}", "bold"))
    for name, use in sorted(tools.items(), key=lambda item: (-item[1].calls, item[0])):
        time = duration(use.time_ms) if use.timed else "-"
        await app.out.row(
            f"{names[name]:<{width}}  {use.calls:>7,}  ",
            (f"{use.failures:>7,}", "red" if use.failures else ""),
            (f"  {time:>12}", "dim"),
        )
