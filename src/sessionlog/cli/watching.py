"""``watch``: transcripts become sessions while agents write them (extra ``watch``, watchfiles).

File events only say where to look: what is missed, or cannot be told on this file system, is found by looking.
"""

import importlib.util
import math
import os
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
import click
import msgspec

from .base import EXIT_GOOD, App, common_options, example, runs
from .import_summary import Names, names_below
from .importing import print_import
from .output import Refused
from .short_ids import ShownId
from .text import counted

if TYPE_CHECKING:
    from watchfiles import Change

    from ..importers import Imported, NotUnderstood, Watch

SUFFIX: Final = ".jsonl"
_STEP_MS: Final = 200
"""Events are gathered for so long, and Ctrl-C waits no longer."""
_GATHER_MS_MAX: Final = 1000


@click.command(epilog=example("sessionlog watch ~/.claude/projects ~/.codex/sessions", "sessionlog watch . --json"))
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--again", is_flag=True, help="Bring back what was deleted from the store.")
@common_options
@runs
async def watch(app: App, paths: Sequence[Path], again: bool) -> int:
    """Import transcripts as they grow.

    Files, or folders with everything below, and what appears there later: first what is there, then what running agents
    write, until Ctrl-C (exit status 130). A line that is half written waits. Killed at any moment and started again, it
    goes on where it was. Prints each import that added something, and once each file whose session was deleted.
    """
    if importlib.util.find_spec("watchfiles") is None:
        raise Refused("watch needs watchfiles: pip install 'sessionlog[watch]'")
    folders, files = await anyio.to_thread.run_sync(_sorted_out, list(paths))

    from ..importers import Watch  # noqa: PLC0415 - slow to load

    failure: Exception | None = None
    async with app.open_store(make=True) as store, anyio.create_task_group() as tasks:
        watched = Watch(store, [*folders, *files], skip=app.root, again=again)
        wanted = {os.fspath(file) for file in files}
        if folders:
            tasks.start_soon(_pass_on_events, app, watched, folders, wanted, True)
        if files:
            tasks.start_soon(_pass_on_events, app, watched, sorted({one.parent for one in files}), wanted, False)
        try:
            names = names_below([*folders, *(file.parent for file in files)])
            await _print_outcomes(app, watched, names, await app.shown_ids(store))
        except Exception as error:  # noqa: BLE001 - told by the caller, as it is and not in a group
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return EXIT_GOOD


def _sorted_out(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return the real paths of the folders and of the files."""
    folders: list[Path] = []
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise Refused(f"there is no file or folder {path}: nothing to watch")
        (folders if path.is_dir() else files).append(Path(os.path.realpath(path)))
    return folders, files


async def _pass_on_events(
    app: App, watched: "Watch", folders: Sequence[Path], files: set[str], recursive: bool
) -> None:
    """Tell ``watched`` what happens in ``folders``, until cancelled."""
    from watchfiles import Change, awatch  # noqa: PLC0415 - an extra

    def matters(change: "Change", name: str) -> bool:
        if recursive:
            return name.endswith(SUFFIX) or name in files or (change is Change.added and os.path.isdir(name))
        return name in files

    stop = anyio.Event()

    async def stop_when_cancelled() -> None:
        """The events are awaited in a thread, which looks at ``stop`` only."""
        try:
            await anyio.sleep(math.inf)
        finally:
            stop.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop_when_cancelled)
        try:
            async for changes in awatch(
                *folders,
                watch_filter=matters,
                debounce=_GATHER_MS_MAX,
                step=_STEP_MS,
                stop_event=stop,
                recursive=recursive,
                ignore_permission_denied=True,
            ):
                watched.notice(Path(name) for _, name in changes)
        except (OSError, RuntimeError) as error:  # no more inotify watches, say
            await app.out.note(f"sessionlog: no file events ({error}): files are looked at every few seconds")
        tasks.cancel_scope.cancel()


async def _print_outcomes(app: App, watched: "Watch", names: Names, shown: ShownId) -> None:
    from ..importers import CaughtUp, ImportFailed, NotImported  # noqa: PLC0415 - slow to load

    told: dict[Path, int] = {}
    async with aclosing(watched.run()) as outcomes:
        async for outcome in outcomes:
            match outcome:
                case CaughtUp():
                    await app.out.note(f"sessionlog: watching {counted(outcome.file_count, 'file')}; Ctrl-C ends it")
                case NotImported():
                    error = outcome.error
                    reason = error.reason if isinstance(error, ImportFailed) else str(error)
                    await app.out.note(f"sessionlog: {names(outcome.path)}: {reason}")
                case _:
                    await _tell_changes(app, outcome, told)
                    await _print_imported(app, outcome, told, names(outcome.report.path), shown)
            await app.out.flush()


async def _tell_changes(app: App, outcome: "Imported", told: dict[Path, int]) -> None:
    """Say that a file is not the one that it was, or lost something."""
    report = outcome.report
    if outcome.replaced is not None:
        await app.out.note(
            f"sessionlog: {report.path}: it was replaced or rewritten: "
            f"session {outcome.replaced} stays, what the file holds now is session {report.session_id}"
        )
        told.pop(report.path, None)
    elif outcome.shrank_from is not None:
        await app.out.note(
            f"sessionlog: {report.path}: it shrank from {outcome.shrank_from:,} to {report.bytes_read:,} bytes: "
            "what was imported stays"
        )


async def _print_imported(app: App, outcome: "Imported", told: dict[Path, int], name: str, shown: ShownId) -> None:
    """Print one import; for people, without what waits for now, and what was not understood once only."""
    report = outcome.report
    if report.unchanged and not report.deleted:
        return
    if not app.out.json:
        news: list[NotUnderstood] = report.not_understood[told.get(report.path, 0) :]
        told[report.path] = len(report.not_understood)
        report = msgspec.structs.replace(report, waiting=[], not_understood=news)
    await print_import(app, report, name, shown)
