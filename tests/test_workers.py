"""Worker processes: what is asked, told and raised comes across; they end with the pool, and with their parent."""

import copy
import logging
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

import sessionlog
import worker_calls
from sessionlog import CorruptLog, Damage, Head, HeadConflict, SessionExists, SessionLogError, StoreFailed, WorkerDied
from sessionlog.importers import ImportFailed, LogForked
from sessionlog.workers import Workers

pytestmark = pytest.mark.anyio
on_both = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"], scope="module")
"""The worker is the same; so most of these tests take one event loop."""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


def nothing(_told: Any) -> None:
    raise AssertionError


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@on_both
async def test_a_call_returns_and_tells() -> None:
    """What it tells comes in its order, before it returns."""
    told: list[int] = []
    async with Workers(1) as workers:
        assert await workers.run(worker_calls.add, told.append, 2, 3) == 5
    assert told == [2, 3]


async def test_a_worker_is_used_again_and_no_more_are_started_than_asked_for() -> None:
    pids: set[int] = set()
    async with Workers(2) as workers:

        async def call() -> None:
            pids.add(await workers.run(worker_calls.pid, nothing))

        async with anyio.create_task_group() as tasks:
            for _ in range(9):
                tasks.start_soon(call)
    assert 1 <= len(pids) <= 2
    assert os.getpid() not in pids
    assert not any(map(is_there, pids))


async def test_what_a_call_raises_is_raised(tmp_path: Path) -> None:
    """With its attributes; the worker goes on. An error of the system in a call is no end of the worker."""
    async with Workers(1) as workers:
        with pytest.raises(StoreFailed) as caught:
            await workers.run(worker_calls.fail, nothing, tmp_path)
        assert (caught.value.path, caught.value.reason) == (tmp_path, "there is no room")
        with pytest.raises(BlockingIOError, match="a call's own"):
            await workers.run(worker_calls.fail_oddly, nothing)
        assert await workers.run(worker_calls.add, [].append, 1, 1) == 2


@on_both
@pytest.mark.parametrize(
    ("call", "number", "reason"),
    [
        (worker_calls.die, signal.SIGKILL, "SIGKILL killed it: the memory may be short"),
        (worker_calls.die, signal.SIGTERM, "SIGTERM killed it"),
        (worker_calls.leave, 3, "it ended with status 3"),
    ],
)
async def test_a_worker_that_dies_is_told_and_replaced(call: Any, number: int, reason: str) -> None:
    async with Workers(1) as workers:
        with pytest.raises(WorkerDied) as caught:
            await workers.run(call, nothing, number)
        assert (caught.value.reason, caught.value.started) == (reason, True)
        assert await workers.run(worker_calls.add, [].append, 1, 1) == 2


async def test_a_worker_that_cannot_start_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
    async with Workers(1) as workers:
        with pytest.raises(WorkerDied, match="cannot be started") as caught:
            await workers.run(worker_calls.pid, nothing)
    assert not caught.value.started


async def test_a_worker_that_dies_at_its_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    async with Workers(1) as workers:
        with pytest.raises(WorkerDied, match="it ended with status 1") as caught:
            await workers.run(worker_calls.pid, nothing)
    assert not caught.value.started


@on_both
async def test_cancelling_a_call_cancels_it_over_there(tmp_path: Path) -> None:
    """The end of the pool waits until it has cleaned up, and no process is left."""
    pids: list[int] = []
    async with Workers(1) as workers:
        with anyio.CancelScope() as scope:

            def told(pid: int) -> None:
                pids.append(pid)
                scope.cancel()

            await workers.run(worker_calls.wait, told, tmp_path / "left")
        assert await workers.run(worker_calls.add, [].append, 1, 1) == 2
    assert (tmp_path / "left").read_text() == "cancelled"
    assert not is_there(pids[0])


@pytest.mark.parametrize("grace_s", [0, 0.01])
async def test_a_worker_that_does_not_end_is_killed(grace_s: float) -> None:
    pids: list[int] = []
    async with Workers(1, grace_s=grace_s) as workers:
        with anyio.CancelScope() as scope:

            def told(pid: int) -> None:
                pids.append(pid)
                scope.cancel()

            await workers.run(worker_calls.ignore_the_end, told)
    assert not is_there(pids[0])


async def test_a_call_s_log_messages_come_here(caplog: pytest.LogCaptureFixture) -> None:
    """Of the level that is asked for here."""
    async with Workers(1) as workers:
        await workers.run(worker_calls.log, nothing)
        with caplog.at_level(logging.DEBUG, "sessionlog"):
            await workers.run(worker_calls.log, nothing)
    assert caplog.messages == ["odd: {'a': 1}", "odd: {'a': 1}", "not asked for"]


async def test_what_a_call_prints_breaks_nothing() -> None:
    async with Workers(1) as workers:
        await workers.run(worker_calls.print_text, nothing)
        assert await workers.run(worker_calls.add, [].append, 1, 1) == 2


PARENT = """
import sys
import anyio
import worker_calls
from pathlib import Path
from sessionlog.workers import Workers

async def main():
    async with Workers(1) as workers:
        await workers.run(worker_calls.wait, lambda pid: print(pid, flush=True), Path(sys.argv[1]))

anyio.run(main)
"""


def test_a_worker_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    """Its call is cancelled first. Its end shows by its standard error, which nobody has open any more."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", PARENT, str(tmp_path / "left")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        assert parent.stderr is not None
        parent.stdout.readline()
        parent.kill()
        parent.stderr.read()
    assert (tmp_path / "left").read_text() == "cancelled"


def all_errors() -> list[SessionLogError]:
    """One of each class, those with arguments of their own filled in."""
    here, path = Head(3, "a" * 64), Path("x.jsonl")
    made = [
        HeadConflict("s", expected=None, found=here),
        CorruptLog("why", damage=Damage.HASH, seq=1, offset=None, session_id="s"),
        StoreFailed("why", path=path, poisoned=True),
        SessionExists("s"),
        WorkerDied("why", started=True),
        ImportFailed(path, "why"),
        LogForked(path, sessionlog.SessionId("s"), here=here, there=here, parted_at=2),
    ]
    return [*made, SessionLogError("just text")]


@pytest.mark.parametrize("error", all_errors(), ids=lambda error: type(error).__name__)
def test_errors_can_be_pickled(error: SessionLogError) -> None:
    """They come back as they were, whatever their constructors take."""
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is type(error)
        assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))
