"""``import``: foreign transcripts become sessions; every line is imported, or told with the reason why not."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio.to_thread
import click
from click.core import ParameterSource

from .. import SessionExists, Store
from .base import EXIT_GOOD, EXIT_WRONG_USE, App, common_options, example, jobs_option, runs
from .import_summary import Names, Summary, files_beside, names_below
from .output import Refused
from .short_ids import ShortIds, ShownId
from .text import counted, safe

if TYPE_CHECKING:
    from ..importers import Deleted, ImportedSession, ImportFailed, ImportReport, NotUnderstood

DEFAULT_FOLDERS: Final = ("~/.claude/projects", "~/.codex/sessions", "~/.pi/agent/sessions")
"""Where the tools keep their transcripts: what ``--all`` imports."""
_PIECES_SHOWN: Final = 5
_ALL: Final = "sessionlog.import.all"
_AGAIN: Final = "sessionlog.import.again"
_JOBS: Final = "sessionlog.import.jobs"


class _ImportGroup(click.Group):
    """Takes paths as well as the names of formats: what names no format is a path, and so is ``./codex``."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that takes ``args``, its name, and what is left for it."""
        if args[0] in self.commands:
            return super().resolve_command(ctx, args)
        return _any_format.name, _any_format, args


def _remember_all(context: click.Context, _option: click.Parameter, value: bool) -> None:
    context.meta[_ALL] = context.meta.get(_ALL, False) or value


def _remember_again(context: click.Context, _option: click.Parameter, value: bool) -> None:
    context.meta[_AGAIN] = context.meta.get(_AGAIN, False) or value


_all_option = click.option(
    "--all",
    is_flag=True,
    expose_value=False,
    callback=_remember_all,
    help="Take the folders where the tools keep their transcripts, too.",
)


_again_option = click.option(
    "--again",
    is_flag=True,
    expose_value=False,
    callback=_remember_again,
    help="Bring back what was deleted from the store.",
)


def _remember_jobs(context: click.Context, option: click.Parameter, value: int) -> None:
    if context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE or _JOBS not in context.meta:
        context.meta[_JOBS] = value


_jobs_option = partial(jobs_option, callback=_remember_jobs)


def _again() -> bool:
    return bool(click.get_current_context().meta.get(_AGAIN, False))


@click.group(
    "import",
    cls=_ImportGroup,
    invoke_without_command=True,
    no_args_is_help=True,
    subcommand_metavar="PATH... | FORMAT PATH...",
    epilog=example(
        "sessionlog import ~/.claude/projects rollout.jsonl",
        "sessionlog import --all",
        "sessionlog import codex ~/.codex/sessions/2026",
    ),
)
@_all_option
@_again_option
@_jobs_option
@common_options
@click.pass_context
def import_(context: click.Context) -> int | None:
    """Import transcripts of other tools.

    Files, or folders with everything below; the format of each file is recognised, unless a FORMAT is named. Importing
    again adds nothing, or just what is new. Lines that are not understood are told, with the reason.
    """
    return _import_any(()) if context.invoked_subcommand is None else None


@runs
async def _import_any(app: App, paths: Sequence[Path]) -> int:
    if click.get_current_context().meta.get(_ALL, False):
        paths = [*paths, *await _default_folders(app)]
    elif not paths:
        raise click.UsageError("name a file or a folder, or say --all")
    async with app.open_store(make=True) as store:
        return await _import(app, store, paths, None)


@click.command("PATH...")
@click.argument("paths", metavar="PATH...", nargs=-1, type=click.Path(path_type=Path))
@_all_option
@_again_option
@_jobs_option
@common_options
def _any_format(paths: Sequence[Path]) -> int:
    return _import_any(paths)


def _of_format(name: str, tool: str, folder: str, words: str) -> None:
    """Add the subcommand that takes every file for one of format ``name``."""

    @import_.command(
        name,
        help=f"Import {tool}.\n\n{words}",
        epilog=example(f"sessionlog import {name} {folder}", f"sessionlog import {name} transcript.jsonl --json"),
    )
    @click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
    @_again_option
    @_jobs_option
    @common_options
    @runs
    async def _(app: App, paths: Sequence[Path]) -> int:
        async with app.open_store(make=True) as store:
            return await _import(app, store, paths, name)


