"""Imported sessions as trees of loops: against an independent count, cut anywhere, and each field that a file fills."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from foreign import SID, Transcript, check_store, contents, objects

from sessionlog import AgentEventEntry, MemoryStore, SessionId
from sessionlog.importers.claude_code import find_transcripts, import_file, import_paths
from sessionlog.loops import (
    AgentEnd,
    AssistantMessage,
    Branch,
    Compaction,
    CompactionStarted,
    Default,
    Initial,
    LoopRecord,
    LoopStatus,
    Rerun,
    Session,
    SessionScope,
    StopReason,
    Text,
    Thinking,
    ToolCallContent,
    ToolExecutionEnd,
    ToolExecutionStart,
    ToolResultMessage,
    TurnTrigger,
    Usage,
    UserMessage,
    load_session,
)

pytestmark = pytest.mark.anyio
PARTS = 10
ENDS = {"type": "system", "subtype": "turn_duration", "durationMs": 1}


def expected(data: bytes) -> Counter[str]:
    """Count what the file says: API messages, tool calls and tokens, each once."""
    usage: dict[str, dict[str, int]] = {}
    calls: set[str] = set()
    for _, line in objects(data):
        if line["type"] == "assistant":
            usage[line["message"]["id"]] = line["message"]["usage"]
            calls |= {block["id"] for block in line["message"]["content"] if block["type"] == "tool_use"}
    names = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    tokens = Counter({name: sum(one.get(name) or 0 for one in usage.values()) for name in names})
    return tokens + Counter(turns=len(usage), calls=len(calls))


def counted(session: Session) -> Counter[str]:
    turns = [turn for loop in session.loops for turn in loop.turns]
    usage = sum((turn.usage for turn in turns), Usage())
    return Counter(
        turns=len(turns),
        calls=sum(isinstance(one.event, ToolExecutionStart) for loop in session.loops for one in loop.events),
        input_tokens=usage.input,
        output_tokens=usage.output,
        cache_read_input_tokens=usage.cache_read,
        cache_creation_input_tokens=usage.cache_write,
    )


async def test_totals_are_those_of_every_real_transcript(shared: Path) -> None:
    """Turns, tool calls and tokens, of sub-agents too; ended loops and the messages that they repeat agree."""
    paths = await find_transcripts([shared / "data" / "claude-code"])
    assert len(paths) > 8
    for path in paths:
        store = MemoryStore()
        report = await import_file(store, path)
        total: Counter[str] = Counter()
        for one in report.sessions:
            session = await load_session(store, one.session_id)
            total += counted(session)
            for loop in session.loops:
                turns = sum((turn.usage for turn in loop.turns), Usage())
                assert loop.status in (LoopStatus.RUNNING, LoopStatus.COMPLETED)
                if loop.status is LoopStatus.COMPLETED:
                    assert loop.usage == turns
                    assert loop.messages == [message for turn in loop.turns for message in turn.all_messages]
        assert total == expected(path.read_bytes()), path.name


async def test_ten_parts_give_the_records_of_the_whole(shared: Path, tmp_path: Path) -> None:
    """A file that is followed while it is written; one that looked finished ten times has the same totals."""
    for source in await find_transcripts([shared / "data" / "claude-code"]):
        data, path = source.read_bytes(), tmp_path / source.name
        path.write_bytes(data)
        once, followed, finished = MemoryStore(), MemoryStore(), MemoryStore()
        report = await import_file(once, path)
        for part in range(1, PARTS + 1):
            path.write_bytes(data[: len(data) * part // PARTS])
            await import_file(followed, path, growing=True)
            report = await import_file(finished, path, growing=False)
        await import_file(followed, path)
        assert await contents(followed) == await contents(once), source.name
        trees = [await load_session(finished, one.session_id) for one in report.sessions]
        total = sum((counted(tree) for tree in trees), Counter[str]())
        wanted = expected(data)
        assert (total["turns"], total["calls"]) == (wanted["turns"], wanted["calls"])
        assert (await import_file(finished, path)).unchanged


async def imported(script: Transcript, folder: Path, **options: Any) -> tuple[MemoryStore, list[Session]]:
    """Import and return the trees of the file's sessions; the import is found to be idempotent."""
    store = MemoryStore()
    path = script.write(folder)
    report = await import_file(store, path, **options)
    await check_store(store)
    assert (await import_file(store, path, **options)).unchanged
    return store, [await load_session(store, one.session_id) for one in report.sessions]


