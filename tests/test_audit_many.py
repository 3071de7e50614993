"""Checking many sessions in chunks, in threads and in processes: the same reports as one after the other."""

import os
import signal
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from sessionlog import (
    FileStore,
    LogState,
    MemoryStore,
    Report,
    SessionStartState,
    Store,
    WorkerDied,
    assistant_message,
    audit_store,
    create_session_with_id,
    fork_at,
    user_message,
    verify_store,
)
from sessionlog.audit import checks, chunks, planning
from sessionlog.audit.planning import Named, Planned, families
from sessionlog.workers import Workers

pytestmark = pytest.mark.anyio


@pytest.fixture
async def root(tmp_path: Path) -> Path:
    """A store of sound sessions, forks, and one of each kind of damage."""
    root = tmp_path / "store"
    async with FileStore(root, "os") as store:
        for number in range(12):
            log = await create_session_with_id(store, f"s{number:02}", SessionStartState("p"))
            asked, _ = await log.save_delta([user_message("q"), assistant_message("a")])
            if number % 4 == 0:
                forked = await fork_at(store, log.session_id, asked)
                await fork_at(store, forked.session_id, forked.head_hash or "")
    with (root / "s01.jsonl").open("ab") as file:
        file.write(b'{"hash":"')
    changed = (root / "s02.jsonl").read_bytes().replace(b'"text":"q"', b'"text":"x"')
    (root / "s02.jsonl").write_bytes(changed)
    source = (root / "s04.jsonl").read_bytes()
    (root / "s04.jsonl").write_bytes(source[: source.index(b"\n") + 1])  # its fork is from a record that is gone
    (root / "s05.jsonl").unlink()
    (root / "s05.jsonl").mkdir()
    (root / "s06.jsonl").write_bytes(b"")
    return root


async def reports(root: Path, *, audit: bool, jobs: int) -> list[Report]:
    async with FileStore(root) as store:
        stream = audit_store(store, jobs=jobs) if audit else verify_store(store, jobs=jobs)
        return [report async for report in stream]


@pytest.mark.parametrize("audit", [False, True])
@pytest.mark.parametrize("jobs", [1, 2])
async def test_chunks_report_the_same(root: Path, monkeypatch: pytest.MonkeyPatch, audit: bool, jobs: int) -> None:
    """Every finding, and for a verification the order too; in an audit, sources come before what was made from them."""
    plain = await reports(root, audit=audit, jobs=1)
    states = {report.verdict.state for report in plain}
    assert states >= {LogState.VALID, LogState.TORN_TAIL, LogState.BROKEN}
    monkeypatch.setattr(checks, "MANY_SESSIONS", 0)
    monkeypatch.setattr(chunks, "WORTH_PROCESSES_S", -1)
    monkeypatch.setattr(checks, "CHUNK_SESSIONS", 5)
    monkeypatch.setattr(planning, "CHUNK_SESSIONS", 5)
    found = await reports(root, audit=audit, jobs=jobs)
    by_id = {report.session_id: report for report in plain}
    assert {report.session_id: report for report in found} == by_id
    assert len(found) == len(plain)
    if not audit:
        assert found == plain


async def test_a_stream_may_be_left_early(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing it ends what is under way."""
    monkeypatch.setattr(checks, "MANY_SESSIONS", 0)
    monkeypatch.setattr(chunks, "WORTH_PROCESSES_S", -1)
    monkeypatch.setattr(checks, "CHUNK_SESSIONS", 1)
    async with FileStore(root) as store:
        stream = verify_store(store, jobs=2)
        assert (await anext(stream)).session_id in await store.list_sessions()
        await stream.aclose()


@pytest.mark.parametrize("worth_s", [-1, 3600])
async def test_processes_are_started_if_there_is_enough_to_do(
    root: Path, monkeypatch: pytest.MonkeyPatch, worth_s: float
) -> None:
    """What one process has checked before others have started stays there."""
    started = 0
    run_there = Workers.run

    async def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal started
        started += 1
        return await run_there(*arguments, **options)

    monkeypatch.setattr(Workers, "run", counted)
    monkeypatch.setattr(checks, "MANY_SESSIONS", 0)
    monkeypatch.setattr(checks, "CHUNK_SESSIONS", 5)
    monkeypatch.setattr(chunks, "WORTH_PROCESSES_S", worth_s)
    count = len(list(root.glob("*.jsonl")))
    assert len(await reports(root, audit=False, jobs=2)) == count
    assert started == (0 if worth_s > 0 else -(-count // 5) - 1)


async def test_only_files_are_read_elsewhere() -> None:
    """Another process has no way to a store in memory."""
    assert chunks.directory_of(MemoryStore()) is None


def test_no_family_is_parted() -> None:
    """A source and all that was made from it are in one chunk, source first, whatever the chunk's size."""
    sources = {"b": "a", "c": "b", "e": "d", "lost": "gone", **{f"f{n}": "f" for n in range(300)}}
    ids = ["a", "b", "c", "d", "e", "lost", "f", *(f"f{n}" for n in range(300)), *(f"z{n}" for n in range(500))]
    named = {made: [Named(source, "0" * 64, True)] for made, source in sources.items()}
    planned: Sequence[Planned] = list(families(ids, named))
    assert {made: of for part in planned for made, of in part.sources.items()} == named
    parts = [part.session_ids for part in planned]
    assert sorted(one for part in parts for one in part) == sorted(ids)
    for part in parts:
        for made, source in sources.items():
            if made in part and source in ids:
                assert source in part
                assert part.index(source) < part.index(made)
    assert len(parts) > 3


async def killed_in_a_worker(_store: Store, _session_ids: Sequence[str]) -> None:
    """Be killed; the first chunk is checked here."""
    if os.getsid(0) == os.getpid():  # a worker leads a session of its own
        os.kill(os.getpid(), signal.SIGKILL)


async def test_a_killed_process_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an error of ours, not in a group, and not as a result that is missing."""
    monkeypatch.setattr(chunks, "WORTH_PROCESSES_S", -1)
    async with FileStore(root) as store:
        directory = chunks.directory_of(store)
    assert directory is not None
    async with aclosing(chunks.in_chunks(killed_in_a_worker, directory, [["s01"]] * 3, jobs=2)) as results:
        with pytest.raises(WorkerDied, match="SIGKILL killed it"):
            assert [one async for one in results] == []
