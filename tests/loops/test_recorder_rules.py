"""The rules by which events become a tree, each alone; in memory, because the log's tree is the same one."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loops_factories import (
    START,
    answer,
    at,
    end,
    fed,
    group_end,
    group_start,
    said,
    start,
    streamed,
    tool_answer,
    tool_end,
    tree,
    turn_end,
    turn_start,
    user,
)

from sessionlog.loops import (
    AgentEnd,
    AgentEvent,
    Branch,
    ChildLoopRef,
    CompactionEnded,
    EventsFiltered,
    Explicit,
    ExtensionMessage,
    FirstLoop,
    InactivityTimeout,
    InputRejected,
    LoopConfigSnapshot,
    LoopRecord,
    LoopStatus,
    MessageStart,
    PrunApplied,
    RevertApplied,
    Session,
    SessionFlushed,
    SessionFormed,
    SessionRecorder,
    SessionRecorderConfig,
    SessionScope,
    SpawnRef,
    Text,
    ToolExecutionEnd,
    ToolExecutionStart,
    ToolResultMessage,
    TurnId,
    TurnRequest,
    TurnTrigger,
    UnknownEvent,
    Usage,
)

# One loop with two turns and a tool, a parallel pair that continues it, and a sub-agent in a session of its own.
STORY: list[AgentEvent] = [
    start("s.c.0"),
    turn_start("s.c.0", 0),
    said("s.c.0", user("list it")),
    said("s.c.0", answer("I will")),
    tool_end("s.c.0", "t1", child="k.c.0"),
    turn_end("s.c.0", tool_results=[tool_answer("t1", "a b c")]),
    turn_start("s.c.0", 1, 3),
    turn_end("s.c.0", "a, b and c", 4),
    end("s.c.0", 5, usage=Usage(input=9, output=1), messages=[user("list it"), answer("a, b and c")]),
    start("k.c.0", seconds=1.5, parent_loop_id="s.c.0"),
    end("k.c.0", 2),
    group_start("s.c.1", "s.d.0", seconds=6),
    start("s.c.1", seconds=6.5, parent_loop_id="s.c.0", continuation_kind=Branch("1")),
    start("s.d.0", seconds=6.6, parent_loop_id="s.c.0", continuation_kind=Branch("2")),
    end("s.c.1", 7),
    end("s.d.0", 7),
    group_end("s.d.0", 1),
]


def only_loop(session: Session) -> LoopRecord:
    (loop,) = session.loops
    return loop


# sessions


def test_a_session_opens_at_the_first_agent_start_that_names_it() -> None:
    """It takes its agent and its formation from there; later loops only move ``last_active_at``."""
    session = tree(start("s.c.0", seconds=1), start("s.c.1", seconds=3, agent_id="another"))
    assert (session.agent_id, session.created_at, session.last_active_at) == ("agent", at(1), at(3))
    assert session.formation == FirstLoop(at(1))
    assert session.scope is SessionScope.EPHEMERAL


def test_no_other_event_opens_a_session() -> None:
    """Events of sessions that nobody opened wait, and show nothing."""
    recorder = fed(*(event for event in STORY if type(event).__name__ != "AgentStart"))
    assert recorder.sessions() == []
    assert len(recorder.waiting_events) == len(STORY) - 4


def test_a_late_timestamp_does_not_turn_last_active_back() -> None:
    """A loop that is told of late does not make its session less recent."""
    assert tree(start("s.c.0", seconds=5), start("s.c.1", seconds=2)).last_active_at == at(5)


@pytest.mark.parametrize("position", ["before", "after"])
def test_the_formation_can_be_said(position: str) -> None:
    """A runtime that rotated the session for inactivity says so, before or after the first loop."""
    formation = InactivityTimeout(threshold_secs=1800, previous_session_id="old", timestamp=at(0))
    events = [SessionFormed(session_id="s", formation=formation), start("s.c.0")]
    session = tree(*(events if position == "before" else reversed(events)))
    assert session.formation == formation


def test_an_explicit_formation_that_was_said_stays() -> None:
    """The first loop does not overrule it."""
    assert tree(SessionFormed(session_id="s", formation=Explicit(at(0))), start("s.c.0")).formation == Explicit(at(0))


def test_loops_stand_in_the_order_of_their_start() -> None:
    """Not in that of their events."""
    session = tree(start("s.c.2", seconds=3), start("s.c.0", seconds=1), start("s.c.1", seconds=2))
    assert [loop.loop_id for loop in session.loops] == ["s.c.0", "s.c.1", "s.c.2"]


# loops


def test_a_loop_takes_its_identity_from_its_start() -> None:
    """Every member of AgentStart is found on the record."""
    config = LoopConfigSnapshot("m-0", "p", thinking_level="low")
    loop = only_loop(
        tree(start("s.c.0", seconds=2, continuation_kind=Branch("x"), metadata={"a": 1}, config_snapshot=config))
    )
    assert (loop.agent_id, loop.session_id, loop.started_at) == ("agent", "s", at(2))
    assert (loop.continuation_kind, loop.metadata, loop.config) == (Branch("x"), {"a": 1}, config)
    assert (loop.status, loop.ended_at, loop.messages) == (LoopStatus.RUNNING, None, [])


def test_a_loop_completes_with_its_end() -> None:
    """Messages, usage and time come from AgentEnd."""
    loop = only_loop(tree(start("s.c.0"), end("s.c.0", 4, messages=[user("hi")], usage=Usage(input=2))))
    assert (loop.status, loop.ended_at, loop.rejection) == (LoopStatus.COMPLETED, at(4), None)
    assert (loop.messages, loop.usage) == ([user("hi")], Usage(input=2))


@pytest.mark.parametrize("reason", ["no secrets", ""])
def test_a_loop_is_rejected_by_any_reason(reason: str) -> None:
    """An empty reason is one."""
    loop = only_loop(tree(start("s.c.0"), end("s.c.0", rejection=reason)))
    assert (loop.status, loop.rejection) == (LoopStatus.REJECTED, reason)


def test_an_end_is_final() -> None:
    """Nothing that comes later changes a loop that ended, nor its stream."""
    before = tree(start("s.c.0"), end("s.c.0", 4))
    late = [end("s.c.0", 9, rejection="late"), turn_start("s.c.0"), turn_end("s.c.0"), said("s.c.0", answer("late"))]
    assert tree(start("s.c.0"), end("s.c.0", 4), *late, start("s.c.0", parent_loop_id="s.c.9")) == before


def test_a_second_start_changes_nothing_but_the_stream() -> None:
    """The first AgentStart of a loop counts."""
    session = tree(start("s.c.0"), turn_start("s.c.0"), start("s.c.0", agent_id="thief", parent_loop_id="s.c.7"))
    loop = only_loop(session)
    assert (loop.agent_id, loop.parent_loop_id, len(loop.events)) == ("agent", None, 3)


def test_events_before_their_start_find_their_loop() -> None:
    """What came too early is placed behind the AgentStart, in its order."""
    ordered = [start("s.c.0"), turn_start("s.c.0"), said("s.c.0", user("hi")), turn_end("s.c.0"), end("s.c.0")]
    assert tree(*ordered[1:4], ordered[0], ordered[4]) == tree(*ordered)
    assert tree(start("s.x.0"), *ordered[1:], ordered[0]).get_loop("s.c.0") == tree(*ordered).get_loop("s.c.0")


def test_events_of_a_pending_loop_wait_for_its_start() -> None:
    """It does not run, end or take a turn before."""
    session = tree(start("s.c.0"), group_start("s.c.1"), turn_start("s.c.1"), turn_end("s.c.1"), end("s.c.1"))
    assert (session.loops[1].status, session.loops[1].events) == (LoopStatus.PENDING, [])
    session = tree(start("s.c.0"), group_start("s.c.1"), turn_start("s.c.1"), turn_end("s.c.1"), start("s.c.1"))
    assert (session.loops[1].status, session.loops[1].turn_count) == (LoopStatus.RUNNING, 1)
    assert [type(item.event).__name__ for item in session.loops[1].events] == ["AgentStart", "TurnStart", "TurnEnd"]


def test_every_event_of_a_loop_is_in_its_stream() -> None:
    """In the order of arrival, numbered from 0, those that mean nothing to the tree too."""
    events: list[AgentEvent] = [
        start("s.c.0"),
        MessageStart(loop_id="s.c.0", message=user("hi")),
        ToolExecutionStart(loop_id="s.c.0", tool_call_id="t1", tool_name="ls", args={"path": "."}),
        InputRejected(loop_id="s.c.0", reason="no"),
        CompactionEnded(loop_id="s.c.0", messages_before=9, messages_after=2),
        PrunApplied(loop_id="s.c.0", messages_removed=1, timestamp=at(1)),
        RevertApplied(loop_id="s.c.0", category="failure", target=7, abandoned_node_ids=[8, "n9"]),
        UnknownEvent("Novel", {"loop_id": "s.c.0", "depth": 3}),
        end("s.c.0"),
    ]
    items = only_loop(tree(*events)).events
    assert [item.sequence for item in items] == list(range(len(events)))
    assert [type(item.event) for item in items] == [type(event) for event in events]
    assert items[7].event == events[7]


# turns


def test_a_turn_is_made_of_its_start_and_its_end() -> None:
    """Times, trigger, usage, messages; the tools' results are marked with the turn."""
    loop = only_loop(
        tree(
            start("s.c.0"),
            turn_start("s.c.0", 0, 1),
            turn_end("s.c.0", "done", 3, [tool_answer("t1", "out")], usage=Usage(output=5)),
        )
    )
    (turn,) = loop.turns
    assert (turn.turn_id, turn.index, turn.triggered_by) == (TurnId("s.c.0", 0), 0, TurnTrigger.USER)
    assert (turn.started_at, turn.ended_at, turn.duration.total_seconds()) == (at(1), at(3), 2)
    assert (turn.usage, turn.output_message, turn.has_tool_calls) == (Usage(output=5), answer("done"), True)
    (result,) = turn.tool_results
    assert isinstance(result, ToolResultMessage)
    assert result.turn_id == TurnId("s.c.0", 0)
    assert not only_loop(tree(start("s.c.0"), turn_start("s.c.0"), turn_end("s.c.0"))).turns[0].has_tool_calls


