"""Events leave out what the log has told already, and read as if they said it."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loops_factories import answer, assert_log_says_the_same, end, said, start, tool_answer, turn_end, turn_start, user

from sessionlog import (
    AgentEventEntry,
    AssistantItems,
    Extension,
    Item,
    MemoryStore,
    SessionId,
    SessionLog,
    ToolCall,
    ToolResults,
    assistant_message,
    reasoning,
    tool_call,
    tool_result,
)
from sessionlog.loops import (
    AgentEvent,
    AgentMessage,
    AssistantMessage,
    Content,
    Image,
    SessionRecorder,
    Text,
    Thinking,
    ToolCallContent,
    ToolExecutionEnd,
    ToolResult,
    ToolResultMessage,
    TurnEnd,
    UserMessage,
    collect_session,
    decode_event,
    encode_event,
)
from sessionlog.loops.as_told import Told

pytestmark = pytest.mark.anyio
LOOP = "s.c.0"
ANSWER = answer("I look.")
RESULT = tool_answer("t1", "out")
SAID: list[AgentMessage] = [user("hi"), ANSWER, RESULT]


def event_json(event: AgentEvent) -> Any:
    return json.loads(json.dumps(encode_event(event)))


def told_after(*said: Any) -> Told:
    """Return what a log has told after events and entries."""
    told = Told()
    for one in said:
        if type(one).__module__.endswith("entries"):
            told.take_entry(one)
        else:
            told.take(event_json(one))
    return told


async def logged_events(recorder: SessionRecorder) -> list[Any]:
    records = await recorder.store.read_all(SessionId("s"))
    return [record.entry.event for record in records if isinstance(record.entry, AgentEventEntry)]


async def test_a_text_stands_in_a_recorded_log_once() -> None:
    """The ends of a turn and of a loop say only that it was told; the tree has all of it."""
    recorder = SessionRecorder()
    result = ToolResult([Text("out")])
    events: list[AgentEvent] = [
        start(LOOP),
        turn_start(LOOP),
        said(LOOP, user("What is there?")),
        said(LOOP, ANSWER),
        ToolExecutionEnd(loop_id=LOOP, tool_call_id="t1", tool_name="ls", result=result),
        said(LOOP, RESULT),
        turn_end(LOOP, message=ANSWER, tool_results=[RESULT]),
        end(LOOP, messages=[user("What is there?"), ANSWER, RESULT]),
    ]
    for event in events:
        await recorder.record(event)
    *_, turn, loop = await logged_events(recorder)
    assert (turn["type"], turn["as_told"], "message" in turn, "tool_results" in turn) == ("TurnEnd", True, False, False)
    assert (loop["type"], loop["as_told"], "messages" in loop) == ("AgentEnd", True, False)
    text = b"".join([record.line for record in await recorder.store.read_all(SessionId("s"))])
    assert text.count(b"I look.") == 1
    [found] = collect_session(await recorder.store.read_all(SessionId("s"))).loops
    assert found.messages == [user("What is there?"), ANSWER, RESULT]
    assert found.turns[0].output_message == ANSWER
    await assert_log_says_the_same(recorder)


@pytest.mark.parametrize(
    ("message", "results", "messages"),
    [
        (answer("other"), [RESULT], [user("hi"), answer("other"), RESULT]),
        (ANSWER, [tool_answer("t1", "other")], [user("hi"), ANSWER, tool_answer("t1", "other")]),
        (ANSWER, [], [user("hi"), ANSWER]),
        (ANSWER, [RESULT], [ANSWER]),
        (ANSWER, [RESULT], []),
    ],
    ids=["message", "result", "no results", "loop", "no messages"],
)
async def test_what_differs_is_written_out(message: Any, results: list[Any], messages: list[Any]) -> None:
    """A runtime that says at the end something else than before is believed."""
    recorder = SessionRecorder()
    for event in (start(LOOP), turn_start(LOOP), said(LOOP, user("hi")), said(LOOP, ANSWER), said(LOOP, RESULT)):
        await recorder.record(event)
    await recorder.record(turn_end(LOOP, message=message, tool_results=results))
    await recorder.record(end(LOOP, messages=messages))
    [loop] = collect_session(await recorder.store.read_all(SessionId("s"))).loops
    assert (loop.turns[0].output_message, loop.messages) == (message, messages)
    answers = [one for one in loop.turns[0].tool_results if isinstance(one, ToolResultMessage)]
    assert [one.content for one in answers] == [one.content for one in results]
    await assert_log_says_the_same(recorder)


def test_items_of_the_turn_are_what_was_told() -> None:
    """A log that holds items and events: results, and the content of messages, come from the items."""
    called: list[Item] = [reasoning("hm"), assistant_message("I look."), tool_call("t1", "ls", '{"path":"."}')]
    told = told_after(
        start(LOOP),
        turn_start(LOOP),
        AssistantItems(ts=1, items=called),
        ToolResults(ts=2, items=[tool_result("t1", "out", '{"exit":0}')]),
    )
    done = ToolExecutionEnd(
        loop_id=LOOP, tool_call_id="t1", tool_name="ls", result=ToolResult([Text("out")], {"exit": 0})
    )
    short = told.shorten(event_json(done))
    assert short == {
        "type": "ToolExecutionEnd",
        "loop_id": LOOP,
        "tool_call_id": "t1",
        "tool_name": "ls",
        "as_told": True,
    }
    assert told.fill(short) == event_json(done)
    told.take(event_json(done))
    content: list[Content] = [Thinking("hm"), Text("I look."), ToolCallContent("t1", "ls", {"path": "."})]
    ended = turn_end(LOOP, message=AssistantMessage(content, 2, model="m"), tool_results=[RESULT])
    short = told.shorten(event_json(ended))
    assert "content" not in short["message"]
    assert [one for one in short["tool_results"] if "content" in one] == []
    assert told.fill(short) == event_json(ended)


@pytest.mark.parametrize(
    "result",
    [
        ToolResult([Text("other")], {"exit": 0}),
        ToolResult([Text("out")], {"exit": False}),
        ToolResult([Text("out")]),
        ToolResult([], {"exit": 0}),
        ToolResult([Text("out"), Image("aa", "image/png")], {"exit": 0}),
    ],
    ids=["text", "false is not 0", "no details", "no content", "more content"],
)
def test_a_result_that_differs_is_read_as_it_was_given(result: ToolResult) -> None:
    told = told_after(turn_start(LOOP), ToolResults(ts=2, items=[tool_result("t1", "out", '{"exit":0}')]))
    data = event_json(ToolExecutionEnd(loop_id=LOOP, tool_call_id="t1", tool_name="ls", result=result))
    short = told.shorten(data)
    assert "result" in short or result == ToolResult()
    assert json.dumps(told.fill(short), sort_keys=True) == json.dumps(data, sort_keys=True)


async def test_another_writer_of_the_log_takes_nothing_away() -> None:
    """A recorder beside a SessionLog does not see its items: what the reader derives is what the recorder was told."""
    store = MemoryStore()
    recorder = SessionRecorder(store=store)
    await recorder.record(start(LOOP))
    await recorder.record(turn_start(LOOP))
    log = SessionLog(store, SessionId("s"), await store.read_head(SessionId("s")))
    await recorder.attach(log)
    await log.save_delta([assistant_message("from the items"), ToolCall("t1", "ls", "{}"), tool_result("t1", "items")])
    await recorder.record(said(LOOP, ANSWER))
    await recorder.record(said(LOOP, RESULT))
    ended = TurnEnd(loop_id=LOOP, message=ANSWER, tool_results=[RESULT], timestamp=end(LOOP).timestamp)
    await recorder.record(ended)
    assert (await logged_events(recorder))[-1]["as_told"] is True
    await assert_log_says_the_same(recorder)


def test_a_claim_without_ground_is_no_event() -> None:
    """A log that says ``as_told`` of what it never told folds all the same; the turn's end is kept as unknown."""
    told = told_after(start(LOOP), turn_start(LOOP))
    data = {"type": "TurnEnd", "loop_id": LOOP, "timestamp": "2026-03-01T12:00:00Z", "as_told": True}
    assert told.fill(data) == {name: value for name, value in data.items() if name != "as_told"}


