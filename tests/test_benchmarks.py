"""The benchmarks run: every question, the targets, the chart, and what is written into the documentation."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest
from benchmarks import chart, questions, report
from benchmarks.harness import CaseResult, Figures, Promise, Role
from benchmarks.publish import BEGIN, END, publish
from benchmarks.results import Machine, Results
from benchmarks.targets import TARGETS, Target, outcomes

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_S = 1200
"""Ends a run that hangs; a busy machine needs minutes for what takes half of one."""


def run(*arguments: str | Path) -> str:
    """Run ``python -m benchmarks``; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_question_runs(tmp_path: Path) -> None:
    """A tiny run answers every question, prints every target, keeps and draws its results, and leaves no file."""
    kept, drawn, work = tmp_path / "kept.json", tmp_path / "drawn.svg", tmp_path / "work"
    work.mkdir()
    printed = run("--tiny", "--json", kept, "--svg", drawn, "--dir", work)
    assert list(work.iterdir()) == []

    results = msgspec.json.decode(kept.read_bytes(), type=Results)
    skipped: dict[str, str] = {}
    names = {question.name for question in questions.load(skipped)}
    assert skipped == {}
    assert {case.question for case in results.cases} == names
    for case in results.cases:
        assert case.title in printed
    for target in TARGETS:
        assert target.asks in printed
    assert ET.parse(drawn).getroot().tag.endswith("svg")

    assert run("--results", kept).count("\n") == printed.count("\n")


def figures(name: str, *rounds: float, survives: bool = True, role: Role = "peer") -> Figures:
    promise = Promise(survives="a killed process" if survives else "power loss", chained=True)
    return Figures(
        name=name,
        role=role,
        promise=promise,
        rounds=list(rounds),
        ratios=[10 / figure for figure in rounds],
    )


@pytest.fixture
def results() -> Results:
    """Two rounds of one made-up case."""
    case = CaseResult(
        question="append-os",
        name="append-os/1",
        title="append",
        unit="appends/s",
        better="more",
        figures=[
            figures("ours", 10, 10),
            figures("bare", 20, 25, role="floor"),
            figures("checked", 12, 13, role="kept"),
            figures("synced", 1, 2, survives=False),
        ],
    )
    machine = Machine(
        processor="a processor", cores=2, memory_gib=4, system="an OS", file_system="fs", python="P", packages={}
    )
    return Results(plan="quick", rounds=2, date="2026-01-01", seconds=1, machine=machine, cases=[case], skipped={})


def test_targets_are_held_against_ratios(results: Results) -> None:
    """A target is met, not met or not measured; a comparison of a kept with a synced append says so."""
    made = [
        Target("more", "append-os/1", "bare", 0.4, "at least"),
        Target("most", "append-os/1", "synced", 7.4, "at most"),
        Target("none", "append-os/1", "absent", 1, "at least"),
        Target("gone", "append-os/2", "bare", 1, "at least"),
    ]
    more, most, none, gone = outcomes(results, made)
    assert more.met is True
    assert more.reached == pytest.approx(0.45)
    assert more.floor is None
    assert more.kept == pytest.approx(0.56)
    assert most.met is False
    assert most.reached == pytest.approx(7.5)
    assert most.floor == pytest.approx(16.25)
    assert most.kept == pytest.approx(9.25)
    assert "power loss" in most.note
    assert (none.met, gone.met) == (None, None)


def test_chart_compares_like_with_like(results: Results) -> None:
    """A panel shows only what survives what its first contender survives."""
    drawn = chart.svg(results)
    assert "bare" in drawn
    assert "synced" not in drawn


@contextmanager
def pages(root: Path, text: str) -> Iterator[list[Path]]:
    (root / "docs").mkdir()
    found = [root / "README.md", root / "docs" / "performance.md"]
    for page in found:
        page.write_text(text)
    yield found


def test_publish_fills_the_marked_places(results: Results, tmp_path: Path) -> None:
    """Publishing replaces what stands between the marks, and nothing else; twice is once."""
    with pages(tmp_path, f"before\n{BEGIN}\nold\n{END}\nafter\n") as found:
        publish(results, tmp_path)
        texts = [page.read_text() for page in found]
        for text in texts:
            assert text.startswith(f"before\n{BEGIN}\n")
            assert text.endswith(f"{END}\nafter\n")
            assert "old" not in text
            assert "a processor, 2 cores" in text
        publish(results, tmp_path)
        assert [page.read_text() for page in found] == texts
    assert (tmp_path / "docs" / "benchmarks.svg").is_file()


def test_publish_refuses_a_page_without_marks(results: Results, tmp_path: Path) -> None:
    """A page without marks is an error, and no page is written then."""
    with pages(tmp_path, "no marks\n") as found:
        with pytest.raises(ValueError, match="README"):
            publish(results, tmp_path)
        assert [page.read_text() for page in found] == ["no marks\n"] * 2


def test_marks_are_in_place() -> None:
    """README.md and docs/performance.md have one pair of marks each."""
    for page in (ROOT / "README.md", ROOT / "docs" / "performance.md"):
        text = page.read_text(encoding="utf-8")
        assert (text.count(BEGIN), text.count(END)) == (1, 1)


@pytest.mark.parametrize(
    ("value", "words"), [(0.123, "0.12"), (12.34, "12.3"), (123.4, "123"), (1234, "1,230"), (123_456, "123,000")]
)
def test_numbers_have_three_digits(value: float, words: str) -> None:
    """A figure is shown with the digits that mean something."""
    assert report.number(value) == words
