"""``list``: the sessions of a store by what they were about and what they used, from its catalog."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from .. import Store
from .base import App, common_options, example, runs
from .catalogs import open_catalog, tell_catalog_faults
from .moments import since_option, until_option
from .output import Segment
from .rates import cost_cell, cost_fields, find_rates, rates_option, read_rates, tell_left_out
from .short_ids import ShownId, column
from .text import compact, counted, one_line, utc

if TYPE_CHECKING:
    from ..catalog import Family, Link, SessionRow
    from ..queries import Cost, RateTable, Tokens

_SORTS: Final = ("last", "first", "turns", "tokens", "records", "bytes")
_ID_HEADING: Final = "SESSION"
_NAME_CHARS_MAX: Final = 16
"""A project or model longer than this is cut."""
_DATED: Final = re.compile(r"-20[0-9]{6}\Z", re.ASCII)
"""The date that providers put behind a model's name."""
_TITLE_COLUMNS_MIN: Final = 20
_WORDS_COLUMNS_MIN: Final = 40
"""Where the title has fewer columns, what is folded under a session is a number alone."""
_TITLE_CHARS_MAX: Final = 120
_LESS_WANTED: Final = ("MODEL", "TIME", "TURNS", "TOKENS")
"""The columns that go, one after the other, where a terminal is too narrow for all and a title."""
_NOUNS: Final = {"agent": "sub-agent", "fork": "fork", "compaction": "compaction"}
_STATES: Final = {"broken": "damaged", "unreadable": "unreadable"}


@click.command(
    "list",
    epilog=example(
        "sessionlog list --since 7d --project shop",
        "sessionlog list --sort tokens --limit 10",
        "sessionlog list --json | jq -r .session_id",
    ),
)
@since_option
@until_option
@click.option("--project", metavar="DIR", help="Only in this directory; the last parts of its path are enough.")
@click.option("--model", metavar="NAME", help="Only with a model whose name begins so.")
@click.option("--label", metavar="KEY[=VALUE]", help="Only with this label.")
@click.option("--limit", type=click.IntRange(min=1), metavar="COUNT", help="Show so many at most.")
@click.option(
    "--sort", type=click.Choice(_SORTS), default="last", show_default=True, help="Latest, or most of it, first."
)
@rates_option
@click.option("--flat", is_flag=True, help="Show sub-agents, forks and compactions as rows of their own.")
@click.option("--verify", is_flag=True, help="Read and verify every log from its start, whatever the catalog says.")
@common_options
@runs
async def list_(
    app: App,
    *,
    since: int | None,
    until: int | None,
    project: str | None,
    model: str | None,
    label: str | None,
    limit: int | None,
    sort: str,
    rates_file: Path | None,
    flat: bool,
    verify: bool,
) -> int:
    """List the sessions, last activity first.

    Times are those of the conversations (UTC). Sub-agents, forks and compactions are folded under the session that they
    come from, and counted with it; --flat and --json give each its own row. Costs are by the list prices of the extra
    "prices" or by --rates: ">1.20" leaves out tokens that have no price, and "?" all of them. What is listed comes from
    the store's catalog, catalog.sqlite3, which is brought up to date first by reading what is new. Whoever can write
    that file can make it tell something else: --verify reads everything anew. Exit status 1 if a log is damaged, else 2
    if one cannot be read; all others are listed.
    """
    asked = {"since_ms": since, "until_ms": until, "project": project, "model": model, "label": label}
    rates = await read_rates(rates_file)
    async with app.open_store() as store:
        return await print_list(app, store, asked=asked, limit=limit, sort=sort, rates=rates, flat=flat, verify=verify)


