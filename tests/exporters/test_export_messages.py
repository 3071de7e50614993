"""Message lists for the two APIs: valid against their packages' published types, and nothing is lost without a word."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from anthropic.types import MessageParam
from hypothesis import given
from openai.types.chat import ChatCompletionMessageParam
from pydantic import TypeAdapter

from sessionlog import (
    ImagePart,
    Item,
    MemoryStore,
    Message,
    Reasoning,
    RefusalPart,
    RequestConfig,
    RestoredState,
    TextPart,
    ToolCall,
    ToolResult,
    assistant_message,
    reasoning,
    restore,
    system_message,
    tool_call,
    tool_result,
    user_message,
)
from sessionlog.exporters import Omissions, export_anthropic, export_openai
from sessionlog.importers.claude_code import import_paths
from strategies import configs, histories

OPENAI: TypeAdapter[Any] = TypeAdapter(list[ChatCompletionMessageParam])
ANTHROPIC: TypeAdapter[Any] = TypeAdapter(list[MessageParam])


def state(*items: Item, prompt: str | None = None, config: RequestConfig | None = None) -> RestoredState:
    return RestoredState(system_prompt=prompt, config=config or RequestConfig(), history=list(items))


def openai(given: RestoredState) -> tuple[dict[str, Any], dict[str, int]]:
    omitted = Omissions()
    body = export_openai(given, omitted)
    list_checked(OPENAI, body["messages"])
    check_openai_order(body["messages"])
    return body, dict(omitted)


def anthropic(given: RestoredState) -> tuple[dict[str, Any], dict[str, int]]:
    omitted = Omissions()
    body = export_anthropic(given, omitted)
    list_checked(ANTHROPIC, body["messages"])
    check_anthropic_order(body["messages"])
    return body, dict(omitted)


def list_checked(adapter: TypeAdapter[Any], messages: list[dict[str, Any]]) -> None:
    """Validate all the way down: what the types call an iterable is checked only as it is iterated.

    pydantic takes a string for an iterable where either may stand, so a lone string is checked as the one text part
    that it is short for.
    """
    adapter.validate_python(messages)
    drain(adapter.validate_json(msgspec.json.encode([spread(message) for message in messages])))


def spread(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: [{"type": "text", "text": one}] if name == "content" and isinstance(one, str) else spread(one)
            for name, one in value.items()
        }
    return [spread(one) for one in value] if isinstance(value, list) else value


def drain(value: Any) -> None:
    if isinstance(value, dict):
        for one in value.values():
            drain(one)
    elif not isinstance(value, str | bytes | int | float | None):
        for one in value:
            drain(one)


def check_openai_order(messages: list[dict[str, Any]]) -> None:
    """Each call is answered by the tool messages right behind it, once, and nothing else is."""
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            assert message["tool_call_id"] == waiting.pop(0)
        else:
            assert waiting == []
            waiting = [call["id"] for call in message.get("tool_calls", [])]
            assert all(0 < len(one) <= 40 for one in waiting)
    assert waiting == []


def check_anthropic_order(messages: list[dict[str, Any]]) -> None:
    """Roles take turns; each call is answered in the next message, before anything else; ids are unique and plain."""
    seen: list[str] = []
    waiting: list[str] = []
    for index, message in enumerate(messages):
        assert index == 0 or message["role"] != messages[index - 1]["role"]
        assert message["content"]
        results = [block["tool_use_id"] for block in message["content"] if block["type"] == "tool_result"]
        assert results == waiting
        assert [block["type"] for block in message["content"][: len(results)]] == ["tool_result"] * len(results)
        waiting = [block["id"] for block in message["content"] if block["type"] == "tool_use"]
        seen += waiting
        assert all(block["text"].strip() for block in message["content"] if block["type"] == "text")
    assert waiting == []
    assert len(set(seen)) == len(seen)
    assert all(one and one.replace("-", "_").replace("_", "a").isalnum() and one.isascii() for one in seen)


CONVERSATION = (
    user_message("Which tests fail?"),
    assistant_message("I look."),
    tool_call("c1", "Bash", '{"command":"pytest"}'),
    tool_call("c2", "Read", '{"path":"a"}'),
    tool_result("c2", "text of a"),
    user_message("Hurry."),
    tool_result("c1", "2 failed"),
    assistant_message("Two."),
)


def test_openai_has_calls_and_their_results_in_order() -> None:
    """A result that came late stands behind its call."""
    body, omitted = openai(state(*CONVERSATION, prompt="Be short."))
    assert body["messages"] == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Which tests fail?"},
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "Bash", "arguments": '{"command":"pytest"}'}},
                {"id": "c2", "type": "function", "function": {"name": "Read", "arguments": '{"path":"a"}'}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "2 failed"},
        {"role": "tool", "tool_call_id": "c2", "content": "text of a"},
        {"role": "user", "content": "Hurry."},
        {"role": "assistant", "content": "Two."},
    ]
    assert omitted == {}


def test_anthropic_has_results_first_in_the_users_message() -> None:
    body, omitted = anthropic(state(*CONVERSATION, prompt="Be short."))
    assert body["system"] == "Be short."
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user", "assistant"]
    assert body["messages"][1]["content"][1:] == [
        {"type": "tool_use", "id": "c1", "name": "Bash", "input": {"command": "pytest"}},
        {"type": "tool_use", "id": "c2", "name": "Read", "input": {"path": "a"}},
    ]
    assert body["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "c1", "content": "2 failed"},
        {"type": "tool_result", "tool_use_id": "c2", "content": "text of a"},
        {"type": "text", "text": "Hurry."},
    ]
    assert omitted == {}


def test_settings_are_named_as_the_apis_name_them() -> None:
    config = RequestConfig(model="m", max_tokens=5, temperature=0.5, top_p=0.9, top_k=3, stop_sequences=["x"])
    body, omitted = openai(state(config=config))
    assert body == {
        "model": "m",
        "max_completion_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["x"],
        "messages": [],
    }
    assert omitted == {"top_k: left out": 1}
    body, omitted = anthropic(state(config=config))
    assert (body["max_tokens"], body["top_k"], body["stop_sequences"], omitted) == (5, 3, ["x"], {})


def test_what_cannot_be_said_is_listed() -> None:
    items = (
        system_message("early"),
        user_message(" "),
        Message("user", [ImagePart(data="aGk=", media_type="image/bmp"), TextPart("see")]),
        reasoning("hm"),
        Reasoning("hm", signature="sig"),
        tool_call("a|b", "T", "not json"),
        ToolResult("a|b", "short", "the whole of it", is_error=True),
        Message("assistant", [RefusalPart("no")]),
        tool_call("left", "T", "{}"),
        tool_result("nobody", "x"),
        system_message("late"),
    )
    body, omitted = anthropic(state(*items))
    assert body["system"] == "early"
    assert omitted == {
        "tool result that no call asked for: left out": 1,
        "tool call without a result: left out": 1,
        "tool call id that the API does not take: spelled in another way": 1,
        "empty text: left out": 1,
        "image of a type that the API does not take, or outside a user's message: left out": 1,
        "reasoning without a signature: left out": 1,
        'arguments that are no JSON object: sent as {"arguments": text}': 1,
        "whole content of a tool result: left out, the export has what the model was sent": 1,
        "refusal: sent as text": 1,
        "system message in the middle: sent as the user's": 1,
    }
    assert [block["type"] for block in body["messages"][1]["content"]] == ["thinking", "tool_use"]
    assert body["messages"][2]["content"][0]["is_error"] is True
    _, omitted = openai(state(*items))
    assert omitted == {
        "tool result that no call asked for: left out": 1,
        "tool call without a result: left out": 1,
        "tool call id that the API does not take: spelled in another way": 1,
        "reasoning: left out": 2,
        "mark that a tool failed: left out, its text stays": 1,
        "whole content of a tool result: left out, the export has what the model was sent": 1,
    }


def test_images_of_the_user_are_sent() -> None:
    image = Message(
        "user", [TextPart("see"), ImagePart(data="aGk=", media_type="image/png"), ImagePart(url="https://x/y")]
    )
    body, _ = openai(state(image))
    assert [part["image_url"]["url"] for part in body["messages"][0]["content"][1:]] == [
        "data:image/png;base64,aGk=",
        "https://x/y",
    ]
    body, _ = anthropic(state(image))
    assert [part["source"] for part in body["messages"][0]["content"][1:]] == [
        {"type": "base64", "media_type": "image/png", "data": "aGk="},
        {"type": "url", "url": "https://x/y"},
    ]


def test_ids_that_are_used_twice_become_different() -> None:
    again: list[Item] = [tool_call("c", "T", "{}"), tool_result("c", "1")]
    again += [tool_call("c", "T", "{}"), tool_result("c", "2")]
    body, omitted = anthropic(state(user_message("x"), *again))
    results = [block for message in body["messages"] for block in message["content"] if block["type"] == "tool_result"]
    assert [(one["tool_use_id"], one["content"]) for one in results] == [("c", "1"), ("c-2", "2")]
    assert omitted == {"tool call id that the API does not take: spelled in another way": 1}


@given(histories, configs)
def test_whatever_a_history_holds_the_messages_are_valid(history: list[Item], config: RequestConfig) -> None:
    openai(state(*history, config=config))
    anthropic(state(*history, config=config))


@pytest.mark.anyio
async def test_real_sessions_are_valid(shared: Path) -> None:
    """Every call and result is in the list, or listed as left out."""
    store = MemoryStore()
    await import_paths(store, [shared / "data" / "claude-code"])
    for session_id in await store.list_sessions():
        restored = await restore(store, session_id)
        calls = sum(isinstance(item, ToolCall) for item in restored.history)
        body, omitted = openai(restored)
        left = omitted.get("tool call without a result: left out", 0)
        assert sum(len(message.get("tool_calls", [])) for message in body["messages"]) == calls - left
        body, _ = anthropic(restored)
        blocks = [block for message in body["messages"] for block in message["content"]]
        assert sum(block["type"] == "tool_use" for block in blocks) == calls - left
