"""An import that is killed in the middle of a commit: the next one completes it, and writes nothing twice."""

from pathlib import Path

import pytest
from foreign import SID, Transcript, check_store, contents

from sessionlog import MemoryStore
from sessionlog.importers.claude_code import import_file

pytestmark = pytest.mark.anyio


def transcript() -> Transcript:
    """Return one session with usage, parallel calls, results and two prompts."""
    made = Transcript()
    made.user("first")
    made.says("I look", "m1")
    made.calls("c1", "m1", out=9)
    made.calls("c2", "m1", out=12)
    made.result("c1")
    made.progress()
    made.result("c2", "more", structured={"stdout": "much more of it"})
    made.says("done", "m2", out=7)
    made.user("second")
    made.calls("c3", "m3")
    made.result("c3")
    made.says("done again", "m4", out=3)
    made.user("third")
    return made


async def test_a_commit_cut_at_every_record_is_completed(tmp_path: Path) -> None:
    """Whatever first records a killed import has left, importing again gives what one import gives."""
    path = transcript().write(tmp_path)
    whole = MemoryStore()
    await import_file(whole, path)
    wanted = await contents(whole)
    (session_id,) = wanted
    assert session_id == SID
    records = await whole.read_all(session_id)
    for kept in range(1, len(records)):
        torn = MemoryStore()
        await torn.create_session(session_id, records[:kept])
        await import_file(torn, path)
        assert await contents(torn) == wanted, f"cut behind record {kept - 1}"
        await check_store(torn)
        assert (await import_file(torn, path)).unchanged
