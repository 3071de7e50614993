"""Finding transcripts: files, and folders with everything below them."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import anyio.to_thread

SUFFIX: Final = ".jsonl"


async def find_transcripts(paths: Iterable[Path]) -> list[Path]:
    """Return the transcripts at ``paths``: a file with the files of its sub-agents, a folder with all below it.

    Each once, a conversation before its sub-agents. What is not there, and a folder that cannot be read, is returned
    too, for the import to name.
    """
    return await anyio.to_thread.run_sync(_find, list(paths))


def files_at(path: Path, suffix: str) -> list[Path]:
    """Return ``path``, or if it is a folder, the files below it whose names end in ``suffix``, however deep they lie.

    Links to folders are not followed, so there are no circles. A folder that cannot be listed is returned itself.
    """
    if not os.path.isdir(path):
        return [path]
    found: list[Path] = []
    folders = [os.fspath(path)]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif entry.name.endswith(suffix) and not os.path.isdir(entry.path):
                        found.append(Path(entry.path))
        except OSError:
            found.append(Path(folder))
    return found


def _find(paths: list[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if os.path.isdir(path):
            found += sorted(files_at(path, SUFFIX), key=_with_parent_first)
        else:
            agents = path.parent / path.stem / "subagents"
            below = files_at(agents, SUFFIX) if os.path.isdir(agents) else []
            found += [path, *sorted(one for one in below if one.name.startswith("agent-"))]
    return list({_real(path): None for path in found})


def _real(path: Path) -> Path:
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError):
        return path


def _with_parent_first(path: Path) -> tuple[str, ...]:
    """Sort ``x.jsonl`` before what lies in the folder ``x``."""
    return (*path.parent.parts, path.stem)
