"""``diff``: where two sessions part, and what each did afterwards."""

from typing import TYPE_CHECKING, Final

import click

from .. import Head
from .base import App, common_options, example, runs
from .completion import complete_session
from .lookup import find_session
from .summary import summarize_item
from .text import counted, duration, short

if TYPE_CHECKING:
    from ..queries import After, Parting
    from ..queries.diff import Place

ITEMS_DEFAULT: Final = 10


@click.command(epilog=example("sessionlog diff 0190163d 0190f00d", "sessionlog diff 0190163d 0190f00d --json"))
@click.argument("first", metavar="A", shell_complete=complete_session)
@click.argument("second", metavar="B", shell_complete=complete_session)
@click.option(
    "-n",
    "--items",
    "count",
    type=click.IntRange(0, 100_000),
    default=ITEMS_DEFAULT,
    show_default=True,
    metavar="COUNT",
    help="How many items of each to show.",
)
@common_options
@runs
async def diff(app: App, first: str, second: str, count: int) -> None:
    """Show where two sessions part.

    First by lineage: the last record that both go back to, through forks and compactions, as their logs say. Then by
    content: what was said and done after that, whatever its ids and times. Below it, what each did afterwards.
    """
    from ..queries import diff_sessions  # noqa: PLC0415 - `list` need not wait for it

    async with app.open_store() as store:
        ids = [await find_session(store, text) for text in (first, second)]
        parting = await diff_sessions(store, ids[0], ids[1], items_max=count)
    if app.out.json:
        await app.out.object(_parting_object(parting))
    else:
        await _print_parting(app, parting)


async def _print_parting(app: App, parting: "Parting") -> None:
    lineage = parting.lineage
    if lineage is None:
        await app.out.line("no origin in common: compared by content from the beginning")
    else:
        await app.out.row(
            f"in common up to record {lineage.head.seq:,} (",
            (short(lineage.head.hash), "yellow"),
            ") of ",
            (lineage.session_id, "cyan"),
        )
    behind = "" if lineage is None else " behind that"
    if parting.last_same is not None:
        await app.out.line(f"the same{behind}: {counted(parting.same_items, 'item')}, the last of them")
        await app.out.row(rest=summarize_item(parting.last_same[0].item), indent=2)
    if parting.identical:
        await app.out.line(f"nothing differs{behind}")
    for after in (parting.first, parting.second):
        await app.out.line()
        await _print_after(app, after)


async def _print_after(app: App, after: "After") -> None:
    stats, use, tokens = after.stats, after.stats.tool_use, after.stats.tokens
    await app.out.row((after.session_id, "bold cyan"))
    if not after.item_count:
        await app.out.line("nothing more", indent=2)
        return
    calls = f"{counted(use.calls, 'tool call')} ({use.failures:,} failed)"
    said = f"{counted(after.item_count, 'item')} in {counted(stats.records, 'record')}, {calls}"
    used = f"{tokens.input_total:,} tokens in, {tokens.output:,} out, {duration(stats.wall_ms)}"
    await app.out.line(f"{said}, {used}", indent=2)
    for place in after.items:
        await app.out.row(
            f"{place.head.seq:>6}  ",
            (f"{short(place.head.hash)}  ", "yellow"),
            rest=summarize_item(place.item) or "(empty)",
        )
    if after.item_count > len(after.items):
        await app.out.line((f"... {after.item_count - len(after.items):,} more", "dim"), indent=2)


def _parting_object(parting: "Parting") -> dict[str, object]:
    lineage, last_same = parting.lineage, parting.last_same
    return {
        "lineage": None if lineage is None else {"session_id": lineage.session_id, **_head_object(lineage.head)},
        "same_items": parting.same_items,
        "last_same": None if last_same is None else [_place_object(place) for place in last_same],
        "after": [_after_object(after) for after in (parting.first, parting.second)],
    }


def _head_object(head: Head) -> dict[str, object]:
    return {"seq": head.seq, "hash": head.hash}


def _place_object(place: "Place") -> dict[str, object]:
    return {"session_id": place.session_id, **_head_object(place.head), "item": place.item}


def _after_object(after: "After") -> dict[str, object]:
    return {
        "session_id": after.session_id,
        "item_count": after.item_count,
        "records": after.stats.records,
        "tool_calls": after.stats.tool_use.calls,
        "tool_failures": after.stats.tool_use.failures,
        "tokens": after.stats.tokens,
        "items": [_place_object(place) for place in after.items],
    }
