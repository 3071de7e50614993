"""``log``: a session as people read it: turns, messages, tool calls folded with their results.

Streamed: what waits is a call whose result has not come, with what stands behind it, up to a bound.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import click

from .. import (
    AssistantItems,
    ConfigChanged,
    HashedEntry,
    HookInjectedItems,
    Item,
    LogEntry,
    Message,
    Reasoning,
    RunOutcome,
    SessionId,
    SessionStart,
    Store,
    ToolCall,
    ToolResult,
    ToolResults,
    TurnEnd,
    UserInput,
)
from .base import App, common_options, example, runs
from .completion import complete_session
from .lookup import find_session
from .output import Segment
from .summary import describe_config, describe_items, message_text
from .text import counted, duration, one_line, safe, short, utc

WAITING_MAX: Final = 256
"""Of more lines than this none waits for the result of a call before them."""
_CHARS_MAX: Final = 240
_NAME_CHARS_MAX: Final = 40
_LABEL_CHARS: Final = 9
_STYLES: Final = {"user": "bold green", "assistant": "bold blue", "system": "bold yellow"}


@dataclass
class _Row:
    """A line to print. A call waits for its ``result``; ``label`` is printed by the first line of a run only."""

    label: str
    item: Item | None = None
    text: str = ""
    ts: int = 0
    result: ToolResult | None = None
    result_ts: int = 0

    @property
    def waits(self) -> bool:
        return isinstance(self.item, ToolCall) and self.result is None


@click.command("log", epilog=example("sessionlog log 0190163d", "sessionlog log 0190163d --full | less"))
@click.argument("session", metavar="ID", shell_complete=complete_session)
@click.option("--full", is_flag=True, help="Print messages, calls and results whole.")
@common_options
@runs
async def log(app: App, session: str, full: bool) -> None:
    """Read a session as a conversation.

    Turn by turn: who said what, each on a line as wide as the terminal, and each tool call with its result below it.
    Records that are no part of the conversation are left out: 'show' has them. --json gives an object for each item,
    with the record that it is from.
    """
    async with app.open_store() as store:
        session_id = await find_session(store, session)
        if app.out.json:
            await _print_objects(app, store, session_id)
        else:
            await _Reader(app, full=full).read(store, session_id)


class _Reader:
    """Prints the records of one session."""

    def __init__(self, app: App, *, full: bool) -> None:
        self._app = app
        self._full = full
        self._waiting: deque[_Row] = deque()
        self._calls: dict[str, deque[_Row]] = {}
        self._turn = 0
        self._label = ""

    async def read(self, store: Store, session_id: SessionId) -> None:
        async with aclosing(store.read(session_id)) as records:
            async for record in records:
                await self._take(record)
        await self._release(all_=True)

    async def _take(self, record: HashedEntry) -> None:
        entry = record.entry
        if isinstance(entry, UserInput):
            await self._release(all_=True)
            self._turn += 1
            await self._app.out.line()
            await self._app.out.row(
                (f"Turn {self._turn}", "bold"), f"  {utc(entry.ts)}  ", (short(record.hash), "yellow")
            )
            self._label = ""
        for row in _rows(entry):
            if isinstance(row.item, ToolResult) and self._answer(row.item, entry.ts):
                continue
            if isinstance(row.item, Message) and not message_text(row.item).strip():
                continue
            self._waiting.append(row)
            if isinstance(row.item, ToolCall):
                self._calls.setdefault(row.item.call_id, deque()).append(row)
        await self._release()

    def _answer(self, result: ToolResult, ts: int) -> bool:
        """Give ``result`` to the oldest call that still waits for it; tell whether there is one."""
        calls = self._calls.get(result.call_id)
        if not calls:
            return False
        row = calls.popleft()
        if not calls:
            del self._calls[result.call_id]
        row.result, row.result_ts = result, ts
        return True

    async def _release(self, *, all_: bool = False) -> None:
        """Print what does not wait any more."""
        while self._waiting and (all_ or not self._waiting[0].waits or len(self._waiting) > WAITING_MAX):
            row = self._waiting.popleft()
            if row.waits and isinstance(row.item, ToolCall):
                self._forget(row, row.item.call_id)
            await self._print(row)

    def _forget(self, row: _Row, call_id: str) -> None:
        calls = self._calls.get(call_id)
        if calls is not None:
            remaining = deque(one for one in calls if one is not row)
            if remaining:
                self._calls[call_id] = remaining
            else:
                del self._calls[call_id]

    async def _print(self, row: _Row) -> None:
        label = "" if row.label == self._label else row.label
        self._label = row.label
        start: Segment = (f"{label:<{_LABEL_CHARS}}  ", _STYLES.get(row.label, "dim"))
        match row.item:
            case ToolCall():
                await self._print_call(row, row.item, start)
            case None:
                await self._app.out.row(start, rest=one_line(row.text, chars_max=_CHARS_MAX))
            case item if self._full:
                await self._app.out.row(start)
                await self._print_full([item])
            case Message():
                await self._app.out.row(start, rest=one_line(message_text(row.item), chars_max=_CHARS_MAX))
            case Reasoning():
                await self._app.out.row(
                    start, ("(thinking) ", "dim"), rest=one_line(row.item.text, chars_max=_CHARS_MAX)
                )
            case ToolResult():
                await self._app.out.row(start, ("<- ", "magenta"), rest=_result_text(row.item))

    async def _print_call(self, row: _Row, call: ToolCall, start: Segment) -> None:
        if self._full:
            await self._app.out.row(start)
            await self._print_full([call, *([] if row.result is None else [row.result])])
            return
        arguments = one_line(call.arguments, chars_max=_CHARS_MAX)
        name = one_line(safe(call.name), chars_max=_NAME_CHARS_MAX)
        await self._app.out.row(start, ("-> ", "magenta"), (name, "bold magenta"), rest=f" {arguments}")
        margin = " " * (_LABEL_CHARS + 2)
        if row.result is None:
            await self._app.out.row(margin, ("   no result", "bold yellow"))
            return
        took = row.result_ts - row.ts
        time = f"{duration(took)}  " if took >= 1000 else ""
        style = "bold red" if row.result.is_error else "dim"
        mark = "   failed: " if row.result.is_error else "   "
        await self._app.out.row(margin, (f"{mark}{time}", style), rest=_result_text(row.result))

    async def _print_full(self, items: Sequence[Item]) -> None:
        for line in describe_items(items):
            await self._app.out.line(line, indent=_LABEL_CHARS + 2)
        await self._app.out.line()


def _rows(entry: LogEntry) -> Iterator[_Row]:
    """Yield the lines of an entry; none for what is no part of the conversation."""
    match entry:
        case SessionStart():
            yield from _start_rows(entry)
        case UserInput():
            yield from _item_rows([entry.item], entry.ts)
        case AssistantItems() | ToolResults():
            yield from _item_rows(entry.items, entry.ts)
        case HookInjectedItems():
            for row in _item_rows(entry.items, entry.ts):
                row.label = "hook"
                yield row
        case RunOutcome():
            interrupted = ", interrupted" if entry.interrupted else ""
            message = f": {entry.message}" if entry.message else ""
            yield _Row("run", text=f"{entry.outcome}{interrupted}{message}")
        case ConfigChanged():
            yield _Row("config", text=describe_config(entry.config))
        case TurnEnd():
            yield _Row("", text=f"turn {entry.turn_count} is over")
        case _:
            pass


def _start_rows(entry: SessionStart) -> Iterator[_Row]:
    yield _Row("session", text=entry.session_id)
    for label, origin in (("fork of", entry.forked_from), ("compacts", entry.compacted_from)):
        if origin is not None:
            yield _Row(label, text=f"{origin.session_id} at {short(origin.at_hash)}")
    if entry.config.model is not None:
        yield _Row("config", text=describe_config(entry.config))
    if entry.system_prompt is not None:
        yield _Row("system", text=entry.system_prompt)
    if entry.forked_from is not None and entry.history:
        yield _Row("", text=f"{counted(len(entry.history), 'item')} taken over")
    else:
        yield from _item_rows(entry.history, entry.ts)


def _item_rows(items: Sequence[Item], ts: int) -> Iterator[_Row]:
    for item in items:
        role = item.role if isinstance(item, Message) else "tool" if isinstance(item, ToolResult) else "assistant"
        yield _Row(role, item=item, ts=ts)


def _result_text(result: ToolResult) -> str:
    """Return the beginning of what a tool answered, and how many lines it has."""
    lines = result.summary.strip("\n").count("\n") + 1
    more = f"({lines:,} lines) " if lines > 1 else ""
    return more + (one_line(result.summary, chars_max=_CHARS_MAX) or "(nothing)")


async def _print_objects(app: App, store: Store, session_id: SessionId) -> None:
    turn = 0
    async with aclosing(store.read(session_id)) as records:
        async for record in records:
            entry = record.entry
            turn += isinstance(entry, UserInput)
            for row in _rows(entry):
                if row.item is not None:
                    place = {"turn": turn, "seq": record.seq, "hash": record.hash, "ts": entry.ts}
                    await app.out.object({**place, "item": row.item})
