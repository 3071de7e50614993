"""Codex CLI rollouts: real ones against an independent count; forks, rollbacks, compactions, repeats on made ones."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from foreign import check_store, contents, objects

from sessionlog import (
    AssistantItems,
    ConfigChanged,
    Extension,
    HookInjectedItems,
    ImagePart,
    LlmUsage,
    MemoryStore,
    Message,
    RunOutcome,
    SessionId,
    SessionStart,
    ToolCall,
    ToolResult,
    ToolResults,
    TurnEnd,
    UserInput,
    restore,
)
from sessionlog.importers import ImportReport, import_file, import_paths
from sessionlog.importers.codex import DOMAIN

pytestmark = pytest.mark.anyio
SID = "019d7d08-46c9-7f73-affe-4e6ca9852d56"
RESULT = "function_call_output"
PARENT = "019d7d08-0000-7f73-affe-000000000000"


class Rollout:
    """Lines of one rollout, a second apart."""

    def __init__(self, **meta: Any) -> None:
        self.lines: list[bytes] = []
        self.total = 0
        instructions = {"text": "Be careful."}
        self.add("session_meta", {"id": SID, "cwd": "/srv/app", "base_instructions": instructions, **meta})

    def add(self, kind: str, payload: dict[str, Any]) -> None:
        stamp = f"2026-01-01T00:{len(self.lines) // 60:02}:{len(self.lines) % 60:02}.000Z"
        self.raw({"timestamp": stamp, "type": kind, "payload": payload})

    def raw(self, value: dict[str, Any] | bytes) -> None:
        self.lines.append(value if isinstance(value, bytes) else json.dumps(value).encode())

    def event(self, kind: str, **members: Any) -> None:
        self.add("event_msg", {"type": kind, **members})

    def item(self, kind: str, **members: Any) -> None:
        self.add("response_item", {"type": kind, **members})

    def says(self, role: str, text: str) -> None:
        part = "output_text" if role == "assistant" else "input_text"
        self.item("message", role=role, content=[{"type": part, "text": text}])

    def turn(self, prompt: str, answer: str, *, aborted: bool = False) -> None:
        self.event("task_started", turn_id=prompt)
        self.add("turn_context", {"model": "model-a", "effort": "high"})
        self.says("user", prompt)
        self.event("user_message", message=prompt, images=[])
        self.item("reasoning", summary=[{"type": "summary_text", "text": "hm"}], encrypted_content="sealed")
        self.item("function_call", name="exec", arguments='{"cmd": "ls"}', call_id=f"call {prompt}")
        if aborted:
            self.event("turn_aborted", reason="interrupted")
            return
        self.usage(100, 40, 7)
        self.item("function_call_output", call_id=f"call {prompt}", output="Process exited with code 2\nOutput:\nno")
        self.event("agent_message", message=answer, phase="final")
        self.says("assistant", answer)
        self.usage(200, 90, 9)
        self.usage(200, 90, 9, again=True)
        self.event("task_complete", last_agent_message=answer)

    def usage(self, prompt: int, cached: int, out: int, *, again: bool = False) -> None:
        self.total += 0 if again else prompt
        last = {"input_tokens": prompt, "cached_input_tokens": cached, "output_tokens": out}
        self.event("token_count", info={"total_token_usage": {"input_tokens": self.total}, "last_token_usage": last})

    def bytes(self) -> bytes:
        return b"".join(line + b"\n" for line in self.lines)

    def write(self, folder: Path, name: str = f"rollout-2026-01-01T00-00-00-{SID}.jsonl") -> Path:
        path = folder / name
        path.write_bytes(self.bytes())
        return path


async def imported(path: Path, store: MemoryStore | None = None) -> tuple[MemoryStore, ImportReport]:
    store = store or MemoryStore()
    report = await import_file(store, path)
    await check_store(store)
    return store, report


async def said(store: MemoryStore, session_id: SessionId | None) -> list[str]:
    assert session_id is not None
    history = (await restore(store, session_id)).history
    return [item.text for item in history if isinstance(item, Message)]


async def entries(store: MemoryStore) -> list[Any]:
    return [record.entry for one in await store.list_sessions() for record in await store.read_all(one)]


def count_file(data: bytes) -> Counter[str]:
    """Count independently: what the items are, and each request once."""
    count: Counter[str] = Counter()
    before = None
    for _, line in objects(data):
        count["objects"] += 1
        payload = line["payload"]
        if line["type"] == "response_item":
            count[payload["type"].removeprefix("custom_tool_").removeprefix("function_")] += 1
        usage = (payload.get("info") or {}) if payload.get("type") == "token_count" else {}
        if usage and usage["total_token_usage"] != before:
            before = usage["total_token_usage"]
            count["requests"] += 1
            for name in ("input_tokens", "cached_input_tokens", "output_tokens"):
                count[name] += usage["last_token_usage"][name]
    return count


def count_log(entries: Sequence[Any]) -> Counter[str]:
    count: Counter[str] = Counter()
    names = {"Message": "message", "ToolCall": "call", "ToolResult": "call_output", "Reasoning": "reasoning"}
    for entry in entries:
        match entry:
            case UserInput():
                count["message"] += 1
            case AssistantItems() | ToolResults() | HookInjectedItems():
                count.update(names[type(item).__name__] for item in entry.items)
            case LlmUsage():
                count["requests"] += 1
                count["input_tokens"] += entry.input_total_tokens
                count["cached_input_tokens"] += entry.cache_read_tokens
                count["output_tokens"] += entry.output_tokens
    return count


async def test_real_rollouts_agree_with_a_plain_count_and_import_once(shared: Path) -> None:
    """Messages, calls, results, reasoning, tokens; every object is imported; a second time adds nothing."""
    folder = shared / "data" / "codex"
    for path in sorted(folder.glob("*.jsonl")):
        store, report = await imported(path)
        assert report.format == "codex"
        assert report.not_understood == report.waiting == []
        have = count_log(await entries(store))
        have["objects"] = report.imported
        assert have == count_file(path.read_bytes()), path
    store = MemoryStore()
    assert (await import_paths(store, [folder])).failures == []
    before = await contents(store)
    assert all(one.unchanged for one in (await import_paths(store, [folder])).reports)
    assert await contents(store) == before


@pytest.mark.parametrize("name", ["git-sync_32_adf4e023ef_1.jsonl", "skills_01_da544acf74_0.jsonl"])
async def test_ten_cuts_of_a_real_rollout_give_the_same_records(shared: Path, tmp_path: Path, name: str) -> None:
    data = (shared / "data" / "codex" / name).read_bytes()
    path = tmp_path / "grows.jsonl"
    path.write_bytes(data)
    at_once, _ = await imported(path)
    grown = MemoryStore()
    for end in [*(len(data) * tenth // 10 + tenth for tenth in range(10)), len(data)]:
        path.write_bytes(data[:end])
        await import_file(grown, path, growing=end < len(data))
    assert await contents(grown) == await contents(at_once)


def script() -> Rollout:
    """A bit of everything."""
    made = Rollout()
    made.says("developer", "<permissions instructions>")
    made.says("user", "<environment_context>here</environment_context>")
    made.turn("one", "1")
    made.turn("two", "2")
    made.raw(b'{"timestamp":"torn')
    made.event("thread_rolled_back", num_turns=1)
    made.turn("three", "3")
    replacement = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "short"}]}]
    made.add("compacted", {"message": "", "replacement_history": replacement})
    made.turn("four", "4")
    made.event("mystery", n=1)
    made.event("agent_message", message="no item says so")
    made.turn("five", "5", aborted=True)
    return made


async def test_every_cut_gives_the_same_records(tmp_path: Path) -> None:
    """Also at line ends, between an event and its item, and through rollbacks and compactions."""
    data = script().bytes()
    path = tmp_path / "r.jsonl"
    path.write_bytes(data)
    whole, _ = await imported(path)
    expected = await contents(whole)
    ends = [index for index, byte in enumerate(data) if byte == 10]
    grown = MemoryStore()
    for end in ends:
        path.write_bytes(data[: end + 1])
        await import_file(grown, path, growing=end + 1 < len(data))
    assert await contents(grown) == expected
    await check_store(grown)
    for cut in [*range(100, len(data), 1201), *ends[::7]]:
        store = MemoryStore()
        for end in (cut, len(data)):
            path.write_bytes(data[:end])
            await import_file(store, path, growing=end < len(data))
        assert await contents(store) == expected, cut


async def test_a_rollback_forks_in_front_of_the_turns_that_it_takes_back(tmp_path: Path) -> None:
    """Both are kept, and the fork is what goes on; a compaction starts with the history that takes the place."""
    made = script()
    store, report = await imported(made.write(tmp_path))
    assert [one.role for one in report.sessions] == ["main", "fork", "compaction"]
    main, fork, compacted = [one.session_id for one in report.sessions]
    setup = ["<permissions instructions>", "<environment_context>here</environment_context>"]
    assert await said(store, main) == [*setup, "one", "1", "two", "2"]
    assert await said(store, fork) == [*setup, "one", "1", "three", "3"]
    assert await said(store, compacted) == ["short", "four", "4", "five"]
    assert report.live_session_id == compacted
    state = await restore(store, compacted)
    assert state.last_run_interrupted
    assert [call.call_id for call in state.dangling_tool_calls] == ["call five"]
    assert (await restore(store, fork)).turn_count == 2
    assert [one.line for one in report.not_understood] == [made.lines.index(b'{"timestamp":"torn') + 1]


@pytest.mark.parametrize(("turns", "left"), [(1, ["a", "1"]), (2, []), (9, []), (0, ["a", "1", "b", "2"])])
async def test_a_rollback_takes_back_as_many_turns_as_it_says(tmp_path: Path, turns: int, left: list[str]) -> None:
    made = Rollout()
    made.turn("a", "1")
    made.turn("b", "2")
    made.event("thread_rolled_back", num_turns=turns)
    store, report = await imported(made.write(tmp_path))
    assert await said(store, report.live_session_id) == left


async def test_the_header_the_model_and_the_turns_are_told(tmp_path: Path) -> None:
    made = Rollout()
    made.turn("a", "1")
    store, _ = await imported(made.write(tmp_path))
    log = await entries(store)
    start = log[0]
    assert isinstance(start, SessionStart)
    assert (start.session_id, start.system_prompt) == (SID, "Be careful.")
    assert [one.config.model for one in log if isinstance(one, ConfigChanged)] == ["model-a"]
    assert [one.turn_count for one in log if isinstance(one, TurnEnd)] == [1]
    assert [(one.outcome, one.interrupted) for one in log if isinstance(one, RunOutcome)] == [("finished", False)]
    results = [item for one in log if isinstance(one, ToolResults) for item in one.items]
    assert [isinstance(one, ToolResult) and one.is_error for one in results] == [True]
    usage = [
        (one.history_len, one.input_total_tokens, one.cache_read_tokens) for one in log if isinstance(one, LlmUsage)
    ]
    assert usage == [(1, 100, 40), (4, 200, 90)]


async def test_words_that_an_item_says_too_are_not_kept_twice(tmp_path: Path) -> None:
    """An event that repeats its item adds nothing, whichever comes first; one that no item repeats is kept whole."""
    made = Rollout()
    made.turn("a", "1")
    made.event("agent_message", message="alone")
    made.event("mystery", n=1)
    made.event("agent_message", message="last")
    store, report = await imported(made.write(tmp_path))
    kept = [entry.payload["payload"] for entry in await entries(store) if getattr(entry, "domain", "") == DOMAIN]
    assert [one.get("message") for one in kept if one.get("type") in ("agent_message", "user_message")] == ["alone"]
    assert [one["n"] for one in kept if one.get("type") == "mystery"] == [1]
    assert [one.line for one in report.waiting] == [len(made.lines)]
    assert report.imported == len(made.lines) - 1


async def test_a_fork_is_its_own_thread_although_it_holds_its_parents_header(tmp_path: Path) -> None:
    """The id in the file's name tells which header is its own; the note names the parent."""
    made = Rollout(id=PARENT)
    made.add("session_meta", {"id": SID, "forked_from_id": PARENT, "cwd": "/srv/app"})
    made.turn("a", "1")
    store, report = await imported(made.write(tmp_path))
    assert report.session_id == SID
    note = (await store.read_all(SessionId(SID)))[1].entry
    assert isinstance(note, Extension)
    assert (note.payload["format"], note.payload["parent"]) == ("codex", PARENT)


