"""Deletion with receipts under power loss: whole or gone, and if it is gone a receipt tells."""

import shutil
from pathlib import Path

import anyio
import pytest
from deleting import ID, OTHER, expect_whole_or_gone, new_log, prepare
from power_loss import CrashState, Recorder

from sessionlog import Deletions, FileStore, delete


@pytest.mark.parametrize("states_max", [24, pytest.param(2000, marks=pytest.mark.long)], ids=["short", "long"])
def test_a_deletion_survives_power_loss(tmp_path: Path, states_max: int) -> None:
    """In every state that a crash may leave: no gone session without a receipt, and no acknowledged one comes back."""
    root = tmp_path / "store"
    log = anyio.run(prepare, root)
    recorder = Recorder(root)

    async def run() -> None:
        async with FileStore(root, "disk", system=recorder) as store:
            await delete(store, ID, reason="a test")
            recorder.acknowledge()

    anyio.run(run)
    outcomes = set()
    for number, state in enumerate(recorder.crash_states(seed=1, states_max=states_max)):
        after = tmp_path / f"after-{number}"
        after.mkdir()
        for name, content in state.files.items():
            (after / name).write_bytes(content)
        outcomes.add(anyio.run(_check, after, state))
        shutil.rmtree(after)
    assert outcomes == {(False, 0), (True, 0), (True, 1)}
    assert log


async def _check(root: Path, state: CrashState) -> tuple[bool, int]:
    gone = await expect_whole_or_gone(root, new_log())
    async with FileStore(root) as store:
        found = await Deletions(store).receipts()
        if gone:
            assert (set(found.done) | {one.session_id for one in found.open.values()}) == {ID}
        assert state.acknowledged <= gone  # what was acknowledged does not come back
        if state.acknowledged:
            assert list(found.done) == [ID]
            assert not list(root.glob(f"{ID}.*"))
        await Deletions(store).settle()
        if await store.exists(ID):
            await delete(store, ID)
        receipts = await Deletions(store).receipts()
        assert (receipts.open, receipts.done[ID].head) == ({}, new_log()[-1].head)
        assert OTHER in await store.list_sessions()
    return gone, state.acknowledged
