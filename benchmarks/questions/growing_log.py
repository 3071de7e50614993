"""Does an append cost more as the log grows: behind 1,000 records and behind a million?

Warm: the session is open and has been appended to. Cold: a program starts, opens the store and the session, and appends
once. langgraph-ledger, which reads a whole log to open it, is measured behind the short log only. Each measurement
finds the log as long as it was.
"""

from pathlib import Path

import msgspec

from sessionlog import FileStore, open_session

from .. import peers
from ..harness import Bench, Case, Contender, Question
from ..peers import KILLED_CHAINED
from ..work import Stopwatch, StoredLog, cut_back, entries, entry

NAME = "growing-log"
COLD_TIMES = 20


async def cases(bench: Bench) -> list[Case]:
    short = await bench.shop.log(min(1000, bench.plan.stored_records))
    long = await bench.shop.log(bench.plan.big_records)
    count = bench.plan.os_appends // 4
    warm = [_warm(log, count) for log in (long, short)]
    cold = [_cold(log) for log in (long, short)]
    title = f"behind {long.records:,} records against behind {short.records:,}"
    inserts = [_sqlite(bench.shop.folder, log.records, max(1, count // 4)) for log in (long, short)]
    ledger = [_ledger(bench.shop.folder, short.records)] if peers.is_installed(peers.LEDGER.needs) else []
    return [
        Case(f"{NAME}/warm", f'append, "os", {title}', "µs", "less", [*warm, *inserts]),
        Case(f"{NAME}/cold", f'open and append once, "os", {title}', "µs", "less", [*cold, *ledger]),
    ]


def _name(records: int) -> str:
    return f"behind {records:,} records"


def _warm(log: StoredLog, count: int) -> Contender:
    async def measure(_folder: Path) -> float:
        with cut_back(log.path):
            return await append()

    async def append() -> float:
        async with FileStore(log.store, "os") as store:
            session = await open_session(store, log.session_id)
            await session.append(entry())
            work = entries(count)
            watch = Stopwatch()
            for one in work:
                await session.append(one)
            return watch.seconds / count * 1e6

    return Contender(f"sessionlog, {_name(log.records)}", "ours", measure, KILLED_CHAINED)


def _cold(log: StoredLog) -> Contender:
    async def measure(_folder: Path) -> float:
        with cut_back(log.path):
            watch = Stopwatch()
            for one in entries(COLD_TIMES):
                async with FileStore(log.store, "os") as store:
                    await (await open_session(store, log.session_id)).append(one)
            return watch.seconds / COLD_TIMES * 1e6

    return Contender(f"sessionlog, {_name(log.records)}", "ours", measure, KILLED_CHAINED)


def _sqlite(folder: Path, records: int, count: int) -> Contender:
    path = folder / f"messages-{records}.db"
    data = msgspec.json.encode(peers.ENTRY)
    with peers.sqlite_table(path, "OFF") as database:
        database.execute("BEGIN")
        rows = (("one", data) for _ in range(records))
        database.executemany("INSERT INTO message (session, data) VALUES (?, ?)", rows)
        database.execute("COMMIT")

    async def measure(_folder: Path) -> float:
        with peers.sqlite_table(path, "NORMAL") as database:
            watch = Stopwatch()
            for _ in range(count):
                row = ("one", msgspec.json.encode(peers.ENTRY))
                database.execute("INSERT INTO message (session, data) VALUES (?, ?)", row)
            return watch.seconds / count * 1e6

    return Contender(f"{peers.SQLITE_NORMAL.name}, {_name(records)}", "peer", measure, peers.SQLITE_NORMAL.promise)


def _ledger(folder: Path, records: int) -> Contender:
    recorder = peers.load("langgraph_ledger").TraceRecorder(folder / "ledger", "growing")
    for _ in range(records):
        recorder.append("message", peers.MESSAGE)

    async def measure(_folder: Path) -> float:
        watch = Stopwatch()
        peers.load("langgraph_ledger").TraceRecorder(folder / "ledger", "growing").append("message", peers.MESSAGE)
        return watch.seconds * 1e6

    return Contender(f"{peers.LEDGER.name}, {_name(records)}", "peer", measure, peers.LEDGER.promise)


QUESTION = Question(NAME, "Does an append cost more as the log grows?", cases)
