"""``log``: a session as people read it: what people and the model said whole, and what tools did in a few lines.

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
    UserInput,
    system_message,
)
from ..readings import as_read
from .arguments import argument_lines, arguments_line
from .base import App, common_options, example, runs
from .completion import complete_session
from .lookup import find_session
from .markdown import markdown_lines
from .output import Segment
from .pager import paged, pager_option
from .summary import describe_config, message_text
from .text import counted, duration, one_line, safe, short, utc

WAITING_MAX: Final = 256
"""Of more lines than this none waits for the result of a call before them."""
RESULT_LINES: Final = 4
"""So many lines are shown of what a tool answered, and of a prompt of the system's, unless with ``--full``."""
THINKING_CHARS: Final = 140
"""So much is shown of the model's thinking: two lines of a terminal."""
_LINE_CHARS_MAX: Final = 240
"""Where no terminal crops them, the lines of calls and results are cut here."""
_NAME_CHARS_MAX: Final = 40
_INDENT_MAX: Final = 24
_LABEL_CHARS: Final = 9
_MARGIN: Final = " " * (_LABEL_CHARS + 2)
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


@click.command("log", epilog=example("sessionlog log 0190163d", "sessionlog log 0190163d --full --no-pager"))
@click.argument("session", metavar="ID", shell_complete=complete_session)
@click.option("--full", is_flag=True, help="Print calls, results and thinking whole, too.")
@pager_option
@common_options
@runs
async def log(app: App, session: str, *, full: bool, pager: bool) -> None:
    """Read a session as a conversation.

    Turn by turn: what people and the model said whole, each tool call on a line with the beginning of its result below
    it. Records that are no part of the conversation are left out: 'show' has them. A terminal shows it in $PAGER, or
    else in less. --json gives an object for each item, with the record that it is from.
    """
    async with app.open_store() as store:
        session_id = await find_session(store, session)
        if app.out.json:
            await _print_objects(app, store, session_id)
            return
        reader = _Reader(app, full=full)
        await paged(app.out, lambda: reader.read(store, session_id), wanted=pager)