def test_what_is_said_in_a_turn_and_not_by_the_model_is_its_input() -> None:
    """Messages before and after the turn are not; a tool's answer that the turn's end repeats is not counted twice."""
    note = ExtensionMessage("note", {"a": 1})
    loop = only_loop(
        tree(
            start("s.c.0"),
            said("s.c.0", user("too early")),
            turn_start("s.c.0"),
            said("s.c.0", user("hi")),
            said("s.c.0", answer("hello")),
            said("s.c.0", note),
            said("s.c.0", tool_answer("t0", "of the turn before")),
            said("s.c.0", tool_answer("t1", "out")),
            turn_end("s.c.0", tool_results=[tool_answer("t1", "out")]),
            said("s.c.0", user("too late")),
        )
    )
    (turn,) = loop.turns
    assert list(turn.input_messages) == [user("hi"), note, tool_answer("t0", "of the turn before")]
    assert turn.all_messages == [*turn.input_messages, answer("done"), *turn.tool_results]


@pytest.mark.parametrize("ending", [end("s.c.0"), SessionFlushed(session_id="s"), turn_start("s.c.0", 1)])
def test_a_turn_without_an_end_is_dropped(ending: AgentEvent) -> None:
    """When its loop ends, when the recorder gives up, and when the next turn begins."""
    loop = only_loop(tree(start("s.c.0"), turn_start("s.c.0", 0), said("s.c.0", user("hi")), ending))
    assert loop.turns == []


