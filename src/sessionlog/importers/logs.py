"""Logs of sessionlog itself, from another store, an export or a backup: their records come as they are.

A log is read twice. The first reading verifies it whole and compares it with what the store holds under its session id,
which the first record names, whatever the file is called. One chain must be a beginning of the other: a longer log
brings what is new, a shorter one nothing, and a log that parts from the store's is refused (:class:`LogForked`).
The second reading commits, a chunk at a time, so an import that was interrupted goes on where it stopped. Bytes and
hashes stay; nothing in the store is ever replaced.
"""

import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ..binding import bound_session
from ..errors import CorruptLog
from ..ids import Head, SessionId
from ..record import HashedEntry
from ..scanner import LogScanner
from ..store import Store
from .contained import contained
from .deleted import Deleted, report_deleted
from .lines import ByteFile, Chunks
from .marks import Prefixes
from .report import ImportedSession, ImportFailed, ImportReport, NotUnderstood
from .source import Meter, Recheck, close, open_regular

LOG_FORMAT_NAME: Final = "sessionlog"
"""The ``format`` in the report of a log of ours."""
TRACE_REASON: Final = "it is the raw trace of the log beside it"
TRACE_SUFFIX: Final = ".trace.jsonl"
_LOOKED_AT_BYTES: Final = 4096
_MEMBERS: Final = (b'"hash"', b'"prev_hash"', b'"seq"', b'"session_start"')
_FORMAT: Final = re.compile(rb'"format" ?: ?"sessionlog/')


class LogForked(ImportFailed):
    """The log and the store's session of the same id part; nothing was written.

    They are equal before record ``parted_at``. ``here`` is the head of the store's session, ``there`` that of the log.
    """

    def __init__(self, path: Path, session_id: SessionId, *, here: Head, there: Head, parted_at: int) -> None:
        """Keep both heads and where the chains part."""
        self.session_id = session_id
        self.here = here
        self.there = there
        self.parted_at = parted_at
        super().__init__(
            path,
            f"session {session_id} is in the store already, and differs from record {parted_at} on: the store has "
            f"{_told(here)}, the file has {_told(there)}; nothing was written: import it into another store",
        )


def is_trace(path: Path) -> bool:
    """Tell whether ``path`` is the raw trace that lies beside a log."""
    if not path.name.endswith(TRACE_SUFFIX):
        return False
    return path.with_name(path.name.removesuffix(TRACE_SUFFIX) + ".jsonl").exists()


async def is_log(path: Path) -> bool:
    """Tell whether the file begins as a log of ours, were it damaged. Raises :class:`ImportFailed`."""
    path, file = await open_regular(path)
    try:
        with contained(path):
            start = (await file.read(_LOOKED_AT_BYTES)).partition(b"\n")[0]
    finally:
        await close(file)
    return all(member in start for member in _MEMBERS) and _FORMAT.search(start) is not None


async def import_log(
    store: Store,
    path: Path,
    *,
    progress: Callable[[int], None] | None = None,
    deleted: Deleted | None = None,
) -> ImportReport:
    """Bring the session whose log lies at ``path``, or what is new in it; ``progress`` counts the file's bytes.

    A session that was ``deleted`` from ``store`` is passed over, as :func:`import_transcript` does.

    Raises :class:`LogForked`; :class:`ImportFailed` for a log that cannot be read or is broken, before anything is
    written; and whatever the store raises.
    """
    path, file = await open_regular(path)
    try:
        with contained(path):
            meter = Meter(progress)
            log = await _verify(file, path, store, meter)
            if log.session_id is None or log.head is None:
                raise ImportFailed(path, "the log holds no whole record")
            deleted = deleted or Deleted(store)
            await deleted.settle(log.session_id)
            if await deleted.among([log.session_id]):
                meter.finish(log.prefixes.size)
                return report_deleted(path, log.session_id, format_name=LOG_FORMAT_NAME, size=log.prefixes.size)
            receipts = await deleted.nonces([log.session_id])
            here = await store.read_head(log.session_id) if await store.exists(log.session_id) else None
            if not await _is_one_chain(store, file, log.session_id, here, log.head):
                parted_at = await _parting(store, file, log.session_id)
                assert here is not None  # noqa: S101 - nothing parts from nothing
                raise LogForked(path, log.session_id, here=here, there=log.head, parted_at=parted_at)
            before = 0 if here is None else here.seq + 1
            added = max(0, log.head.seq + 1 - before)
            if added:
                await _copy(store, file, log, path, meter, after=before - 1)
                if here is None and await deleted.undo({log.session_id: log.head}, receipts):
                    return report_deleted(path, log.session_id, format_name=LOG_FORMAT_NAME, size=log.prefixes.size)
            meter.finish(log.prefixes.size)
    finally:
        await close(file)
    return ImportReport(
        path=path,
        bytes_read=log.prefixes.size,
        format=LOG_FORMAT_NAME,
        session_id=log.session_id,
        live_session_id=log.session_id,
        sessions=[ImportedSession(session_id=log.session_id, role="main", made=here is None, records_added=added)],
        imported=log.head.seq + 1,
        imported_before=log.head.seq + 1 - added,
        waiting=log.waiting,
        unchanged=not added,
        older_copy=before > log.head.seq + 1,
    )


