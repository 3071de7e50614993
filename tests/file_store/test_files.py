"""What lies on the disk: names, permissions, torn tails, and files that others put, cut or replaced."""

import os
import socket
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import anyio
import pytest

from sessionlog import (
    CorruptLog,
    Damage,
    FileStore,
    HashedEntry,
    InvalidSessionId,
    LogState,
    RequestConfig,
    SessionId,
    SessionLog,
    SessionNotFound,
    SessionStart,
    SessionStartState,
    StoreFailed,
    TurnEnd,
    create_session_with_id,
    link,
    open_session,
    user_message,
    verify_chain,
)
from sessionlog.stores.file.spans import CHUNK_BYTES
from sessionlog.stores.file.system import InlineSystem, System

pytestmark = pytest.mark.anyio
SESSION = SessionId("one")


class CountingSystem(System):
    """Counts calls, and the bytes read."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.calls: dict[str, int] = {}
        self.bytes_read = 0

    def _count(self, name: str) -> None:
        self.calls[name] = self.calls.get(name, 0) + 1

    def open(self, path: str, flags: int, mode: int = 0o600) -> int:
        self._count("open")
        return super().open(path, flags, mode)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        data = super().pread(fd, size, offset)
        self.bytes_read += len(data)
        return data

    def write(self, fd: int, data: bytes | memoryview) -> int:
        self._count("write")
        return super().write(fd, data)

    def flush(self, fd: int) -> None:
        self._count("flush")
        super().flush(fd)

    def flush_file_system(self, fd: int) -> bool:
        self._count("flush_file_system")
        return super().flush_file_system(fd)


async def make_log(root: Path, turns: int = 2) -> bytes:
    """Write a log of a start and ``turns`` records; return its bytes."""
    async with FileStore(root) as store:
        log = await create_session_with_id(store, SESSION, SessionStartState("be brief"))
        await log.append_all([TurnEnd(ts=turn, turn_count=turn) for turn in range(turns)])
    return (root / f"{SESSION}.jsonl").read_bytes()


async def test_modes_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    """Directories are 0700 and files 0600, under an open umask and under a tight one."""
    for umask in (0o000, 0o377):
        root = tmp_path / f"under-{umask:o}" / "store"
        before = os.umask(umask)
        try:
            async with FileStore(root) as store:
                await create_session_with_id(store, SESSION, SessionStartState())
                await store.append_trace(SESSION, {"delta": "x"})
        finally:
            os.umask(before)
        assert root.stat().st_mode & 0o7777 == 0o700
        assert {path.stat().st_mode & 0o7777 for path in root.iterdir()} == {0o600}


async def test_a_torn_tail_at_every_offset_is_set_aside(tmp_path: Path) -> None:
    """Cut anywhere, also right before an LF, the next writer counts what readers see, and keeps the rest aside."""
    whole = await make_log(tmp_path / "whole")
    ends = [index + 1 for index, byte in enumerate(whole) if byte == 0x0A]
    for cut in range(len(whole)):
        root = tmp_path / f"cut-{cut}"
        root.mkdir()
        path = root / f"{SESSION}.jsonl"
        path.write_bytes(whole[:cut])
        kept = sum(end <= cut for end in ends)
        torn_at = ends[kept - 1] if kept else 0
        async with FileStore(root) as store:
            assert len(await store.read_all(SESSION)) == kept
            head = await store.read_head(SESSION)
            assert (None if head is None else head.seq + 1) == (kept or None)
            await _append_behind(store)
            records = await store.read_all(SESSION)
        assert verify_chain(records).state is LogState.VALID
        assert len(records) == kept + 1
        aside = [found for found in root.iterdir() if ".torn-" in found.name]
        if cut in (0, *ends):
            assert aside == []
        else:
            assert [found.name for found in aside] == [f"{SESSION}.torn-{torn_at}"]
            assert aside[0].read_bytes() == whole[torn_at:cut]


async def _append_behind(store: FileStore) -> None:
    """Append as a writer does after a crash: make the session where it holds no record, else open it."""
    if await store.read_head(SESSION) is None:
        await create_session_with_id(store, SESSION, SessionStartState())
    else:
        await (await open_session(store, SESSION)).save_turn_end(9)


async def test_bytes_set_aside_earlier_are_never_overwritten(tmp_path: Path) -> None:
    """A second tear at one offset is kept beside the first; what a killed repair left half copied is completed."""
    whole = await make_log(tmp_path)
    path = tmp_path / f"{SESSION}.jsonl"
    for number, tail in enumerate([b"first tear", b"second", b"second"]):
        path.write_bytes(whole + tail)
        async with FileStore(tmp_path) as store:
            log = await open_session(store, SESSION)
            await log.save_turn_end(number)
    kept = {found.name: found.read_bytes() for found in tmp_path.glob("*.torn-*")}
    name = f"{SESSION}.torn-{len(whole)}"
    assert kept == {name: b"first tear", f"{name}-2": b"second"}
    (tmp_path / name).write_bytes(b"first")
    path.write_bytes(whole + b"first tear")
    async with FileStore(tmp_path) as store:
        await (await open_session(store, SESSION)).save_turn_end(1)
    assert (tmp_path / name).read_bytes() == b"first tear"


async def test_a_tail_of_zero_filled_pages_is_set_aside(tmp_path: Path) -> None:
    """NUL bytes behind the last record, as a power loss leaves them, are a torn tail."""
    whole = await make_log(tmp_path)
    path = tmp_path / f"{SESSION}.jsonl"
    path.write_bytes(whole + bytes(100_000))
    async with FileStore(tmp_path) as store:
        log = await open_session(store, SESSION)
        await log.save_turn_end(3)
        assert len(await store.read_all(SESSION)) == 4
    assert (tmp_path / f"{SESSION}.torn-{len(whole)}").read_bytes() == bytes(100_000)


def _symlink(path: Path) -> None:
    other = path.with_name("other-file")
    path.rename(other)
    path.symlink_to(other)


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _socket(path: Path) -> None:
    path.unlink()
    with socket.socket(socket.AF_UNIX) as bound:
        here = Path.cwd()
        os.chdir(path.parent)  # the names of sockets are short
        try:
            bound.bind(path.name)
        finally:
            os.chdir(here)


@pytest.mark.parametrize("put", [_symlink, _fifo, _directory, _socket])
async def test_what_is_no_regular_file_is_refused(tmp_path: Path, put: Callable[[Path], None]) -> None:
    """A symlink, FIFO, directory or socket in a log's place is refused by readers and writers, at once."""
    await make_log(tmp_path)
    put(tmp_path / f"{SESSION}.jsonl")
    async with FileStore(tmp_path) as store:
        record = link(None, _start())
        attempts = [
            store.read_all(SESSION),
            store.read_head(SESSION),
            _drain(store.read(SESSION)),
            _drain(store.read_raw(SESSION)),
            _drain(store.follow(SESSION)),
            store.append(SESSION, record),
        ]
        for attempt in attempts:
            with pytest.raises(CorruptLog if put is not _socket else (CorruptLog, StoreFailed)) as caught:
                with anyio.fail_after(10):
                    await attempt
            if isinstance(caught.value, CorruptLog):
                assert caught.value.damage is Damage.FILE