def test_the_next_turn_takes_nothing_of_a_dropped_one() -> None:
    """Its input is its own."""
    events = [turn_start("s.c.0", 0), said("s.c.0", user("lost")), turn_start("s.c.0", 1), turn_end("s.c.0")]
    (turn,) = only_loop(tree(start("s.c.0"), *events)).turns
    assert (turn.index, list(turn.input_messages)) == (1, [])


def test_an_end_without_a_turn_makes_none() -> None:
    """A TurnEnd alone stays in the stream."""
    loop = only_loop(tree(start("s.c.0"), turn_end("s.c.0")))
    assert (loop.turns, len(loop.events)) == ([], 2)


def test_a_repeated_turn_start_keeps_the_turn() -> None:
    """Neither the turn under way nor one that ended begins anew."""
    under_way = [turn_start("s.c.0"), said("s.c.0", user("hi")), turn_start("s.c.0", 0, 7), turn_end("s.c.0")]
    loop = only_loop(tree(start("s.c.0"), *under_way, turn_start("s.c.0"), turn_end("s.c.0", "again")))
    (turn,) = loop.turns
    assert (turn.started_at, list(turn.input_messages), turn.output_message) == (at(1), [user("hi")], answer("done"))


# configuration


def test_the_configuration_comes_from_the_start() -> None:
    """What the model's messages say does not matter then."""
    config = LoopConfigSnapshot("m-0", "p")
    assert only_loop(tree(start("s.c.0", config_snapshot=config), said("s.c.0", answer("x")))).config == config


