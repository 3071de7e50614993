"""How long does it take to look up the head of a log nobody has open, of 1 MB and of 1 GB?

The floors read the last 16 KiB and hash the last record: on the event loop, and on a worker thread, the way to which is
most of what the library's look-up takes. langgraph-ledger reads the whole log; it is measured on 1 MB.
"""

import os
from pathlib import Path

import anyio.to_thread

from sessionlog import FileStore

from .. import peers, reading
from ..harness import Bench, Case, Contender, Question
from ..work import Stopwatch, StoredLog, bare_check

NAME = "head"
LOOKS = 200


async def cases(bench: Bench) -> list[Case]:
    short = await bench.shop.log(min(1000, bench.plan.stored_records))
    long = await bench.shop.log(bench.plan.big_records)
    contenders = [head_of(long), head_of(short), _bare(long), _bare_in_thread(long)]
    if peers.is_installed(peers.LEDGER.needs):
        contenders.append(_ledger(bench.shop.folder, short.records))
    title = f"read_head of {megabytes(long)} against {megabytes(short)}"
    return [Case(NAME, title, "µs", "less", contenders)]


def megabytes(log: StoredLog) -> str:
    """Return the log's size as it is spoken of."""
    return f"{log.records / 1000:,.0f} MB" if log.records >= 1000 else f"{log.records} kB"


def head_of(log: StoredLog) -> Contender:
    """Return how long the library takes to look up the head of a log that is not open."""

    async def measure(_folder: Path) -> float:
        async with FileStore(log.store) as store:
            watch = Stopwatch()
            for _ in range(LOOKS):
                await store.read_head(log.session_id)
            return watch.seconds / LOOKS * 1e6

    return Contender(f"sessionlog, {megabytes(log)}", "ours", measure, reading.VERIFIED)


def _look(path: Path) -> bytes:
    file = os.open(path, os.O_RDONLY)
    size = os.fstat(file).st_size
    data = os.pread(file, min(size, 16 * 1024), max(0, size - 16 * 1024))
    os.close(file)
    line = data[data.rfind(b"\n", 0, -1) + 1 :]
    bare_check(line)
    return line[9:73]


def _bare(log: StoredLog) -> Contender:
    async def measure(_folder: Path) -> float:
        watch = Stopwatch()
        for _ in range(LOOKS):
            _look(log.path)
        return watch.seconds / LOOKS * 1e6

    return Contender(f"bare: the last 16 KiB, {megabytes(log)}", "floor", measure, reading.VERIFIED)


def _bare_in_thread(log: StoredLog) -> Contender:
    async def measure(_folder: Path) -> float:
        watch = Stopwatch()
        for _ in range(LOOKS):
            await anyio.to_thread.run_sync(_look, log.path)
        return watch.seconds / LOOKS * 1e6

    return Contender(f"bare: the same, in a thread, {megabytes(log)}", "floor", measure, reading.VERIFIED)


def _ledger(folder: Path, records: int) -> Contender:
    path = reading.ledger_log(folder, records)

    async def measure(_folder: Path) -> float:
        watch = Stopwatch()
        peers.load("langgraph_ledger").chain_head(path)
        return watch.seconds * 1e6

    name = f"langgraph-ledger chain_head, {records / 1000:,.1f} MB"
    return Contender(name, "peer", measure, reading.UNVERIFIED)


QUESTION = Question(NAME, "How long does it take to look up the head of a log?", cases)