def _start() -> SessionStart:
    return SessionStart(ts=0, format="sessionlog/1", session_id=SESSION, config=RequestConfig(), history=[])


async def _drain(stream: AsyncGenerator[HashedEntry | bytes, None]) -> None:
    async for _ in stream:
        pass


async def test_a_second_hard_link_is_refused_by_writers(tmp_path: Path) -> None:
    """A log that another name could change is read, but not written, whenever the link came."""
    await make_log(tmp_path)
    path = tmp_path / f"{SESSION}.jsonl"
    async with FileStore(tmp_path) as store:
        log = await open_session(store, SESSION)
        await log.save_turn_end(1)
        os.link(path, tmp_path / "second-name")
        before = path.read_bytes()
        for _ in range(2):
            with pytest.raises(CorruptLog, match="hard link"):
                await log.save_turn_end(2)
        assert path.read_bytes() == before
        assert len(await store.read_all(SESSION)) == 4
        (tmp_path / "second-name").unlink()
        await log.save_turn_end(2)


@pytest.mark.parametrize("how", ["removed", "renamed", "replaced", "cut", "garbage", "overwritten"])
@pytest.mark.parametrize("durability", ["os", "disk"])
async def test_a_file_that_others_changed_is_noticed_before_the_next_write(
    tmp_path: Path, how: str, durability: str
) -> None:
    """Removal, renaming, replacement, cutting and foreign bytes give a typed error, and nothing is written."""
    path = tmp_path / f"{SESSION}.jsonl"
    async with FileStore(tmp_path, "os" if durability == "os" else "disk") as store:
        log = await create_session_with_id(store, SESSION, SessionStartState())
        await log.save_turn_end(1)
        whole = path.read_bytes()
        if how == "removed":
            path.unlink()
        elif how == "renamed":
            path.rename(tmp_path / "aside")
        elif how == "replaced":
            path.with_name("new").write_bytes(whole)
            path.with_name("new").rename(path)
        elif how == "cut":
            os.truncate(path, len(whole) - 10)
        elif how == "garbage":
            path.write_bytes(whole + b"not a record\n")
        else:
            path.write_bytes(b"x" * (len(whole) + 7) + b"\n")
        after = {found.name: found.read_bytes() for found in tmp_path.iterdir()}
        with pytest.raises((CorruptLog, SessionNotFound)):
            await log.save_turn_end(2)
        assert {found.name: found.read_bytes() for found in tmp_path.iterdir()} == after