@pytest.mark.parametrize(
    "event",
    [
        said("s.a.b.0", answer("x", "m-7", "q")),
        turn_end("s.a.b.0", message=answer("x", "m-7", "q")),
        end("s.a.b.0", messages=[user("hi"), answer("x", "m-7", "q"), answer("y", "m-8")]),
    ],
    ids=lambda event: type(event).__name__,
)
def test_or_else_from_the_first_message_of_the_model(event: AgentEvent) -> None:
    """Wherever that is met; the configuration's id is the middle of the loop's."""
    loop = only_loop(tree(start("s.a.b.0"), said("s.a.b.0", user("hi")), event, said("s.a.b.0", answer("y", "m-9"))))
    assert loop.config == LoopConfigSnapshot("m-7", "q", config_id="a.b")


# parents and children


def test_children_are_linked_to_parents_of_the_same_session() -> None:
    """As soon as they start, whichever came first."""
    session = tree(
        start("s.c.2", seconds=2, parent_loop_id="s.c.0"),
        start("s.c.0", seconds=0),
        start("s.c.1", seconds=1, parent_loop_id="s.c.0"),
    )
    parent = session.get_loop("s.c.0")
    assert parent is not None
    assert parent.children_loop_ids == ["s.c.2", "s.c.1"]
    assert [loop.loop_id for loop in session.children_of("s.c.0")] == ["s.c.1", "s.c.2"]
    assert session.parent_spawn_ref is None


def test_children_are_linked_by_ids_that_follow_no_pattern() -> None:
    """A parent of the same session is one whatever it is called, and whenever it comes."""
    for events in itertools.permutations([start("main", "s"), start("next", "s", parent_loop_id="main")]):
        session = tree(*events)
        assert [loop.loop_id for loop in session.children_of("main")] == ["next"]
        assert session.parent_spawn_ref is None


@pytest.mark.parametrize("parent", ["s.c.0", "s.gone.0"])
def test_a_parent_that_is_not_there_is_no_other_session(parent: str) -> None:
    """Nor is a loop that names itself its own child."""
    session = tree(start("s.c.0", parent_loop_id=parent))
    assert (session.parent_spawn_ref, only_loop(session).children_loop_ids) == (None, [])


def test_a_parent_of_another_session_makes_a_spawn_ref() -> None:
    """And no child link; the tool call is not known yet."""
    recorder = fed(start("s.c.0"), start("k.c.0", parent_loop_id="s.c.0"))
    child, parent = recorder.get_session("k"), recorder.get_session("s")
    assert child is not None
    assert parent is not None
    assert child.parent_spawn_ref == SpawnRef("s", "s.c.0")
    assert only_loop(parent).children_loop_ids == []


@pytest.mark.parametrize("child_first", [True, False], ids=["child first", "tool's end first"])
@pytest.mark.parametrize("child_closed", [True, False], ids=["closed", "running"])
@pytest.mark.parametrize("loop_id", ["k.c.0", "sub"])
def test_the_tools_end_fills_in_the_tool_call(child_first: bool, child_closed: bool, loop_id: str) -> None:
    """Also when the child was closed before, came later, or has an id that does not tell its session."""
    ending: list[AgentEvent] = [end(loop_id)] if child_closed else []
    child: list[AgentEvent] = [start(loop_id, "k", parent_loop_id="s.c.0"), *ending]
    told: list[AgentEvent] = [tool_end("s.c.0", "t1", child=loop_id)]
    recorder = fed(start("s.c.0"), *(child + told if child_first else told + child))
    session, parent = recorder.get_session("k"), recorder.get_session("s")
    assert session is not None
    assert parent is not None
    assert session.parent_spawn_ref == SpawnRef("s", "s.c.0", "t1", "task")
    assert only_loop(parent).child_loop_refs == [ChildLoopRef("t1", "task", loop_id, "k")]


