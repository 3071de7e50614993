"""``SessionlogConversationStore``: what it promises beyond the calls that its histories compare."""

import asyncio
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pydantic_ai", reason="needs Pydantic AI: pip install 'sessionlog[pydantic-ai]'")

from pydantic_ai import Agent
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import ConversationConflict, ConversationRecord
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel

from sessionlog import FileStore, MemoryStore, blocking
from sessionlog.adapters.pydantic_ai import SessionlogConversationStore
from sessionlog.queries import session_stats

TIMEOUT_S = 300  # a busy machine takes a minute to import a framework

KILLED_IN_A_TOOL = """
import asyncio, os, signal, sys
from pydantic_ai import Agent
from pydantic_ai.conversation import Conversation
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import FunctionModel
from sessionlog.adapters.pydantic_ai import SessionlogConversationStore

def answer(messages, info):
    return ModelResponse([ToolCallPart("launch", {})] if "Launch" in str(messages[-1]) else [TextPart("Hello.")])

agent = Agent(FunctionModel(answer))

@agent.tool_plain
def launch() -> str:
    os.kill(os.getpid(), signal.SIGKILL)

async def main():
    store = SessionlogConversationStore(sys.argv[1])
    result = await agent.run("Hello!", conversation=Conversation(conversation_id="flight"))
    await store.save(result)
    await agent.run("Launch!", conversation=await store.load("flight"))

asyncio.run(main())
"""

SAVES = """
import asyncio, sys
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import ConversationConflict
from pydantic_ai.messages import ModelRequest, UserPromptPart
from sessionlog.adapters.pydantic_ai import SessionlogConversationStore

async def main():
    store = SessionlogConversationStore(sys.argv[1])
    for number in range(20):
        while True:
            conversation = await store.load("shared") or Conversation(conversation_id="shared")
            conversation.messages.append(ModelRequest([UserPromptPart(f"{sys.argv[2]} {number}")]))
            try:
                await store.save(conversation)
            except ConversationConflict:
                continue
            break

asyncio.run(main())
"""


def start(program: str, *arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def says(*contents: Any) -> list[ModelMessage]:
    return [ModelRequest([UserPromptPart(content)]) for content in contents]


def contents(messages: list[ModelMessage]) -> list[Any]:
    return [part.content for message in messages for part in message.parts if isinstance(part, UserPromptPart)]


def disk(root: Path) -> bytes:
    return b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())


async def load(store: SessionlogConversationStore, conversation_id: str) -> Conversation:
    conversation = await store.load(conversation_id)
    assert conversation is not None
    return conversation


def test_a_run_that_was_killed_in_a_tool_goes_on_in_a_new_process(tmp_path: Path) -> None:
    """What was saved before the kill is there with its usage, and the next run's model is given it."""
    assert start(KILLED_IN_A_TOOL, tmp_path).wait(TIMEOUT_S) == -signal.SIGKILL
    given: list[list[ModelMessage]] = []

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        given.append(list(messages))
        called = any(isinstance(part, ToolReturnPart) for message in messages for part in message.parts)
        return ModelResponse([TextPart("We are in orbit.") if called else ToolCallPart("launch", {})])

    agent = Agent(FunctionModel(answer))

    @agent.tool_plain
    def launch() -> str:
        return "in orbit"

    async def go_on() -> tuple[Conversation, str, Conversation]:
        store = SessionlogConversationStore(tmp_path)
        before = await load(store, "flight")
        result = await agent.run("Launch!", conversation=before)
        await store.save(result)
        return before, result.output, await load(SessionlogConversationStore(tmp_path), "flight")

    before, said, after = asyncio.run(go_on())
    assert contents(before.messages) == ["Hello!"]
    assert said == "We are in orbit."
    assert contents(given[0]) == ["Hello!", "Launch!"]
    assert after.messages[: len(before.messages)] == before.messages
    assert after.usage.requests == 3
    assert after.usage.tool_calls == 1

    async def count() -> Any:
        async with FileStore(tmp_path) as store:
            return (await session_stats(store, "flight")).stats

    stats = asyncio.run(count())
    assert (stats.turns, stats.tools["launch"].calls, stats.dangling_calls) == (2, 1, 0)
    assert sum(one.requests for one in stats.models.values()) == 3
    assert sum(one.output for one in stats.models.values()) == after.usage.output_tokens


def test_processes_save_one_conversation(tmp_path: Path) -> None:
    """Of three processes that save at once, one is in and the others are told: every message is in, once, in order."""
    for process in [start(SAVES, tmp_path, name) for name in "abc"]:
        assert process.wait(TIMEOUT_S) == 0
    conversation = asyncio.run(load(SessionlogConversationStore(tmp_path), "shared"))
    said = contents(conversation.messages)
    assert len(said) == 60
    for name in "abc":
        assert [one for one in said if one.startswith(name)] == [f"{name} {number}" for number in range(20)]


