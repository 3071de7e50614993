"""Files that commands read and write.

Reading: regular files only, and no more of them than asked for. Writing: whole or not at all, and for the user alone,
as the logs are that they come from.
"""

import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import mkstemp

import anyio
import anyio.to_thread

from .output import Refused


async def read_beginning(path: Path, *, size_bytes: int) -> bytes:
    """Return the first ``size_bytes`` of a file, or all of a shorter one.

    Raises :class:`Refused` for what is no regular file, without waiting for it; and ``OSError``.
    """
    return await anyio.to_thread.run_sync(_read_beginning, path, size_bytes)


def _read_beginning(path: Path, size_bytes: int) -> bytes:
    # opening a FIFO would wait for its writer
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Refused(f"{path} is no regular file")
        return file.read(size_bytes)


@asynccontextmanager
async def replacing(path: Path) -> AsyncIterator[Path]:
    """Yield a new file beside ``path``; when the block ends well it takes the place of ``path``.

    The file is flushed to the disk, and then its directory, so that power loss leaves the old content or the new.

    If the block raises, ``path`` stays as it was. A symbolic link stays and its target is replaced. Raises
    :class:`Refused` for what is no regular file.
    """
    target = Path(await anyio.Path(path).resolve())
    with suppress(FileNotFoundError):
        if not stat.S_ISREG((await anyio.Path(target).stat()).st_mode):
            raise Refused(f"{path} is no regular file: name another, or pipe standard output into it")
    if not await anyio.Path(target.parent).is_dir():
        raise Refused(f"{path}: there is no directory {target.parent}")
    temporary = Path(await anyio.to_thread.run_sync(_make_beside, target))
    try:
        yield temporary
        await anyio.to_thread.run_sync(_flush, temporary)
        await anyio.Path(temporary).replace(target)
        await anyio.to_thread.run_sync(_flush, target.parent)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _make_beside(target: Path) -> str:
    fd, name = mkstemp(prefix=f".{target.name[:100]}.", suffix=f".tmp{target.suffix[:16]}", dir=target.parent)
    os.close(fd)
    return name


def _flush(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
