"""Attempts, compactions, sub-agents, and trees as no tool would write them."""

from pathlib import Path
from typing import Any

import pytest
from foreign import SID, Transcript, check_store, contents
from hypothesis import given
from hypothesis import strategies as st

from sessionlog import LlmUsage, MemoryStore, Message, SessionId, ToolCall, ToolResult, collect_state, restore
from sessionlog.importers.claude_code import ImportReport, import_file
from sessionlog.importers.claude_code.index import Index
from sessionlog.importers.claude_code.lines import Found, _Splitter
from sessionlog.importers.claude_code.tree import Plan, plan

pytestmark = pytest.mark.anyio


async def imported(transcript: Transcript, folder: Path) -> tuple[MemoryStore, ImportReport]:
    store = MemoryStore()
    report = await import_file(store, transcript.write(folder))
    await check_store(store)
    return store, report


async def said(store: MemoryStore, session_id: str) -> list[str]:
    """Return the session's history in short: texts, and what was called and answered."""
    told = []
    for item in (await restore(store, SessionId(session_id))).history:
        match item:
            case Message():
                told.append(item.text)
            case ToolCall():
                told.append(f"call {item.call_id}")
            case ToolResult():
                told.append(f"result {item.call_id}")
    return told


async def test_an_edited_prompt_leaves_a_fork(tmp_path: Path) -> None:
    """The prompt that was edited is a session forked where the two part; the live one is the main session."""
    script = Transcript()
    script.user("first")
    answer = script.says("yes", "m1")
    script.user("abandoned")
    script.says("abandoned answer", "m2")
    script.user("edited", parent=answer)
    script.says("live answer", "m3")
    store, report = await imported(script, tmp_path)
    assert [(one.role, one.source) for one in report.sessions] == [("main", None), ("fork", SID)]
    assert report.live_session_id == SID
    assert await said(store, SID) == ["first", "yes", "edited", "live answer"]
    fork = report.sessions[1].session_id
    assert fork == f"{SID}-fork-00000003"
    assert await said(store, fork) == ["first", "yes", "abandoned", "abandoned answer"]


async def test_a_retried_answer_leaves_a_fork(tmp_path: Path) -> None:
    """Two API messages that answer the same prompt are two attempts."""
    script = Transcript()
    prompt = script.user("go")
    script.says("bad", "m1")
    script.says("good", "m2", parent=prompt)
    store, report = await imported(script, tmp_path)
    assert await said(store, SID) == ["go", "good"]
    assert await said(store, report.sessions[1].session_id) == ["go", "bad"]


async def test_an_attempt_within_an_attempt_is_forked_from_it(tmp_path: Path) -> None:
    """Attempts nest, and each names the session that it parts from."""
    script = Transcript()
    root = script.says("hi", "m0")
    first = script.user("a")
    script.says("a1", "m1")
    script.says("a2", "m2", parent=first)
    script.user("live", parent=root)
    store, report = await imported(script, tmp_path)
    main, outer, inner = report.sessions
    assert (outer.source, inner.source) == (main.session_id, outer.session_id)
    assert await said(store, outer.session_id) == ["hi", "a", "a2"]
    assert await said(store, inner.session_id) == ["hi", "a", "a1"]


async def test_the_first_prompt_can_be_edited_too(tmp_path: Path) -> None:
    """Two roots are two attempts that part at the session's very start."""
    script = Transcript()
    script.user("one")
    script.says("1", "m1")
    script.user("two", parent=None)
    script.says("2", "m2")
    store, report = await imported(script, tmp_path)
    assert await said(store, SID) == ["two", "2"]
    assert await said(store, report.sessions[1].session_id) == ["one", "1"]


async def test_parallel_calls_and_their_results_are_no_attempts(tmp_path: Path) -> None:
    """Calls of one API message, their results and the progress between branch the tree, and stay together in order."""
    script = Transcript()
    script.user("go")
    one = script.calls("c1", "m1")
    script.progress()
    two = script.calls("c2", "m1")
    script.result("c1", parent=one)
    script.progress()
    script.result("c2", parent=two)
    script.says("next", "m2")
    script.progress(parent=one)
    store, report = await imported(script, tmp_path)
    assert len(report.sessions) == 1
    assert await said(store, SID) == ["go", "call c1", "call c2", "result c1", "result c2", "next"]


