"""``SessionlogSession``: what it promises beyond the SDK's own tests."""

import asyncio
import math
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("agents", reason="needs the OpenAI Agents SDK: pip install 'sessionlog[openai-agents]'")

from agents import Agent, Runner, function_tool, set_tracing_disabled
from agents.testing import ScriptedModel, assistant_message, function_call

from sessionlog import MemoryStore
from sessionlog.adapters.openai_agents import SessionlogSession

set_tracing_disabled(True)

TIMEOUT_S = 300  # a busy machine takes a minute to import a framework

KILLED_IN_A_TOOL = """
import asyncio, os, signal, sys
from agents import Agent, Runner, function_tool, set_tracing_disabled
from agents.testing import ScriptedModel, assistant_message, function_call
from sessionlog.adapters.openai_agents import SessionlogSession

set_tracing_disabled(True)

@function_tool
def launch() -> str:
    os.kill(os.getpid(), signal.SIGKILL)

model = ScriptedModel([[assistant_message("Hello.")], [function_call("launch", {}, call_id="c1")]])
agent = Agent(name="pilot", model=model, tools=[launch])

async def main():
    session = SessionlogSession("flight", sys.argv[1])
    await Runner.run(agent, "Hello!", session=session)
    await Runner.run(agent, "Launch!", session=session)

asyncio.run(main())
"""

ADDS = """
import asyncio, sys
from sessionlog.adapters.openai_agents import SessionlogSession

async def main():
    session = SessionlogSession("shared", sys.argv[1])
    for number in range(20):
        await session.add_items([{"role": "user", "content": f"{sys.argv[2]} {number}"}])

asyncio.run(main())
"""

POPS = """
import asyncio, sys
from sessionlog.adapters.openai_agents import SessionlogSession

async def main():
    session = SessionlogSession("shared", sys.argv[1])
    while (item := await session.pop_item()) is not None:
        print(item["content"])

asyncio.run(main())
"""


def says(content: str) -> Any:
    return {"role": "user", "content": content}


