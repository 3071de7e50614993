"""What does it cost to record an agent's events as loops and turns? See ``benchmarks/loops_recording.py``.

``on_event`` folds the event into the tree; ``record`` appends it to the session's log, too. The floor encodes, hashes
and writes a user message of 1 KiB, which is more bytes than an event has. Medians over tenths of a run.
"""

import statistics
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from sessionlog import MemoryStore, now_ms
from sessionlog.loops import SessionRecorder
from sessionlog.loops.events import decode_known_event

from .. import appending, loops_recording
from ..bare_appending import in_place, write_locked
from ..harness import Bench, Case, Contender, Promise, Question
from ..peers import KILLED_CHAINED
from ..work import GENESIS, Stopwatch, bare_line, open_files

NAME = "loops"
APPEND = "sessionlog, a plain append of 1 KiB"
CHECKED = "bare loop: encode, decode twice, compare, hash, lock, look, write, unlock"


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
        _append(count),
        _checked(count),
        _bare(count),
    ]
    return [Case(NAME, "record an event of an agent's loop", "µs", "less", contenders)]


def _events(name: str, run: Callable[[], Awaitable[list[float]]], promise: Promise | None = None) -> Contender:
    async def measure(_folder: Path) -> float:
        return statistics.median(await run())

    return Contender(name, "ours", measure, promise or Promise())


def _bare(count: int) -> Contender:
    return _inverted(in_place(sessions=1, each=count))


def _append(count: int) -> Contender:
    return _inverted(appending.library("os", sessions=1, each=count))._replace(name=APPEND)


def _inverted(appends: Contender) -> Contender:
    async def measure(folder: Path) -> float:
        return 1e6 / await appends.measure(folder)

    return appends._replace(measure=measure)


def _checked(count: int) -> Contender:
    """Take each event as the recorder has to: as text, as values and as an event that equals the one given."""
    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode

    async def measure(folder: Path) -> float:
        head, kept, path = GENESIS, [], str(folder / "0.jsonl")
        stream = loops_recording.events()
        work = [next(stream) for _ in range(count)]
        with open_files(folder, 1) as (file,):
            watch = Stopwatch()
            for seq, event in enumerate(work):
                text = encode(event)
                decoded = decode_known_event(text)
                if decoded != event:
                    raise ValueError("the event would come back as another")
                kept.append((decode(text), decoded))
                head, line = bare_line(head, seq, b'{"kind":"agent_event","ts":%d,"event":%b}' % (now_ms(), text))
                write_locked(file, path, line)
            return watch.seconds / count * 1e6

    return Contender(CHECKED, "kept", measure, KILLED_CHAINED)


QUESTION = Question(NAME, "What does it cost to record an agent's events?", cases)