@pytest.mark.parametrize("damaged", [False, True])
async def test_a_raw_reader_of_a_replaced_file_says_how_far_it_came(tmp_path: Path, damaged: bool) -> None:
    """The error names the line that was not given to its end, and where it starts in what was given."""
    data = await make_log(tmp_path, turns=8000)
    path = tmp_path / f"{SESSION}.jsonl"
    if damaged:
        data = data.replace(b'","seq":', b'","sec":')
        path.write_bytes(data)
    async with FileStore(tmp_path, "os") as store:
        stream = store.read_raw(SESSION)
        given = await anext(stream)
        assert len(given) < len(data)
        copy = tmp_path / "copy"
        copy.write_bytes(data)
        copy.replace(path)
        with pytest.raises(CorruptLog) as error:
            await anext(stream)
    assert error.value.damage is Damage.FILE
    assert error.value.seq == given.count(b"\n") > 0
    assert error.value.offset == given.rfind(b"\n") + 1


async def test_only_a_store_that_reads_inline_reads_now(tmp_path: Path) -> None:
    """It gives all of a small log, whatever stands in it; a longer one is to be streamed."""
    data = await make_log(tmp_path, turns=3) + b"torn"
    path = tmp_path / f"{SESSION}.jsonl"
    path.write_bytes(data)
    async with FileStore(tmp_path) as store:
        assert store.read_now(SESSION) is None
    async with FileStore(tmp_path, system=InlineSystem()) as store:
        assert store.read_now(SESSION) == data
        with pytest.raises(SessionNotFound):
            store.read_now("other")
        path.write_bytes(data + b"x" * CHUNK_BYTES)
        assert store.read_now(SESSION) is None
        path.write_bytes(b"")
        assert store.read_now(SESSION) == b""


