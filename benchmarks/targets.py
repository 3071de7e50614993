"""The targets: ratios that should hold in one run, on whatever machine."""

import statistics
from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple

from . import bare_appending, peers, reading
from .harness import CaseResult, Figures, Role
from .questions import catalog, importing, listing, loops, memory, reading_on, tail
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
    because: str = ""
    """What keeps it from being met, where it is not."""
    unit: str = ""
    """Of the figure, where nothing is held against it."""

    @property
    def limit(self) -> str:
        """The bound in words."""
        return f"{'≥' if self.kind == 'at least' else '≤'} {self.bound:g} {self.unit}".rstrip()


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


_IN_THREADS: Final = peers.threaded(peers.SQLITE_FULL).name
_BEHIND_FEW: Final = "sessionlog, behind 1,000 records"
_STREAMING: Final = ("sessionlog verify", "sessionlog follow")
_CALLS: Final = "that loop is one function, the library eighteen small ones"
_FILES: Final = "each file is locked, looked at and closed as well, and processes have to start"
_ENCODES: Final = "each entry is encoded again: see what keeps the promises alone reaches"
_PROMISES: Final = "an append decodes, compares, locks and looks: see what keeps the promises alone reaches"
_HOP: Final = "waking a thread and being woken by it takes as long as the flush"
_BRIEF: Final = "where a flush is brief, the interpreter is the bound, not the flush"
_EVENT: Final = "an event is kept as text, as values and in the tree: see its bare loop"

TARGETS: Final = (
    Target('append, "os", 1 session', "append-os/1", bare_appending.IN_PLACE_CHECKED, 0.92, "at least", because=_CALLS),
    Target(
        'append, "os", 64 sessions', "append-os/64", bare_appending.IN_PLACE_CHECKED, 0.92, "at least", because=_CALLS
    ),
    Target('append, "os", 1 session', "append-os/1", peers.SQLITE_NORMAL.name, 1.5, "at least"),
    Target('append, "disk", 1 session', "append-disk/1", bare_appending.FLUSHED, 0.5, "at least", because=_HOP),
    Target('append, "disk", 64 sessions', "append-disk/64", bare_appending.GROUP_CHECKED, 1.0, "at least"),
    Target('append, "disk", 1,000 sessions', "append-disk/1000", bare_appending.GROUP_CHECKED, 0.95, "at least"),
    Target('append, "disk", 64 sessions', "append-disk/64", _IN_THREADS, 8, "at least", because=_BRIEF),
    Target('batches of 100, "os"', "append-batch/os", peers.LMDB_UNSYNCED.name, 0.4, "at least", because=_PROMISES),
    Target('batches of 100, "os"', "append-batch/os", peers.SQLITE_NORMAL.name, 1.5, "at least", because=_PROMISES),
    Target("record an agent's event", "loops", loops.APPEND, 2, "at most", because=_EVENT),
    Target("verify", "verify/verify", reading.SLICE_AND_HASH, 0.7, "at least"),
    Target("audit", "verify/audit", reading.HASH_AND_DECODE, 0.7, "at least", because=_ENCODES),
    Target(
        "verify many small sessions, every core",
        "whole-store/verify",
        reading.SLICE_AND_HASH,
        2,
        "at most",
        because=_FILES,
    ),
    Target(
        "audit many small sessions, every core",
        "whole-store/audit",
        reading.HASH_AND_DECODE,
        2,
        "at most",
        because=_FILES,
    ),
    Target("read_all, verified and decoded", "read/read_all", reading.JSON_LOADS, 1.0, "at least"),
    Target("head of a large log against a small one", "head", "sessionlog, 1 MB", 1.5, "at most"),
    Target(f"last {tail.COUNT} records of a large log against its head", "tail", tail.HEAD, 2, "at most"),
    Target("catch up with a large log against a small one", "reading-on", reading_on.name_of(1000), 1.1, "at most"),
    Target("append to a large log against a small one", "growing-log/warm", _BEHIND_FEW, 1.1, "at most"),
    Target("verify or follow a large log: peak", "memory/log", None, 64, "at most", _STREAMING, unit="MiB"),
    Target("a large torn tail, any command: peak", "memory/torn", None, 64, "at most", memory.TORN, unit="MiB"),
    Target("import a transcript, one core", "import", importing.BARE, 0.25, "at least"),
    Target("the store's bytes, of the transcripts'", "folder/bytes", None, 1.0, "at most"),
    Target(
        "the 50 latest of many sessions, from a catalog", "catalog/ask", listing.BARE, 3, "at most", (catalog.LIST,)
    ),
    Target("stats of many sessions, from a catalog", "catalog/ask", listing.BARE, 3, "at most", (catalog.STATS,)),
    Target("graph of many sessions, from a catalog", "catalog/ask", listing.BARE, 3, "at most", (catalog.GRAPH,)),
    Target("search for a rare word, from a catalog", "catalog/search", "grep -rlF", 0.2, "at most"),
    Target("the catalog's bytes, of the store's", "catalog/size", None, 15, "at most", unit="%"),
    Target("import sessionlog", "import-time", DEPENDENCIES, 1.5, "at most"),
)


def outcomes(results: Results, targets: Iterable[Target] = TARGETS) -> Iterator[Outcome]:
    """Hold the results against the targets."""
    for target in targets:
        case = results.case(target.case)
        if case is None:
            yield Outcome(target, None, "not measured in this run")
        elif target.against is None:
            worst = max(_looked_at(target, case), key=lambda figures: figures.median)
            yield Outcome(target, worst.median, case.title)
        else:
            other = case.find(target.against)
            if other is None:
                yield Outcome(target, None, f"{target.against} was not measured")
                continue
            first = _looked_at(target, case)[0]
            note = other.name
            if first.promise.survives != other.promise.survives:
                note += f" (which survives {other.promise.survives})"
            yield Outcome(
                target, _ratio(first, other), note, _bare_ratio(case, other, "floor"), _bare_ratio(case, other, "kept")
            )


def _looked_at(target: Target, case: CaseResult) -> list[Figures]:
    """Return the figures that a target is about."""
    found = [figures for name in target.ours if (figures := case.find(name)) is not None]
    return found or case.figures[:1]


def _ratio(ours: Figures, other: Figures) -> float:
    """Return the median of the ratios within each round."""
    return statistics.median(mine / its for mine, its in zip(ours.rounds, other.rounds, strict=True))


def _bare_ratio(case: CaseResult, other: Figures, role: Role) -> float | None:
    """Return the ratio of the first bare loop of that role, with our append's durability, to ``other``."""
    if case.better == "less":
        return None  # those loops are measured on one log, and cannot tell what the log's length does
    promise = case.figures[0].promise
    floors = [f for f in case.figures if f.role == role and f is not other and f.promise == promise]
    if not floors:
        return None
    return _ratio(floors[0], other)
