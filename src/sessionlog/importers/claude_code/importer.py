"""Importing Claude Code transcripts: the engine of all formats, with this one."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from ...ids import now_ms
from ...store import Store
from ..deleted import Deleted
from ..each import import_below
from ..engine import import_transcript
from ..report import ImportFailed, ImportReport, ImportSummary
from .transcript import ClaudeCode

FORMAT = ClaudeCode()


async def import_file(
    store: Store,
    path: Path,
    *,
    growing: bool | None = None,
    progress: Callable[[int], None] | None = None,
    deleted: Deleted | None = None,
    clock: Callable[[], int] = now_ms,
) -> ImportReport:
    """Import one Claude Code transcript, or what is new in it since the last time.

    ``growing`` says that the file is still being written: the token usage of its last message then waits until that
    message is over. By default that is so if the file ends in the middle of a line. ``progress`` is called with the
    number of bytes done since its last call; the numbers add up to the file's size. ``deleted`` knows which sessions
    were deleted from ``store``: they are passed over, unless it was made with ``again=True``. ``clock`` gives the time
    of the import, in unix ms.

    Raises :class:`ImportFailed` when the file cannot be read or holds no JSON object, and whatever the store raises.
    What was committed until then stays, and importing again goes on from there.
    """
    return await import_transcript(
        store, path, FORMAT, growing=growing, progress=progress, deleted=deleted, clock=clock
    )


async def import_paths(
    store: Store,
    paths: Iterable[Path],
    *,
    growing: bool | None = None,
    progress: Callable[[int], None] | None = None,
    on_file: Callable[[ImportReport | ImportFailed], None] | None = None,
    again: bool = False,
    jobs: int = 1,
    clock: Callable[[], int] = now_ms,
) -> ImportSummary:
    """Import files and folders, as :func:`find_transcripts` finds them.

    ``on_file`` is called after each file, in their order; ``again`` brings back what was deleted from ``store``; with
    ``jobs``, up to so many processes work at the same time, as in :func:`import_each`; ``growing``, ``progress`` and
    ``clock`` are those of :func:`import_file`. A file that cannot be imported does not stop the others: its
    :class:`ImportFailed` is in the summary. What the store raises does stop.
    """
    import_one = partial(import_file, growing=growing, clock=clock)
    return await import_below(
        store, paths, import_one, formats=(FORMAT,), on_file=on_file, again=again, jobs=jobs, progress=progress
    )
