"""What frameworks keep reads as a conversation: their payloads, and what the CLI's queries make of them."""

import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionlog import (
    ConfigChanged,
    Extension,
    ImagePart,
    LlmUsage,
    Message,
    Reasoning,
    SessionStartState,
    TextPart,
    ToolCall,
    ToolResult,
    UserInput,
    assistant_message,
    build_chain,
    user_message,
)
from sessionlog.catalog.rows import RowFold
from sessionlog.queries import Tally, Tokens
from sessionlog.queries.texts import Texts
from sessionlog.readings import as_counted, as_read
from sessionlog.readings.claude_agent_sdk import items_of as claude_items
from sessionlog.readings.langgraph import items_of as langgraph_items
from sessionlog.readings.openai_agents import items_of as openai_items
from sessionlog.readings.pydantic_ai import items_of as pydantic_items
from sessionlog.readings.strands import items_of as strands_items
from sessionlog.readings.values import Usage
from sessionlog.session.start import start_entry

TURN = [
    {"role": "user", "content": "How warm is it?"},
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "I need the tool."}]},
    {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city":"Oslo"}'},
    {"type": "function_call_output", "call_id": "c1", "output": "21 degrees"},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "It is 21 degrees."}]},
]


def added(*items: Any) -> dict[str, Any]:
    return {"op": "add", "items": list(items)}


def test_items_of_the_openai_agents_sdk() -> None:
    """Messages, calls, results and reasoning of the Responses API read as what they are."""
    assert openai_items(added(*TURN)) == [
        user_message("How warm is it?"),
        Reasoning("I need the tool.", id="rs_1"),
        ToolCall("c1", "weather", '{"city":"Oslo"}'),
        ToolResult("c1", "21 degrees"),
        assistant_message("It is 21 degrees."),
    ]


def test_hosted_tools_and_items_kept_as_text() -> None:
    """A hosted tool's call reads as a call; an item that a log refuses is read from its JSON text."""
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"query": "Oslo"}}
    kept = {"json": json.dumps({"role": "user", "content": "half \ud800 a pair"})}
    assert openai_items(added(search, kept)) == [
        ToolCall("ws_1", "web_search", '{"action": {"query": "Oslo"}}', "ws_1"),
        user_message("half ? a pair"),
    ]


def message(kind: str, **members: Any) -> msgspec.msgpack.Ext:
    """Return a message as LangGraph's serializer writes it."""
    members = {"content": "", "additional_kwargs": {}, "type": kind, "id": None, **members}
    whole = [f"langchain_core.messages.{kind}", kind.title(), members, "model_validate_json"]
    return msgspec.msgpack.Ext(5, msgspec.msgpack.encode(whole))


def put(*values: list[Any]) -> dict[str, Any]:
    return {"op": "put", "values": list(values)}


def packed(value: Any) -> str:
    return base64.b64encode(msgspec.msgpack.encode(value)).decode()


def test_messages_of_langgraph() -> None:
    """A checkpoint's messages read as items, whichever channel holds them; its input, which it repeats, does not."""
    call = {"name": "weather", "args": {"city": "Oslo"}, "id": "c1", "type": "tool_call"}
    thought = [{"type": "thinking", "thinking": "The tool."}, {"type": "text", "text": "Let me see."}]
    said = [
        message("system", content="Be kind."),
        message("human", content="How warm is it?", id="m1"),
        message("ai", content=thought, tool_calls=[call]),
        message("tool", content="no network", tool_call_id="c1", status="error"),
    ]
    whole = ["history", "1", "msgpack", packed(said)]
    assert langgraph_items(put(["__start__", "1", "msgpack", packed({"history": said})], whole)) == [
        Message("system", [TextPart("Be kind.")]),
        Message("user", [TextPart("How warm is it?")], "m1"),
        Reasoning("The tool."),
        assistant_message("Let me see."),
        ToolCall("c1", "weather", '{"city": "Oslo"}'),
        ToolResult("c1", "no network", is_error=True),
    ]


def test_what_a_checkpoint_added_is_read_alone() -> None:
    """Of a list that grew, the record holds the new elements and their number, and these are read."""
    new = b"".join(
        msgspec.msgpack.encode(one) for one in (message("human", content="And"), message("ai", content="So"))
    )
    value = ["messages", "2", "msgpack", base64.b64encode(new).decode(), "1", 2]
    assert langgraph_items(put(value)) == [user_message("And"), assistant_message("So")]


def told(kind: str, *parts: Any, **members: Any) -> dict[str, Any]:
    """Return a message of Pydantic AI as its adapter keeps it."""
    return {"op": "message", "id": "e1", "parent": None, "message": {"kind": kind, "parts": [*parts], **members}}


