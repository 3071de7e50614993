"""The text in an entry, piece by piece, as a person would read it: who said it, through which tool.

JSON (a call's arguments, an extension's payload) gives one line for each line of each value in it, ``path: value``, so
that a search meets the words themselves and not their escapes. An image gives no text.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from ..entries import (
    AgentEventEntry,
    AssistantItems,
    ConfigChanged,
    Extension,
    HookInjectedItems,
    LogEntry,
    RunOutcome,
    SessionStart,
    ToolResults,
    UnknownEntry,
    UserInput,
)
from ..items import Item, Message, Reasoning, RefusalPart, TextPart, ToolCall, ToolResult


class Piece(NamedTuple):
    """Some text of an entry: ``role`` is user, assistant, system or tool, empty for what nobody said."""

    role: str
    tool: str | None
    text: str


class Texts:
    """Gives the pieces of the entries of one log; it must see them in order, to know which tool a result is from.

    Holds the id and the tool of each call.
    """

    def __init__(self) -> None:
        """Begin before the first record."""
        self._tools: dict[str, str] = {}

    def pieces(self, entry: LogEntry) -> Iterator[Piece]:
        """Yield the text of ``entry``, in its order."""
        match entry:
            case SessionStart():
                if entry.system_prompt is not None:
                    yield Piece("system", None, entry.system_prompt)
                yield from self._items(entry.history)
            case UserInput():
                yield from self._items([entry.item])
            case AssistantItems() | ToolResults() | HookInjectedItems():
                yield from self._items(entry.items)
            case RunOutcome(message=str(text)):
                yield Piece("", None, text)
            case ConfigChanged():
                yield from _json_pieces(msgspec.to_builtins(entry.config))
            case Extension():
                yield from _json_pieces({entry.domain: entry.payload})
            case AgentEventEntry():
                yield from _json_pieces(entry.event)
            case UnknownEntry():
                yield from _json_pieces(dict(entry.members))
            case _:
                pass

    def _items(self, items: Sequence[Item]) -> Iterator[Piece]:
        for item in items:
            match item:
                case Message():
                    for part in item.content:
                        if isinstance(part, TextPart | RefusalPart):
                            text = part.text if isinstance(part, TextPart) else part.refusal
                            yield Piece(item.role, None, text)
                case ToolCall():
                    self._tools[item.call_id] = item.name
                    yield Piece("assistant", item.name, "\n".join((item.name, *json_lines(item.arguments))))
                case ToolResult():
                    tool = self._tools.get(item.call_id)
                    yield Piece("tool", tool, item.summary)
                    if item.content is not None and item.content != item.summary:
                        yield Piece("tool", tool, "\n".join(json_lines(item.content)))
                case Reasoning():
                    yield Piece("assistant", None, item.text)

    def note_calls(self, entry: LogEntry) -> None:
        """Take from ``entry`` which tool each call asks for, without its text."""
        items: Iterable[Item] = ()
        if isinstance(entry, AssistantItems | HookInjectedItems):
            items = entry.items
        elif isinstance(entry, SessionStart):
            items = entry.history
        for item in items:
            if isinstance(item, ToolCall):
                self._tools[item.call_id] = item.name


def json_lines(text: str) -> Iterator[str]:
    """Yield the lines of ``text``: those of its values, if it is a JSON object or array, else its own."""
    if text[:1] in ("{", "["):
        try:
            value = msgspec.json.decode(text)
        except (ValueError, RecursionError):
            pass
        else:
            yield from value_lines(value)
            return
    yield from text.split("\n")


def value_lines(value: Any, path: str = "") -> Iterator[str]:
    """Yield ``path: value`` for each line of each scalar in ``value``; ``path`` is as in ``a.b[0]``."""
    label = f"{path}: " if path else ""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from value_lines(one, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from value_lines(one, f"{path}[{index}]")
    elif isinstance(value, str):
        for line in value.split("\n"):
            yield label + line
    else:
        yield label + msgspec.json.encode(value).decode()


def _json_pieces(value: Any) -> Iterator[Piece]:
    yield Piece("", None, "\n".join(value_lines(value)))
