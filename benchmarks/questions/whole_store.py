"""How long does it take to verify, and to audit, a whole store of 20,000 small sessions?

The library runs in a process of its own, which starts one for each core; their start counts, the first process's does
not. The floors go over the files in one process: open, read, slice, hash, and decode where the library does.
"""

import os
from pathlib import Path
from typing import cast

from sessionlog import decode_entry

from ..children import Child
from ..harness import Bench, Case, Contender, Question
from ..reading import HASH_AND_DECODE, SLICE_AND_HASH, VERIFIED
from ..work import Stopwatch, bare_check

NAME = "whole-store"
ROUNDS_MAX = 5


async def cases(bench: Bench) -> list[Case]:
    count = bench.plan.small_sessions
    root = await bench.shop.small_sessions(count)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = []
    for operation, decode in (("verify", False), ("audit", True)):
        contenders = [_check(operation, root, count, jobs) for jobs in dict.fromkeys((cores, 1))]
        contenders.append(_bare(root, count, decode=decode))
        found.append(
            Case(f"{NAME}/{operation}", f"{operation} {count:,} small sessions", "ms", "less", contenders, ROUNDS_MAX)
        )
    return found


def _check(operation: str, root: Path, count: int, jobs: int) -> Contender:
    async def measure(_folder: Path) -> float:
        child = Child("check", operation, str(root), str(jobs))
        child.go()
        seconds, met = cast(tuple[float, int], child.result())
        assert met == count
        return seconds * 1000

    return Contender(
        f"sessionlog, {jobs} processes" if jobs > 1 else "sessionlog, 1 process", "ours", measure, VERIFIED
    )


def _bare(root: Path, count: int, *, decode: bool) -> Contender:
    async def measure(_folder: Path) -> float:
        watch = Stopwatch()
        assert _go_over(root, decode=decode) == count
        return watch.seconds * 1000

    return Contender(HASH_AND_DECODE if decode else SLICE_AND_HASH, "floor", measure, VERIFIED)


def _go_over(root: Path, *, decode: bool) -> int:
    """Slice, hash and perhaps decode every line of every file; return how many files there are."""
    met = 0
    with os.scandir(root) as found:
        for entry in found:
            met += 1
            with open(entry.path, "rb") as file:
                for line in file:
                    bare_check(line)
                    if decode:
                        decode_entry(line)
    return met


QUESTION = Question(NAME, "How long does it take to verify and to audit a store of many sessions?", cases)