RESPONSE = told(
    "response",
    {"part_kind": "thinking", "content": "The tool."},
    {"part_kind": "text", "content": "Let me see."},
    {"part_kind": "tool-call", "tool_name": "weather", "tool_call_id": "c1", "args": {"city": "Oslo"}},
    {"part_kind": "tool-call", "tool_name": "weather", "tool_call_id": "c2", "args": '{"city":"Bergen"}'},
    model_name="a model",
    usage={"input_tokens": 12, "cache_read_tokens": 4, "cache_write_tokens": 2, "output_tokens": 3},
)


def test_messages_of_pydantic_ai() -> None:
    """Prompts, answers, thoughts, calls and what tools returned read as what they are, and a response by its cost."""
    prompt = [
        "How warm is it?",
        {"kind": "text-content", "content": "Here:"},
        {"kind": "image-url", "url": "https://example.org/map.png"},
        {"kind": "binary", "data": "aGk=", "media_type": "image/png"},
        {"kind": "binary", "data": "aGk=", "media_type": "audio/wav"},
    ]
    request = told(
        "request",
        {"part_kind": "system-prompt", "content": "Be kind."},
        {"part_kind": "tool-return", "tool_call_id": "c1", "content": "21 degrees", "outcome": "success"},
        {"part_kind": "tool-return", "tool_call_id": "c2", "content": {"why": "no network"}, "outcome": "failed"},
        {"part_kind": "retry-prompt", "tool_name": "weather", "tool_call_id": "c3", "content": "no such city"},
        {"part_kind": "user-prompt", "content": prompt},
    )
    image = ImagePart(url="https://example.org/map.png"), ImagePart(data="aGk=", media_type="image/png")
    assert pydantic_items(request) == [
        Message("system", [TextPart("Be kind.")]),
        ToolResult("c1", "21 degrees"),
        ToolResult("c2", '{"why": "no network"}', is_error=True),
        ToolResult("c3", "no such city", is_error=True),
        Message("user", [TextPart("How warm is it?"), TextPart("Here:"), *image]),
    ]
    assert pydantic_items(RESPONSE) == [
        Reasoning("The tool."),
        assistant_message("Let me see."),
        ToolCall("c1", "weather", '{"city": "Oslo"}'),
        ToolCall("c2", "weather", '{"city":"Bergen"}'),
        Usage("a model", 12, 4, 2, 3),
    ]


def test_what_was_spent_is_counted_by_model_and_once() -> None:
    """Statistics count a response's tokens under its model; of a response that a fork shares, its source's log does."""
    tally = Tally("one")
    start = start_entry("one", SessionStartState(), ts=1)
    shared = {**RESPONSE, "of": "another"}
    for record in build_chain(
        [start, *(Extension(ts=5, domain="pydantic_ai", payload=one) for one in (shared, RESPONSE))]
    ):
        tally.take(record)
    assert tally.stats.models == {"a model": Tokens(1, 12, 4, 2, 3)}
    assert tally.stats.tools["weather"].calls == 4
    read = Extension(ts=5, domain="pydantic_ai", payload=RESPONSE)
    assert as_read(read) == [one for one in as_counted(read) if not isinstance(one, ConfigChanged | LlmUsage)]
    plain = UserInput(ts=7, item=user_message("x"))
    assert as_counted(plain) == (plain,)


@pytest.mark.parametrize("count", [-1, 2**53, True, "7", None, 1.5])
def test_a_number_of_tokens_that_is_none_counts_as_nothing(count: Any) -> None:
    payload = told("response", usage={"input_tokens": count, "output_tokens": 2**53 - 1})
    assert pydantic_items(payload) == [Usage(None, 0, 0, 0, 2**53 - 1)]


@given(st.recursive(st.none() | st.integers() | st.text(), lambda one: st.lists(one) | st.dictionaries(st.text(), one)))
def test_no_payload_stops_a_reader(payload: Any) -> None:
    """Whatever a payload is, reading it gives items and never an error."""
    for shape in (payload, added(payload), added({"json": payload}), put(payload), {"op": "put", "values": payload}):
        assert isinstance(openai_items(shape), list)
        assert isinstance(langgraph_items(shape), list)
    for part in ({"part_kind": "user-prompt", "content": payload}, {"part_kind": payload, "content": payload}, payload):
        assert isinstance(pydantic_items(told("response", part, usage=payload)), list)
        assert isinstance(pydantic_items({"op": "message", "message": payload}), list)


@given(st.binary(max_size=40), st.sampled_from([[], [1, 2], [1, -1], [1, 2**32 - 1], [1, 2**40], [1]]))
def test_no_bytes_stop_a_reader(data: bytes, since: list[int]) -> None:
    """Values that are no MessagePack, or less of it than they say, read as nothing."""
    assert langgraph_items(put(["messages", 1, "msgpack", base64.b64encode(data).decode(), *since])) == []
    assert langgraph_items(put(["messages", 1, "msgpack", data.hex() + "!", *since])) == []


