"""One rollout: who it is, where turns were rolled back and histories replaced, which events repeat, what requests cost.

A rollback leaves turns behind: it and what follows goes on in front of them, in a fork. Turns are told apart as the
program does it: from one ``task_started`` to the next where there are any, counted if the user says something in them;
else from one prompt to the next.

Words come twice in a rollout: as an event for the screen, and as an item for the model, in either order. The item is
imported; an event with the same words in its turn, or right before its item, adds nothing. An event at the very end of
the file waits for what comes next.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...entries import LogEntry, RequestConfig
from ...ids import SessionId
from ...items import Item
from ..layout import Layout
from ..lines import Found
from ..plan import Plan, session_name
from ..protocol import NOT_UNDERSTOOD, Header, Kept
from ..told import Told
from ..usage import Due, token_count
from ..values import LastParsed
from .convert import (
    DOMAIN,
    REPEATING_EVENTS,
    compacted_history,
    is_model_output,
    is_prompt,
    is_understood,
    line_entries,
    texts_of,
)
from .shapes import Compacted, Event, Meta, ResponseItem, TokenUsage, is_line, line_ms, parse_line, uuid_in
from .told import AGENT_ID, Requests, told_by

_WAITING = "it waits for the next line, which may say the same"


class Codex:
    """The format of Codex CLI's rollouts."""

    name = "codex"
    domain = DOMAIN
    line_keys: frozenset[str] = frozenset(("timestamp", "type", "payload"))

    def recognises(self, value: dict[str, Any]) -> bool:
        """Tell whether this is a line of a rollout, of today's form or an older one."""
        return is_line(value)

    def transcript(self, path: Path) -> "CodexTranscript":
        """Return the reader of one file."""
        return CodexTranscript(path)


