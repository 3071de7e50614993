"""Histories: several processes append while faults come over their store, and at the end everything is accounted for.

A fault comes whenever so many more appends were acknowledged; nothing waits for a time. At the end, whatever was
acknowledged is in the logs once, whole, what was refused is in none, and what the store did not know is in once or not.
"""

import asyncio
import collections
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from sessionlog import CorruptLog, Extension, SessionStart, SessionStartState, Store, create_session_with_id

from .writer import Task

TESTS = Path(__file__).resolve().parent.parent
WAIT_S = 300
"""Only a failure takes so long."""

Fault = Callable[[], Awaitable[None]]


class Account(NamedTuple):
    """What a history came to: appends by how they ended, and what is wrong: nothing, if the store keeps its word."""

    fates: dict[str, int]
    wrong: list[str]


async def run_history(
    store: Store,
    make_store: str,
    where: dict[str, Any],
    faults: Sequence[Fault],
    *,
    seed: int,
    writers: int = 3,
    sessions: int = 3,
    acks: int = 60,
) -> Account:
    """Let ``writers`` processes append until each has ``acks``; bring one fault after the other over them; account."""
    names = [f"shared{number}" for number in range(sessions)]
    for name in names:
        await create_session_with_id(store, name, SessionStartState())
    tasks = [
        Task(name=f"w{n}", make_store=make_store, where=where, sessions=names, acks=acks, seed=seed + n)
        for n in range(writers)
    ]
    said: list[list[Any]] = []
    every = max(1, writers * acks // (len(faults) + 1))
    left = list(faults)
    acked = 0

    async def listen(process: asyncio.subprocess.Process) -> None:
        nonlocal acked
        assert process.stdout is not None
        async for line in process.stdout:
            fate = json.loads(line)
            said.append(fate)
            if fate[0] == "ack":
                acked += 1
                more.set()

    async def bring_faults() -> None:
        brought = 0
        while left:
            await more.wait()
            more.clear()
            if acked >= every * (brought + 1):
                brought += 1
                await left.pop(0)()

    more = asyncio.Event()
    command = (sys.executable, "-m", "cluster.writer")
    processes = [
        await asyncio.create_subprocess_exec(
            *command, msgspec.json.encode(task).decode(), cwd=TESTS, stdout=asyncio.subprocess.PIPE
        )
        for task in tasks
    ]
    try:
        async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
            bringing = group.create_task(bring_faults())
            for process in processes:
                group.create_task(listen(process))
            await asyncio.gather(*(process.wait() for process in processes))
            bringing.cancel()
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert [process.returncode for process in processes] == [0] * writers
    wrong = await find_wrongs(store, names, said)
    assert wrong or not left, f"{len(left)} faults did not come"
    return Account(dict(collections.Counter(fate[0] for fate in said)), wrong)


async def find_wrongs(store: Store, names: Sequence[str], said: Sequence[Sequence[Any]]) -> list[str]:
    """Compare what the writers were told with what the logs hold."""
    held: collections.Counter[tuple[str, str, int]] = collections.Counter()
    wrong: list[str] = []
    for name in names:
        try:
            records = await store.read_all(name)
        except CorruptLog as damage:
            wrong.append(str(damage))
            continue
        for record in records:
            if isinstance(record.entry, Extension):
                mark, part = record.entry.payload
                held[name, mark, part] += 1
            elif not isinstance(record.entry, SessionStart):
                wrong.append(f"{name}: a record that nobody wrote")
    for fate, name, mark, *rest in said:
        if fate == "read":
            continue
        counts = {held.pop((name, mark, part), 0) for part in range(rest[0])}
        allowed = {"ack": [{1}], "refused": [{0}], "unknown": [{0}, {1}]}[fate]
        if counts not in allowed:
            wrong.append(f"{name}: {mark} was told as {fate}, and is there {sorted(counts)} times")
    wrong.extend(f"{name}: {mark} was never told" for name, mark, _ in held)
    return wrong
