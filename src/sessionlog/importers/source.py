"""The source file: opening it safely, its digests, how much of it is done."""

import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

import anyio
import anyio.to_thread
from blake3 import blake3

from .lines import ByteFile, Chunks, open_bytes
from .marks import Prefixes
from .report import ImportFailed


class Meter:
    """Tells how many bytes are done, over two passes that count half each."""

    def __init__(self, progress: Callable[[int], None] | None) -> None:
        """Report to ``progress``."""
        self._progress = progress
        self._halves = 0
        self._told = 0

    def advance(self, size: int) -> None:
        """Count ``size`` bytes of one pass."""
        self._halves += size
        self._tell(self._halves // 2)

    def restart(self) -> None:
        """Begin the first pass again; what was told once is not told twice."""
        self._halves = 0

    def finish(self, size: int) -> None:
        """Count a file of ``size`` bytes as done."""
        self._tell(size)

    def _tell(self, done: int) -> None:
        if self._progress is not None and done > self._told:
            self._progress(done - self._told)
            self._told = done


class Recheck:
    """Checks that the second reading of a file gives what the first gave, before any of it is used."""

    def __init__(self, path: Path, prefixes: Prefixes, end: int) -> None:
        """Compare with ``prefixes``, up to byte ``end``, which was the last that was made use of."""
        self._path = path
        self._prefixes = prefixes
        self._end = end
        self._digest = prefixes.settle(end)
        self._hasher = blake3()
        self._size = 0

    def take(self, chunk: bytes) -> None:
        """Take the next chunk; raises :class:`ImportFailed` if it is another."""
        self._hasher.update(chunk)
        self._size += len(chunk)
        self._require(self._digest if self._size == self._end else self._prefixes.at(self._size))

    def finish(self) -> None:
        """Raise :class:`ImportFailed` if bytes are missing."""
        self._require(self._digest)

    def _require(self, digest: str | None) -> None:
        if self._hasher.hexdigest() != digest:
            raise ImportFailed(self._path, "it was rewritten while it was read: import it again")


async def open_regular(path: Path) -> tuple[Path, ByteFile]:
    """Open a regular file for reading; return its real path too.

    Raises :class:`ImportFailed`; a FIFO or a device is not waited for.
    """
    try:
        path = Path(await anyio.to_thread.run_sync(os.path.realpath, path))
        mode = (await anyio.Path(path).stat()).st_mode
        if not stat.S_ISREG(mode):
            raise ImportFailed(path, _what_it_is(path, mode))
        with anyio.CancelScope(shield=True):  # a file that a cancelled task opened would have no owner
            file = await open_bytes(path)
        return path, file
    except OSError as error:
        raise ImportFailed(path, os_reason(error)) from error
    except ValueError as error:  # a NUL in the name
        raise ImportFailed(path, f"it cannot be read: {error}") from error


def _what_it_is(path: Path, mode: int) -> str:
    if not stat.S_ISDIR(mode):
        return "it is no regular file"
    return "it is a folder" if os.access(path, os.R_OK | os.X_OK) else "it is a folder that may not be read"


async def close(file: ByteFile) -> None:
    """Close a file, also when this task is being cancelled."""
    with anyio.CancelScope(shield=True):
        await file.close()


def os_reason(error: OSError) -> str:
    """Say why the file cannot be read."""
    return f"it cannot be read: {error.strerror or error}"


async def digests(file: ByteFile, marks: Iterable[int]) -> dict[int, str]:
    """Return the BLAKE3, in hex, of the file's first so many bytes for each of ``marks`` that the file reaches."""
    await file.seek(0)
    found: dict[int, str] = {}
    hasher, done = blake3(), 0
    left = sorted(marks, reverse=True)
    chunks = Chunks(file, end=left[0] if left else 0)
    while chunk := await chunks.read():
        start = 0
        while left and left[-1] < done + len(chunk):
            mark = left.pop()
            hasher.update(chunk[start : mark - done])
            start = mark - done
            found[mark] = hasher.hexdigest()
        hasher.update(chunk[start:])
        done += len(chunk)
    for mark in left:
        if mark == done:
            found[mark] = hasher.hexdigest()
    return found