def kinds(session: Session) -> list[tuple[Any, ...]]:
    return [(loop.continuation_kind, loop.parent_loop_id, loop.turn_count, loop.status) for loop in session.loops]


async def test_a_loop_has_what_the_lines_say(tmp_path: Path) -> None:
    """Who acts, where, with which model; turns with input, output, results, usage and times; ids of the lines."""
    script = Transcript()
    asked = script.user("go", cwd="/somewhere", gitBranch="main", version="2.0")
    script.user("a reminder", isMeta=True)
    first = script.assistant({"type": "thinking", "thinking": "hm", "signature": "s"}, mid="m1", out=1)
    script.calls("c1", "m1", out=9)
    answered = script.result("c1", "text", structured={"stdout": "all"})
    script.says("done", "m2")
    script.user("thanks")
    store, [session] = await imported(script, tmp_path)
    loop_id = f"{SID}.main.0"
    assert (session.agent_id, session.scope) == ("claude-code", SessionScope.EPHEMERAL)
    assert kinds(session) == [
        (Initial(), None, 2, LoopStatus.COMPLETED),
        (Default(), loop_id, 0, LoopStatus.RUNNING),
    ]
    loop = session.loops[0]
    assert loop.metadata == {"cwd": "/somewhere", "gitBranch": "main", "version": "2.0"}
    assert loop.config is not None
    assert (loop.config.model, loop.config.provider, loop.config.config_id) == ("model-a", "anthropic", "main")
    assert loop.usage == Usage(input=6, output=14, cache_read=40, cache_write=200)
    one, two = loop.turns
    assert (one.triggered_by, two.triggered_by) == (TurnTrigger.USER, TurnTrigger.CONTINUATION)
    assert [(turn.started_at.second, turn.ended_at.second) for turn in loop.turns] == [(2, 5), (5, 6)]
    user, reminder = one.input_messages
    assert isinstance(user, UserMessage)
    assert isinstance(reminder, UserMessage)
    assert (user.content, user.node_id, user.turn_id) == ([Text("go")], asked, one.turn_id)
    assert reminder.content == [Text("a reminder")]
    output = one.output_message
    assert isinstance(output, AssistantMessage)
    assert output.content == [Thinking("hm", "s"), ToolCallContent("c1", "Read", {"path": "a b"})]
    assert (output.node_id, output.stop_reason) == (first, StopReason.TOOL_USE)
    assert output.usage == one.usage == Usage(input=3, output=9, cache_read=20, cache_write=100)
    [result] = one.tool_results
    assert isinstance(result, ToolResultMessage)
    assert (result.tool_name, result.content, result.node_id) == ("Read", [Text("text")], answered)
    [end] = [event.event for event in loop.events if isinstance(event.event, ToolExecutionEnd)]
    assert (end.tool_name, end.result.details, end.is_error) == ("Read", {"stdout": "all"}, False)
    assert (await load_session(store, SessionId(SID))) == session


async def test_a_fork_is_a_branch_or_a_rerun(tmp_path: Path) -> None:
    """Another prompt makes a branch, another answer a rerun; both name the loop that they part from."""
    script = Transcript()
    script.user("go")
    said = script.says("one", "m1")
    script.user("left")
    script.says("gone", "m2")
    right = script.user("right", parent=said)
    script.says("first", "m3", parent=right)
    script.says("second", "m4", parent=right)
    _, trees = await imported(script, tmp_path)
    main, *forks = trees
    assert [loop.turn_count for loop in main.loops] == [1, 1]
    assert {type(fork.loops[0].continuation_kind) for fork in forks} == {Branch, Rerun}
    for fork in forks:
        [loop] = fork.loops
        at = 0 if isinstance(loop.continuation_kind, Branch) else 1
        assert loop.parent_loop_id == main.loops[at].loop_id
        assert loop.turn_count == 1
        if isinstance(loop.continuation_kind, Branch):
            assert loop.turns[0].triggered_by is TurnTrigger.BRANCH


