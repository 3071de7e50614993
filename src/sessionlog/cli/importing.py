"""``import``: foreign transcripts become sessions; every line is imported, or told with the reason why not."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import click

from .. import Store
from .base import EXIT_GOOD, EXIT_WRONG_USE, App, common_options, example, runs
from .output import Refused
from .text import counted, safe

if TYPE_CHECKING:
    from ..importers.claude_code import ImportedSession, ImportReport, NotUnderstood

_PIECES_SHOWN: Final = 5
_EXAMPLE: Final = "sessionlog import claude-code ~/.claude/projects/my-project"


@click.group("import", epilog=example(_EXAMPLE))
@common_options
def import_() -> None:
    """Import transcripts of other tools."""


@import_.command("claude-code", epilog=example(_EXAMPLE, "sessionlog import claude-code transcript.jsonl --json"))
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@common_options
@runs
async def claude_code(app: App, paths: Sequence[Path]) -> int:
    """Import Claude Code transcripts.

    Files, with those of their sub-agents beside them, or folders with everything below. The live branch becomes a
    session; abandoned attempts, compactions and sub-agents become sessions of their own that say where they come from.
    Importing again adds nothing, or just what is new. Lines that are not understood are told, with the reason.
    """
    async with app.open_store(make=True) as store:
        reports = await import_claude_code(app, store, paths)
    return EXIT_WRONG_USE if None in reports else EXIT_GOOD


async def import_claude_code(app: App, store: Store, paths: Sequence[Path]) -> "list[ImportReport | None]":
    """Import transcripts and print and return a report for each; ``None`` for one that cannot be imported."""
    from ..importers.claude_code import ImportFailed, find_transcripts, import_file  # noqa: PLC0415 - slow to load

    files = await find_transcripts(paths)
    if not files:
        raise Refused(
            f"there is no transcript (*.jsonl) in {', '.join(map(str, paths))}: name a file or another folder"
        )
    reports: list[ImportReport | None] = []
    with app.out.progress("importing", sum([await _size(path) for path in files]), in_bytes=True) as advance:
        for path in files:
            try:
                report = await import_file(store, path, progress=advance)
                await print_import(app, report)
                reports.append(report)
            except ImportFailed as error:
                await app.out.note(f"sessionlog: {error}")
                reports.append(None)
    return reports


async def print_import(app: App, report: "ImportReport") -> None:
    """Print what importing one file did."""
    if app.out.json:
        await app.out.object(_report_object(report))
        return
    await app.out.line((report.path.name, "bold"), f": {_outcome(report)}")
    for session in report.sessions:
        if session.records_added:
            await _print_session(app, session)
    await _print_pieces(app, "not understood", report.not_understood)
    await _print_pieces(app, "not imported yet", report.waiting)


def _outcome(report: "ImportReport") -> str:
    if report.unchanged:
        return "nothing new" if report.sessions else "nothing to import"
    made = sum(session.made for session in report.sessions)
    new = report.imported - report.imported_before
    counts = [counted(new, "line"), counted(report.records_added, "record")]
    return ", ".join([*counts, counted(made, "session")] if made else counts)


async def _print_session(app: App, session: "ImportedSession") -> None:
    await app.out.row(
        (f"{session.role:<10}", "yellow"),
        f"  {session.records_added:>7,} {'record ' if session.records_added == 1 else 'records'}  ",
        (session.session_id, "cyan"),
        indent=2,
    )


async def _print_pieces(app: App, what: str, pieces: "Sequence[NotUnderstood]") -> None:
    if not pieces:
        return
    await app.out.line((f"{counted(len(pieces), 'piece')} {what}:", "bold yellow"), indent=2)
    for piece in pieces[:_PIECES_SHOWN]:
        await app.out.line(f"line {piece.line}: {piece.reason}", indent=4)
    if len(pieces) > _PIECES_SHOWN:
        await app.out.line(f"... {len(pieces) - _PIECES_SHOWN:,} more: --json lists them all", indent=4)


def _report_object(report: "ImportReport") -> dict[str, object]:
    names = ("session_id", "live_session_id", "bytes_read", "imported", "imported_before", "records_added", "unchanged")
    return {
        "path": safe(str(report.path)),
        **{name: getattr(report, name) for name in names},
        "sessions": report.sessions,
        "not_understood": report.not_understood,
        "waiting": report.waiting,
    }


async def _size(path: Path) -> int:
    """Return a file's size; 0 for what is not there: the import will tell."""
    with suppress(OSError):
        return (await anyio.Path(path).stat()).st_size
    return 0
