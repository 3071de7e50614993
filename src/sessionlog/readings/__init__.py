"""How the records of agent frameworks read: as the items of a conversation.

An adapter keeps a framework's own payloads in ``extension`` records of its domain. :func:`as_read` shows such a record
as the entries that say the same, so that ``log``, ``search``, ``stats`` and the catalog show a conversation. Pure,
record by record, and free of the frameworks. A payload that cannot be read gives no items: it is still in the record.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from ..entries import AssistantItems, Extension, HookInjectedItems, LogEntry, ToolResults, UserInput
from ..items import Item, Message, Reasoning, ToolCall, ToolResult
from . import claude_agent_sdk, langgraph, openai_agents, strands

_ITEMS_OF: Final[dict[str, Callable[[Any], list[Item]]]] = {
    "claude_agent_sdk": claude_agent_sdk.items_of,
    "langgraph": langgraph.items_of,
    "openai_agents": openai_agents.items_of,
    "strands": strands.items_of,
}
"""By domain: what a payload says."""


def is_read(domain: str) -> bool:
    """Tell whether the payloads of ``domain`` read as items."""
    return domain in _ITEMS_OF


def as_read(entry: LogEntry) -> Sequence[LogEntry]:
    """Return the entries that say what ``entry`` says as a conversation; ``entry`` itself if it is of no framework."""
    if not isinstance(entry, Extension) or entry.domain not in _ITEMS_OF:
        return (entry,)
    return [_entry(item, entry.ts) for item in _ITEMS_OF[entry.domain](entry.payload)]


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


__all__ = ["as_read", "is_read"]
