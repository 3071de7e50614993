"""Repair of a damaged log, asked for by a person (FORMAT section 6): the damaged part is kept aside and cut.

Under the log's lock, in this order: everything from the first bad record on is copied to a file of its own and flushed;
the good records, and one more that says what was cut, are written to a new file and flushed; that takes the log's name.
So a crash leaves the log as it was or repaired, and the evidence is there before it leaves the log. A repair that was
killed is done again from the start.
"""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
from blake3 import blake3

from ...chain import link
from ...entries import Extension
from ...errors import CorruptLog, StoreFailed
from ...ids import Head
from .damage import DamagedPart, find_damaged_part
from .layout import Layout, logger, store_failed
from .repair import set_aside
from .spans import CHUNK_BYTES, append_span, read_span, write_all
from .system import System

REPAIR_DOMAIN: Final = "sessionlog/repair"
"""The domain of the extension record that a repair leaves in the log."""


class Repair(msgspec.Struct, frozen=True, kw_only=True):
    """What a repair did: it cut ``part``, which is kept in ``file``; ``head`` is the record that says so.

    ``blake3`` is the hash of the bytes cut, as ``b3sum`` prints it of the file.
    """

    part: DamagedPart
    file: Path
    blake3: str
    head: Head


def repair_log(
    layout: Layout, system: System, session_id: str, *, line_bytes_max: int, clock: Callable[[], int]
) -> Repair | None:
    """Repair a session's log; ``None`` if its chain is whole. Raises ``BlockingIOError`` while another has the lock.

    Raises as :meth:`FileStore.repair`.
    """
    fd, status = layout.open_to_write(session_id)
    path = layout.log_path(session_id)
    try:
        if not system.try_lock(fd):
            raise BlockingIOError
        now = system.lstat(path)
        if (now.st_dev, now.st_ino) != (status.st_dev, status.st_ino):
            raise BlockingIOError  # replaced between opening and locking: open what is there now
        part = find_damaged_part(system, fd, session_id, now.st_size, line_bytes_max=line_bytes_max)
        if part is None:
            return None
        if part.head is None:
            raise _nothing_to_keep(part)
        if status.st_uid != os.geteuid():
            raise StoreFailed("the log belongs to another user: repair it as that user", path=Path(path))
        return _cut(layout, system, fd, part, clock=clock)
    except BlockingIOError:
        raise
    except OSError as error:
        raise store_failed(error, path, "cannot repair the log, it is as it was") from error
    finally:
        layout.close(fd)


def _cut(layout: Layout, system: System, fd: int, part: DamagedPart, *, clock: Callable[[], int]) -> Repair:
    end = part.offset + part.size
    aside = Path(set_aside(system, layout, fd, part.session_id, end=part.offset, size=end))
    hasher = blake3()
    for start in range(part.offset, end, CHUNK_BYTES):
        hasher.update(read_span(system, fd, start, min(end, start + CHUNK_BYTES)))
    said = {
        "offset": part.offset,
        "bytes": part.size,
        "file": aside.name,
        "blake3": hasher.hexdigest(),
        "damage": part.damage,
        "reason": part.reason,
        "whole_records": part.record_count,
        "nul_pages": part.nul_page_count,
    }
    record = link(part.head, Extension(ts=clock(), domain=REPAIR_DOMAIN, payload=said))
    _replace(layout, system, fd, part, record.line + b"\n")
    logger.info(
        "%s: cut at byte %d, %d bytes are in %s", layout.log_path(part.session_id), part.offset, part.size, aside.name
    )
    return Repair(part=part, file=aside, blake3=hasher.hexdigest(), head=record.head)


def _replace(layout: Layout, system: System, fd: int, part: DamagedPart, last_line: bytes) -> None:
    """Put the good part of the log, and ``last_line`` behind it, in the log's place."""
    path = layout.log_path(part.session_id)
    made = layout.repairing_path(part.session_id)
    with contextlib.suppress(FileNotFoundError):
        system.unlink(made)  # a repair was killed
    new = system.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        system.fchmod(new, 0o600)
        append_span(system, fd, 0, part.offset, new)
        write_all(system, new, last_line)
        system.flush(new)
        system.rename(made, path)
    except BaseException:
        with contextlib.suppress(OSError):
            system.unlink(made)
        raise
    finally:
        layout.close(new)
    try:
        system.flush_directory(os.fspath(layout.root))
    except OSError as error:
        reason = (
            "the log is repaired, but whether that survives a power loss is not known: flushing the directory failed"
        )
        raise store_failed(error, path, reason) from error


def _nothing_to_keep(part: DamagedPart) -> CorruptLog:
    return CorruptLog(
        f"{part.reason}; the first record is the damaged one, so there is nothing that a repair could keep: "
        "move the file away and keep it, and begin a new session",
        damage=part.damage,
        seq=part.seq,
        offset=part.offset,
        session_id=part.session_id,
    )
