"""The fold: what each kind of entry does to the state, and that folding can stop and go on anywhere."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forging import START, forged_lines
from sessionlog import (
    AgentEventEntry,
    AssistantItems,
    CacheUnlocked,
    ConfigChanged,
    CorruptLog,
    EntryHash,
    Extension,
    HashedEntry,
    HookInjectedItems,
    Item,
    LabelsChanged,
    LlmUsage,
    Locked,
    LogEntry,
    RequestConfig,
    RestoredState,
    RunOutcome,
    SessionId,
    SessionOrigin,
    SessionStart,
    ToolCall,
    ToolResult,
    ToolResults,
    TurnEnd,
    UnknownEntry,
    UserInput,
    assistant_message,
    build_chain,
    collect_state,
    reasoning,
    system_message,
    tool_call,
    tool_result,
    user_message,
)
from sessionlog.record import parse_record
from strategies import call_ids, chains, messages, tool_calls, tool_results

ORIGIN = SessionOrigin(SessionId("a"), EntryHash("b" * 64))
START_ENTRY = SessionStart(
    ts=1,
    format="sessionlog/1",
    session_id=SessionId("s"),
    system_prompt="p",
    config=RequestConfig(model="m"),
    history=[user_message("before")],
    forked_from=ORIGIN,
)


def fold(*entries: LogEntry) -> RestoredState:
    return collect_state(build_chain([START_ENTRY, *entries]))


def test_no_records_fold_to_nothing() -> None:
    """The state of an empty log is the empty one."""
    state = collect_state([])
    assert state == RestoredState()
    assert state.head is None
    assert state.head_hash is None
    assert state.dangling_tool_calls == []


def test_session_start_seeds_the_state() -> None:
    """Prompt, configuration, history and origin are those of the first record; the head is its head."""
    records = build_chain([START_ENTRY])
    state = collect_state(records)
    assert state == RestoredState(
        system_prompt="p",
        config=RequestConfig(model="m"),
        history=[user_message("before")],
        forked_from=ORIGIN,
        head=records[0].head,
    )
    assert state.head_hash == records[0].hash


def test_a_compacted_start_names_its_source() -> None:
    """``compacted_from`` is in the state."""
    start = SessionStart(
        ts=1,
        format="sessionlog/1",
        session_id=SessionId("s"),
        config=RequestConfig(),
        history=[],
        compacted_from=ORIGIN,
    )
    state = collect_state(build_chain([start]))
    assert (state.compacted_from, state.forked_from, state.system_prompt) == (ORIGIN, None, None)


def test_items_go_into_the_history_in_order() -> None:
    """The four kinds that carry items append to the history and change nothing else."""
    state = fold(
        UserInput(ts=1, item=user_message("u")),
        AssistantItems(ts=1, items=[reasoning("r"), assistant_message("a"), tool_call("c", "n", "{}")]),
        ToolResults(ts=1, items=[tool_result("c", "s")]),
        HookInjectedItems(ts=1, items=[system_message("h")]),
        AssistantItems(ts=1, items=[]),
    )
    assert state.history == [
        user_message("before"),
        user_message("u"),
        reasoning("r"),
        assistant_message("a"),
        tool_call("c", "n", "{}"),
        tool_result("c", "s"),
        system_message("h"),
    ]
    assert state == RestoredState(
        system_prompt="p",
        config=RequestConfig(model="m"),
        history=state.history,
        forked_from=ORIGIN,
        head=state.head,
    )


@pytest.mark.parametrize(
    ("entries", "member", "value"),
    [
        ([TurnEnd(ts=1, turn_count=1), TurnEnd(ts=1, turn_count=5)], "turn_count", 5),
        ([Locked(ts=1, locked_prefix_len=3)], "locked_prefix_len", 3),
        ([Locked(ts=1, locked_prefix_len=3), CacheUnlocked(ts=1)], "locked_prefix_len", 0),
        ([RunOutcome(ts=1, outcome="error", interrupted=True)], "last_run_interrupted", True),
        (
            [
                RunOutcome(ts=1, outcome="paused", interrupted=True),
                RunOutcome(ts=1, outcome="error", message="m", interrupted=False),
            ],
            "last_run_interrupted",
            False,
        ),
        ([ConfigChanged(ts=1, config=RequestConfig(top_k=1))], "config", RequestConfig(top_k=1)),
        ([LabelsChanged(ts=1, title="a"), LabelsChanged(ts=1, title="b"), LabelsChanged(ts=1)], "title", "b"),
        ([LabelsChanged(ts=1, title="a"), LabelsChanged(ts=1, title=None)], "title", None),
        (
            [
                LabelsChanged(ts=1, labels={"a": "1", "b": "1", "c": "1"}),
                LabelsChanged(ts=1, labels={"a": None, "b": "2", "d": None}),
            ],
            "labels",
            {"b": "2", "c": "1"},
        ),
    ],
)
def test_the_last_word_counts(entries: Sequence[LogEntry], member: str, value: object) -> None:
    """These kinds set one member of the state, the last one winning, and nothing else."""
    state = fold(*entries)
    assert getattr(state, member) == value
    setattr(state, member, getattr(fold(), member))
    state.head = fold().head
    assert state == fold()


def test_usage_and_extensions_are_collected() -> None:
    """Every request's usage and every extension is kept, in order."""
    usages = [
        LlmUsage(ts=n, history_len=n, input_total_tokens=n, cache_read_tokens=0, cache_write_tokens=0, output_tokens=n)
        for n in (1, 2)
    ]
    extensions = [Extension(ts=1, domain=name, payload=[name]) for name in ("x", "y", "x")]
    state = fold(usages[0], *extensions, usages[1])
    assert state.usage_history == usages
    assert state.extensions == extensions


