"""``SessionlogSessionStore``: what it promises beyond the SDK's conformance suite."""

import asyncio
import contextlib
import json
import math
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("claude_agent_sdk", reason="needs the Claude Agent SDK: pip install 'sessionlog[claude-agent-sdk]'")

from claude_agent_sdk import (
    ClaudeAgentOptions,
    InMemorySessionStore,
    ResultMessage,
    get_session_messages_from_store,
    list_sessions_from_store,
    project_key_for_directory,
    query,
)

from sessionlog import FileStore, MemoryStore
from sessionlog.adapters.claude_agent_sdk import SessionlogSessionStore

TIMEOUT_S = 300  # a busy machine takes a minute to import a framework
SESSION = "11111111-2222-4333-8444-555555555555"
KEY: Any = {"project_key": "-home-me-app", "session_id": SESSION}
AGENT: Any = {**KEY, "subpath": "subagents/agent-1"}

KILLED_IN_A_TURN = """
import asyncio, os, signal, sys
from claude_agent_sdk import AssistantMessage, ClaudeAgentOptions, project_key_for_directory, query
from sessionlog.adapters.claude_agent_sdk import SessionlogSessionStore

cwd, session_id = sys.argv[1:]
store = SessionlogSessionStore(f"{cwd}/logs")
options = ClaudeAgentOptions(
    cli_path=f"{cwd}/claude", cwd=cwd, env={"CLAUDE_CONFIG_DIR": f"{cwd}/config"}, session_id=session_id,
    session_store=store, session_store_flush="eager",
)

async def prompts():
    for prompt in ("Hello!", "Launch!"):
        yield {"type": "user", "message": {"role": "user", "content": prompt}}

async def main():
    key = {"project_key": project_key_for_directory(cwd), "session_id": session_id}
    async for message in query(prompt=prompts(), options=options):
        if isinstance(message, AssistantMessage) and hasattr(message.content[0], "name"):
            while len(await store.load(key)) < 4:  # told of already, and on its way into the log
                await asyncio.sleep(0)
            os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""

APPENDS = """
import asyncio, sys
from sessionlog.adapters.claude_agent_sdk import SessionlogSessionStore

async def main():
    root, name = sys.argv[1:]
    store = SessionlogSessionStore(root)
    for number in range(20):
        own = {"type": "x", "uuid": f"{name} {number}"}
        await store.append({"project_key": "p", "session_id": "s"}, [own, {"type": "x", "uuid": f"all {number}"}])

asyncio.run(main())
"""


def start(program: str, *arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)], text=True)


def said(text: str, **members: Any) -> Any:
    return {"type": "user", "message": {"role": "user", "content": text}, **members}


def words_on_disk(root: Path, words: bytes) -> bool:
    return any(words in path.read_bytes() for path in root.rglob("*") if path.is_file())


def scripted_program(folder: Path) -> Path:
    program = folder / "claude"
    program.write_text(f"#!{sys.executable}\n{Path(__file__).with_name('scripted_claude.py').read_text()}")
    program.chmod(0o755)
    return program


def test_a_turn_that_was_killed_is_resumed_by_a_new_process(tmp_path: Path) -> None:
    """What the SDK had told the store before the kill is there; another process resumes from it and goes on."""
    program = scripted_program(tmp_path)
    assert start(KILLED_IN_A_TURN, tmp_path, SESSION).wait(TIMEOUT_S) == -signal.SIGKILL
    store = SessionlogSessionStore(tmp_path / "logs")
    key: Any = {"project_key": project_key_for_directory(tmp_path), "session_id": SESSION}

    async def resume(**how: Any) -> str | None:
        config = {"CLAUDE_CONFIG_DIR": str(tmp_path / "another machine's")}
        options = ClaudeAgentOptions(cli_path=program, cwd=tmp_path, env=config, session_store=store, **how)
        results = [one async for one in query(prompt="What now?", options=options) if isinstance(one, ResultMessage)]
        return results[0].result

    before = asyncio.run(store.load(key))
    assert before is not None
    assert [entry["message"]["content"] for entry in before if entry["type"] == "user"] == ["Hello!", "Launch!"]  # type: ignore[typeddict-item]
    assert asyncio.run(resume(resume=SESSION)) == "After 4 entries; you began with 'Hello!'."
    assert asyncio.run(resume(continue_conversation=True)) == "After 6 entries; you began with 'Hello!'."
    after = asyncio.run(store.load(key))
    assert after is not None
    assert after[:4] == before
    messages = asyncio.run(get_session_messages_from_store(store, SESSION, str(tmp_path)))
    assert len(messages) <= len(after) == 8
    (listed,) = asyncio.run(list_sessions_from_store(store, str(tmp_path)))
    assert (listed.session_id, listed.summary, listed.cwd) == (SESSION, "Hello!", str(tmp_path))


def test_processes_append_to_one_transcript(tmp_path: Path) -> None:
    """Three processes append: each one's entries are in, in its order; an entry that all of them bring is in once."""
    for process in [start(APPENDS, tmp_path, name) for name in "abc"]:
        assert process.wait(TIMEOUT_S) == 0
    entries = asyncio.run(SessionlogSessionStore(tmp_path).load({"project_key": "p", "session_id": "s"})) or []
    uuids = [entry["uuid"] for entry in entries]
    for name in ("a", "b", "c", "all"):
        assert [uuid for uuid in uuids if uuid.startswith(f"{name} ")] == [f"{name} {number}" for number in range(20)]


