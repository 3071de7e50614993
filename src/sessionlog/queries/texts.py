"""The text in an entry, piece by piece, as a person would read it: who said it, through which tool.

Each text comes once. The agent events of a log repeat what its items say, before them or behind them, and a fork begins
with what it took over from its source: a text that was given already is not given again. What an importer noted for
itself is no text of the session.

JSON (a call's arguments, an extension's payload) gives one line for each line of each value in it, ``path: value``, so
that a search meets the words themselves and not their escapes. An image gives no text.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

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
from ..readings import as_read

Place: TypeAlias = Literal["user", "assistant", "tools", "system", "other"]
"""Where a text stands: what a person or a model said, a tool's call or answer, a system text; ``other``: the rest."""

_IMPORTERS_OWN: Final = ("import",)
_IMPORTERS_OWN_SUFFIX: Final = ".spawn"
_PLACES: Final[dict[str, Place]] = {"user": "user", "assistant": "assistant", "system": "system"}
_SAYING: Final = ("message", "messages", "tool_results", "result", "partial_result", "args", "text")
"""The members in which an event repeats what messages and tools say."""


class Piece(NamedTuple):
    """Some text of an entry: ``role`` is user, assistant, system or tool, empty for what nobody said."""

    role: str
    tool: str | None
    text: str
    place: Place = "other"


class Texts:
    """Gives the pieces of the entries of one log; it must see them in order, to know which tool a result is from.

    Holds the id and the tool of each call, and a hash of each text that it gave.
    """

    def __init__(self, *, searched: Iterable[str] = ()) -> None:
        """Begin before the first record. What a fork took over from a session that is ``searched`` too is left out."""
        self._searched = frozenset(searched)
        self._tools: dict[str, str] = {}
        self._said: set[int] = set()
        self._told: Counter[int] = Counter()

    def pieces(self, entry: LogEntry) -> Iterator[Piece]:
        """Yield the text of ``entry``, in its order."""
        for read in as_read(entry):
            yield from self._pieces(read)

    def _pieces(self, entry: LogEntry) -> Iterator[Piece]:
        match entry:
            case SessionStart():
                yield from self._start(entry)
            case UserInput():
                yield from self._once(self._items([entry.item]))
            case AssistantItems() | ToolResults() | HookInjectedItems():
                yield from self._once(self._items(entry.items))
            case RunOutcome(message=str(text)):
                yield Piece("", None, text)
            case ConfigChanged():
                yield from _json_pieces(msgspec.to_builtins(entry.config))
            case Extension():
                if entry.domain not in _IMPORTERS_OWN and not entry.domain.endswith(_IMPORTERS_OWN_SUFFIX):
                    yield from _json_pieces({entry.domain: entry.payload})
            case AgentEventEntry():
                yield from self._event(entry.event)
            case UnknownEntry():
                yield from _json_pieces(dict(entry.members))
            case _:
                pass

    def note_calls(self, entry: LogEntry) -> None:
        """Take from ``entry`` which tool each call asks for, without its text."""
        for read in as_read(entry):
            items: Iterable[Item] = ()
            if isinstance(read, AssistantItems | HookInjectedItems):
                items = read.items
            elif isinstance(read, SessionStart):
                items = read.history
            for item in items:
                if isinstance(item, ToolCall):
                    self._tools[item.call_id] = item.name

    def know_calls(self, tools: Mapping[str, str]) -> None:
        """Take over which tool each call asks for, by the calls' ids."""
        self._tools.update(tools)

    def _start(self, entry: SessionStart) -> Iterator[Piece]:
        if entry.forked_from is not None and entry.forked_from.session_id in self._searched:
            self.note_calls(entry)
            return
        if entry.system_prompt is not None:
            yield Piece("system", None, entry.system_prompt, "system")
        yield from self._once(self._items(entry.history))

    def _once(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Yield the pieces of items, without those that an event told before."""
        for piece in pieces:
            key = hash(piece.text)
            self._said.add(key)
            if self._told[key] > 0:
                self._told[key] -= 1
            else:
                yield piece

    def _items(self, items: Sequence[Item]) -> Iterator[Piece]:
        for item in items:
            match item:
                case Message():
                    for part in item.content:
                        if isinstance(part, TextPart | RefusalPart):
                            text = part.text if isinstance(part, TextPart) else part.refusal
                            yield Piece(item.role, None, text, _PLACES[item.role])
                case ToolCall():
                    self._tools[item.call_id] = item.name
                    lines = (item.name, *json_lines(item.arguments))
                    yield Piece("assistant", item.name, "\n".join(lines), "tools")
                case ToolResult():
                    tool = self._tools.get(item.call_id)
                    yield Piece("tool", tool, item.summary, "tools")
                    if item.content is not None and item.content != item.summary:
                        yield Piece("tool", tool, "\n".join(json_lines(item.content)), "tools")
                case Reasoning():
                    yield Piece("assistant", None, item.text, "assistant")

    def _event(self, event: Any) -> Iterator[Piece]:
        """Yield what an event tells first: of messages and tools, then of itself."""
        if not isinstance(event, dict):
            yield from _json_pieces(event)
            return
        for piece in self._told_by(event):
            key = hash(piece.text)
            if piece.text and key not in self._said and not self._told[key]:
                self._told[key] += 1
                yield piece
        yield from _json_pieces({name: value for name, value in event.items() if name not in _SAYING})

    def _told_by(self, event: dict[str, Any]) -> Iterator[Piece]:
        tool = _text(event.get("tool_name"))
        for name in ("message", "messages", "tool_results"):
            value = event.get(name)
            for message in value if isinstance(value, list) else [value]:
                yield from self._message(message)
        if tool is not None and event.get("args") is not None:
            yield Piece("assistant", tool, "\n".join((tool, *value_lines(event["args"]))), "tools")
        for name in ("result", "partial_result"):
            result = event.get(name)
            if isinstance(result, dict):
                yield from _contents(result.get("content"), "tool", tool, "tools")
        text = _text(event.get("text"))
        if text is not None:
            yield Piece("tool", tool, text, "tools")

    def _message(self, message: Any) -> Iterator[Piece]:
        if not isinstance(message, dict):
            return
        match message.get("role"):
            case "user" | "assistant" as role:
                yield from _contents(message.get("content"), role, None, _PLACES[role])
            case "toolResult":
                yield from _contents(message.get("content"), "tool", _text(message.get("tool_name")), "tools")
            case _:
                text = _text(message.get("data"))
                if text is not None:
                    yield Piece("system", None, text, "system")


def _contents(content: Any, role: str, tool: str | None, place: Place) -> Iterator[Piece]:
    """Yield the text of a message's content, as events hold it."""
    for part in content if isinstance(content, list) else ():
        match part:
            case {"type": "text", "text": str(text)} | {"type": "thinking", "thinking": str(text)}:
                yield Piece(role, tool, text, place)
            case {"type": "toolCall", "name": str(name)}:
                yield Piece("assistant", name, "\n".join((name, *value_lines(part.get("arguments")))), "tools")
            case _:
                pass


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


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