class CodexTranscript:
    """One file."""

    def __init__(self, path: Path) -> None:
        """Read the file at ``path``, whose name may say which thread it is."""
        self._line = LastParsed(parse_line)
        self._path = path
        self._uuid = uuid_in(path.stem)
        self._layout = Layout()
        self._meta: Meta | None = None
        self._started_ms: int | None = None
        self._system_prompt: str | None = None
        self._spawns: dict[int, tuple[str, SessionId, str | None]] = {}
        self._spawned: set[str] = set()
        self._dues: list[tuple[int, Due]] = []
        self._counted: TokenUsage | None = None
        self._request: int | None = None
        self._turns: list[int] = []
        """For each turn on the path, the object that it starts behind."""
        self._turn_start: int | None = None
        self._turn_counts: dict[int, int] = {}
        self._texts: set[int] = set()
        self._pending: list[tuple[int, int]] = []
        self._repeats: set[int] = set()
        self._requests: Requests = Requests()

    def add(self, found: Found, *, fits: bool) -> str | Kept | None:  # noqa: ARG002 - what does not fit keeps its place
        """Take the next line in."""
        ts, name, before = line_ms(found.value), str(found.line), self._layout.last
        if self._started_ms is None:
            self._started_ms = ts
        line = self._line(found)
        self._settle_pending(line)
        if isinstance(line, Meta):
            self._take_meta(line, found.ordinal)
        self._requests.take(line, found.ordinal, self._meta)
        match line:
            case Event(type="thread_rolled_back"):
                self._layout.follow(name, ts=ts, after=self._roll_back(line.num_turns or 0))
                return None
            case Compacted():
                self._layout.compact(name, ts=ts, after=before)
                return None
        self._layout.follow(name, ts=ts, after=before)
        match line:
            case ResponseItem():
                self._take_item(line, found.ordinal, before)
            case Event():
                self._take_event(line, found.ordinal, before, ts)
        return None if is_understood(found.value) else NOT_UNDERSTOOD

    async def header(self) -> Header | None:
        """Return which thread this is: as the file's name says, else as its first line does."""
        if not len(self._layout):
            return None
        meta = self._meta
        first_id = meta.id if meta is not None and self._uuid is None else None
        parent = None if meta is None else meta.spawned_by or meta.forked_from_id
        spawned = meta is not None and meta.spawned_by is not None
        told = {} if meta is None else {"nickname": meta.agent_nickname, "role": meta.agent_role}
        agent = {name: word for name, word in told.items() if word is not None}
        return Header(
            session_id=session_name(self._uuid or first_id or self._path.stem),
            role="agent" if spawned else "main",
            parent=None if parent is None else session_name(parent),
            cwd=None if meta is None else meta.cwd,
            version=None if meta is None else meta.cli_version,
            agent=agent or None,
            started_ms=self._started_ms or 0,
        )

    def plan(self, base: SessionId, settled: Mapping[int, SessionId], taken: Iterable[SessionId]) -> Plan:
        """Place every line."""
        spawned_by = (
            None if self._meta is None or self._meta.spawned_by is None else session_name(self._meta.spawned_by)
        )
        plan = self._layout.plan(
            base,
            settled,
            taken,
            role="main" if spawned_by is None else "agent",
            system_prompt=self._system_prompt,
            spawned_by=spawned_by,
        )
        plan.spawns = self._spawns
        plan.waiting = {ordinal: _WAITING for ordinal, _ in self._pending}
        return plan

    def usage(self, plan: Plan, *, growing: bool | None) -> Mapping[SessionId, list[Due]]:  # noqa: ARG002 - it is final
        """Return what each request cost."""
        due: dict[SessionId, list[Due]] = {}
        for ordinal, one in self._dues:
            due.setdefault(plan.session_of[ordinal].session_id, []).append(one)
        return due

    def time(self, found: Found) -> int | None:
        """Return the line's time."""
        return line_ms(found.value)

    def entries(self, found: Found, *, ts: int, config: RequestConfig, begins: bool = False) -> list[LogEntry]:
        """Return what the line says."""
        return line_entries(
            found.value,
            ts=ts,
            config=config,
            repeats=found.ordinal in self._repeats,
            first=found.ordinal == 0,
            turn_count=self._turn_counts.get(found.ordinal, 0),
            begins=begins,
        )

    @property
    def agent_id(self) -> str:
        """Who acts: the tool itself, or the thread that another one spawned."""
        meta = self._meta
        return AGENT_ID if meta is None or meta.spawned_by is None else meta.id

    def told(self, found: Found, *, ts: int) -> Told | None:
        """Return what the line tells of the loops."""
        return told_by(self._line(found), self._requests.at(found.ordinal), ts=ts)

    def summary(self, found: Found) -> Sequence[Item]:
        """Return the history that takes the place of the one before."""
        line = self._line(found)
        return compacted_history(line) if isinstance(line, Compacted) else []

    def _take_meta(self, meta: Meta, ordinal: int) -> None:
        """Keep the header that is the file's own: a fork holds its parent's too."""
        own = meta.id == self._uuid if self._uuid is not None else ordinal == 0
        if own and self._meta is None:
            self._meta = meta
        if ordinal == 0:
            self._system_prompt = meta.system_prompt

    def _take_item(self, item: ResponseItem, ordinal: int, before: int) -> None:
        self._texts.update(map(hash, texts_of(item)))
        if is_prompt(item) and self._turn_start is None:
            self._turns.append(before)
        elif is_prompt(item):
            self._count_turn(before)
        elif self._request is None and is_model_output(item):
            self._request = ordinal

    def _take_event(self, event: Event, ordinal: int, before: int, ts: int | None) -> None:
        match event:
            case Event(type="task_started" | "turn_started"):
                self._turn_start = before
                self._texts.clear()
            case Event(type="task_complete" | "turn_complete"):
                self._turn_counts[ordinal] = len(self._turns)
            case Event(type="user_message") if self._turn_start is not None:
                self._count_turn(before)
            case Event(type="token_count", info=info) if info is not None and info.last_token_usage is not None:
                self._take_usage(info.total_token_usage, info.last_token_usage, ordinal, ts)
        thread = event.spawned_thread
        if thread is not None and thread not in self._spawned:
            self._spawned.add(thread)
            self._spawns[ordinal] = (thread, session_name(thread), event.call_id)
        if event.type in REPEATING_EVENTS and event.words is not None:
            words = hash(event.words)
            if words in self._texts and not self._pending:
                self._repeats.add(ordinal)
            else:
                self._pending.append((ordinal, words))

    def _settle_pending(self, line: object) -> None:
        """See whether the events right before this line said what it says."""
        if isinstance(line, Event) and line.type in REPEATING_EVENTS:
            return
        texts = self._texts.union(map(hash, texts_of(line))) if isinstance(line, ResponseItem) else self._texts
        self._repeats.update(ordinal for ordinal, words in self._pending if words in texts)
        self._pending.clear()

    def _take_usage(self, total: TokenUsage | None, last: TokenUsage, ordinal: int, ts: int | None) -> None:
        """Count a request once: the program tells the same totals again when something else changes."""
        first, self._request = self._request, None
        if total is not None and total == self._counted:
            return
        self._counted = total
        tokens = (
            token_count(last.input_tokens),
            token_count(last.cached_input_tokens),
            0,
            token_count(last.output_tokens),
        )
        due = Due(ordinal + 0.5, f"line {ordinal}", tokens, ordinal if first is None else first, ts)
        self._dues.append((ordinal, due))

    def _count_turn(self, before: int) -> None:
        """Count the turn that has started, once; the very first starts with its prompt, behind what set it up."""
        start = self._turn_start
        if start is not None and start not in self._turns:
            self._turns.append(start if self._turns else before)
            self._turn_start = self._turns[-1]

    def _roll_back(self, count: int) -> int:
        """Take the last turns off the path; return the object behind which it goes on."""
        count = min(count, len(self._turns))
        if count <= 0:
            return self._layout.last
        target = self._turns[-count]
        del self._turns[-count:]
        self._turn_start = None if self._turn_start is None else target
        self._request = None
        return target
