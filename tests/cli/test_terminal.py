"""Every command on a real terminal, as a person sees it: the screen and the exit status, not the bytes."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path

import pytest

from sessionlog.cli.app import cli

from .conftest import Cli, user
from .terminal import CTRL_C, CTRL_D, PROGRAM, Seen, Terminal, look, look_at_shell

BAR = "━"
"""What a bar is drawn with; it is drawn at once, however fast the command is."""
SESSION = "8d924656"
COMMANDS: dict[str, tuple[str, ...]] = {
    "anchor": ("anchor", "--anchors", "anchors", "--keys", "keys"),
    "append": ("append", SESSION),
    "audit": ("audit",),
    "audit-anchors": ("audit-anchors", "--anchors", "anchors", "--policy", "policy"),
    "check-proof": ("check-proof", "proof.tlog-proof", "--policy", "policy"),
    "completion": ("completion", "bash"),
    "delete": ("delete", SESSION, "--dry-run"),
    "demo": ("demo",),
    "diff": ("diff", SESSION, "8d924656-fork-"),
    "export": ("export", SESSION, "--format", "markdown"),
    "finalize": ("finalize", SESSION, "--anchors", "anchors", "--keys", "keys"),
    "fork": ("fork", SESSION, "--at", "3"),
    "graph": ("graph",),
    "import": ("import", "transcripts"),
    "keys": ("keys", "vkey", "--keys", "keys"),
    "label": ("label", SESSION, "team=x"),
    "list": ("list",),
    "log": ("log", SESSION),
    "loops": ("loops", SESSION),
    "prove": ("prove", SESSION, "3", "--anchors", "anchors", "--output", "another"),
    "repair": ("repair", SESSION),
    "restore": ("restore", SESSION),
    "search": ("search", "the"),
    "show": ("show", SESSION),
    "sql": ("sql",),
    "stats": ("stats",),
    "tail": ("tail", SESSION),
    "verify": ("verify",),
    "watch": ("watch", "transcripts"),
    "witness": ("witness", "init", "example.com/witness", "--dir", "witness"),
}
"""Each command as somebody calls it in the folder that :func:`place` makes."""
KEYS = {"append": CTRL_D, "watch": CTRL_C}
"""What ends a command that waits."""
STATUS = {"audit-anchors": 3, "import": 2, "watch": 130}
"""What ends with another status than 0: nothing was cosigned, one transcript is broken, Ctrl-C ends a watch."""
WITH_BAR = ("audit", "delete", "demo", "graph", "import", "list", "search", "sql", "stats", "verify")
RAW = ("completion", "export")
"""What prints text for other programs, whose lines are as long as they are."""
ENDINGS = {">&-": 2, "2>&-": 0, ">/dev/full": 2, "2>/dev/full": 0}
"""What may be wrong with the standard streams, and the exit status of a command that has something to say."""


@pytest.fixture(scope="module")
def demo_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("demo") / "store"
    with Terminal([PROGRAM, "demo", "--store", str(store)]) as terminal:
        assert terminal.finish().status == 0
    return store


@pytest.fixture(scope="module")
def anchored(demo_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a key, a policy that trusts it, anchors of the demo's sessions, and a proof of a record."""
    folder = tmp_path_factory.mktemp("anchored")
    cli_here = Cli(demo_store)
    keys, anchors = ("--keys", str(folder / "keys")), ("--anchors", str(folder / "anchors"))
    vkey = cli_here("keys", "init", "example.com/demo", *keys).stdout
    (folder / "policy").write_text(f"log {vkey.strip()}\nquorum none\n")
    assert cli_here("anchor", *anchors, *keys).status == 0
    assert cli_here("prove", SESSION, "3", *anchors, "--output", str(folder / "proof")).status == 0
    return folder


