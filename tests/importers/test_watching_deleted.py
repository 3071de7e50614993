"""A watch that runs does not bring back what was deleted beside it."""

from pathlib import Path

import pytest
from foreign import SID, Transcript

from sessionlog import Deletions, MemoryStore, delete
from sessionlog.receipts import RECEIPTS_SESSION

pytest.importorskip("watchfiles")
from test_watching import folder, two_turns, watching

pytestmark = pytest.mark.anyio
__all__ = ["folder"]


def write_another(folder: Path) -> Path:
    """Write a transcript of another session, by whose import the watch shows that it has been round."""
    made = Transcript()
    made.user("another")
    path = folder / "another.jsonl"
    path.write_bytes(made.bytes().replace(SID.encode(), SID[:-1].encode() + b"e"))
    return path


@pytest.mark.parametrize("again", [False, True])
async def test_a_session_that_is_deleted_under_a_watch_stays_deleted_when_its_file_grows(
    folder: Path, again: bool
) -> None:
    store = MemoryStore()
    made = two_turns()
    path = made.write(folder)
    async with watching(store, folder, again=again) as watched:
        assert await watched.caught_up() == 1
        [session_id] = await store.list_sessions()
        receipt = await delete(store, session_id)
        made.user("three")
        path.write_bytes(made.bytes())
        if not again:
            told = await watched.imported()
            assert (told.report.path, told.report.deleted) == (path, [session_id])
            made.user("four")
            path.write_bytes(made.bytes())  # told once: what comes next is the other file
            other = write_another(folder)
            assert (await watched.imported()).report.path == other
            assert not await store.exists(session_id)
        else:
            assert (await watched.imported()).report.session_id == session_id
            assert await store.exists(session_id)
    assert (await Deletions(store).receipts()).done == {session_id: receipt}
    assert await store.exists(RECEIPTS_SESSION)
