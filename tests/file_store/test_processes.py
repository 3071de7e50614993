"""Several processes on one store, and processes that are killed: the promises that only real ones can break."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from sessionlog import (
    Extension,
    FileStore,
    HashedEntry,
    LogState,
    SessionId,
    SessionStartState,
    create_session_with_id,
    open_session,
    verify_chain,
)

WORKERS = Path(__file__).with_name("workers.py")
SESSION = SessionId("shared-by-all")
KILLS = 50


def worker(job: str, backend: str, *arguments: str | Path, stdin: int = subprocess.DEVNULL) -> "subprocess.Popen[str]":
    """Start a worker process."""
    command = [sys.executable, str(WORKERS), job, backend, *map(str, arguments)]
    return subprocess.Popen(command, text=True, stdin=stdin, stdout=subprocess.PIPE)


def run_race(writers: "list[subprocess.Popen[str]]") -> None:
    """Let the writers begin together, once all are ready, and wait for their end."""
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=240)
        assert writer.returncode == 0


@pytest.mark.anyio
async def test_two_processes_leave_one_linear_chain(tmp_path: Path, anyio_backend_name: str) -> None:
    """Two processes that append 1,000 entries each, retrying when they lose, leave 2,001 records in one chain."""
    async with FileStore(tmp_path) as store:
        await create_session_with_id(store, SESSION, SessionStartState())
    run_race(
        [worker("race", anyio_backend_name, tmp_path, SESSION, name, "1000", stdin=subprocess.PIPE) for name in "ab"]
    )
    async with FileStore(tmp_path) as store:
        records = await store.read_all(SESSION)
    assert verify_chain(records).state is LogState.VALID
    assert len(records) == 2001
    written = [record.entry.payload for record in records if isinstance(record.entry, Extension)]
    for name in "ab":
        assert [number for author, number in written if author == name] == list(range(1000))


@pytest.mark.parametrize("durability", ["os", "disk"])
def test_acknowledged_records_survive_kill_9(tmp_path: Path, durability: str) -> None:
    """After SIGKILL amid acknowledged appends, 25 times each, every one is there and the next writer chains on."""
    acknowledged: dict[int, str] = {}
    for kill in range(KILLS // 2):
        writer = worker("acknowledge", "asyncio", tmp_path, SESSION, durability)
        assert writer.stdout is not None
        for line in writer.stdout:
            number, hash_ = line.split()
            acknowledged[int(number)] = hash_
            if int(number) % 7 == kill % 7:
                break
        os.kill(writer.pid, signal.SIGKILL)
        for line in writer.stdout.read().splitlines():  # what it had still said before it died
            number, _, hash_ = line.partition(" ")
            if len(hash_) == 64:
                acknowledged[int(number)] = hash_
        writer.wait()
        writer.stdout.close()
        records = anyio.run(_read_all, tmp_path)
        assert verify_chain(records).state is LogState.VALID
        held = {record.seq: record.hash for record in records}
        assert acknowledged.items() <= held.items()
    assert len(acknowledged) >= KILLS // 2
    anyio.run(_append_one, tmp_path)
    assert verify_chain(anyio.run(_read_all, tmp_path)).state is LogState.VALID


def test_open_files_are_bounded_however_many_sessions(tmp_path: Path) -> None:
    """2,000 sessions are open for append at once under a limit of 256 descriptors."""
    writer = worker("many_sessions", "asyncio", tmp_path, "2000", "256")
    answer, _ = writer.communicate(timeout=120)
    assert writer.returncode == 0
    assert int(answer) < 128
    assert len(list(tmp_path.glob("*.jsonl"))) == 2000


def test_memory_stays_flat_over_200_000_appends(tmp_path: Path) -> None:
    """The last 150,000 of 200,000 appends add less than 4 MiB to the resident memory."""
    writer = worker("many_appends", "asyncio", tmp_path, "200000")
    answer, _ = writer.communicate(timeout=300)
    assert writer.returncode == 0
    early, late = map(int, answer.split())
    assert late - early < 4 * 1024 * 1024


@pytest.mark.anyio
async def test_eight_processes_share_one_session(tmp_path: Path, anyio_backend_name: str) -> None:
    """Eight processes that append 500 entries each to one session leave one chain with all of them."""
    async with FileStore(tmp_path) as store:
        await create_session_with_id(store, SESSION, SessionStartState())
    run_race(
        [
            worker("race", anyio_backend_name, tmp_path, SESSION, str(name), "500", stdin=subprocess.PIPE)
            for name in range(8)
        ]
    )
    async with FileStore(tmp_path) as store:
        records = await store.read_all(SESSION)
    assert verify_chain(records).state is LogState.VALID
    written = [tuple(record.entry.payload) for record in records if isinstance(record.entry, Extension)]
    assert len(written) == len(set(written)) == 8 * 500 == len(records) - 1


def test_four_processes_write_200_sessions_each_other_too(tmp_path: Path) -> None:
    """Four processes that append to the same 200 sessions leave 200 chains with every acknowledged record."""
    writers = [worker("visit", "asyncio", tmp_path, name, "200") for name in "abcd"]
    acknowledged: set[str] = set()
    for writer in writers:
        answer, _ = writer.communicate(timeout=240)
        assert writer.returncode == 0
        acknowledged |= set(answer.split())
    assert len(acknowledged) == 4 * 200 * 2
    held: set[str] = set()
    for session_id in anyio.run(_list, tmp_path):
        records = anyio.run(_read_all, tmp_path, session_id)
        assert verify_chain(records).state is LogState.VALID
        held |= {record.hash for record in records}
    assert acknowledged <= held


@pytest.mark.anyio
async def test_a_forked_child_gets_a_clear_error(tmp_path: Path) -> None:
    """A child forked while the store is open is told to open a store of its own."""
    async with FileStore(tmp_path) as store:
        log = await create_session_with_id(store, SESSION, SessionStartState())
        receive, send = os.pipe()
        child = os.fork()
        if child == 0:  # nothing here may run the parent's clean-up: _exit
            try:
                store._check_usable()  # what every verb calls first; an event loop does not survive a fork
            except Exception as error:  # noqa: BLE001
                os.write(send, str(error).encode())
            finally:
                os._exit(0)
        os.close(send)
        os.waitpid(child, 0)
        assert b"open one of your own" in os.read(receive, 4096)
        os.close(receive)
        await log.save_turn_end(1)


@pytest.mark.parametrize("case", ["read_only", "no_entry"])
def test_a_directory_that_refuses_is_a_store_failure(tmp_path: Path, case: str) -> None:
    """A store that may not be written says which directory refused and why; nothing is left behind."""
    refusing = tmp_path / "refusing"
    refusing.mkdir()
    root = refusing if case == "read_only" else refusing / "below"
    refusing.chmod(0o555)
    for parent in [tmp_path, *tmp_path.parents]:  # the worker is nobody, who must get here to be refused
        if parent.owner() == Path.home().owner() and "pytest" in parent.name:
            parent.chmod(0o755)
    writer = worker("start_as_nobody", "asyncio", root, "s")
    answer, _ = writer.communicate(timeout=60)
    assert answer.startswith("StoreFailed"), answer
    assert "Permission denied" in answer
    assert list(refusing.iterdir()) == []


async def _read_all(root: Path, session_id: str = SESSION) -> list[HashedEntry]:
    async with FileStore(root) as store:
        return await store.read_all(session_id)


async def _list(root: Path) -> list[SessionId]:
    async with FileStore(root) as store:
        return await store.list_sessions()


async def _append_one(root: Path) -> None:
    async with FileStore(root) as store:
        log = await open_session(store, SESSION)
        await log.save_turn_end(0)