async def test_a_compaction_is_a_loop_without_turns(tmp_path: Path) -> None:
    """What it comes from has ended; what follows goes on from it, with the summary as its input."""
    script = Transcript()
    script.user("long")
    last = script.calls("c1", "m1")
    script.boundary(last, compactMetadata={"trigger": "auto", "preTokens": 1000})
    script.summary("short")
    script.says("on it", "m2")
    _, [main, compacted] = await imported(script, tmp_path, growing=True)
    assert kinds(main) == [(Initial(), None, 1, LoopStatus.COMPLETED)]
    pass_id = f"{compacted.session_id}.main.0"
    assert kinds(compacted)[0] == (Compaction(), main.loops[0].loop_id, 0, LoopStatus.COMPLETED)
    assert kinds(compacted)[1][:2] == (Default(), pass_id)
    [started] = [one.event for one in compacted.loops[0].events if isinstance(one.event, CompactionStarted)]
    assert started.estimated_tokens == 1000
    _, [main, compacted] = await imported(script, tmp_path)
    [turn] = compacted.loops[1].turns
    assert [message.content for message in turn.input_messages if isinstance(message, UserMessage)] == [[Text("short")]]


def with_agent() -> tuple[Transcript, Transcript]:
    """Return a conversation and the file of the sub-agent that it ran."""
    main = Transcript()
    main.user("go")
    main.calls("c1", "m1")
    main.result("c1", structured={"agentId": "a1", "status": "completed"})
    main.says("done", "m2")
    agent = Transcript(agent="a1")
    agent.user("look")
    agent.says("found", "x1")
    return main, agent


@pytest.mark.parametrize("agent_first", [False, True])
async def test_a_sub_agent_and_its_call_name_each_other(tmp_path: Path, agent_first: bool) -> None:
    """Whichever file is imported first; once linked, importing again adds nothing."""
    main, agent = with_agent()
    paths = [main.write(tmp_path), agent.write(tmp_path, "agent-a1.jsonl")]
    store = MemoryStore()
    for path in reversed(paths) if agent_first else paths:
        await import_file(store, path)
    await import_paths(store, paths)
    assert all(one.unchanged for one in (await import_paths(store, paths)).reports)
    parent = await load_session(store, SessionId(SID))
    [ref] = parent.loops[0].child_loop_refs
    child = await load_session(store, SessionId(ref.child_session_id))
    assert (ref.tool_call_id, ref.tool_name, ref.child_loop_id) == ("c1", "Read", child.loops[0].loop_id)
    assert child.agent_id == "a1"
    assert child.parent_spawn_ref is not None
    spawn = child.parent_spawn_ref
    assert (spawn.parent_session_id, spawn.parent_loop_id) == (SID, parent.loops[0].loop_id)
    assert (spawn.tool_call_id, spawn.tool_name) == ("c1", "Read")
    assert child.loops[0].status is LoopStatus.COMPLETED
    assert child.loops[0].parent_loop_id == (None if agent_first else parent.loops[0].loop_id)
    assert child.loops[0].turns[0].triggered_by is TurnTrigger.SUB_AGENT


async def test_a_side_chain_in_the_file_is_linked_too(tmp_path: Path) -> None:
    script = Transcript()
    script.user("go")
    call = script.assistant({"type": "tool_use", "id": "c1", "name": "Task", "input": {"prompt": "look"}}, mid="m1")
    script.user("look", parent=None, isSidechain=True)
    script.says("found", "x1", isSidechain=True)
    script.result("c1", parent=call)
    _, [main, side] = await imported(script, tmp_path)
    [ref] = main.loops[0].child_loop_refs
    assert ref.child_loop_id == side.loops[0].loop_id
    assert side.parent_spawn_ref is not None
    assert (side.parent_spawn_ref.tool_call_id, side.parent_spawn_ref.tool_name) == ("c1", "Task")
    assert side.loops[0].parent_loop_id == main.loops[0].loop_id


