"""Reading on from a position in a file: what it costs, and what is noticed of a file that others replaced."""

import contextlib
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import pytest

from sessionlog import (
    CorruptLog,
    EntryNotFound,
    Extension,
    FileStore,
    HashedEntry,
    Position,
    RequestConfig,
    SessionId,
    SessionNotFound,
    SessionStart,
    build_chain,
    link,
)
from sessionlog.record import ENVELOPE_BYTES_MAX
from sessionlog.stores.file import follow as follow_module
from sessionlog.stores.file import stamps as stamps_module
from sessionlog.stores.file.spans import CHUNK_BYTES
from sessionlog.stores.file.system import System

pytestmark = pytest.mark.anyio
SESSION = SessionId("read-on")
T = TypeVar("T")
OPENING_BYTES = 512 + 1 + ENVELOPE_BYTES_MAX
"""What a reader looks at to find its position: the start of the log, and that of the next record."""


def new_log(count: int, text: str = "", size: int = 100) -> list[HashedEntry]:
    start = SessionStart(
        ts=0, format="sessionlog/1", session_id=SESSION, system_prompt=text, config=RequestConfig(), history=[]
    )
    rest = [Extension(ts=n, domain="test", payload="x" * size) for n in range(count - 1)]
    return build_chain([start, *rest])


def as_bytes(log: Sequence[HashedEntry]) -> bytes:
    return b"".join(record.line + b"\n" for record in log)


def position_in(log: Sequence[HashedEntry], seq: int) -> Position:
    position: Position | None = None
    for record in log[: seq + 1]:
        position = Position.after(record, position)
    assert position is not None
    return position


async def read_while(stream: AsyncGenerator[T, None], found: list[T], happens: Callable[[], None]) -> None:
    """Take all that ``stream`` gives into ``found``; behind the first, something happens."""
    async with contextlib.aclosing(stream):
        async for one in stream:
            if not found:
                happens()
            found.append(one)


async def drain(stream: AsyncGenerator[HashedEntry, None]) -> list[HashedEntry]:
    async with contextlib.aclosing(stream) as records:
        return [record async for record in records]


class CountingSystem(System):
    """Counts the bytes that are read."""

    bytes_read = 0

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        data = super().pread(fd, size, offset)
        self.bytes_read += len(data)
        return data


@pytest.mark.parametrize("seq", [0, 1, 4998, 4999])
async def test_reading_on_costs_what_is_new(tmp_path: Path, seq: int) -> None:
    """Of a log of 1.7 MB, what stands behind the position is read, and a few hundred bytes to find it."""
    log = new_log(5000)
    (tmp_path / f"{SESSION}.jsonl").write_bytes(as_bytes(log))
    kept, system = position_in(log, seq), CountingSystem()
    async with FileStore(tmp_path, system=system) as store:
        assert await drain(store.read(SESSION, after=kept)) == log[seq + 1 :]
        new = len(as_bytes(log)) - kept.end
        last = 16 * 1024 if seq == 4999 else 0
        cut_by_chunks = 2 * len(log[-1].line)
        assert system.bytes_read <= new + OPENING_BYTES + last + cut_by_chunks
        system.bytes_read = 0
        assert await store.read_position(SESSION) == position_in(log, len(log) - 1)
        assert system.bytes_read <= 17 * 1024


@pytest.mark.parametrize("grown", [0, 3])
@pytest.mark.parametrize("how", ["copied over", "renamed over", "made anew"])
@pytest.mark.parametrize("what", ["same size", "shorter", "longer", "same first record", "another session"])
async def test_a_replaced_log_is_never_read_on(tmp_path: Path, how: str, what: str, grown: int) -> None:
    """However a log was replaced since, with whichever size and inode, a typed error says so, at any position."""
    path = tmp_path / f"{SESSION}.jsonl"
    log = new_log(8)
    path.write_bytes(as_bytes(log))
    other = {
        "same size": new_log(8, "other"),
        "shorter": new_log(3, "other"),
        "longer": new_log(30, "other"),
        "same first record": [log[0], *new_log_behind(log[0], 12)],
        "another session": foreign_log(),
    }[what]
    if what == "same size":
        log = new_log(8, "there")
        path.write_bytes(as_bytes(log))
        assert len(as_bytes(log)) == len(as_bytes(other))
    async with FileStore(tmp_path, "os") as store:
        kept = [position_in(log, seq) for seq in (1, 4, 7)]
        assert await store.read_position(SESSION) == kept[-1]
        replace(path, as_bytes(other), how)
        if grown:
            with path.open("ab") as file:
                file.write(as_bytes(new_log_behind(other[-1], grown)))
        for position in kept:
            with pytest.raises((EntryNotFound, CorruptLog)) as caught:
                await drain(store.read(SESSION, after=position))
            assert isinstance(caught.value, CorruptLog) is (what == "another session" and position.end <= size_of(path))
            with pytest.raises((EntryNotFound, CorruptLog)), anyio.fail_after(30):
                await drain(store.follow(SESSION, after=position))


