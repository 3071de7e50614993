"""Deletion of a session: its log, its trace, and whatever a repair set aside.

Under the log's lock, in this order: the path must name the locked file, and its head must be the one expected; the
files beside the log are removed, then the log's name, and the directory is flushed. Only then is the file cut to
nothing, through its descriptor, for whoever else has it open keeps its bytes on the disk. So a crash at any moment
leaves the log whole or gone, never an empty file in its place. An append needs the same lock: either its record is part
of the head that was expected, or it finds the session gone.
"""

import contextlib
import os

from ...errors import HeadConflict, SessionNotFound
from ...ids import Head
from .layout import Layout, logger, store_failed
from .system import System
from .tail import read_tail


def delete_log(layout: Layout, system: System, session_id: str, expected: Head | None, *, line_bytes_max: int) -> bool:
    """Delete a session whose head is ``expected``; False, with nothing done, while another has the lock.

    Raises as :meth:`FileStore.delete_session`.
    """
    fd, _ = layout.open_to_write(session_id)
    try:
        if not system.try_lock(fd) or not _remove(
            layout, system, fd, session_id, expected, line_bytes_max=line_bytes_max
        ):
            return False
        _settle(layout, system, fd, session_id)
    except OSError as error:
        path = layout.log_path(session_id)
        raise store_failed(error, path, "cannot delete the session, its log is as it was") from error
    finally:
        layout.close(fd)
    logger.info("%s: deleted", layout.log_path(session_id))
    return True


def _remove(
    layout: Layout, system: System, fd: int, session_id: str, expected: Head | None, *, line_bytes_max: int
) -> bool:
    """Under the lock: remove the names; False if the log was replaced between opening and locking it."""
    path = layout.log_path(session_id)
    try:
        named = system.lstat(path)
    except FileNotFoundError:
        raise SessionNotFound(session_id) from None
    locked = system.fstat(fd)
    if (named.st_dev, named.st_ino) != (locked.st_dev, locked.st_ino):
        return False
    found = read_tail(system, fd, session_id, locked.st_size, line_bytes_max=line_bytes_max).head
    if found != expected:
        raise HeadConflict(session_id, expected=expected, found=found)
    for beside in layout.files_beside(session_id):
        with contextlib.suppress(FileNotFoundError):
            system.unlink(beside)
    system.unlink(path)
    return True


def _settle(layout: Layout, system: System, fd: int, session_id: str) -> None:
    """Make it durable that the names are gone; only then give the space back."""
    try:
        system.flush_directory(os.fspath(layout.root))
    except OSError as error:
        reason = "the session is deleted, but it may be back after a power loss: flushing the directory failed"
        raise store_failed(error, layout.log_path(session_id), reason, poisoned=True) from error
    with contextlib.suppress(OSError):  # no name leads here any more; the space is free when the last one closes it
        system.ftruncate(fd, 0)