def test_threads_with_event_loops_of_their_own_append_to_one_transcript(tmp_path: Path) -> None:
    """One store answers on the event loops of asyncio and trio, in any thread."""
    store = SessionlogSessionStore(tmp_path)

    async def add(name: str) -> None:
        for number in range(10):
            await store.append(KEY, [{"type": "x", "uuid": f"{name} {number}"}])

    loops = {"a": "asyncio", "b": "asyncio", "c": "trio"}
    threads = [threading.Thread(target=anyio.run, args=(add, name), kwargs={"backend": loops[name]}) for name in loops]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    uuids = [entry["uuid"] for entry in asyncio.run(store.load(KEY)) or []]
    for name in loops:
        assert [uuid for uuid in uuids if uuid.startswith(name)] == [f"{name} {number}" for number in range(10)]


@pytest.mark.anyio
async def test_an_entry_with_a_uuid_is_taken_once(tmp_path: Path) -> None:
    """A batch that is sent again adds what is new in it; entries without a uuid are taken each time."""
    store = SessionlogSessionStore(tmp_path)
    await store.append(KEY, [said("a", uuid="1"), said("a", uuid="1"), said("title")])
    await store.append(KEY, [said("a", uuid="1"), said("b", uuid="2"), said("title")])
    await SessionlogSessionStore(store=FileStore(tmp_path)).append(KEY, [said("a", uuid="1")])
    await store.append(AGENT, [said("of the agent", uuid="1")])
    assert await store.load(KEY) == [said("a", uuid="1"), said("title"), said("b", uuid="2"), said("title")]
    assert await store.load(AGENT) == [said("of the agent", uuid="1")]


def deep(levels: int) -> Any:
    value: Any = "the bottom"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "content",
    ["half \ud800 a pair", deep(100), 2**70, {"json": "x"}, -math.inf, "\u0000", "é\u2028😀", 1.0, True, None],
)
def test_json_that_a_log_refuses_comes_back_equal(tmp_path: Path, content: Any) -> None:
    """An entry is given back as it was, also where the summary takes it over; and its uuid is known."""
    entry: Any = {"type": "user", "uuid": "1", "lastPrompt": content, "message": {"content": content}}
    hard: list[Any] = [entry, {"json": content}]

    async def keep() -> Any:
        store = SessionlogSessionStore(tmp_path)
        await store.append(KEY, hard)
        await store.append(KEY, [entry])
        return await store.load(KEY), await store.list_session_summaries(KEY["project_key"])

    entries, (summary,) = asyncio.run(keep())
    assert repr(entries) == repr(hard)
    expected = content if isinstance(content, str) else None
    assert summary["data"].get("last_prompt") == expected


