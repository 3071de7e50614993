"""Events and messages as they are written and read."""

import typing

import msgspec
import pytest
from hypothesis import given
from loops_factories import START, answer, at, events_strategy, said, start, streamed, tool_answer, user

from sessionlog.loops import (
    AgentEvent,
    AgentStart,
    AssistantMessage,
    ExtensionMessage,
    Image,
    MessageUpdate,
    StopReason,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCallContent,
    ToolCallDelta,
    ToolExecutionEnd,
    TurnId,
    TurnStart,
    TurnTrigger,
    UnknownEvent,
    Usage,
    UserMessage,
    decode_event,
    encode_event,
)
from sessionlog.loops.events import EVENT_TYPES, KnownEvent, decode_known_event, loop_of, session_named_by

RUNTIME_EVENTS = {
    "AgentStart",
    "AgentEnd",
    "TurnStart",
    "TurnRequest",
    "TurnEnd",
    "MessageStart",
    "MessageUpdate",
    "MessageEnd",
    "ToolExecutionStart",
    "ToolExecutionUpdate",
    "ToolExecutionEnd",
    "ProgressMessage",
    "InputRejected",
    "ParallelLoopStart",
    "ParallelLoopEnd",
    "CompactionStarted",
    "CompactionEnded",
    "PrunApplied",
    "RevertApplied",
}


@given(events_strategy())
def test_an_event_is_what_its_json_says(event: AgentEvent) -> None:
    """Through JSON text and back; ``type`` is its class's name and stands first."""
    data = msgspec.json.decode(msgspec.json.encode(encode_event(event)))
    assert encode_event(decode_event(data)) == data
    assert next(iter(data)) == "type"
    assert data["type"] == (event.type if isinstance(event, UnknownEvent) else type(event).__name__)


def test_every_runtime_event_is_known() -> None:
    """By the names that runtimes use, and with aware timestamps wherever there is one."""
    assert set(EVENT_TYPES) >= RUNTIME_EVENTS
    for struct in typing.get_args(KnownEvent):
        for field in msgspec.structs.fields(struct):
            if field.name == "timestamp":
                assert "tz=True" in repr(field.type)


def test_what_is_not_said_is_not_written() -> None:
    """Defaults are left out; timestamps are RFC 3339."""
    assert encode_event(start("s.c.0")) == {
        "type": "AgentStart",
        "agent_id": "agent",
        "session_id": "s",
        "loop_id": "s.c.0",
        "timestamp": "2026-03-01T12:00:00Z",
    }


def test_names_are_snake_case_on_disk() -> None:
    """Members and enum values; ``toolCall`` and ``toolResult`` are the tags of their kinds."""
    message = AssistantMessage(
        [Thinking("hm", "sig"), ToolCallContent("t1", "ls", {"path": "."}), Image("QQ==", "image/png")],
        5,
        stop_reason=StopReason.TOOL_USE,
        error_message="late",
        turn_id=TurnId("s.c.0", 2),
        node_id=1,
        parent_id="n0",
        tags=["x"],
        provenance_hint={"kind": "steering"},
    )
    assert encode_event(said("s.c.0", message))["message"] == {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "sig"},
            {"type": "toolCall", "id": "t1", "name": "ls", "arguments": {"path": "."}},
            {"type": "image", "data": "QQ==", "mime_type": "image/png"},
        ],
        "timestamp": 5,
        "stop_reason": "tool_use",
        "error_message": "late",
        "turn_id": {"loop_id": "s.c.0", "turn_index": 2},
        "node_id": 1,
        "parent_id": "n0",
        "tags": ["x"],
        "provenance_hint": {"kind": "steering"},
    }
    assert encode_event(said("s.c.0", tool_answer("t1", "out")))["message"]["role"] == "toolResult"
    assert encode_event(said("s.c.0", ExtensionMessage("note", 1)))["message"] == {
        "role": "extension",
        "kind": "note",
        "data": 1,
    }


