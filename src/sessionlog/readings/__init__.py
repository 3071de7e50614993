"""How the records of agent frameworks read: as the items of a conversation.

An adapter keeps a framework's own payloads in ``extension`` records of its domain. :func:`as_read` shows such a record
as the entries that say the same, so that ``log``, ``search``, ``stats`` and the catalog show a conversation and what
it cost. Pure, record by record, and free of the frameworks. A payload that cannot be read gives no items: it is still
in the record.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from ..entries import (
    AssistantItems,
    ConfigChanged,
    Extension,
    HookInjectedItems,
    LlmUsage,
    LogEntry,
    RequestConfig,
    ToolResults,
    UserInput,
)
from ..items import Item, Message, Reasoning, ToolCall, ToolResult
from . import claude_agent_sdk, langgraph, openai_agents, pydantic_ai, strands
from .values import Usage

_READINGS: Final[dict[str, Callable[[Any], Sequence[Item | Usage]]]] = {
    "claude_agent_sdk": claude_agent_sdk.items_of,
    "langgraph": langgraph.items_of,
    "openai_agents": openai_agents.items_of,
    "pydantic_ai": pydantic_ai.items_of,
    "strands": strands.items_of,
}
"""By domain: what a payload says, and what it cost."""


def is_read(domain: str) -> bool:
    """Tell whether the payloads of ``domain`` read as items."""
    return domain in _READINGS


def as_read(entry: LogEntry) -> Sequence[LogEntry]:
    """Return the entries that say what ``entry`` says as a conversation; ``entry`` itself if it is of no framework."""
    if not isinstance(entry, Extension) or entry.domain not in _READINGS:
        return (entry,)
    return [_entry(said, entry.ts) for said in _READINGS[entry.domain](entry.payload) if not isinstance(said, Usage)]


def as_counted(entry: LogEntry) -> Sequence[LogEntry]:
    """Return what :func:`as_read` does, with the models that were asked and what that cost: for folds that count."""
    if not isinstance(entry, Extension) or entry.domain not in _READINGS:
        return (entry,)
    counted: list[LogEntry] = []
    for said in _READINGS[entry.domain](entry.payload):
        if isinstance(said, Usage):
            counted.append(ConfigChanged(ts=entry.ts, config=RequestConfig(model=said.model)))
            counted.append(_usage(said, entry.ts))
        else:
            counted.append(_entry(said, entry.ts))
    return counted


def _usage(usage: Usage, ts: int) -> LlmUsage:
    return LlmUsage(
        ts=ts,
        history_len=0,
        input_total_tokens=usage.input_total,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write,
        output_tokens=usage.output,
    )


def _entry(item: Item, ts: int) -> LogEntry:
    match item:
        case ToolResult():
            return ToolResults(ts=ts, items=[item])
        case ToolCall() | Reasoning() | Message(role="assistant"):
            return AssistantItems(ts=ts, items=[item])
        case Message(role="user"):
            return UserInput(ts=ts, item=item)
        case _:
            return HookInjectedItems(ts=ts, items=[item])


__all__ = ["as_counted", "as_read", "is_read"]
