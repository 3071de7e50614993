"""``watch``: imports what is there and what comes, tells what goes wrong once, ends on Ctrl-C, needs an extra."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .conftest import Cli, Ran, json_lines

WAIT_S = 600
STAMP = "2026-01-01T00:00:00.000Z"


def pi_session(session_id: str, *texts: str) -> str:
    lines: list[dict[str, object]] = [{"type": "session", "version": 3, "id": session_id, "timestamp": STAMP}]
    for number, text in enumerate(texts):
        message = {"role": "user", "content": text}
        parent = None if number == 0 else f"m{number - 1}"
        lines.append(
            {"type": "message", "id": f"m{number}", "parentId": parent, "timestamp": STAMP, "message": message}
        )
    return json_lines(lines)


class Watching:
    """A watch that runs."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process

    def out(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode()

    def err(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.readline().decode()

    def interrupt(self) -> Ran:
        """Press Ctrl-C; return what was not read yet."""
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=WAIT_S)
        return Ran(self.process.returncode, out.decode(), err.decode())


@contextmanager
def watching(cli: Cli, *args: str | Path) -> Iterator[Watching]:
    with cli.start("watch", *map(str, args)) as process:
        timer = threading.Timer(WAIT_S, process.kill)
        timer.start()
        try:
            yield Watching(process)
        finally:
            timer.cancel()
            process.kill()


def patched(cli: Cli, code: str) -> None:
    """Run ``code`` before the command line does, in the process that it runs in."""
    end = "import sys\nfrom sessionlog.cli.app import run\nsys.exit(run(sys.argv[1:]))\n"
    cli.command = [sys.executable, "-c", code + end, "--store", str(cli.store)]


FAST = """
from sessionlog.importers import watching
watching.Watch.__init__.__kwdefaults__["pace"] = watching.PACE._replace(look_s=0.1, pause_s=0)
"""
"""Files rest less: a test need not wait for the second import of one."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one session of pi."""
    pytest.importorskip("watchfiles")
    path = tmp_path / "agents"
    path.mkdir()
    (path / "a.jsonl").write_text(pi_session("aaaa", "one"))
    return path


def test_what_is_there_then_what_comes_until_interrupted(empty: Cli, folder: Path) -> None:
    """A grown file, a new one in a new folder; Ctrl-C ends it without a word, as it ends everything."""
    with watching(empty, folder) as watched:
        assert watched.out() == "a.jsonl: 2 lines, 6 records, 1 session\n"
        assert watched.out().split() == ["main", "6", "records", "aaaa"]
        assert watched.err() == "sessionlog: watching 1 file; Ctrl-C ends it\n"
        (folder / "a.jsonl").write_text(pi_session("aaaa", "one", "two") + '{"type":"mess')
        assert watched.out() == "a.jsonl: 1 line, 2 records\n"
        assert watched.out().split() == ["main", "2", "records", "aaaa"]
        (folder / "new").mkdir()
        (folder / "new" / "b.jsonl").write_text(pi_session("bbbb", "three"))
        assert watched.out() == "new/b.jsonl: 2 lines, 6 records, 1 session\n"
        watched.out()
        assert watched.interrupt() == Ran(130, "", "")
    assert {one["session_id"] for one in empty("list", "--json").objects} == {"aaaa", "bbbb"}
    assert empty("audit").status == 0


def test_json_is_an_object_for_each_import_that_added_something(empty: Cli, folder: Path) -> None:
    patched(empty, FAST)
    with watching(empty, folder, "--json") as watched:
        assert (json.loads(watched.out())["records_added"], watched.err()[:20]) == (6, "sessionlog: watching")
        (folder / "a.jsonl").write_text(pi_session("aaaa", "one", "two"))
        report = json.loads(watched.out())
        assert (report["imported"], report["imported_before"], report["session_id"]) == (3, 2, "aaaa")
        assert watched.interrupt().stdout == ""


def test_a_single_file_is_watched_though_it_is_replaced(empty: Cli, folder: Path, tmp_path: Path) -> None:
    """Whatever its name; others beside it are left alone; its old session stays, and both are named."""
    (folder / "a.jsonl").rename(folder / "a.log")
    patched(empty, FAST)
    (folder / "other.jsonl").write_text(pi_session("cccc", "not asked for"))
    with watching(empty, folder / "a.log") as watched:
        watched.out(), watched.out(), watched.err()
        (tmp_path / "new").write_text(pi_session("aaaa", "something else"))
        os.replace(tmp_path / "new", folder / "a.log")
        told = watched.err()
        assert told.startswith(f"sessionlog: {folder / 'a.log'}: it was replaced or rewritten: session aaaa stays")
        assert told.endswith("is session aaaa-2\n")
        assert watched.out() == "a.log: 2 lines, 6 records, 1 session\n"
        watched.out()
        (folder / "a.log").write_text("")
        assert watched.err().endswith(" to 0 bytes: what was imported stays\n")
        assert watched.interrupt() == Ran(130, "", "")
    assert {one["session_id"] for one in empty("list", "--json").objects} == {"aaaa", "aaaa-2"}


def test_bad_files_are_told_once_and_control_characters_escaped(empty: Cli, folder: Path) -> None:
    """However often they grow; the rest is imported."""
    bad = folder / "0\x1b[31m.jsonl"
    bad.write_bytes(b'{"rows":1}\n')
    with watching(empty, folder) as watched:
        told = watched.err()
        assert "no transcript of a known format" in told
        assert "\x1b" not in told
        watched.out(), watched.out(), watched.err()
        bad.write_bytes(b'{"rows":1}\n{"rows":2}\n')
        (folder / "b.jsonl").write_text(pi_session("bbbb", "three"))
        assert watched.out().startswith("b.jsonl: ")
        watched.out()
        assert watched.interrupt() == Ran(130, "", "")


def test_what_was_not_understood_is_told_once(empty: Cli, folder: Path) -> None:
    path = folder / "a.jsonl"
    patched(empty, FAST)
    path.write_text(pi_session("aaaa", "one") + "rubbish\n")
    with watching(empty, folder) as watched:
        assert "".join(watched.out() for _ in range(4)).count("line 3: ") == 1
        watched.err()
        lines = pi_session("aaaa", "one", "two").splitlines(keepends=True)
        path.write_text("".join([*lines[:2], "rubbish\n", *lines[2:]]))
        assert watched.out() == "a.jsonl: 1 line, 2 records\n"
        watched.out()
        assert watched.interrupt() == Ran(130, "", "")


def test_what_is_not_there_is_refused(empty: Cli) -> None:
    empty("watch", "gone").assert_refused("there is no file or folder gone")
    empty("watch").assert_refused("PATH")
    assert not empty.store.exists()


def test_without_the_extra_one_line_says_how_to_get_it(
    empty: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    empty("watch", str(tmp_path)).assert_refused("pip install 'sessionlog[watch]'")


def test_a_store_that_fails_is_told_as_it_is(empty: Cli, folder: Path) -> None:
    """In one line, and not as an internal error or a group of errors."""
    patched(
        empty,
        "import sessionlog\n"
        "async def full(*_):\n"
        "    raise sessionlog.StoreFailed('the disk is full')\n"
        "sessionlog.FileStore.create_session = full\n",
    )
    with watching(empty, folder) as watched:
        out, err = watched.process.communicate(timeout=WAIT_S)
    assert Ran(watched.process.returncode, out.decode(), err.decode()) == Ran(2, "", "sessionlog: the disk is full\n")


def test_without_file_events_files_are_looked_at(empty: Cli, folder: Path) -> None:
    """What the system refuses to watch is told, and changes are found all the same."""
    patched(
        empty,
        FAST + "import watchfiles\n"
        "async def awatch(*a, **k):\n"
        "    raise OSError('OS file watch limit reached')\n"
        "    yield\n"
        "watchfiles.awatch = awatch\n",
    )
    with watching(empty, folder) as watched:
        assert "no file events (OS file watch limit reached)" in watched.err() + watched.err()
        watched.out(), watched.out()
        (folder / "a.jsonl").write_text(pi_session("aaaa", "one", "two"))
        assert watched.out() == "a.jsonl: 1 line, 2 records\n"
        watched.out()
        assert watched.interrupt() == Ran(130, "", "")
