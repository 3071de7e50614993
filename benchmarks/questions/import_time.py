"""How long does ``import sessionlog`` take, against importing its dependencies alone, and against peers?

Each figure is the median of some fresh interpreters.
"""

from pathlib import Path

from .. import peers
from ..children import import_seconds
from ..harness import Bench, Case, Contender, Question, Role

NAME = "import-time"
DEPENDENCIES = "msgspec, blake3 and anyio alone"


async def cases(bench: Bench) -> list[Case]:
    times = bench.plan.imports
    contenders = [
        _import("sessionlog", "ours", "import sessionlog", times),
        _import(DEPENDENCIES, "floor", "import msgspec, blake3, anyio", times),
    ]
    contenders += [
        _import(peer.name, "peer", f"import {peer.needs}", times)
        for peer in (peers.AGENTS, peers.LANGGRAPH, peers.EVENTSOURCING, peers.LEDGER, peers.LMDB_SYNCED)
        if peers.is_installed(peer.needs)
    ]
    return [Case(NAME, "import, in a fresh interpreter", "ms", "less", contenders)]


def _import(name: str, role: Role, statement: str, times: int) -> Contender:
    async def measure(_folder: Path) -> float:
        return import_seconds(statement, times) * 1000

    return Contender(name, role, measure)


QUESTION = Question(NAME, "How long does importing the package take?", cases)