_of_format(
    "claude-code",
    "Claude Code transcripts",
    "~/.claude/projects/my-project",
    "Files, with those of their sub-agents beside them, or folders with everything below. The live branch becomes a "
    "session; abandoned attempts, compactions and sub-agents become sessions of their own that say where they come "
    "from. Importing again adds nothing, or just what is new.",
)
_of_format(
    "codex",
    "Codex CLI rollouts",
    "~/.codex/sessions",
    "Files, or folders with everything below. What follows a rollback becomes a fork; what follows a compaction, a "
    "session compacted from the one before; a spawned collaborator names its parent.",
)
_of_format(
    "pi",
    "pi sessions",
    "~/.pi/agent/sessions",
    "Files, or folders with everything below, of versions 1 to 3. A branch becomes a fork; what follows a compaction, "
    "a session compacted from the one before.",
)


@import_.command(
    "phi-core",
    epilog=example("sessionlog import phi-core session.json", "sessionlog import phi-core saved/ --json"),
)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@_again_option
@common_options
@runs
async def _phi_core(app: App, paths: Sequence[Path]) -> int:
    """Import phi-core session documents.

    Files, or folders with every .json file below. Each document becomes one session with its loops, under its own id. A
    session that is there already stays as it is, and is told.
    """
    from ..importers import Deleted, find_documents  # noqa: PLC0415 - slow to load

    documents = await find_documents(paths)
    if not documents:
        raise Refused(f"there is no document (*.json) in {', '.join(map(str, paths))}: name a file or another folder")
    failed = False
    async with app.open_store(make=True) as store:
        deleted = Deleted(store, again=_again())
        for path in documents:
            failed = not await _import_document(app, store, path, deleted) or failed
    return EXIT_WRONG_USE if failed else EXIT_GOOD


async def _import_document(app: App, store: Store, path: Path, deleted: "Deleted") -> bool:
    """Import one document and say what became of it; tell whether it is in the store now."""
    from ..importers import ImportFailed, import_document  # noqa: PLC0415

    try:
        imported = await import_document(store, path, deleted=deleted)
    except ImportFailed as error:
        await app.out.note(f"sessionlog: {error}")
        return False
    except SessionExists as error:
        await app.out.note(f"sessionlog: {path}: {error}")
        return False
    if app.out.json:
        names = {"path": safe(str(path)), "format": "phi-core", "session_id": imported.session_id}
        await app.out.object({**names, "loops": imported.loop_count})
    else:
        what = counted(imported.loop_count, "loop")
        await app.out.line((path.name, "bold"), f": {what}  ", (imported.session_id, "cyan"))
    return True


async def _default_folders(app: App) -> list[Path]:
    """Return those of the tools' folders that are there; tell the others."""
    found = []
    for name in DEFAULT_FOLDERS:
        folder = await anyio.Path(name).expanduser()
        if await folder.is_dir():
            found.append(Path(folder))
        else:
            await app.out.note(f"sessionlog: {name} is not there: nothing to import from it")
    if not found:
        raise Refused("none of the tools' folders is there: name a file or a folder")
    return found


async def _import(app: App, store: Store, paths: Sequence[Path], format_name: str | None) -> int:
    """Import, print what became of each file, and a summary where there are several; return the exit status."""
    files = await _find(paths)
    jobs: int = click.get_current_context().meta[_JOBS]
    passed_over = await anyio.to_thread.run_sync(files_beside, paths, files)
    names = names_below(path.parent for path in (*files, *passed_over))
    summary = Summary(names)
    reports = await _import_files(app, store, files, format_name, names=names, summary=summary, jobs=jobs)
    if (len(reports) > 1 or passed_over) and not app.out.json:
        await summary.print(app, passed_over)
    return EXIT_WRONG_USE if None in reports else EXIT_GOOD


async def import_claude_code(app: App, store: Store, paths: Sequence[Path]) -> "list[ImportReport | None]":
    """Import transcripts and print and return a report for each; ``None`` for one that cannot be imported."""
    files = await _find(paths)
    names = names_below(path.parent for path in files)
    return await _import_files(app, store, files, "claude-code", names=names)


async def _find(paths: Sequence[Path]) -> list[Path]:
    from ..importers import find_transcripts  # noqa: PLC0415 - slow to load

    files = await find_transcripts(paths)
    if not files:
        raise Refused(
            f"there is no transcript (*.jsonl) in {', '.join(map(str, paths))}: name a file or another folder"
        )
    return files


