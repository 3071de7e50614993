"""What a log has told of its loops so far, so that an event need not tell it again (FORMAT section 9, ``as_told``).

    told.fill(told.shorten(data)) == data        for the JSON of every event, at every record

The end of a tool, of a turn and of a loop repeats what the log holds already: a tool's answer stands in up to four
places. Where what it repeats can be derived from the records before it, a writer leaves that out and sets ``as_told``;
a reader derives it again. The writer checks that the two are equal and writes it out otherwise, so a reader loses
nothing and needs no references. The rules, which writer and reader share, look back to the start of the turn
(``TurnStart``) that is under way in the event's loop, and for the end of a loop, to that loop's ``AgentStart``:

- ``ToolExecutionEnd.result``: the item of a ``tool_results`` record with this ``tool_call_id``: its ``summary`` is the
  content, its ``content``, if any, the details, decoded where it is JSON.
- ``TurnEnd.message``: the model's message of the last ``MessageEnd``.
- ``TurnEnd.tool_results``: the tools' messages of ``MessageEnd``, those after the model's message.
- ``AgentEnd.messages``: of each turn that has ended, its input messages, its message and its tool results.
- ``content`` of any of these that is given without it: of the model's message, what the ``assistant_items`` records
  say; of a tool's, the answer to the ``tool_call_id``: of its ``MessageEnd``, else of its ``ToolExecutionEnd``, else of
  its ``tool_results`` record.

Works on JSON values as a log holds them. Pure; ``take`` every record in the order of the log.
"""

from collections.abc import Iterator
from operator import is_
from typing import Any, Final, TypeAlias

import msgspec

from ..entries import AgentEventEntry, AssistantItems, LogEntry, ToolResults
from ..items import Item, ToolResult
from .conversion import from_items
from .messages import AssistantMessage

AS_TOLD: Final = "as_told"
_REPEATING: Final = frozenset({"ToolExecutionEnd", "TurnEnd", "AgentEnd"})
_Json: TypeAlias = dict[str, Any]
_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode


class _Turn:
    """What was told since a turn began."""

    __slots__ = ("answers", "calls", "contents", "inputs", "items", "made", "message", "messages", "results")

    def __init__(self) -> None:
        self.inputs: list[_Json] = []
        """Messages that are not the model's."""
        self.message: _Json | None = None
        """The model's."""
        self.results: list[_Json] = []
        """The tools' messages behind the model's."""
        self.items: list[Item] = []
        """What the ``assistant_items`` records say."""
        self.answers: dict[str, ToolResult] = {}
        """What the ``tool_results`` records say, by call."""
        self.messages: dict[str, list[Any]] = {}
        """The content of the tools' messages, by call."""
        self.calls: dict[str, list[Any]] = {}
        """The content of the tools' ends, by call."""
        self.made: dict[str, tuple[ToolResult, _Json]] = {}
        """The JSON of the results that the answers make, by call, and of which answer each is."""
        self.contents: tuple[int, list[Any]] = (0, [])
        """The content of the model's message that the first so many ``items`` make."""

    def take_message(self, message: Any) -> None:
        if not isinstance(message, dict):
            return
        if message.get("role") == "assistant":
            self.message = message
            return
        self.inputs.append(message)
        if message.get("role") == "toolResult":
            if self.message is not None:
                self.results.append(message)
            self.messages.setdefault(_call_of(message), _listed(message.get("content")))

    def result_of(self, call_id: str) -> _Json | None:
        """Return the JSON of the result that the answer to a call makes; ``None`` if it was not told."""
        answer = self.answers.get(call_id)
        if answer is None:
            return None
        made = self.made.get(call_id)
        if made is not None and made[0] is answer:
            return made[1]
        result: _Json = {"content": [{"type": "text", "text": answer.summary}]} if answer.summary else {}
        if answer.content is not None:
            result["details"] = _decoded(answer.content)
        self.made[call_id] = answer, result
        return result

    def with_content(self, given: Any, event: _Json) -> Any:
        """Return a message, a result, or a list of messages, with the content of those that are given without it."""
        if isinstance(given, list):
            return [self.with_content(one, event) for one in given]
        if not isinstance(given, dict) or "content" in given:
            return given
        content = self._content_of(given, event)
        return given if content is None else {**given, "content": content}

    def without_content(self, given: Any, event: _Json) -> Any:
        """Return ``given`` without the content of those whose content was told: what :meth:`with_content` fills.

        It is ``given`` itself if that is nothing.
        """
        if isinstance(given, list):
            left = [self.without_content(one, event) for one in given]
            return given if all(map(is_, left, given)) else left
        if not isinstance(given, dict) or "content" not in given:
            return given
        if not _is_same(self._content_of(given, event), given["content"]):
            return given
        return {name: value for name, value in given.items() if name != "content"}

    def _content_of(self, given: _Json, event: _Json) -> list[Any] | None:
        """Return the content that a message, or a result of ``event``, was told to have; ``None`` if it was not."""
        if given.get("role") == "assistant":
            return self._contents() if self.items else None
        call_id = _call_of(given if "role" in given else event)
        for told in (self.messages, self.calls) if "role" in given else ():
            if call_id in told:
                return told[call_id]
        result = self.result_of(call_id)
        return None if result is None else _listed(result.get("content"))

    def _contents(self) -> list[Any]:
        """Return the content of the model's message that ``items`` make, as JSON."""
        count, contents = self.contents
        if count != len(self.items):
            answers = [message for message in from_items(self.items) if isinstance(message, AssistantMessage)]
            contents = [msgspec.to_builtins(part) for message in answers for part in message.content]
            self.contents = len(self.items), contents
        return contents


