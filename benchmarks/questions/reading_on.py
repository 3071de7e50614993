"""What does it cost to bring a kept fold up to date: to read what is new behind 1,000 records, and behind a million?

A reader keeps the position of the last record that it folded. A hundred records are appended, and it reads on from
there: it opens the log, finds its record at the end that it kept, and reads, verifies and decodes the hundred.
"""

import os
from contextlib import aclosing
from pathlib import Path

from sessionlog import FileStore, decode_entry, open_session

from .. import reading
from ..harness import Bench, Case, Contender, Question
from ..work import Stopwatch, StoredLog, bare_check, cut_back, entries

NAME = "reading-on"
NEW = 100
TIMES = 20


async def cases(bench: Bench) -> list[Case]:
    short = await bench.shop.log(min(1000, bench.plan.stored_records))
    long = await bench.shop.log(bench.plan.big_records)
    contenders = [_read_on(long), _read_on(short), _bare(long)]
    return [Case(NAME, f"bring a kept fold up to date, {NEW} new records", "µs", "less", contenders)]


def name_of(records: int) -> str:
    """Return what the reading behind so many records is called."""
    return f"sessionlog, behind {records:,} records"


def _read_on(log: StoredLog) -> Contender:
    async def measure(_folder: Path) -> float:
        with cut_back(log.path):
            async with FileStore(log.store, "os") as store:
                position = await store.read_position(log.session_id)
                await (await open_session(store, log.session_id)).append_all(entries(NEW))
            async with FileStore(log.store) as store:
                watch = Stopwatch()
                for _ in range(TIMES):
                    found = 0
                    async with aclosing(store.read(log.session_id, after=position)) as records:
                        async for record in records:
                            found += record.entry is not None
                    assert found == NEW
                return watch.seconds / TIMES * 1e6

    return Contender(name_of(log.records), "ours", measure, reading.VERIFIED)


def _bare(log: StoredLog) -> Contender:
    async def measure(_folder: Path) -> float:
        end = log.size
        with cut_back(log.path):
            async with FileStore(log.store, "os") as store:
                await (await open_session(store, log.session_id)).append_all(entries(NEW))
            watch = Stopwatch()
            for _ in range(TIMES):
                file = os.open(log.path, os.O_RDONLY)
                data = os.pread(file, os.fstat(file).st_size - end, end)
                os.close(file)
                for line in data.splitlines(keepends=True):
                    bare_check(line)
                    decode_entry(line)
            return watch.seconds / TIMES * 1e6

    return Contender("bare: read, slice, hash and decode what is new", "floor", measure, reading.VERIFIED)


QUESTION = Question(NAME, "What does it cost to bring a kept fold up to date?", cases)
