"""A history as model APIs want it: alternating steps, every tool call followed by its result.

Both APIs refuse a call that nothing answers, a result that nothing asked for, and anything between a call and its
result. Here calls and results are paired as the restored state does it (a result answers the oldest open call of its
id); a call without a result is left out, so is a result without a call; a result that came later is moved up.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from ..items import Item, Message, Reasoning, ToolCall, ToolResult
from ..state import RestoredState
from .omissions import Omissions


@dataclass
class Said:
    """What the user or the system said, one message."""

    message: Message


@dataclass
class Answered:
    """What the assistant gave in one go: messages, reasoning and calls in order; and the calls' results, as many."""

    items: list[Message | Reasoning | ToolCall] = field(default_factory=list)
    results: list[ToolResult] = field(default_factory=list)


Step: TypeAlias = Said | Answered


def steps_of(history: Sequence[Item], omitted: Omissions) -> list[Step]:
    """Return ``history`` in steps; a step of the assistant ends with the first result or the next message to it."""
    answers = _pair(history, omitted)
    steps: list[Step] = []
    current: Answered | None = None
    closed = True
    for index, item in enumerate(history):
        if isinstance(item, ToolResult):
            closed = True
            continue
        if isinstance(item, Message) and item.role != "assistant":
            steps.append(Said(item))
            closed = True
            continue
        if isinstance(item, ToolCall) and index not in answers:
            continue
        if current is None or closed:
            current = Answered()
            steps.append(current)
            closed = False
        current.items.append(item)
        if isinstance(item, ToolCall):
            current.results.append(answers[index])
    return steps


def _pair(history: Sequence[Item], omitted: Omissions) -> dict[int, ToolResult]:
    """Return the result of each call by the call's position."""
    open_calls: dict[str, deque[int]] = {}
    answers: dict[int, ToolResult] = {}
    for index, item in enumerate(history):
        if isinstance(item, ToolCall):
            open_calls.setdefault(item.call_id, deque()).append(index)
        elif isinstance(item, ToolResult):
            waiting = open_calls.get(item.call_id)
            if waiting:
                answers[waiting.popleft()] = item
            else:
                omitted.add("tool result that no call asked for: left out")
    omitted.add("tool call without a result: left out", sum(map(len, open_calls.values())))
    return answers


def unique_ids(ids: Iterable[str], omitted: Omissions, *, chars_max: int | None = None) -> list[str]:
    """Return ``ids`` each made of ASCII letters, digits, ``_`` and ``-`` and used once, as both APIs want them."""
    used: set[str] = set()
    result = []
    for given in ids:
        plain = "".join(one if one.isascii() and (one.isalnum() or one in "_-") else "_" for one in given)
        plain = (plain if chars_max is None else plain[:chars_max]) or "call"
        unique, number = plain, 1
        while unique in used:
            number += 1
            suffix = f"-{number}"
            unique = (plain if chars_max is None else plain[: chars_max - len(suffix)]) + suffix
        used.add(unique)
        if unique != given:
            omitted.add("tool call id that the API does not take: spelled in another way")
        result.append(unique)
    return result


def count_bookkeeping(state: RestoredState, omitted: Omissions) -> None:
    """Count what a log holds beside the conversation and its configuration."""
    omitted.add("usage record: left out", len(state.usage_history))
    omitted.add("extension record: left out", len(state.extensions))


def count_whole_contents(results: Iterable[ToolResult], omitted: Omissions) -> None:
    """Count results of which the log holds more than the model was sent."""
    more = sum(result.content is not None and result.content != result.summary for result in results)
    omitted.add("whole content of a tool result: left out, the export has what the model was sent", more)
