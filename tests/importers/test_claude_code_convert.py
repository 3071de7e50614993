"""What a line becomes, and what no entry can hold."""

import json
from pathlib import Path
from typing import Any

import pytest
from foreign import SID, Transcript, check_store, is_note

from sessionlog import (
    AgentEventEntry,
    AssistantItems,
    ConfigChanged,
    Extension,
    HookInjectedItems,
    ImagePart,
    LogEntry,
    MemoryStore,
    Message,
    Reasoning,
    SessionId,
    TextPart,
    ToolCall,
    ToolResult,
    ToolResults,
    UserInput,
)
from sessionlog.importers.claude_code import import_file

pytestmark = pytest.mark.anyio


async def entries_of(script: Transcript, folder: Path) -> list[LogEntry]:
    store = MemoryStore()
    await import_file(store, script.write(folder))
    await check_store(store)
    records = await store.read_all(SessionId(SID))
    entries = [record.entry for record in records[1:]]
    return [entry for entry in entries if not (is_note(entry) or isinstance(entry, AgentEventEntry))]


async def test_a_message_of_each_kind(tmp_path: Path) -> None:
    """Text, images, thinking, calls and results keep their content, ids and times."""
    script = Transcript()
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    asked = script.add(
        {"type": "user", "message": {"role": "user", "content": [{"type": "text", "text": "see"}, image]}}
    )
    thought = {"type": "thinking", "thinking": "hm", "signature": "sig"}
    script.assistant(thought, {"type": "text", "text": "ok"}, mid="m1")
    script.calls("c1", "m1")
    answered = script.result("c1", "short", structured={"stdout": "short and long"})
    script.user("by a hook", isMeta=True)
    entries = await entries_of(script, tmp_path)
    ts = 1767225600000
    assert entries[:6] == [
        UserInput(ts=ts + 1000, item=Message("user", [TextPart("see"), ImagePart("aGk=", "image/png")], id=asked)),
        ConfigChanged(ts=ts + 2000, config=entries[1].config),  # type: ignore[union-attr]
        AssistantItems(
            ts=ts + 2000,
            items=[Reasoning("hm", "sig", id="m1"), Message("assistant", [TextPart("ok")], id="m1")],
        ),
        AssistantItems(ts=ts + 3000, items=[ToolCall("c1", "Read", '{"path":"a b"}', id="m1")]),
        ToolResults(
            ts=ts + 4000, items=[ToolResult("c1", "short", content='{"stdout":"short and long"}', id=answered)]
        ),
        HookInjectedItems(ts=ts + 5000, items=[Message("user", [TextPart("by a hook")], id=entries[5].items[0].id)]),  # type: ignore[union-attr]
    ]
    assert isinstance(entries[1], ConfigChanged)
    assert entries[1].config.model == "model-a"


async def test_the_model_is_logged_when_it_changes(tmp_path: Path) -> None:
    """Once for each change; messages that the tool made up itself change nothing."""
    script = Transcript()
    script.says("a", "m1")
    script.says("b", "m2")
    script.says("limit reached", "m3")
    script.lines[-1] = script.lines[-1].replace(b"model-a", b"<synthetic>")
    script.says("c", "m4")
    script.lines[-1] = script.lines[-1].replace(b"model-a", b"model-b")
    models = [one.config.model for one in await entries_of(script, tmp_path) if isinstance(one, ConfigChanged)]
    assert models == ["model-a", "model-b"]


async def test_a_failed_tool_stays_failed(tmp_path: Path) -> None:
    """is_error is kept; a result that is not all text keeps its blocks."""
    script = Transcript()
    script.calls("c1", "m1")
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    block = {
        "type": "tool_result",
        "tool_use_id": "c1",
        "is_error": True,
        "content": [{"type": "text", "text": "no"}, image],
    }
    script.add({"type": "user", "message": {"role": "user", "content": [block]}})
    result = next(one.items[0] for one in await entries_of(script, tmp_path) if isinstance(one, ToolResults))
    assert isinstance(result, ToolResult)
    assert (result.summary, result.is_error) == ("no", True)
    assert json.loads(result.content or "") == block["content"]


async def test_lines_that_are_no_messages_are_kept_whole(tmp_path: Path) -> None:
    """Known or not, with a strange shape or not: the line's object is in an extension, unchanged."""
    script = Transcript()
    script.user("hi")
    kept: list[dict[str, Any]] = [
        {"type": "queue-operation", "operation": "enqueue", "n": 1.5},
        {"type": "never-seen", "deep": {"er": [1, None, "ü"]}},
        {"no": "type"},
        {"type": ["odd"], "uuid": 7},
    ]
    for line in kept:
        script.raw(line)
    odd = {"type": "user", "message": {"role": "user", "content": [{"strange": True}]}}
    script.add(odd)
    script.assistant({"type": "never_seen", "x": 1}, mid="m1")
    found = [one.payload for one in await entries_of(script, tmp_path) if isinstance(one, Extension)]
    assert found[:4] == kept
    assert found[4]["message"] == odd["message"]
    assert found[5] == {"type": "assistant.block", "uuid": found[5]["uuid"], "block": {"type": "never_seen"}}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(b"18446744073709551616", "64 bits", id="2**64"),
        pytest.param(b"-9223372036854775809", "64 bits", id="-2**63-1"),
        pytest.param(b"[" * 63 + b"]" * 63, "nested", id="too deep"),
        pytest.param(b'"\\ud800"', "surrogate", id="lone surrogate"),
        pytest.param(b"NaN", "malformed", id="NaN"),
        pytest.param(b"Infinity", "malformed", id="Infinity"),
        pytest.param(b'"' + b"x" * 4000 + b'"', "more than 4000", id="the line is too long"),
        pytest.param(b'"' + b"x" * 3500 + b'"', "its record would be longer", id="the record would be too long"),
    ],
)
async def test_what_no_entry_can_hold_is_listed(tmp_path: Path, value: bytes, reason: str) -> None:
    """The line is named with the reason, and the conversation goes on around it."""
    script = Transcript()
    script.user("before")
    script.progress()
    script.lines[-1] = script.lines[-1].replace(b'"n": 1', b'"n": ' + value)
    script.user("after")
    store = MemoryStore(line_bytes_max=4000 if len(value) > 3000 else 2**20)
    report = await import_file(store, script.write(tmp_path))
    assert [(one.line, reason in one.reason) for one in report.not_understood] == [(2, True)], report.not_understood
    assert (report.imported, len(report.sessions)) == (2, 1)
    await check_store(store)
    assert (await import_file(store, script.write(tmp_path))).unchanged


@pytest.mark.parametrize("value", [b"18446744073709551615", b"-9223372036854775808", b"[" * 60 + b"]" * 60])
async def test_what_an_entry_can_just_hold_is_kept(tmp_path: Path, value: bytes) -> None:
    """The limits are the log's own, not one less."""
    script = Transcript()
    script.user("before")
    script.progress()
    script.lines[-1] = script.lines[-1].replace(b'"n": 1', b'"n": ' + value)
    entries = await entries_of(script, tmp_path)
    assert isinstance(entries[1], Extension)
    assert entries[1].payload["data"]["n"] == json.loads(value)
