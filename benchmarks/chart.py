"""The chart: bars on linear scales, a panel a case, and in each panel only what makes the same promise."""

from collections.abc import Iterator
from html import escape
from typing import Final, NamedTuple

from .harness import CaseResult, Figures
from .report import machine_words, number
from .results import Results

WIDTH: Final = 860
_LABEL: Final = 320
_BARS: Final = 420
_LABEL_CHARS_MAX: Final = 45
_ROW: Final = 22
_PANEL_GAP: Final = 34
_COLORS: Final = {"ours": "#1f6feb", "floor": "#8c959f", "kept": "#57606a", "peer": "#d4a72c"}
_LEGEND: Final = {
    "ours": "sessionlog",
    "floor": "a bare loop of the same work",
    "kept": "the same, with the promises",
    "peer": "others",
}


class Panel(NamedTuple):
    """One group of bars."""

    case: str
    title: str


PANELS: Final = (
    Panel("append-os/1", "1 KiB appends a second that survive a killed process, 1 session"),
    Panel("append-os/64", "the same, 64 sessions at once"),
    Panel("append-disk/1", "1 KiB appends a second that survive power loss, 1 session"),
    Panel("append-disk/64", "the same, 64 sessions at once"),
    Panel("verify/verify", "records a second verified"),
    Panel("read/read_all", "records a second read and decoded"),
)


def svg(results: Results) -> str:
    """Return the chart of what was measured."""
    body: list[str] = []
    y = 86.0
    for panel in PANELS:
        case = results.case(panel.case)
        if case is None:
            continue
        body.append(_text(16, y, panel.title, weight="600"))
        y += 12
        shown = list(_comparable(case))
        most = max(max(figures.rounds) for figures in shown)
        for figures in shown:
            body.extend(_bar(figures, y, most))
            y += _ROW
        y += _PANEL_GAP
    height = y + 6
    box = f'width="{WIDTH}" height="{height:.0f}" viewBox="0 0 {WIDTH} {height:.0f}"'
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img" font-family="system-ui, sans-serif" font-size="13">',
        "<title>sessionlog and peers: appends and reads per second</title>",
        f'<rect width="{WIDTH}" height="{height:.0f}" rx="8" fill="#ffffff"/>',
        *_legend(),
    ]
    words = f"What others append is not chained, unless it says so. {machine_words(results)}"
    foot = _text(16, height - 14, words, size=10, color="#57606a")
    return "\n".join([*head, *body, foot, "</svg>"]) + "\n"


def _comparable(case: CaseResult) -> Iterator[Figures]:
    """Yield those that survive what the first one survives, fastest first."""
    survives = case.figures[0].promise.survives
    same = [figures for figures in case.figures if figures.promise.survives == survives]
    yield from sorted(same, key=lambda figures: -figures.median)


def _bar(figures: Figures, y: float, most: float) -> Iterator[str]:
    length = max(1.0, figures.median / most * _BARS)
    low, high = (bound(figures.rounds) / most * _BARS for bound in (min, max))
    middle = y + _ROW / 2
    yield _text(_LABEL - 8, middle + 4, _label(figures), anchor="end")
    color = _COLORS[figures.role]
    yield f'<rect x="{_LABEL}" y="{y + 3:.0f}" width="{length:.1f}" height="{_ROW - 6}" fill="{color}"/>'
    yield (
        f'<line x1="{_LABEL + low:.1f}" x2="{_LABEL + high:.1f}" y1="{middle:.0f}" y2="{middle:.0f}" stroke="#24292f"/>'
    )
    yield _text(_LABEL + max(length, high) + 6, middle + 4, number(figures.median))


def _label(figures: Figures) -> str:
    if figures.role == "kept":
        return "the bare loop, with the promises"
    name = figures.name.removeprefix("bare loop: ")
    promise = figures.promise
    if figures.role == "peer" and promise.chained and promise.survives:
        name += " (chained)"
    if figures.role == "peer" and promise.verified is False:
        name += " (unverified)"
    return name if len(name) <= _LABEL_CHARS_MAX else name[: _LABEL_CHARS_MAX - 1] + "…"


def _legend() -> Iterator[str]:
    yield _text(16, 26, "bars: medians; thin lines: lowest to highest round; linear scales", size=12, color="#57606a")
    x = 16.0
    for role, words in _LEGEND.items():
        yield f'<rect x="{x:.0f}" y="38" width="11" height="11" fill="{_COLORS[role]}"/>'
        yield _text(x + 16, 48, words, size=12)
        x += 34 + 6.3 * len(words)


def _text(
    x: float,
    y: float,
    words: str,
    *,
    size: int = 13,
    color: str = "#24292f",
    anchor: str = "start",
    weight: str = "400",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" fill="{color}" '
        f'text-anchor="{anchor}">{escape(words)}</text>'
    )
