"""Audits of real files: what a disk can put in a log's place, and what other programs do to logs."""

import errno
import os
import shutil
import stat
from pathlib import Path

import pytest

from forging import SESSION, START, TURN_END, USER, chained, forged_log
from sessionlog import (
    Damage,
    FileStore,
    LogState,
    Report,
    SessionId,
    SessionNotFound,
    SessionStartState,
    StoreFailed,
    assistant_message,
    audit_session,
    audit_store,
    create_session,
    fork_at,
    user_message,
    verify_session,
    verify_store,
)
from sessionlog.stores.file.system import System

pytestmark = pytest.mark.anyio

ID = SessionId(SESSION)
GOLDEN = Path(__file__).parent / "golden"
LOG = forged_log(START, USER, TURN_END)


class SecretSystem(System):
    """Refuses to open one log, as for another user it would."""

    def open(self, path: str, flags: int, mode: int = 0o600) -> int:
        if path.endswith("secret.jsonl"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return super().open(path, flags, mode)


async def both(store: FileStore) -> list[Report]:
    """Verify and audit the one session of the store, alone and with the store."""
    return [
        await verify_session(store, ID),
        await audit_session(store, ID),
        *[report async for report in verify_store(store)],
        *[report async for report in audit_store(store)],
    ]


async def test_what_the_store_writes_passes(tmp_path: Path) -> None:
    """Sessions, forks and torn tails on disk: no findings, and an independent check of the files agrees."""
    async with FileStore(tmp_path, "os") as store:
        log = await create_session(store, SessionStartState("p"))
        for n in range(50):
            await log.save_delta([user_message(f"é {n}"), assistant_message("x" * n * 100)])
        records = await store.read_all(log.session_id)
        forks = [await fork_at(store, log.session_id, record.hash) for record in records[::20]]
        with (tmp_path / f"{forks[0].session_id}.jsonl").open("ab") as file:
            file.write(b'{"hash":"')
        reports = {report.session_id: report async for report in audit_store(store)}
    assert len(reports) == 1 + len(forks)
    assert all(report.ok for report in reports.values())
    assert reports[log.session_id].verdict.head == log.head
    assert reports[forks[0].session_id].verdict.state is LogState.TORN_TAIL
    for path in tmp_path.glob("*.jsonl"):
        data = path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        assert len(list(chained(whole))) == reports[SessionId(path.stem)].verdict.record_count


@pytest.mark.parametrize("kind", ["symlink", "dangling symlink", "fifo", "directory"])
async def test_what_is_no_file_is_a_finding(tmp_path: Path, kind: str) -> None:
    """A symbolic link, a FIFO or a directory under a log's name is refused and reported, and nothing waits for it."""
    path = tmp_path / f"{ID}.jsonl"
    if kind == "symlink":
        (tmp_path / "elsewhere").write_bytes(LOG)
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "dangling symlink":
        path.symlink_to(tmp_path / "nowhere")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    async with FileStore(tmp_path) as store:
        reports = await both(store)
    assert len(reports) == 4
    for report in reports:
        assert [(f.damage, f.seq, f.line) for f in report.findings] == [(Damage.FILE, 0, 1)]
        assert (report.verdict.state, report.verdict.record_count) == (LogState.BROKEN, 0)
        assert not report.ok


@pytest.mark.parametrize("place", ["missing", "empty"])
async def test_a_store_without_sessions(tmp_path: Path, place: str) -> None:
    """A missing directory, or an empty one, has no sessions; asking for one raises; auditing makes nothing."""
    root = tmp_path if place == "empty" else tmp_path / "missing"
    async with FileStore(root) as store:
        assert [report async for report in audit_store(store)] == []
        assert [report async for report in verify_store(store)] == []
        with pytest.raises(SessionNotFound):
            await audit_session(store, ID)
    assert root.exists() is (place == "empty")


async def test_a_file_in_the_place_of_the_store(tmp_path: Path) -> None:
    """A store whose directory is a file cannot be listed, and says so."""
    (tmp_path / "file").write_bytes(b"x")
    async with FileStore(tmp_path / "file") as store:
        with pytest.raises(StoreFailed):
            [report async for report in audit_store(store)]


async def test_an_unreadable_log_is_reported_as_such(tmp_path: Path) -> None:
    """One log that may not be read does not keep the others from being audited."""
    (tmp_path / f"{ID}.jsonl").write_bytes(LOG)
    (tmp_path / "secret.jsonl").write_bytes(LOG)
    async with FileStore(tmp_path, system=SecretSystem()) as store:
        reports = {report.session_id: report async for report in audit_store(store)}
        with pytest.raises(StoreFailed):
            await audit_session(store, SessionId("secret"))
    assert reports[ID].ok
    assert reports[SessionId("secret")].verdict.state is LogState.UNREADABLE
    assert not reports[SessionId("secret")].ok


async def test_checks_change_nothing(tmp_path: Path) -> None:
    """Auditing leaves every file as it was, broken, torn or whole, and works where nothing may be written."""
    for path in GOLDEN.glob("*.jsonl"):
        shutil.copyfile(path, tmp_path / path.name)
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    for path in tmp_path.iterdir():
        path.chmod(stat.S_IRUSR)
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        async with FileStore(tmp_path) as store:
            reports = [report async for report in audit_store(store)]
            verified = [report async for report in verify_store(store)]
        after = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    finally:
        tmp_path.chmod(stat.S_IRWXU)
    assert len(reports) == len(verified) == len(before)
    assert after == before
    assert {report.session_id for report in reports if report.ok} == {"valid-empty", "torn-first-record"}


async def test_another_sessions_file_under_this_name(tmp_path: Path) -> None:
    """A log that was copied to another name is told by what its first record binds."""
    (tmp_path / "copy.jsonl").write_bytes(LOG)
    async with FileStore(tmp_path) as store:
        report = await verify_session(store, SessionId("copy"))
    assert [finding.damage for finding in report.findings] == [Damage.WRONG_SESSION]
    assert SESSION in report.findings[0].reason


async def test_traces_and_torn_pieces_are_no_sessions(tmp_path: Path) -> None:
    """What lies beside the logs is not audited as one."""
    (tmp_path / f"{ID}.jsonl").write_bytes(LOG)
    (tmp_path / f"{ID}.trace.jsonl").write_bytes(b"{}\n")
    (tmp_path / f"{ID}.torn-12").write_bytes(b"x")
    (tmp_path / "notes.txt").write_bytes(b"x")
    async with FileStore(tmp_path) as store:
        assert [report.session_id async for report in audit_store(store)] == [ID]


async def test_a_log_larger_than_a_chunk(tmp_path: Path) -> None:
    """Records that lie across the chunks of the store are checked like others: a change in each chunk is found."""
    entry = b'{"kind":"extension","ts":1,"domain":"d","payload":"%s"}' % (b"x" * 300_000)
    data = forged_log(START, *[entry] * 12)
    path = tmp_path / f"{ID}.jsonl"
    async with FileStore(tmp_path) as store:
        path.write_bytes(data)
        assert [report.verdict.record_count for report in await both(store)] == [13] * 4
        for at in range(150_000, len(data), 1_000_000):
            path.write_bytes(data[:at] + b"y" + data[at + 1 :])
            seq = data[:at].count(b"\n")
            offset = data[:at].rfind(b"\n") + 1
            for report in await both(store):
                assert [(f.damage, f.seq, f.offset) for f in report.findings] == [(Damage.HASH, seq, offset)]


async def test_an_audit_beside_a_writer_sees_whole_records(tmp_path: Path) -> None:
    """A log that grows between looks is reported up to its last record each time, never as broken."""
    async with FileStore(tmp_path, "os") as store:
        log = await create_session(store, SessionStartState())
        path = tmp_path / f"{log.session_id}.jsonl"
        for n in range(1, 20):
            await log.save_turn_end(n)
            report = await audit_session(store, log.session_id)
            assert (report.ok, report.verdict.head) == (True, log.head)
        data = path.read_bytes()
        path.write_bytes(data[:-1])
        report = await audit_session(store, log.session_id)
        assert (report.verdict.state, report.verdict.record_count) == (LogState.TORN_TAIL, 19)
