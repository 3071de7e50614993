"""The plots of ``stats --plot`` (extra ``plot``, matplotlib): context size, tokens over the turns, time by tool.

Drawn without a screen, and the same bytes for the same sessions. Text from a log is escaped as for a terminal, and is
no markup to matplotlib.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from .short_ids import ShownId
from .text import duration, one_line, safe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..queries import Tally, ToolUse

SESSIONS_MAX: Final = 8
"""So many sessions, those with most requests, have a line of their own."""
TOOLS_MAX: Final = 12
TURNS_SHOWN_MIN: Final = 8
"""There is room for so many turns at least: the bar of a single one is not as wide as the page."""
TOOLS_SHOWN_MIN: Final = 3
"""There is room for so many tools at least."""
_ROOM_ABOVE: Final = 1.06
_NAME_CHARS_MAX: Final = 28
_SETTINGS: Final[Any] = {
    "svg.hashsalt": "sessionlog",
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_LAYERS: Final = (
    ("read from cache", "cache_read", "#9ecae1"),
    ("written to cache", "cache_write", "#4292c6"),
    ("other input", "uncached", "#084594"),
    ("output", "output", "#e6550d"),
)


def draw(path: Path, format_: str, tallies: "Sequence[Tally]", *, shown: ShownId) -> None:
    """Draw the plots of sessions, counted with their requests, into ``path`` as ``svg`` or ``png``.

    Sessions are called as they are ``shown``.
    """
    with rc_context(_SETTINGS):
        tools = _tools(tallies)
        figure = Figure(figsize=(9, 7.5 + 0.28 * len(tools)), layout="constrained")
        axes = figure.subplots(3, 1, height_ratios=(3, 3, 0.8 + 0.28 * len(tools)))
        _draw_context(axes[0], tallies, shown)
        _draw_tokens(axes[1], tallies)
        _draw_tools(axes[2], tools)
        metadata = {"Date": None} if format_ == "svg" else None
        figure.savefig(path, format=format_, dpi=120, metadata=metadata)


def _draw_context(axes: "Axes", tallies: "Sequence[Tally]", shown: ShownId) -> None:
    axes.set_title("Context size", loc="left")
    axes.set_xlabel("model request")
    axes.set_ylabel("tokens in the prompt")
    with_requests = sorted((tally for tally in tallies if tally.requests), key=lambda tally: -len(tally.requests))
    for tally in with_requests[:SESSIONS_MAX]:
        sizes = [float(request.tokens.input_total) for request in tally.requests]
        axes.plot(
            range(1, len(sizes) + 1), sizes, label=_name(shown(tally.stats.session_id or "")), marker=_marker(sizes)
        )
    left = len(with_requests) - SESSIONS_MAX
    if with_requests:
        _legend(axes, title=f"and {left} more, not drawn" if left > 0 else None)
    _scale(axes, empty=not with_requests)


def _draw_tokens(axes: "Axes", tallies: "Sequence[Tally]") -> None:
    """Draw the tokens of each turn, one layer on the other; those of several sessions are added up by turn."""
    axes.set_title("Tokens over the turns" + (", all sessions" if len(tallies) > 1 else ""), loc="left")
    axes.set_xlabel("turn")
    axes.set_ylabel("tokens")
    by_turn: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for request in (request for tally in tallies for request in tally.requests):
        for _, name, _ in _LAYERS:
            by_turn[request.turn][name] += getattr(request.tokens, name)
    turns = sorted(by_turn)
    bottom = [0.0] * len(turns)
    for label, name, colour in _LAYERS:
        heights = [float(by_turn[turn][name]) for turn in turns]
        axes.bar(turns, heights, bottom=bottom, label=label, color=colour)
        bottom = [one + other for one, other in zip(bottom, heights, strict=True)]
    if turns:
        axes.set_xlim(0.4, max(TURNS_SHOWN_MIN, turns[-1]) + 0.6)
        _legend(axes)
    _scale(axes, empty=not turns)
    if turns and turns[-1] < TURNS_SHOWN_MIN:
        axes.set_xticks(range(1, turns[-1] + 1))


def _legend(axes: "Axes", *, title: str | None = None) -> None:
    """Put the legend beside the plot, where it hides nothing."""
    axes.legend(
        title=title, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0, fontsize="small", frameon=False
    )


def _tools(tallies: "Sequence[Tally]") -> "list[tuple[str, ToolUse]]":
    """Return the tools that took longest, longest last; the rest of them as one."""
    from ..queries import total_stats  # noqa: PLC0415 - as matplotlib: nothing else needs it

    used = total_stats(tally.stats for tally in tallies).tools.items()
    timed = sorted((item for item in used if item[1].timed), key=lambda item: -item[1].time_ms)
    shown, rest = timed[:TOOLS_MAX], timed[TOOLS_MAX:]
    if len(rest) == 1:
        shown.append(rest[0])
    elif rest:
        other = rest[0][1].__class__()
        for _, use in rest:
            other.add(use)
        shown.append((f"{len(rest)} others", other))
    return shown[::-1]


def _draw_tools(axes: "Axes", tools: "Sequence[tuple[str, ToolUse]]") -> None:
    axes.set_title("Time by tool, from call to result", loc="left")
    unit, unit_ms = _time_unit(max((use.time_ms for _, use in tools), default=0))
    axes.set_xlabel(unit)
    places = range(len(tools))
    bars = axes.barh(places, [use.time_ms / unit_ms for _, use in tools], color="#4292c6")
    axes.set_yticks(places, [_name(name) for name, _ in tools])
    axes.bar_label(bars, [f" {duration(use.time_ms)}, {use.timed}x" for _, use in tools], fontsize="small")
    room = 0.6 + max(0, TOOLS_SHOWN_MIN - len(tools)) / 2
    axes.set_ylim(-room, len(tools) - 1 + room)
    axes.margins(x=0.3)
    if not tools:
        _say_empty(axes)


def _time_unit(longest_ms: int) -> tuple[str, int]:
    """Return the unit in which people would tell so long a time, and its milliseconds."""
    if longest_ms < 2 * 60_000:
        return "seconds", 1000
    return ("minutes", 60_000) if longest_ms < 2 * 3_600_000 else ("hours", 3_600_000)


def _scale(axes: "Axes", *, empty: bool) -> None:
    if empty:
        _say_empty(axes)
        return
    axes.set_ylim(0, _ROOM_ABOVE * max(1, axes.dataLim.y1))
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _say_empty(axes: "Axes") -> None:
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, "nothing is logged of this", ha="center", va="center", transform=axes.transAxes, color="grey")


def _marker(values: Sequence[Any]) -> str:
    return "o" if len(values) < 3 else ""


def _name(text: str) -> str:
    """Return a name in few characters."""
    return one_line(safe(text), chars_max=_NAME_CHARS_MAX) or "(no call)"
