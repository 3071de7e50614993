"""Files that somebody put where the store writes: nothing is written or changed through them (FORMAT section 1)."""

import os
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from sessionlog import (
    CorruptLog,
    Damage,
    FileStore,
    SessionId,
    SessionStartState,
    StoreFailed,
    audit_session,
    create_session_with_id,
    open_session,
    verify_session,
)
from sessionlog.stores.file import follow
from sessionlog.testing.faults import FaultySystem

pytestmark = pytest.mark.anyio
SESSION = SessionId("one")
TAIL = b'{"hash":"unfinished'
MODE = 0o640
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def symlink(path: Path, target: Path) -> None:
    path.symlink_to(target)


def dangling_symlink(path: Path, target: Path) -> None:
    path.symlink_to(target.with_name("nowhere"))


def hard_link(path: Path, target: Path) -> None:
    os.link(target, path)


def fifo(path: Path, _target: Path) -> None:
    os.mkfifo(path, MODE)


def directory(path: Path, _target: Path) -> None:
    path.mkdir(MODE)


def foreign(path: Path, target: Path) -> None:
    path.write_bytes(target.read_bytes())
    path.chmod(MODE)
    os.chown(path, 12345, 12345)


each_plant = pytest.mark.parametrize(
    "plant", [symlink, dangling_symlink, hard_link, fifo, directory, pytest.param(foreign, marks=as_root)]
)
Plant = Callable[[Path, Path], None]


