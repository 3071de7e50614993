"""The work that is measured: records of 1 KiB, the logs that are read, and the bare loops over them."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from blake3 import blake3

from sessionlog import (
    FileStore,
    LogEntry,
    SessionId,
    SessionStartState,
    UserInput,
    create_session_with_id,
    now_ms,
    user_message,
)

TEXT: Final = "x" * 740
"""Makes a record of 1,024 bytes, with its line feed."""
_BATCH: Final = 1000


def entry() -> UserInput:
    """Return one user message."""
    return UserInput(ts=now_ms(), item=user_message(TEXT))


def entries(count: int) -> list[LogEntry]:
    """Return user messages made beforehand: making them is the program's work, not the store's."""
    return [entry() for _ in range(count)]


class StoredLog(NamedTuple):
    """A log that lies in a store."""

    store: Path
    session_id: SessionId
    path: Path
    records: int

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self.path.stat().st_size


class Workshop:
    """Makes logs of a wanted length, each once a run."""

    def __init__(self, folder: Path, notify: Callable[[str], None]) -> None:
        """Work below ``folder``."""
        self.folder = folder
        self._notify = notify
        self._logs: dict[int, StoredLog] = {}
        self._small: Path | None = None

    async def log(self, records: int) -> StoredLog:
        """Return a log of ``records`` user messages behind its start."""
        if records not in self._logs:
            self._notify(f"writing a log of {records:,} records")
            self._logs[records] = await write_log(self.folder / f"log-{records}", records)
        return self._logs[records]

    async def small_sessions(self, count: int) -> Path:
        """Return a store of ``count`` sessions of three records each."""
        if self._small is None:
            self._notify(f"writing {count:,} small sessions")
            self._small = self.folder / "small-sessions"
            async with FileStore(self._small, durability="os") as store:
                for number in range(count):
                    session_id = SessionId(f"session-{number:07d}")
                    log = await create_session_with_id(store, session_id, SessionStartState())
                    await log.save_delta([user_message(f"What is the state of parcel {number}?")])
                    await log.save_usage(1, 1000, 0, 0, 50)
        return self._small


async def write_log(store: Path, records: int) -> StoredLog:
    """Write a log in batches."""
    session_id = SessionId("measured")
    batch = entries(min(_BATCH, records))
    async with FileStore(store, durability="os") as file_store:
        log = await create_session_with_id(file_store, session_id, SessionStartState())
        for start in range(0, records, _BATCH):
            await log.append_all(batch[: records - start])
    return StoredLog(store, session_id, store / f"{session_id}.jsonl", records)


@contextmanager
def cut_back(path: Path) -> Iterator[None]:
    """Take back what is appended meanwhile."""
    size = path.stat().st_size
    try:
        yield
    finally:
        os.truncate(path, size)


# The floors: the work of the format with nothing around it. They check nothing and know nothing of other writers.

_encode: Final = msgspec.json.Encoder().encode
_hasher: Final = blake3(derive_key_context="sessionlog v1 record")
GENESIS: Final = b"0" * 64


def bare_record(previous: bytes, seq: int, what: LogEntry) -> tuple[bytes, bytes]:
    """Encode and hash; return the record's hash, and its line with LF."""
    return bare_line(previous, seq, _encode(what))


def bare_line(previous: bytes, seq: int, encoded: bytes) -> tuple[bytes, bytes]:
    """Hash an entry that is encoded; return the record's hash, and its line with LF."""
    payload = b'"prev_hash":"%s","seq":%d,%s' % (previous, seq, encoded[1:])
    hasher = _hasher.copy()
    hasher.update(payload)
    hash_ = hasher.hexdigest().encode()
    return hash_, b'{"hash":"%s",%s\n' % (hash_, payload)


def bare_check(line: bytes) -> None:
    """Slice a line (with LF) and hash it."""
    hasher = _hasher.copy()
    hasher.update(line[75:-1])
    if hasher.hexdigest().encode() != line[9:73]:
        raise ValueError("the record was changed")


@contextmanager
def open_files(folder: Path, count: int) -> Iterator[list[int]]:
    """Open ``count`` files to append, whatever the limit for this process is at the moment."""
    with _many_descriptors(count):
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        files = [os.open(folder / f"{number}.jsonl", flags, 0o600) for number in range(count)]
        try:
            yield files
        finally:
            for file in files:
                os.close(file)


@contextmanager
def _many_descriptors(count: int) -> Iterator[None]:
    import resource  # noqa: PLC0415 - not on every platform

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = soft if soft == resource.RLIM_INFINITY else max(soft, count + 100)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Stopwatch:
    """Tells the seconds since it was made."""

    def __init__(self) -> None:
        """Start."""
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """The seconds so far."""
        return time.perf_counter() - self._start

    def rate(self, count: int) -> float:
        """Return ``count`` over the seconds so far."""
        return count / self.seconds
