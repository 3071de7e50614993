"""One line of a rollout as log entries. Pure.

- ``message`` of the user: ``user_input``, or ``hook_injected_items`` for context that the program put there; of the
  developer or the system: ``hook_injected_items`` with the role ``system``; of the assistant: ``assistant_items``;
- ``reasoning`` and calls: ``assistant_items``; outputs: ``tool_results``;
- ``turn_context``: ``config_changed`` for a new model; ``task_complete``: ``turn_end`` and ``run_outcome``;
  ``turn_aborted``: ``run_outcome``, interrupted;
- whatever else a line says, and every other line: ``extension`` of domain ``codex`` with its JSON.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from ...entries import (
    AssistantItems,
    ConfigChanged,
    Extension,
    HookInjectedItems,
    LogEntry,
    RequestConfig,
    RunOutcome,
    ToolResults,
    TurnEnd,
    UserInput,
)
from ...items import ContentPart, Item, Message, Reasoning, Role, TextPart, ToolCall, ToolResult, user_message
from ..values import image_at, is_word, json_text, plain_text
from .shapes import Compacted, Event, Meta, Part, ResponseItem, TurnContext, convert, parse_line

DOMAIN: Final = "codex"
"""The domain of the ``extension`` entries that hold what has no entry of its own."""
REPEATING_EVENTS: Final = ("user_message", "agent_message", "agent_reasoning", "agent_reasoning_raw_content")
"""Events that say again what a response item says."""

_ROLES: Final[dict[str, Role]] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
}
_CONTEXT: Final = re.compile(
    r"\s*(?:# AGENTS\.md instructions|<(?:environment_context|user_instructions|INSTRUCTIONS|permissions instructions|"
    r"collaboration_mode|skills?_instructions|skill|apps_instructions|plugins_instructions|turn_aborted|"
    r"subagent_notification|user_shell_command|model_switch|personality_spec)\b)"
)
_INTERRUPTED: Final = re.compile(r"\s*<turn_aborted\b")
_EXIT_STATUS: Final = re.compile(r"^(?:Process exited with code|Exit code:) (-?\d+)$", re.MULTILINE)
_MAKE_ITEMS: Final = frozenset(
    ("message", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output")
)
"""The types of response items that are messages, calls and answers."""
_KNOWN_ITEM_MEMBERS: Final = frozenset(ResponseItem.__struct_fields__)


def line_entries(
    value: dict[str, Any], *, ts: int, config: RequestConfig, repeats: bool, first: bool, turn_count: int, begins: bool
) -> list[LogEntry]:
    """Return what the line ``value`` says.

    ``repeats``: an event whose words a response item has; ``first``: the header, whose system prompt the first record
    holds; ``begins``: a compaction whose history it holds; ``turn_count``: the turns that are over behind it.
    """
    match parse_line(value):
        case ResponseItem() as item:
            return _item_entries(item, value, ts=ts)
        case Event() as event:
            return _event_entries(event, value, ts=ts, repeats=repeats, turn_count=turn_count)
        case TurnContext(model=str(model)) if model and model != config.model:
            changed = ConfigChanged(ts=ts, config=msgspec.structs.replace(config, model=model))
            return [changed, _extension(value, ts=ts)]
        case Compacted() as compacted if begins and _is_whole(compacted):
            return [_extension(value, ts=ts, but=("message", "replacement_history"))]
        case Meta() as meta if first and meta.system_prompt is not None:
            return [_extension(value, ts=ts, but=("base_instructions",))]
        case _:
            return [_extension(value, ts=ts)]


def is_understood(value: dict[str, Any]) -> bool:
    """Tell whether the line ``value`` becomes an item if it is one that should; other lines are no messages."""
    kind, payload = value.get("type"), value.get("payload")
    payload = value if payload is None else payload if kind == "response_item" else None
    if not isinstance(payload, dict) or not is_word(payload.get("type"), _MAKE_ITEMS):
        return True
    line = parse_line(value)
    return isinstance(line, ResponseItem) and item_of(line) is not None


def compacted_history(compacted: Compacted) -> list[Item]:
    """Return what a compacted session starts with."""
    if compacted.replacement_history is None:
        return [] if compacted.message is None else [user_message(compacted.message)]
    return [item for one in compacted.replacement_history if (item := _history_item(one)) is not None]


def texts_of(item: ResponseItem) -> list[str]:
    """Return what an item says: every part's text, and all of them together."""
    parts = item.content if isinstance(item.content, list) else []
    texts = [part.text for part in [*parts, *(item.summary or [])] if part.text is not None]
    return [*texts, "".join(texts), "\n".join(texts)] if len(texts) != 1 else texts


def is_prompt(item: ResponseItem) -> bool:
    """Tell whether the user says something here."""
    return item.type == "message" and item.role == "user" and not _is_context(item)


def is_interruption(item: ResponseItem) -> bool:
    """Tell whether the program tells the model here that it was stopped."""
    texts = [part.text for part in _parts(item) if part.text is not None]
    return item.type == "message" and item.role == "user" and any(map(_INTERRUPTED.match, texts))


