"""The command that mends: ``repair``, which cuts a damaged log at its first bad record (FORMAT section 6)."""

from typing import Final

import click

from .. import DamagedPart, Repair
from .base import EXIT_FINDINGS, EXIT_GOOD, App, common_options, example, runs
from .completion import complete_session
from .lookup import find_session
from .text import counted

_LABEL_CHARS: Final = 7


@click.command(epilog=example("sessionlog repair 0190163d", "sessionlog repair 0190163d --yes"))
@click.argument("session", metavar="ID", shell_complete=complete_session)
@click.option("--yes", is_flag=True, help="Do it; without this, only say what would be done.")
@common_options
@runs
async def repair(app: App, session: str, yes: bool) -> int:
    """Cut a damaged log at its first bad record.

    Says what is wrong and what stands from there on: records that are whole by themselves, pages of zeros as a power
    loss leaves them, bytes. With --yes all of that is copied to a file beside the log, flushed, and cut, and a record
    of kind extension, domain sessionlog/repair, says so in the log. Look for a good copy of the log first: what is cut
    is no part of the session any more. Exit status 0 if the log is whole or was repaired, 1 if it is damaged.
    """
    async with app.open_store() as store:
        session_id = await find_session(store, session)
        part = await store.find_damage(session_id)
        if part is None:
            return await _tell_sound(app, session_id)
        if not app.out.json:
            await _print_part(app, part)
        done = await store.repair(session_id) if yes else None
        if app.out.json:
            await app.out.object(_object(part, done))
        elif done is not None:
            await app.out.row((f"{'aside':<{_LABEL_CHARS}}  ", "bold"), f"{done.file} (blake3 {done.blake3})")
            await app.out.row((f"{'said':<{_LABEL_CHARS}}  ", "bold"), f"in record {done.head.seq}, the new head")
        elif part.head is None:
            await app.out.note("nothing was changed; the first record is the bad one: a repair could keep nothing")
        else:
            await app.out.note("nothing was changed; --yes copies that part aside and cuts it")
    return EXIT_GOOD if done is not None else EXIT_FINDINGS


async def _tell_sound(app: App, session_id: str) -> int:
    if app.out.json:
        await app.out.object({"session_id": session_id, "state": "whole"})
    else:
        await app.out.line(f"{session_id}: nothing to repair, every record is whole and in its place")
    return EXIT_GOOD


async def _print_part(app: App, part: DamagedPart) -> None:
    where = f"record {part.seq} (line {part.seq + 1}, byte {part.offset}): "
    pages = f", {counted(part.nul_page_count, 'page')} of zeros" if part.nul_page_count else ""
    await app.out.row((f"{'bad':<{_LABEL_CHARS}}  ", "bold"), (where, "bold red"), f"{part.damage}: {part.reason}")
    await app.out.row((f"{'kept':<{_LABEL_CHARS}}  ", "bold"), f"{counted(part.seq, 'record')}, {part.offset:,} bytes")
    await app.out.row(
        (f"{'cut':<{_LABEL_CHARS}}  ", "bold"),
        f"{part.size:,} bytes: {counted(part.record_count, 'record')} whole by themselves{pages}",
    )


def _object(part: DamagedPart, done: Repair | None) -> dict[str, object]:
    cut = part if done is None else done.part
    return {
        "session_id": cut.session_id,
        "state": "damaged" if done is None else "repaired",
        "seq": cut.seq,
        "line": cut.seq + 1,
        "offset": cut.offset,
        "damage": cut.damage,
        "reason": cut.reason,
        "cut_bytes": cut.size,
        "whole_records": cut.record_count,
        "nul_pages": cut.nul_page_count,
        "file": None if done is None else done.file.name,
        "blake3": None if done is None else done.blake3,
        "head_hash": (cut.head and cut.head.hash) if done is None else done.head.hash,
    }
