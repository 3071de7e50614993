"""Repair of a damaged log: what is cut is kept, the log says so, and a crash leaves it as it was or repaired."""

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
import repair_scenarios
from blake3 import blake3
from repair_scenarios import ID, KEPT, bad_bytes, damage, good_bytes, records, repair

from sessionlog import (
    REPAIR_DOMAIN,
    CorruptLog,
    Damage,
    Extension,
    FileStore,
    LogState,
    SessionId,
    SessionLocked,
    SessionLogError,
    SessionNotFound,
    SessionStartState,
    StoreFailed,
    create_session_with_id,
    open_session,
    verify_chain,
)
from sessionlog.testing.faults import Cut, Fail, Fault

pytestmark = pytest.mark.anyio
ASIDE = f"{ID}.torn-{len(good_bytes())}"


async def check_repaired(root: Path) -> None:
    """The good records are there, one behind them says what was cut, that is kept, and appends go on."""
    assert {path.name for path in root.iterdir()} == {f"{ID}.jsonl", ASIDE}
    assert (root / ASIDE).read_bytes() == bad_bytes()
    assert {path.stat().st_mode & 0o777 for path in root.iterdir()} == {0o600}
    async with FileStore(root, "os") as store:
        log = await store.read_all(ID)
        assert log[:KEPT] == records()[:KEPT]
        assert len(log) == KEPT + 1
        entry = log[-1].entry
        assert isinstance(entry, Extension)
        assert (entry.ts, entry.domain) == (7, REPAIR_DOMAIN)
        assert entry.payload == {
            "offset": len(good_bytes()),
            "bytes": len(bad_bytes()),
            "file": ASIDE,
            "blake3": blake3(bad_bytes()).hexdigest(),
            "damage": "hash",
            "reason": entry.payload["reason"],
            "whole_records": 2,
            "nul_pages": 2,
        }
        assert await store.repair(ID) is None
        await (await open_session(store, ID)).save_turn_end(1)
        assert verify_chain(await store.read_all(ID)).state is LogState.VALID


async def test_the_damaged_part_is_told(tmp_path: Path) -> None:
    """The first bad record, how much stands from there on, the whole records and the pages of zeros in it."""
    path = damage(tmp_path)
    before = path.read_bytes()
    async with FileStore(tmp_path) as store:
        part = await store.find_damage(ID)
    assert part is not None
    assert (part.seq, part.offset, part.size) == (KEPT, len(good_bytes()), len(bad_bytes()))
    assert (part.damage, part.head) == (Damage.HASH, records()[KEPT - 1].head)
    assert (part.record_count, part.nul_page_count) == (2, 2)
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == before


async def test_a_damaged_log_is_repaired(tmp_path: Path) -> None:
    """Everything from the first bad record on goes into a file, and the log tells of it."""
    damage(tmp_path)
    await repair(tmp_path)
    await check_repaired(tmp_path)


async def test_the_store_that_repaired_goes_on(tmp_path: Path) -> None:
    """Also a store that had the log open before the damage came appends behind the repair."""
    async with FileStore(tmp_path) as store:
        log = await create_session_with_id(store, SessionId("live"), SessionStartState("be brief"))
        for turn in range(3):
            await log.save_turn_end(turn)
        path = tmp_path / "live.jsonl"
        path.write_bytes(path.read_bytes().replace(b'"turn_count":1', b'"turn_count":7'))
        await log.save_turn_end(3)
        done = await store.repair("live")
        assert done is not None
        assert (done.part.seq, done.part.record_count) == (2, 2)
        log = await open_session(store, "live")
        assert log.head == done.head
        await log.save_turn_end(4)
        assert verify_chain(await store.read_all("live")).record_count == 4


async def test_what_is_whole_is_left_alone(tmp_path: Path) -> None:
    """A valid log, an empty one and one with a torn tail are nothing to repair; a missing one is told."""
    path = tmp_path / f"{ID}.jsonl"
    for content in (good_bytes(), b"", good_bytes() + records()[KEPT].line[:40], bytes(5000)):
        path.write_bytes(content)
        async with FileStore(tmp_path) as store:
            assert await store.find_damage(ID) is None
            assert await store.repair(ID) is None
            with pytest.raises(SessionNotFound):
                await store.repair("nothing")
        assert path.read_bytes() == content
    assert len(list(tmp_path.iterdir())) == 1