class Told:
    """What one session's log has told, as of the records that were taken."""

    __slots__ = ("_messages", "_turns")

    def __init__(self) -> None:
        """Begin in front of the first record."""
        self._turns: dict[str, _Turn] = {}
        self._messages: dict[str, list[_Json]] = {}

    def take_entry(self, entry: LogEntry) -> None:
        """Take an entry that is no event in; only what stands in a turn is kept."""
        if not self._turns:
            return
        if isinstance(entry, AssistantItems):
            for turn in self._turns.values():
                turn.items += entry.items
        elif isinstance(entry, ToolResults):
            for turn in self._turns.values():
                turn.answers.update((item.call_id, item) for item in entry.items if isinstance(item, ToolResult))

    def take_stored(self, entry: LogEntry) -> Any:
        """Take an entry of the log in; of an event, return the JSON with all that it says."""
        if not isinstance(entry, AgentEventEntry):
            self.take_entry(entry)
            return None
        data = self.fill(entry.event)
        self.take(data)
        return data

    def take(self, data: Any) -> None:
        """Take the JSON of an event in, with all that it says: filled, not shortened."""
        loop_id = data.get("loop_id") if isinstance(data, dict) else None
        if not isinstance(loop_id, str):
            return
        kind = data.get("type")
        turn = self._turns.get(loop_id)
        if kind == "AgentStart":
            self._messages.setdefault(loop_id, [])
        elif kind == "TurnStart":
            self._turns[loop_id] = _Turn()
        elif kind == "MessageEnd" and turn is not None:
            turn.take_message(data.get("message"))
        elif kind == "ToolExecutionEnd" and turn is not None:
            result = data.get("result")
            turn.calls[_call_of(data)] = _listed(result.get("content")) if isinstance(result, dict) else []
        elif kind == "TurnEnd":
            self._end_turn(loop_id, data)
        elif kind == "AgentEnd":
            self._turns.pop(loop_id, None)
            self._messages.pop(loop_id, None)

    def fill(self, data: Any) -> Any:
        """Return the JSON of an event with what it left out as told; any other as it is."""
        if not isinstance(data, dict) or data.get(AS_TOLD) is not True:
            return data
        full = {name: value for name, value in data.items() if name != AS_TOLD}
        turn = self._turn_of(data)
        for name, derived in self._derived(data):
            if name in full:
                full[name] = full[name] if turn is None else turn.with_content(full[name], data)
            elif derived is not None:
                full[name] = derived
        return full

    def shorten(self, data: Any) -> Any:
        """Return the JSON of an event without what the log has told already; as it is if that is nothing."""
        if not isinstance(data, dict) or data.get("type") not in _REPEATING or AS_TOLD in data:
            return data
        turn = self._turn_of(data)
        if data["type"] == "ToolExecutionEnd" and (turn is None or not turn.answers):
            return data
        told: set[str] = set()
        left: _Json = {}
        for name, derived in self._derived(data):
            if name not in data:
                if derived is not None:
                    return data  # which a reader would fill in
                continue
            given = data[name]
            if _lacks_content(given):
                return data  # which another reader's log could fill
            if derived is not None and _is_same(derived, given):
                told.add(name)
            elif turn is not None:
                without = turn.without_content(given, data)
                if turn.with_content(without, data) != given:
                    return data
                if without is not given:
                    left[name] = without
        if not told and not left:
            return data
        short = {name: value for name, value in (data | left).items() if name not in told}
        short[AS_TOLD] = True
        return short

    def _turn_of(self, data: _Json) -> _Turn | None:
        loop_id = data.get("loop_id")
        return self._turns.get(loop_id) if isinstance(loop_id, str) else None

    def _derived(self, data: _Json) -> Iterator[tuple[str, Any]]:
        """Yield the members that the event may leave out, and what they are then; ``None`` where nothing was told."""
        loop_id, turn = data.get("loop_id"), self._turn_of(data)
        match data.get("type"):
            case "ToolExecutionEnd" if turn is not None:
                yield "result", turn.result_of(_call_of(data))
            case "TurnEnd" if turn is not None:
                yield "message", turn.message
                yield "tool_results", turn.results or None
            case "AgentEnd" if isinstance(loop_id, str):
                yield "messages", self._messages.get(loop_id) or None
            case _:
                pass

    def _end_turn(self, loop_id: str, data: _Json) -> None:
        """Keep the messages of a turn for the end of its loop."""
        turn = self._turns.pop(loop_id, None)
        messages = self._messages.get(loop_id)
        if turn is None or messages is None:
            return
        results = _listed(data.get("tool_results"))
        answered = {_call_of(one) for one in results if isinstance(one, dict) and one.get("role") == "toolResult"}
        messages += [one for one in turn.inputs if not (one.get("role") == "toolResult" and _call_of(one) in answered)]
        messages += [one for one in (data.get("message"), *results) if isinstance(one, dict)]


def _is_same(one: Any, other: Any) -> bool:
    """Tell whether two values are the same JSON: unlike for Python, ``1`` is not ``true``."""
    return one == other and (_encode(one) == _encode(other) or _encode_sorted(one) == _encode_sorted(other))


def _lacks_content(given: Any) -> bool:
    for one in given if isinstance(given, list) else (given,):
        if isinstance(one, dict) and "content" not in one and one.get("role") != "extension":
            return True
    return False


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _call_of(data: _Json) -> str:
    call_id = data.get("tool_call_id")
    return call_id if isinstance(call_id, str) else ""


def _decoded(text: str) -> Any:
    """Return what the JSON in ``text`` says; the text itself where it is none."""
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return text


__all__ = ["AS_TOLD", "Told"]