async def test_a_log_that_was_copied_back_is_read_on(tmp_path: Path) -> None:
    """The file may be another one: what counts is the chain."""
    path = tmp_path / f"{SESSION}.jsonl"
    log = new_log(8)
    path.write_bytes(as_bytes(log[:5]))
    async with FileStore(tmp_path, "os") as store:
        kept = await store.read_position(SESSION)
        replace(path, as_bytes(log), "renamed over")
        assert await drain(store.read(SESSION, after=kept)) == log[5:]


async def test_a_position_in_the_middle_of_nowhere_is_refused(tmp_path: Path) -> None:
    """Whatever byte a position names as its end, reading begins behind that record or not at all."""
    log = new_log(4)
    data = as_bytes(log)
    (tmp_path / f"{SESSION}.jsonl").write_bytes(data)
    right = position_in(log, 1)
    async with FileStore(tmp_path, "os") as store:
        for end in (*range(-2, len(data) + 3, 7), len(data), len(data) + 1, 2**40):
            if end == right.end:
                continue
            with pytest.raises(EntryNotFound):
                await drain(store.read(SESSION, after=Position(right.seq, right.hash, end)))


async def test_a_torn_tail_is_nothing_new(tmp_path: Path) -> None:
    """Behind a position, too, bytes without LF are no part of the log; the record that they become is read then."""
    path = tmp_path / f"{SESSION}.jsonl"
    log = new_log(6)
    async with FileStore(tmp_path, "os") as store:
        for cut in (1, 75, 100, len(log[-1].line)):
            path.write_bytes(as_bytes(log[:-1]) + log[-1].line[:cut])
            assert await drain(store.read(SESSION, after=position_in(log, 4))) == []
            with pytest.raises(EntryNotFound):
                await drain(store.read(SESSION, after=position_in(log, 5)))
        path.write_bytes(as_bytes(log))
        assert await drain(store.read(SESSION, after=position_in(log, 4))) == log[5:]


