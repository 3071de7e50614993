"""``SessionlogSaver``: what it promises beyond LangGraph's conformance suite."""

import asyncio
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langgraph.graph", reason="needs LangGraph: pip install 'sessionlog[langgraph]'")

from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage
from langgraph.checkpoint.base import CheckpointTuple, empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from sessionlog import MemoryStore
from sessionlog.adapters.langgraph import SessionlogSaver

THREAD: Any = {"configurable": {"thread_id": "t"}}

TIMEOUT_S = 300  # a busy machine takes a minute to import a framework

KILLED_IN_A_NODE = """
import os, signal, sys
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from sessionlog.adapters.langgraph import SessionlogSaver

def think(state): return {"messages": [AIMessage("I thought.", id="thought")]}
def act(state): os.kill(os.getpid(), signal.SIGKILL)

builder = StateGraph(MessagesState)
builder.add_node("think", think)
builder.add_node("act", act)
builder.add_edge(START, "think")
builder.add_edge("think", "act")
graph = builder.compile(checkpointer=SessionlogSaver(sys.argv[1]))
graph.invoke({"messages": [("user", "Go.")]}, {"configurable": {"thread_id": "t"}}, durability="sync")
"""

PUTS = """
import sys
from langgraph.checkpoint.base import empty_checkpoint
from sessionlog.adapters.langgraph import SessionlogSaver

saver = SessionlogSaver(sys.argv[1])
config = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
for number in range(15):
    config = saver.put(config, empty_checkpoint(), {"source": "loop", "step": number, "run_id": sys.argv[2]}, {})
    saver.put_writes(config, [("messages", f"{sys.argv[2]} {number}")], sys.argv[2])
"""


def act(_: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage("Done.")]}


def think(_: MessagesState) -> dict[str, Any]:
    raise AssertionError("was done before the kill")


def ask(_: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage(f"You said {interrupt('Well?')}.")]}


def graph_of(saver: Any, *nodes: Any) -> Any:
    builder = StateGraph(MessagesState)
    for before, node in zip((None, *nodes), nodes, strict=False):
        builder.add_node(node.__name__, node)
        builder.add_edge(START if before is None else before.__name__, node.__name__)
    return builder.compile(checkpointer=saver)


def start(program: str, *arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)], text=True)


def test_a_graph_that_was_killed_in_a_node_goes_on_in_a_new_process(tmp_path: Path) -> None:
    """The nodes that were done before the kill are not run again, and the killed one is."""
    with start(KILLED_IN_A_NODE, tmp_path) as process:
        assert process.wait(TIMEOUT_S) == -signal.SIGKILL
    graph = graph_of(SessionlogSaver(tmp_path), think, act)
    assert graph.get_state(THREAD).next == ("act",)
    said = [message.content for message in graph.invoke(None, THREAD)["messages"]]
    assert said == ["Go.", "I thought.", "Done."]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_a_graph_is_interrupted_resumed_and_forked(tmp_path: Path, durability: str) -> None:
    """A real graph waits for an answer, goes on with a new saver, and takes another branch from where it waited."""
    graph = graph_of(SessionlogSaver(tmp_path), ask)
    assert "__interrupt__" in graph.invoke({"messages": [("user", "Hi.")]}, THREAD, durability=durability)
    graph = graph_of(SessionlogSaver(tmp_path), ask)
    said = graph.invoke(Command(resume="yes"), THREAD, durability=durability)
    assert said["messages"][-1].content == "You said yes."
    asked = next(one for one in graph.get_state_history(THREAD) if one.next)
    fork = graph.update_state(asked.config, {"messages": [("user", "Wait.")]})
    graph.invoke(None, fork)
    said = graph.invoke(Command(resume="no"), fork)
    assert [message.content for message in said["messages"]] == ["Hi.", "Wait.", "You said no."]


def test_a_graph_runs_asynchronously_on_several_loops(tmp_path: Path) -> None:
    """One graph, run with ``ainvoke`` on an event loop in each of several threads, keeps each thread's messages."""
    graph = graph_of(SessionlogSaver(tmp_path), act)

    def run(number: int) -> list[str]:
        config: Any = {"configurable": {"thread_id": f"t{number}"}}
        said = asyncio.run(graph.ainvoke({"messages": [("user", f"Hi {number}.")]}, config))
        return [message.content for message in said["messages"]]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, range(8))) == [[f"Hi {number}.", "Done."] for number in range(8)]
    assert len({one.config["configurable"]["thread_id"] for one in SessionlogSaver(tmp_path).list(None)}) == 8


def test_processes_put_to_one_thread(tmp_path: Path) -> None:
    """Two processes put checkpoints and writes to one thread: all are in, each process's chained to its own."""
    processes = [start(PUTS, tmp_path, name) for name in "ab"]
    assert [process.wait(TIMEOUT_S) for process in processes] == [0, 0]
    found = list(SessionlogSaver(tmp_path).list(THREAD))
    assert len(found) == 30
    for name in "ab":
        mine = [one for one in reversed(found) if one.metadata["run_id"] == name]
        assert [one.pending_writes for one in mine] == [[(name, "messages", f"{name} {n}")] for n in range(15)]
        parents = [one.parent_config and one.parent_config["configurable"]["checkpoint_id"] for one in mine]
        assert parents == [None, *(one.checkpoint["id"] for one in mine[:-1])]


