"""Deletion of a session's files: nothing is left, at no moment a half, and never a false corruption for anybody."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import anyio
import deleting
import pytest
from deleting import ID, OTHER, chain_onto, expect_whole_or_gone, new_log, prepare

from sessionlog import (
    CorruptLog,
    Durability,
    FileStore,
    HashedEntry,
    Head,
    HeadConflict,
    SessionExists,
    SessionLogError,
    SessionNotFound,
    StoreFailed,
)
from sessionlog.testing.faults import Fail, Fault, FaultySystem

SCRIPT = Path(deleting.__file__)
each_durability = pytest.mark.parametrize("durability", ["disk", "os"])


@pytest.mark.anyio
@each_durability
async def test_nothing_of_a_deleted_session_is_left(tmp_path: Path, durability: Durability) -> None:
    """Log, trace, torn and unfinished files go, also those of others that have them open; other sessions stay."""
    log = await prepare(tmp_path)
    kept = sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(f"{ID}."))
    async with FileStore(tmp_path, durability) as store, FileStore(tmp_path, durability) as stale:
        await stale.append(ID, *(more := chain_onto(log[-1].head, 1)))
        await stale.append_trace(ID, "open")
        opened = [os.open(path, os.O_RDONLY) for path in tmp_path.glob(f"{ID}.jsonl")]
        await store.delete_session(ID, more[-1].head)
        assert sorted(path.name for path in tmp_path.iterdir()) == kept
        assert [os.fstat(fd).st_size for fd in opened] == [0], "the space is free although others have it open"
        for fd in opened:
            os.close(fd)
        with pytest.raises(SessionNotFound):
            await stale.append(ID, *chain_onto(more[-1].head, 1))
        with pytest.raises(SessionNotFound):
            await stale.append_trace(ID, "an orphan")
        assert sorted(path.name for path in tmp_path.iterdir()) == kept
        await stale.create_session(ID, new_log("anew", 2))
        assert await store.read_all(ID) == new_log("anew", 2)


@pytest.mark.anyio
@each_durability
async def test_each_call_of_a_deletion_fails(tmp_path: Path, durability: Durability) -> None:
    """Whichever system call fails, the log is whole or gone, the caller was told which, and the store goes on."""
    for number in (errno.EIO, errno.ENOSPC, errno.EROFS):
        for at in range(1, 1000):
            root = tmp_path / f"{errno.errorcode[number]}-{at}"
            log = await prepare(root)
            system = FaultySystem(Fault(at=at, action=Fail(number)))
            error: SessionLogError | None = None
            descriptors = len(os.listdir("/dev/fd"))
            async with FileStore(root, durability, system=system) as store:
                try:
                    await store.delete_session(ID, log[-1].head)
                except StoreFailed as told:
                    error = told
                system.heal()
                gone = await expect_whole_or_gone(root, log)
                if error is None:
                    assert gone
                    await store.create_session(ID, new_log("anew", 2))
                elif not (isinstance(error, StoreFailed) and error.poisoned):
                    assert not gone, f"told that the log is as it was: {error}"
                    await store.append(ID, *(more := chain_onto(log[-1].head, 1)))
                    await store.delete_session(ID, more[-1].head)
            assert len(os.listdir("/dev/fd")) == descriptors, "descriptors leaked"
            if not system.fired:
                break
        assert at > 10


@each_durability
def test_killed_at_each_call_of_a_deletion(tmp_path: Path, durability: Durability) -> None:
    """A process killed at any system call leaves the log whole or gone, and a new session can be made."""
    subprocess.run([sys.executable, str(SCRIPT), durability, str(tmp_path)], check=True, stdin=subprocess.DEVNULL)
    points = sorted(tmp_path.iterdir())
    assert len(points) > 20
    outcomes = {anyio.run(expect_whole_or_gone, point, new_log()) for point in points}
    assert outcomes == {True, False}


@pytest.mark.anyio
async def test_a_deletion_and_other_processes_that_append(tmp_path: Path) -> None:
    """Of what three processes appended, and were told is in, nothing comes behind the head that was deleted."""
    for turn in range(4):
        root = tmp_path / str(turn)
        async with FileStore(root) as store:
            await store.create_session(ID, new_log())
            writers = [_start_writer(root, name) for name in "abc"]
            for writer in writers:
                assert writer.stdout is not None
                assert await anyio.to_thread.run_sync(writer.stdout.readline) == b"begun\n"
            deleted = await _delete(store)
            for writer in writers:
                assert (await anyio.to_thread.run_sync(writer.communicate))[0] == b""
                assert writer.returncode == 0
            acknowledged = [int(seq) for path in root.glob("*.acknowledged") for seq in path.read_text().split()]
            assert deleted is not None
            assert sorted(acknowledged) == list(range(3, deleted.seq + 1))
            assert not list(root.glob(f"{ID}.*"))


def _start_writer(root: Path, name: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(SCRIPT), "append", str(root), name]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)


@pytest.mark.anyio
@each_durability
async def test_a_deletion_beside_appends_of_its_own_store(tmp_path: Path, durability: Durability) -> None:
    """Appends that wait for their flush when a deletion comes are acknowledged, and in what was deleted."""
    async with FileStore(tmp_path, durability) as store:
        for _ in range(20):
            log = new_log()
            await store.create_session(ID, log)
            more = chain_onto(log[-1].head, 3)
            outcome: list[object] = []

            async def append(more: list[HashedEntry] = more, outcome: list[object] = outcome) -> None:
                for record in more:
                    try:
                        await store.append(ID, record)
                    except SessionNotFound:
                        outcome.append("gone")
                        return
                    outcome.append(record.seq)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(append)
                tasks.start_soon(_delete, store)
            assert outcome in ([3, 4, 5], [3, 4, "gone"], [3, "gone"], ["gone"])
            assert not list(tmp_path.glob(f"{ID}.*"))


async def _delete(store: FileStore) -> Head | None:
    """Delete the session as it is; return the head that it had then."""
    while True:
        head = await store.read_head(ID)
        try:
            await store.delete_session(ID, head)
        except HeadConflict:
            continue
        return head


@pytest.mark.anyio
async def test_a_log_with_a_second_name_or_damage_is_not_deleted(tmp_path: Path) -> None:
    """Where the head cannot be told, or the bytes would stay under another name, nothing is deleted."""
    log = await prepare(tmp_path)
    path = tmp_path / f"{ID}.jsonl"
    async with FileStore(tmp_path) as store:
        os.link(path, tmp_path / "second")
        with pytest.raises(CorruptLog, match="hard link"):
            await store.delete_session(ID, log[-1].head)
        (tmp_path / "second").unlink()
        data = path.read_bytes()
        path.write_bytes(data.replace(b"last", b"LAST"))
        with pytest.raises(CorruptLog):
            await store.delete_session(ID, log[-1].head)
        assert path.exists()
        path.write_bytes(data)
        with pytest.raises(SessionExists):
            await store.create_session(ID, log)
        await store.delete_session(ID, log[-1].head)
        assert await store.list_sessions() == [OTHER]


@pytest.mark.anyio
async def test_a_trace_waits_for_the_lock_and_makes_no_orphan(tmp_path: Path) -> None:
    """A trace is opened under the log's shared lock: a deletion in the middle leaves no trace behind."""
    log = await prepare(tmp_path)

    class DeletesMeanwhile(FaultySystem):
        """Deletes the session at the one call at which the trace's log was found."""

        def try_share(self, fd: int) -> bool:
            for path in tmp_path.glob(f"{ID}.*"):
                path.unlink()
            return super().try_share(fd)

    async with FileStore(tmp_path, system=DeletesMeanwhile()) as store:
        with pytest.raises(SessionNotFound):
            await store.append_trace(ID, "an orphan")
    assert not list(tmp_path.glob(f"{ID}.*"))
    assert log
