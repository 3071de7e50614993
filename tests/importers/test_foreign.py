"""Transcripts of other tools: refused by name, or listed where they pass for one that is known."""

import json
from pathlib import Path
from typing import Any

import pytest
from foreign import Transcript
from test_codex import Rollout
from test_pi import Session

from sessionlog import Extension, MemoryStore
from sessionlog.importers import FORMATS, ImportFailed, find_transcripts, import_file
from sessionlog.importers.foreign import SIGNATURES, foreign_name

pytestmark = pytest.mark.anyio

QWEN = {"uuid": "u", "parentUuid": None, "sessionId": "s", "timestamp": "2026-01-01T00:00:00Z", "type": "user"}
LINES: dict[str, dict[str, Any]] = {
    "Qwen Code": {**QWEN, "cwd": "/w", "message": {"role": "user", "parts": [{"text": "hi"}]}},
    "Factory Droid": {
        "type": "message",
        "id": "m",
        "timestamp": "2026-01-01T00:00:00Z",
        "message": {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "Read", "input": {}}]},
    },
    "Gemini CLI": {"sessionId": "s", "projectHash": "p", "startTime": "2026-01-01T00:00:00Z", "messages": []},
    "Kimi Code": {"type": "metadata", "protocol_version": "1.4"},
    "GitHub Copilot CLI": {"type": "user.message", "data": {"content": "hi"}, "id": "i"},
    "Cursor": {"role": "user", "message": {"content": [{"type": "text", "text": "hi"}]}},
    "opencode": {"type": "text", "sessionID": "ses_1", "part": {"text": "hi"}},
    "ATIF": {"schema_version": "ATIF-v1.2", "session_id": "s", "steps": []},
    "Inspect": {"version": 2, "status": "success", "eval": {"task": "t"}, "samples": []},
    "a phi-core document": {"session_id": "s", "formation": {}, "loops": []},
    "a list of chat messages": {"role": "user", "content": "hi"},
}


def test_every_signature_has_a_line() -> None:
    assert [one.name for one in SIGNATURES] == list(LINES)


@pytest.mark.parametrize("name", LINES)
async def test_a_foreign_transcript_is_refused_by_name(tmp_path: Path, name: str) -> None:
    """As lines and as one document over many; no format that is imported takes such a line, and nothing is stored."""
    assert foreign_name(LINES[name]) == name
    assert not [one.name for one in FORMATS if one.recognises(LINES[name])]
    store = MemoryStore()
    for number, text in enumerate((json.dumps(LINES[name]) + "\n", json.dumps(LINES[name], indent=2))):
        path = tmp_path / f"{number}.jsonl"
        path.write_text(text)
        with pytest.raises(ImportFailed, match=name):
            await import_file(store, path)
    assert await store.list_sessions() == []


async def test_samples_are_refused_by_name(shared: Path) -> None:
    """Files of other tools that were found in public, most of them recorded."""
    names = {
        "atif": "ATIF",
        "copilot-cli": "GitHub Copilot CLI",
        "cursor": "Cursor",
        "droid": "Factory Droid",
        "gemini-cli": "Gemini CLI",
        "inspect": "Inspect",
        "kimi-code": "Kimi Code",
        "openai-messages": "a list of chat messages",
        "opencode": "opencode",
        "qwen-code": "Qwen Code",
    }
    store = MemoryStore()
    seen = set()
    for path in sorted((shared / "samples").rglob("*")):
        folder = path.relative_to(shared / "samples").parts[0]
        if path.is_file() and folder in names and path.name != "migration":
            with pytest.raises(ImportFailed, match=names[folder]):
                await import_file(store, path)
            seen.add(folder)
    assert seen == set(names)
    assert await store.list_sessions() == []


async def test_real_files_are_of_no_foreign_format(shared: Path) -> None:
    """Nothing in the transcripts that are imported looks like another tool's."""
    for path in await find_transcripts([shared / "data"]):
        for line in path.read_bytes().split(b"\n"):
            try:
                value = json.loads(line)
            except ValueError:
                continue
            assert foreign_name(value) is None, (path.name, value)


async def test_a_message_that_yields_no_item_is_listed(tmp_path: Path) -> None:
    """Of each format: it is kept whole in the log, as an extension, and told; the messages around it are imported."""
    claude = Transcript()
    claude.user("hi")
    claude.add({"type": "user", "message": {"role": "user", "content": [{"type": "hologram", "data": 1}]}})
    claude.says("yes", "m1")
    rollout = Rollout()
    rollout.turn("a", "1")
    rollout.add("response_item", {"type": "message", "role": "assistant", "content": [{"type": "hologram"}]})
    session = Session()
    session.user("a")
    session.raw(
        {
            **json.loads(session.lines[-1]),
            "id": "77777777",
            "message": {"role": "assistant", "content": [{"type": "hologram"}]},
        }
    )
    for number, lines in enumerate((claude.lines, rollout.lines, session.lines)):
        store = MemoryStore()
        path = tmp_path / f"{number}.jsonl"
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        report = await import_file(store, path)
        [piece] = report.not_understood
        assert piece.reason.startswith("a message that is not understood"), (number, piece)
        records = [record for one in await store.list_sessions() for record in await store.read_all(one)]
        assert any(b"hologram" in record.line and isinstance(record.entry, Extension) for record in records)
        assert (await import_file(store, path)).unchanged
