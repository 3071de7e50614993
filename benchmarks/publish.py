"""Putting results into README.md and docs/performance.md, between their marks, and the chart beside them."""

from pathlib import Path
from typing import Final

from . import chart, report
from .results import Results

ROOT: Final = Path(__file__).resolve().parent.parent
BEGIN: Final = "<!-- benchmarks:begin -->"
END: Final = "<!-- benchmarks:end -->"


def publish(results: Results, root: Path = ROOT) -> None:
    """Write tables and chart. Raises ``ValueError`` where a page has no marks; nothing is written then."""
    pages = {
        root / "README.md": report.short_markdown(results),
        root / "docs" / "performance.md": report.full_markdown(results, "benchmarks.svg"),
    }
    texts = {path: filled(path.read_text(encoding="utf-8"), words, path.name) for path, words in pages.items()}
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    (root / "docs" / "benchmarks.svg").write_text(chart.svg(results), encoding="utf-8")


def filled(text: str, words: str, name: str) -> str:
    """Return ``text`` with ``words`` between its marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{name} has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{words.rstrip()}\n\n{END}{after}"
