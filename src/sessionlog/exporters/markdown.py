"""A session as Markdown for people (CommonMark, and what GitHub makes of it), streamed turn by turn.

What the log holds is shown, never obeyed: :mod:`sessionlog.exporters.inert` sees to it that none of its text is markup
or a link. Messages stand in block quotes, which end whatever was left open in them; code and tool output in fences.
Control characters are left to whoever writes the text out.
"""

from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing

import msgspec

from ..entries import (
    AssistantItems,
    ConfigChanged,
    HookInjectedItems,
    LogEntry,
    RunOutcome,
    SessionStart,
    ToolResults,
    UserInput,
    entry_kind,
)
from ..items import ImagePart, Item, Message, Reasoning, RefusalPart, TextPart, ToolCall, ToolResult
from ..store import Store
from .inert import fenced, prose, quote
from .omissions import Omissions


async def export_markdown(store: Store, session_id: str, omitted: Omissions) -> AsyncGenerator[str, None]:
    """Stream the lines of a session's Markdown, without their LF. Raises whatever reading raises."""
    turn = 0
    async with aclosing(store.read(session_id)) as records:
        async for record in records:
            entry = record.entry
            if isinstance(entry, UserInput):
                turn += 1
                for line in (f"## Turn {turn}", ""):
                    yield line
            for line in entry_lines(entry, omitted):
                yield line


def entry_lines(entry: LogEntry, omitted: Omissions) -> Iterator[str]:
    """Yield the lines for one entry; kinds that are no part of the conversation are counted in ``omitted``."""
    match entry:
        case SessionStart():
            yield from _start_lines(entry, omitted)
        case UserInput():
            yield from _items_lines([entry.item], omitted)
        case AssistantItems() | ToolResults():
            yield from _items_lines(entry.items, omitted)
        case HookInjectedItems():
            yield from ("*Put in by a hook:*", "")
            yield from _items_lines(entry.items, omitted)
        case RunOutcome():
            message = f": {prose(entry.message)}" if entry.message else ""
            yield from (f"*The run ended:* {prose(entry.outcome)}{message}", "")
        case ConfigChanged(config=config) if config.model is not None:
            yield from (f"*Model:* {prose(config.model)}", "")
        case _:
            omitted.add(f"{entry_kind(entry)} record: left out")


def _start_lines(entry: SessionStart, omitted: Omissions) -> Iterator[str]:
    yield from (f"# Session {prose(entry.session_id)}", "")
    for verb, origin in (("Forked", entry.forked_from), ("Compacted", entry.compacted_from)):
        if origin is not None:
            yield from (f"{verb} from {prose(origin.session_id)} at {prose(origin.at_hash)}.", "")
    if entry.config.model is not None:
        yield from (f"*Model:* {prose(entry.config.model)}", "")
    if entry.system_prompt is not None:
        yield from ("**System prompt**", "", *quote(entry.system_prompt), "")
    if entry.history:
        yield from ("## What it starts with", "")
        yield from _items_lines(entry.history, omitted)


def _items_lines(items: Iterable[Item], omitted: Omissions) -> Iterator[str]:
    for item in items:
        match item:
            case Message():
                yield from (f"**{item.role.capitalize()}**", "", *_message_lines(item, omitted), "")
            case ToolCall():
                yield from (f"**Tool call** {prose(item.name)} (id {prose(item.call_id)})", "")
                yield from (*fenced(_pretty(item.arguments).splitlines(), "json"), "")
            case ToolResult():
                title = "Tool error" if item.is_error else "Tool result"
                text = item.summary or item.content or ""
                if item.content is not None and item.content != text:
                    omitted.add("whole content of a tool result: left out, the export has what the model was sent")
                yield from (f"**{title}** (id {prose(item.call_id)})", "")
                yield from (*fenced(text.expandtabs(4).splitlines()), "")
            case Reasoning():
                yield from ("**Thinking**", "", *quote(item.text), "")


def _message_lines(message: Message, omitted: Omissions) -> Iterator[str]:
    for part in message.content:
        match part:
            case TextPart():
                yield from quote(part.text)
            case RefusalPart():
                yield from ("> (refusal)", ">", *quote(part.refusal))
            case ImagePart():
                omitted.add("image: left out, its type is there")
                yield f"> (image {prose(part.media_type or '')})"


def _pretty(text: str) -> str:
    try:
        return msgspec.json.format(text.encode()).decode() if msgspec.json.decode(text) is not None else text
    except (ValueError, RecursionError):
        return text
