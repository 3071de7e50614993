"""``watch`` as a process under concurrent writers, killed and started again: nothing missing, nothing twice."""

import os
import random
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import anyio
import pytest
from foreign import contents

from sessionlog import FileStore, audit_store
from sessionlog.importers import ImportReport, find_transcripts, import_file

pytest.importorskip("watchfiles")

WAIT_S = 600
KILLS = 5
REAL = ("entire-37_995ebed6e4_2.jsonl", "entire-a6_e4c2a0fbd1_0.jsonl", "subagent.jsonl")
WRITER = """
import os, random, sys
source, target, seed, portions = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
data, pick = open(source, "rb").read(), random.Random(seed)
os.makedirs(os.path.dirname(target), exist_ok=True)
out = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
done = 0
for portion in range(portions):
    sys.stdin.readline()  # the word to go on
    end = len(data) * (portion + 1) // portions
    while done < end:
        step = pick.randint(1, 30_000)
        done += os.write(out, data[done:min(done + step, end)])
    print(done, flush=True)
"""
"""Appends a file to another one in pieces cut at arbitrary bytes; portion by portion, each when it is told to."""


@contextmanager
def writer(source: Path, target: Path) -> Iterator["subprocess.Popen[str]"]:
    arguments = [sys.executable, "-c", WRITER, str(source), str(target), target.name, str(KILLS)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process


@contextmanager
def watch(store: Path, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Start watching; a process that says nothing is killed in the end, so that no test waits for ever."""
    environment = {name: value for name, value in os.environ.items() if name != "SESSIONLOG_STORE"}
    with subprocess.Popen(
        [sys.executable, "-m", "sessionlog", "--store", str(store), "watch", str(folder), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        timer = threading.Timer(WAIT_S, process.kill)
        timer.start()
        try:
            yield process
        finally:
            timer.cancel()
            process.kill()


def line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline()


def say_go(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def store_size(store: Path) -> int:
    return sum(path.stat().st_size for path in store.glob("*.jsonl"))


def wait_for_growth(store: Path, size: int, process: "subprocess.Popen[str]") -> None:
    """Return as soon as the store's files are longer: most likely in the middle of an import."""
    while store_size(store) <= size and process.poll() is None:
        select.select([], [], [], 0.001)


@pytest.mark.parametrize(
    "within",
    [
        False,
        True,
    ],
    ids=["after an import", "within an import"],
)
def test_killed_and_started_again_under_three_writers(shared: Path, tmp_path: Path, *, within: bool) -> None:
    """Killed after an import or in the middle of one; in the end every session is as one import makes it."""
    pick = random.Random(20)
    real, folder, store = shared / "data" / "claude-code", tmp_path / "projects", tmp_path / "store"
    folder.mkdir()
    with (
        writer(real / REAL[0], folder / REAL[0]) as one,
        writer(real / REAL[1], folder / "later" / REAL[1]) as two,
        writer(real / REAL[2], folder / "later" / REAL[2]) as three,
    ):
        writers = [one, two, three]
        for number in range(KILLS):
            with watch(store, folder) as watcher:
                size = store_size(store)
                for process in writers:
                    say_go(process)
                if within and number % 2 == 0:
                    wait_for_growth(store, size, watcher)
                else:
                    for _ in range(pick.randint(1, 2)):
                        assert line(watcher.stdout).startswith("{")
                watcher.kill()
            for process in writers:
                line(process.stdout)
    finish(store, folder)
    for name in REAL:
        [copied] = folder.rglob(name)
        assert copied.read_bytes() == (real / name).read_bytes()
    anyio.run(compare, store, folder, tmp_path / "once")


def test_two_watches_of_one_folder_and_store(shared: Path, tmp_path: Path) -> None:
    """Both import what three writers write; neither ends, and nothing is there twice."""
    real, folder, store = shared / "data" / "claude-code", tmp_path / "projects", tmp_path / "store"
    folder.mkdir()
    with (
        writer(real / REAL[0], folder / REAL[0]) as one,
        writer(real / REAL[1], folder / REAL[1]) as two,
        writer(real / REAL[2], folder / REAL[2]) as three,
        watch(store, folder) as first,
        watch(store, folder) as second,
    ):
        for watcher in (first, second):
            assert "watching" in line(watcher.stderr)
        for _ in range(KILLS):
            for process in (one, two, three):
                say_go(process)
            for process in (one, two, three):
                line(process.stdout)
            assert first.stdout is not None
            assert second.stdout is not None
            select.select([first.stdout, second.stdout], [], [], WAIT_S)
        for watcher in (first, second):
            watcher.send_signal(signal.SIGINT)
            assert watcher.stderr is not None
            assert watcher.stderr.read() == ""
            assert watcher.wait() == 130
    finish(store, folder)
    anyio.run(compare, store, folder, tmp_path / "once")


def finish(store: Path, folder: Path) -> None:
    """Let the agents be long gone, watch until all is there, and interrupt."""
    for path in folder.rglob("*.jsonl"):
        os.utime(path, (0, 0))
    with watch(store, folder) as watcher:
        assert line(watcher.stderr) == "sessionlog: watching 3 files; Ctrl-C ends it\n"
        watcher.send_signal(signal.SIGINT)
        assert watcher.stderr is not None
        assert watcher.stderr.read() == ""
        assert watcher.wait() == 130


async def compare(store: Path, folder: Path, once: Path) -> None:
    async with FileStore(store, "os") as watched, FileStore(once, "os") as expected:
        for path in await find_transcripts([folder]):
            report = await import_file(expected, path)
            assert isinstance(report, ImportReport)
        assert await contents(watched) == await contents(expected)
        async for found in audit_store(watched):
            assert found.ok
    shutil.rmtree(once)