async def print_list(
    app: App,
    store: Store,
    *,
    asked: Mapping[str, object] | None = None,
    limit: int | None = None,
    sort: str = "last",
    rates: "RateTable | None" = None,
    flat: bool = False,
    verify: bool = False,
) -> int:
    """Print a row for each session of ``store`` that is ``asked`` for; return the exit status."""
    from ..catalog import Family, families  # noqa: PLC0415
    from ..queries import price  # noqa: PLC0415

    async with open_catalog(app, store, verify=verify) as catalog:
        page = await catalog.sessions(**(asked or {}))  # type: ignore[arg-type]
        links = await catalog.links()
    rows = page.rows
    if not links:
        await app.out.note(f"there is no session in {app.store_name} yet")
    elif not rows:
        await app.out.note("no session is what was asked for")
    if flat or app.out.json:
        found = [Family(row) for row in rows]
    else:
        found = families(rows, {link.session_id: link.source_id for link in links})
    found = sorted(found, key=_sort_key(sort), reverse=True)[:limit]
    known = await find_rates([used for one in found for used in one.usage], rates)
    costs = None if known is None else [price(one.usage, known) for one in found]
    if app.out.json:
        for at, one in enumerate(found):
            await app.out.object(session_object(one.root, None if costs is None else costs[at]))
    elif found:
        await _Table(app, found, costs, await app.shown_ids(store)).print()
        await tell_left_out(app, costs or ())
    return await tell_catalog_faults(app, _faults(rows, links))


def _faults(rows: "Sequence[SessionRow]", links: "Sequence[Link]") -> list[tuple[str, str | None]]:
    """Return the faults of the sessions asked for; of the store, if a damaged one may be what was asked for."""
    told = {row.session_id: (row.state, row.fault) for row in rows}
    told.update({link.session_id: (link.state, link.fault) for link in links if link.fault is not None})
    return list(told.values())


def _sort_key(sort: str) -> "Callable[[Family], tuple[int, str]]":
    from ..queries import all_tokens  # noqa: PLC0415

    values: dict[str, Callable[[Family], int]] = {
        "last": lambda family: family.last_ts or 0,
        "first": lambda family: family.first_ts or 0,
        "tokens": lambda family: _token_count(all_tokens(family.usage)),
        "turns": lambda family: sum(one.turns for one in family.members),
        "records": lambda family: sum(one.records for one in family.members),
        "bytes": lambda family: sum(one.bytes for one in family.members),
    }
    return lambda family: (values[sort](family), family.root.session_id)


def session_object(row: "SessionRow", cost: "Cost | None") -> dict[str, object]:
    """Return what ``list --json`` prints of a session."""
    is_fork = row.kind == "fork"
    return {
        "session_id": row.session_id,
        "title": row.title,
        "labels": row.labels,
        "project": row.project,
        "agent": row.agent,
        "version": row.version,
        "kind": row.kind,
        "forked_from": row.origin if is_fork else None,
        "compacted_from": None if is_fork else row.origin,
        "parent": row.parent,
        "first_ts": row.first_ts,
        "last_ts": row.last_ts,
        "first_message": row.first_words,
        "turns": row.turns,
        "tool_calls": row.tool_calls,
        "tool_failures": row.tool_failures,
        "dangling_calls": row.dangling_calls,
        "tokens": vars(row.tokens),
        "models": [{"model": model, **vars(tokens)} for model, tokens in row.models.items()],
        "cost": cost_fields(cost),
        "records": row.records,
        "bytes": row.bytes,
        "head_hash": None if row.head is None else row.head.hash,
        "state": row.state,
        "fault": row.fault,
    }


@dataclass(frozen=True)
class _Column:
    heading: str
    cells: Sequence[str]
    style: str = ""
    is_number: bool = False

    @cached_property
    def width(self) -> int:
        return max(len(self.heading), *map(len, self.cells))

    def at(self, text: str) -> str:
        return f"{text:>{self.width}}" if self.is_number else f"{text:<{self.width}}"


