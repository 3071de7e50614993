"""``import --jobs``: what is printed is that of one process; a signal ends all processes between two commits."""

import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from sessionlog.cli.base import cores

from .conftest import Cli, json_lines

FILES = 40
STAMP = "2026-01-01T00:00:00.000Z"


def session(number: int, texts: int) -> str:
    """A pi session whose user says so many things."""
    lines = [
        {"type": "message", "id": f"m{at}", "parentId": f"m{at - 1}" if at else None, "timestamp": STAMP}
        | {"message": {"role": "user", "content": f"say {at}"}}
        for at in range(texts)
    ]
    return json_lines([{"type": "session", "version": 3, "id": f"s{number:04}", "timestamp": STAMP}, *lines])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Many sessions, a copy, and a file that is no transcript, but large enough for a second process."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(FILES):
        (folder / f"{number:04}.jsonl").write_text(session(number, 3))
    (folder / "0007-copy.jsonl").write_text(session(7, 2))
    (folder / "0008-rubbish.jsonl").write_bytes(b"x" * 8 * 1024 * 1024 + b"\n")
    return folder


def test_output_does_not_depend_on_the_number_of_processes(tmp_path: Path, folder: Path) -> None:
    """Standard output, standard error and exit status."""
    alone, apart = (Cli(tmp_path / jobs)("import", "--jobs", jobs, str(folder), "--json") for jobs in ("1", "2"))
    assert alone == apart
    assert (alone.status, len(alone.objects)) == (2, FILES + 1)


@pytest.mark.parametrize(
    ("args", "jobs"),
    [
        (["--jobs", "7", "{}"], 7),
        (["{}", "--jobs", "7"], 7),
        (["--jobs", "7", "pi", "{}"], 7),
        (["pi", "--jobs", "7", "{}"], 7),
        (["{}"], cores()),
    ],
)
def test_the_option_may_stand_anywhere(
    empty: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], jobs: int
) -> None:
    """By default there is one process for each core."""
    asked: list[int] = []

    async def import_each(*_: object, jobs: int, **__: object) -> None:
        asked.append(jobs)

    monkeypatch.setattr("sessionlog.importers.import_each", import_each)
    assert empty("import", *(one.format(folder) for one in args)).status == 0
    assert asked == [jobs]


def children(pid: int) -> list[int]:
    ran = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in ran.stdout.split()]


def is_there(pid: int) -> bool:
    ran = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(ran.stdout.strip()) and not ran.stdout.startswith("Z")


@pytest.fixture
def locked(empty: Cli, folder: Path) -> Iterator[BinaryIO]:
    """The log of the second file's session, as another writer holds its lock; an older copy of it was imported."""
    older = folder.parent / "older.jsonl"
    older.write_text(session(1, 2))
    assert empty("import", str(older)).status == 0
    with empty.log("s0001").open("rb") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        yield log


@pytest.fixture
def working(empty: Cli, folder: Path, locked: BinaryIO) -> "Iterator[subprocess.Popen[bytes]]":
    """An import that has told of its first file, and waits for the lock of the second one's session."""
    assert not locked.closed
    with empty.start("import", "--jobs", "2", str(folder), "--json") as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_processes(
    empty: Cli, folder: Path, locked: BinaryIO, working: "subprocess.Popen[bytes]", number: signal.Signals
) -> None:
    """No process is left and no record is half; a second import brings the rest."""
    workers = children(working.pid)
    working.send_signal(number)
    _, errors = working.communicate()
    locked.close()
    assert (working.returncode, errors) == (128 + number, b"")
    assert len(workers) == 2
    assert not any(map(is_there, workers))
    audited = empty("audit", "--json")
    assert {one["state"] for one in audited.objects} == {"valid"}
    assert_whole_after_another_import(empty, folder)


def test_a_killed_process_fails_one_file(
    empty: Cli, folder: Path, locked: BinaryIO, working: "subprocess.Popen[bytes]"
) -> None:
    """By name; what it had before it is imported by another one, and a second import brings what is missing."""
    for worker in children(working.pid):
        os.kill(worker, signal.SIGKILL)
    output, errors = working.communicate()
    locked.close()
    assert working.returncode == 2
    why = "the process that imported it died (SIGKILL killed it: the memory may be short): import it again"
    failed = errors.decode().splitlines()
    assert f"sessionlog: 0001.jsonl: {why}" in failed
    assert len(output.splitlines()) + 1 + len(failed) == FILES + 2
    assert len(failed) <= 3, "one for each process, and the one that is no transcript"
    assert_whole_after_another_import(empty, folder)


def assert_whole_after_another_import(cli: Cli, folder: Path) -> None:
    again = cli("import", "--jobs", "1", str(folder), "--json")
    assert sum(one["imported"] for one in again.objects) == FILES * 4 + 3
    assert len(list(cli.store.glob("*.jsonl"))) == FILES
    assert cli("audit").status == 0