def state(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return each name with its mode, owner and, for a regular file, its content; symlinks are not followed."""
    return {
        path.name: (path.lstat().st_mode, path.lstat().st_uid, b"" if not path.is_file() else path.read_bytes())
        for path in folder.rglob("*")
    }


async def make_torn(root: Path) -> int:
    """Write a log of one record and a torn tail; return the offset of the tail."""
    async with FileStore(root, "os") as store:
        await create_session_with_id(store, SESSION, SessionStartState())
    path = root / f"{SESSION}.jsonl"
    end = path.stat().st_size
    with path.open("ab") as file:
        file.write(TAIL)
    return end


def victim(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "victim"
    path.write_bytes(TAIL[:4])  # as if a killed repair had left it: only who it belongs to tells
    path.chmod(MODE)
    return path


@each_plant
async def test_a_taken_name_does_not_keep_a_tail_from_being_set_aside(plant: Plant, tmp_path: Path) -> None:
    """The tail goes to the next free name; what has the first one stays as it is, mode and all."""
    root = tmp_path / "store"
    end = await make_torn(root)
    target = victim(tmp_path / "elsewhere")
    plant(root / f"{SESSION}.torn-{end}", target)
    before = state(tmp_path)
    async with FileStore(root, "disk") as store:
        await (await open_session(store, SESSION)).save_turn_end(1)
        assert (await verify_session(store, SESSION)).verdict.record_count == 2
    after = state(tmp_path)
    name = f"{SESSION}.torn-{end}-2"
    assert after.pop(name)[2] == TAIL
    log = f"{SESSION}.jsonl"
    assert {**after, log: before[log]} == before


@each_plant
async def test_no_trace_is_written_through_what_is_not_ours(plant: Plant, tmp_path: Path) -> None:
    """A trace in whose place something else lies is refused with a typed error; appends go on."""
    root = tmp_path / "store"
    await make_torn(root)
    plant(root / f"{SESSION}.trace.jsonl", victim(tmp_path / "elsewhere"))
    before = state(tmp_path)
    async with FileStore(root, "os") as store:
        for _ in range(2):
            with pytest.raises(StoreFailed, match="trace"):
                await store.append_trace(SESSION, {"a": 1})
        assert state(tmp_path) == before
        await (await open_session(store, SESSION)).save_turn_end(1)


async def test_an_open_trace_that_gets_another_name_is_not_written_to(tmp_path: Path) -> None:
    """A hard link that comes later is noticed at the next line; a trace that was removed is made anew."""
    path = tmp_path / f"{SESSION}.trace.jsonl"
    async with FileStore(tmp_path, "os") as store:
        await create_session_with_id(store, SESSION, SessionStartState())
        await store.append_trace(SESSION, 1)
        os.link(path, tmp_path / "second")
        with pytest.raises(StoreFailed, match="hard link"):
            await store.append_trace(SESSION, 2)
        assert path.read_bytes() == b"1\n"
        (tmp_path / "second").unlink()
        await store.append_trace(SESSION, 3)
        path.unlink()
        await store.append_trace(SESSION, 4)
        assert path.read_bytes() == b"4\n"


@as_root
@pytest.mark.parametrize("content", [b"", b"no record"])
async def test_a_planted_log_without_a_record_is_not_adopted(content: bytes, tmp_path: Path) -> None:
    """Who owns a file may write to it for ever, so a session is not begun in another's; one's own is taken."""
    path = tmp_path / f"{SESSION}.jsonl"
    path.write_bytes(content)
    os.chown(path, 12345, 12345)
    before = state(tmp_path)
    async with FileStore(tmp_path, "os") as store:
        for _ in range(2):
            with pytest.raises(CorruptLog, match="another user") as refused:
                await create_session_with_id(store, SESSION, SessionStartState())
            assert refused.value.damage is Damage.FILE
        assert state(tmp_path) == before
        os.chown(path, 0, 0)
        await create_session_with_id(store, SESSION, SessionStartState())


@as_root
async def test_a_log_of_another_user_that_holds_records_is_appended_to(tmp_path: Path) -> None:
    """Two users who share a store by the modes of its files go on as before."""
    await make_torn(tmp_path)
    os.chown(tmp_path / f"{SESSION}.jsonl", 12345, 12345)
    async with FileStore(tmp_path, "os") as store:
        await (await open_session(store, SESSION)).save_turn_end(1)


async def test_an_audit_remarks_on_who_else_may_write(tmp_path: Path) -> None:
    """A log or a directory that others may write to is remarked on, and is no finding."""
    root, path = tmp_path / "store", tmp_path / "store" / f"{SESSION}.jsonl"
    async with FileStore(root, "os") as store:
        await create_session_with_id(store, SESSION, SessionStartState())
        assert (await audit_session(store, SESSION)).remarks == ()
        assert store.remarks() == []
        path.chmod(0o622)
        root.chmod(0o770)
        report = await audit_session(store, SESSION)
        assert report.ok
        assert report.findings == ()
        (remark,) = report.remarks
        assert "its group and everybody may write to it (mode 622)" in remark
        assert "its group may write to it (mode 770)" in store.remarks()[0]


@pytest.mark.parametrize("made_by", ["an os store", "a killed process"])
async def test_the_entry_of_the_root_is_flushed_by_whoever_needs_it_first(made_by: str, tmp_path: Path) -> None:
    """A directory that was there already may not be durable yet: the first durable append sees to that, once."""
    root = tmp_path / "store"
    if made_by == "an os store":
        await make_torn(root)
    else:
        root.mkdir()
    system = FaultySystem()
    async with FileStore(root, "disk", system=system) as store:
        if made_by == "an os store":
            log = await open_session(store, SESSION)
        else:
            log = await create_session_with_id(store, SESSION, SessionStartState())
        for turn in range(3):
            await log.save_turn_end(turn)
        await create_session_with_id(store, SessionId("two"), SessionStartState())
    flushed = [call.on for call in system.calls if call.kind == "flush_directory"]
    assert flushed.count(str(tmp_path)) == 1
    assert flushed[0] == str(tmp_path)


async def test_a_follower_learns_of_the_close_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With inotify, too, a waiting follower does not sleep on until it looks again."""
    pytest.importorskip("inotify_simple", reason="the extra 'follow' is not installed")
    monkeypatch.setattr(follow, "POLL_WITH_INOTIFY_S", float("inf"))
    async with FileStore(tmp_path, "os") as store:
        await create_session_with_id(store, SESSION, SessionStartState())
        stream = store.follow(SESSION)
        assert (await anext(stream)).seq == 0

        async def wait() -> None:
            with pytest.raises(StoreFailed, match="closed"):
                await anext(stream)

        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                group.start_soon(wait)
                await anyio.wait_all_tasks_blocked()
                await store.aclose()