async def test_a_compact_boundary_starts_a_session(tmp_path: Path) -> None:
    """It is compacted from the line that the boundary points back to, and starts with the summary."""
    script = Transcript()
    script.user("long")
    last = script.says("story", "m1")
    script.boundary(last)
    script.summary("short story")
    script.user("go on")
    store, report = await imported(script, tmp_path)
    assert [one.role for one in report.sessions] == ["main", "compaction"]
    state = await restore(store, report.sessions[1].session_id)
    assert await said(store, report.sessions[1].session_id) == ["short story", "go on"]
    assert state.config.model == "model-a"
    assert state.compacted_from is not None
    source = await store.read_all(SessionId(SID))
    at = next(record for record in source if record.hash == state.compacted_from.at_hash)
    assert await said(store, SID) == ["long", "story"]
    assert collect_state(source[: at.seq + 1]).history == collect_state(source).history
    assert report.live_session_id == report.sessions[1].session_id


async def test_a_boundary_at_the_end_waits_for_its_summary(tmp_path: Path) -> None:
    """A compaction that nobody has spoken in is not made; its lines are listed until the summary comes."""
    script = Transcript()
    script.user("long")
    script.boundary(script.says("story", "m1"))
    store, report = await imported(script, tmp_path)
    assert [one.line for one in report.waiting] == [3]
    assert report.imported == 2
    script.summary("short")
    report = await import_file(store, script.write(tmp_path))
    assert report.waiting == []
    assert await said(store, report.sessions[1].session_id) == ["short"]


async def test_a_side_chain_in_the_file_is_a_session_of_its_own(tmp_path: Path) -> None:
    """Old transcripts hold the sub-agent's lines between the main ones; its prompt tells which call spawned it."""
    script = Transcript()
    task = {"type": "tool_use", "id": "t1", "name": "Task", "input": {"prompt": "look around"}}
    call = script.assistant(task, mid="m1")
    script.user("look around", parent=None, isSidechain=True)
    script.says("found it", "s1", isSidechain=True)
    script.result("t1", parent=call)
    script.says("thanks", "m2")
    store, report = await imported(script, tmp_path)
    assert [one.role for one in report.sessions] == ["main", "agent"]
    agent = report.sessions[1].session_id
    assert await said(store, SID) == ["call t1", "result t1", "thanks"]
    assert await said(store, agent) == ["look around", "found it"]
    links = [one.payload for one in (await restore(store, SessionId(SID))).extensions if one.domain.endswith("spawn")]
    assert links == [{"agent_id": "00000002-0000-4000-8000-000000000000", "session_id": agent, "tool_use_id": "t1"}]


async def test_a_lost_line_does_not_tear_the_conversation_apart(tmp_path: Path) -> None:
    """The line before stands in for a parent that is not in the file."""
    script = Transcript()
    script.user("one")
    script.says("lost", "m1")
    script.user("two")
    script.says("three", "m2")
    script.lines[1] = script.lines[1][:40]
    store, report = await imported(script, tmp_path)
    assert len(report.sessions) == 1
    assert await said(store, SID) == ["one", "two", "three"]
    assert [one.line for one in report.not_understood] == [2]


async def test_a_line_before_its_parent_waits_for_it(tmp_path: Path) -> None:
    """The history is in the order of the tree: a result never stands before its call."""
    script = Transcript()
    script.user("go")
    script.calls("c1", "m1")
    script.result("c1")
    script.says("done", "m2")
    script.lines[1], script.lines[2] = script.lines[2], script.lines[1]
    store, _ = await imported(script, tmp_path)
    assert await said(store, SID) == ["go", "call c1", "result c1", "done"]


async def test_circles_of_parents_lose_nothing(tmp_path: Path) -> None:
    """Lines that are each other's parents, or their own, are imported all the same."""
    script = Transcript()
    script.user("one")
    script.user("two", uuid="b", parent="c")
    script.user("three", uuid="c", parent="b")
    script.user("four", uuid="d", parent="d")
    store, report = await imported(script, tmp_path)
    assert report.imported == 4
    texts = {text for one in report.sessions for text in await said(store, one.session_id)}
    assert texts == {"one", "two", "three", "four"}