def test_the_tools_end_fills_in_a_completed_session() -> None:
    """A child that was completed, and not drained yet, is handed over with its tool call."""
    recorder = fed(start("k.c.0", parent_loop_id="s.c.0"), end("k.c.0"))
    assert recorder.checkpoint() == 1
    recorder.on_event(start("s.c.0"))
    recorder.on_event(tool_end("s.c.0", "t1", child="k.c.0"))
    (session,) = recorder.drain_completed()
    assert session.parent_spawn_ref == SpawnRef("s", "s.c.0", "t1", "task")


def test_the_first_tool_call_stays() -> None:
    """A second spawn into the same session, or the same event again, changes neither side's first link."""
    again = tool_end("s.c.0", "t1", child="k.c.0")
    recorder = fed(start("s.c.0"), start("k.c.0"), again, again, tool_end("s.c.0", "t2", child="k.c.1"))
    child, parent = recorder.get_session("k"), recorder.get_session("s")
    assert child is not None
    assert parent is not None
    assert child.parent_spawn_ref == SpawnRef("s", "s.c.0", "t1", "task")
    assert [ref.tool_call_id for ref in only_loop(parent).child_loop_refs] == ["t1", "t2"]


def test_the_child_is_read_from_either_place() -> None:
    """From the event, where a runtime puts it there and not into the result."""
    event = ToolExecutionEnd(loop_id="s.c.0", tool_call_id="t", tool_name="task", child_loop_id="k.c.0")
    assert only_loop(tree(start("s.c.0"), event)).child_loop_refs == [ChildLoopRef("t", "task", "k.c.0", "k")]


def test_a_sub_agent_in_the_same_session_spawns_nothing() -> None:
    """It is referred to, but the session was not spawned by itself."""
    for loop_id in ("s.sub.0", "sub"):
        events = [tool_end("s.c.0", "t", child=loop_id), start(loop_id, "s")]
        for order in (events, reversed(events)):
            session = tree(start("s.c.0"), *order)
            assert session.parent_spawn_ref is None
            assert session.loops[0].child_loop_refs == [ChildLoopRef("t", "task", loop_id, "s")]


# parallel groups


def test_branches_are_registered_as_pending() -> None:
    """At the time of the announcement; their own start makes them run."""
    session = tree(start("s.c.0"), group_start("s.c.1", "s.d.0", seconds=2), start("s.d.0", seconds=3))
    assert [(loop.loop_id, loop.status, loop.started_at) for loop in session.loops] == [
        ("s.c.0", LoopStatus.RUNNING, at(0)),
        ("s.c.1", LoopStatus.PENDING, at(2)),
        ("s.d.0", LoopStatus.RUNNING, at(3)),
    ]


def test_an_announcement_before_its_session_waits() -> None:
    """It takes effect once the session is opened."""
    session = tree(group_start("s.c.0", "s.d.0"), start("s.c.0", seconds=1))
    assert {loop.loop_id: loop.status for loop in session.loops} == {
        "s.c.0": LoopStatus.RUNNING,
        "s.d.0": LoopStatus.PENDING,
    }


def test_an_announcement_does_not_turn_a_loop_back() -> None:
    """A branch that runs, or ended, before it is announced stays so."""
    session = tree(start("s.c.0"), start("s.c.1"), end("s.c.1"), group_start("s.c.0", "s.c.1"))
    assert [loop.status for loop in session.loops] == [LoopStatus.RUNNING, LoopStatus.COMPLETED]


def test_the_choice_is_set_on_every_branch_open_or_closed() -> None:
    """Pending, running and ended ones say the same but for who won."""
    session = tree(
        group_start("s.c.0", "s.c.1", "s.c.2"), start("s.c.0"), start("s.c.1"), end("s.c.0"), group_end("s.c.1", 1)
    )
    groups = [loop.parallel_group for loop in session.loops]
    for group in groups:
        assert group is not None
        assert list(group.all_loop_ids) == ["s.c.0", "s.c.1", "s.c.2"]
        assert (group.selected_loop_id, group.selected_config_index) == ("s.c.1", 1)
        assert group.evaluation_usage == Usage(input=7)
    assert {loop.loop_id for loop in session.loops if loop.parallel_group and loop.parallel_group.is_selected} == {
        "s.c.1"
    }


