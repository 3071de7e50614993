"""The peers, each as somebody would use it, opened on files in a folder, for appending to so many sessions.

What is not installed is skipped. A peer whose calls block is called on the event loop, where that is fastest for it;
``threaded`` calls it as a program that serves others meanwhile has to.

Modules of peers are imported by name, so that this file type-checks without them.
"""

import hashlib
import importlib
import importlib.util
import json
import sqlite3
import threading
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import aiofiles
import anyio.to_thread
import msgspec

from .harness import Promise
from .work import GENESIS, TEXT, entry

Append: TypeAlias = Callable[[int], Awaitable[object]]
"""Appends one message to the session of this number."""
AppendNow: TypeAlias = Callable[[int], object]

KILLED: Final = Promise(survives="a killed process", chained=False)
POWER: Final = Promise(survives="power loss", chained=False)
KILLED_CHAINED: Final = Promise(survives="a killed process", chained=True)
POWER_CHAINED: Final = Promise(survives="power loss", chained=True)

MESSAGE: Final = {"role": "user", "content": TEXT}
ENTRY: Final = entry()


class AsyncPeer(NamedTuple):
    """A peer that is awaited."""

    name: str
    needs: str
    promise: Promise
    open: Callable[[Path, int], AbstractAsyncContextManager[Append]]


class BlockingPeer(NamedTuple):
    """A peer that blocks."""

    name: str
    needs: str
    promise: Promise
    open: Callable[[Path, int], AbstractAsyncContextManager[AppendNow]]


def is_installed(module: str) -> bool:
    """Tell whether a module can be imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its parent package is not there
        return False


def load(module: str) -> Any:
    """Import a module that may not be there, untyped."""
    return importlib.import_module(module)


# openai-agents


@asynccontextmanager
async def _open_agents(folder: Path, sessions: int) -> AsyncIterator[Append]:
    session_class = load("agents").SQLiteSession
    logs = [session_class(f"session-{number}", folder / "agents.db") for number in range(sessions)]

    async def append(number: int) -> None:
        await logs[number].add_items([MESSAGE])

    try:
        yield append
    finally:
        for log in logs:
            log.close()


# langgraph


@asynccontextmanager
async def _open_langgraph(folder: Path, sessions: int) -> AsyncIterator[Append]:
    """A checkpoint an append, which holds the new message alone; a graph's own would hold the whole state."""
    empty_checkpoint = load("langgraph.checkpoint.base").empty_checkpoint
    saver_class = load("langgraph.checkpoint.sqlite.aio").AsyncSqliteSaver
    configs = [{"configurable": {"thread_id": f"session-{number}", "checkpoint_ns": ""}} for number in range(sessions)]
    async with saver_class.from_conn_string(str(folder / "checkpoints.db")) as saver:
        await saver.setup()

        async def append(number: int) -> None:
            checkpoint = empty_checkpoint()
            checkpoint["channel_values"] = {"messages": [MESSAGE]}
            configs[number] = await saver.aput(configs[number], checkpoint, {"source": "loop", "step": 0}, {})

        yield append


# eventsourcing


@asynccontextmanager
async def _open_eventsourcing(folder: Path, sessions: int) -> AsyncIterator[AppendNow]:
    with eventsourcing_recorder(folder / "events.db") as recorder:
        stored_event = load("eventsourcing.persistence").StoredEvent
        ids = [uuid.uuid4() for _ in range(sessions)]
        versions = [0] * sessions

        def append(number: int) -> None:
            versions[number] += 1
            state = msgspec.json.encode(ENTRY)
            event = stored_event(
                originator_id=ids[number], originator_version=versions[number], topic="message", state=state
            )
            recorder.insert_events([event])

        yield append


@contextmanager
def eventsourcing_recorder(path: Path) -> Iterator[Any]:
    """Open the recorder of eventsourcing over SQLite."""
    module = load("eventsourcing.sqlite")
    datastore = module.SQLiteDatastore(str(path))
    try:
        recorder = module.SQLiteAggregateRecorder(datastore)
        recorder.create_table()
        yield recorder
    finally:
        datastore.close()


# langgraph-ledger


@asynccontextmanager
async def _open_ledger(folder: Path, sessions: int) -> AsyncIterator[AppendNow]:
    recorder_class = load("langgraph_ledger").TraceRecorder
    recorders = [recorder_class(folder / "ledger", f"session-{number}") for number in range(sessions)]

    def append(number: int) -> None:
        recorders[number].append("message", MESSAGE)

    yield append


# sqlite3


@contextmanager
def sqlite_table(path: Path, synchronous: str) -> Iterator[sqlite3.Connection]:
    """Open a database in WAL mode with one table of messages."""
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=60)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA synchronous = {synchronous}")
        database.execute("CREATE TABLE IF NOT EXISTS message (id INTEGER PRIMARY KEY, session TEXT, data BLOB)")
        database.execute("CREATE INDEX IF NOT EXISTS message_session ON message (session, id)")
        yield database
    finally:
        database.close()


