"""The eventsourcing persistence module: what it promises beyond the library's own cases."""

import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

pytest.importorskip("eventsourcing", reason="needs the eventsourcing library: pip install 'sessionlog[eventsourcing]'")

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import InfrastructureFactoryError, IntegrityError, StoredEvent
from eventsourcing.utils import Environment

from sessionlog.adapters.eventsourcing import Factory, SessionlogApplicationRecorder

TIMEOUT_S = 300  # a busy machine takes a minute to import a framework

APPLICATION = """
import os, signal, sys
from uuid import UUID
from eventsourcing.persistence import IntegrityError, StoredEvent
from eventsourcing.utils import Environment
from sessionlog.adapters.eventsourcing import Factory

recorder = Factory(Environment("app", {"SESSIONLOG_STORE": sys.argv[1]})).application_recorder()
"""

KILLED = (
    APPLICATION
    + """
id = UUID(int=1)
for version in range(1, 6):
    recorder.insert_events([StoredEvent(id, version, "t", b"one"), StoredEvent(id, 100 + version, "t", b"two")])
    print(version, flush=True)
    if version == 4:
        import threading
        threading.Thread(target=lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
"""
)

RACES = (
    APPLICATION
    + """
won = 0
for version in range(1, 41):
    try:
        recorder.insert_events([StoredEvent(UUID(int=1), version, "t", sys.argv[2].encode())])
        won += 1
    except IntegrityError:
        pass
print(won)
"""
)


class Counter(Aggregate):
    def __init__(self) -> None:
        self.count = 0

    @event("Counted")
    def add(self) -> None:
        self.count += 1


def recorder(root: Path) -> SessionlogApplicationRecorder:
    made = Factory(Environment("app", {"SESSIONLOG_STORE": str(root)})).application_recorder()
    assert isinstance(made, SessionlogApplicationRecorder)
    return made


def start(program: str, *arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def test_a_process_that_was_killed_has_recorded_whole_calls(tmp_path: Path) -> None:
    """Every call that returned is in, whole; the next process goes on behind it."""
    with start(KILLED, tmp_path) as process:
        told = process.communicate(timeout=TIMEOUT_S)[0].split()
        assert process.returncode == -signal.SIGKILL
    assert len(told) >= 4
    found = recorder(tmp_path).select_events(UUID(int=1))
    assert len(found) in (2 * len(told), 2 * len(told) + 2)
    assert recorder(tmp_path).insert_events([StoredEvent(uuid4(), 1, "t", b"")]) == [len(found) + 1]


def test_of_two_processes_one_records_a_version(tmp_path: Path) -> None:
    """Two processes that record the same versions: each version is recorded once, the other gets IntegrityError."""
    processes = [start(RACES, tmp_path, name) for name in "ab"]
    won = [int(process.communicate(timeout=TIMEOUT_S)[0]) for process in processes]
    assert sum(won) == 40
    events = recorder(tmp_path).select_events(UUID(int=1))
    assert [one.originator_version for one in events] == list(range(1, 41))
    assert [sum(one.state == name for one in events) for name in (b"a", b"b")] == won


def test_a_subscription_gets_what_another_process_records(tmp_path: Path) -> None:
    """It begins before there is a log, and waits for events that another process records."""
    with recorder(tmp_path).subscribe() as subscription, start(RACES, tmp_path, "a") as process:
        got = [next(subscription) for _ in range(40)]
        process.communicate(timeout=TIMEOUT_S)
    assert [one.id for one in got] == list(range(1, 41))


def test_an_application_with_snapshots_in_two_threads(tmp_path: Path) -> None:
    """Threads that save one aggregate retry on IntegrityError, and no count is lost; snapshots have their own log."""
    environment = {"PERSISTENCE_MODULE": "sessionlog.adapters.eventsourcing", "SESSIONLOG_STORE": str(tmp_path)}

    class Counting(Application[UUID]):
        is_snapshotting_enabled = True

    first = Counting(env=environment)
    counter = Counter()
    first.save(counter)

    def count() -> None:
        application = Counting(env=environment)
        left = 20
        while left:
            mine: Counter = application.repository.get(counter.id)
            mine.add()
            try:
                application.save(mine)
            except IntegrityError:
                continue
            left -= 1

    threads = [threading.Thread(target=count) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    first.take_snapshot(counter.id)
    again: Counter = Counting(env=environment).repository.get(counter.id)
    assert again.count == 40
    assert sorted(path.name for path in tmp_path.glob("*.jsonl")) == ["Counting-snapshots.jsonl", "Counting.jsonl"]


@pytest.mark.parametrize("state", [b"", b'{"a": 1}', "é\u2028".encode(), b"\xff\x00 bytes", b"\xed\xa0\x80"])
def test_a_state_of_any_bytes_comes_back(tmp_path: Path, state: bytes) -> None:
    """Text stays text in the log, and any other bytes come back too, for ids that are UUIDs and for texts."""
    ids: list[Any] = [uuid4(), "an id of text"]
    recorder(tmp_path).insert_events([StoredEvent(id, 1, "topic", state) for id in ids])
    again = tmp_path / "again"
    again.mkdir(mode=0o700)
    (again / "app.jsonl").write_bytes((tmp_path / "app.jsonl").read_bytes())
    for id in ids:
        assert recorder(again).select_events(id) == [StoredEvent(id, 1, "topic", state)]


def test_without_a_directory_it_says_what_to_set() -> None:
    """The error names the variable of the environment."""
    with pytest.raises(InfrastructureFactoryError, match="SESSIONLOG_STORE"):
        Factory({})