def test_other_kinds_move_only_the_head() -> None:
    """Agent events and unknown kinds are skipped, and counted in the head."""
    state = fold(AgentEventEntry(ts=1, event={"type": "x"}), UnknownEntry(kind="new", ts=1, members={"history": []}))
    assert state.head is not None
    assert state.head.seq == 2
    state.head = fold().head
    assert state == fold()


@given(chains(), st.data())
def test_folding_can_stop_and_go_on(records: list[HashedEntry], data: st.DataObject) -> None:
    """Folding a log in two parts, split anywhere, gives the state of folding it whole."""
    split = data.draw(st.integers(0, len(records)))
    whole = collect_state(records)
    first = collect_state(records[:split])
    assert collect_state(records[split:], onto=first) == whole
    assert first == whole
    assert whole.head == records[-1].head


def test_a_fold_does_not_touch_the_records() -> None:
    """Changing a state does not change the entries that it was folded from."""
    records = build_chain([START_ENTRY])
    collect_state(records).history.append(user_message("x"))
    assert collect_state(records).history == [user_message("before")]


def test_a_record_that_does_not_decode_stops_the_fold() -> None:
    """Folding raises ``CorruptLog`` at a record that does not decode; the state stands at the one before."""
    records = [parse_record(line) for line in forged_lines(START, b'{"kind":"turn_end","ts":1}')]
    state = RestoredState()
    with pytest.raises(CorruptLog):
        collect_state(records, onto=state)
    assert state.head == records[0].head


CALL = [tool_call(f"c{n}", "t", "{}") for n in range(4)]


@pytest.mark.parametrize(
    ("history", "dangling"),
    [
        ([], []),
        ([CALL[0], CALL[1], tool_result("c0", "s")], [CALL[1]]),
        ([CALL[0], CALL[1], CALL[2], tool_result("c1", "s")], [CALL[0], CALL[2]]),
        ([tool_result("c0", "s"), CALL[0]], [CALL[0]]),
        ([CALL[0], tool_result("c0", "s"), tool_result("c0", "again"), CALL[0]], [CALL[0]]),
        ([CALL[0], tool_result("c0", "s"), CALL[0]], [CALL[0]]),
        ([CALL[0], CALL[0], tool_result("c0", "s")], [CALL[0]]),
        (
            [ToolCall("c", "first", ""), ToolCall("c", "second", ""), tool_result("c", "s")],
            [ToolCall("c", "second", "")],
        ),
        ([CALL[0], tool_result("other", "s"), user_message("c0")], [CALL[0]]),
    ],
)
def test_dangling_calls_are_those_without_a_result(history: list[Item], dangling: list[ToolCall]) -> None:
    """A result answers the oldest open call of its id, before it in the history; what is left dangles, in order."""
    assert RestoredState(history=history).dangling_tool_calls == dangling


@given(st.lists(messages | tool_calls | tool_results | call_ids.map(lambda name: tool_call(name, "", "")), max_size=12))
def test_each_result_answers_one_call(history: list[Item]) -> None:
    """For every id, the calls left open are the youngest, as many as no result came for in time."""
    expected: list[ToolCall] = []
    for item in history:
        if isinstance(item, ToolCall):
            expected.append(item)
        elif isinstance(item, ToolResult):
            answered = next((call for call in expected if call.call_id == item.call_id), None)
            if answered is not None:
                expected.remove(answered)
    left = RestoredState(history=history).dangling_tool_calls
    assert left == expected