async def test_usage_is_logged_once_for_a_message_with_its_last_numbers(tmp_path: Path) -> None:
    """Lines repeat a message's usage while its output grows: one llm_usage, the whole prompt as input."""
    script = Transcript()
    script.user("go")
    script.says("a", "m1", out=1)
    script.calls("c1", "m1", out=9)
    script.result("c1")
    script.says("b", "m2", out=4)
    store, _ = await imported(script, tmp_path)
    usage = (await restore(store, SessionId(SID))).usage_history
    assert [_tokens(one) for one in usage] == [(1, 123, 20, 100, 9), (4, 123, 20, 100, 4)]


def _tokens(one: LlmUsage) -> tuple[int, ...]:
    return one.history_len, one.input_total_tokens, one.cache_read_tokens, one.cache_write_tokens, one.output_tokens


@st.composite
def trees(draw: st.DrawFn) -> list[tuple[int | None, str]]:
    """Return lines as (parent's number or None, kind); most parents stand before, some behind, some nowhere."""
    count = draw(st.integers(1, 14))
    lines = []
    for number in range(count):
        usual = st.integers(max(0, number - 3), max(0, number - 1))
        parent = draw(st.one_of(usual, usual, usual, st.integers(0, count + 1), st.none()))
        kind = draw(
            st.sampled_from(["user", "user", "says", "calls", "result", "progress", "meta", "boundary", "side"])
        )
        lines.append((parent, kind))
    return lines


def grown(lines: list[tuple[int | None, str]]) -> Transcript:
    script = Transcript()
    for number, (parent, kind) in enumerate(lines):
        over: dict[str, Any] = {"uuid": f"{number:08x}-x", "parent": None if parent is None else f"{parent:08x}-x"}
        match kind:
            case "says":
                script.says(f"t{number}", f"m{number // 2}", **over)
            case "calls":
                script.calls(f"c{number}", f"m{number // 2}", **over)
            case "result":
                script.result(f"c{max(0, number - 1)}", **over)
            case "progress":
                script.progress(**over)
            case "boundary":
                script.boundary(over["parent"], uuid=over["uuid"])
            case _:
                script.user(f"t{number}", isMeta=kind == "meta", isSidechain=kind == "side", **over)
    return script


@given(trees(), st.data())
async def test_any_tree_goes_in_whole_and_once(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[int | None, str]], data: st.DataObject
) -> None:
    """Whatever the parents: every line in the store once or listed, all provenance right, and growing adds the rest."""
    folder = tmp_path_factory.mktemp("tree")
    script = grown(lines)
    store, report = await imported(script, folder)
    assert report.imported + len(report.not_understood) + len(report.waiting) == len(lines)
    assert _kept(await contents(store)) == report.imported
    again = await import_file(store, script.write(folder))
    assert again.unchanged

    cut = data.draw(st.integers(1, len(lines)))
    early, late = MemoryStore(), script.lines
    script.lines = late[:cut]
    await import_file(early, script.write(folder), growing=True)
    script.lines = late
    report = await import_file(early, script.write(folder))
    await check_store(early)
    assert _kept(await contents(early)) == report.imported
    assert (await import_file(early, script.write(folder))).unchanged


def _kept(logs: dict[SessionId, list[Any]]) -> int:
    """Count the lines in a store by what they left: each line of :func:`grown` leaves one record, a summary none."""
    dull = ("session_start", "config_changed", "llm_usage", "agent_event")
    return sum(
        entry["kind"] not in dull and entry.get("domain") != "claude_code.spawn"
        for log in logs.values()
        for entry in log
    )


@given(trees(), st.integers(1, 13))
def test_a_path_once_taken_goes_on(lines: list[tuple[int | None, str]], cut: int) -> None:
    """A settled line keeps its session when more lines come."""
    script = grown(lines)
    before = _plan(script.lines[:cut], {})
    settled = {ordinal: session.session_id for ordinal, session in before.session_of.items() if not session.held}
    after = _plan(script.lines, settled)
    ids = {session.session_id for session in after.sessions}
    assert len(ids) == len(after.sessions)
    assert {ordinal: after.session_of[ordinal].session_id for ordinal in settled} == settled


def _plan(lines: list[bytes], settled: dict[int, SessionId]) -> Plan:
    index = Index()
    splitter = _Splitter(10**6)
    for piece in [*splitter.feed(b"".join(line + b"\n" for line in lines)), *splitter.finish()]:
        assert isinstance(piece, Found)
        index.add(piece, fits=True)
    return plan(index, SessionId(SID), settled, agent_file=False, agents_base=SID)
