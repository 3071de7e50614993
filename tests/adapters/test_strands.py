"""``SessionlogRepository``: what it promises beyond Strands' own tests, which pass even if updates do nothing."""

import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("strands", reason="needs Strands Agents: pip install 'sessionlog[strands]'")

from strands.types.exceptions import SessionException
from strands.types.session import Session, SessionAgent, SessionMessage, SessionType

from sessionlog import FileStore, MemoryStore
from sessionlog.adapters.strands import SessionlogRepository

TIMEOUT_S = 300  # a busy machine takes a minute to import a framework

KILLED = """
import os, signal, sys
from strands.types.session import Session, SessionAgent, SessionMessage, SessionType
from sessionlog.adapters.strands import SessionlogRepository

repository = SessionlogRepository(sys.argv[1])
repository.create_session(Session("s", SessionType.AGENT))
repository.create_agent("s", SessionAgent("a", {}, {}))
repository.create_message("s", "a", SessionMessage({"role": "user", "content": [{"text": "Launch!"}]}, 0))
os.kill(os.getpid(), signal.SIGKILL)
"""


def message(text: Any, id: int = 0) -> SessionMessage:
    return SessionMessage({"role": "user", "content": [{"text": text}]}, id)


def made(repository: SessionlogRepository) -> SessionlogRepository:
    repository.create_session(Session("s", SessionType.AGENT))
    repository.create_agent("s", SessionAgent("a", {"n": 1}, {}))
    return repository


def test_an_update_is_what_is_read_and_keeps_when_it_was_made(tmp_path: Path) -> None:
    """Messages and agents are replaced, for other repositories too; none is made by an update."""
    repository, other = made(SessionlogRepository(tmp_path)), SessionlogRepository(store=FileStore(tmp_path))
    first = message("a secret")
    repository.create_message("s", "a", first)
    redacted = SessionMessage(first.message, 0, {"role": "user", "content": [{"text": "[redacted]"}]}, "later")
    other.update_message("s", "a", redacted)
    read = repository.read_message("s", "a", 0)
    assert read is not None
    assert read.to_message() == {"role": "user", "content": [{"text": "[redacted]"}]}
    assert read.created_at == redacted.created_at == first.created_at
    repository.update_agent("s", SessionAgent("a", {"n": 2}, {}))
    agent = other.read_agent("s", "a")
    assert agent is not None
    assert agent.state == {"n": 2}
    for update in (
        lambda: repository.update_message("s", "a", message("none", 7)),
        lambda: repository.update_agent("s", SessionAgent("b", {}, {})),
        lambda: repository.create_message("s", "a", message("again", 0)),
        lambda: repository.create_session(Session("s", SessionType.AGENT)),
        lambda: repository.list_messages("s", "b"),
        lambda: repository.delete_session("none"),
    ):
        with pytest.raises(SessionException):
            update()


def test_what_was_stored_before_a_kill_is_there(tmp_path: Path) -> None:
    """A new process goes on with the session."""
    assert subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)]).wait(TIMEOUT_S) == -signal.SIGKILL
    repository = SessionlogRepository(tmp_path)
    repository.create_message("s", "a", message("What now?", 1))
    texts = [one.message["content"][0]["text"] for one in repository.list_messages("s", "a")]
    assert texts == ["Launch!", "What now?"]
    assert len(repository.list_messages("s", "a", limit=1, offset=1)) == 1


def test_threads_add_messages_and_a_number_is_given_once(tmp_path: Path) -> None:
    """Of several threads that add a message of one number, one succeeds, and the others are told."""
    repository = made(SessionlogRepository(tmp_path))
    refused: list[int] = []

    def add() -> None:
        for number in range(10):
            try:
                repository.create_message("s", "a", message(f"{number}", number))
            except SessionException:
                refused.append(number)

    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert [one.message_id for one in repository.list_messages("s", "a")] == list(range(10))
    assert len(refused) == 20


def test_hard_values_come_back_equal() -> None:
    """Bytes, and JSON that a log refuses, are given back as they were."""
    repository = made(SessionlogRepository(store=MemoryStore()))
    for number, value in enumerate([b"\x00\xff", "half \ud800 a pair", 2**70, {"json": "x"}, "é\u2028😀"]):
        repository.create_message("s", "a", message(value, number))
        read = repository.read_message("s", "a", number)
        assert read is not None
        assert read.message["content"][0]["text"] == value


def test_a_deleted_session_is_off_the_disk(tmp_path: Path) -> None:
    """After ``delete_session`` no file holds what was said; the id may be used again."""
    repository = made(SessionlogRepository(tmp_path))
    repository.create_message("s", "a", message("swordfish"))
    repository.delete_session("s")
    assert not any(b"swordfish" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert repository.read_session("s") is None
    made(repository)
