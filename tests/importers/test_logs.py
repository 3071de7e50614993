"""A log of sessionlog is imported as it is: from another store, an export, a backup."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from sessionlog import HashedEntry, MemoryStore, SessionId, StoreFailed, user_message
from sessionlog.importers import ImportFailed, LogForked, import_file, import_paths
from sessionlog.session import SessionLog, SessionStartState, create_session_with_id, open_session

pytestmark = pytest.mark.anyio
SID = SessionId("a-session")


async def make(store: MemoryStore, count: int, *, size: int = 10) -> SessionLog:
    log = await create_session_with_id(store, SID, SessionStartState(system_prompt="s"), clock=lambda: 1)
    for number in range(count):
        await log.save_delta([user_message(f"{number} " + "x" * size)])
    return log


async def write(store: MemoryStore, path: Path) -> Path:
    path.write_bytes(b"".join(record.line + b"\n" for record in await store.read_all(SID)))
    return path


async def test_a_log_moves_with_bytes_and_hashes(tmp_path: Path) -> None:
    """The id in the first record counts, not the file's name; again: nothing."""
    source, target = MemoryStore(), MemoryStore()
    await make(source, 3)
    path = await write(source, tmp_path / "renamed backup.jsonl")
    report = await import_file(target, path)
    assert (report.format, report.session_id, report.records_added) == ("sessionlog", SID, 4)
    assert await target.read_all(SID) == await source.read_all(SID)
    again = await import_file(target, path)
    assert (again.unchanged, again.older_copy, again.records_added) == (True, False, 0)


async def test_a_longer_log_adds_and_a_shorter_one_is_an_older_copy(tmp_path: Path) -> None:
    """In a folder, beside each other, in either order."""
    source = MemoryStore()
    log = await make(source, 2)
    old = await write(source, tmp_path / "b.jsonl")
    await log.save_delta([user_message("more")])
    new = await write(source, tmp_path / "a.jsonl")
    for order in ([old, new], [new, old]):
        target = MemoryStore()
        reports = (await import_paths(target, order)).reports
        assert await target.read_all(SID) == await source.read_all(SID)
        assert [one.older_copy for one in reports] == [False, order[1] is old]
        assert sum(one.records_added for one in reports) == 4
        assert (await import_file(target, old)).older_copy


@pytest.mark.parametrize(("here", "there"), [(1, 1), (3, 1), (1, 3)])
async def test_a_fork_is_refused_by_name(tmp_path: Path, here: int, there: int) -> None:
    """Whichever is longer: both heads and the place are told, and nothing is written."""
    source, target = MemoryStore(), MemoryStore()
    await make(source, 2)
    await import_file(target, await write(source, tmp_path / "a.jsonl"))
    for store, count, text in ((target, here, "here"), (source, there, "there")):
        log = await open_session(store, SID)
        for _ in range(count):
            await log.save_delta([user_message(text)])
    before = await target.read_all(SID)
    path = await write(source, tmp_path / "a.jsonl")
    with pytest.raises(LogForked, match="differs from record 3 on") as caught:
        await import_file(target, path)
    assert (caught.value.here, caught.value.parted_at) == (before[-1].head, 3)
    assert caught.value.there == (await source.read_all(SID))[-1].head
    assert await target.read_all(SID) == before


async def test_a_torn_tail_is_told(tmp_path: Path) -> None:
    """The whole records come, and the rest when it is there."""
    source, target = MemoryStore(), MemoryStore()
    await make(source, 2)
    path = await write(source, tmp_path / "a.jsonl")
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    report = await import_file(target, path)
    assert (report.imported, [one.line for one in report.waiting]) == (2, [3])
    path.write_bytes(data)
    assert (await import_file(target, path)).records_added == 1


async def test_a_broken_log_is_refused_with_the_record(tmp_path: Path) -> None:
    """Whichever record was changed: nothing of the log is imported."""
    source = MemoryStore()
    await make(source, 3)
    path = await write(source, tmp_path / "a.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    for seq, line in enumerate(lines):
        changed = line.replace(b"}\n", b" }\n")
        path.write_bytes(b"".join([*lines[:seq], changed, *lines[seq + 1 :]]))
        target = MemoryStore()
        with pytest.raises(ImportFailed, match=f"broken.*record {seq}"):
            await import_file(target, path)
        assert await target.list_sessions() == []


class Failing(MemoryStore):
    """A store that fails after some commits."""

    left = 10**6

    async def append(self, session_id: str, *records: HashedEntry) -> None:
        if self.left == 0:
            raise StoreFailed("no space left")
        self.left -= 1
        await super().append(session_id, *records)


async def test_an_import_that_was_interrupted_goes_on(tmp_path: Path) -> None:
    """At each commit; there are several, for a log is not held whole."""
    source = MemoryStore()
    await make(source, 12, size=100_000)
    path = await write(source, tmp_path / "a.jsonl")
    commits: Sequence[int] = range(100)
    for failures in commits:
        target = Failing()
        target.left = failures
        try:
            await import_file(target, path)
            break
        except StoreFailed:
            target.left = 10**6
        await import_file(target, path)
        assert await target.read_all(SID) == await source.read_all(SID)
    assert failures > 3


async def test_a_trace_beside_a_log_is_passed_over(tmp_path: Path) -> None:
    """It is no log and no transcript, and no failure."""
    source, target = MemoryStore(), MemoryStore()
    await make(source, 1)
    await write(source, tmp_path / "a.jsonl")
    (tmp_path / "a.trace.jsonl").write_text('{"delta":"x"}\n')
    summary = await import_paths(target, [tmp_path])
    assert summary.failures == []
    passed = [one.passed_over for one in summary.reports]
    assert passed == [None, "it is the raw trace of the log beside it"]