def test_the_order_of_choice_and_announcement_does_not_matter() -> None:
    """A choice that comes before its group is known, or before its loop, is kept until it can be set."""
    events = [group_start("s.c.0", "s.c.1"), group_end("s.c.0"), start("s.c.0"), start("s.c.1", seconds=1)]
    expected = {"s.c.0": True, "s.c.1": False}
    for order in itertools.permutations(events):
        session = tree(*order)
        found = {loop.loop_id: loop.parallel_group and loop.parallel_group.is_selected for loop in session.loops}
        assert found == expected, order


@pytest.mark.parametrize("late", [True, False], ids=["loop last", "choice last"])
def test_a_choice_without_a_group_is_a_group_of_one(late: bool) -> None:
    """The loop that won is all that is known of it."""
    events = [group_end("s.c.1"), start("s.c.1", seconds=1)]
    group = tree(start("s.c.0"), *(events if late else reversed(events))).loops[1].parallel_group
    assert group is not None
    assert (list(group.all_loop_ids), group.is_selected) == (["s.c.1"], True)


# options


def test_streaming_events_leave_gaps() -> None:
    """They are not kept unless asked for; the sequence shows where they were."""
    events = [start("s.c.0"), streamed("s.c.0"), streamed("s.c.0"), said("s.c.0", answer("done")), end("s.c.0")]
    assert [item.sequence for item in only_loop(tree(*events)).events] == [0, 3, 4]
    recorder = SessionRecorder(SessionRecorderConfig(include_streaming_events=True))
    for event in events:
        recorder.on_event(event)
    assert [item.sequence for item in recorder.sessions()[0].loops[0].events] == [0, 1, 2, 3, 4]


def test_a_gap_can_be_told() -> None:
    """Whoever filters events before the recorder can say how many."""
    loop = only_loop(tree(start("s.c.0"), EventsFiltered(loop_id="s.c.0", count=5), end("s.c.0")))
    assert [item.sequence for item in loop.events] == [0, 6]


@pytest.mark.parametrize("capture", [True, False])
def test_turn_requests_are_captured_on_request(capture: bool) -> None:
    """Then each turn has its own; else neither tree nor stream holds it."""
    recorder = SessionRecorder(SessionRecorderConfig(capture_turn_requests=capture))
    payload = {"system_prompt": "be brief"}
    request = TurnRequest(loop_id="s.c.0", turn_index=0, payload=payload, timestamp=at(1))
    events = [turn_start("s.c.0", 0), request, turn_end("s.c.0"), turn_start("s.c.0", 1), turn_end("s.c.0")]
    for event in [start("s.c.0"), *events]:
        recorder.on_event(event)
    loop = only_loop(recorder.sessions()[0])
    assert [turn.request_payload for turn in loop.turns] == [payload if capture else None, None]
    assert any(isinstance(item.event, TurnRequest) for item in loop.events) is capture


def test_a_request_of_another_turn_is_not_this_ones() -> None:
    """The index tells."""
    recorder = SessionRecorder(SessionRecorderConfig(capture_turn_requests=True))
    request = TurnRequest(loop_id="s.c.0", turn_index=4, payload={"x": 1})
    for event in [start("s.c.0"), turn_start("s.c.0", 0), request, turn_end("s.c.0")]:
        recorder.on_event(event)
    assert only_loop(recorder.sessions()[0]).turns[0].request_payload is None


def test_callbacks_are_told_of_sessions() -> None:
    """``before_task`` when one has been opened, ``after_task`` when it is completed, each once."""
    told: list[tuple[str, str]] = []
    recorder = SessionRecorder(
        SessionRecorderConfig(
            before_task=lambda session: told.append(("before", session.session_id)),
            after_task=lambda session: told.append(("after", session.session_id)),
        )
    )
    for event in [start("s.c.0"), start("s.c.1"), start("k.c.0"), end("s.c.0"), end("s.c.1")]:
        recorder.on_event(event)
    recorder.checkpoint()
    recorder.flush()
    recorder.flush()
    assert told == [("before", "s"), ("before", "k"), ("after", "s"), ("after", "k")]


def test_what_a_callback_raises_surfaces_after_the_event_is_in() -> None:
    """The callback is the caller's own code; the tree is right all the same."""

    def refuse(session: Session) -> None:
        raise RuntimeError(session.session_id)

    recorder = SessionRecorder(SessionRecorderConfig(before_task=refuse))
    with pytest.raises(RuntimeError, match="s"):
        recorder.on_event(start("s.c.0"))
    recorder.on_event(end("s.c.0"))
    assert only_loop(recorder.sessions()[0]).status is LoopStatus.COMPLETED


