"""Codex rollouts and pi sessions as trees of loops: against an independent count, and cut anywhere."""

from collections import Counter
from pathlib import Path

import pytest
from foreign import contents, objects
from test_codex import SID as THREAD
from test_codex import Rollout
from test_pi import SID as PI_ID
from test_pi import Session as PiSession

from sessionlog import MemoryStore, SessionId
from sessionlog.importers import find_transcripts, import_file
from sessionlog.loops import (
    AssistantMessage,
    Branch,
    Compaction,
    LoopStatus,
    Session,
    StopReason,
    Text,
    Thinking,
    ToolCallContent,
    ToolExecutionStart,
    ToolResultMessage,
    Usage,
    UserMessage,
    load_session,
)

pytestmark = pytest.mark.anyio
PARTS = 10


def codex_expected(data: bytes) -> Counter[str]:
    """Count requests: what the model says up to its cost, an answer, or a message; and calls; and tokens."""
    count: Counter[str] = Counter()
    total, speaking = None, False
    for _, line in objects(data):
        payload = line["payload"]
        kind = payload.get("type", "")
        by_model = kind in ("reasoning", "function_call", "custom_tool_call") or payload.get("role") == "assistant"
        if kind == "token_count" and payload["info"] and payload["info"]["total_token_usage"] != total:
            total, last = payload["info"]["total_token_usage"], payload["info"]["last_token_usage"]
            count["in"] += last["input_tokens"] - last["cached_input_tokens"]
            count["read"] += last["cached_input_tokens"]
            count["out"] += last["output_tokens"]
            speaking = False
        elif line["type"] == "response_item":
            count["turns"] += by_model and not speaking
            count["calls"] += kind in ("function_call", "custom_tool_call")
            speaking = by_model
    return count


def pi_expected(data: bytes) -> Counter[str]:
    """Count the model's messages, their calls, and their tokens."""
    count: Counter[str] = Counter()
    for _, line in objects(data):
        message = line.get("message", {})
        if message.get("role") == "assistant":
            usage = message["usage"]
            calls = sum(block["type"] == "toolCall" for block in message["content"])
            count.update({"turns": 1, "calls": calls, "in": usage["input"], "out": usage["output"]})
            count.update({"read": usage["cacheRead"], "written": usage["cacheWrite"]})
    return count


EXPECTED = {"codex": codex_expected, "pi": pi_expected}


def counted(session: Session) -> Counter[str]:
    turns = [turn for loop in session.loops for turn in loop.turns]
    usage = sum((turn.usage for turn in turns), Usage())
    calls = sum(isinstance(one.event, ToolExecutionStart) for loop in session.loops for one in loop.events)
    tokens = {"in": usage.input, "out": usage.output, "read": usage.cache_read, "written": usage.cache_write}
    return Counter({"turns": len(turns), "calls": calls, **tokens})


@pytest.mark.parametrize("name", ["codex", "pi"])
async def test_totals_are_those_of_every_real_file(shared: Path, name: str) -> None:
    """Turns, tool calls and tokens; ended loops agree with their turns, and a second import adds nothing."""
    paths = await find_transcripts([shared / "data" / name])
    assert len(paths) >= 3
    for path in paths:
        store = MemoryStore()
        report = await import_file(store, path)
        total: Counter[str] = Counter()
        for one in report.sessions:
            session = await load_session(store, one.session_id)
            assert session.agent_id in (name, session.session_id)
            total += counted(session)
            for loop in session.loops:
                if loop.status is LoopStatus.COMPLETED:
                    assert loop.usage == sum((turn.usage for turn in loop.turns), Usage())
                    assert loop.messages == [message for turn in loop.turns for message in turn.all_messages]
        assert total == EXPECTED[name](path.read_bytes()), path.name
        assert (await import_file(store, path)).unchanged


@pytest.mark.parametrize("name", ["codex", "pi"])
async def test_ten_parts_give_the_records_of_the_whole(shared: Path, tmp_path: Path, name: str) -> None:
    for source in await find_transcripts([shared / "data" / name]):
        data, path = source.read_bytes(), tmp_path / source.name
        path.write_bytes(data)
        once, followed = MemoryStore(), MemoryStore()
        await import_file(once, path)
        for part in range(1, PARTS + 1):
            path.write_bytes(data[: len(data) * part // PARTS])
            await import_file(followed, path, growing=True)
        await import_file(followed, path)
        assert await contents(followed) == await contents(once), source.name


async def test_a_rollout_in_turns(tmp_path: Path) -> None:
    """The call's arguments are read; a turn that was stopped ends; a rollback is a branch, a compaction a loop."""
    made = Rollout(model_provider="openai", cli_version="0.118.0")
    made.turn("a", "1")
    made.turn("b", "", aborted=True)
    made.says("user", "<turn_aborted>\nstopped\n</turn_aborted>")
    made.event("thread_rolled_back", num_turns=1)
    made.turn("c", "2")
    made.add("compacted", {"message": "short"})
    made.turn("d", "3")
    store = MemoryStore()
    report = await import_file(store, made.write(tmp_path))
    main = await load_session(store, SessionId(THREAD))
    first, second = main.loops
    assert first.status is second.status is LoopStatus.COMPLETED
    assert first.metadata == {"cwd": "/srv/app", "cli_version": "0.118.0"}
    said = first.turns[0].output_message
    assert isinstance(said, AssistantMessage)
    assert (said.model, said.provider, said.stop_reason) == ("model-a", "openai", StopReason.TOOL_USE)
    assert said.content[:2] == [Thinking("hm", "sealed"), ToolCallContent("call a", "exec", {"cmd": "ls"})]
    [answer] = first.turns[0].tool_results
    assert isinstance(answer, ToolResultMessage)
    assert answer.tool_name == "exec"
    stopped = second.turns[-1].output_message
    assert isinstance(stopped, AssistantMessage)
    assert stopped.stop_reason is StopReason.USER_STOP
    fork, compacted = [await load_session(store, one.session_id) for one in report.sessions[1:]]
    assert isinstance(fork.loops[0].continuation_kind, Branch)
    assert isinstance(compacted.loops[0].continuation_kind, Compaction)
    asked = [one.content for one in compacted.loops[1].turns[0].input_messages if isinstance(one, UserMessage)]
    assert asked == [[Text("short")], [Text("d")]]


async def test_a_pi_session_in_turns(tmp_path: Path) -> None:
    made = PiSession()
    asked = made.user("a")
    said = made.says("1", "c1", stop="toolUse")
    made.says("2", stop="aborted")
    made.user("b", parent=said)
    made.says("3")
    store = MemoryStore()
    report = await import_file(store, made.write(tmp_path))
    main, fork = [await load_session(store, one.session_id) for one in report.sessions]
    assert (main.session_id, main.loops[0].metadata) == (PI_ID, {"cwd": "/srv/app"})
    one, two = main.loops[0].turns
    assert [message.node_id for message in one.input_messages if isinstance(message, UserMessage)] == [asked]
    assert isinstance(one.output_message, AssistantMessage)
    assert one.output_message.content == [Text("1"), ToolCallContent("c1", "bash", {"n": 1})]
    assert one.usage == Usage(input=3, output=5, cache_read=20, cache_write=100)
    assert isinstance(two.output_message, AssistantMessage)
    assert two.output_message.stop_reason is StopReason.USER_STOP
    assert isinstance(fork.loops[0].continuation_kind, Branch)
    assert fork.loops[0].parent_loop_id == main.loops[0].loop_id
