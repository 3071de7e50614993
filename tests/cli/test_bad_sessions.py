"""One session that cannot be read, or only in part, never hides the others, whatever is wrong with it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Cli, user
from .test_damage import flip

GOOD = ("alpha-1", "beta-1")


def torn(path: Path) -> None:
    os.truncate(path, path.stat().st_size + 100_000_000)


def without_line_feed(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def too_long_a_line(path: Path) -> None:
    os.truncate(path, 100_000_000)
    with path.open("ab") as file:
        file.write(b"\n")


def broken(path: Path) -> None:
    flip(path, line=1)


def broken_from_the_start(path: Path) -> None:
    path.write_bytes(b"junk\n" + path.read_bytes())


def empty(path: Path) -> None:
    path.write_bytes(b"")


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def symlink(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name(f"{GOOD[0]}.jsonl"))


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def unreadable(path: Path) -> None:
    path.chmod(0)


not_root = pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
KINDS: list[Callable[[Path], None]] = [
    torn,
    without_line_feed,
    too_long_a_line,
    broken,
    broken_from_the_start,
    empty,
    directory,
    symlink,
    fifo,
]


@pytest.mark.parametrize("spoil", [*KINDS, pytest.param(unreadable, marks=not_root)])
def test_the_others_are_shown(run: Cli, spoil: Callable[[Path], None]) -> None:
    """Every command that goes over the whole store tells of the good sessions, and ends as such commands end."""
    run.append("beta-1", user("A third thing"))
    spoil(run.log("alpha-2"))
    for command in (("list",), ("stats",), ("graph",), ("verify",), ("audit",), ("search", ".", "--regex")):
        ran = run(*command, "--json")
        assert ran.status in (0, 1, 2), (command, ran)
        assert "internal error" not in ran.stderr, (command, ran)
        shown = {one.get("session_id") for one in ran.objects}
        assert set(GOOD) <= shown, (command, ran)
        assert all(name in run(*command).stdout for name in GOOD), command
