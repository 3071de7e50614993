"""Real transcripts, against an independent count."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from foreign import check_store, contents, is_note, objects

from sessionlog import (
    AssistantItems,
    Extension,
    HookInjectedItems,
    LlmUsage,
    MemoryStore,
    Message,
    Reasoning,
    SessionId,
    SessionStart,
    ToolCall,
    ToolResult,
    ToolResults,
    UserInput,
)
from sessionlog.importers.claude_code import SPAWN_DOMAIN, find_transcripts, import_file, import_paths

pytestmark = pytest.mark.anyio
BIG = "with-subagents/258c7280-ae70-4798-800f-63464d01a85d.jsonl"


@pytest.fixture
def folder(shared: Path) -> Path:
    return shared / "data" / "claude-code"


def expected(data: bytes) -> Counter[str]:
    """Count what the file says, each message once."""
    count: Counter[str] = Counter()
    usage: dict[str, dict[str, int]] = {}
    seen: set[str] = set()
    for _, line in objects(data):
        count["objects"] += 1
        if line.get("uuid") in seen:
            count["objects"] -= 1
            continue
        seen.add(line.get("uuid") or f"none {count['objects']}")
        message = line.get("message") or {}
        blocks = message.get("content") or []
        for block in [{"type": "text"}] if isinstance(blocks, str) else blocks:
            count[f"{line['type']} {block['type']}"] += 1
        if line["type"] not in ("user", "assistant"):
            count[f"kept {line['type']}"] += 1
        if line["type"] == "assistant":
            usage[message["id"]] = message["usage"]
    count["requests"] = len(usage)
    for one in usage.values():
        read, written = one.get("cache_read_input_tokens", 0), one.get("cache_creation_input_tokens", 0)
        count["input"] += one["input_tokens"] + read + written
        count["read"] += read
        count["written"] += written
        count["output"] += one["output_tokens"]
    return +count


def found(logs: dict[SessionId, list[Any]]) -> Counter[str]:
    """Count the same in the store; what a session starts with counts only where nothing else says it."""
    count: Counter[str] = Counter()
    for entry in (entry for log in logs.values() for entry in log):
        items: list[Any] = []
        match entry:
            case SessionStart() if entry.compacted_from is not None:
                items = list(entry.history)
            case UserInput():
                items = [entry.item]
            case AssistantItems() | ToolResults() | HookInjectedItems():
                items = list(entry.items)
            case LlmUsage():
                count["requests"] += 1
                count["input"] += entry.input_total_tokens
                count["read"] += entry.cache_read_tokens
                count["written"] += entry.cache_write_tokens
                count["output"] += entry.output_tokens
            case Extension(domain="claude_code"):
                count[f"kept {entry.payload['type']}"] += 1
            case _:
                pass
        for item in items:
            match item:
                case Message():
                    count[f"{item.role} text"] += len(item.content)
                case ToolCall():
                    count["assistant tool_use"] += 1
                case ToolResult():
                    count["user tool_result"] += 1
                case Reasoning():
                    count["assistant thinking"] += 1
    return +count


async def entries(store: MemoryStore) -> dict[SessionId, list[Any]]:
    return {
        session_id: [record.entry for record in await store.read_all(session_id)]
        for session_id in await store.list_sessions()
    }


async def test_every_object_of_every_file_is_accounted_for(folder: Path) -> None:
    """Imported and listed make up the file; messages, calls, results, kept lines, tokens agree with a plain count."""
    for path in await find_transcripts([folder]):
        store = MemoryStore()
        data = path.read_bytes()
        report = await import_file(store, path)
        want = expected(data)
        assert report.imported + len(report.not_understood) == len(list(objects(data))), path
        assert report.waiting == []
        have = found(await entries(store))
        have["objects"] = report.imported
        assert have == want, path
        await check_store(store)


async def test_a_second_import_adds_nothing(folder: Path) -> None:
    """Everything imports into one store, and all of it is known the second time."""
    store = MemoryStore()
    first = await import_paths(store, [folder])
    assert first.failures == []
    assert len(first.reports) == 11
    assert not any(report.unchanged for report in first.reports)
    before = await entries(store)
    second = await import_paths(store, [folder])
    assert all(report.unchanged and report.records_added == 0 for report in second.reports)
    assert await entries(store) == before
    await check_store(store)


async def test_parallel_calls_make_no_attempts(folder: Path) -> None:
    """None of the 186 places where the big file branches is an attempt; its compact boundary parts it in two."""
    store = MemoryStore()
    report = await import_file(store, folder / BIG)
    assert [session.role for session in report.sessions] == ["main", "compaction"]
    assert report.live_session_id == report.sessions[1].session_id
    for path in folder.glob("*.jsonl"):
        assert "fork" not in [session.role for session in (await import_file(store, path)).sessions]


async def test_sub_agents_and_their_parent_name_each_other(folder: Path) -> None:
    """The line that brings a sub-agent's first news is followed by a link; the agent's note names its parent."""
    store = MemoryStore()
    summary = await import_paths(store, [folder / BIG])
    assert len(summary.reports) == 3
    logs = await entries(store)
    links = [entry.payload for log in logs.values() for entry in log if getattr(entry, "domain", "") == SPAWN_DOMAIN]
    assert [link["agent_id"] for link in links] == ["a881341"]
    agent = logs[links[0]["session_id"]]
    assert agent[1].payload["parent"] == summary.reports[0].session_id
    calls = [
        item.call_id
        for log in logs.values()
        for entry in log
        if isinstance(entry, AssistantItems)
        for item in entry.items
        if isinstance(item, ToolCall)
    ]
    assert links[0]["tool_use_id"] in calls


async def test_a_message_that_is_there_twice_is_listed(folder: Path) -> None:
    """The file with two objects on one line has one message twice: listed, with both lines, and no attempt."""
    report = await import_file(MemoryStore(), folder / "entire-37_995ebed6e4_2.jsonl")
    assert [(one.line, "line 128" in one.reason) for one in report.not_understood] == [(131, True)]
    assert len(report.sessions) == 1


@pytest.mark.parametrize(
    "name", ["entire-37_995ebed6e4_2.jsonl", "entire-a6_e4c2a0fbd1_0.jsonl", "subagent.jsonl", BIG]
)
async def test_ten_cuts_give_the_same_records(folder: Path, tmp_path: Path, name: str) -> None:
    """A file that grows in ten steps, cut at arbitrary bytes, gives the records of an import at once."""
    data = (folder / name).read_bytes()
    at_once, grown = MemoryStore(), MemoryStore()
    path = tmp_path / "grows.jsonl"
    path.write_bytes(data)
    await import_file(at_once, path)
    step = len(data) // 10 + 7
    for end in [*range(step, len(data), step), len(data)]:
        path.write_bytes(data[:end])
        await import_file(grown, path)
    assert await contents(grown) == await contents(at_once)
    assert sum(is_note(entry) for log in (await entries(grown)).values() for entry in log) >= 10
    await check_store(grown)