# ending


def test_flush_aborts_what_is_open() -> None:
    """Running and pending loops; those that ended stay as they ended. All sessions are completed."""
    recorder = fed(start("s.c.0"), end("s.c.0"), start("s.c.1"), group_start("s.c.2"), start("k.c.0"))
    recorder.flush()
    drained = {session.session_id: session for session in recorder.drain_completed()}
    assert {loop.loop_id: loop.status for session in drained.values() for loop in session.loops} == {
        "s.c.0": LoopStatus.COMPLETED,
        "s.c.1": LoopStatus.ABORTED,
        "s.c.2": LoopStatus.ABORTED,
        "k.c.0": LoopStatus.ABORTED,
    }
    assert drained["k"].loops[0].ended_at is None


def test_an_abort_is_final() -> None:
    """An end that comes after all does not complete an aborted loop."""
    loop = only_loop(tree(start("s.c.0"), SessionFlushed(session_id="s"), end("s.c.0")))
    assert loop.status is LoopStatus.ABORTED


def test_checkpoint_completes_only_sessions_without_an_open_loop() -> None:
    """Pending loops are open, too; nothing is aborted."""
    recorder = fed(
        start("s.c.0"), end("s.c.0"), start("k.c.0"), start("p.c.0"), end("p.c.0"), group_start("p.c.1", session_id="p")
    )
    assert recorder.checkpoint() == 1
    assert recorder.checkpoint() == 0
    assert [session.session_id for session in recorder.drain_completed()] == ["s"]
    assert {session.session_id for session in recorder.sessions()} == {"k", "p"}
    assert recorder.get_session("k") == fed(start("k.c.0")).get_session("k")


def test_a_completed_session_goes_on_with_its_next_loop() -> None:
    """It is one session, open again."""
    recorder = fed(start("s.c.0"), end("s.c.0"))
    recorder.checkpoint()
    recorder.on_event(start("s.c.1", seconds=2))
    assert recorder.drain_completed() == []
    assert [loop.loop_id for loop in recorder.sessions()[0].loops] == ["s.c.0", "s.c.1"]


def test_drained_sessions_are_forgotten() -> None:
    """They are handed over once; an id that comes back opens a new one, in memory."""
    recorder = fed(start("s.c.0"), end("s.c.0"))
    recorder.checkpoint()
    (drained,) = recorder.drain_completed()
    assert recorder.drain_completed() == recorder.sessions() == []
    assert recorder.get_session("s") is None
    recorder.on_event(start("s.c.1", seconds=5))
    assert [loop.loop_id for loop in recorder.sessions()[0].loops] == ["s.c.1"]
    assert [loop.loop_id for loop in drained.loops] == ["s.c.0"]
    recorder.flush()
    recorder.drain_completed()
    assert recorder._router._session_of_loop == {}


def test_the_recorder_finds_what_it_holds() -> None:
    """``current_loop`` knows open loops only; ``get_session`` knows completed sessions, too."""
    recorder = fed(start("main", "s"), start("s.c.1"), end("s.c.1"), group_start("s.c.2"))
    assert [recorder.current_loop(loop_id) is None for loop_id in ("main", "s.c.1", "s.c.2", "x")] == [
        False,
        True,
        False,
        True,
    ]
    recorder.flush()
    assert recorder.get_session("s") is recorder.sessions()[0]
    assert recorder.current_loop("main") is None


# odd input


@pytest.mark.parametrize(
    "odd",
    [
        None,
        7,
        "AgentStart",
        object(),
        {},
        {"type": "AgentStart"},
        {"type": "Novel", "loop_id": 3},
        UnknownEvent("Novel", {}),
        start("s.c.0", timestamp=START.replace(tzinfo=None)),
        start("s.c.0", agent_id=None),
        start("s.c.0", metadata=object()),
        start("s.c.0", metadata={"x": "\ud800"}),
    ],
    ids=lambda odd: re.sub(r" at 0x[0-9a-f]+", "", repr(odd)),  # the same in every process of a parallel run
)
def test_odd_input_is_counted_and_changes_nothing(odd: object) -> None:
    """``on_event`` never raises."""
    recorder = fed(odd)
    assert (recorder.ignored_count, recorder.sessions(), recorder.waiting_events) == (1, [], [])