def test_a_framework_s_record_reads_as_entries_and_another_as_itself() -> None:
    """Known domains are read; an extension of another domain, and every other entry, stays what it is."""
    read = as_read(Extension(ts=7, domain="openai_agents", payload=added(TURN[0])))
    assert read == [UserInput(ts=7, item=user_message("How warm is it?"))]
    for entry in (Extension(ts=7, domain="other", payload=added(TURN[0])), UserInput(ts=7, item=user_message("x"))):
        assert as_read(entry) == (entry,)


def test_queries_see_the_conversation() -> None:
    """Statistics count its turns and tools; a text search finds its words with who said them."""
    start = start_entry("one", SessionStartState(), ts=1)
    records = build_chain([start, *(Extension(ts=5, domain="openai_agents", payload=added(item)) for item in TURN)])
    tally, texts = Tally("one"), Texts()
    for record in records:
        tally.take(record)
    assert (tally.stats.turns, tally.stats.tools["weather"].calls, tally.stats.dangling_calls) == (1, 1, 0)
    pieces = [piece for record in records for piece in texts.pieces(record.entry)]
    assert [(piece.role, piece.tool, piece.text) for piece in pieces] == [
        ("user", None, "How warm is it?"),
        ("assistant", None, "I need the tool."),
        ("assistant", "weather", "weather\ncity: Oslo"),
        ("tool", "weather", "21 degrees"),
        ("assistant", None, "It is 21 degrees."),
    ]


def test_a_list_shows_what_was_said_first() -> None:
    """What people know a session by is the first thing that the user said, in a framework's record, too."""
    fold = RowFold.begin("s")
    said = Extension(ts=5, domain="openai_agents", payload=added(*TURN))
    for record in build_chain([start_entry("s", SessionStartState(), ts=1), said]):
        fold.take(record)
    assert fold.row().first_words == "How warm is it?"


def test_transcripts_of_the_claude_agent_sdk() -> None:
    """What a person, a model and tools said reads as that; a message that the program put in is no person's."""
    thought = {"type": "thinking", "thinking": "I need the tool.", "signature": "s"}
    call = {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Oslo"}}
    result = {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "21"}], "is_error": True}
    refused = {"type": "user", "message": {"content": "half \ud800 a pair"}}
    entries = [
        {"type": "summary", "summary": "not said"},
        {"type": "user", "message": {"content": "How warm is it?"}},
        {"type": "user", "isMeta": True, "message": {"content": "a caveat"}},
        {"type": "assistant", "message": {"id": "m1", "content": [thought, call]}},
        {"type": "user", "message": {"content": [result]}},
        {"type": "assistant", "message": {"id": "m2", "content": [{"type": "text", "text": "21 degrees."}]}},
        {"json": json.dumps(refused)},
    ]
    assert claude_items({"op": "append", "entries": entries}) == [
        user_message("How warm is it?"),
        Message("system", [TextPart("a caveat")]),
        Reasoning("I need the tool.", id="m1"),
        ToolCall("c1", "weather", '{"city": "Oslo"}', "m1"),
        ToolResult("c1", "21", is_error=True),
        Message("assistant", [TextPart("21 degrees.")], "m2"),
        user_message("half ? a pair"),
    ]
    for shape in (
        None,
        {"op": "append", "entries": [None, {}, {"json": "{"}, {"type": "user", "message": 1}]},
        {"op": "?"},
    ):
        assert claude_items(shape) == []


def test_sessions_of_strands_agents() -> None:
    """A message that was added reads block by block; its later versions, and other records, give nothing."""
    call = {"toolUse": {"toolUseId": "c1", "name": "weather", "input": {"city": "Oslo"}}}
    thought = {"reasoningContent": {"reasoningText": {"text": "I need the tool.", "signature": "s"}}}
    result = {"toolResult": {"toolUseId": "c1", "status": "error", "content": [{"text": "21"}, {"json": {"n": 1}}]}}
    contents = [("user", [{"text": "How warm?"}]), ("assistant", [thought, call]), ("user", [result])]
    payloads = [{"op": "message", "message": {"message": {"role": role, "content": said}}} for role, said in contents]
    assert [item for payload in payloads for item in strands_items(payload)] == [
        user_message("How warm?"),
        Reasoning("I need the tool."),
        ToolCall("c1", "weather", '{"city": "Oslo"}'),
        ToolResult("c1", '21\n{"json": {"n": 1}}', is_error=True),
    ]
    for shape in (None, {}, {**payloads[0], "op": "update"}, {"op": "message", "message": {"json": "{"}}):
        assert strands_items(shape) == []