def test_alone_such_an_event_decodes_with_blanks() -> None:
    """Who decodes one event of a log without what came before it meets empty messages, not an unknown event."""
    data = {"type": "TurnEnd", "loop_id": LOOP, "timestamp": "2026-03-01T12:00:00Z", "as_told": True}
    bare = decode_event(data)
    assert isinstance(bare, TurnEnd)
    assert bare.message == AssistantMessage([])
    told = decode_event({**data, "message": {"role": "assistant", "model": "m"}, "tool_results": [{"role": "user"}]})
    assert isinstance(told, TurnEnd)
    assert (told.message, told.tool_results) == (AssistantMessage([], model="m"), [UserMessage([])])
    assert "message" not in data


def test_a_log_without_turns_keeps_nothing() -> None:
    """What no turn can repeat is not remembered: a long log of items folds in bounded memory."""
    told = told_after(AssistantItems(ts=1, items=[assistant_message("x")]), Extension(ts=1, domain="d", payload=1))
    assert told._turns == {}
    assert told._messages == {}


_texts = st.sampled_from(["", "a", "b"])
_contents = st.lists(_texts.map(lambda text: {"type": "text", "text": text}), max_size=2)
_messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "toolResult", "extension", 1])},
    optional={"content": _contents, "tool_call_id": st.sampled_from(["t1", "t2", 3]), "x": st.just(True)},
)
_events = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["AgentStart", "TurnStart", "MessageEnd", "ToolExecutionEnd", "TurnEnd", "AgentEnd"]),
        "loop_id": st.sampled_from(["a", "b", 1]),
    },
    optional={
        "message": _messages | st.none() | st.just("odd"),
        "messages": st.lists(_messages, max_size=3) | st.just("odd"),
        "tool_results": st.lists(_messages | st.just(1), max_size=2) | st.just({}),
        "tool_call_id": st.sampled_from(["t1", "t2", []]),
        "result": st.fixed_dictionaries({}, optional={"content": _contents, "details": _texts}) | st.just("odd"),
        "as_told": st.sampled_from([True, False]),
    },
)


