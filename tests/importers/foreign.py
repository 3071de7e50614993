"""Makes small Claude Code transcripts, and reads stores back for comparison."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from sessionlog import (
    Extension,
    HashedEntry,
    LogEntry,
    MemoryStore,
    SessionId,
    SessionStart,
    Store,
    collect_state,
    verify_chain,
)
from sessionlog.importers.claude_code import IMPORT_DOMAIN

SID = "5e55105e-0000-4000-8000-000000000000"


class Transcript:
    """Lines of one transcript; each verb returns the uuid of its line, and hangs it on the line before by default."""

    def __init__(self, *, agent: str | None = None) -> None:
        self.lines: list[bytes] = []
        self.agent = agent
        self._last: str | None = None
        self._count = 0

    def user(self, text: str = "hello", **over: Any) -> str:
        return self.add({"type": "user", "message": {"role": "user", "content": text}}, **over)

    def assistant(self, *blocks: dict[str, Any], mid: str, out: int = 5, **over: Any) -> str:
        usage = {
            "input_tokens": 3,
            "cache_read_input_tokens": 20,
            "cache_creation_input_tokens": 100,
            "output_tokens": out,
        }
        message = {"id": mid, "model": "model-a", "role": "assistant", "content": list(blocks), "usage": usage}
        return self.add({"type": "assistant", "message": message}, **over)

    def says(self, text: str, mid: str, **over: Any) -> str:
        return self.assistant({"type": "text", "text": text}, mid=mid, **over)

    def calls(self, call: str, mid: str, **over: Any) -> str:
        return self.assistant(
            {"type": "tool_use", "id": call, "name": "Read", "input": {"path": "a b"}}, mid=mid, **over
        )

    def result(self, call: str, text: str = "done", *, structured: Any = None, **over: Any) -> str:
        block = {"type": "tool_result", "tool_use_id": call, "content": text}
        line = {"type": "user", "message": {"role": "user", "content": [block]}}
        return self.add(line if structured is None else {**line, "toolUseResult": structured}, **over)

    def progress(self, **over: Any) -> str:
        return self.add({"type": "progress", "data": {"type": "hook_progress", "n": self._count}}, **over)

    def boundary(self, logical: str | None, **over: Any) -> str:
        line = {"type": "system", "subtype": "compact_boundary", "logicalParentUuid": logical}
        return self.add(line, parent=None, **over)

    def summary(self, text: str = "what was", **over: Any) -> str:
        return self.user(text, isCompactSummary=True, **over)

    def add(self, line: dict[str, Any], *, parent: str | None = "", uuid: str | None = None, **over: Any) -> str:
        """Add a line of the tree; ``parent`` ``""`` is the line before."""
        self._count += 1
        uuid = uuid or f"{self._count:08x}-0000-4000-8000-0000000000{'a1' if self.agent else '00'}"
        base = {"parentUuid": self._last if parent == "" else parent, "isSidechain": self.agent is not None}
        if self.agent:
            base["agentId"] = self.agent
        stamp = f"2026-01-01T00:{self._count // 60 % 60:02}:{self._count % 60:02}.000Z"
        self.raw({**base, "sessionId": SID, **line, "uuid": uuid, "timestamp": stamp, **over})
        self._last = uuid
        return uuid

    def raw(self, line: dict[str, Any] | bytes) -> None:
        """Add any line."""
        self.lines.append(line if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False).encode())

    def bytes(self) -> bytes:
        return b"".join(line + b"\n" for line in self.lines)

    def write(self, folder: Path, name: str = "t.jsonl") -> Path:
        path = folder / name
        path.write_bytes(self.bytes())
        return path


async def contents(store: Store) -> dict[SessionId, list[Any]]:
    """Return what every session says, import notes left out; places in other sessions as positions without them."""
    logs = {session_id: await store.read_all(session_id) for session_id in await store.list_sessions()}
    return {
        session_id: [_comparable(record, logs) for record in records if not is_note(record.entry)]
        for session_id, records in logs.items()
    }


def is_note(entry: LogEntry) -> bool:
    return isinstance(entry, Extension) and entry.domain == IMPORT_DOMAIN


async def check_store(store: MemoryStore) -> None:
    """Check every chain and every provenance, as an audit would (FORMAT sections 5 and 7)."""
    for session_id in await store.list_sessions():
        records = await store.read_all(session_id)
        assert verify_chain(records).state == "valid"
        start = records[0].entry
        assert isinstance(start, SessionStart)
        assert is_note(records[1].entry), "the second record names the source"
        for origin in (start.forked_from, start.compacted_from):
            if origin is None:
                continue
            source = await store.read_all(origin.session_id)
            at = next(index for index, record in enumerate(source) if record.hash == origin.at_hash)
            if origin is start.forked_from:
                state = collect_state(source[: at + 1])
                assert (start.system_prompt, start.config, list(start.history)) == (
                    state.system_prompt,
                    state.config,
                    state.history,
                )


def objects(data: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    """Count independently: every JSON object of a transcript with its line."""
    decoder = json.JSONDecoder()
    for number, line in enumerate(data.split(b"\n"), start=1):
        rest = line.decode().strip("\0 \r")
        while rest:
            value, end = decoder.raw_decode(rest)
            yield number, value
            rest = rest[end:].lstrip()


def _comparable(record: HashedEntry, logs: dict[SessionId, list[HashedEntry]]) -> Any:
    value = msgspec.to_builtins(record.entry)
    for name in ("forked_from", "compacted_from"):
        origin = value.get(name)
        if origin is not None:
            hashes = [one.hash for one in logs[origin["session_id"]] if not is_note(one.entry)]
            all_hashes = [one.hash for one in logs[origin["session_id"]]]
            position = all_hashes.index(origin["at_hash"])
            notes = sum(is_note(one.entry) for one in logs[origin["session_id"]][:position])
            assert len(hashes) + notes <= len(all_hashes)
            origin["at_hash"] = position - notes
    return value
