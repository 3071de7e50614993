"""What an entry says, for people: on one line, or in full."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from .. import (
    AgentEventEntry,
    AssistantItems,
    CacheUnlocked,
    ConfigChanged,
    Extension,
    HookInjectedItems,
    ImagePart,
    Item,
    LabelsChanged,
    LlmUsage,
    Locked,
    LogEntry,
    Message,
    Reasoning,
    RefusalPart,
    RequestConfig,
    RunOutcome,
    SessionStart,
    TextPart,
    ToolCall,
    ToolResult,
    ToolResults,
    TurnEnd,
    UnknownEntry,
    UserInput,
)
from .arguments import arguments_line
from .event_words import describe_event
from .text import counted, one_line, short

SUMMARY_CHARS_MAX: Final = 120
"""A summary line is cut here also where no terminal is too narrow for it."""


def summarize_entry(entry: LogEntry) -> str:
    """Return what ``entry`` says on one line of at most ``SUMMARY_CHARS_MAX`` characters."""
    return one_line(_entry_summary(entry), chars_max=SUMMARY_CHARS_MAX)


def summarize_item(item: Item) -> str:
    """Return an item on one line, told apart by how it begins: ``user:``, ``-> call``, ``<- result``."""
    match item:
        case Message(role=role):
            text = message_text(item)
            return one_line(text if role == "assistant" else f"{role}: {text}", chars_max=SUMMARY_CHARS_MAX)
        case ToolCall():
            return one_line(f"-> {item.name} {arguments_line(item.arguments)}", chars_max=SUMMARY_CHARS_MAX)
        case ToolResult():
            return one_line(f"<- {'ERROR ' if item.is_error else ''}{item.summary}", chars_max=SUMMARY_CHARS_MAX)
        case Reasoning():
            return one_line(f"(thinking) {item.text}", chars_max=SUMMARY_CHARS_MAX)


def describe_config(config: RequestConfig) -> str:
    """Return the members of ``config`` that are set."""
    members = msgspec.to_builtins(config)
    return ", ".join(f"{name} {value}" for name, value in members.items()) or "the provider's defaults"


def describe_entry(entry: LogEntry) -> Iterator[str]:
    """Yield the lines of ``entry`` in full; those of long text are indented, so that none can pose as a record."""
    match entry:
        case SessionStart():
            yield f"session: {entry.session_id}"
            yield from _origin_lines(entry)
            yield f"config: {describe_config(entry.config)}"
            if entry.system_prompt is not None:
                yield from _labelled("system prompt", entry.system_prompt)
            yield from describe_items(entry.history)
        case UserInput():
            yield from describe_items([entry.item])
        case AssistantItems() | ToolResults() | HookInjectedItems():
            yield from describe_items(entry.items)
        case Extension():
            yield from _labelled(entry.domain, _pretty(entry.payload))
        case AgentEventEntry():
            yield describe_event(entry.event)
            yield from _pretty(entry.event).splitlines()
        case UnknownEntry():
            yield from _pretty(entry.members).splitlines()
        case _:
            yield _entry_summary(entry)


def describe_items(items: Sequence[Item]) -> Iterator[str]:
    """Yield the lines of ``items`` in full."""
    for item in items:
        match item:
            case Message():
                yield from _labelled(item.role, message_text(item))
            case ToolCall():
                yield from _labelled(f"tool call {item.name} ({item.call_id})", item.arguments)
            case ToolResult():
                text = item.summary if item.content is None else item.content
                yield from _labelled(f"tool {'error' if item.is_error else 'result'} ({item.call_id})", text)
            case Reasoning():
                yield from _labelled("thinking", item.text)


def _entry_summary(entry: LogEntry) -> str:
    match entry:
        case SessionStart():
            return "; ".join((*_origin_lines(entry), *_start_parts(entry)))
        case UserInput(item=item):
            return message_text(item) if isinstance(item, Message) else summarize_item(item)
        case ToolResults(items=items) | AssistantItems(items=items) | HookInjectedItems(items=items):
            return " | ".join(summarize_item(item) for item in items[:SUMMARY_CHARS_MAX])
        case Extension():
            return f"{entry.domain}: {_compact(entry.payload)}"
        case AgentEventEntry():
            return describe_event(entry.event)
        case UnknownEntry():
            return _compact(entry.members)
        case _:
            return _bookkeeping_summary(entry)


def _bookkeeping_summary(
    entry: TurnEnd | Locked | CacheUnlocked | RunOutcome | ConfigChanged | LabelsChanged | LlmUsage,
) -> str:
    match entry:
        case TurnEnd():
            return f"turn {entry.turn_count} is over"
        case Locked():
            return f"the first {counted(entry.locked_prefix_len, 'item')} fixed"
        case CacheUnlocked():
            return "no item fixed"
        case RunOutcome():
            return ": ".join((_outcome(entry), *([entry.message] if entry.message else [])))
        case ConfigChanged():
            return describe_config(entry.config)
        case LabelsChanged():
            return ", ".join(_label_changes(entry)) or "nothing changed"
        case LlmUsage():
            return (
                f"{entry.input_total_tokens:,} tokens in ({entry.cache_read_tokens:,} cached, "
                f"{entry.cache_write_tokens:,} to cache), {entry.output_tokens:,} out"
            )


def _label_changes(entry: LabelsChanged) -> Iterator[str]:
    if entry.title is not msgspec.UNSET:
        yield "title removed" if entry.title is None else f"title {entry.title}"
    for key, value in entry.labels.items():
        yield f"{key} removed" if value is None else f"{key}={value}"


def _start_parts(entry: SessionStart) -> Iterator[str]:
    if entry.history:
        yield f"starts with {counted(len(entry.history), 'item')}"
    if entry.config.model is not None:
        yield entry.config.model
    if entry.system_prompt is not None:
        yield entry.system_prompt


def _origin_lines(entry: SessionStart) -> Iterator[str]:
    for verb, origin in (("forked", entry.forked_from), ("compacted", entry.compacted_from)):
        if origin is not None:
            yield f"{verb} from {origin.session_id} at {short(origin.at_hash)}"


def _outcome(entry: RunOutcome) -> str:
    return entry.outcome + (", interrupted" if entry.interrupted else "")


def message_text(message: Message) -> str:
    """Return all that a message says; an image as its type."""
    parts = []
    for part in message.content:
        match part:
            case TextPart():
                parts.append(part.text)
            case RefusalPart():
                parts.append(f"(refusal) {part.refusal}")
            case ImagePart():
                parts.append(f"[image {part.media_type or part.url or ''}]")
    return "\n".join(parts)


def _labelled(label: str, text: str) -> Iterator[str]:
    """Yield ``label: text``; text of more than one line goes below the label, indented."""
    lines = text.replace("\r\n", "\n").expandtabs(4).split("\n")
    if len(lines) == 1:
        yield f"{label}: {lines[0]}"
        return
    yield f"{label}:"
    for line in lines:
        yield f"  {line}"


def _compact(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _pretty(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value)).decode()
