"""Appending one record after the other: by the library and by the peers; the bare loops are in ``bare_appending``.

Sessions are made and opened, and entries made, before the clock starts; encoding an entry counts.
"""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import anyio

from sessionlog import (
    Durability,
    FileStore,
    LogEntry,
    SessionId,
    SessionLog,
    SessionStartState,
    create_session_with_id,
    link,
)

from .harness import Contender, Measure, Promise
from .peers import KILLED_CHAINED, POWER_CHAINED, Append, AppendNow, AsyncPeer, BlockingPeer
from .work import Stopwatch, entries

LIBRARY: Final = "sessionlog"
STORE: Final = "sessionlog, FileStore.append alone"
PROMISE: Final[dict[Durability, Promise]] = {"os": KILLED_CHAINED, "disk": POWER_CHAINED}


def library(durability: Durability, *, sessions: int, each: int) -> Contender:
    """Append through ``SessionLog.append``, what a runtime awaits."""

    async def measure(folder: Path) -> float:
        async with FileStore(folder, durability) as store:
            logs = await _create_all(store, sessions)
            work = entries(each)
            watch = Stopwatch()
            await at_once([_append_each(log, work) for log in logs])
            return watch.rate(sessions * each)

    return Contender(LIBRARY, "ours", measure, PROMISE[durability])


def store_alone(durability: Durability, *, sessions: int, each: int) -> Contender:
    """Append records that were linked beforehand."""

    async def append_each(store: FileStore, log: SessionLog, work: Sequence[LogEntry]) -> Callable[[], Awaitable[None]]:
        records = []
        head = log.head
        for entry in work:
            record = link(head, entry)
            records.append(record)
            head = record.head

        async def run() -> None:
            for record in records:
                await store.append(log.session_id, record)

        return run

    async def measure(folder: Path) -> float:
        async with FileStore(folder, durability) as store:
            logs = await _create_all(store, sessions)
            runs = [await append_each(store, log, entries(each)) for log in logs]
            watch = Stopwatch()
            await at_once([run() for run in runs])
            return watch.rate(sessions * each)

    return Contender(STORE, "ours", measure, PROMISE[durability])


def peer(peer: AsyncPeer | BlockingPeer, *, sessions: int, each: int) -> Contender:
    """Append by a peer: one that blocks session after session in turn, others all at once."""
    measure: Measure
    if isinstance(peer, AsyncPeer):
        opened = peer.open

        async def measure(folder: Path) -> float:
            async with opened(folder, sessions) as append:
                watch = Stopwatch()
                await at_once([_await_each(append, number, each) for number in range(sessions)])
                return watch.rate(sessions * each)
    else:
        opened_now = peer.open

        async def measure(folder: Path) -> float:
            async with opened_now(folder, sessions) as append:
                watch = Stopwatch()
                _call_each(append, sessions, each)
                return watch.rate(sessions * each)

    return Contender(peer.name, "peer", measure, peer.promise)


async def at_once(work: Sequence[Awaitable[None]]) -> None:
    """Await one on the spot, several as tasks."""
    if len(work) == 1:
        await work[0]
        return
    async with anyio.create_task_group() as tasks:
        for one in work:
            tasks.start_soon(_wait, one)


async def _wait(one: Awaitable[None]) -> None:
    await one


async def _create_all(store: FileStore, count: int) -> list[SessionLog]:
    logs: list[SessionLog] = []

    async def create(number: int) -> None:
        logs.append(await create_session_with_id(store, SessionId(f"session-{number}"), SessionStartState()))

    await at_once([create(number) for number in range(count)])
    return logs


async def _append_each(log: SessionLog, work: Sequence[LogEntry]) -> None:
    for entry in work:
        await log.append(entry)


async def _await_each(append: Append, number: int, each: int) -> None:
    for _ in range(each):
        await append(number)


def _call_each(append: AppendNow, sessions: int, each: int) -> None:
    for _ in range(each):
        for number in range(sessions):
            append(number)
