"""Importing many transcripts: files, and folders with everything below them."""

import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from .report import ImportFailed, ImportReport, ImportSummary

SUFFIX: Final = ".jsonl"


async def import_each(
    import_one: Callable[[Path], Awaitable[ImportReport]],
    paths: Iterable[Path],
    *,
    on_file: Callable[[ImportReport | ImportFailed], None] | None = None,
) -> ImportSummary:
    """Call ``import_one`` for every transcript at ``paths``; one that raises :class:`ImportFailed` does not stop it."""
    reports: list[ImportReport] = []
    failures: list[ImportFailed] = []
    for path in await find_transcripts(paths):
        outcome: ImportReport | ImportFailed
        try:
            outcome = await import_one(path)
            reports.append(outcome)
        except ImportFailed as error:
            outcome = error
            failures.append(error)
        if on_file is not None:
            on_file(outcome)
    return ImportSummary(reports, failures)


async def find_transcripts(paths: Iterable[Path]) -> list[Path]:
    """Return the transcripts at ``paths``: a file with the files of its sub-agents, a folder with all below it.

    Each once, a conversation before its sub-agents. What is not there is returned too, for the import to name.
    """
    return await anyio.to_thread.run_sync(_find, list(paths))


def _find(paths: list[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if "\0" in str(path):
            found.append(path)
        elif path.is_dir():
            below = [one for one in path.rglob(f"*{SUFFIX}") if not one.is_dir()]
            found += sorted(below, key=_with_parent_first)
        else:
            agents = (path.parent / path.stem / "subagents").rglob(f"agent-*{SUFFIX}")
            found += [path, *sorted(agents)]
    return list({_real(path): None for path in found})


def _real(path: Path) -> Path:
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError):
        return path


def _with_parent_first(path: Path) -> tuple[str, ...]:
    """Sort ``x.jsonl`` before what lies in the folder ``x``."""
    return (*path.parent.parts, path.stem)
