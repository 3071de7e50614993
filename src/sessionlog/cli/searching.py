"""``search``: words or a pattern in what the sessions say, with the record to fork at."""

from collections.abc import Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import click

from .. import CorruptLog, SessionId, SessionLogError, SessionNotFound, Store
from .base import EXIT_FINDINGS, EXIT_GOOD, EXIT_WRONG_USE, App, common_options, example, runs
from .catalogs import open_catalog, tell_catalog_faults
from .completion import complete_session
from .lookup import find_sessions
from .moments import since_option, until_option
from .output import Refused, Segment
from .short_ids import ShownId
from .text import short, utc

if TYPE_CHECKING:
    from ..queries import Hit, HitLine, Place, Query

LINE_CHARS_MAX: Final = 160
"""A line longer than this, or than the terminal is wide, is shown around its first match; ``--json`` has all of it."""
_LEAD_CHARS: Final = 40
_MARGIN_COLUMNS: Final = 10
"""What the number of a line takes."""


@click.command(
    epilog=example(
        'sessionlog search "connection refused"',
        "sessionlog search 'TODO|FIXME' --regex --in assistant --in tools",
        "sessionlog search pytest --tool Bash --since 2026-01-31 --json | jq -r .hash",
    )
)
@click.argument("text")
@click.argument("sessions", metavar="[ID]...", nargs=-1, shell_complete=complete_session)
@click.option("--case", is_flag=True, help="Tell capital letters from small ones.")
@click.option("--regex", is_flag=True, help="TEXT is a regular expression, as RE2 has them.")
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help="Only entries of this kind; may be repeated.")
@click.option(
    "--in",
    "places",
    multiple=True,
    type=click.Choice(("all", "user", "assistant", "tools", "system")),
    help="Where to look; may be repeated.  [default: user and assistant]",
)
@click.option("--tool", "tools", multiple=True, metavar="NAME", help="Only this tool's calls and results.")
@since_option
@until_option
@click.option(
    "-C",
    "--context",
    type=click.IntRange(0, 1000),
    default=1,
    show_default=True,
    metavar="COUNT",
    help="Show so many lines around each match.",
)
@click.option("--verify", is_flag=True, help="Read every log from its start, whatever the catalog says.")
@common_options
@runs
async def search(
    app: App,
    text: str,
    sessions: Sequence[str],
    *,
    case: bool,
    regex: bool,
    kinds: Sequence[str],
    places: Sequence[str],
    tools: Sequence[str],
    since: int | None,
    until: int | None,
    context: int,
    verify: bool,
) -> int:
    """Search what the sessions say.

    All sessions, or those named, for what people and models said. --in looks elsewhere: in tools' calls and results, in
    system texts, or in all of the log, events included; with --kind or --tool, all of the log is the default. Each text
    is found once. A match is shown below its session, position, hash, time and speaker: the hash is the one to fork at.
    Lines are matched one by one. Text inside JSON, such as a call's arguments, is shown as "path: value". A text of 3
    characters or more that people or models said is looked up in the store's catalog, then read from the logs and
    verified; anything else is looked for in all of the logs, and so is everything with --verify.
    """
    from ..queries import Query  # noqa: PLC0415 - `list` need not wait for it

    if not text:
        raise Refused("there is nothing to search for: give a TEXT")
    query = Query(
        text=text,
        regex=regex,
        case=case,
        kinds=frozenset(kinds),
        places=_places(places, narrowed=bool(kinds or tools)),
        tools=frozenset(tools),
        since_ms=since,
        until_ms=until,
    )
    async with app.open_store() as store:
        named = await find_sessions(store, sessions)
        found, status = await (_scan if verify or not _is_indexed(query) else _look_up)(
            app, store, named, query, context
        )
    if not found:
        await app.out.note("nothing found")
    return status


def _is_indexed(query: "Query") -> bool:
    from ..catalog import is_indexed  # noqa: PLC0415

    return is_indexed(query)


def _places(named: Sequence[str], *, narrowed: bool) -> "frozenset[Place]":
    """Return where to look; nothing for everywhere."""
    if "all" in named or (narrowed and not named):
        return frozenset()
    return frozenset(named or ("user", "assistant"))  # type: ignore[arg-type]


