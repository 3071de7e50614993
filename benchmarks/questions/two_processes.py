"""How many appends a second by two processes together: each to a session of its own, and both to the same one?

On the same session, appends have to chain onto those of the other process: a writer that meets ``HeadConflict`` opens
the session anew and appends again, and that counts. The floor locks, reads the last record's hash, encodes, hashes,
writes and unlocks, in two processes too.
"""

from pathlib import Path

from sessionlog import Durability, FileStore, SessionId, SessionStartState, create_session_with_id

from .. import peers
from ..appending import LIBRARY, PROMISE
from ..children import Child, seconds_of
from ..harness import Bench, Case, Contender, Question

NAME = "two-processes"


async def cases(bench: Bench) -> list[Case]:
    plan = bench.plan
    counts: dict[Durability, int] = {"os": plan.os_appends // 4, "disk": plan.slow_appends}
    return [
        _case(durability, sessions, count)
        for durability, count in counts.items()
        for sessions in (("one", "two"), ("one", "one"))
    ]


def _case(durability: Durability, sessions: tuple[str, str], count: int) -> Case:
    sqlite, synchronous = (peers.SQLITE_NORMAL, "NORMAL") if durability == "os" else (peers.SQLITE_FULL, "FULL")
    contenders = [
        _library(durability, sessions, count),
        _bare(durability, sessions, count),
        _sqlite(sqlite, synchronous, sessions, max(1, count // 4)),
    ]
    name, which = ("same", "one session") if len(set(sessions)) == 1 else ("own", "each its own session")
    title = f'append, "{durability}", 2 processes, {which}'
    return Case(f"{NAME}/{durability}-{name}", title, "appends/s", "more", contenders)


def _library(durability: Durability, sessions: tuple[str, str], count: int) -> Contender:
    async def measure(folder: Path) -> float:
        async with FileStore(folder, durability) as store:
            for session in set(sessions):
                await create_session_with_id(store, SessionId(session), SessionStartState())
        children = [Child("append", str(folder), session, durability, str(count)) for session in sessions]
        return 2 * count / seconds_of(children)

    return Contender(LIBRARY, "ours", measure, PROMISE[durability])


def _bare(durability: Durability, sessions: tuple[str, str], count: int) -> Contender:
    async def measure(folder: Path) -> float:
        children = [Child("bare_append", str(folder / session), durability, str(count)) for session in sessions]
        return 2 * count / seconds_of(children)

    flush = ", fdatasync" if durability == "disk" else ""
    return Contender(f"bare loops: lock, read the end, write{flush}", "floor", measure, PROMISE[durability])


def _sqlite(peer: peers.BlockingPeer, synchronous: str, sessions: tuple[str, str], count: int) -> Contender:
    async def measure(folder: Path) -> float:
        path = folder / "messages.db"
        with peers.sqlite_table(path, synchronous):
            pass
        children = [Child("insert", str(path), session, synchronous, str(count)) for session in sessions]
        return 2 * count / seconds_of(children)

    return Contender(peer.name, "peer", measure, peer.promise)


QUESTION = Question(NAME, "How many appends a second by two processes together?", cases)