@pytest.mark.parametrize(
    "spawned",
    [
        {"type": "collab_agent_spawn_end", "new_thread_id": SID},
        {"type": "sub_agent_activity", "kind": "started", "agent_thread_id": SID, "agent_path": "/x"},
    ],
    ids=["before 0.145", "since 0.145"],
)
async def test_a_collaborator_and_its_parent_name_each_other(tmp_path: Path, spawned: dict[str, Any]) -> None:
    parent = Rollout(id=PARENT)
    parent.turn("a", "1")
    parent.add("event_msg", {"call_id": "call a", **spawned})
    parent.add("event_msg", {"type": "sub_agent_activity", "kind": "finished", "agent_thread_id": "another"})
    child = Rollout(source={"subagent": {"thread_spawn": {"parent_thread_id": PARENT}}}, agent_nickname="Ada")
    child.turn("b", "2")
    store = MemoryStore()
    await import_file(store, parent.write(tmp_path, f"rollout-{PARENT}.jsonl"))
    report = await import_file(store, child.write(tmp_path))
    assert [one.role for one in report.sessions] == ["agent"]
    links = [entry.payload for entry in await entries(store) if getattr(entry, "domain", "") == f"{DOMAIN}.spawn"]
    assert links == [{"agent_id": SID, "session_id": SID, "tool_use_id": "call a"}]
    note = (await store.read_all(SessionId(SID)))[1].entry
    assert isinstance(note, Extension)
    assert (note.payload["parent"], note.payload["agent"]) == (PARENT, {"nickname": "Ada"})