@pytest.fixture
def place(demo_store: Path, anchored: Path, tmp_path: Path) -> Iterator[Path]:
    """A folder with a store of the demo's sessions and a folder ``transcripts``, one of which holds no JSON."""
    shutil.copytree(demo_store, tmp_path / "sessions")
    with as_file(files("sessionlog.cli") / "demo_data") as data:
        shutil.copytree(data, tmp_path / "transcripts")
    (tmp_path / "transcripts" / "broken.jsonl").write_text("rubbish\n")
    (tmp_path / "transcripts" / "notes.md").write_text("mine\n")
    shutil.copytree(anchored, tmp_path, dirs_exist_ok=True)
    with contextlib.chdir(tmp_path):
        yield tmp_path


def run_one(name: str, *args: str, columns: int = 80, **env: str) -> Seen:
    """Run the command of that name, and end it if it waits."""
    with Terminal([PROGRAM, *COMMANDS[name], *args], columns=columns, env={"PAGER": "cat", **env}) as terminal:
        if name == "watch":
            terminal.wait_for("Ctrl-C ends it")
        terminal.send(KEYS.get(name, ""))
        return terminal.finish()


def test_the_table_has_every_command() -> None:
    assert set(COMMANDS) == set(cli.commands)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_fits_a_terminal_of_80_columns(place: Path, name: str) -> None:
    """Whole, with its bar gone again, and no id of the store pushed over the edge."""
    seen = run_one(name)
    assert seen.status == STATUS.get(name, 0), seen.text
    seen.assert_sound(lines_fit=name not in RAW)
    assert (BAR in seen.output) is (name in WITH_BAR)
    assert BAR not in seen.text


@pytest.mark.long
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["colour", "no colour", "dumb"])
def test_every_command_fits_a_terminal_of_120_columns(place: Path, name: str, env: dict[str, str]) -> None:
    seen = run_one(name, columns=120, **env)
    assert seen.status == STATUS.get(name, 0), seen.text
    seen.assert_sound(lines_fit=name not in RAW)
    if env:
        assert "\x1b[36m" not in seen.output
    if env.get("TERM") == "dumb":
        assert "\x1b" not in seen.output


@pytest.mark.parametrize("name", ["list", "import"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_streams_that_cannot_be_written_to(place: Path, name: str, ending: str) -> None:
    check_ending(name, ending)


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - KEYS.keys() - {"list", "import"}))
@pytest.mark.parametrize("ending", ENDINGS)
def test_streams_that_cannot_be_written_to_by_any_command(place: Path, name: str, ending: str) -> None:
    check_ending(name, ending)


def check_ending(name: str, ending: str) -> None:
    """One line at most, which is no traceback, not even from Python when it exits."""
    seen = look_at_shell(*COMMANDS[name], then=ending, PAGER="cat")
    assert seen.status == max(STATUS.get(name, 0), ENDINGS[ending]), seen.text
    assert "Exception ignored" not in seen.output
    seen.assert_sound(lines_fit=name not in RAW)


@pytest.mark.parametrize("name", ["show", "verify"])
def test_a_pipe_whose_reader_may_use_the_terminal_too(place: Path, name: str) -> None:
    """A bar is gone for good before the first line goes into the pipe."""
    seen = look_at_shell(*COMMANDS[name], then="| cat")
    assert seen.status == 0
    assert "Traceback" not in seen.output
    assert BAR not in seen.text
    assert f"{SESSION}-df80-5729-bdda-039c00a23def" in seen.text or name == "show"


def test_a_reader_that_goes_away_ends_the_program(run: Cli) -> None:
    run.append("long", *(user("x" * 1000) for _ in range(1000)))
    seen = look_at_shell("show", "long", "--json", then="| head -c 20", store=run.store)
    assert seen.status == 141
    assert len(seen.text) == 20


