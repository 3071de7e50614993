"""What a type checker says about programs that use the public API: `mypy --strict` accepts them."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

PLAIN_STRINGS = """
from collections.abc import Sequence

import sessionlog as sl


async def use(store: sl.Store, session_id: str, at_hash: str) -> None:
    state = sl.SessionStartState()
    origin = sl.SessionOrigin(session_id, at_hash)
    start = sl.SessionStart(ts=0, format="sessionlog/1", session_id=session_id, config=sl.RequestConfig(), history=[])
    record = sl.link(sl.Head(0, at_hash), start)
    sl.compute_hash(at_hash, 1, start)

    log: sl.SessionLog = await sl.create_session_with_id(store, session_id, state)
    await sl.create_compacted_session(store, state, origin)
    await sl.compact(store, session_id, summarize)
    await sl.open_session(store, session_id)
    await sl.fork(store, state, origin)
    await sl.fork_at(store, session_id, at_hash)
    await sl.restore(store, session_id)
    await sl.verify_session(store, session_id)
    await sl.audit_session(store, session_id)
    sl.SessionLog(store, session_id, sl.Head(0, at_hash))

    await store.create_session(session_id, [record])
    await store.append(session_id, record)
    await store.read_all(session_id)
    async for _ in store.read(session_id):
        pass
    async for _ in store.follow(session_id):
        pass
    async for _ in store.read_raw(session_id):
        pass
    await store.read_head(session_id)
    await store.read_head_hash(session_id)
    await store.exists(session_id)
    await store.append_trace(session_id, {})

    returned: tuple[sl.SessionId, sl.EntryHash | None] = (log.session_id, log.head_hash)
    listed: list[sl.SessionId] = await store.list_sessions()
    errors = (sl.SessionNotFound(session_id), sl.SessionExists(session_id), sl.EntryNotFound(session_id, at_hash))
    print(returned, listed, errors, sl.new_session_id())


async def summarize(state: sl.RestoredState) -> Sequence[sl.Item]:
    return state.history[-1:]


stores: list[sl.Store] = [sl.MemoryStore(), sl.FileStore("sessions")]
"""


def test_plain_strings_and_the_readme_pass_mypy_strict(tmp_path: Path) -> None:
    """The README's example type-checks, and every public function takes ids and hashes as plain `str`."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert examples
    paths = []
    for name, text in [("strings", PLAIN_STRINGS), *((f"readme_{at}", text) for at, text in enumerate(examples))]:
        paths.append(tmp_path / f"{name}.py")
        paths[-1].write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), *map(str, paths)],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
