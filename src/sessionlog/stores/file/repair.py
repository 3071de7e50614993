"""Repair of a torn tail, the one damage that a crash leaves (FORMAT section 6).

Only the next writer repairs, holding the lock. What stands behind the last LF no reader counts, so no writer does: it
is copied to a file of its own, flushed together with its name, and only then cut, also where it is a whole record that
lacks its LF. Killed at any step, the next writer does the same again; whatever an earlier repair kept is never
overwritten, and a name that is taken by anything else is passed over.
"""

import errno
import itertools
import os
import stat
from collections.abc import Callable
from functools import partial
from typing import Final

from .layout import Layout, logger, store_failed
from .spans import CHUNK_BYTES, append_span, read_span
from .system import System

_TAKEN: Final = (errno.EACCES, errno.EISDIR, errno.ELOOP, errno.ENOENT, errno.ENXIO, errno.EPERM)
"""What opening a file for the bytes set aside fails with where something else has its name."""


def cut_tail(system: System, layout: Layout, fd: int, session_id: str, *, end: int, size: int) -> None:
    """Set the bytes from ``end`` to ``size`` of the log open at ``fd`` aside and cut them.

    Raises ``OSError``, and :class:`StoreFailed` for a failed flush; nothing is lost then.
    """
    set_aside(system, layout, fd, session_id, end=end, size=size)
    system.ftruncate(fd, end)
    _flush(partial(system.flush, fd), layout, session_id)
    logger.info("%s: set %d bytes from byte %d on aside", layout.log_path(session_id), size - end, end)


def set_aside(system: System, layout: Layout, fd: int, session_id: str, *, end: int, size: int) -> str:
    """Copy the bytes from ``end`` to ``size`` to a file beside the log and return its path, once it is durable."""
    paths = (layout.torn_path(session_id, end, attempt) for attempt in itertools.count(1))
    path = next(path for path in paths if _keep(system, layout, fd, session_id, path, end=end, size=size))
    _flush(partial(system.flush_directory, os.fspath(layout.root)), layout, session_id)
    return path


def _keep(system: System, layout: Layout, fd: int, session_id: str, path: str, *, end: int, size: int) -> bool:
    """Copy the bytes from ``end`` to ``size`` to ``path``, flushed; False if the name is taken, also by other bytes."""
    copy = _open_copy(system, layout, path)
    if copy is None:
        return False
    try:
        if not _copy(system, fd, copy, end, size):
            return False
        _flush(partial(system.flush, copy), layout, session_id)
    finally:
        layout.close(copy)
    return True


def _open_copy(system: System, layout: Layout, path: str) -> int | None:
    """Open a new file at ``path``, or the one that an earlier repair left; ``None`` if the name is taken."""
    try:
        return system.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        pass
    try:
        copy = system.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in _TAKEN:
            return None
        raise
    try:
        ours = _is_ours(system.fstat(copy))
    except OSError:
        layout.close(copy)
        raise
    if not ours:
        layout.close(copy)
        return None
    return copy


def _is_ours(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_uid == os.geteuid()


def _flush(flush: Callable[[], None], layout: Layout, session_id: str) -> None:
    """Flush; where that fails, what is on the disk is unknown, and the log is closed for writing."""
    try:
        flush()
    except OSError as error:
        reason = "the flush of a repair failed: close the store, open it again and read the log"
        raise store_failed(error, layout.log_path(session_id), reason, poisoned=True) from error


def _copy(system: System, fd: int, copy: int, end: int, size: int) -> bool:
    """Copy bytes ``end`` to ``size`` into the file ``copy``; False if that holds other bytes, which stay."""
    kept = system.fstat(copy).st_size
    if kept > size - end:
        return False
    for offset in range(0, kept, CHUNK_BYTES):
        until = min(kept, offset + CHUNK_BYTES)
        if read_span(system, copy, offset, until) != read_span(system, fd, end + offset, end + until):
            return False
    system.fchmod(copy, 0o600)
    system.ftruncate(copy, 0)
    append_span(system, fd, end, size, copy)
    return True