async def test_ids_that_are_no_names_touch_nothing(tmp_path: Path) -> None:
    """An id that could leave the directory, or is no file name, is refused by every verb."""
    root = tmp_path / "store"
    async with FileStore(root) as store:
        for bad in ("../x", "", "a" * 129, "a\0b", "é", "a/b", ".", "-a", "_a", "a\n", "a.trace"):
            record = link(None, _start())
            for attempt in (
                store.append(SessionId(bad), record),
                store.create_session(SessionId(bad), [record]),
                store.read_all(SessionId(bad)),
                store.read_head(SessionId(bad)),
                store.exists(SessionId(bad)),
                store.append_trace(SessionId(bad), 1),
            ):
                with pytest.raises(InvalidSessionId):
                    await attempt
    assert not root.exists()


async def test_a_root_that_is_a_file_is_a_store_failure(tmp_path: Path) -> None:
    """A file where the store's directory should be is named, not written to."""
    root = tmp_path / "file"
    root.write_bytes(b"mine")
    async with FileStore(root) as store:
        with pytest.raises(StoreFailed, match="no directory"):
            await create_session_with_id(store, SESSION, SessionStartState())
        with pytest.raises(StoreFailed):
            await store.list_sessions()
    assert root.read_bytes() == b"mine"


async def test_reading_a_missing_store_makes_nothing(tmp_path: Path) -> None:
    """A store that is not there holds no sessions, and asking does not make it."""
    root = tmp_path / "nowhere"
    async with FileStore(root) as store:
        assert await store.list_sessions() == []
        with pytest.raises(SessionNotFound):
            await store.read_all(SESSION)
        with pytest.raises(SessionNotFound):
            await store.append(SESSION, link(link(None, _start()).head, TurnEnd(ts=0, turn_count=1)))
    assert not root.exists()


async def test_finding_the_head_reads_the_end_only(tmp_path: Path) -> None:
    """The head of a log of 5 MB costs no more bytes than that of one of 5 kB, and a first append hardly more."""
    read: list[int] = []
    for turns in (5, 5000):
        root = tmp_path / str(turns)
        async with FileStore(root, "os") as store:
            log = await create_session_with_id(store, SESSION, SessionStartState())
            await log.save_delta([user_message("x" * 900)] * turns)
        system = CountingSystem()
        async with FileStore(root, "os", system=system) as store:
            log = await open_session(store, SESSION)
            await log.save_turn_end(1)
        read.append(system.bytes_read)
    assert read[1] <= 2 * (16 * 1024 + 512)


async def test_waiting_appends_share_flushes(tmp_path: Path) -> None:
    """64 sessions that append 10 times each at once need no more flushes than a few a round."""
    system = CountingSystem()
    async with FileStore(tmp_path, "disk", system=system) as store:
        logs = [await create_session_with_id(store, SessionId(f"s{n}"), SessionStartState()) for n in range(64)]
        system.calls.clear()

        async def write(log: SessionLog) -> None:
            for turn in range(10):
                await log.save_turn_end(turn)

        async with anyio.create_task_group() as group:
            for log in logs:
                group.start_soon(write, log)
    assert system.calls["write"] == 640
    assert system.calls.get("open", 0) == 0
    assert system.calls.get("flush", 0) + system.calls["flush_file_system"] <= 30


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # which starts tasks in order, as these records need it
async def test_appends_of_many_tasks_to_one_file_are_one_write_a_batch(tmp_path: Path) -> None:
    """Commits of several handles to one session that chain onto each other go out in one write."""
    system = CountingSystem()
    async with FileStore(tmp_path, "disk", system=system) as store:
        log = await create_session_with_id(store, SESSION, SessionStartState())
        head = log.head
        records = []
        for turn in range(20):
            record = link(head, TurnEnd(ts=0, turn_count=turn))
            records.append(record)
            head = record.head
        system.calls.clear()
        async with anyio.create_task_group() as group:
            for record in records:
                group.start_soon(store.append, SESSION, record)
        assert len(await store.read_all(SESSION)) == 21
    assert system.calls["write"] <= 3