class _Table:
    """The rows of ``list`` for people, with the columns that the terminal has room for."""

    def __init__(self, app: App, families: "Sequence[Family]", costs: "Sequence[Cost] | None", shown: ShownId) -> None:
        self._app = app
        self._families = families
        ids = [shown(one.root.session_id) for one in families]
        self._id_width = max(len(_ID_HEADING), column(ids) if app.out.is_terminal else max(map(len, ids)))
        self._ids = ids
        self._columns, self._left_out = self._fitting(_columns(families, costs))

    def _fitting(self, columns: Sequence[_Column]) -> tuple[list[_Column], list[str]]:
        """Return the columns that leave room for a title, and the headings of the others."""
        kept, left_out = list(columns), []
        for heading in _LESS_WANTED:
            if self._room(kept) >= _TITLE_COLUMNS_MIN:
                break
            kept = [one for one in kept if one.heading != heading]
            left_out.append(heading)
        return kept, left_out

    def _room(self, columns: Sequence[_Column]) -> int:
        """Return how many columns of the terminal are left for a title."""
        width = self._app.out.width
        return _TITLE_CHARS_MAX if width is None else width - self._id_width - sum(one.width + 2 for one in columns) - 2

    async def print(self) -> None:
        """Print a heading, and a row for each family."""
        headings = [f"{_ID_HEADING:<{self._id_width}}", *(one.at(one.heading) for one in self._columns), "TITLE"]
        await self._app.out.row(("  ".join(headings), "bold"))
        room = self._room(self._columns)
        for at, family in enumerate(self._families):
            cells: list[Segment] = []
            for one in self._columns:
                cells += ["  ", (one.at(one.cells[at]), one.style)]
            state, title = _title(family)
            await self._app.out.row(
                (f"{self._ids[at]:<{self._id_width}}", "cyan"),
                *cells,
                "  ",
                (state, "bold red"),
                (_folded(family, in_words=room >= _WORDS_COLUMNS_MIN), "dim"),
                rest=title,
            )
        if self._left_out:
            await self._app.out.line((f"without {', '.join(self._left_out)}: the terminal is too narrow", "dim"))


def _columns(families: "Sequence[Family]", costs: "Sequence[Cost] | None") -> list[_Column]:
    from ..queries import all_tokens  # noqa: PLC0415

    roots = [one.root for one in families]
    times = [utc(one.last_ts)[:16].split(" ") if one.last_ts is not None else ("-",) for one in families]
    return [
        _Column("LAST", [one[0] for one in times], "dim"),
        _Column("TIME", [one[1] if len(one) > 1 else "" for one in times], "dim"),
        _Column("PROJECT", [_project(row.project) for row in roots]),
        _Column("MODEL", [_model(row.models) for row in roots]),
        _Column("TURNS", [f"{sum(row.turns for row in one.members):,}" for one in families], is_number=True),
        _Column("TOKENS", [compact(_token_count(all_tokens(one.usage))) for one in families], is_number=True),
        *([_Column(costs[0].currency[:6], [cost_cell(one) for one in costs], is_number=True)] if costs else []),
    ]


def _project(project: str | None) -> str:
    name = (project or "").rstrip("/").rpartition("/")[2]
    return one_line(name, chars_max=_NAME_CHARS_MAX) or "-"


def _model(models: "Mapping[str | None, Tokens]") -> str:
    """Return the model that used most tokens."""
    named = [(_token_count(tokens), model) for model, tokens in models.items() if model is not None]
    return one_line(_DATED.sub("", max(named, default=(0, "-"))[1]), chars_max=_NAME_CHARS_MAX)


def _token_count(tokens: "Tokens") -> int:
    return tokens.input_total + tokens.output


def _title(family: "Family") -> tuple[str, str]:
    """Return what is wrong with a session, and what it is called."""
    root = family.root
    state = f"{_STATES[root.state]} " if root.state in _STATES else ""
    origin = {"fork": "(fork) ", "compaction": "(compacted) "}.get(root.kind, "")
    return state, origin + one_line(root.title or root.first_words, chars_max=_TITLE_CHARS_MAX)


def _folded(family: "Family", *, in_words: bool) -> str:
    """Return how many sessions are folded under one: ``+3 sub-agents, 1 fork`` or, where that is too long, ``+4``."""
    if not family.others:
        return ""
    words = ", ".join(counted(count, _NOUNS.get(kind, "session")) for kind, count in sorted(family.kinds.items()))
    return f"+{words}  " if in_words else f"+{len(family.others):,} "
