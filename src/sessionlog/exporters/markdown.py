"""A session as Markdown for people (CommonMark with GitHub's tables left aside), streamed turn by turn.

What the log holds is shown, never obeyed: prose is escaped so that no HTML, link, image, heading or fence of it acts,
and stands in a block quote, which ends whatever was left open in it; code goes into a fence that is longer than any in
it. Control characters are left to whoever writes the text out.
"""

import re
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from typing import Final

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
from .omissions import Omissions

_INLINE: Final = re.compile(r"[\\`*_\[\]<>&|~$#!]")
_AT_START: Final = re.compile(r"([+=-])|([0-9]{1,9})([.)])")
_FENCE_OPENS: Final = re.compile(r" {0,3}(`{3,}|~{3,})([^`]*)\Z")
_TICKS: Final = re.compile(r"`{3,}")
HARD_BREAK: Final = "\\"
"""At the end of a line that another one follows; at the end of a paragraph it would be shown."""
_LANGUAGE: Final = re.compile(r"[A-Za-z0-9_+#.-]{1,20}")
_AUTOLINK: Final = re.compile(r"(?i)\b(https?|ftp)://|\bwww\.")


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
            yield from (f"*The run ended: {prose(entry.outcome)}{message}*", "")
        case ConfigChanged(config=config) if config.model is not None:
            yield from (f"*Model: {prose(config.model)}*", "")
        case _:
            omitted.add(f"{entry_kind(entry)} record: left out")


def prose(text: str) -> str:
    """Return one line of ``text`` so that Markdown shows it as it is."""
    return _escape(" ".join(text.split()))


def quote(text: str) -> Iterator[str]:
    """Yield ``text`` as a block quote: its fenced code as code, everything else as it is."""
    for is_code, lines, language in _blocks(text.expandtabs(4).splitlines()):
        if is_code:
            yield from (f"> {one}".rstrip() for one in fenced(lines, language))
            continue
        prose_lines = [_prose_line(line) for line in lines]
        for line, following in zip(prose_lines, [*prose_lines[1:], ""], strict=False):
            yield f"> {line}{HARD_BREAK if line and following else ''}".rstrip(" ")


def _blocks(lines: Iterable[str]) -> Iterator[tuple[bool, list[str], str]]:
    """Yield what is in a fence and what is not, each with its lines; a fence that is never closed goes to the end."""
    held: list[str] = []
    fence, language = "", ""
    for line in lines:
        opens = _FENCE_OPENS.match(line)
        stripped = line.strip()
        if fence and len(stripped) >= len(fence) and set(stripped) == {fence[0]}:
            yield True, held, language
            held, fence = [], ""
        elif not fence and opens is not None:
            yield False, held, ""
            found = _LANGUAGE.match(opens[2].strip())
            held, fence, language = [], opens[1], found[0] if found else ""
        else:
            held.append(line)
    yield bool(fence), held, language


def fenced(lines: Iterable[str], language: str = "") -> Iterator[str]:
    """Yield ``lines`` in a fence that is longer than any run of backticks in them."""
    held = list(lines)
    longest = max((len(run) for line in held for run in _TICKS.findall(line)), default=2)
    yield "`" * (longest + 1) + language
    yield from held
    yield "`" * (longest + 1)


def _prose_line(line: str) -> str:
    """Return a line so that it is shown with its leading spaces, which would make it code."""
    stripped = line.strip()
    return "&nbsp;" * (len(line) - len(line.lstrip())) + _escape(stripped) if stripped else ""


def _escape(text: str) -> str:
    text = _INLINE.sub(r"\\\g<0>", text)
    text = _AT_START.sub(_escape_start, text, count=1) if _AT_START.match(text) else text
    return _AUTOLINK.sub(lambda match: match[0].replace(":", "&#58;").replace(".", "&#46;"), text)


def _escape_start(match: re.Match[str]) -> str:
    return f"\\{match[1]}" if match[1] else f"{match[2]}\\{match[3]}"


def _start_lines(entry: SessionStart, omitted: Omissions) -> Iterator[str]:
    yield from (f"# Session {prose(entry.session_id)}", "")
    for verb, origin in (("Forked", entry.forked_from), ("Compacted", entry.compacted_from)):
        if origin is not None:
            yield from (f"{verb} from {prose(origin.session_id)} at {prose(origin.at_hash)}.", "")
    if entry.config.model is not None:
        yield from (f"*Model: {prose(entry.config.model)}*", "")
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
