"""How long does it take to open a store with 100,000 sessions: to list them, and to append to one of them?"""

import os
from pathlib import Path

from sessionlog import FileStore, SessionId, SessionStartState, create_session_with_id, open_session

from .. import peers
from ..harness import Bench, Case, Contender, Question
from ..peers import KILLED_CHAINED
from ..work import Stopwatch, entry

NAME = "listing"
BARE = "bare loop: scandir, stat, sort"


async def cases(bench: Bench) -> list[Case]:
    count = bench.plan.listed_sessions
    root = bench.shop.folder / "many"
    async with FileStore(root, "os") as store:
        for number in range(count):
            await create_session_with_id(store, SessionId(f"session-{number:07d}"), SessionStartState())
    some = SessionId(f"session-{count // 2:07d}")
    listing = [_list(root, count), bare_list(root, count), _sqlite(bench.shop.folder, count)]
    return [
        Case(f"{NAME}/list", f"open a store, list its {count:,} sessions", "ms", "less", listing),
        Case(f"{NAME}/append", f"open a store of {count:,} sessions, append once", "ms", "less", [_append(root, some)]),
    ]


def _list(root: Path, count: int) -> Contender:
    async def measure(_folder: Path) -> float:
        watch = Stopwatch()
        async with FileStore(root) as store:
            found = await store.list_sessions()
        seconds = watch.seconds
        assert len(found) == count
        return seconds * 1000

    return Contender("sessionlog, last written first", "ours", measure)


def bare_list(root: Path, count: int) -> Contender:
    """Return the floor of any answer about ``count`` sessions: the look at each file."""

    async def measure(_folder: Path) -> float:
        watch = Stopwatch()
        with os.scandir(root) as found:
            dated = sorted((-entry.stat(follow_symlinks=False).st_mtime_ns, entry.name) for entry in found)
        seconds = watch.seconds
        assert len(dated) == count
        return seconds * 1000

    return Contender(BARE, "floor", measure)


def _sqlite(folder: Path, count: int) -> Contender:
    path = folder / "sessions.db"
    with peers.sqlite_table(path, "OFF") as database:
        database.execute("CREATE TABLE session (id TEXT PRIMARY KEY, updated INTEGER)")
        database.execute("CREATE INDEX session_updated ON session (updated, id)")
        database.execute("BEGIN")
        rows = ((f"session-{number:07d}", number) for number in range(count))
        database.executemany("INSERT INTO session VALUES (?, ?)", rows)
        database.execute("COMMIT")

    async def measure(_folder: Path) -> float:
        watch = Stopwatch()
        with peers.sqlite_table(path, "NORMAL") as database:
            found = database.execute("SELECT id FROM session ORDER BY updated DESC").fetchall()
        seconds = watch.seconds
        assert len(found) == count
        return seconds * 1000

    return Contender("sqlite3, an index kept at each append", "peer", measure)


def _append(root: Path, session_id: str) -> Contender:
    async def measure(_folder: Path) -> float:
        watch = Stopwatch()
        async with FileStore(root, "os") as store:
            await (await open_session(store, session_id)).append(entry())
        return watch.seconds * 1000

    return Contender("sessionlog", "ours", measure, KILLED_CHAINED)


QUESTION = Question(NAME, "How long does it take to open a store with many sessions?", cases)
