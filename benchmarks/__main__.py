"""What the library costs over the bare loop that does the same work with nothing around it.

    python -m benchmarks            about a minute
    python -m benchmarks --quick    a few seconds, rough

Each row measures the library and its floor, the bare loop, in turn: round after round, so that whatever else the
machine does falls on both. The medians are printed. Only the ratios travel to other machines; take them on a quiet one.
This reports and never fails: it is no test.
"""

import argparse
import gc
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

import anyio
import msgspec
from blake3 import blake3

from sessionlog import (
    Durability,
    FileStore,
    HashedEntry,
    SessionId,
    SessionLog,
    SessionStartState,
    UserInput,
    create_session_with_id,
    new_session_id,
    now_ms,
    user_message,
    verify_session,
)

TEXT = "x" * 850  # makes a record of about 1 KiB
WRITE = "encode, hash, write"
FLUSH = "encode, hash, write, fdatasync"

Timed: TypeAlias = Callable[[Path], Awaitable[float]]
"""Works in an empty folder, or over the log that was prepared, and returns the seconds that it took."""


class Plan(NamedTuple):
    """How much to do."""

    rounds: int
    os_appends: int
    disk_appends: int
    session_count: int
    stored_records: int


FULL = Plan(rounds=5, os_appends=20_000, disk_appends=500, session_count=64, stored_records=50_000)
QUICK = Plan(rounds=3, os_appends=2_000, disk_appends=50, session_count=64, stored_records=5_000)


class Row(NamedTuple):
    """One comparison: so many operations by the library, and by the bare loop, which does ``bare`` for each."""

    name: str
    bare: str
    operations: int
    library: Timed
    floor: Timed


class Result(NamedTuple):
    """Operations per second, medians."""

    name: str
    bare: str
    library_per_s: float
    floor_per_s: float


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="sessionlog against the bare loop.")
    parser.add_argument("--quick", action="store_true", help="a few seconds, rough figures")
    parser.add_argument("--dir", type=Path, help="work below this directory (default: the current one, not /tmp)")
    options = parser.parse_args()
    plan = QUICK if options.quick else FULL
    with tempfile.TemporaryDirectory(prefix="sessionlog-bench-", dir=options.dir or Path.cwd()) as folder:
        show(list(anyio.run(run, plan, Path(folder))))


async def run(plan: Plan, folder: Path) -> list[Result]:
    """Measure every row."""
    store = folder / "stored"
    stored = await prepare(store, plan.stored_records)
    return [await measure(row, plan.rounds, folder) for row in rows(plan, store, stored)]


