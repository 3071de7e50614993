"""What the library tells a programmer: its version, what it logs, and how its objects show themselves."""

import errno
import logging
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import anyio
import pytest

import sessionlog as sl
from sessionlog.stores.file.system import System

pytestmark = pytest.mark.anyio
SECRET = "my-secret-token"
START = sl.SessionStartState(SECRET)


def test_the_version_is_that_of_the_package() -> None:
    """`sessionlog.__version__` is the installed version, and is looked up when it is asked for."""
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert sl.__version__ == project["version"]
    assert "__version__" in dir(sl)
    script = "import sys, sessionlog; sys.exit('importlib.metadata' in sys.modules)"
    assert subprocess.run([sys.executable, "-S", "-c", script], check=False, env=_importable()).returncode == 0


def _importable() -> dict[str, str]:
    """Return an environment in which Python finds the package without `site`, which may import anything by itself."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(sl.__file__).parent.parent), *sys.path])}


async def test_a_repair_and_a_wait_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What was made, opened, set aside and found locked goes to `sessionlog.…`, at debug or info level."""
    caplog.set_level(logging.DEBUG, "sessionlog")
    async with sl.FileStore(tmp_path) as store:
        log = await sl.create_session_with_id(store, "s", START)
        await log.save_turn_end(1)
    path = tmp_path / "s.jsonl"
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(b'{"hash":"unfinished')
    async with sl.FileStore(tmp_path, lock_wait_s=0) as store:
        log = await sl.open_session(store, "s")
        await log.save_turn_end(2)
        with path.open("rb") as other:
            System().try_lock(other.fileno())
            with pytest.raises(sl.SessionLocked):
                await log.save_turn_end(3)
    told = [(record.name, record.levelname, record.getMessage()) for record in caplog.records]
    name = "sessionlog.stores.file"
    assert (name, "DEBUG", f"{path}: made") in told
    assert (name, "DEBUG", f"{path}: opened") in told
    assert (name, "INFO", f"{path}: set 19 bytes from byte {size} on aside") in told
    assert (name, "DEBUG", "session s: locked by another writer, waiting") in told
    assert SECRET not in caplog.text


async def test_the_fast_path_logs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Appends to an open log make no record."""
    async with sl.FileStore(tmp_path) as store:
        log = await sl.create_session_with_id(store, "s", START)
        await log.save_turn_end(0)
        caplog.set_level(logging.DEBUG, "sessionlog")
        for turn in range(100):
            await log.save_turn_end(turn)
    assert caplog.records == []


async def test_a_fork_on_conflict_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The session that the log goes on as is named."""
    caplog.set_level(logging.DEBUG, "sessionlog")
    async with sl.MemoryStore() as store:
        first = await sl.create_session_with_id(store, "s", START)
        second = await sl.open_session(store, "s", on_conflict="fork")
        await first.save_turn_end(1)
        await second.save_turn_end(1)
    [record] = caplog.records
    assert (record.name, record.levelname) == ("sessionlog.session", "INFO")
    assert second.session_id in record.getMessage()


class _NoFlush(System):
    def flush(self, fd: int) -> None:  # noqa: ARG002
        raise OSError(errno.EIO, "input/output error")


async def test_a_failed_flush_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is raised, too; nothing is logged above info, so a program without logging prints nothing."""
    caplog.set_level(logging.DEBUG, "sessionlog")
    async with sl.FileStore(tmp_path, system=_NoFlush()) as store:
        with pytest.raises(sl.StoreFailed):
            await sl.create_session_with_id(store, "s", START)
    assert any("the flush failed" in record.getMessage() for record in caplog.records)
    assert {record.levelno for record in caplog.records} <= {logging.DEBUG, logging.INFO}


async def test_objects_show_what_they_are_and_not_what_they_hold(tmp_path: Path) -> None:
    """A `repr` fits a line of a traceback: ids, counts and hashes, no text of the session."""
    async with sl.FileStore(tmp_path, "os") as store, sl.MemoryStore() as memory:
        log = await sl.create_session_with_id(store, "s", START)
        await log.save_delta([sl.user_message(SECRET * 100), sl.tool_call("c1", "Bash", f'{{"key":"{SECRET}"}}')])
        assert log.head is not None
        record = (await store.read_all("s"))[1]
        state = await sl.restore(store, "s")
        report = await sl.audit_session(store, "s")
        head = f"Head(seq=2, hash='{log.head_hash}')"
        shown = {
            repr(store): f"FileStore('{tmp_path}', 'os')",
            repr(memory): "MemoryStore(0 sessions)",
            repr(log): f"SessionLog('s', {head}, FileStore('{tmp_path}', 'os'))",
            repr(record): f"HashedEntry(seq=1, kind='user_input', hash='{record.hash}', {len(record.line)} bytes)",
            repr(state): f"RestoredState(head={head}, 2 history items, turn_count=0, 1 dangling tool calls, "
            "last_run_interrupted=False)",
            repr(report): f"Report(session_id='s', verdict={report.verdict!r})",
            repr(report.verdict): "Verdict(state=<LogState.VALID: 'valid'>, record_count=3, "
            f"valid_bytes={report.verdict.valid_bytes}, head={head})",
        }
        fork = await sl.restore(store, (await sl.fork_at(store, "s", record.hash)).session_id)
    assert [found for found, expected in shown.items() if found != expected] == []
    assert f"from 's' at '{record.hash}'" in repr(fork)
    assert repr(store) == f"FileStore('{tmp_path}', 'os', closed)"
    assert repr(memory) == "MemoryStore(0 sessions, closed)"


def test_debug_shows_it_on_standard_error(tmp_path: Path) -> None:
    """`--debug`, on either side of a command, tells what was opened and repaired, and where an error came from."""

    async def make() -> None:
        async with sl.FileStore(tmp_path) as store:
            await sl.create_session_with_id(store, "s", START)

    anyio.run(make)
    with (tmp_path / "s.jsonl").open("ab") as file:
        file.write(b"torn")
    command = [sys.executable, "-m", "sessionlog", "--store", str(tmp_path)]
    turn = b'{"kind":"turn_end","turn_count":1}\n'
    run = subprocess.run([*command, "append", "s", "--debug"], input=turn, capture_output=True, check=True)
    told = f"sessionlog.stores.file: {tmp_path}/s.jsonl: set 4 bytes from byte "
    assert told in run.stderr.decode()
    assert len(run.stdout) == 65
    for arguments in (["--debug", "show", "missing"], ["show", "missing", "--debug"]):
        run = subprocess.run([*command, *arguments], capture_output=True, check=False)
        assert run.returncode == 2
        assert b"sessionlog.cli: Traceback" in run.stderr
        assert run.stderr.splitlines()[-1].startswith(b"sessionlog: there is no session missing")
    quiet = subprocess.run([*command, "show", "missing"], capture_output=True, check=False)
    assert quiet.stderr.count(b"\n") == 1
