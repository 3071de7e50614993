"""How much memory do the streaming operations hold on a 1 GB log: peak above the start, each in a fresh process?"""

import shutil
from pathlib import Path
from typing import cast

from ..children import Child
from ..harness import Bench, Case, Contender, Question, Role
from ..transcript import write_transcript
from ..work import StoredLog, write_log

NAME = "memory"
ROUNDS_MAX = 2
OPERATIONS = ("verify", "follow", "read", "read_raw", "audit")
TORN_OPERATIONS = ("verify", "audit", "read", "read_head")
TORN = (*(f"sessionlog {name}" for name in TORN_OPERATIONS), "sessionlog append")


async def cases(bench: Bench) -> list[Case]:
    log = await bench.shop.log(bench.plan.big_records)
    contenders = [_peak(f"sessionlog {name}", "ours", name, log) for name in OPERATIONS]
    contenders.append(_peak("bare loop: slice, hash", "floor", "bare", log))
    transcript, size = await write_transcript(bench.shop.folder, bench.plan.transcript_bytes)
    title = f"peak memory above the start, on a log of {log.size / 1e6:,.0f} MB"
    torn = await _write_torn(bench.shop.folder / "torn", bench.plan.torn_bytes)
    tails = [_peak(f"sessionlog {name}", "ours", name, torn) for name in TORN_OPERATIONS]
    tails.append(_repair(torn))
    torn_title = f"peak memory above the start, on a log with {bench.plan.torn_bytes / 1e6:,.0f} MB of torn tail"
    return [
        Case(f"{NAME}/log", title, "MiB", "less", contenders, ROUNDS_MAX),
        Case(f"{NAME}/torn", torn_title, "MiB", "less", tails, ROUNDS_MAX),
        Case(
            f"{NAME}/import",
            f"peak memory above the start, importing a transcript of {size / 1e6:,.0f} MB",
            "MiB",
            "less",
            [_peak_of("sessionlog import", "ours", "import", str(transcript), "none")],
            ROUNDS_MAX,
        ),
    ]


async def _write_torn(store: Path, torn_bytes: int) -> StoredLog:
    """Write a short log, and behind it the start of a record that a crash cut off."""
    log = await write_log(store, 10)
    part = b"x" * min(2**20, torn_bytes)
    with log.path.open("ab") as file:
        file.write(b'{"hash":"')
        for _ in range(torn_bytes // len(part)):
            file.write(part)
    return log


def _repair(torn: StoredLog) -> Contender:
    """Append to a copy: that sets the tail aside."""

    async def measure(folder: Path) -> float:
        shutil.copyfile(torn.path, folder / torn.path.name)
        return await _peak("", "ours", "append", torn._replace(store=folder)).measure(folder)

    return Contender("sessionlog append", "ours", measure)


def _peak(name: str, role: Role, operation: str, log: StoredLog) -> Contender:
    return _peak_of(name, role, operation, str(log.store), log.session_id)


def _peak_of(name: str, role: Role, operation: str, *arguments: str) -> Contender:
    async def measure(_folder: Path) -> float:
        child = Child("peak", operation, *arguments)
        child.go()
        return max(0.01, cast(float, child.result()))

    return Contender(name, role, measure)


QUESTION = Question(NAME, "How much memory do the streaming operations hold on a large log?", cases)