@pytest.mark.parametrize("delta", [TextDelta("a"), ThinkingDelta("b"), ToolCallDelta("{")])
def test_deltas_are_told_apart(delta: TextDelta | ThinkingDelta | ToolCallDelta) -> None:
    """By their type."""
    event = MessageUpdate(loop_id="s.c.0", message=answer("a"), delta=delta)
    assert decode_event(encode_event(event)) == event
    assert encode_event(streamed("s.c.0"))["delta"]["type"] == "TextDelta"


def test_unknown_types_are_kept_with_all_their_members() -> None:
    """And go back to the same JSON."""
    data = {"type": "Novel", "loop_id": "s.c.0", "depth": {"a": [1, None]}}
    event = decode_event(data)
    assert event == UnknownEvent("Novel", {"loop_id": "s.c.0", "depth": {"a": [1, None]}})
    assert encode_event(event) == data
    assert encode_event(UnknownEvent("Novel", {"type": "Other", "x": 1})) == {"type": "Novel", "x": 1}


def test_unknown_members_of_known_types_do_no_harm() -> None:
    """The event is read as far as it is known."""
    assert decode_event({**encode_event(start("s.c.0")), "mood": "good"}) == start("s.c.0")


@given(events_strategy())
def test_text_and_values_decode_alike(event: AgentEvent) -> None:
    """What is applied as an event comes is what a reader of its record makes of it."""
    text = msgspec.json.encode(encode_event(event))
    if isinstance(event, KnownEvent):
        assert decode_known_event(text) == decode_event(msgspec.json.decode(text))


@pytest.mark.parametrize(
    ("data", "event"),
    [
        (None, UnknownEvent("")),
        ([1], UnknownEvent("")),
        ({}, UnknownEvent("")),
        ({"type": 7, "x": 1}, UnknownEvent("", {"x": 1})),
        ({"type": "AgentEnd", "loop_id": "s.c.0"}, UnknownEvent("AgentEnd", {"loop_id": "s.c.0"})),
        (
            {"type": "AgentEnd", "loop_id": "s.c.0", "timestamp": "2026-03-01T12:00:00"},
            UnknownEvent("AgentEnd", {"loop_id": "s.c.0", "timestamp": "2026-03-01T12:00:00"}),
        ),
    ],
)
def test_what_does_not_decode_is_unknown(data: object, event: UnknownEvent) -> None:
    """A naive timestamp, a missing member, something that is no event at all."""
    assert decode_event(data) == event


def test_events_belong_to_loops_or_sessions() -> None:
    """Unknown ones by their members of that name."""
    assert (loop_of(start("s.c.0")), session_named_by(start("s.c.0"))) == ("s.c.0", "s")
    assert (loop_of(said("s.c.0", user("hi"))), session_named_by(said("s.c.0", user("hi")))) == ("s.c.0", None)
    assert loop_of(UnknownEvent("Novel", {"loop_id": "x"})) == "x"
    assert session_named_by(UnknownEvent("Novel", {"session_id": "x"})) == "x"
    assert loop_of(UnknownEvent("Novel", {"loop_id": 3})) is None


def test_only_events_are_encoded() -> None:
    """Other structs are no events, whatever they hold."""
    with pytest.raises(TypeError):
        encode_event(Usage())  # type: ignore[arg-type]


def test_messages_take_their_content_first() -> None:
    """By position or by name; the rest has defaults."""
    assert UserMessage([Text("hi")], 1) == UserMessage(content=[Text("hi")], timestamp=1) == user("hi")
    assert ToolExecutionEnd(loop_id="x", tool_call_id="t", tool_name="n").child is None
    assert TurnStart(loop_id="x", turn_index=0, timestamp=START).triggered_by is TurnTrigger.USER
    assert isinstance(decode_event(encode_event(start("s.c.0", timestamp=at(1)))), AgentStart)