@pytest.mark.anyio
async def test_what_is_deleted_is_off_the_disk(tmp_path: Path) -> None:
    """Deleting a session takes its sub-agents along; deleting a subpath leaves the rest. Open handles go on."""
    store, other = SessionlogSessionStore(tmp_path), SessionlogSessionStore(store=FileStore(tmp_path))
    await store.append(KEY, [said("the code is swordfish")])
    await store.append(AGENT, [said("the agent's code is tuna")])
    await store.append({**AGENT, "subpath": "subagents/agent-2"}, [said("the second's is herring")])
    assert await other.load(AGENT) == [said("the agent's code is tuna")]

    await other.delete(AGENT)
    assert not words_on_disk(tmp_path, b"tuna")
    assert words_on_disk(tmp_path, b"swordfish")
    assert words_on_disk(tmp_path, b"herring")
    assert await store.load(AGENT) is None
    assert await store.list_subkeys({"project_key": KEY["project_key"], "session_id": SESSION}) == ["subagents/agent-2"]

    await store.delete(KEY)
    await store.delete(KEY)
    assert not words_on_disk(tmp_path, b"swordfish")
    assert not words_on_disk(tmp_path, b"herring")
    assert await other.load(KEY) is None
    assert await other.list_sessions(KEY["project_key"]) == []
    await other.append(KEY, [said("anew", uuid="1")])
    assert await store.load(KEY) == [said("anew", uuid="1")]


def test_a_deletion_against_appends(tmp_path: Path) -> None:
    """What is appended meanwhile is deleted too, or all that is there: whole batches, and nothing from before."""
    store = SessionlogSessionStore(tmp_path)
    asyncio.run(store.append(KEY, [said("before")]))

    async def add() -> None:
        other = SessionlogSessionStore(store=FileStore(tmp_path))
        for number in range(30):
            await other.append(KEY, [said(f"{number} a"), said(f"{number} b")])

    thread = threading.Thread(target=asyncio.run, args=(add(),))
    thread.start()
    for _ in range(5):
        asyncio.run(store.delete(KEY))
    thread.join(TIMEOUT_S)
    texts = [entry["message"]["content"] for entry in asyncio.run(store.load(KEY)) or []]  # type: ignore[typeddict-item]
    assert "before" not in texts
    first = 30 - len(texts) // 2
    assert texts == [f"{number} {half}" for number in range(first, 30) for half in "ab"]
    assert not words_on_disk(tmp_path, b"before")


names = st.sampled_from(["a", "b", "a_b", "a_", "_", "a/b", "../a", "é", "A", "", "x" * 64, "x" * 65, '"', "\ud800"])
keys = st.fixed_dictionaries(
    {"project_key": names, "session_id": names}, optional={"subpath": st.sampled_from(["a", "a/b", "é", "_"])}
)
steps = st.one_of(
    st.tuples(st.just("append"), keys, st.lists(st.fixed_dictionaries({"type": st.just("user"), "n": st.integers()}))),
    st.tuples(st.just("delete"), keys),
)


@settings(max_examples=40)
@given(st.lists(steps, max_size=12))
def test_it_does_what_the_sdk_s_own_store_does(history: list[Any]) -> None:
    """Any history of appends and deletions gives what the in-memory store gives, whatever the keys are named."""

    async def check() -> None:
        ours, theirs = SessionlogSessionStore(store=MemoryStore()), InMemorySessionStore()
        for name, *arguments in history:
            plain = [one for one in arguments if not isinstance(one, dict) or _is_told_apart(one)]
            if len(plain) == len(arguments) and arguments[-1] != []:
                await getattr(ours, name)(*arguments)
                await getattr(theirs, name)(*arguments)
        for _, key, *_ in history:
            if not _is_told_apart(key):
                continue
            place: Any = {"project_key": key["project_key"], "session_id": key["session_id"]}
            assert await ours.load(key) == await theirs.load(key)
            assert await ours.list_subkeys(place) == sorted(await theirs.list_subkeys(place))
            sessions = await ours.list_sessions(key["project_key"])
            expected = await theirs.list_sessions(key["project_key"])
            assert {one["session_id"] for one in sessions} == {one["session_id"] for one in expected}
            summaries = await ours.list_session_summaries(key["project_key"])
            assert {one["session_id"]: one["mtime"] for one in sessions} == {
                one["session_id"]: one["mtime"] for one in summaries
            }
            known = {one["session_id"]: one["data"] for one in await theirs.list_session_summaries(key["project_key"])}
            assert {one["session_id"]: one["data"] for one in summaries} == known

    asyncio.run(check())


