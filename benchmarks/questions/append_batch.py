"""How many records a second go in as batches of 100, one commit each?"""

import os
import uuid
from pathlib import Path

import msgspec

from sessionlog import Durability, FileStore, SessionStartState, create_session

from .. import peers
from ..appending import LIBRARY, PROMISE
from ..bare_appending import checked_record, write_locked
from ..harness import Bench, Case, Contender, Question
from ..work import GENESIS, Stopwatch, bare_record, entries, open_files

NAME = "append-batch"
BATCH = 100
CHECKED = "bare loop: encode, decode, hash, lock, look, one write, unlock"


async def cases(bench: Bench) -> list[Case]:
    count = bench.plan.batch_count
    os_case = [_library("os", count), _bare("os", count), _bare_checked(count)]
    os_case += [_sqlite(peers.SQLITE_NORMAL, "NORMAL", count), *_lmdb(count, sync=False)]
    disk_case = [_library("disk", count), _bare("disk", count), _sqlite(peers.SQLITE_FULL, "FULL", count)]
    disk_case += [*_lmdb(count, sync=True), *_agents(count), *_eventsourcing(count)]
    return [
        Case(f"{NAME}/os", f'append {BATCH} in one commit, "os", 1 session', "records/s", "more", os_case),
        Case(f"{NAME}/disk", f'append {BATCH} in one commit, "disk", 1 session', "records/s", "more", disk_case),
    ]


def _library(durability: Durability, count: int) -> Contender:
    async def measure(folder: Path) -> float:
        async with FileStore(folder, durability) as store:
            log = await create_session(store, SessionStartState())
            batch = entries(BATCH)
            watch = Stopwatch()
            for _ in range(count):
                await log.append_all(batch)
            return watch.rate(count * BATCH)

    return Contender(LIBRARY, "ours", measure, PROMISE[durability])


def _bare(durability: Durability, count: int) -> Contender:
    async def measure(folder: Path) -> float:
        batch = entries(BATCH)
        head, seq = GENESIS, 0
        with open_files(folder, 1) as (file,):
            watch = Stopwatch()
            for _ in range(count):
                lines = []
                for entry in batch:
                    head, line = bare_record(head, seq, entry)
                    lines.append(line)
                    seq += 1
                os.write(file, b"".join(lines))
                if durability == "disk":
                    os.fdatasync(file)
            return watch.rate(count * BATCH)

    flush = ", one fdatasync" if durability == "disk" else ""
    return Contender(f"bare loop: encode, hash, one write{flush}", "floor", measure, PROMISE[durability])


def _bare_checked(count: int) -> Contender:
    async def measure(folder: Path) -> float:
        batch = entries(BATCH)
        head, seq = GENESIS, 0
        with open_files(folder, 1) as (file,):
            path = str(folder / "0.jsonl")
            watch = Stopwatch()
            for _ in range(count):
                lines = []
                for entry in batch:
                    head, line = checked_record(head, seq, entry)
                    lines.append(line)
                    seq += 1
                write_locked(file, path, b"".join(lines))
            return watch.rate(count * BATCH)

    return Contender(CHECKED, "kept", measure, PROMISE["os"])


def _sqlite(peer: peers.BlockingPeer, synchronous: str, count: int) -> Contender:
    async def measure(folder: Path) -> float:
        batch = entries(BATCH)
        with peers.sqlite_table(folder / "messages.db", synchronous) as database:
            watch = Stopwatch()
            for _ in range(count):
                database.execute("BEGIN")
                rows = [("one", msgspec.json.encode(entry)) for entry in batch]
                database.executemany("INSERT INTO message (session, data) VALUES (?, ?)", rows)
                database.execute("COMMIT")
            return watch.rate(count * BATCH)

    return Contender(peer.name, "peer", measure, peer.promise)


def _lmdb(count: int, *, sync: bool) -> list[Contender]:
    peer = peers.LMDB_SYNCED if sync else peers.LMDB_UNSYNCED
    if not peers.is_installed(peer.needs):
        return []

    async def measure(folder: Path) -> float:
        batch = entries(BATCH)
        seq = 0
        with peers.lmdb_environment(folder / "lmdb", sync=sync) as environment:
            watch = Stopwatch()
            for _ in range(count):
                with environment.begin(write=True) as transaction:
                    for entry in batch:
                        seq += 1
                        transaction.put(b"%016d" % seq, msgspec.json.encode(entry), append=True)
            return watch.rate(count * BATCH)

    return [Contender(peer.name, "peer", measure, peer.promise)]


def _agents(count: int) -> list[Contender]:
    peer = peers.AGENTS
    if not peers.is_installed(peer.needs):
        return []

    async def measure(folder: Path) -> float:
        session = peers.load("agents").SQLiteSession("one", folder / "agents.db")
        batch = [peers.MESSAGE] * BATCH
        try:
            watch = Stopwatch()
            for _ in range(count):
                await session.add_items(batch)
            return watch.rate(count * BATCH)
        finally:
            session.close()

    return [Contender(peer.name, "peer", measure, peer.promise)]


def _eventsourcing(count: int) -> list[Contender]:
    peer = peers.EVENTSOURCING
    if not peers.is_installed(peer.needs):
        return []

    async def measure(folder: Path) -> float:
        stored_event = peers.load("eventsourcing.persistence").StoredEvent
        batch = entries(BATCH)
        aggregate = uuid.uuid4()
        version = 0
        with peers.eventsourcing_recorder(folder / "events.db") as recorder:
            watch = Stopwatch()
            for _ in range(count):
                events = []
                for entry in batch:
                    version += 1
                    state = msgspec.json.encode(entry)
                    events.append(
                        stored_event(originator_id=aggregate, originator_version=version, topic="message", state=state)
                    )
                recorder.insert_events(events)
            return watch.rate(count * BATCH)

    return [Contender(peer.name, "peer", measure, peer.promise)]


QUESTION = Question(NAME, "How many records a second go in as batches of 100, one commit each?", cases)