def is_model_output(item: ResponseItem) -> bool:
    """Tell whether the model said this."""
    return isinstance(item_of(item), ToolCall | Reasoning) or (item.type == "message" and item.role == "assistant")


def _item_entries(item: ResponseItem, value: dict[str, Any], *, ts: int) -> list[LogEntry]:
    made = item_of(item)
    if made is None:
        return [_extension(value, ts=ts)]
    entries: list[LogEntry]
    match made:
        case Message(role="user") if is_prompt(item):
            entries = [UserInput(ts=ts, item=made)]
        case Message(role="user" | "system"):
            entries = [HookInjectedItems(ts=ts, items=[made])]
        case ToolResult():
            entries = [ToolResults(ts=ts, items=[made])]
        case _:
            entries = [AssistantItems(ts=ts, items=[made])]
    unknown = [part for part in _parts(item) if _part(part) is None] if isinstance(made, Message) else []
    if unknown:
        entries.append(_extension(value, ts=ts))
    return entries


def _event_entries(event: Event, value: dict[str, Any], *, ts: int, repeats: bool, turn_count: int) -> list[LogEntry]:
    if event.type in ("task_complete", "turn_complete"):
        return [
            _extension(value, ts=ts, but=("last_agent_message",)),
            TurnEnd(ts=ts, turn_count=turn_count),
            RunOutcome(ts=ts, outcome="finished", interrupted=False),
        ]
    if event.type == "turn_aborted":
        outcome = RunOutcome(ts=ts, outcome="paused", message=event.reason, interrupted=True)
        return [_extension(value, ts=ts), outcome]
    if repeats:
        payload = value.get("payload")
        rest = payload if isinstance(payload, dict) else {}
        said = any(member for name, member in rest.items() if name not in ("type", "message", "text", "phase"))
        return [_extension(value, ts=ts, but=("message", "text"))] if said else []
    return [_extension(value, ts=ts)]


def _is_context(item: ResponseItem) -> bool:
    texts = [part.text for part in _parts(item) if part.text is not None]
    return bool(texts) and all(_CONTEXT.match(text) for text in texts)


def _history_item(value: Any) -> Item | None:
    item = convert(value, ResponseItem)
    return item_of(item) if isinstance(item, ResponseItem) else None


def _is_whole(compacted: Compacted) -> bool:
    """Tell whether the history says all that the line does."""
    return all(_history_item(one) is not None for one in compacted.replacement_history or ())


def item_of(item: ResponseItem) -> Item | None:
    """Return the item for the history; ``None`` for what has no place in it."""
    match item:
        case ResponseItem(type="message", role=str(role)) if role in _ROLES:
            parts = [made for part in _parts(item) if (made := _part(part)) is not None]
            return Message(_ROLES[role], parts, id=item.id) if parts or not _parts(item) else None
        case ResponseItem(type="reasoning"):
            said = [*(item.summary or []), *_parts(item)]
            text = "\n\n".join(part.text for part in said if part.text is not None)
            return Reasoning(text, signature=item.encrypted_content, id=item.id)
        case ResponseItem(type="function_call", call_id=str(call_id), name=str(name)):
            return ToolCall(call_id, name, item.arguments or "", id=item.id)
        case ResponseItem(type="custom_tool_call", call_id=str(call_id), name=str(name)):
            return ToolCall(call_id, name, item.input or "", id=item.id)
        case ResponseItem(type="local_shell_call") if item.call_id or item.id:
            return ToolCall(item.call_id or item.id or "", "local_shell", json_text(item.action), id=item.id)
        case ResponseItem(type="function_call_output" | "custom_tool_call_output", call_id=str(call_id)):
            return _result(call_id, item.output, item_id=item.id)
        case _:
            return None


def _parts(item: ResponseItem) -> Sequence[Part]:
    if isinstance(item.content, str):
        return [Part(type="input_text", text=item.content)]
    return item.content or []


def _part(part: Part) -> ContentPart | None:
    if part.text is not None:
        return TextPart(part.text)
    return None if part.image_url is None else image_at(part.image_url)


def _result(call_id: str, output: Any, *, item_id: str | None) -> ToolResult:
    failed = False
    if isinstance(output, dict):
        failed = output.get("success") is False
        output = output.get("content", output)
    summary, plain = plain_text(output)
    content = None if plain else json_text(output)
    return ToolResult(call_id, summary, content, is_error=failed or _has_failed(summary), id=item_id)


def _has_failed(text: str) -> bool:
    """Tell whether a command's output names another exit status than 0, in one of the ways that it is written."""
    if text.startswith('{"output":'):
        try:
            code = msgspec.json.decode(text)["metadata"]["exit_code"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return False
        return isinstance(code, int) and code != 0
    status = _EXIT_STATUS.search(text.partition("Output:")[0][:1000])
    return status is not None and int(status[1]) != 0


def _extension(value: dict[str, Any], *, ts: int, but: Sequence[str] = ()) -> Extension:
    """Return the line as it is, without the members of its payload that other records hold."""
    payload = value.get("payload")
    if but and isinstance(payload, dict):
        value = {**value, "payload": {name: member for name, member in payload.items() if name not in but}}
    return Extension(ts=ts, domain=DOMAIN, payload=value)