async def test_a_log_whose_first_record_is_bad_is_refused(tmp_path: Path) -> None:
    """Nothing could be kept of it, so nothing is done, and the error says what to do instead."""
    path = tmp_path / f"{ID}.jsonl"
    content = b"no record\n" + good_bytes()
    path.write_bytes(content)
    async with FileStore(tmp_path) as store:
        part = await store.find_damage(ID)
        assert part is not None
        assert (part.head, part.offset, part.record_count) == (None, 0, KEPT)
        with pytest.raises(CorruptLog, match="begin a new session"):
            await store.repair(ID)
    assert path.read_bytes() == content
    assert len(list(tmp_path.iterdir())) == 1


async def test_a_repair_waits_for_the_lock(tmp_path: Path) -> None:
    """While a writer holds the log's lock nothing is done; what stays locked is told."""
    path = damage(tmp_path)
    before = path.read_bytes()
    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        async with FileStore(tmp_path, lock_wait_s=0.0) as store:
            with pytest.raises(SessionLocked):
                await store.repair(ID)
    assert path.read_bytes() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_the_log_of_another_user_is_repaired_by_that_user(tmp_path: Path) -> None:
    """A repaired log is a new file: made by root, it would shut its owner out."""
    path = damage(tmp_path)
    os.chown(path, 12345, 12345)
    with pytest.raises(StoreFailed, match="another user"):
        await repair(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


async def test_a_long_damaged_part_takes_no_memory(tmp_path: Path) -> None:
    """Zeros between two records, and a line that is longer than any may be, are counted as they pass by."""
    path = tmp_path / f"{ID}.jsonl"
    zeros, long = 300 * 4096, b"{" * 200_000
    path.write_bytes(good_bytes() + b"{}\n" + bytes(zeros) + records()[4].line + b"\n" + long + b"\n" + good_bytes())
    async with FileStore(tmp_path, line_bytes_max=100_000) as store:
        part = await store.find_damage(ID)
        assert part is not None
        assert (part.record_count, part.nul_page_count) == (1 + KEPT, 299)
        assert await store.repair(ID) is not None


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
async def test_a_repair_that_fails_leaves_the_log_as_it_was_or_repaired(
    number: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Whichever call fails: a typed error or success, nothing is lost, and repairing again does it."""
    points = 0
    faults: list[Callable[[int], Fault]] = [
        lambda at: Fault(at=at, action=Fail(number)),
        lambda at: Fault(at=at, kind="write", action=Cut(100, then=Fail(number))),
    ]
    for kind, make_fault in enumerate(faults):
        for at in range(1, 1000):
            root = tmp_path / f"{kind}-{at}"
            path = damage(root)
            before = path.read_bytes()
            system = None
            try:
                system = await repair(root, make_fault(at))
            except SessionLogError as error:
                assert isinstance(error, StoreFailed)  # noqa: PT017 - success is right, too
                if "the log is repaired" not in str(error):
                    assert path.read_bytes() == before
            if system is not None and not system.fired:
                break
            points += 1
            await repair(root)
            await check_repaired(root)
    record_property("failing calls", points)
    assert points > 20


def test_a_repair_that_is_killed_leaves_the_log_as_it_was_or_repaired(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Killed before or after any call, or in the middle of a write: repairing again does it, and nothing is lost."""
    script = repair_scenarios.__file__
    subprocess.run([sys.executable, script, str(tmp_path)], check=True, stdin=subprocess.DEVNULL)
    points = sorted(tmp_path.iterdir())
    record_property("kills", len(points))
    assert len(points) > 40
    whole = good_bytes() + bad_bytes()
    for root in points:
        found = (root / f"{ID}.jsonl").read_bytes()
        if found != whole:
            assert found.startswith(good_bytes())
            assert found.count(b"\n") == KEPT + 1
            assert (root / ASIDE).read_bytes() == bad_bytes()
        anyio.run(repair, root)
        anyio.run(check_repaired, root)