@dataclass
class _Log:
    """What the first reading found."""

    prefixes: Prefixes = field(default_factory=Prefixes)
    session_id: SessionId | None = None
    head: Head | None = None
    end: int = 0
    waiting: list[NotUnderstood] = field(default_factory=list)


async def _verify(file: ByteFile, path: Path, store: Store, meter: Meter) -> _Log:
    """Read the log and check every record of it."""
    log = _Log()
    scanner = LogScanner(line_bytes_max=store.line_bytes_max)
    chunks = Chunks(file)
    try:
        while chunk := await chunks.read():
            log.prefixes.take(chunk, consumed=scanner.offset)
            records = scanner.feed(chunk)
            if log.session_id is None and records:
                binding = bound_session(records[0].line)
                log.session_id = None if binding is None else binding[1]
            meter.advance(len(chunk))
    except CorruptLog as error:
        raise ImportFailed(path, f"the log is broken, and nothing of it was imported: {error}") from error
    log.head, log.end = scanner.head, scanner.offset
    if scanner.torn_bytes:
        reason = f"{scanner.torn_bytes} bytes behind the last whole record, which no LF ends: they wait"
        log.waiting.append(NotUnderstood(scanner.seq + 1, reason))
    return log


async def _is_one_chain(store: Store, file: ByteFile, session_id: SessionId, here: Head | None, there: Head) -> bool:
    """Tell whether one chain is a beginning of the other: the shorter one's last record is in the longer one."""
    if here is None or here == there:
        return True
    if here.seq >= there.seq:
        async with aclosing(store.read(session_id, after=there.seq - 1 if there.seq else None)) as records:
            async for record in records:
                return record.hash == there.hash
        return False
    async with aclosing(_records(file, store.line_bytes_max)) as records:
        async for record in records:
            if record.seq == here.seq:
                return record.hash == here.hash
    return False


async def _parting(store: Store, file: ByteFile, session_id: SessionId) -> int:
    """Return the position of the first record that differs."""
    async with aclosing(store.read(session_id)) as ours, aclosing(_records(file, store.line_bytes_max)) as theirs:
        async for record in ours:
            other = await anext(theirs, None)
            if other is None or other.hash != record.hash:
                return record.seq
    return 0


async def _records(file: ByteFile, line_bytes_max: int) -> AsyncGenerator[HashedEntry, None]:
    """Stream the records of a log that was verified."""
    await file.seek(0)
    scanner, chunks = LogScanner(line_bytes_max=line_bytes_max), Chunks(file)
    while chunk := await chunks.read():
        for record in scanner.feed(chunk):
            yield record


async def _copy(store: Store, file: ByteFile, log: _Log, path: Path, meter: Meter, *, after: int) -> None:
    """Append the records behind position ``after``, a commit for each chunk that was read as it was the first time."""
    await file.seek(0)
    recheck = Recheck(path, log.prefixes, log.end)
    scanner = LogScanner(line_bytes_max=store.line_bytes_max)
    chunks = Chunks(file, end=log.end)
    while chunk := await chunks.read():
        recheck.take(chunk)
        records = [record for record in scanner.feed(chunk) if record.seq > after]
        if records and log.session_id is not None:
            await store.append(log.session_id, *records)
        meter.advance(len(chunk))
    recheck.finish()


def _told(head: Head) -> str:
    return f"{head.seq + 1} records, the last {head.hash[:12]}…"
