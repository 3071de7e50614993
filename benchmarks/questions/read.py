"""How many records a second can be read: all at once, streamed, folded into the state that a run resumes from?

The library verifies what it reads and decodes every entry. The floors are three: hashing alone, hashing and decoding,
and `json.loads` without verifying anything, which is what most programs do with a transcript.
"""

from contextlib import aclosing

from sessionlog import FileStore, restore

from .. import peers, reading
from ..harness import Bench, Case, Contender, Question, installed
from ..work import StoredLog

NAME = "read"


async def cases(bench: Bench) -> list[Case]:
    log = await bench.shop.log(bench.plan.stored_records)
    few = max(1, log.records // 5)
    floors = [reading.json_loads(log), reading.hash_and_decode(log), reading.slice_and_hash(log)]
    others = [
        reading.sqlite(bench.shop.folder, few),
        await reading.agents(bench.shop.folder, few),
        await reading.eventsourcing(bench.shop.folder, few),
    ]
    if peers.is_installed(peers.LEDGER.needs):
        path = reading.ledger_log(bench.shop.folder, few)
        others.append(
            reading.ledger(
                path, few, "langgraph-ledger read_log", lambda ledger, p: list(ledger.read_log(p)), reading.UNVERIFIED
            )
        )
    return [
        _case("read_all", "read_all, verified, every entry decoded", [_read_all(log), *floors, *installed(others)]),
        _case("stream", "read, streamed, verified, every entry decoded", [_read(log), *floors]),
        _case("restore", "restore: the state that a run resumes from", [_restore(log), *floors]),
    ]


def _case(name: str, title: str, contenders: list[Contender]) -> Case:
    return Case(f"{NAME}/{name}", title, "records/s", "more", contenders)


def _read_all(log: StoredLog) -> Contender:
    async def run() -> int:
        async with FileStore(log.store) as store:
            records = await store.read_all(log.session_id)
            for record in records:
                record.entry  # noqa: B018 - decodes
            return len(records)

    return reading.timed("sessionlog", run, log.records)


def _read(log: StoredLog) -> Contender:
    async def run() -> int:
        count = 0
        async with FileStore(log.store) as store, aclosing(store.read(log.session_id)) as records:
            async for record in records:
                record.entry  # noqa: B018 - decodes
                count += 1
        return count

    return reading.timed("sessionlog", run, log.records)


def _restore(log: StoredLog) -> Contender:
    async def run() -> int:
        async with FileStore(log.store) as store:
            state = await restore(store, log.session_id)
        return len(state.history) + 1

    return reading.timed("sessionlog", run, log.records)


QUESTION = Question(NAME, "How many records a second can be read, verified?", cases)
