"""Descriptors that a forked child lets go of at once.

A lock (``flock``) belongs to the open file, and a forked child has that file open as well: if its parent is killed in
the middle of a commit, the lock would stay taken for as long as the child lives. ``O_CLOEXEC`` helps against ``exec``
alone. So what the file store opens is noted here, and closed in a child before anything else runs there. That takes no
lock from the parent: only the last descriptor of an open file does.
"""

import contextlib
import os
import threading

_opened: set[int] = set()
_forking = threading.RLock()
"""Held for the time of a fork and while a descriptor is opened or closed: none is opened but not noted in a child."""


def open_noted(path: str, flags: int, mode: int) -> int:
    """Open a file as ``os.open`` does."""
    with _forking:
        fd = os.open(path, flags, mode)
        _opened.add(fd)
    return fd


def close_noted(fd: int) -> None:
    """Close a descriptor; it is gone whatever the system says."""
    with _forking:
        _opened.discard(fd)
        os.close(fd)


def _let_go() -> None:
    for fd in _opened:
        with contextlib.suppress(OSError):
            os.close(fd)
    _opened.clear()
    _forking.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_forking.acquire, after_in_parent=_forking.release, after_in_child=_let_go)
