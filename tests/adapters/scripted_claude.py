"""A stand-in for the ``claude`` program that the Claude Agent SDK starts: scripted, without a network.

It speaks the SDK's protocol, keeps its transcript where the program does, and tells of each entry. It answers with the
number of entries that it went on from and the first thing that it was told; to ``Launch!``, with a tool call that ends
no turn.
"""

import json
import os
import re
import sys
import uuid
from pathlib import Path
from typing import Any

OPTIONS = dict(one[2:].split("=", 1) for one in sys.argv[1:] if one.startswith("--") and "=" in one)
SESSION_ID = OPTIONS.get("resume") or OPTIONS["session-id"]
PROJECT = re.sub("[^A-Za-z0-9]", "-", os.path.realpath(Path.cwd()))
TRANSCRIPT = Path(os.environ["CLAUDE_CONFIG_DIR"], "projects", PROJECT, f"{SESSION_ID}.jsonl")


def main() -> None:
    TRANSCRIPT.parent.mkdir(parents=True, exist_ok=True)
    for line in sys.stdin:
        match json.loads(line):
            case {"type": "control_request", "request_id": id}:
                tell(type="control_response", response={"subtype": "success", "request_id": id, "response": {}})
            case {"type": "user", "message": {"content": str(prompt)}}:
                run_turn(prompt)


def run_turn(prompt: str) -> None:
    before = [json.loads(line) for line in TRANSCRIPT.read_text().splitlines()] if TRANSCRIPT.exists() else []
    keep("user", {"role": "user", "content": prompt})
    if prompt == "Launch!":
        answer: dict[str, Any] = {"type": "tool_use", "id": "c1", "name": "launch", "input": {}}
    else:
        first = next((entry["message"]["content"] for entry in before), "nothing")
        answer = {"type": "text", "text": f"After {len(before)} entries; you began with {first!r}."}
    usage = {"input_tokens": 10, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 0, "output_tokens": 3}
    message = {"id": f"msg_{len(before)}", "role": "assistant", "model": "scripted", "content": [answer]}
    keep("assistant", {**message, "type": "message", "usage": usage})
    tell(type="assistant", message=message)
    if answer["type"] == "text":
        tell(
            type="result",
            subtype="success",
            session_id=SESSION_ID,
            is_error=False,
            num_turns=1,
            duration_ms=1,
            duration_api_ms=1,
            result=answer["text"],
        )


def keep(kind: str, message: dict[str, Any]) -> None:
    place = {"uuid": str(uuid.uuid4()), "sessionId": SESSION_ID, "cwd": str(Path.cwd())}
    entry = {"type": kind, **place, "timestamp": "2026-01-02T03:04:05.000Z", "message": message}
    with TRANSCRIPT.open("a") as file:
        file.write(json.dumps(entry) + "\n")
    tell(type="transcript_mirror", filePath=str(TRANSCRIPT), entries=[entry])


def tell(**frame: Any) -> None:
    print(json.dumps(frame), flush=True)


if __name__ == "__main__":
    main()
