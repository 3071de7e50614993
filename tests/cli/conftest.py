"""The command line as a process, and within this one."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sessionlog.cli.app import cli

START = {"ts": 1_700_000_000_000}


@dataclass(frozen=True)
class Ran:
    """What a run left: exit status, standard output, standard error."""

    status: int
    stdout: str
    stderr: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Standard output as JSON lines, each an object."""
        objects = [json.loads(line) for line in self.stdout.splitlines()]
        assert all(isinstance(one, dict) for one in objects)
        return objects

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()

    def assert_refused(self, *words: str) -> None:
        """It ended with status 2 and one clear line on standard error."""
        assert self.status == 2, self
        self.assert_one_line(*words)

    def assert_one_line(self, *words: str) -> None:
        assert self.stderr.startswith("sessionlog: "), self
        assert self.stderr.count("\n") == 1, self
        assert "Traceback" not in self.stderr
        for word in words:
            assert word in self.stderr, (word, self)


class Cli:
    """Runs commands on one store: in this process, or (``process``) in one of their own."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.command = [sys.executable, "-m", "sessionlog", "--store", str(store)]
        self.preexec: Callable[[], None] | None = None

    def __call__(self, *args: str, stdin: str | bytes = "") -> Ran:
        """Run within this process."""
        result = CliRunner().invoke(cli, ["--store", str(self.store), *args], input=stdin, prog_name="sessionlog")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    def process(self, *args: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> Ran:
        """Run as a process."""
        ran = subprocess.run(
            [*self.command, *args],
            input=stdin,
            capture_output=True,
            env=env or environment(),
            preexec_fn=self.preexec,
            check=False,
        )
        return Ran(ran.returncode, ran.stdout.decode(), ran.stderr.decode())

    def start(self, *args: str) -> "subprocess.Popen[bytes]":
        """Start a process with pipes on all sides."""
        return subprocess.Popen(
            [*self.command, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )

    def append(self, session_id: str, *entries: dict[str, Any]) -> list[str]:
        """Append ``entries``, making the session if need be; return their hashes."""
        ran = self("append", session_id, "--create", stdin=json_lines(entries))
        assert ran.status == 0, ran
        return ran.lines

    def log(self, session_id: str) -> Path:
        """The file of a session."""
        return self.store / f"{session_id}.jsonl"


def environment(**more: str) -> dict[str, str]:
    """The environment of child processes: no colours, no store by accident, no pager that waits for a key."""
    kept = {name: value for name, value in os.environ.items() if name not in ("SESSIONLOG_STORE", "FORCE_COLOR")}
    return {**kept, "PAGER": "", **more}


def json_lines(objects: Iterable[object]) -> str:
    return "".join(json.dumps(one) + "\n" for one in objects)


def user(text: str) -> dict[str, Any]:
    """A user's message as an entry."""
    return {**START, "kind": "user_input", "item": message("user", text)}


def assistant(text: str, *calls: dict[str, Any]) -> dict[str, Any]:
    """An assistant's message and tool calls as an entry."""
    return {**START, "kind": "assistant_items", "items": [message("assistant", text), *calls]}


def message(role: str, text: str) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": [{"type": "text", "text": text}]}


def call(call_id: str) -> dict[str, Any]:
    return {"type": "tool_call", "call_id": call_id, "name": "Bash", "arguments": '{"command":"ls"}'}


@pytest.fixture(autouse=True)
def _no_store_by_accident(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SESSIONLOG_STORE", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def empty(tmp_path: Path) -> Cli:
    """The command line on a store that is not there yet."""
    return Cli(tmp_path / "store")


@pytest.fixture
def run(empty: Cli) -> Cli:
    """The command line on a store with two sessions: ``alpha-1`` with four records, ``alpha-2`` with two."""
    empty.append(
        "alpha-1", user("Fix the parser"), assistant("On it.", call("c1")), {"kind": "turn_end", "turn_count": 1}
    )
    empty.append("alpha-2", user("Another thing"))
    return empty