def start(program: str, *arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def test_a_run_that_was_killed_in_a_tool_goes_on_in_a_new_process(tmp_path: Path) -> None:
    """What the SDK had stored before the kill is there, and the next run's model is given it."""
    assert start(KILLED_IN_A_TOOL, tmp_path).wait(TIMEOUT_S) == -signal.SIGKILL

    @function_tool
    def launch() -> str:
        return "in orbit"

    model = ScriptedModel([[function_call("launch", {}, call_id="c2")], [assistant_message("We are in orbit.")]])
    agent = Agent(name="pilot", model=model, tools=[launch])

    async def go_on() -> tuple[list[Any], str, list[Any]]:
        session = SessionlogSession("flight", tmp_path)
        before = list(await session.get_items())
        result = await Runner.run(agent, "What now?", session=session)
        return before, result.final_output, list(await session.get_items())

    before, said, after = asyncio.run(go_on())
    assert [item.get("content") for item in before if item.get("role") == "user"] == ["Hello!", "Launch!"]
    assert "Hello." in str(before)
    assert said == "We are in orbit."
    assert after[: len(before)] == before
    assert [item.get("content") for item in model.calls[0].input if item.get("role") == "user"] == [
        "Hello!",
        "Launch!",
        "What now?",
    ]


def test_processes_add_to_one_session(tmp_path: Path) -> None:
    """Three processes add to one session: every item is in, once, and each process's are in its order."""
    for process in [start(ADDS, tmp_path, name) for name in "abc"]:
        assert process.wait(TIMEOUT_S) == 0
    items = asyncio.run(SessionlogSession("shared", tmp_path).get_items())
    said = [str(item["content"]) for item in items]
    assert len(said) == 60
    for name in "abc":
        assert [one for one in said if one.startswith(name)] == [f"{name} {number}" for number in range(20)]


def test_an_item_is_popped_once(tmp_path: Path) -> None:
    """Two processes and two threads pop until nothing is left: each item goes to one of them."""
    items = [says(str(number)) for number in range(60)]
    asyncio.run(SessionlogSession("shared", tmp_path).add_items(items))
    processes = [start(POPS, tmp_path) for _ in range(2)]
    popped: list[str] = []

    async def pop_all() -> None:
        session = SessionlogSession("shared", tmp_path)
        while (item := await session.pop_item()) is not None:
            popped.append(str(item["content"]))

    threads = [threading.Thread(target=asyncio.run, args=(pop_all(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    for process in processes:
        popped += process.communicate(timeout=TIMEOUT_S)[0].split()
    assert sorted(popped, key=int) == [str(number) for number in range(60)]


def deep(levels: int) -> Any:
    value: Any = "the bottom"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "content",
    ["half \ud800 a pair", deep(100), 2**70, {"json": "x"}, -math.inf, "\u0000", "é\u2028😀", 1.0, True, None],
)
def test_json_that_a_log_refuses_comes_back_equal(tmp_path: Path, content: Any) -> None:
    """An item is given back as it was, in this process and in a fold of the log from its start."""
    items: list[Any] = [{"role": "user", "content": content}, {"json": content}]

    async def keep(session: SessionlogSession) -> list[Any]:
        await session.add_items(items)
        return list(await session.get_items())

    assert repr(asyncio.run(keep(SessionlogSession("one", tmp_path)))) == repr(items)
    copied = tmp_path / "copy"
    copied.mkdir(mode=0o700)
    (copied / "one.jsonl").write_bytes((tmp_path / "one.jsonl").read_bytes())
    assert repr(asyncio.run(SessionlogSession("one", copied).get_items())) == repr(items)


def test_what_is_cleared_is_off_the_disk(tmp_path: Path) -> None:
    """After ``clear_session`` no file holds what was said, though another object had the session open; it goes on."""

    async def clear() -> list[Any]:
        session, other = SessionlogSession("a secret/1", tmp_path), SessionlogSession("a secret/1", tmp_path)
        await session.add_items([says("the launch code is 0000")])
        assert len(await other.get_items()) == 1
        assert any(b"launch code" in path.read_bytes() for path in tmp_path.rglob("*.jsonl"))
        await session.clear_session()
        await session.clear_session()
        assert await other.get_items() == []
        assert not any(b"launch code" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        await other.add_items([says("anew")])
        return list(await session.get_items())

    assert asyncio.run(clear()) == [says("anew")]


def test_a_caller_s_changes_stay_its_own() -> None:
    """What a caller does to an item, before or after, changes nothing in the session. Any store will do."""

    async def change() -> list[Any]:
        session = SessionlogSession("one", store=MemoryStore())
        item = {"role": "user", "content": [{"type": "input_text", "text": "as it was"}]}
        await session.add_items([item])  # type: ignore[list-item]
        item["content"][0]["text"] = "changed"  # type: ignore[index]
        (await session.get_items())[0]["content"][0]["text"] = "changed"  # type: ignore[typeddict-item, index]
        return list(await session.get_items())

    assert asyncio.run(change())[0]["content"][0]["text"] == "as it was"


def test_a_cancelled_call_ends_when_its_outcome_is_known(tmp_path: Path) -> None:
    """A cancelled ``add_items`` has added all of its items or none when the cancellation is raised."""

    async def cancel() -> None:
        session = SessionlogSession("one", tmp_path)
        for number in range(20):
            task = asyncio.create_task(session.add_items([says(f"{number} a"), says(f"{number} b")]))
            for _ in range(number % 4):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            found = [str(item["content"]) for item in await session.get_items()]
            assert [one[-1] for one in found] == ["a", "b"] * (len(found) // 2)
            assert await session.get_items() == await session.get_items()

    asyncio.run(cancel())


def test_either_a_directory_or_a_store() -> None:
    """Without a place to keep it, or with two, there is no session."""
    with pytest.raises(TypeError):
        SessionlogSession("one")
    with pytest.raises(TypeError):
        SessionlogSession("one", "logs", store=MemoryStore())
