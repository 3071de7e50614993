"""Deletion with receipts under faults: killed or failing at any system call, the receipts tell what became of it."""

import contextlib
import errno
import subprocess
import sys
from pathlib import Path

import anyio
import deleting
import pytest
from deleting import ID, expect_whole_or_gone, new_log, prepare

from sessionlog import (
    RECEIPTS_SESSION,
    Deletions,
    FileStore,
    SessionLogError,
    SessionNotFound,
    delete,
    settle_deletion,
    verify_session,
)
from sessionlog.testing.faults import Fail, Fault, FaultySystem

SCRIPT = Path(deleting.__file__)


async def expect_one_receipt(root: Path, *, by: str) -> None:
    """Whoever comes next finishes it: the session is gone, and one receipt says so."""
    async with FileStore(root, "os") as store:
        if by == "settle":
            await settle_deletion(store, ID)
        with contextlib.suppress(SessionNotFound):
            await delete(store, ID)
        receipts = await Deletions(store).receipts()
        assert receipts.open == {}
        assert not await store.exists(ID)
        if receipts.done or by == "delete":
            done = receipts.done[ID]
            assert done.head == new_log()[-1].head
            assert done.first_hash == new_log()[0].hash
        assert len(receipts.ended) == 1
        assert (await verify_session(store, RECEIPTS_SESSION)).ok


def test_killed_at_each_call_of_a_deletion_with_a_receipt(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(SCRIPT), "receipt", str(tmp_path)], check=True, stdin=subprocess.DEVNULL)
    points = sorted(tmp_path.iterdir())
    assert len(points) > 40
    outcomes = set()
    for number, point in enumerate(points):
        outcomes.add(anyio.run(expect_whole_or_gone, point, new_log()))
        anyio.run(_expect, point, "settle" if number % 2 else "delete")
    assert outcomes == {True, False}


async def _expect(root: Path, by: str) -> None:
    await expect_one_receipt(root, by=by)


@pytest.mark.anyio
async def test_each_call_of_a_deletion_with_a_receipt_fails(tmp_path: Path) -> None:
    """Nothing is half: the session is there, or it is gone; deleting again ends it with one receipt."""
    failures = 0
    for at in range(1, 1000):
        root = tmp_path / str(at)
        log = await prepare(root)
        system = FaultySystem(Fault(at=at, action=Fail(errno.EIO)))
        async with FileStore(root, system=system) as store:
            try:
                await delete(store, ID)
            except SessionLogError:
                failures += 1
            system.heal()
        gone = await expect_whole_or_gone(root, log)
        assert gone or failures
        await expect_one_receipt(root, by="delete")
        if not system.fired:
            break
    assert failures > 20