class _Reader:
    """Prints the records of one session."""

    def __init__(self, app: App, *, full: bool) -> None:
        self._app = app
        self._full = full
        self._waiting: deque[_Row] = deque()
        self._calls: dict[str, deque[_Row]] = {}
        self._turn = 0
        self._label = ""
        self._last: type[Item] | None = None
        """What was printed last; ``None``: no item, or a turn's heading."""

    async def read(self, store: Store, session_id: SessionId) -> None:
        async with aclosing(store.read(session_id)) as records:
            async for record in records:
                await self._take(record)
        await self._release(all_=True)

    async def _take(self, record: HashedEntry) -> None:
        for entry in as_read(record.entry):
            await self._take_entry(record, entry)

    async def _take_entry(self, record: HashedEntry, entry: LogEntry) -> None:
        if isinstance(entry, UserInput):
            await self._release(all_=True)
            await self._print_heading(record)
        for row in _rows(entry):
            if isinstance(row.item, ToolResult) and self._answer(row.item, entry.ts):
                continue
            if isinstance(row.item, Message) and not message_text(row.item).strip():
                continue
            if isinstance(row.item, Reasoning) and not row.item.text.strip():
                continue
            self._waiting.append(row)
            if isinstance(row.item, ToolCall):
                self._calls.setdefault(row.item.call_id, deque()).append(row)
        await self._release()

    async def _print_heading(self, record: HashedEntry) -> None:
        self._turn += 1
        self._label, self._last = "", None
        place = f"  {utc(record.entry.ts)}  record {record.seq}  "
        await self._app.out.line()
        await self._app.out.row((f"Turn {self._turn}", "bold"), (place, "dim"), (short(record.hash), "yellow"))

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
        is_said = isinstance(row.item, Message | Reasoning)
        if self._last is not None and (is_said or self._last is not type(row.item)):
            await self._app.out.line()
        label = "" if row.label == self._label else row.label
        self._label, self._last = row.label, None if row.item is None else type(row.item)
        lead: Segment = (f"{label:<{_LABEL_CHARS}}  ", _STYLES.get(row.label, "dim"))
        match row.item:
            case None:
                await self._app.out.row(lead, rest=one_line(row.text, chars_max=_LINE_CHARS_MAX))
            case Message():
                await self._print_message(row.item, lead, is_said=row.label != "hook")
            case Reasoning(text=text):
                whole = text if self._full else one_line(text, chars_max=THINKING_CHARS)
                await self._print_text(f"(thinking) {whole.strip()}", lead, style="dim italic")
            case ToolCall():
                await self._print_call(row, row.item, lead)
            case ToolResult():
                await self._print_result(row.item, (lead, ("<- ", "magenta")))

    async def _print_message(self, message: Message, lead: Segment, *, is_said: bool) -> None:
        text = message_text(message).strip("\n")
        if message.role == "system" or not is_said:
            await self._print_folded(text, (lead,))
        elif message.role == "assistant" and self._app.out.is_terminal:
            for line in markdown_lines(_plain_spaces(text)):
                await self._app.out.line(*line.segments, lead=(lead, line.lead))
                lead = _MARGIN
        else:
            await self._print_text(text, lead)

    async def _print_text(self, text: str, lead: Segment, *, style: str = "") -> None:
        """Print ``text`` whole, as it was written."""
        for line in _plain_spaces(text).split("\n"):
            await self._print_line(line, (lead,), style=style)
            lead = _MARGIN

    async def _print_line(self, line: str, lead: Sequence[Segment], *, before: Segment = "", style: str = "") -> None:
        """Print a line whole; where it is wrapped, it goes on below its first word."""
        words = line.lstrip(" ")
        spaces = line[: min(len(line) - len(words), _INDENT_MAX)]
        await self._app.out.line(before, (line[len(spaces) :], style), lead=(*lead, spaces))

    async def _print_folded(self, text: str, lead: Sequence[Segment], *, before: Segment = "", style: str = "") -> None:
        """Print ``before``, the first lines of ``text`` as far as they fit, and how many more there are."""
        lines = _plain_spaces(text).strip("\n").split("\n")
        shown = lines if self._full or len(lines) <= RESULT_LINES + 1 else lines[:RESULT_LINES]
        indent = " " * sum(len(one if isinstance(one, str) else one[0]) for one in lead)
        for line in shown:
            if self._full:
                await self._print_line(line, lead, before=before, style=style)
            else:
                await self._app.out.row(*lead, before, (_cut(line), style), crop=True)
            lead, before = (indent,), ""
        if len(shown) < len(lines):
            await self._app.out.row(*lead, (f"… {len(lines) - len(shown):,} more lines", "dim italic"))

    async def _print_call(self, row: _Row, call: ToolCall, lead: Segment) -> None:
        name = one_line(safe(call.name), chars_max=_NAME_CHARS_MAX)
        start = (lead, ("-> ", "magenta"), (name, "bold magenta"))
        if self._full:
            await self._app.out.line(*start)
            for line in argument_lines(call.arguments):
                await self._print_line(line, (_MARGIN + "   ",))
        else:
            words = one_line(arguments_line(call.arguments), chars_max=_LINE_CHARS_MAX)
            await self._app.out.row(*start, f" {words}", crop=True)
        if row.result is None:
            await self._app.out.row(_MARGIN, ("   no result", "bold yellow"))
        else:
            await self._print_result(row.result, (_MARGIN + "   ",), took_ms=row.result_ts - row.ts)

    async def _print_result(self, result: ToolResult, lead: Sequence[Segment], *, took_ms: int = 0) -> None:
        words = ["failed"] if result.is_error else []
        words += [f"{'after ' if result.is_error else ''}{duration(took_ms)}"] if took_ms >= 1000 else []
        told: Segment = (f"{' '.join(words)}: " if words else "", "bold red" if result.is_error else "dim")
        text = result.summary
        if self._full and result.content is not None:
            text = "\n".join(argument_lines(result.content))
        await self._print_folded(text if text.strip() else "(nothing)", lead, before=told, style="dim")


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
        yield _Row("system", item=system_message(entry.system_prompt))
    if entry.forked_from is not None and entry.history:
        yield _Row("", text=f"{counted(len(entry.history), 'item')} taken over")
    else:
        yield from _item_rows(entry.history, entry.ts)


def _item_rows(items: Sequence[Item], ts: int) -> Iterator[_Row]:
    for item in items:
        role = item.role if isinstance(item, Message) else "tool" if isinstance(item, ToolResult) else "assistant"
        yield _Row(role, item=item, ts=ts)


def _plain_spaces(text: str) -> str:
    """Return ``text`` without tabs and carriage returns before line feeds, which would be shown as escapes."""
    return text.replace("\r\n", "\n").expandtabs(4)


def _cut(line: str) -> str:
    return line if len(line) <= _LINE_CHARS_MAX else line[: _LINE_CHARS_MAX - 1] + "…"


async def _print_objects(app: App, store: Store, session_id: SessionId) -> None:
    turn = 0
    async with aclosing(store.read(session_id)) as records:
        async for record in records:
            for entry in as_read(record.entry):
                turn += isinstance(entry, UserInput)
                for row in _rows(entry):
                    if row.item is not None:
                        place = {"turn": turn, "seq": record.seq, "hash": record.hash, "ts": entry.ts}
                        await app.out.object({**place, "item": row.item})
