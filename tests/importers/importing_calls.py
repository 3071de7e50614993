"""How the tests import a file in another process, which finds it here: at a fixed time, or with a mishap."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sessionlog import HeadConflict, Store, StoreFailed
from sessionlog.importers import Deleted, ImportReport, import_file

NOON_MS: Final = 1_767_268_800_000
Progress = Callable[[int], None] | None


def noon() -> int:
    return NOON_MS


async def at_noon(store: Store, path: Path, *, progress: Progress, deleted: Deleted) -> ImportReport:
    """Import at a time that makes records, and hashes, the same each time."""
    return await import_file(store, path, progress=progress, deleted=deleted, clock=noon)


async def dying(store: Store, path: Path, *, progress: Progress, deleted: Deleted) -> ImportReport:
    """Be killed at files whose names say so."""
    if path.name.startswith("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    return await at_noon(store, path, progress=progress, deleted=deleted)


async def conflicting(store: Store, path: Path, *, progress: Progress, deleted: Deleted) -> ImportReport:
    """Meet another writer, each time in a worker."""
    if os.getsid(0) == os.getpid():  # a worker leads a session of its own
        raise HeadConflict("s", expected=None, found=None)
    return await at_noon(store, path, progress=progress, deleted=deleted)


async def full(store: Store, path: Path, *, progress: Progress, deleted: Deleted) -> ImportReport:
    """Find the disk full at files whose names say so."""
    if path.name.startswith("full"):
        raise StoreFailed("no space left on device", path=path)
    return await at_noon(store, path, progress=progress, deleted=deleted)
