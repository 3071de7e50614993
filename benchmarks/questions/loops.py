"""What does it cost to record an agent's events as loops and turns? See ``benchmarks/loops_recording.py``.

``on_event`` folds the event into the tree; ``record`` appends it to the session's log, too. The floor encodes, hashes
and writes a user message of 1 KiB, which is more bytes than an event has. Medians over tenths of a run.
"""

import statistics
from collections.abc import Awaitable, Callable
from pathlib import Path

from sessionlog import MemoryStore
from sessionlog.loops import SessionRecorder

from .. import loops_recording
from ..bare_appending import in_place
from ..harness import Bench, Case, Contender, Promise, Question
from ..peers import KILLED_CHAINED

NAME = "loops"


async def cases(bench: Bench) -> list[Case]:
    count = max(loops_recording.PARTS, bench.plan.os_appends)

    async def on_file() -> list[float]:
        async with loops_recording.file_recorder() as recorder:
            return await loops_recording.recorded(count, recorder)

    async def in_memory_store() -> list[float]:
        return await loops_recording.recorded(count, SessionRecorder(store=MemoryStore()))

    async def folded() -> list[float]:
        return await loops_recording.in_memory(count)

    contenders = [
        _events('sessionlog, record, FileStore "os"', on_file, KILLED_CHAINED),
        _events("sessionlog, record, MemoryStore", in_memory_store),
        _events("sessionlog, on_event", folded),
        _bare(count),
    ]
    return [Case(NAME, "record an event of an agent's loop", "µs", "less", contenders)]


def _events(name: str, run: Callable[[], Awaitable[list[float]]], promise: Promise | None = None) -> Contender:
    async def measure(_folder: Path) -> float:
        return statistics.median(await run())

    return Contender(name, "ours", measure, promise or Promise())


def _bare(count: int) -> Contender:
    loop = in_place(sessions=1, each=count)

    async def measure(folder: Path) -> float:
        return 1e6 / await loop.measure(folder)

    return loop._replace(measure=measure)


QUESTION = Question(NAME, "What does it cost to record an agent's events?", cases)