def _open_sqlite(synchronous: str) -> Callable[[Path, int], AbstractAsyncContextManager[AppendNow]]:
    @asynccontextmanager
    async def opened(folder: Path, sessions: int) -> AsyncIterator[AppendNow]:
        names = [f"session-{number}" for number in range(sessions)]
        with sqlite_table(folder / "messages.db", synchronous) as database:
            lock = threading.Lock()

            def append(number: int) -> None:
                data = msgspec.json.encode(ENTRY)
                with lock:
                    database.execute("INSERT INTO message (session, data) VALUES (?, ?)", (names[number], data))

            yield append

    return opened


# LMDB


@contextmanager
def lmdb_environment(path: Path, *, sync: bool) -> Iterator[Any]:
    """Open an LMDB environment of up to 8 GiB."""
    environment = load("lmdb").open(str(path), map_size=8 * 2**30, sync=sync, metasync=sync)
    try:
        yield environment
    finally:
        environment.close()


def _open_lmdb(*, sync: bool) -> Callable[[Path, int], AbstractAsyncContextManager[AppendNow]]:
    @asynccontextmanager
    async def opened(folder: Path, sessions: int) -> AsyncIterator[AppendNow]:
        with lmdb_environment(folder / "lmdb", sync=sync) as environment:
            seqs = [0] * sessions
            lock = threading.Lock()

            def append(number: int) -> None:
                data = msgspec.json.encode(ENTRY)
                with lock:
                    seqs[number] += 1
                    with environment.begin(write=True) as transaction:
                        transaction.put(b"%08d-%016d" % (number, seqs[number]), data, append=sessions == 1)

            yield append

    return opened


# JSON Lines through aiofiles, as one writes it on a first day: json, SHA-256, open, append, flush, close.


@asynccontextmanager
async def _open_naive(folder: Path, sessions: int) -> AsyncIterator[Append]:
    heads = [GENESIS.decode()] * sessions

    async def append(number: int) -> None:
        members = {"prev_hash": heads[number], **msgspec.to_builtins(ENTRY)}
        heads[number] = hashlib.sha256(json.dumps(members, sort_keys=True).encode()).hexdigest()
        line = json.dumps({"hash": heads[number], **members}) + "\n"
        async with aiofiles.open(folder / f"{number}.jsonl", "a", encoding="utf-8") as file:
            await file.write(line)
            await file.flush()

    yield append


def threaded(peer: BlockingPeer) -> AsyncPeer:
    """Return the peer with each call on a worker thread."""

    @asynccontextmanager
    async def opened(folder: Path, sessions: int) -> AsyncIterator[Append]:
        async with peer.open(folder, sessions) as append_now:

            async def append(number: int) -> None:
                await anyio.to_thread.run_sync(append_now, number)

            yield append

    return AsyncPeer(f"{peer.name}, in threads", peer.needs, peer.promise, opened)


AGENTS: Final = AsyncPeer("openai-agents SQLiteSession", "agents", POWER, _open_agents)
LANGGRAPH: Final = AsyncPeer("langgraph AsyncSqliteSaver", "langgraph.checkpoint.sqlite.aio", POWER, _open_langgraph)
NAIVE: Final = AsyncPeer("naive JSONL, aiofiles", "aiofiles", KILLED_CHAINED, _open_naive)
EVENTSOURCING: Final = BlockingPeer("eventsourcing SQLite recorder", "eventsourcing.sqlite", POWER, _open_eventsourcing)
LEDGER: Final = BlockingPeer("langgraph-ledger", "langgraph_ledger", KILLED_CHAINED, _open_ledger)
SQLITE_FULL: Final = BlockingPeer("sqlite3 WAL FULL", "sqlite3", POWER, _open_sqlite("FULL"))
SQLITE_NORMAL: Final = BlockingPeer("sqlite3 WAL NORMAL", "sqlite3", KILLED, _open_sqlite("NORMAL"))
LMDB_SYNCED: Final = BlockingPeer("LMDB synced", "lmdb", POWER, _open_lmdb(sync=True))
LMDB_UNSYNCED: Final = BlockingPeer("LMDB unsynced", "lmdb", KILLED, _open_lmdb(sync=False))

ALL: Final[Sequence[AsyncPeer | BlockingPeer]] = (
    AGENTS,
    LANGGRAPH,
    NAIVE,
    EVENTSOURCING,
    LEDGER,
    SQLITE_FULL,
    SQLITE_NORMAL,
    LMDB_SYNCED,
    LMDB_UNSYNCED,
)