def test_deep_input_is_counted_too() -> None:
    """Nesting beyond what can be read is odd input."""
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert fed(start("s.c.0", metadata=deep)).ignored_count == 1


def test_a_mapping_is_an_event() -> None:
    """Its JSON, as a log holds it."""
    data = {"type": "AgentStart", "agent_id": "agent", "session_id": "s", "loop_id": "s.c.0", "timestamp": at(0)}
    assert tree(data) == tree(start("s.c.0"))


def test_any_session_id_will_do_in_memory() -> None:
    """Only a store asks for ids that can be file names."""
    recorder = fed(start("a b.c.0", "a b"), end("a b.c.0"))
    assert only_loop(recorder.sessions()[0]).status is LoopStatus.COMPLETED


# whole stories


def stripped(recorder: SessionRecorder) -> list[Session]:
    """Return the trees without their event streams."""
    for session in recorder.sessions():
        for loop in session.loops:
            loop.events = []
    return sorted(recorder.sessions(), key=lambda session: session.session_id)


def test_a_story_cut_anywhere_makes_trees_that_can_be_flushed() -> None:
    """However much of it was seen, nothing stays open after a flush, and what had ended is as it ended."""
    whole = {loop.loop_id: loop for session in fed(*STORY).sessions() for loop in session.loops}
    for cut in range(len(STORY) + 1):
        recorder = fed(*STORY[:cut])
        ended = {event.loop_id for event in STORY[:cut] if isinstance(event, AgentEnd)}
        recorder.flush()
        for loop in (loop for session in recorder.drain_completed() for loop in session.loops):
            assert loop.status is (LoopStatus.COMPLETED if loop.loop_id in ended else LoopStatus.ABORTED)
            assert loop.turns == whole[loop.loop_id].turns[: len(loop.turns)]


def test_a_story_told_twice_is_the_same_story() -> None:
    """Every event duplicated, or the whole again from the start: but for what was said twice, the trees are equal."""
    quiet = [event for event in STORY if type(event).__name__ != "MessageEnd"]
    once = stripped(fed(*quiet))
    assert stripped(fed(*(event for event in quiet for _ in range(2)))) == once
    assert stripped(fed(*quiet, *quiet)) == once


@given(st.data())
def test_interleaving_sessions_changes_nothing(data: st.DataObject) -> None:
    """Each session's tree depends on the order of its own events only, links between sessions included."""
    of_child = [event for event in STORY if getattr(event, "loop_id", "").startswith("k")]
    of_parent = [event for event in STORY if event not in of_child]
    merged: list[AgentEvent] = []
    left = [list(of_parent), list(of_child)]
    while any(left):
        merged.append(data.draw(st.sampled_from([events for events in left if events])).pop(0))
    assert stripped(fed(*merged)) == stripped(fed(*STORY))


@given(st.permutations(STORY))
def test_any_order_keeps_the_tree_whole(events: list[AgentEvent]) -> None:
    """Every loop that started is there once, and parents and children agree."""
    for session in fed(*events).sessions():
        assert len({loop.loop_id for loop in session.loops}) == len(session.loops)
        assert [loop.started_at for loop in session.loops] == sorted(loop.started_at for loop in session.loops)
        for loop in session.loops:
            for child_id in loop.children_loop_ids:
                child = session.get_loop(child_id)
                assert child is not None
                assert child.parent_loop_id == loop.loop_id
        assert sorted(loop.loop_id for _, loop in session.walk()) == sorted(loop.loop_id for loop in session.loops)


def test_the_text_of_the_story_is_there() -> None:
    """The story's own tree, once, as a whole."""
    recorder = fed(*STORY)
    session = recorder.get_session("s")
    assert session is not None
    assert [(depth, loop.loop_id, loop.status.value) for depth, loop in session.walk()] == [
        (0, "s.c.0", "completed"),
        (1, "s.c.1", "completed"),
        (1, "s.d.0", "completed"),
    ]
    first = session.loops[0]
    assert [
        turn.output_message.content for turn in first.turns if not isinstance(turn.output_message, ExtensionMessage)
    ] == [
        [Text("done")],
        [Text("a, b and c")],
    ]
    assert session.total_usage() == Usage(input=9, output=1)