@pytest.mark.parametrize("how", ["copied over", "renamed over", "made anew"])
async def test_a_reader_in_the_middle_is_told_of_another_log(tmp_path: Path, how: str) -> None:
    """A stream whose log is replaced half-way gives a start of the old log and ends in EntryNotFound."""
    path = tmp_path / f"{SESSION}.jsonl"
    log, other = new_log(30, "one", CHUNK_BYTES // 8), new_log(40, "two", CHUNK_BYTES // 8)
    path.write_bytes(as_bytes(log))
    found: list[HashedEntry] = []
    async with FileStore(tmp_path, "os") as store:
        with pytest.raises(EntryNotFound):
            await read_while(store.read(SESSION), found, lambda: replace(path, as_bytes(other), how))
    assert 0 < len(found) < len(log)
    assert found == log[: len(found)]


@pytest.fixture(params=["inotify", "polling"])
def waking(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wake by the kernel, and without it."""
    if request.param == "polling":
        monkeypatch.setattr(follow_module, "_watch", lambda _path: None)
    else:
        pytest.importorskip("inotify_simple", reason="the extra 'follow' is not installed")


@pytest.mark.usefixtures("waking")
@pytest.mark.parametrize("from_position", [False, True])
@pytest.mark.parametrize("how", ["copied over", "renamed over", "made anew"])
@pytest.mark.parametrize("count", [3, 5, 9])
async def test_a_follower_is_told_of_another_log(tmp_path: Path, how: str, count: int, from_position: bool) -> None:
    """A follower that waits when its log is made anew, also of the same size and inode, ends in EntryNotFound."""
    path = tmp_path / f"{SESSION}.jsonl"
    log = new_log(5, "one")
    path.write_bytes(as_bytes(log))
    async with FileStore(tmp_path, "os") as store:
        after = position_in(log, 2) if from_position else None
        async with contextlib.aclosing(store.follow(SESSION, after=after)) as records:
            with anyio.fail_after(60):
                for _ in range(2 if from_position else 5):
                    await anext(records)
                replace(path, as_bytes(new_log(count, "two")), how)
                with pytest.raises(EntryNotFound):
                    await anext(records)


@pytest.mark.usefixtures("waking")
async def test_a_follower_looks_twice_at_what_is_unsettled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where two files have the same times, made within one tick, a follower notices all the same."""
    path = tmp_path / f"{SESSION}.jsonl"
    path.write_bytes(as_bytes(new_log(5, "one")))
    monkeypatch.setattr(follow_module, "stamp", lambda status: str(status.st_size))
    monkeypatch.setattr(stamps_module, "SETTLING_S", float("inf"))
    async with FileStore(tmp_path, "os") as store, contextlib.aclosing(store.follow(SESSION)) as records:
        with anyio.fail_after(60):
            for _ in range(5):
                await anext(records)
            replace(path, as_bytes(new_log(5, "two")), "copied over")
            with pytest.raises(EntryNotFound):
                await anext(records)


async def test_raw_bytes_are_of_one_log(tmp_path: Path) -> None:
    """``read_raw`` splices no two logs, which would look like damage."""
    path = tmp_path / f"{SESSION}.jsonl"
    log, other = new_log(30, "one", CHUNK_BYTES // 8), new_log(40, "two", CHUNK_BYTES // 8)
    for how, error in (("made anew", EntryNotFound), ("copied over", EntryNotFound), ("removed", SessionNotFound)):
        path.write_bytes(as_bytes(log))
        parts: list[bytes] = []
        async with FileStore(tmp_path, "os") as store:
            with pytest.raises(error):
                await read_while(store.read_raw(SESSION), parts, partial(replace, path, as_bytes(other), how))
        data = b"".join(parts)
        assert 0 < len(data) < len(as_bytes(log))
        assert as_bytes(log).startswith(data)


def new_log_behind(record: HashedEntry, count: int) -> list[HashedEntry]:
    """Return ``count`` records that chain onto ``record``."""
    records: list[HashedEntry] = []
    for number in range(count):
        last = records[-1] if records else record
        records.append(link(last.head, Extension(ts=number, domain="test", payload="another branch" + "x" * 86)))
    return records


def foreign_log() -> list[HashedEntry]:
    start = SessionStart(
        ts=0, format="sessionlog/1", session_id=SessionId("another"), config=RequestConfig(), history=[]
    )
    return build_chain([start, *(Extension(ts=n, domain="test", payload="x" * 100) for n in range(9))])


def size_of(path: Path) -> int:
    return path.stat().st_size


def replace(path: Path, data: bytes, how: str) -> None:
    """Put ``data`` in the place of the file: in the same file, in another one, or in one of the same inode."""
    inode = path.stat().st_ino
    if how == "copied over":
        path.write_bytes(data)
    elif how == "renamed over":
        path.with_name("new").write_bytes(data)
        path.with_name("new").rename(path)
    elif how == "removed":
        path.unlink()
    else:
        kept: list[Path] = []
        path.unlink()
        path.write_bytes(data)
        while path.stat().st_ino != inode and len(kept) < 20:  # most file systems give it to the next file
            kept.append(path.with_name(f"other-{len(kept)}"))
            path.rename(kept[-1])
            path.write_bytes(data)
        for other in kept:
            os.unlink(other)


async def test_a_token_holds_once_the_file_is_settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that was changed a moment ago has another token at each look; later, the same until it changes."""
    path = tmp_path / f"{SESSION}.jsonl"
    path.write_bytes(as_bytes(new_log(5, "one")))
    async with FileStore(tmp_path, "os") as store:
        monkeypatch.setattr(stamps_module, "SETTLING_S", float("inf"))
        unsettled = [await store.stamps() for _ in range(2)]
        monkeypatch.setattr(stamps_module, "SETTLING_S", float("-inf"))
        settled = [await store.stamps() for _ in range(2)]
        assert settled[0] == settled[1]
        assert len({tokens[SESSION] for tokens in (*unsettled, settled[0])}) == 3
        replace(path, as_bytes(new_log(5, "two")), "renamed over")
        assert await store.stamps() != settled[0]
