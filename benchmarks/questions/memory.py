"""How much memory do the streaming operations hold on a 1 GB log: peak above the start, each in a fresh process?"""

from pathlib import Path
from typing import cast

from ..children import Child
from ..harness import Bench, Case, Contender, Question, Role
from ..transcript import write_transcript
from ..work import StoredLog

NAME = "memory"
ROUNDS_MAX = 2
OPERATIONS = ("verify", "follow", "read", "read_raw", "audit")


async def cases(bench: Bench) -> list[Case]:
    log = await bench.shop.log(bench.plan.big_records)
    contenders = [_peak(f"sessionlog {name}", "ours", name, log) for name in OPERATIONS]
    contenders.append(_peak("bare loop: slice, hash", "floor", "bare", log))
    transcript, size = await write_transcript(bench.shop.folder, bench.plan.transcript_bytes)
    title = f"peak memory above the start, on a log of {log.size / 1e6:,.0f} MB"
    return [
        Case(f"{NAME}/log", title, "MiB", "less", contenders, ROUNDS_MAX),
        Case(
            f"{NAME}/import",
            f"peak memory above the start, importing a transcript of {size / 1e6:,.0f} MB",
            "MiB",
            "less",
            [_peak_of("sessionlog import", "ours", "import", str(transcript), "none")],
            ROUNDS_MAX,
        ),
    ]


def _peak(name: str, role: Role, operation: str, log: StoredLog) -> Contender:
    return _peak_of(name, role, operation, str(log.store), log.session_id)


def _peak_of(name: str, role: Role, operation: str, *arguments: str) -> Contender:
    async def measure(_folder: Path) -> float:
        child = Child("peak", operation, *arguments)
        child.go()
        return max(0.01, cast(float, child.result()))

    return Contender(name, role, measure)


QUESTION = Question(NAME, "How much memory do the streaming operations hold on a large log?", cases)
