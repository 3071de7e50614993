"""The results as tables: on the terminal, and in Markdown."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from .harness import CaseResult, Figures
from .results import Results
from .targets import Outcome, outcomes

COMMAND: Final = "python -m benchmarks"
PIPED_WIDTH: Final = 240
SHORT_CASES: Final = ("append-os/1", "append-disk/1", "append-disk/64", "verify/verify", "read/read_all")
"""The cases that README.md shows, a row each."""
SHORT_COLUMNS: Final = {
    "sessionlog": "sessionlog",
    "bare loop": "bare loop",
    "sqlite3": "SQLite",
    "openai-agents": "OpenAI Agents `SQLiteSession`",
    "langgraph AsyncSqliteSaver": "LangGraph `AsyncSqliteSaver`",
}
"""The contenders that README.md shows, by the beginning of their names: the first of each case that has it."""


class Table(NamedTuple):
    """Cells, and which columns are numbers."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int]


def tables(results: Results) -> Iterator[Table]:
    """Yield a table a case, and the targets."""
    for case in results.cases:
        yield case_table(case)
    yield targets_table(outcomes(results))


def case_table(case: CaseResult) -> Table:
    """Return one case: each contender's median and spread, and the ratio of the first one to it."""
    first = case.figures[0].name
    head = ("", f"{case.unit}", "spread", "ratio", "promise")
    rows = [
        (
            figures.name,
            number(figures.median),
            spread(figures),
            "" if figures.name == first else f"{figures.ratio:.2f}" if figures.ratio < 10 else f"{figures.ratio:,.0f}",
            figures.promise.words(),
        )
        for figures in case.figures
    ]
    return Table(f"{case.title} ({case.unit}, {case.better} is better)", head, rows, frozenset({1, 2, 3}))


def targets_table(found: Iterable[Outcome]) -> Table:
    """Return the targets, met or not met, beside what the bare loops reach: alone, and with the promises kept."""
    rows = [
        (
            outcome.target.asks,
            outcome.note,
            outcome.target.limit,
            "" if outcome.reached is None else f"{outcome.reached:.2f}",
            "" if outcome.floor is None else f"{outcome.floor:.2f}",
            "" if outcome.kept is None else f"{outcome.kept:.2f}",
            verdict(outcome),
        )
        for outcome in found
    ]
    head = ("", "against", "target", "reached", "bare loop", "promises kept", "")
    return Table("targets", head, rows, frozenset({2, 3, 4, 5}))


def verdict(outcome: Outcome) -> str:
    """Say whether the target is met and, where it is not, why."""
    if outcome.met is None:
        return "not measured"
    if outcome.met:
        return "met"
    return f"NOT MET: {outcome.target.because}" if outcome.target.because else "NOT MET"


def number(value: float) -> str:
    """Return a figure with three digits that count."""
    if value >= 1000:
        return f"{round(value, 3 - len(str(int(value)))):,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(figures: Figures) -> str:
    """Return the lowest and the highest figure."""
    return f"{number(min(figures.rounds))} to {number(max(figures.rounds))}"


def machine_words(results: Results) -> str:
    """Return one sentence on where and when."""
    machine = results.machine
    return (
        f"{machine.processor}, {machine.cores} cores, {machine.memory_gib:.0f} GiB, {machine.file_system}, "
        f"{machine.system}, {machine.python}; {results.date}, {results.plan} run, {results.rounds} rounds"
    )


def print_results(results: Results) -> None:
    """Print every table, with rich if it is installed."""
    print(f"\n{machine_words(results)}")
    print("Medians, lowest to highest round; ratio: the first row over this one, the median of the rounds' own ratios.")
    for table in tables(results):
        print()
        print_table(table)
    print()
    for what, why in results.skipped.items():
        print(f"left out: {what}: {why}")
    print(f"took {results.seconds:.0f} s")


def print_table(table: Table) -> None:
    """Print one table."""
    try:
        from rich.console import Console  # noqa: PLC0415 - only if an extra brought it
        from rich.table import Table as RichTable  # noqa: PLC0415
    except ImportError:
        print("\n".join(plain_lines(table)))
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPED_WIDTH)
    print(table.title)
    rich_table = RichTable()
    for column, title in enumerate(table.head):
        rich_table.add_column(title, justify="right" if column in table.numbers else "left")
    for row in table.rows:
        rich_table.add_row(*row)
    console.print(rich_table)


def plain_lines(table: Table) -> Iterator[str]:
    """Yield the lines of a table."""
    rows = [table.head, *table.rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.head))]
    yield table.title
    for row in rows:
        cells = (f"{cell:{'>' if n in table.numbers else '<'}{widths[n]}}" for n, cell in enumerate(row))
        yield "  ".join(cells).rstrip()


def markdown(table: Table) -> str:
    """Return a table in Markdown, its title in bold above it."""
    marks = ["---:" if column in table.numbers else "---" for column in range(len(table.head))]
    rows = [table.head, marks, *table.rows]
    body = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
    return f"**{table.title}**\n\n{body}\n"


def short_markdown(results: Results) -> str:
    """Return what README.md shows: one small table, operations per second."""
    cases = [case for name in SHORT_CASES if (case := results.case(name)) is not None]
    rows = [(case.title, *(_cell(case, beginning) for beginning in SHORT_COLUMNS)) for case in cases]
    table = Table("Operations per second", ("", *SHORT_COLUMNS.values()), rows, frozenset(range(1, 6)))
    return f"{markdown(table)}\n{machine_words(results)}.\n"


def _cell(case: CaseResult, beginning: str) -> str:
    return next((number(figures.median) for figures in case.figures if figures.name.startswith(beginning)), "")


def full_markdown(results: Results, chart: str) -> str:
    """Return what docs/performance.md shows: everything."""
    packages = ", ".join(f"{name} {version}" for name, version in sorted(results.machine.packages.items()))
    parts = [
        f"![appends and reads per second, sessionlog and peers]({chart})\n",
        f"{machine_words(results)}. With {packages}.\n",
        markdown(targets_table(outcomes(results))),
        *(markdown(case_table(case)) for case in results.cases),
    ]
    if results.skipped:
        parts.append("Left out: " + "; ".join(f"{what}: {why}" for what, why in results.skipped.items()) + ".\n")
    return "\n".join(parts)