async def test_an_interruption_ends_the_loop_and_begins_none(tmp_path: Path) -> None:
    script = Transcript()
    script.user("go")
    script.calls("c1", "m1")
    script.result("c1", "refused")
    script.user("[Request interrupted by user for tool use]")
    script.user("rather this")
    script.says("fine", "m2")
    _, [session] = await imported(script, tmp_path)
    assert [loop.turn_count for loop in session.loops] == [1, 1]
    output = session.loops[0].turns[0].output_message
    assert isinstance(output, AssistantMessage)
    assert output.stop_reason is StopReason.USER_STOP
    assert len(session.loops[1].turns[0].input_messages) == 2


async def test_a_file_that_goes_on_after_it_was_whole_ends_nothing_twice(tmp_path: Path) -> None:
    """A late answer is the next turn's input; the model's next message begins another loop."""
    script = Transcript()
    script.user("go")
    script.calls("c1", "m1")
    store = MemoryStore()
    await import_file(store, script.write(tmp_path))
    assert (await load_session(store, SessionId(SID))).loops[0].status is LoopStatus.RUNNING
    script.result("c1", "late")
    script.says("done", "m2")
    script.add(ENDS)
    await import_file(store, script.write(tmp_path))
    script.says("more", "m3")
    script.add(ENDS)
    await import_file(store, script.write(tmp_path))
    session = await load_session(store, SessionId(SID))
    assert [(loop.turn_count, loop.status) for loop in session.loops] == [
        (2, LoopStatus.COMPLETED),
        (1, LoopStatus.COMPLETED),
    ]
    [late] = session.loops[0].turns[1].input_messages
    assert isinstance(late, ToolResultMessage)
    assert (late.tool_call_id, late.tool_name, late.content) == ("c1", "Read", [Text("late")])
    assert (await import_file(store, script.write(tmp_path))).unchanged
    ends = [
        event["loop_id"]
        for record in await store.read_all(SessionId(SID))
        if isinstance(record.entry, AgentEventEntry) and (event := record.entry.event)["type"] == AgentEnd.__name__
    ]
    assert len(ends) == len(set(ends)) == 2


async def test_what_no_record_can_hold_is_told_by_the_entries(tmp_path: Path) -> None:
    """An integer past 64 bits in a call, and two long answers in one turn: the turn has them all the same."""
    script = Transcript()
    script.user("go")
    script.calls("c1", "m1")
    script.lines[-1] = script.lines[-1].replace(b'"a b"', b"340282366920938463463374607431768211456")
    script.calls("c2", "m1")
    one = script.result("c1", "x" * 300_000)
    script.result("c2", "y" * 300_000, parent=one)
    script.says("done", "m2")
    script.add(ENDS)
    path = script.write(tmp_path)
    store = MemoryStore(line_bytes_max=512 * 1024)
    report = await import_file(store, path)
    loop: LoopRecord = (await load_session(store, SessionId(SID))).loops[0]
    assert [message.content for message in loop.turns[0].tool_results if isinstance(message, ToolResultMessage)] == [
        [Text("x" * 300_000)],
        [Text("y" * 300_000)],
    ]
    assert loop.turn_count == 2
    assert loop.status is LoopStatus.COMPLETED
    assert loop.messages == [message for turn in loop.turns for message in turn.all_messages]
    assert report.not_understood == []


@pytest.mark.parametrize(("limit", "repeated"), [(3, 3), (2, 0)])
async def test_a_long_loop_does_not_repeat_its_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, repeated: int
) -> None:
    """Its turns have them all the same."""
    monkeypatch.setattr("sessionlog.importers.loop_events.LOOP_MESSAGES_MAX", limit)
    script = Transcript()
    script.user("go")
    script.says("one", "m1")
    script.says("two", "m2")
    script.user("thanks")
    _, [session] = await imported(script, tmp_path)
    assert (session.loops[0].turn_count, len(session.loops[0].messages)) == (2, repeated)
