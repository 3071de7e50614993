"""What an import says at its end: counts by format; by name, the files that failed and those that were passed over."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from .base import App
from .text import counted

if TYPE_CHECKING:
    from ..importers import ImportFailed, ImportReport

Names: TypeAlias = Callable[[Path], str]
"""How files are named to people: so that they can be told apart, without what they all have in common."""

_COLUMNS: Final = (("files", 7), ("unchanged", 9), ("failed", 6), ("sessions", 8), ("lines", 10), ("records", 10))
_NAMES_SHOWN: Final = 5


def names_below(folders: Iterable[Path]) -> Names:
    """Return how files in ``folders`` are named: from the innermost folder that holds all of them."""
    try:
        base = Path(os.path.commonpath(list(folders)))
    except ValueError:  # there is no folder, or not all are absolute
        return str
    return lambda path: str(path.relative_to(base) if path.is_relative_to(base) else path)


def files_beside(folders: Iterable[Path], found: Iterable[Path]) -> list[Path]:
    """Return the files below ``folders`` that are not among those ``found`` there, sorted."""
    known = set(found)
    below = (Path(root, name) for folder in folders for root, _, names in os.walk(folder) for name in names)
    return sorted({path for path in map(_real, below) if path not in known})


class Summary:
    """Gathers what became of each file; ``names`` says how they are named."""

    def __init__(self, names: Names) -> None:
        """Begin with no file."""
        self._names = names
        self._rows: dict[str, Counter[str]] = {}
        self._failures: list[ImportFailed] = []
        self._empty: list[Path] = []
        self._passed_over: dict[str, list[Path]] = {}

    def add(self, report: "ImportReport") -> None:
        """Count a file that was imported, or in which nothing was found."""
        row = self._count("(passed)" if report.passed_over is not None else report.format or "(empty)")
        row["unchanged"] += report.unchanged
        row["sessions"] += sum(session.made for session in report.sessions)
        row["lines"] += report.imported - report.imported_before
        row["records"] += report.records_added
        if report.passed_over is not None:
            self._passed_over.setdefault(report.passed_over, []).append(report.path)
        elif not report.sessions and not report.waiting:
            self._empty.append(report.path)

    def add_failure(self, failure: "ImportFailed") -> None:
        """Count a file that could not be imported."""
        self._count("-")["failed"] += 1
        self._failures.append(failure)

    async def print(self, app: App, passed_over: Sequence[Path]) -> None:
        """Print a row for each format and their sum, then the names; ``passed_over`` were not looked at."""
        await app.out.line()
        await app.out.row((_columns("", {name: name for name, _ in _COLUMNS}), "bold"))
        for name, row in sorted(self._rows.items()):
            await app.out.row(_columns(name, row))
        if len(self._rows) > 1:
            await app.out.row((_columns("total", sum(self._rows.values(), Counter())), "bold"))
        if self._failures:
            await app.out.line((f"{counted(len(self._failures), 'file')} failed:", "bold red"))
        for failure in self._failures:
            await app.out.line(f"{self._names(failure.path)}: {failure.reason}", indent=2)
        await self._print_names(app, "empty", self._empty)
        for why, paths in self._passed_over.items():
            await self._print_names(app, why, paths)
        await self._print_names(app, "not .jsonl", passed_over)

    async def _print_names(self, app: App, why: str, paths: Sequence[Path]) -> None:
        if not paths:
            return
        more = f", and {len(paths) - _NAMES_SHOWN:,} more" if len(paths) > _NAMES_SHOWN else ""
        names = ", ".join(map(self._names, paths[:_NAMES_SHOWN]))
        await app.out.line((f"{counted(len(paths), 'file')} passed over ({why}): ", "bold"), names, more)

    def _count(self, row_name: str) -> Counter[str]:
        row = self._rows.setdefault(row_name, Counter())
        row["files"] += 1
        return row


def _columns(name: str, row: "Counter[str] | dict[str, str]") -> str:
    cells = [row.get(column, 0) for column, _ in _COLUMNS]
    shown = [one if isinstance(one, str) else f"{one:,}" for one in cells]
    return f"{name:<12}" + "".join(f" {text:>{width}}" for text, (_, width) in zip(shown, _COLUMNS, strict=True))


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
