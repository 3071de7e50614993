"""pi sessions: real ones against an independent count; trees, compactions, odd lines on made ones."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from foreign import check_store, contents, objects

from sessionlog import (
    AssistantItems,
    ConfigChanged,
    HookInjectedItems,
    LlmUsage,
    MemoryStore,
    Message,
    RunOutcome,
    SessionId,
    ToolResult,
    ToolResults,
    UserInput,
    restore,
)
from sessionlog.importers import ImportReport, import_file, import_paths

pytestmark = pytest.mark.anyio
SID = "738aa34c-0000-4000-8000-000000000000"


class Session:
    """Lines of one session; each verb returns the id of its line, and hangs it on the line before by default."""

    def __init__(self, version: int | None = 3) -> None:
        self.version = version
        self.lines: list[bytes] = []
        self.last: str | None = None
        header = {"type": "session", "id": SID, "timestamp": "2026-01-01T00:00:00.000Z", "cwd": "/srv/app"}
        self.raw(header if version is None else {**header, "version": version})

    def add(self, kind: str, *, parent: str | None = "", **members: Any) -> str:
        line_id = f"{len(self.lines):08x}"
        place = {} if self.version is None else {"id": line_id, "parentId": self.last if parent == "" else parent}
        stamp = f"2026-01-01T00:{len(self.lines) // 60:02}:{len(self.lines) % 60:02}.000Z"
        self.raw({"type": kind, **place, "timestamp": stamp, **members})
        self.last = line_id
        return line_id

    def raw(self, value: dict[str, Any] | bytes) -> None:
        self.lines.append(value if isinstance(value, bytes) else json.dumps(value).encode())

    def user(self, text: str, **over: Any) -> str:
        return self.add("message", message={"role": "user", "content": text}, **over)

    def says(self, text: str, *calls: str, stop: str = "stop", **over: Any) -> str:
        blocks = [{"type": "toolCall", "id": call, "name": "bash", "arguments": {"n": 1}} for call in calls]
        usage = {"input": 3, "output": 5, "cacheRead": 20, "cacheWrite": 100}
        message = {"role": "assistant", "content": [{"type": "text", "text": text}, *blocks], "model": "model-a"}
        return self.add("message", message={**message, "usage": usage, "stopReason": stop}, **over)

    def result(self, call: str, **over: Any) -> str:
        content = [{"type": "text", "text": "done"}]
        return self.add("message", message={"role": "toolResult", "toolCallId": call, "content": content, **over})

    def bytes(self) -> bytes:
        return b"".join(line + b"\n" for line in self.lines)

    def write(self, folder: Path, name: str = f"2026-01-01T00-00-00_{SID}.jsonl") -> Path:
        path = folder / name
        path.write_bytes(self.bytes())
        return path


async def imported(path: Path) -> tuple[MemoryStore, ImportReport]:
    store = MemoryStore()
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
    """Count independently: every block of every message, and the tokens."""
    count: Counter[str] = Counter()
    names = {"text": "Message", "thinking": "Reasoning", "toolCall": "ToolCall"}
    for _, line in objects(data):
        count["objects"] += 1
        message = line.get("message", {})
        if message.get("role") == "assistant":
            count.update(names[block["type"]] for block in message["content"])
            usage = message["usage"]
            count["input"] += usage["input"] + usage["cacheRead"] + usage["cacheWrite"]
            count["read"] += usage["cacheRead"]
            count["written"] += usage["cacheWrite"]
            count["output"] += usage["output"]
        elif message:
            count["ToolResult" if message["role"] == "toolResult" else "Message"] += 1
    return +count


def count_log(log: list[Any]) -> Counter[str]:
    count: Counter[str] = Counter()
    for entry in log:
        match entry:
            case UserInput():
                count["Message"] += 1
            case AssistantItems() | ToolResults() | HookInjectedItems():
                count.update(type(item).__name__ for item in entry.items)
            case LlmUsage():
                count["input"] += entry.input_total_tokens
                count["read"] += entry.cache_read_tokens
                count["written"] += entry.cache_write_tokens
                count["output"] += entry.output_tokens
    return +count


async def test_real_sessions_agree_with_a_plain_count_and_import_once(shared: Path) -> None:
    """Messages, thinking, calls, results, tokens; every object is imported; a second time adds nothing."""
    folder = shared / "data" / "pi"
    for path in sorted(folder.rglob("*.jsonl")):
        store, report = await imported(path)
        assert report.format == "pi"
        assert report.not_understood == report.waiting == []
        have = count_log(await entries(store))
        have["objects"] = report.imported
        assert have == count_file(path.read_bytes()), path
    store = MemoryStore()
    assert (await import_paths(store, [folder])).failures == []
    before = await contents(store)
    assert all(one.unchanged for one in (await import_paths(store, [folder])).reports)
    assert await contents(store) == before


@pytest.mark.parametrize(
    "name", ["large-session.jsonl", "v2-from-html-export/738aa34c-fc1f-47f4-ac10-82d949fb6813.jsonl"]
)
async def test_ten_cuts_of_a_real_session_give_the_same_records(shared: Path, tmp_path: Path, name: str) -> None:
    data = (shared / "data" / "pi" / name).read_bytes()
    path = tmp_path / "grows.jsonl"
    path.write_bytes(data)
    at_once, _ = await imported(path)
    grown = MemoryStore()
    for end in [*(len(data) * tenth // 10 + tenth for tenth in range(10)), len(data)]:
        path.write_bytes(data[:end])
        await import_file(grown, path, growing=end < len(data))
    assert await contents(grown) == await contents(at_once)


def script(version: int | None = 3) -> Session:
    """A bit of everything; a tree where the version has one."""
    made = Session(version)
    made.add("model_change", provider="p", modelId="model-0")
    made.user("a")
    asked = made.says("1", "c1", stop="toolUse")
    made.result("c1", isError=True)
    kept = made.says("2")
    made.raw(b'{"type":"message","torn')
    made.add("branch_summary", parent=asked, fromId=kept, summary="tried it")
    made.user("b")
    made.says("", stop="aborted")
    if version is None:
        made.add("compaction", summary="so far", firstKeptEntryIndex=3, tokensBefore=9)
    else:
        made.user("c", parent=kept)
        made.says("3")
        made.add("compaction", summary="so far", firstKeptEntryId=kept, tokensBefore=9)
    made.user("d")
    made.says("4")
    return made


@pytest.mark.parametrize("version", [None, 2, 3])
async def test_every_cut_gives_the_same_records(tmp_path: Path, version: int | None) -> None:
    """At every line end, one after the other, and anywhere between."""
    data = script(version).bytes()
    path = tmp_path / "s.jsonl"
    path.write_bytes(data)
    whole, _ = await imported(path)
    expected = await contents(whole)
    grown = MemoryStore()
    for end in [index for index, byte in enumerate(data) if byte == 10]:
        path.write_bytes(data[: end + 1])
        await import_file(grown, path, growing=end + 1 < len(data))
    assert await contents(grown) == expected
    await check_store(grown)
    for cut in range(50, len(data), 301):
        store = MemoryStore()
        for end in (cut, len(data)):
            path.write_bytes(data[:end])
            await import_file(store, path, growing=end < len(data))
        assert await contents(store) == expected, cut


async def test_branches_are_forks_and_the_last_line_is_live(tmp_path: Path) -> None:
    """What came first stays; a compaction starts with its summary and the messages that were kept."""
    store, report = await imported(script().write(tmp_path))
    assert [one.role for one in report.sessions] == ["main", "fork", "compaction"]
    main, fork, compacted = [one.session_id for one in report.sessions]
    assert main == SID
    assert await said(store, main) == ["a", "1", "2", "c", "3"]
    assert await said(store, fork) == ["a", "1", "tried it", "b", ""]
    assert await said(store, compacted) == ["so far", "2", "c", "3", "d", "4"]
    assert report.live_session_id == compacted
    assert (await restore(store, fork)).last_run_interrupted
    assert (await restore(store, compacted)).turn_count == 3
    models = [entry.config.model for entry in await entries(store) if isinstance(entry, ConfigChanged)]
    assert models.count("model-0") == 1
    assert "model-a" in models


async def test_a_compaction_after_a_compaction_keeps_from_what_was_kept(tmp_path: Path) -> None:
    """The kept messages are found also in a session that is itself compacted, and in a fork of it."""
    made = Session()
    made.user("a")
    first = made.user("b")
    second = made.user("c")
    made.add("compaction", summary="s1", firstKeptEntryId=first, tokensBefore=1)
    fork_here = made.user("d")
    made.user("e")
    made.user("f", parent=fork_here)
    made.add("compaction", summary="s2", firstKeptEntryId=second, tokensBefore=1)
    made.user("g")
    store, report = await imported(made.write(tmp_path))
    assert await said(store, report.live_session_id) == ["s2", "c", "d", "f", "g"]


@pytest.mark.parametrize("kept", ["elsewhere", "nowhere", None])
async def test_what_does_not_lead_to_a_compaction_is_not_kept(tmp_path: Path, kept: str | None) -> None:
    """A first kept line on another branch, or one that is not there, leaves the summary alone."""
    made = Session()
    parting = made.user("a")
    elsewhere = made.user("b")
    made.user("c", parent=parting)
    kept = elsewhere if kept == "elsewhere" else kept
    made.add("compaction", summary="s", firstKeptEntryId=kept, tokensBefore=1)
    store, report = await imported(made.write(tmp_path))
    assert await said(store, report.live_session_id) == ["s"]


async def test_version_one_keeps_from_a_position(tmp_path: Path) -> None:
    store, report = await imported(script(None).write(tmp_path))
    assert [one.role for one in report.sessions] == ["main", "compaction"]
    assert await said(store, report.live_session_id) == ["so far", "1", "2", "tried it", "b", "", "d", "4"]


async def test_what_the_model_is_shown_is_history_and_the_rest_is_kept(tmp_path: Path) -> None:
    made = Session()
    shell = {"role": "bashExecution", "command": "ls", "output": "x", "exitCode": 0}
    made.add("message", message=shell)
    made.add("message", message={**shell, "excludeFromContext": True})
    made.add("custom_message", customType="t", content="note", display=True, details={"n": 1})
    made.add("custom", customType="t", data={"n": 2})
    made.add("label", targetId="x", label="here")
    made.says("failed", stop="error")
    store, report = await imported(made.write(tmp_path))
    assert await said(store, report.session_id) == ["$ ls\nx", "note", "failed"]
    assert report.imported == len(made.lines)
    assert [entry.outcome for entry in await entries(store) if isinstance(entry, RunOutcome)] == ["error"]
    kept = [entry.payload for entry in await entries(store) if getattr(entry, "domain", "") == "pi"]
    assert [one["type"] for one in kept] == ["session", "message", "message", "custom_message", "custom", "label"]
    assert "output" not in kept[1]["message"]
    assert kept[2]["message"]["output"] == "x"


async def test_bad_lines_anywhere_cost_only_themselves(tmp_path: Path) -> None:
    """A lost header, a lost parent, a line twice, an id used again, wrong shapes, glue: the rest is there."""
    made = script()
    good = len(made.lines) - 1
    made.lines[0] = b"\0\0binary\xff"
    made.lines.insert(5, made.lines[4])
    lost = made.lines.index(next(line for line in made.lines if b'"b"' in line))
    made.lines[lost] = made.lines[lost][:-9]
    made.lines[2] += made.lines.pop(3)
    made.raw({**json.loads(made.lines[2][: made.lines[2].index(b"}{") + 1]), "extra": 1})
    made.raw({"type": "message", "id": 7, "timestamp": "x", "message": []})
    store, report = await imported(made.write(tmp_path))
    assert report.session_id == SID
    assert report.imported == good - 2 + 2
    assert len(report.not_understood) == 5
    assert report.not_understood[-1].reason.startswith("a message that is not understood")
    assert (await import_file(store, tmp_path / f"2026-01-01T00-00-00_{SID}.jsonl")).unchanged


async def test_blocks_of_every_kind(tmp_path: Path) -> None:
    """Thinking with its signature, images, what is no known block; an answer's details where they say more."""
    made = Session()
    image = {"type": "image", "data": "AAAA", "mimeType": "image/png"}
    made.add("message", message={"role": "user", "content": [image]})
    blocks = [{"type": "thinking", "thinking": "hm", "thinkingSignature": "sealed"}, {"type": "odd"}, image]
    made.add("message", message={"role": "assistant", "content": blocks})
    made.add("message", message={"role": "toolResult", "toolCallId": "c", "content": [image], "isError": True})
    made.result("d", details={"diff": "a long one"})
    store, report = await imported(made.write(tmp_path))
    assert report.session_id is not None
    state = await restore(store, report.session_id)
    assert [type(item).__name__ for item in state.history] == ["Message", "Reasoning", "Message", *["ToolResult"] * 2]
    failed, detailed = [item for item in state.history if isinstance(item, ToolResult)]
    assert (failed.is_error, failed.summary) == (True, "")
    assert "AAAA" in (failed.content or "")
    assert (detailed.summary, detailed.content) == ("done", '{"diff":"a long one"}')
    assert [one.payload["type"] for one in state.extensions if one.domain == "pi"] == ["session", "message.block"]
