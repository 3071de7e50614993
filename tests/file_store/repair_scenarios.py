"""A damaged log, and repairing it under faults. As a script: in processes that are killed at each system call in turn.

repair_scenarios.py FOLDER
"""

import itertools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import anyio

from sessionlog import Extension, FileStore, HashedEntry, RequestConfig, SessionId, SessionStart, link
from sessionlog.testing.faults import Cut, Fault, FaultySystem, Kill

ID = SessionId("damaged")
KEPT = 3
"""So many records stand before the damage."""


def records() -> list[HashedEntry]:
    first = SessionStart(ts=0, format="sessionlog/1", session_id=ID, config=RequestConfig(), history=[])
    made = [link(None, first)]
    for number in range(6):
        made.append(link(made[-1].head, Extension(ts=0, domain="test", payload=f"{number} " + "x" * 80)))
    return made


def good_bytes() -> bytes:
    return b"".join(record.line + b"\n" for record in records()[:KEPT])


def bad_bytes() -> bytes:
    """A record with a changed byte, one that is whole, pages of zeros with a whole record behind, half a record."""
    changed, whole, behind, half = (record.line for record in records()[KEPT:])
    return changed[:-3] + b"Y" + changed[-2:] + b"\n" + whole + b"\n" + bytes(12288) + behind + b"\n" + half[:50]


def damage(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    path = root / f"{ID}.jsonl"
    path.write_bytes(good_bytes() + bad_bytes())
    path.chmod(0o600)
    return path


async def repair(root: Path, *faults: Fault) -> FaultySystem:
    system = FaultySystem(*faults)
    async with FileStore(root, "os", system=system) as store:
        await store.repair(ID, clock=lambda: 7)
    return system


def main(folder: Path) -> None:
    kinds: list[tuple[str, Callable[[int], Fault]]] = [
        ("call", lambda at: Fault(at=at, action=Kill())),
        ("after", lambda at: Fault(at=at, action=Kill("after"))),
        ("write", lambda at: Fault(at=at, kind="write", action=Cut(100, then=Kill()))),
    ]
    for kind, make_fault in kinds:
        for at in itertools.count(1):
            root = folder / f"{kind}-{at:03}"
            damage(root)
            child = os.fork()  # this process runs no event loop and no thread
            if child == 0:
                status = 1
                try:
                    anyio.run(repair, root, make_fault(at))
                    status = 0
                finally:
                    os._exit(status)
            _, status = os.waitpid(child, 0)
            if status == 0:
                break
            assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, f"{kind} {at} ended otherwise: {status}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
