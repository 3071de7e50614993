"""Messages and history items say the same, where both can say it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loops_factories import answer, tool_answer, user

from sessionlog import (
    ImagePart,
    Item,
    Message,
    Reasoning,
    RefusalPart,
    TextPart,
    ToolCall,
    ToolResult,
    assistant_message,
    reasoning,
    system_message,
    tool_call,
    tool_result,
    user_message,
)
from sessionlog.loops import (
    AgentMessage,
    AssistantMessage,
    ExtensionMessage,
    Image,
    Text,
    Thinking,
    ToolCallContent,
    ToolResultMessage,
    UserMessage,
    from_items,
    to_items,
)

texts = st.text(max_size=5)
parts = st.one_of(
    st.builds(TextPart, text=texts),
    st.builds(ImagePart, data=st.just("QQ=="), media_type=st.just("image/png")),
    st.builds(ImagePart, url=st.just("http://localhost/x.png")),
)
items_strategy: st.SearchStrategy[list[Item]] = st.lists(
    st.one_of(
        st.builds(
            Message, role=st.sampled_from(["user", "assistant"]), content=st.lists(parts, min_size=1, max_size=3)
        ),
        st.builds(system_message, texts),
        st.builds(
            ToolCall, call_id=texts, name=texts, arguments=st.sampled_from(['{"a":1}', "{}", "{bad", '"x"', "[1]"])
        ),
        st.builds(ToolResult, call_id=texts, summary=texts, is_error=st.booleans()),
        st.builds(Reasoning, text=texts, signature=st.none() | texts),
    ),
    max_size=8,
)


@given(items_strategy)
def test_items_survive_as_messages(items: list[Item]) -> None:
    """There and back again, for all that messages have a word for."""
    assert to_items(from_items(items)) == items


def test_a_run_of_the_model_is_one_message() -> None:
    """Reasoning, text and tool calls together; the tool's answer knows its tool's name."""
    items: list[Item] = [
        user_message("list it"),
        reasoning("hm"),
        assistant_message("I will"),
        tool_call("t1", "ls", '{"path":"."}'),
        tool_result("t1", "a b"),
        assistant_message("a and b"),
    ]
    assert from_items(items, timestamp=5, model="m", provider="p") == [
        UserMessage([Text("list it")], 5),
        AssistantMessage(
            [Thinking("hm"), Text("I will"), ToolCallContent("t1", "ls", {"path": "."})], 5, model="m", provider="p"
        ),
        ToolResultMessage("t1", "ls", [Text("a b")], timestamp=5),
        AssistantMessage([Text("a and b")], 5, model="m", provider="p"),
    ]


def test_two_answers_in_a_row_stay_two() -> None:
    """A second text begins a new message."""
    items: list[Item] = [assistant_message("one"), assistant_message("two")]
    assert len(from_items(items)) == 2


@pytest.mark.parametrize(
    ("messages", "items"),
    [
        ([answer("hi")], [assistant_message("hi")]),
        ([ExtensionMessage("note", {"a": 1})], []),
        ([ExtensionMessage("system", "be brief")], [system_message("be brief")]),
        ([ExtensionMessage("system", {"not": "text"})], []),
        ([tool_answer("t1", "out")], [tool_result("t1", "out")]),
        ([ToolResultMessage("t1", "ls", [Text("a"), Image("QQ==", "image/png")])], [tool_result("t1", "a\n[image]")]),
        ([ToolResultMessage("t1", "ls", [Thinking("x"), ToolCallContent("i", "n")])], [tool_result("t1", "x\n[n]")]),
        ([AssistantMessage([ToolCallContent("t1", "ls", [1, 2])])], [tool_call("t1", "ls", "[1,2]")]),
        ([AssistantMessage([ToolCallContent("t1", "ls")])], [tool_call("t1", "ls", "null")]),
        ([AssistantMessage([])], [Message("assistant", [])]),
        (
            [AssistantMessage([Text("a"), Text("b"), Thinking("t"), Text("c")])],
            [Message("assistant", [TextPart("a"), TextPart("b")]), reasoning("t"), assistant_message("c")],
        ),
    ],
)
def test_messages_become_items(messages: list[AgentMessage], items: list[Item]) -> None:
    """What a model would see of them."""
    assert to_items(messages) == items


def test_what_messages_have_no_word_for_is_left_out() -> None:
    """Refusals become text, ids and statuses go, of a tool's result the summary stays."""
    items: list[Item] = [
        Message("assistant", [RefusalPart("no")], id="m1", status="completed"),
        ToolResult("t1", "short", "the whole of it", is_error=True),
    ]
    assert to_items(from_items(items)) == [assistant_message("no"), ToolResult("t1", "short", is_error=True)]
    assert from_items([user_message("hi")]) == [UserMessage(user("hi").content)]
