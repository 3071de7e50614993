"""Measuring: contenders in turn, round after round, so that whatever else the machine does falls on all of them.

The order is reversed every other round. A ratio is computed within a round, from figures that were taken seconds apart,
and its median over the rounds is what travels to other machines; the figures themselves do not.
"""

import gc
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from .plan import Plan
from .work import Workshop

Role: TypeAlias = Literal["ours", "floor", "kept", "peer"]
"""``floor``: the least work that gives the same bytes; ``kept``: the least that keeps the promises, too."""
Survives: TypeAlias = Literal["power loss", "a killed process"]
Measure: TypeAlias = Callable[[Path], Awaitable[float]]
"""Works in an empty folder that is removed afterwards, and returns a figure in the unit of its case."""


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """What a contender's figure buys; ``None`` where the case does not ask for it."""

    survives: Survives | None = None
    """What an append survives once it has returned."""
    chained: bool | None = None
    """Each record holds the hash of the one before, so that an edit shows."""
    verified: bool | None = None
    """What is read has been checked against its hashes."""

    def words(self) -> str:
        """Return the promise as a table shows it."""
        words = []
        if self.survives is not None:
            words.append(f"survives {self.survives}")
        if self.chained is not None:
            words.append("chained" if self.chained else "not chained")
        if self.verified is not None:
            words.append("verified" if self.verified else "not verified")
        return ", ".join(words)


class Contender(NamedTuple):
    """One way to do the work of a case."""

    name: str
    role: Role
    measure: Measure
    promise: Promise = Promise()


class Case(NamedTuple):
    """What contenders are compared in; the first one is what the others are held against."""

    name: str
    title: str
    unit: str
    better: Literal["more", "less"]
    contenders: list[Contender]
    rounds_max: int = 1000
    """For figures that hardly differ from round to round."""


class Question(NamedTuple):
    """One file of ``questions/``."""

    name: str
    asks: str
    cases: Callable[["Bench"], Awaitable[list[Case]]]
    """Prepares what the cases share, in the bench's folder, and returns them."""


class Bench(NamedTuple):
    """What a question works with."""

    plan: Plan
    shop: Workshop
    """Makes logs to read, once each."""
    skipped: dict[str, str]
    """Filled with what could not be measured, and why."""


class Figures(msgspec.Struct, kw_only=True):
    """What one contender reached, a figure a round."""

    name: str
    role: Role
    promise: Promise
    rounds: list[float]
    ratios: list[float]
    """The case's first contender over this one, a ratio a round."""

    @property
    def median(self) -> float:
        """The median figure."""
        return statistics.median(self.rounds)

    @property
    def ratio(self) -> float:
        """The median of the ratios."""
        return statistics.median(self.ratios)

    @property
    def spread(self) -> float:
        """How far the figures lie apart, as a fraction of their median."""
        return (max(self.rounds) - min(self.rounds)) / self.median


class CaseResult(msgspec.Struct, kw_only=True):
    """The figures of one case."""

    question: str
    name: str
    title: str
    unit: str
    better: Literal["more", "less"]
    figures: list[Figures]

    def find(self, name: str) -> Figures | None:
        """Return the figures of the contender of this name."""
        return next((figures for figures in self.figures if figures.name == name), None)


async def answer(question: Question, bench: Bench) -> list[CaseResult]:
    """Measure every case of a question."""
    return [await measure(question, case, bench) for case in await question.cases(bench)]


async def measure(question: Question, case: Case, bench: Bench) -> CaseResult:
    """Run the contenders of a case in turn. A peer that fails is left out, and said so; nothing else may."""
    rounds: dict[str, list[float]] = {contender.name: [] for contender in case.contenders}
    left = list(case.contenders)
    round_count = min(bench.plan.rounds, case.rounds_max)
    began = time.perf_counter()
    for number in range(round_count):
        if number and time.perf_counter() - began > bench.plan.case_s:
            break
        for contender in left[:: -1 if number % 2 else 1]:
            progress(f"{case.name}, round {number + 1} of {round_count}: {contender.name}")
            try:
                rounds[contender.name].append(await _one(contender, bench.shop.folder))
            except Exception as error:
                if contender.role != "peer":
                    raise
                bench.skipped[f"{contender.name} in {case.name}"] = f"it failed: {error!r}"[:200]
                left.remove(contender)
    progress("")
    first = rounds[case.contenders[0].name]
    figures = [
        Figures(
            name=contender.name,
            role=contender.role,
            promise=contender.promise,
            rounds=rounds[contender.name],
            ratios=[ours / its for ours, its in zip(first, rounds[contender.name], strict=True)],
        )
        for contender in left
    ]
    return CaseResult(
        question=question.name, name=case.name, title=case.title, unit=case.unit, better=case.better, figures=figures
    )


async def _one(contender: Contender, folder: Path) -> float:
    """Take one figure, the objects of this process kept out of the garbage collector's way, the disk at rest."""
    with tempfile.TemporaryDirectory(dir=folder) as empty:
        os.sync()
        gc.collect()
        gc.freeze()
        try:
            return await contender.measure(Path(empty))
        finally:
            gc.unfreeze()


def installed(contenders: Iterable[Contender | None]) -> list[Contender]:
    """Return those that are there."""
    return [contender for contender in contenders if contender is not None]


def progress(line: str) -> None:
    """Show on a terminal what is being done, in place of the line before."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{line[:110]}")
        sys.stderr.flush()