async def test_an_older_rollout_reads_alike(tmp_path: Path) -> None:
    """A header without a type, bare items, state lines; a compaction with a message alone; turns by their prompts."""
    made = Rollout()
    made.lines.clear()
    made.raw({"id": SID, "timestamp": "2025-06-01T00:00:00Z", "instructions": None})
    for prompt, answer in (("a", "1"), ("b", "2")):
        made.raw({"record_type": "state"})
        made.raw({"type": "message", "role": "user", "content": [{"type": "input_text", "text": prompt}]})
        made.raw({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": answer}]})
    made.event("thread_rolled_back", num_turns=1)
    made.add("compacted", {"message": "all of it"})
    store, report = await imported(made.write(tmp_path))
    assert (report.session_id, report.imported) == (SID, len(made.lines))
    assert [await said(store, one.session_id) for one in report.sessions] == [
        ["a", "1", "b", "2"],
        ["a", "1"],
        ["all of it"],
    ]


async def test_bad_lines_anywhere_cost_only_themselves(tmp_path: Path) -> None:
    """Torn, glued, binary, nested too deep, wrongly shaped: the rest is there, and each bad one is listed."""
    made = script()
    good = len(made.lines) - 1
    deep = b'{"timestamp":"","type":"x","payload":{"d":' + b"[" * 70 + b"]" * 70 + b"}}"
    for at, bad in ((0, b"\x89PNG\r\x1a"), (9, deep), (14, b'{"timestamp":"2026')):
        made.lines.insert(at, bad)
    made.lines[14] += made.lines.pop(15)
    made.raw({"timestamp": 5, "type": "response_item", "payload": {"type": "message", "role": 7}})
    made.raw({"timestamp": None, "type": "event_msg", "payload": ["x"]})
    _, report = await imported(made.write(tmp_path))
    assert report.imported == good + 2
    assert len(report.not_understood) == 5
    assert report.not_understood[-1].reason.startswith("a message that is not understood")
    assert [one.role for one in report.sessions] == ["main", "fork", "compaction"]


@pytest.mark.parametrize(
    ("item", "kind", "says"),
    [
        ({"type": "local_shell_call", "call_id": "c", "action": {"cmd": 1}}, "ToolCall", ("local_shell", '{"cmd":1}')),
        (
            {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "*** x"},
            "ToolCall",
            ("patch", "*** x"),
        ),
        ({"type": RESULT, "call_id": "c", "output": {"content": "no", "success": False}}, "ToolResult", True),
        ({"type": RESULT, "call_id": "c", "output": [{"type": "input_text", "text": "x"}]}, "ToolResult", False),
        (
            {"type": "custom_tool_call_output", "call_id": "c", "output": '{"output":"","metadata":{"exit_code":1}}'},
            "ToolResult",
            True,
        ),
        ({"type": "custom_tool_call_output", "call_id": "c", "output": '{"output":""'}, "ToolResult", False),
    ],
)
async def test_calls_and_results_of_every_kind(tmp_path: Path, item: dict[str, Any], kind: str, says: Any) -> None:
    made = Rollout()
    made.add("response_item", item)
    store, _ = await imported(made.write(tmp_path))
    [found] = (await restore(store, SessionId(SID))).history
    assert type(found).__name__ == kind
    if isinstance(found, ToolResult):
        assert found.is_error is says
    else:
        assert isinstance(found, ToolCall)
        assert (found.name, found.arguments) == says


async def test_images_are_parts_and_what_is_no_part_is_kept(tmp_path: Path) -> None:
    """An image by its bytes or its URL; a part of an unknown type, and an item of one, as an extension."""
    made = Rollout()
    urls = ("data:image/png;base64,AAAA", "https://example.org/a.png")
    parts: list[dict[str, Any]] = [{"type": "input_image", "image_url": url} for url in urls]
    made.item("message", role="user", content=[*parts, {"type": "input_audio", "audio": "x"}])
    made.item("web_search_call", action={"query": "q"})
    store, report = await imported(made.write(tmp_path))
    state = await restore(store, SessionId(SID))
    [message] = state.history
    assert isinstance(message, Message)
    assert [part.data if isinstance(part, ImagePart) else part for part in message.content] == ["AAAA", None]
    kept = [one.payload["payload"].get("type") for one in state.extensions if one.domain == DOMAIN]
    assert kept == [None, "message", "web_search_call"]
    assert report.imported == 3
