"""A long Claude Code transcript: the real ones beside this checkout, again and again under new ids, or a made one."""

import os
import re
import uuid
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Final

import msgspec

_UUID: Final = re.compile(rb'"(uuid|parentUuid|leafUuid|logicalParentUuid|messageId)":\s*"([0-9a-f]{8})(-[^"]*)"')
_ROOT: Final = re.compile(rb'"parentUuid":\s*null')
_OWN: Final = re.compile(rb'"uuid":\s*"([^"]*)"')
_SESSION: Final = re.compile(rb'"sessionId":\s*"[^"]*"')
SESSION: Final = "0b9f2c53-6d0e-4f2a-9d35-5c2a86b1f7e4"
REAL: Final = "claude-code/with-subagents/258c7280-ae70-4798-800f-63464d01a85d.jsonl"


def real_transcript() -> Path | None:
    """Return the longest real transcript of the shared data, if that is there."""
    shared = os.environ.get("SESSIONLOG_SHARED") or Path(__file__).resolve().parent.parent.parent / "shared"
    path = Path(shared) / "data" / REAL
    return path if path.is_file() else None


async def write_transcript(folder: Path, size: int) -> tuple[Path, int]:
    """Write a transcript of ``size`` bytes or a little more; return its path and size."""
    path = folder / "transcript" / f"{SESSION}.jsonl"
    if not path.exists():
        path.parent.mkdir()
        real = real_transcript()
        lines = _made() if real is None else _again_and_again(real.read_bytes().splitlines())
        with path.open("wb") as file:
            for line in lines:
                if file.write(line + b"\n") and file.tell() >= size:
                    break
    return path, path.stat().st_size


def source_name() -> str:
    """Say what the transcript was made of."""
    return "made up" if real_transcript() is None else "a real one, repeated"


def _again_and_again(lines: list[bytes]) -> Iterator[bytes]:
    """Yield the lines over and over as one conversation: each time new ids, behind the last message before."""
    last: bytes | None = None
    for number in count():
        own: bytes | None = None
        for line in lines:
            line = _SESSION.sub(b'"sessionId":"%s"' % SESSION.encode(), line)
            line = _UUID.sub(lambda match: _renamed(match, number), line)  # noqa: B023 - called at once
            if last is not None:
                line = _ROOT.sub(b'"parentUuid":"%s"' % last, line)
            named = _OWN.search(line)
            own = named[1] if named else own
            yield line
        last = own


def _renamed(match: re.Match[bytes], number: int) -> bytes:
    return b'"%s":"%08x%s"' % (match[1], int(match[2], 16) ^ number, match[3])


def _made() -> Iterator[bytes]:
    """Yield a conversation of questions, tool calls, results and answers."""
    parent: str | None = None
    for number in count():
        call = f"toolu_{number:08d}"
        said: list[tuple[str, object]] = [
            ("user", f"Question {number}: " + "what is this? " * 30),
            ("assistant", [{"type": "tool_use", "id": call, "name": "Read", "input": {"path": f"file-{number}.txt"}}]),
            ("user", [{"type": "tool_result", "tool_use_id": call, "content": "a line of a file\n" * 100}]),
            ("assistant", [{"type": "text", "text": "This is an answer. " * 30}]),
        ]
        for step, (role, content) in enumerate(said):
            own = str(uuid.UUID(int=number * 4 + step, version=4))
            message: dict[str, object] = {"role": role, "content": content}
            if role == "assistant":
                message |= {"id": f"msg_{number}_{step}", "type": "message", "model": "none"}
            yield msgspec.json.encode(
                {
                    "parentUuid": parent,
                    "isSidechain": False,
                    "type": role,
                    "sessionId": SESSION,
                    "uuid": own,
                    "timestamp": f"2025-01-01T{number // 3600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d}.000Z",
                    "message": message,
                }
            )
            parent = own
