"""``delete``: removes sessions for good, and leaves a receipt of each."""

import sys
from collections.abc import Sequence
from contextlib import aclosing
from typing import Final

import click

from .. import (
    HOLD_LABEL,
    RECEIPTS_SESSION,
    Deletions,
    FileStore,
    Receipt,
    SessionId,
    SessionLogError,
    now_ms,
)
from ..catalog import Catalog, SessionRow
from .base import EXIT_GOOD, App, common_options, example, runs, tell_faults
from .catalogs import open_catalog
from .completion import complete_session
from .lookup import find_sessions
from .moments import Age
from .output import Refused
from .short_ids import ShownId
from .stdin import stdin_lines
from .text import counted, size, utc

_COLUMNS: Final = f"{'RECORDS':>7}  {'SIZE':>9}  {'LAST ACTIVITY':<20}  SESSION"
_ANSWER_BYTES_MAX: Final = 4096


@click.command(
    epilog=example(
        "sessionlog delete 0190163d --reason 'asked for by the customer'",
        "sessionlog delete --older-than 190d --dry-run",
    )
)
@click.argument("sessions", metavar="[ID]...", nargs=-1, shell_complete=complete_session)
@click.option(
    "--older-than",
    "age_ms",
    type=Age(),
    metavar="AGE",
    help="Those whose conversation ended longer ago: 12h, 190d, 26w, 2y.",
)
@click.option("--reason", metavar="TEXT", help="Why, for the receipt.")
@click.option("--by", metavar="WHO", help="Who deletes, for the receipt.")
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@common_options
@runs
async def delete(
    app: App,
    sessions: Sequence[str],
    *,
    age_ms: int | None,
    reason: str | None,
    by: str | None,
    dry_run: bool,
    yes: bool,
) -> int:
    """Delete sessions.

    Removes the log, its trace, what repairs set aside, and the session's words in the catalog. What stays is a receipt
    in the session sessionlog-receipts: id, head, time, reason. A session with the label hold is not deleted. If
    somebody appends meanwhile, nothing is removed. Copies elsewhere and backups are not reached. Sub-agents and forks
    are sessions of their own: name them, too. An import does not bring back what was deleted, unless told --again.
    """
    if not sessions and age_ms is None:
        raise click.UsageError("name a session, or say --older-than AGE")
    async with app.open_store() as store:
        finished = set() if dry_run else await _finish_interrupted(app, store, sessions)
        if finished.issuperset(sessions) and age_ms is None:
            return EXIT_GOOD
        named = await find_sessions(store, [one for one in sessions if one not in finished])
        async with open_catalog(app, store) as catalog:
            chosen = await _choose(catalog, named, age_ms)
            if not chosen:
                await app.out.note("nothing to delete: no session is that old")
                return EXIT_GOOD
            if not app.out.json:
                await _print_rows(app, chosen, await app.shown_ids(store))
            if dry_run:
                return await _tell_dry_run(app, chosen)
            if not yes:
                await _ask(app, len(chosen))
            return await _delete(app, store, catalog, chosen, reason=reason, by=by)


async def _finish_interrupted(app: App, store: FileStore, named: Sequence[str]) -> set[str]:
    """Write the receipts that are missing for logs that an interrupted deletion removed; return whose."""
    deletions = Deletions(store)
    begun = {one.session_id for one in (await deletions.receipts()).open.values()}
    gone = {one for one in begun.intersection(named) if not await store.exists(one)}
    for session_id in sorted(gone):
        for receipt in await deletions.settle(session_id):
            if app.out.json:
                await app.out.object(_object(SessionRow(session_id=session_id), receipt))
            else:
                await app.out.line(f"{session_id} was removed before, by a deletion that was interrupted: finished it")
    return set(gone)


async def _choose(catalog: Catalog, named_ids: Sequence[SessionId], age_ms: int | None) -> list[SessionRow]:
    """Return the sessions that are named, then those that are old enough, except held ones, oldest first."""
    rows = {row.session_id: row for row in (await catalog.sessions()).rows}
    named = [rows.get(session_id) or SessionRow(session_id=session_id) for session_id in named_ids]
    if age_ms is None:
        return named
    before = now_ms() - age_ms
    old = [
        row
        for row in rows.values()
        if row.last_ts is not None and row.last_ts < before and HOLD_LABEL not in row.labels and row not in named
    ]
    return [*named, *sorted(old, key=lambda row: (row.last_ts or 0, row.session_id))]


async def _delete(
    app: App, store: FileStore, catalog: Catalog, chosen: Sequence[SessionRow], *, reason: str | None, by: str | None
) -> int:
    """Delete one session after the other; one that cannot be deleted keeps no other one."""
    deletions = Deletions(store)
    faults: list[SessionLogError] = []
    done = 0
    try:
        await catalog.forget([row.session_id for row in chosen])  # first: it needs the words to take them out
        with app.out.progress("deleting", len(chosen)) as advance:
            for row in chosen:
                try:
                    receipt = await deletions.delete(row.session_id, reason=reason, by=by)
                except SessionLogError as error:
                    faults.append(error)
                else:
                    done += 1
                    if app.out.json:
                        await app.out.object(_object(row, receipt))
                advance(1)
    finally:
        await catalog.refresh()  # what was not deleted after all is found again
    if not app.out.json:
        await app.out.line(f"deleted {counted(done, 'session')}; the receipts are in {RECEIPTS_SESSION}")
    return await tell_faults(app, faults)


async def _print_rows(app: App, chosen: Sequence[SessionRow], shown: ShownId) -> None:
    await app.out.row((_COLUMNS, "bold"))
    for row in chosen:
        last = "-" if row.last_ts is None else utc(row.last_ts)
        title = row.title or row.first_words
        held = "  held" if HOLD_LABEL in row.labels else ""
        await app.out.row(
            f"{row.records:>7,}  {size(row.bytes):>9}  {last:<20}  ",
            (shown(SessionId(row.session_id)), "cyan"),
            (held, "bold yellow"),
            rest=f"  {title}" if title else "",
        )


async def _tell_dry_run(app: App, chosen: Sequence[SessionRow]) -> int:
    if app.out.json:
        for row in chosen:
            await app.out.object(_object(row, None))
    else:
        await app.out.note(f"nothing was deleted: {counted(len(chosen), 'session')} would be")
    return EXIT_GOOD


async def _ask(app: App, count: int) -> None:
    """Ask the person at the terminal; raises :class:`Refused` unless the answer is yes."""
    if app.out.json or sys.stdin is None or not sys.stdin.isatty():
        raise Refused("nothing was deleted: say --yes, as there is nobody to ask")
    await app.out.note(f"delete {counted(count, 'session')} for good? [y/N]")
    await app.out.flush()
    async with aclosing(stdin_lines(line_bytes_max=_ANSWER_BYTES_MAX)) as lines:
        async for answer in lines:
            if answer[0].strip().lower() in (b"y", b"yes"):
                return
            break
    raise Refused("nothing was deleted")


def _object(row: SessionRow, receipt: Receipt | None) -> dict[str, object]:
    return {
        "session_id": row.session_id,
        "title": row.title,
        "records": row.records if receipt is None else receipt.record_count,
        "bytes": row.bytes,
        "last_ts": row.last_ts,
        "deleted": receipt is not None,
        "receipt": receipt,
    }
