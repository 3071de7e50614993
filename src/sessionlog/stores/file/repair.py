"""Repair of a torn tail, the one damage that a crash leaves (FORMAT section 6).

Only the next writer repairs, holding the lock. A last line that is whole and valid but lacks its LF gets the LF.
Anything else behind the last LF is first copied to a file of its own, flushed together with its name, and only then
cut. Killed at any step, the next writer does the same again; whatever an earlier repair kept is never overwritten.
"""

import itertools
import os
from collections.abc import Callable
from functools import partial
from typing import Final

from ...chain import LogScanner
from ...errors import CorruptLog
from ...ids import Head
from .layout import Layout, store_failed
from .system import System

_CHUNK_BYTES: Final = 1024 * 1024


def repair_tail(
    system: System,
    layout: Layout,
    fd: int,
    session_id: str,
    *,
    head: Head | None,
    end: int,
    size: int,
    line_bytes_max: int,
) -> tuple[Head | None, int]:
    """Mend the log open at ``fd``: whole records up to ``end`` with ``head``, then bytes up to ``size`` without an LF.

    Returns the head and size that the log has then. Raises ``OSError``, and :class:`StoreFailed` for a failed flush;
    nothing is lost then.
    """
    if size - end <= line_bytes_max:
        scanner = LogScanner(session_id, head=head, offset=end, line_bytes_max=line_bytes_max)
        try:
            scanner.check(_read_range(system, fd, end, size))
        except CorruptLog:
            pass  # an unfinished record, or zero-filled pages: set aside below
        else:
            write_all(system, fd, b"\n")
            _flush(partial(system.flush, fd), layout, session_id)
            return scanner.head, scanner.offset
    _set_aside(system, layout, fd, session_id, end=end, size=size)
    system.ftruncate(fd, end)
    _flush(partial(system.flush, fd), layout, session_id)
    return head, end


def write_all(system: System, fd: int, data: bytes) -> None:
    """Write all of ``data``, also when the system takes it in pieces."""
    written = system.write(fd, data)
    if written < len(data):
        rest = memoryview(data)[written:]
        while rest:
            rest = rest[system.write(fd, rest) :]


def _set_aside(system: System, layout: Layout, fd: int, session_id: str, *, end: int, size: int) -> None:
    for attempt in itertools.count(1):
        copy = system.open(layout.torn_path(session_id, end, attempt), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            if _copy(system, fd, copy, end, size):
                _flush(partial(system.flush, copy), layout, session_id)
                break
        finally:
            layout.close(copy)
    _flush(partial(system.flush_directory, os.fspath(layout.root)), layout, session_id)


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
    for offset in range(0, kept, _CHUNK_BYTES):
        until = min(kept, offset + _CHUNK_BYTES)
        if _read_range(system, copy, offset, until) != _read_range(system, fd, end + offset, end + until):
            return False
    system.fchmod(copy, 0o600)
    system.ftruncate(copy, 0)
    for offset in range(end, size, _CHUNK_BYTES):
        write_all(system, copy, _read_range(system, fd, offset, min(size, offset + _CHUNK_BYTES)))
    return True


def _read_range(system: System, fd: int, start: int, end: int) -> bytes:
    parts: list[bytes] = []
    while start < end:
        part = system.pread(fd, end - start, start)
        if not part:
            break
        parts.append(part)
        start += len(part)
    return b"".join(parts)
