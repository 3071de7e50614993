"""Reading a stored log: the bare loops, and the peers with as many messages in them."""

import json
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from sessionlog import decode_entry

from . import peers
from .harness import Contender, Promise
from .work import Stopwatch, StoredLog, bare_check, entries

VERIFIED: Final = Promise(chained=True, verified=True)
UNVERIFIED: Final = Promise(chained=True, verified=False)
PLAIN: Final = Promise(chained=False, verified=False)

SLICE_AND_HASH: Final = "bare loop: slice, hash"
HASH_AND_DECODE: Final = "bare loop: slice, hash, decode"
HASH_DECODE_ENCODE: Final = "bare loop: slice, hash, decode, encode, compare"
JSON_LOADS: Final = "bare loop: json.loads of each line"
BUFFER_BYTES: Final = 2**20


def slice_and_hash(log: StoredLog) -> Contender:
    """Slice and hash each line; the links between them are not looked at."""

    async def measure(_folder: Path) -> float:
        watch = Stopwatch()
        with log.path.open("rb", buffering=BUFFER_BYTES) as file:
            for line in file:
                bare_check(line)
        return watch.rate(log.records)

    return Contender(SLICE_AND_HASH, "floor", measure, VERIFIED)


def hash_and_decode(log: StoredLog) -> Contender:
    """Slice, hash and decode each line, and keep what it says."""

    async def measure(_folder: Path) -> float:
        found = []
        watch = Stopwatch()
        with log.path.open("rb", buffering=BUFFER_BYTES) as file:
            for line in file:
                bare_check(line)
                found.append(decode_entry(line))
        return watch.rate(log.records)

    return Contender(HASH_AND_DECODE, "floor", measure, VERIFIED)


def hash_decode_encode(log: StoredLog) -> Contender:
    """The same, and see that the line is what the entry is written as, which an audit has to."""

    async def measure(_folder: Path) -> float:
        watch = Stopwatch()
        with log.path.open("rb", buffering=BUFFER_BYTES) as file:
            for line in file:
                bare_check(line)
                if not line.endswith(msgspec.json.encode(decode_entry(line))[1:] + b"\n"):
                    raise ValueError("the line is written otherwise")
        return watch.rate(log.records)

    return Contender(HASH_DECODE_ENCODE, "kept", measure, VERIFIED)


def json_loads(log: StoredLog) -> Contender:
    """Parse each line, and keep what it says; nothing is verified."""

    async def measure(_folder: Path) -> float:
        found = []
        watch = Stopwatch()
        with log.path.open("rb", buffering=BUFFER_BYTES) as file:
            for line in file:
                found.append(json.loads(line))  # noqa: PERF401 - as the others do it
        return watch.rate(log.records)

    return Contender(JSON_LOADS, "floor", measure, UNVERIFIED)


async def agents(folder: Path, records: int) -> Contender | None:
    """All items of an openai-agents session."""
    if not peers.is_installed(peers.AGENTS.needs):
        return None
    path = folder / "agents-to-read.db"
    session = peers.load("agents").SQLiteSession("one", path)
    for start in range(0, records, 1000):
        await session.add_items([peers.MESSAGE] * min(1000, records - start))
    session.close()

    async def measure(_folder: Path) -> float:
        opened = peers.load("agents").SQLiteSession("one", path)
        try:
            watch = Stopwatch()
            items = await opened.get_items()
            rate = watch.rate(records)
        finally:
            opened.close()
        return _checked(rate, len(items), records)

    return Contender(peers.AGENTS.name, "peer", measure, PLAIN)


async def eventsourcing(folder: Path, records: int) -> Contender | None:
    """All events of an eventsourcing aggregate, their state decoded by json as its default transcoder does."""
    if not peers.is_installed(peers.EVENTSOURCING.needs):
        return None
    path = folder / "events-to-read.db"
    stored_event = peers.load("eventsourcing.persistence").StoredEvent
    aggregate = uuid.uuid4()
    state = msgspec.json.encode(peers.ENTRY)
    with peers.eventsourcing_recorder(path) as recorder:
        recorder.insert_events(
            [
                stored_event(originator_id=aggregate, originator_version=number, topic="message", state=state)
                for number in range(1, records + 1)
            ]
        )

    async def measure(_folder: Path) -> float:
        with peers.eventsourcing_recorder(path) as recorder:
            watch = Stopwatch()
            found = [json.loads(event.state) for event in recorder.select_events(aggregate)]
            return _checked(watch.rate(records), len(found), records)

    return Contender(peers.EVENTSOURCING.name, "peer", measure, PLAIN)


def sqlite(folder: Path, records: int) -> Contender:
    """All rows of a table, decoded by msgspec."""
    path = folder / "messages-to-read.db"
    with peers.sqlite_table(path, "OFF") as database:
        database.execute("BEGIN")
        rows = [("one", msgspec.json.encode(entry)) for entry in entries(records)]
        database.executemany("INSERT INTO message (session, data) VALUES (?, ?)", rows)
        database.execute("COMMIT")

    async def measure(_folder: Path) -> float:
        with peers.sqlite_table(path, "NORMAL") as database:
            watch = Stopwatch()
            rows = database.execute("SELECT data FROM message WHERE session = 'one' ORDER BY id").fetchall()
            found = [msgspec.json.decode(data) for (data,) in rows]
            return _checked(watch.rate(records), len(found), records)

    return Contender("sqlite3 rows, msgspec", "peer", measure, PLAIN)


def ledger_log(folder: Path, records: int) -> Path:
    """Write a log of langgraph-ledger; return its path."""
    recorder = peers.load("langgraph_ledger").TraceRecorder(folder / "ledger", f"of-{records}")
    for _ in range(records):
        recorder.append("message", peers.MESSAGE)
    return Path(recorder.path)


def ledger(path: Path, records: int, name: str, run: Callable[[Any, Path], object], promise: Promise) -> Contender:
    """Measure what langgraph-ledger does with a log."""

    async def measure(_folder: Path) -> float:
        module = peers.load("langgraph_ledger")
        watch = Stopwatch()
        run(module, path)
        return watch.rate(records)

    return Contender(name, "peer", measure, promise)


def timed(name: str, run: Callable[[], Awaitable[int]], records: int, promise: Promise = VERIFIED) -> Contender:
    """Measure what the library does; ``run`` returns how many records it met, the session's start among them."""

    async def measure(_folder: Path) -> float:
        watch = Stopwatch()
        met = await run()
        return _checked(watch.rate(records), met, records + 1)

    return Contender(name, "ours", measure, promise)


def _checked(figure: float, met: int, wanted: int) -> float:
    if met != wanted:
        raise RuntimeError(f"{met} records were read, not {wanted}")
    return figure
