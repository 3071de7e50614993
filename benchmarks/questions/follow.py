"""How long after an append began does whoever follows the log have the record: in the same process, and in another?

Medians over some hundred appends with a pause before each. The floor is waking a task of the same process. Without the
extra ``follow``, appends of another process are found by polling; the title says which of the two was measured.
"""

import importlib.util
import statistics
import time
from contextlib import aclosing
from pathlib import Path

import anyio
import msgspec

from sessionlog import Extension, FileStore, SessionLog, SessionStartState, create_session, now_ms

from ..children import Child
from ..harness import Bench, Case, Contender, Question
from ..peers import KILLED_CHAINED

NAME = "follow"
PAUSE_S = 0.003


async def cases(bench: Bench) -> list[Case]:
    count = bench.plan.follow_records
    woken_by = "inotify" if importlib.util.find_spec("inotify_simple") else "polling: extra follow is not installed"
    return [
        Case(f"{NAME}/same", "follow, the writer in this process", "µs", "less", [_same(count), _bare(count)]),
        Case(f"{NAME}/other", f"follow, the writer in another process ({woken_by})", "µs", "less", [_other(count)]),
    ]


def _same(count: int) -> Contender:
    async def write(log: SessionLog) -> None:
        for _ in range(count):
            await anyio.sleep(PAUSE_S)
            await log.append(Extension(ts=now_ms(), domain="tick", payload=time.monotonic_ns()))

    async def measure(folder: Path) -> float:
        delays: list[float] = []
        async with FileStore(folder, "os") as store, anyio.create_task_group() as tasks:
            log = await create_session(store, SessionStartState())
            tasks.start_soon(write, log)
            delays = await _delays(store, log, count)
        return statistics.median(delays)

    return Contender("sessionlog", "ours", measure, KILLED_CHAINED)


def _other(count: int) -> Contender:
    async def measure(folder: Path) -> float:
        async with FileStore(folder, "os") as store:
            log = await create_session(store, SessionStartState())
            child = Child("tick", str(folder), log.session_id, str(count), str(PAUSE_S))
            child.go()
            delays = await _delays(store, log, count)
            child.result()
            return statistics.median(delays)

    return Contender("sessionlog", "ours", measure, KILLED_CHAINED)


async def _delays(store: FileStore, log: SessionLog, count: int) -> list[float]:
    delays: list[float] = []
    async with aclosing(store.follow(log.session_id, after=0)) as records:
        async for record in records:
            now = time.monotonic_ns()
            said = record.entry
            assert isinstance(said, Extension)
            delays.append((now - msgspec.convert(said.payload, int)) / 1000)
            if len(delays) == count:
                break
    return delays


def _bare(count: int) -> Contender:
    async def measure(_folder: Path) -> float:
        delays: list[float] = []
        send, receive = anyio.create_memory_object_stream[int](1)

        async def write() -> None:
            async with send:
                for _ in range(count):
                    await anyio.sleep(PAUSE_S)
                    await send.send(time.monotonic_ns())

        async with anyio.create_task_group() as tasks, receive:
            tasks.start_soon(write)
            delays.extend([(time.monotonic_ns() - sent) / 1000 async for sent in receive])
        return statistics.median(delays)

    return Contender("bare: a task is woken", "floor", measure)


QUESTION = Question(NAME, "How long after an append does whoever follows the log have the record?", cases)