def rows(plan: Plan, store: Path, stored: SessionId) -> Iterator[Row]:
    """Yield what is compared."""
    per_session = max(1, plan.os_appends // plan.session_count)
    yield Row(
        'append, "os", 1 session',
        WRITE,
        plan.os_appends,
        partial(append, durability="os", session_count=1, each=plan.os_appends),
        partial(bare_append, session_count=1, each=plan.os_appends, flush=False),
    )
    yield Row(
        f'append, "os", {plan.session_count} sessions at once',
        WRITE,
        per_session * plan.session_count,
        partial(append, durability="os", session_count=plan.session_count, each=per_session),
        partial(bare_append, session_count=plan.session_count, each=per_session, flush=False),
    )
    yield Row(
        'append, "disk", 1 session',
        FLUSH,
        plan.disk_appends,
        partial(append, durability="disk", session_count=1, each=plan.disk_appends),
        partial(bare_append, session_count=1, each=plan.disk_appends, flush=True),
    )
    per_session = max(1, plan.disk_appends * 4 // plan.session_count)
    yield Row(
        f'append, "disk", {plan.session_count} sessions at once',
        FLUSH,
        per_session * plan.session_count,
        partial(append, durability="disk", session_count=plan.session_count, each=per_session),
        partial(bare_append, session_count=plan.session_count, each=per_session, flush=True),
    )
    count = plan.stored_records + 1
    path = store / f"{stored}.jsonl"
    yield Row(
        "verify a log",
        "slice, hash",
        count,
        partial(verify, store=store, session_id=stored),
        partial(bare_verify, path=path),
    )
    yield Row(
        "read_all, decode",
        "slice, hash",
        count,
        partial(read_and_decode, store=store, session_id=stored),
        partial(bare_verify, path=path),
    )


async def measure(row: Row, rounds: int, folder: Path) -> Result:
    """Run library and floor in turn; return the medians."""
    library: list[float] = []
    floor: list[float] = []
    for _ in range(rounds):
        for timed, seconds in ((row.library, library), (row.floor, floor)):
            with tempfile.TemporaryDirectory(dir=folder) as empty:
                gc.collect()
                seconds.append(await timed(Path(empty)))
    return Result(
        row.name,
        row.bare,
        library_per_s=row.operations / statistics.median(library),
        floor_per_s=row.operations / statistics.median(floor),
    )


async def prepare(store: Path, count: int) -> SessionId:
    """Write the log that is verified and read."""
    session_id = new_session_id()
    async with FileStore(store, durability="os") as file_store:
        log = await create_session_with_id(file_store, session_id, SessionStartState())
        for start in range(0, count, 1000):
            await log.append_all(entry() for _ in range(min(1000, count - start)))
    return session_id


def entry() -> UserInput:
    return UserInput(ts=now_ms(), item=user_message(TEXT))


# The library.


async def append(folder: Path, *, durability: Durability, session_count: int, each: int) -> float:
    """Append ``each`` entries, one at a time, to every session, all sessions at once."""
    async with FileStore(folder, durability=durability) as store:
        logs = [
            await create_session_with_id(store, new_session_id(), SessionStartState()) for _ in range(session_count)
        ]
        start = time.perf_counter()
        if session_count == 1:
            await append_each(logs[0], each)
        else:
            async with anyio.create_task_group() as tasks:
                for log in logs:
                    tasks.start_soon(append_each, log, each)
        return time.perf_counter() - start


async def append_each(log: SessionLog, count: int) -> None:
    for _ in range(count):
        await log.append(entry())


async def verify(_folder: Path, *, store: Path, session_id: SessionId) -> float:
    """Check every record of the log."""
    async with FileStore(store) as file_store:
        start = time.perf_counter()
        report = await verify_session(file_store, session_id)
        seconds = time.perf_counter() - start
    assert report.ok
    return seconds


async def read_and_decode(_folder: Path, *, store: Path, session_id: SessionId) -> float:
    """Read every record of the log, verified, and decode it."""
    async with FileStore(store) as file_store:
        start = time.perf_counter()
        records: Sequence[HashedEntry] = await file_store.read_all(session_id)
        for record in records:
            record.entry  # noqa: B018 - decodes
        return time.perf_counter() - start


# The floor: the same work with nothing around it. It checks nothing, and knows nothing of other writers.


async def bare_append(folder: Path, *, session_count: int, each: int, flush: bool) -> float:
    """Encode, hash and write each entry, session after session in turn; flush after each write if ``flush``."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    files = [os.open(folder / str(number), flags, 0o600) for number in range(session_count)]
    previous = [b"0" * 64] * session_count
    encode = msgspec.json.Encoder().encode
    prepared = blake3(derive_key_context="sessionlog v1 record")
    start = time.perf_counter()
    for seq in range(each):
        for number, file in enumerate(files):
            payload = b'"prev_hash":"%s","seq":%d,%s' % (previous[number], seq, encode(entry())[1:])
            hasher = prepared.copy()
            hasher.update(payload)
            previous[number] = hasher.hexdigest().encode()
            os.write(file, b'{"hash":"%s",%s\n' % (previous[number], payload))
            if flush:
                os.fdatasync(file)
    seconds = time.perf_counter() - start
    for file in files:
        os.close(file)
    return seconds


async def bare_verify(_folder: Path, *, path: Path) -> float:
    """Slice and hash each line."""
    prepared = blake3(derive_key_context="sessionlog v1 record")
    start = time.perf_counter()
    with path.open("rb") as file:
        for line in file:
            hasher = prepared.copy()
            hasher.update(line[75:-1])
            assert hasher.hexdigest().encode() == line[9:73]
    return time.perf_counter() - start


# The table.


def show(results: Sequence[Result]) -> None:
    """Print the table, with rich if it is installed."""
    head = ("", "sessionlog", "bare loop", "ratio", "the bare loop does")
    cells = [
        (result.name, f"{result.library_per_s:,.0f}", f"{result.floor_per_s:,.0f}", ratio_text(result), result.bare)
        for result in results
    ]
    try:
        from rich.console import Console  # noqa: PLC0415 - only if the extra `cli` is there
        from rich.table import Table  # noqa: PLC0415
    except ImportError:
        widths = [max(len(row[column]) for row in (head, *cells)) for column in range(len(head))]
        print("operations per second, records of 1 KiB")
        for row in (head, *cells):
            print("  ".join(f"{cell:{'>' if 0 < n < 4 else '<'}{widths[n]}}" for n, cell in enumerate(row)).rstrip())
        return
    table = Table(title="operations per second, records of 1 KiB")
    for title in head:
        table.add_column(title, justify="right" if title in head[1:4] else "left")
    for row in cells:
        table.add_row(*row)
    Console().print(table)


def ratio_text(result: Result) -> str:
    return f"{result.library_per_s / result.floor_per_s:.2f}"


if __name__ == "__main__":
    main()