def _is_told_apart(key: dict[str, Any]) -> bool:
    """Tell whether the in-memory store, which joins the parts by slashes, can tell the key from others."""
    return "/" not in key["project_key"] + key["session_id"]


class CountingStore(MemoryStore):
    """Notes which logs are read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []

    def read(self, session_id: str, **how: Any) -> Any:
        self.reads.append(session_id)
        return super().read(session_id, **how)

    async def read_tail(self, session_id: str, count: int) -> Any:
        self.reads.append(f"last {count} of {session_id}")
        return await super().read_tail(session_id, count)


@pytest.mark.anyio
async def test_listing_a_project_costs_what_is_there() -> None:
    """Of each session of the project, the first record is read once and the last one each time; of others nothing."""
    kept = CountingStore()
    store = SessionlogSessionStore(store=kept)
    for project, session in (("one", "a"), ("one", "b"), ("other", "c")):
        for number in range(3):
            await store.append({"project_key": project, "session_id": session}, [said(f"{number}")])
    kept.reads.clear()
    assert {one["session_id"] for one in await store.list_sessions("one")} == {"a", "b"}
    assert len(kept.reads) == 4
    assert not any(read.endswith("-c") for read in kept.reads)
    kept.reads.clear()
    summaries = await store.list_session_summaries("one")
    assert sorted(read[:9] for read in kept.reads) == ["last 1 of"] * 2
    assert {one["data"]["first_prompt"] for one in summaries} == {"0"}


def whole_lines(path: Path) -> Iterator[Any]:
    """Yield the lines of a transcript, but for those that a kill has torn."""
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        with contextlib.suppress(ValueError):
            yield json.loads(line)


def test_real_transcripts_come_back_equal(shared: Path, tmp_path: Path) -> None:
    """Transcripts of Claude Code, appended in batches, are given back line by line."""
    store = SessionlogSessionStore(tmp_path)

    async def check(path: Path) -> None:
        entries = list(whole_lines(path))
        key: Any = {"project_key": "p", "session_id": path.stem}
        for at in range(0, len(entries), 50):
            await store.append(key, entries[at : at + 50])
        once = {entry.get("uuid", id(entry)): entry for entry in reversed(entries)}
        expected = [entry for entry in entries if once[entry.get("uuid", id(entry))] is entry]
        assert await store.load(key) == expected

    for path in sorted((shared / "data" / "claude-code").rglob("*.jsonl")):
        asyncio.run(check(path))


@pytest.mark.anyio
async def test_a_caller_s_changes_stay_its_own() -> None:
    """What a caller does to an entry, before or after, changes nothing in the transcript."""
    store = SessionlogSessionStore(store=MemoryStore())
    entry = said("as it was")
    await store.append(KEY, [entry])
    entry["message"]["content"] = "changed"
    (await store.load(KEY) or [])[0]["message"]["content"] = "changed"  # type: ignore[typeddict-item]
    assert await store.load(KEY) == [said("as it was")]


def test_either_a_directory_or_a_store() -> None:
    """Without a place to keep it, or with two, there is no store."""
    with pytest.raises(TypeError):
        SessionlogSessionStore()
    with pytest.raises(TypeError):
        SessionlogSessionStore("logs", store=MemoryStore())
