"""Sorting new history items into entries."""

from collections.abc import Sequence

from ..entries import AssistantItems, HookInjectedItems, LogEntry, ToolResults, UserInput
from ..items import Item, Message, Reasoning, ToolCall, ToolResult


def delta_entries(items: Sequence[Item], *, ts: int) -> list[LogEntry]:
    """Sort new history items into entries, as :meth:`SessionLog.save_delta` says."""
    entries: list[LogEntry] = []
    run: list[Item] = []
    run_kind: type[ToolResults | AssistantItems] | None = None
    for item in items:
        kind = _run_kind(item)
        if run_kind is not None and kind is not run_kind:
            entries.append(run_kind(ts=ts, items=run))
            run = []
        run_kind = kind
        if kind is not None:
            run.append(item)
        elif isinstance(item, Message) and item.role == "user":
            entries.append(UserInput(ts=ts, item=item))
        else:
            entries.append(HookInjectedItems(ts=ts, items=[item]))
    if run_kind is not None:
        entries.append(run_kind(ts=ts, items=run))
    return entries


def _run_kind(item: Item) -> type[ToolResults | AssistantItems] | None:
    if isinstance(item, ToolResult):
        return ToolResults
    if isinstance(item, ToolCall | Reasoning) or (isinstance(item, Message) and item.role == "assistant"):
        return AssistantItems
    return None