def test_an_import_says_what_a_reader_that_went_away_leaves_undone(tmp_path: Path) -> None:
    """On standard error, and by name: nobody reads standard output any more. What is printed fills a piece."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(150):
        (folder / f"{number:03}{'x' * 200}.jsonl").touch()
    reader, writer = os.pipe()
    os.close(reader)
    command = [PROGRAM, "--store", str(tmp_path / "store"), "import", str(folder), "--json"]
    ran = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert ran.returncode == 141
    assert ran.stderr.startswith("sessionlog: the reader of standard output has gone: ")
    assert " of 150 files not reported, from " in ran.stderr
    assert ran.stderr.endswith("x.jsonl on; import again to go on\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_under_the_bar_leaves_the_terminal_as_it_was(tmp_path: Path, number: signal.Signals) -> None:
    """The program cannot end before: what it prints is not read until then."""
    folder = many_transcripts(tmp_path, 1000)
    with Terminal([PROGRAM, "import", str(folder)], env={"SESSIONLOG_STORE": str(tmp_path / "store")}) as terminal:
        terminal.wait_for(BAR)
        os.kill(terminal.pid, number)
        seen = terminal.finish()
    assert seen.status == 128 + number
    seen.assert_sound()
    assert BAR not in seen.text
    assert "total" not in seen.text


def test_ids_are_whole_where_they_are_asked_for(place: Path) -> None:
    whole = f"{SESSION}-df80-5729-bdda-039c00a23def"
    assert whole not in look("list").text
    assert whole in look("list", "--full-ids").text
    assert whole in look("--full-ids", "verify").text
    assert whole in look("list", "--json", columns=400).text


def test_what_a_terminal_shows_is_taken_back(place: Path) -> None:
    """Every id that ``list`` shows names its session."""
    shown = [line.split()[0] for line in look("list", "--flat").lines[1:] if not line.startswith("without")]
    cli_here = Cli(place / "sessions")
    assert {cli_here("restore", one, "--json").objects[0]["session_id"] for one in shown} == {
        row["session_id"] for row in cli_here("list", "--json").objects
    }


def test_an_import_names_what_failed_and_what_it_passed_over(place: Path) -> None:
    """Under the table, by the paths that tell the files apart; the failure also when it happens."""
    (place / "transcripts" / "empty.jsonl").touch()
    seen = look("import", "transcripts", columns=120)
    assert seen.status == 2
    assert "1 file failed:" in seen.lines
    assert "  broken.jsonl: no line of it holds a JSON object: is it a transcript?" in seen.lines
    assert "1 file passed over (empty): empty.jsonl" in seen.lines
    [others] = [line for line in seen.lines if line.startswith("2 files passed over (not .jsonl): ")]
    assert others.endswith("/agent-a3f19c07.meta.json, notes.md")


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for name in ("one", "two/deeper"):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "a.jsonl").write_text("rubbish\n")
    ran = Cli(tmp_path / "store")("import", str(tmp_path / "in"))
    assert [line.split(":")[0] for line in ran.lines if "a.jsonl" in line] == ["  one/a.jsonl", "  two/deeper/a.jsonl"]


# --- All of the shared data


@pytest.fixture(scope="module")
def shared_store(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of the shared transcripts in one store, imported under a bar."""
    store = tmp_path_factory.mktemp("shared") / "store"
    seen = look("import", str(shared / "data"), store=store)
    assert seen.status == 0
    seen.assert_sound()
    assert BAR in seen.output
    return store


BIG = "258c7280"
ON_SHARED = {
    name: tuple(BIG if one == SESSION else f"{BIG}-compact-" if one == f"{SESSION}-fork-" else one for one in args)
    for name, args in COMMANDS.items()
    if name not in {"append", "completion", "demo", "import", "watch"}
}
"""What makes sense on a store of many sessions."""


@pytest.mark.long
@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("name", ON_SHARED)
def test_real_sessions_fit_a_terminal(shared_store: Path, name: str, columns: int) -> None:
    seen = look(*ON_SHARED[name], store=shared_store, columns=columns, PAGER="cat")
    assert seen.status == 0, seen.text
    seen.assert_sound(lines_fit=name not in RAW)


# --- The harness itself


def test_the_terminal_tells_lines_that_are_too_wide() -> None:
    """Wrapped lines, scrolled lines, erased ones, a hidden cursor, the status of a signal."""
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


def many_transcripts(tmp_path: Path, count: int) -> Path:
    """A folder of files that are refused at once, each with a message."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:04}.jsonl").write_text("rubbish\n")
    return folder
