"""The seam to the operating system: every call that the file store makes, and nothing else.

The store never calls ``os`` for files but through a :class:`System`. Tests hand in one whose N-th call fails, is
cut short, or kills the process; programs never need to.
"""

import contextlib
import errno
import functools
import os
import sys
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

import anyio.to_thread

from .forking import close_noted, open_noted

try:
    import fcntl
except ImportError:  # Windows: FileStore refuses before any of this is called
    fcntl = None  # type: ignore[assignment]

P = ParamSpec("P")
T = TypeVar("T")
_SYNCFS_REPORTS_ERRORS: Final = (5, 8)
"""Since this Linux version, syncfs() returns the errors of writing back; before, it says 0 whatever happened."""
_RWF_NOWAIT: Final[int] = getattr(os, "RWF_NOWAIT", 0)
"""Linux 4.14 and newer."""


class System:
    """The calls as the platform has them. Each raises ``OSError``; interrupted ones are retried by Python (PEP 475)."""

    tells_cached: bool = _RWF_NOWAIT != 0
    """Whether :meth:`pread_cached` is worth asking: False where the system, or the file system, cannot tell."""

    is_inline: bool = False
    """Whether :meth:`in_thread` runs the call where it is."""

    async def in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call that may wait for the disk beside the event loop, and return what it returns."""
        return await anyio.to_thread.run_sync(functools.partial(call, *args, **kwargs))

    def open(self, path: str, flags: int, mode: int = 0o600) -> int:
        """Open; never inherited by children, never the controlling terminal, never waiting for a FIFO's other end."""
        return open_noted(path, flags | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK, mode)

    def close(self, fd: int) -> None:
        """Close."""
        close_noted(fd)

    def fstat(self, fd: int) -> os.stat_result:
        """Status of an open file."""
        return os.fstat(fd)

    def lstat(self, path: str) -> os.stat_result:
        """Status of what the path names, symlinks not followed."""
        return os.lstat(path)

    def fchmod(self, fd: int, mode: int) -> None:
        """Set the permissions."""
        os.fchmod(fd, mode)

    def mkdir(self, path: str, mode: int) -> None:
        """Make a directory."""
        os.mkdir(path, mode)
        os.chmod(path, mode)  # whatever the umask

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        """Read up to ``size`` bytes at ``offset``."""
        return os.pread(fd, size, offset)

    def pread_cached(self, fd: int, size: int, offset: int) -> bytes | None:
        """Read ``size`` bytes at ``offset`` if they lie in memory, else ``None``; see :attr:`tells_cached`.

        Never raises: what keeps it from reading, :meth:`pread` tells.
        """
        buffer = bytearray(size)
        try:
            return bytes(buffer) if os.preadv(fd, [buffer], offset, _RWF_NOWAIT) == size else None
        except BlockingIOError:
            return None
        except (OSError, NotImplementedError):  # a file system that knows no such thing, a sandbox that forbids it
            self.tells_cached = False
            return None

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Write; may write less than asked."""
        return os.write(fd, data)

    def ftruncate(self, fd: int, size: int) -> None:
        """Cut the file to ``size`` bytes."""
        os.ftruncate(fd, size)

    def rename(self, path: str, new_path: str) -> None:
        """Give a file another name, in place of what has that."""
        os.rename(path, new_path)

    def list_names(self, path: str) -> list[str]:
        """Return the names in a directory, in any order."""
        return os.listdir(path)

    def unlink(self, path: str) -> None:
        """Remove a name."""
        os.unlink(path)

    def try_lock(self, fd: int) -> bool:
        """Take the exclusive advisory lock of the open file, if it is free.

        ``flock`` belongs to the open file, not to the process: closing another descriptor of the same file does not
        lose it, and two stores in one process exclude each other.
        """
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def try_share(self, fd: int) -> bool:
        """Take the shared advisory lock of the open file, if no writer has it."""
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(self, fd: int) -> None:
        """Let go of the lock."""
        fcntl.flock(fd, fcntl.LOCK_UN)

    def flush(self, fd: int) -> None:
        """Return once the file's data, and the size needed to read it, is on the medium."""
        if sys.platform == "darwin":  # there, fsync stops at the drive's cache
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
        else:
            os.fdatasync(fd)

    def flush_directory(self, path: str) -> None:
        """Return once the names in the directory are on the medium."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def flush_file_system(self, fd: int) -> bool:
        """Flush the whole file system of ``fd`` in one call; False where the platform has none that reports errors."""
        syncfs = _load_syncfs()
        if syncfs is None:
            return False
        syncfs(fd)
        return True


class InlineSystem(System):
    """Calls that the event loop waits for: for a process that reads logs and has nothing else to do meanwhile.

    The way to a thread and back takes longer than reading a small log does.
    """

    is_inline = True

    async def in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the call here and now."""
        return call(*args, **kwargs)


class _SyncFs:
    """``syncfs(2)``, which Python's ``os`` does not offer."""

    def __init__(self) -> None:
        import ctypes  # noqa: PLC0415 - costs import time, and only batches over many files need it

        self._ctypes = ctypes
        self._call = ctypes.CDLL(None, use_errno=True).syncfs

    def __call__(self, fd: int) -> None:
        if self._call(fd) != 0:
            number = self._ctypes.get_errno() or errno.EIO
            raise OSError(number, os.strerror(number))


_syncfs: _SyncFs | None = None


def _load_syncfs() -> _SyncFs | None:
    global _syncfs  # noqa: PLW0603 - loaded once, on first need
    if _syncfs is None and sys.platform == "linux":
        version = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])
        if version >= _SYNCFS_REPORTS_ERRORS:
            with contextlib.suppress(ImportError, AttributeError):  # a Python without ctypes, a libc without syncfs
                _syncfs = _SyncFs()
    return _syncfs