def test_threads_share_a_store(tmp_path: Path) -> None:
    """A store may be used from several threads, each with an event loop of its own."""
    store = SessionlogConversationStore(tmp_path)

    async def talk(name: str) -> None:
        for number in range(5):
            conversation = await store.load(name) or Conversation(conversation_id=name)
            conversation.messages += says(f"{name} {number}")
            await store.save(conversation)

    threads = [threading.Thread(target=lambda one=name: asyncio.run(talk(one))) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    for name in "abcd":
        assert contents(asyncio.run(load(store, name)).messages) == [f"{name} {number}" for number in range(5)]
    assert {one.conversation_id for one in asyncio.run(store.list_conversations())} == set("abcd")


def deep(levels: int) -> Any:
    value: Any = "the bottom"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("content", ["half \ud800 a pair", deep(100), 2**70, {"json": "x"}, "\u0000", "é\u2028😀", 1.0])
def test_json_that_a_log_refuses_comes_back_equal(tmp_path: Path, content: Any) -> None:
    """A message is given back as it was, in this process and in a fold of the log from its start."""
    messages: list[ModelMessage] = [
        ModelResponse([ToolCallPart("tool", {"value": content})]),
        ModelRequest([ToolReturnPart("tool", content, "c1", metadata={"value": content})]),
    ]

    async def keep(root: Path) -> Conversation:
        store = SessionlogConversationStore(root)
        await store.save(Conversation(conversation_id="one", messages=messages))
        return await load(store, "one")

    assert asyncio.run(keep(tmp_path)).messages == messages
    copied = tmp_path / "copy"
    copied.mkdir(mode=0o700)
    (copied / "one.jsonl").write_bytes((tmp_path / "one.jsonl").read_bytes())
    assert asyncio.run(load(SessionlogConversationStore(copied), "one")).messages == messages


def test_what_is_deleted_is_off_the_disk(tmp_path: Path) -> None:
    """After ``delete`` no file holds what was said, though another object had read it, but for what a fork has."""

    async def delete() -> None:
        store, other = SessionlogConversationStore(tmp_path), SessionlogConversationStore(tmp_path)
        messages = says("shared with the fork", "the launch code is 0000")
        await store.save(Conversation(conversation_id="a secret/1", messages=messages))
        await other.fork("a secret/1", at=1, new_conversation_id="fork")
        assert b"launch code" in disk(tmp_path)
        await other.delete("a secret/1")
        await other.delete("a secret/1")
        assert await store.load("a secret/1") is None
        assert b"launch code" not in disk(tmp_path)
        assert contents((await load(store, "fork")).messages) == ["shared with the fork"]
        await store.save(Conversation(conversation_id="a secret/1", messages=says("anew")))
        assert contents((await load(other, "a secret/1")).messages) == ["anew"]

    asyncio.run(delete())


def test_a_deletion_spares_what_was_saved_meanwhile(tmp_path: Path) -> None:
    """A conversation that was saved or made anew since it was read is not deleted."""

    async def delete() -> None:
        store = SessionlogConversationStore(tmp_path)
        conversation = Conversation(conversation_id="one", messages=says("first"))
        await store.save(conversation)
        read = await store.read_record("one")
        assert read is not None
        conversation.messages += says("second")
        await store.save(conversation)
        for id in ("one", "none"):
            with pytest.raises(ConversationConflict):
                await store.delete_record(id, expected_revision=read.revision)
        assert contents((await load(store, "one")).messages) == ["first", "second"]

    asyncio.run(delete())


def test_a_history_that_is_nowhere_is_refused() -> None:
    """A record whose history no conversation holds conflicts, and nothing is written. Any store will do."""

    async def write() -> None:
        store = SessionlogConversationStore(store=MemoryStore())
        with pytest.raises(ConversationConflict):
            await store.write_record(ConversationRecord(conversation_id="one", head_id="gone"), expected_revision=None)
        assert await store.list_conversations() == []
        with pytest.raises(KeyError):
            await store.read_entry("gone")

    asyncio.run(write())


def test_a_caller_s_changes_stay_its_own() -> None:
    """What a caller does to a message, before or after, changes nothing in the store."""

    async def change() -> Any:
        store = SessionlogConversationStore(store=MemoryStore())
        args = {"list": ["as it was"]}
        await store.save(Conversation(conversation_id="one", messages=[ModelResponse([ToolCallPart("tool", args)])]))
        args["list"][0] = "changed"
        (await load(store, "one")).messages[0].parts[0].args["list"][0] = "changed"  # type: ignore[union-attr, index]
        return (await load(store, "one")).messages[0].parts[0].args  # type: ignore[union-attr]

    assert asyncio.run(change()) == {"list": ["as it was"]}


def test_a_cancelled_save_is_in_or_out(tmp_path: Path) -> None:
    """When the cancellation of a save is raised, all of it is in the store or nothing."""

    async def cancel() -> None:
        store = SessionlogConversationStore(tmp_path)
        for number in range(12):
            conversation = await store.load("one") or Conversation(conversation_id="one")
            conversation.messages += says(f"{number} a", f"{number} b")
            task = asyncio.create_task(store.save(conversation))
            for _ in range(number % 6):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            found = await store.load("one")
            said = [] if found is None else contents(found.messages)
            assert [one[-1] for one in said] == ["a", "b"] * (len(said) // 2)

    asyncio.run(cancel())


def test_an_object_remembers_a_bounded_number_of_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries of which an object does not know the conversation any more are found all the same."""
    monkeypatch.setattr("sessionlog.adapters.pydantic_ai.HOMES_MAX", 1)

    async def read() -> None:
        store = SessionlogConversationStore(store=MemoryStore())
        entries = [
            await store.save(Conversation(conversation_id=id, messages=says(f"in {id}", "more")))
            for id in ("one", "two")
        ]
        for first, second in entries:
            assert await store.read_entry(first.id) == first
            assert await store.read_history(second.id) == [first, second]

    asyncio.run(read())


def test_either_a_directory_or_a_store(tmp_path: Path) -> None:
    """Without a place to keep them, or with two, there is no store; one of ``blocking`` can be shared."""
    with pytest.raises(TypeError):
        SessionlogConversationStore()
    with pytest.raises(TypeError):
        SessionlogConversationStore("logs", store=MemoryStore())
    with blocking.open_store(tmp_path) as shared:
        store = SessionlogConversationStore(store=shared.asynchronous)
        asyncio.run(store.save(Conversation(conversation_id="one", messages=says("hello"))))
        assert shared.list_sessions() == ["one"]
