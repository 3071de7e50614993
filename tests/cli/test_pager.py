"""`log` and `show` in a pager, as `git log` is: what is read, how it ends, and what stands in for it."""

import sys
from pathlib import Path

import pytest

from .conftest import Cli, user
from .terminal import CTRL_C, PROGRAM, Terminal, look, look_at_shell


@pytest.fixture
def long(run: Cli) -> Cli:
    """A session ``long``, larger than any pipe holds."""
    run.append("long", *(user(f"message {number} {'x' * 4000}") for number in range(80)), user("the end of it"))
    return run


@pytest.fixture
def script(tmp_path: Path) -> str:
    """A pager that tells its arguments, its ``LESS`` and the first line that it is given, and goes away."""
    path = tmp_path / "my pager"
    path.write_text('#!/bin/sh\nread -r line\necho "PAGER <$1> LESS=$LESS <$line>"\n')
    path.chmod(0o700)
    return f"'{path}' 'a  b;c' --x"


@pytest.mark.parametrize("command", ["log", "show"])
def test_less_pages_and_quitting_it_early_is_no_error(long: Cli, command: str) -> None:
    with Terminal([PROGRAM, command, "long", "--store", str(long.store)], env={"PAGER": "less"}) as terminal:
        terminal.wait_for("message 0")
        terminal.wait_for(":")
        assert "message 70" not in "\n".join(terminal.lines)
        terminal.send("q")
        seen = terminal.finish()
    assert seen.status == 0
    seen.assert_sound()


def test_less_is_the_default_and_ends_by_itself_where_all_fits(run: Cli) -> None:
    with Terminal([PROGRAM, "log", "alpha-1", "--store", str(run.store)], env={"PAGER": "less"}) as terminal:
        seen = terminal.finish()
    assert seen.status == 0
    assert "On it." in seen.text
    seen.assert_sound()


STUBBORN = """\
import os, signal, sys
signal.signal(signal.SIGINT, lambda *_: os.write(1, b"PAGER interrupted\\n"))
{read}
os.write(1, b"PAGER ready\\n")
open("/dev/tty").readline()
"""
"""A pager that stays where it is when Ctrl-C comes, as less does, and ends with Enter."""


def stubborn(tmp_path: Path, *, read: str) -> str:
    path = tmp_path / "stubborn.py"
    path.write_text(STUBBORN.format(read=read))
    return f"{sys.executable} {path}"


@pytest.mark.parametrize(
    ("read", "status"), [("sys.stdin.buffer.read(1)", 130), ("sys.stdin.buffer.read()", 0)], ids=["some", "all"]
)
def test_ctrl_c_is_the_pagers_own(long: Cli, tmp_path: Path, read: str, status: int) -> None:
    """It ends the reading of the log, if that is not over, and the program stays until the pager has ended."""
    command = [PROGRAM, "log", "long", "--store", str(long.store)]
    with Terminal(command, env={"PAGER": stubborn(tmp_path, read=read)}) as terminal:
        terminal.wait_for("PAGER ready")
        for count in range(1, 4):
            terminal.send(CTRL_C)
            terminal.wait_for_count("PAGER interrupted", count)
        terminal.send("\n")
        seen = terminal.finish()
    assert seen.status == status
    seen.assert_sound()


def test_a_pager_that_ctrl_c_kills_leaves_nothing_behind(long: Cli) -> None:
    command = [PROGRAM, "log", "long", "--store", str(long.store)]
    with Terminal(command, env={"PAGER": "sh -c 'echo PAGER; exec sleep 1000'"}) as terminal:
        terminal.wait_for("PAGER")
        terminal.send(CTRL_C)
        seen = terminal.finish()
    assert seen.status == 130


@pytest.mark.parametrize("pager", ["", " ", "cat"])
def test_no_pager_prints_at_once(run: Cli, pager: str) -> None:
    seen = look("log", "alpha-1", store=run.store, PAGER=pager)
    assert seen.status == 0
    assert "On it." in seen.text
    seen.assert_sound()


@pytest.mark.parametrize("pager", ["no-such-pager-at-all", "less 'unclosed", "/"])
def test_a_pager_that_cannot_be_started_is_told_and_done_without(run: Cli, pager: str) -> None:
    seen = look("log", "alpha-1", store=run.store, PAGER=pager)
    assert seen.status == 0
    assert "cannot be started" in " ".join(seen.lines[:2])
    assert "On it." in seen.text


def test_the_default_pager_may_be_absent(run: Cli, tmp_path: Path) -> None:
    seen = look("log", "alpha-1", store=run.store, PAGER="less", PATH=str(tmp_path))
    assert (seen.status, seen.lines[0]) == (0, "session    alpha-1")


def test_a_pager_may_have_arguments_and_is_no_shell_line(long: Cli, script: str) -> None:
    seen = look("log", "long", store=long.store, PAGER=script)
    assert (seen.status, seen.lines) == (0, ["PAGER <a  b;c> LESS=FRX <session    long>"])
    assert look("log", "long", store=long.store, PAGER=script, LESS="R").lines == [
        "PAGER <a  b;c> LESS=R <session    long>"
    ]


def test_no_pager_where_nobody_reads_on_a_terminal(run: Cli, script: str) -> None:
    assert "PAGER <" not in look("log", "alpha-1", "--no-pager", store=run.store, PAGER=script).text
    assert "PAGER <" not in look("log", "alpha-1", "--json", store=run.store, PAGER=script).text
    assert "PAGER <" not in look("log", "alpha-1", store=run.store, TERM="dumb", PAGER=script).text
    assert "PAGER <" not in look_at_shell("log", "alpha-1", then="| head -n 2", store=run.store, PAGER=script).text


def test_a_damaged_log_is_told_behind_what_was_read(run: Cli) -> None:
    data = run.log("alpha-1").read_bytes()
    run.log("alpha-1").write_bytes(data.replace(b"On it.", b"On 1t."))
    seen = look("log", "alpha-1", store=run.store, PAGER="less")
    assert seen.status == 1
    assert seen.text.index("Fix the parser") < seen.text.index("sessionlog: ")