def test_what_is_deleted_is_off_the_disk(tmp_path: Path) -> None:
    """After ``delete_thread`` no file holds the thread's content; it can begin anew, whatever its id."""
    saver, other = SessionlogSaver(tmp_path), SessionlogSaver(tmp_path)
    config: Any = {"configurable": {"thread_id": "user/1: ü", "checkpoint_ns": "a|b"}}
    saver.put(config, empty_checkpoint(), {"source": "input", "step": -1}, {})
    assert other.get_tuple(config) is not None
    assert len(list(tmp_path.glob("*.jsonl"))) == 1
    saver.delete_thread("user/1: ü")
    assert other.get_tuple(config) is None
    assert not any(b"checkpoint" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    other.put(config, empty_checkpoint(), {"source": "input", "step": -1}, {})
    assert len(list(saver.list(None))) == 1


def test_a_log_grows_with_what_is_said(tmp_path: Path) -> None:
    """Of messages that a thread holds already, no record holds a second copy; a fold from the start has them all."""
    graph = graph_of(SessionlogSaver(tmp_path), act)
    for number in range(40):
        graph.invoke({"messages": [("user", f"{number} " + "x" * 2000)]}, THREAD)
    (log,) = tmp_path.glob("*.jsonl")
    assert log.stat().st_size < 40 * 3 * 8000  # 40 turns: 4 MB if each of their records held all messages
    copy = tmp_path / "copy"
    copy.mkdir(mode=0o700)
    (copy / "t.jsonl").write_bytes(log.read_bytes())
    again = graph_of(SessionlogSaver(copy), act)
    assert again.get_state(THREAD) == graph.get_state(THREAD)
    assert len(again.get_state(THREAD).values["messages"]) == 80


def test_an_encrypted_thread_shows_nothing(tmp_path: Path) -> None:
    """With a serializer that encrypts, no record holds a value in the clear, and the graph goes on."""
    serde = pytest.importorskip("langgraph.checkpoint.serde.encrypted").EncryptedSerializer

    class Reversed:
        def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
            return "reversed", plaintext[::-1]

        def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
            assert ciphername == "reversed"
            return ciphertext[::-1]

    graph = graph_of(SessionlogSaver(tmp_path, serde(Reversed())), act)
    for _ in range(3):
        graph.invoke({"messages": [("user", "the launch code")]}, THREAD)
    assert len(graph.get_state(THREAD).values["messages"]) == 6
    done = subprocess.run(
        [sys.executable, "-m", "sessionlog", "--store", tmp_path, "log", "t", "--full"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "launch" not in done.stdout


NAMES = st.sampled_from(["a", "b"])
VALUES = st.lists(st.integers(0, 3) | st.text("xy", max_size=2), max_size=4) | st.none() | st.text("xy", max_size=3)
STEPS = st.lists(
    st.tuples(st.just("put"), NAMES, st.integers(0, 5), st.dictionaries(NAMES, VALUES))
    | st.tuples(st.just("grow"), NAMES, st.integers(0, 5), st.lists(st.integers(0, 9), max_size=3))
    | st.tuples(st.just("writes"), NAMES, st.integers(0, 5), st.lists(st.tuples(NAMES, VALUES), max_size=3))
    | st.tuples(st.just("special"), NAMES, st.integers(0, 5), VALUES),
    max_size=12,
)


@given(STEPS)
@settings(max_examples=60)
def test_random_histories_are_those_of_the_in_memory_saver(steps: list[Any]) -> None:
    """After any puts and writes, of any parent and in any namespace, both savers list and get the same."""
    ours, theirs = SessionlogSaver(store=MemoryStore()), InMemorySaver()
    put: dict[str, list[Any]] = {"a": [], "b": []}
    values: dict[str, list[dict[str, Any]]] = {"a": [], "b": []}
    for version, (step, ns, place, what) in enumerate(steps):
        config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ns}}
        parent = put[ns][place % len(put[ns])] if put[ns] else None
        if step in ("writes", "special"):
            if parent is not None:
                writes = what if step == "writes" else [("__interrupt__", what)]
                for saver in (ours, theirs):
                    saver.put_writes(parent, writes, f"task{place % 2}", "path")
            continue
        checkpoint = empty_checkpoint()
        before = values[ns][place % len(put[ns])] if parent else {}
        if step == "grow":
            kept = before.get("a")
            what = {"a": [*(kept if isinstance(kept, list) else []), *what]}
        now = {**before, **what}
        versions = {name: f"{version:08}.{name}" for name in what}
        old = {} if parent is None else dict(ours.get_tuple(parent).checkpoint["channel_versions"])  # type: ignore[union-attr]
        checkpoint["channel_values"] = now
        checkpoint["channel_versions"] = {**old, **versions}
        given_to: Any = (parent or config, checkpoint, {"source": "loop", "step": version}, versions)
        made = ours.put(*given_to)
        assert theirs.put(*given_to) == made
        put[ns].append(made)
        values[ns].append(now)
    assert listed(ours) == listed(theirs)
    for made in (one for ns in put.values() for one in ns):
        assert plain(ours.get_tuple(made)) == plain(theirs.get_tuple(made))


def plain(one: CheckpointTuple | None) -> Any:
    assert one is not None
    return one.config, one.checkpoint, one.metadata, one.parent_config, one.pending_writes


def listed(saver: Any) -> list[Any]:
    return sorted((plain(one) for one in saver.list(THREAD)), key=lambda one: one[1]["id"])
