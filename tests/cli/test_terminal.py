"""Every command on a real terminal, as a person sees it: the screen and the exit status, not the bytes."""

import shutil
from importlib.resources import as_file, files
from pathlib import Path

import pytest

from .conftest import Cli, user
from .terminal import CTRL_C, PROGRAM, Terminal, look, look_at_shell

BAR = "━"
"""What a bar is drawn with; it is drawn at once, however fast the command is."""


@pytest.fixture
def transcripts(tmp_path: Path) -> Path:
    """A folder of three transcripts, one of which holds no JSON."""
    folder = tmp_path / "transcripts"
    with as_file(files("sessionlog.cli") / "demo_data") as data:
        shutil.copytree(data, folder)
    (folder / "broken.jsonl").write_text("rubbish\n")
    return folder


@pytest.mark.parametrize("columns", [80, 120])
def test_an_import_prints_while_its_bar_is_up(empty: Cli, transcripts: Path, columns: int) -> None:
    """A line on standard output and a note on standard error, both under the bar, of which nothing is left."""
    seen = look("import", str(transcripts), store=empty.store, columns=columns)
    assert seen.status == 2
    assert "internal error" not in seen.output
    assert BAR in seen.output
    assert BAR not in seen.text
    assert "noline" in "".join(seen.lines).replace(" ", "")  # "no line of it holds a JSON object", wrapped anywhere
    assert not seen.cursor_hidden


def test_more_lines_than_are_gathered_go_out_under_the_bar(run: Cli) -> None:
    run.append("long", *(user(f"the word, {'again and ' * 12}again {number}") for number in range(900)))
    seen = look("search", "word", store=run.store)
    assert seen.status == 0
    seen.assert_sound()
    assert BAR in seen.output
    assert BAR not in seen.text


def test_the_terminal_tells_lines_that_are_too_wide() -> None:
    """The harness itself: wrapped lines, scrolled lines, erased ones, a hidden cursor, the status of a signal."""
    script = r"seq 1 30; printf '%090d\n' 7; printf 'gone\r\033[Kstays\n\033[?25l'; kill -TERM $$"
    with Terminal(["bash", "-c", script], columns=80) as terminal:
        seen = terminal.finish()
    assert seen.lines == [*map(str, range(1, 31)), "0" * 80, "0" * 9 + "7", "stays"]
    assert seen.wrapped == ["0" * 80]
    assert seen.status == 128 + 15
    assert seen.cursor_hidden
    assert "gone" in seen.output


def test_keys_reach_the_program(run: Cli) -> None:
    with Terminal([PROGRAM, "--store", str(run.store), "tail", "-f", "alpha-1"]) as terminal:
        terminal.wait_for("turn 1 is over")
        terminal.send(CTRL_C)
        seen = terminal.finish()
    assert seen.status == 130
    seen.assert_sound()


def test_a_reader_that_goes_away_ends_the_program(run: Cli) -> None:
    run.append("long", *(user("x" * 1000) for _ in range(1000)))
    seen = look_at_shell("show", "long", "--json", then="| head -c 20", store=run.store)
    assert seen.status == 141
    assert len(seen.text) == 20
