"""What the plots of ``stats --plot`` show: units, names and room as people read them."""

from pathlib import Path

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from sessionlog import build_chain, user_message
from sessionlog.cli import plots
from sessionlog.entries import FORMAT, LlmUsage, LogEntry, RequestConfig, SessionStart, UserInput
from sessionlog.ids import SessionId
from sessionlog.queries import Tally, ToolUse


def tally(session_id: str, turns: int) -> Tally:
    """Return a counted session with a model request in each turn."""
    start = SessionStart(
        ts=1, format=FORMAT, session_id=SessionId(session_id), config=RequestConfig(model="m"), history=[]
    )
    usage = LlmUsage(
        ts=2, history_len=1, input_total_tokens=9, cache_read_tokens=1, cache_write_tokens=1, output_tokens=3
    )
    one = Tally(session_id, keep_requests=True)
    entries: list[LogEntry] = [start]
    for _ in range(turns):
        entries += [UserInput(ts=1, item=user_message("x")), usage]
    for record in build_chain(entries):
        one.take(record)
    return one


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Axes]:
    """The axes of the figure that is drawn while the test runs."""
    found: list[Axes] = []
    save = Figure.savefig

    def keep(self: Figure, *args: object, **options: object) -> None:
        found.extend(self.axes)
        save(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Figure, "savefig", keep)
    return found


@pytest.mark.parametrize(
    ("longest_ms", "unit"),
    [(0, "seconds"), (119_999, "seconds"), (120_000, "minutes"), (7_199_999, "minutes"), (7_200_000, "hours")],
)
def test_a_time_is_told_in_the_unit_that_fits(longest_ms: int, unit: str) -> None:
    assert plots._time_unit(longest_ms)[0] == unit


def test_a_single_bar_is_not_as_wide_as_the_page(tmp_path: Path, drawn: list[Axes]) -> None:
    """There is room for eight turns at least; more turns take what they need."""
    plots.draw(tmp_path / "one.png", "png", [tally("s", 1)], shown=str)
    plots.draw(tmp_path / "many.png", "png", [tally("s", 20)], shown=str)
    one, many = drawn[1], drawn[4]
    assert (one.get_xlim()[1], many.get_xlim()[1]) == (8.6, 20.6)
    bar = one.patches[0]
    assert isinstance(bar, Rectangle)
    assert bar.get_width() / (one.get_xlim()[1] - one.get_xlim()[0]) < 0.12


def test_a_legend_hides_no_line_and_names_sessions_in_short(tmp_path: Path, drawn: list[Axes]) -> None:
    plots.draw(tmp_path / "plot.svg", "svg", [tally("0190163d-8694", 3), tally("other", 2)], shown=lambda one: one[:8])
    for axes in drawn[:2]:
        legend = axes.get_legend()
        assert legend is not None
        assert legend.get_window_extent().x0 >= axes.get_window_extent().x1
    legend = drawn[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["0190163d", "other"]


def test_what_is_drawn_is_in_the_picture(tmp_path: Path, drawn: list[Axes]) -> None:
    """Two sizes that hardly differ: neither's mark is cut off at the top; only turns that were have a tick."""
    plots.draw(tmp_path / "plot.png", "png", [tally("s", 2)], shown=str)
    context, tokens, _ = drawn
    assert context.get_ylim()[0] == 0
    assert context.get_ylim()[1] > 9 * 1.05
    assert list(tokens.get_xticks()) == [1, 2]


def test_nothing_has_no_scale(tmp_path: Path, drawn: list[Axes]) -> None:
    plots.draw(tmp_path / "plot.png", "png", [], shown=str)
    for axes in drawn:
        assert [text.get_text() for text in axes.texts] == ["nothing is logged of this"]
        assert not axes.get_xticks().size
        assert not axes.get_yticks().size


@pytest.mark.parametrize("count", [1, plots.TOOLS_SHOWN_MIN, 9])
def test_a_few_bars_are_as_thin_as_many(tmp_path: Path, drawn: list[Axes], count: int) -> None:
    one = tally("s", 1)
    one.stats.tools = {f"tool-{number}": ToolUse(calls=1, timed=1, time_ms=1000) for number in range(count)}
    plots.draw(tmp_path / "plot.png", "png", [one], shown=str)
    bar = drawn[2].patches[0].get_window_extent()
    assert bar.height < 0.05 * drawn[2].figure.bbox.height