async def _look_up(app: App, store: Store, named: Sequence[SessionId], query: "Query", context: int) -> tuple[int, int]:
    """Print what the catalog finds; return how many hits there are, and the exit status."""
    found = 0
    shown = await app.shown_ids(store)
    faults: dict[str, SessionLogError] = {}
    async with open_catalog(app, store) as catalog:
        hits = catalog.search(query, named or None, context=context, on_fault=faults.__setitem__)
        async with aclosing(hits):
            async for hit in hits:
                found += 1
                await _print_hit(app, hit, shown)
        known = {link.session_id: (link.state, link.fault) for link in await catalog.links()}
    if named:
        known = {session_id: known[session_id] for session_id in named if session_id in known}
    for session_id, error in faults.items():
        known[session_id] = ("broken" if isinstance(error, CorruptLog) else "unreadable", str(error))
    return found, await tell_catalog_faults(app, known.values())


async def _scan(app: App, store: Store, named: Sequence[SessionId], query: "Query", context: int) -> tuple[int, int]:
    """Print what is found in the sessions, each read from its start; return as :func:`_look_up` does."""
    from ..queries import QueryError, search_session  # noqa: PLC0415

    session_ids = named or await store.list_sessions()
    found, status = 0, EXIT_GOOD
    shown = await app.shown_ids(store)
    with app.out.progress("searching", len(session_ids)) as advance:
        for session_id in session_ids:
            try:
                async for hit in search_session(store, session_id, query, context=context, searched=session_ids):
                    found += 1
                    await _print_hit(app, hit, shown)
            except QueryError as error:
                raise Refused(f"{query.text} cannot be searched for: {error}") from error
            except SessionNotFound:
                pass  # gone since it was listed
            except SessionLogError as error:
                await app.out.note(f"sessionlog: {error}")
                status = EXIT_FINDINGS if isinstance(error, CorruptLog) else status or EXIT_WRONG_USE
            advance(1)
    return found, status


async def _print_hit(app: App, hit: "Hit", shown: ShownId) -> None:
    from .. import entry_kind  # noqa: PLC0415

    record = hit.record
    kind = entry_kind(record.entry)
    if app.out.json:
        await app.out.object(
            {
                "session_id": hit.session_id,
                "seq": record.seq,
                "hash": record.hash,
                "ts": record.entry.ts,
                "kind": kind,
                "role": hit.role or None,
                "tool": hit.tool,
                "lines": [{"number": one.number, "text": one.text, "matches": one.spans} for one in hit.lines],
            }
        )
        return
    await app.out.row(
        (shown(hit.session_id), "cyan"),
        f"  {record.seq}  ",
        (short(record.hash), "yellow"),
        (f"  {utc(record.entry.ts)}", "dim"),
        rest="  " + " ".join(filter(None, (hit.role or kind, hit.tool))),
    )
    width = app.out.width
    chars_max = LINE_CHARS_MAX if width is None else max(_LEAD_CHARS, width - _MARGIN_COLUMNS)
    for line in hit.lines:
        number = f"{line.number:>6}{':' if line.spans else '-'} "
        await app.out.row((number, "dim"), *_highlighted(line, chars_max), crop=True, indent=2)


def _highlighted(line: "HitLine", chars_max: int) -> list[Segment]:
    """Return ``chars_max`` characters of the line, from a word before its first match on, its matches marked."""
    text, spans = line.text, line.spans
    start = 0
    if len(text) > chars_max and spans:
        start = max(0, min(spans[0][0] - min(_LEAD_CHARS, chars_max // 3), len(text) - chars_max + 1))
        start += text[start : spans[0][0]].find(" ") + 1 if start else 0
    end = min(len(text), start + chars_max - bool(start))
    end -= end < len(text)
    segments: list[Segment] = ["…"] if start else []
    at = start
    for first, last in spans:
        if first >= end:
            break
        segments += [_flat(text[at:first]), (_flat(text[first : min(last, end)]), "bold red")]
        at = min(last, end)
    segments.append(_flat(text[at:end]) + ("…" if end < len(text) else ""))
    return segments


def _flat(text: str) -> str:
    return text.replace("\t", " ").replace("\r", "")