@settings(max_examples=300)
@given(st.lists(_events, max_size=12))
def test_filling_undoes_shortening(events: list[Any]) -> None:
    """For every event, however odd, at every place: what is read is what was given."""
    told = Told()
    for data in events:
        short = told.shorten(data)
        if "as_told" not in data:
            assert told.fill(short) == data
        told.take(told.fill(short))


_usual = st.one_of(
    st.just(turn_start(LOOP)),
    st.sampled_from(SAID).map(lambda message: said(LOOP, message)),
    st.just(turn_end(LOOP, message=ANSWER, tool_results=[RESULT])),
    st.just(turn_end(LOOP, message=ANSWER)),
    st.just(end(LOOP, messages=[user("hi"), ANSWER, RESULT])),
    st.just(end(LOOP, messages=[ANSWER])),
    st.just(ToolExecutionEnd(loop_id=LOOP, tool_call_id="t1", tool_name="ls", result=ToolResult([Text("out")]))),
)


@settings(max_examples=150)
@given(st.lists(_usual, max_size=14))
def test_usual_events_read_back_equal(events: list[AgentEvent]) -> None:
    """Likely sequences, of which many are shortened, give events equal to those that were recorded."""
    told, reader = Told(), Told()
    for event in (start(LOOP), *events):
        data = event_json(event)
        short = told.shorten(data)
        told.take(data)
        read = reader.fill(short)
        reader.take(read)
        assert read == data
