"""How long does it take to look up the last 20 records of a log nobody has open, of 1 MB and of 1 GB?

The library opens the log, reads its end, checks the hashes and the links of what it returns, and that the first record
binds the log to its session. It should cost about what looking up the head does, and not grow with the log.
"""

import os
from pathlib import Path

from sessionlog import FileStore, decode_entry

from .. import reading
from ..harness import Bench, Case, Contender, Question
from ..work import Stopwatch, StoredLog, bare_check
from .head import LOOKS, head_of, megabytes

NAME = "tail"
COUNT = 20
HEAD = "sessionlog, its head alone"
_TAIL_BYTES = 32 * 1024


async def cases(bench: Bench) -> list[Case]:
    short = await bench.shop.log(min(1000, bench.plan.stored_records))
    long = await bench.shop.log(bench.plan.big_records)
    contenders = [_tail(long), head_of(long)._replace(name=HEAD), _tail(short), _bare(long)]
    title = f"the last {COUNT} records, decoded, of {megabytes(long)}"
    return [Case(NAME, title, "µs", "less", contenders)]


def _tail(log: StoredLog) -> Contender:
    async def measure(_folder: Path) -> float:
        async with FileStore(log.store) as store:
            watch = Stopwatch()
            for _ in range(LOOKS):
                records = await store.read_tail(log.session_id, COUNT)
                assert all(record.entry for record in records)
                assert len(records) == COUNT
            return watch.seconds / LOOKS * 1e6

    return Contender(f"sessionlog, {megabytes(log)}", "ours", measure, reading.VERIFIED)


def _bare(log: StoredLog) -> Contender:
    async def measure(_folder: Path) -> float:
        watch = Stopwatch()
        for _ in range(LOOKS):
            file = os.open(log.path, os.O_RDONLY)
            size = os.fstat(file).st_size
            data = os.pread(file, min(size, _TAIL_BYTES), max(0, size - _TAIL_BYTES))
            os.close(file)
            for line in data.splitlines(keepends=True)[-COUNT:]:
                bare_check(line)
                decode_entry(line)
        return watch.seconds / LOOKS * 1e6

    return Contender("bare: the last 32 KiB, hashed and decoded", "floor", measure, reading.VERIFIED)


QUESTION = Question(NAME, f"How long does it take to look up the last {COUNT} records of a log?", cases)