async def _import_files(
    app: App,
    store: Store,
    files: Sequence[Path],
    format_name: str | None,
    *,
    names: Names,
    summary: Summary | None = None,
    jobs: int = 1,
) -> "list[ImportReport | None]":
    """Import ``files``: as the format that is named, or as what they are.

    With a ``summary``, which gets every report, what was imported before is not told.
    """
    from ..importers import FORMATS, ImportFailed, import_each, import_file, import_transcript  # noqa: PLC0415

    named = next((one for one in FORMATS if one.name == format_name), None)
    reports: list[ImportReport | None] = []
    shown = await app.shown_ids(store)
    total = await anyio.to_thread.run_sync(_size, files)

    async def tell(outcome: "ImportReport | ImportFailed") -> None:
        try:
            if isinstance(outcome, ImportFailed):
                reports.append(None)
                if summary is not None:
                    summary.add_failure(outcome)
                await app.out.note(f"sessionlog: {names(outcome.path)}: {outcome.reason}")
                return
            reports.append(outcome)
            if summary is not None:
                summary.add(outcome)
            if app.out.json or summary is None or len(files) == 1 or not _is_known(outcome):
                await print_import(app, outcome, names(files[len(reports) - 1]), shown)
        except BrokenPipeError:
            await _tell_undone(app, [names(one) for one in files[len(reports) :]], len(files))
            raise

    with app.out.progress("importing", total, in_bytes=True) as advance:
        await import_each(
            store,
            files,
            import_file if named is None else partial(import_transcript, source_format=named),
            formats=FORMATS if named is None else (named,),
            on_file=tell,
            again=_again(),
            jobs=jobs,
            progress=advance,
        )
    return reports


async def _tell_undone(app: App, left: Sequence[str], total: int) -> None:
    """Say what a reader of standard output that has gone leaves undone: nobody is there to print it to."""
    if left:
        await app.out.note(
            f"sessionlog: the reader of standard output has gone: {len(left):,} of {counted(total, 'file')} not "
            f"reported, from {left[0]} on; import again to go on"
        )


def _is_known(report: "ImportReport") -> bool:
    """Tell whether there is nothing to say of the file, beyond that all of it was imported before."""
    return report.unchanged and bool(report.sessions) and not report.waiting


async def print_import(app: App, report: "ImportReport", name: str, shown: ShownId) -> None:
    """Print what importing one file did; to people, the file is called ``name`` and ids are as they are ``shown``."""
    if app.out.json:
        await app.out.object(_report_object(report))
        return
    await app.out.line((name, "bold"), f": {_outcome(report)}")
    if isinstance(shown, ShortIds):
        for session in report.sessions:
            shown.add(session.session_id)
    for session in report.sessions:
        if session.records_added:
            await _print_session(app, session, shown(session.session_id))
    if report.deleted and report.passed_over is None:
        names = ", ".join(shown(one) for one in report.deleted)
        await app.out.line((f"{counted(len(report.deleted), 'session')} deleted before: ", "bold"), names, indent=2)
    await _print_pieces(app, "not understood", report.not_understood)
    await _print_pieces(app, "not imported yet", report.waiting)


def _outcome(report: "ImportReport") -> str:
    if report.passed_over is not None:
        return f"passed over: {report.passed_over}"
    if report.older_copy:
        return "an older copy: nothing new"
    if report.unchanged:
        return "nothing new" if report.sessions else "nothing to import"
    made = sum(session.made for session in report.sessions)
    new = report.imported - report.imported_before
    counts = [counted(new, "line"), counted(report.records_added, "record")]
    return ", ".join([*counts, counted(made, "session")] if made else counts)


async def _print_session(app: App, session: "ImportedSession", shown_id: str) -> None:
    await app.out.row(
        (f"{session.role:<10}", "yellow"),
        f"  {session.records_added:>7,} {'record ' if session.records_added == 1 else 'records'}  ",
        (shown_id, "cyan"),
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
    names = ("format", "session_id", "live_session_id", "bytes_read", "imported", "imported_before")
    return {
        "path": safe(str(report.path)),
        **{name: getattr(report, name) for name in names},
        "records_added": report.records_added,
        "unchanged": report.unchanged,
        "older_copy": report.older_copy,
        "passed_over": report.passed_over,
        "deleted": report.deleted,
        "sessions": report.sessions,
        "not_understood": report.not_understood,
        "waiting": report.waiting,
    }


def _size(paths: Sequence[Path]) -> int:
    """Return how many bytes the files have; what is not there has none: the import will tell."""
    total = 0
    for path in paths:
        with suppress(OSError, ValueError):
            total += path.stat().st_size
    return total
