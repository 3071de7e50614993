"""The targets: ratios that should hold in one run, on whatever machine."""

import statistics
from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple

from . import bare_appending, peers, reading
from .harness import CaseResult, Figures, Role
from .questions.import_time import DEPENDENCIES
from .results import Results


class Target(NamedTuple):
    """That a ratio, or a figure, is at least or at most so much."""

    asks: str
    case: str
    against: str | None
    """The contender; ``None``: the figure itself."""
    bound: float
    kind: Literal["at least", "at most"]
    ours: tuple[str, ...] = ()
    """The contenders that are looked at where that is not the case's first one; the worst of them counts."""

    @property
    def limit(self) -> str:
        """The bound in words."""
        unit = "" if self.against is not None else " MiB"
        return f"{'≥' if self.kind == 'at least' else '≤'} {self.bound:g}{unit}"


class Outcome(NamedTuple):
    """A target and what was reached; ``None`` where it was not measured."""

    target: Target
    reached: float | None
    note: str
    floor: float | None = None
    """What the case's bare loop reaches, which does the same work with nothing around it: no library gets beyond."""
    kept: float | None = None
    """What the bare loop reaches that keeps the library's promises, too: no library that keeps them gets beyond."""

    @property
    def met(self) -> bool | None:
        """Whether it is met."""
        if self.reached is None:
            return None
        if self.target.kind == "at least":
            return self.reached >= self.target.bound
        return self.reached <= self.target.bound


_OS, _DISK, _DISK_MANY = "append-os/1", "append-disk/1", "append-disk/64"

TARGETS: Final = (
    Target('append, "os", 1 session', _OS, bare_appending.IN_PLACE, 0.60, "at least"),
    Target('append, "os", 1 session', _OS, peers.AGENTS.name, 70, "at least"),
    Target('append, "os", 1 session', _OS, peers.SQLITE_NORMAL.name, 7, "at least"),
    Target('append, "os", 1 session', _OS, peers.LMDB_UNSYNCED.name, 1.5, "at least"),
    Target('append, "disk", 1 session', _DISK, bare_appending.FLUSHED, 0.5, "at least"),
    Target('append, "disk", 64 sessions', _DISK_MANY, peers.threaded(peers.SQLITE_FULL).name, 8, "at least"),
    Target('append, "disk", 64 sessions', _DISK_MANY, peers.SQLITE_FULL.name, 8, "at least"),
    Target('append, "disk", 64 sessions', _DISK_MANY, peers.AGENTS.name, 18, "at least"),
    Target("verify", "verify/verify", reading.SLICE_AND_HASH, 0.7, "at least"),
    Target("read_all, verified and decoded", "read/read_all", reading.JSON_LOADS, 1.0, "at least"),
    Target("head of a large log against a small one", "head", "sessionlog, 1 MB", 1.5, "at most"),
    Target(
        "append to a long log against a short one",
        "growing-log/warm",
        "sessionlog, behind 1,000 records",
        1.1,
        "at most",
    ),
    Target(
        "verify or follow a large log: peak memory",
        "memory/log",
        None,
        64,
        "at most",
        ("sessionlog verify", "sessionlog follow"),
    ),
    Target("the 50 latest of many sessions", "catalog/ask", "bare loop: scandir, stat, sort", 3, "at most"),
    Target("search for a rare word from a current catalog", "catalog/search", "grep -rlF", 0.2, "at most"),
    Target("import sessionlog", "import-time", DEPENDENCIES, 1.5, "at most"),
)


def outcomes(results: Results, targets: Iterable[Target] = TARGETS) -> Iterator[Outcome]:
    """Hold the results against the targets."""
    for target in targets:
        case = results.case(target.case)
        if case is None:
            yield Outcome(target, None, "not measured in this run")
        elif target.against is None:
            found = [figures for name in target.ours if (figures := case.find(name)) is not None]
            worst = max(found, key=lambda figures: figures.median)
            yield Outcome(target, worst.median, case.title)
        else:
            other = case.find(target.against)
            if other is None:
                yield Outcome(target, None, f"{target.against} was not measured")
                continue
            first = case.figures[0]
            note = other.name
            if first.promise.survives != other.promise.survives:
                note += f" (which survives {other.promise.survives})"
            yield Outcome(
                target, other.ratio, note, _bare_ratio(case, other, "floor"), _bare_ratio(case, other, "kept")
            )


def _bare_ratio(case: CaseResult, other: Figures, role: Role) -> float | None:
    """Return the ratio of the first bare loop of that role, with our append's durability, to ``other``."""
    if case.better == "less":
        return None  # those loops are measured on one log, and cannot tell what the log's length does
    promise = case.figures[0].promise
    floors = [f for f in case.figures if f.role == role and f is not other and f.promise == promise]
    if not floors:
        return None
    return statistics.median(mine / its for mine, its in zip(floors[0].rounds, other.rounds, strict=True))
