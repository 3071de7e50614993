"""Statistics: what a session's records add up to, counted in one pass.

What a fork or a compaction starts with was done by its source, and is counted there; only the calls in it that nothing
answered stay open here. Sums over several sessions therefore count nothing twice.
"""

from collections import Counter, deque
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from ..entries import (
    AssistantItems,
    ConfigChanged,
    Extension,
    HookInjectedItems,
    LabelsChanged,
    LlmUsage,
    LogEntry,
    SessionStart,
    ToolResults,
    TurnEnd,
    UnknownEntry,
    UserInput,
    entry_kind,
)
from ..items import Item, ToolCall, ToolResult
from ..readings import as_counted
from ..record import HashedEntry
from ..store import Store
from .tokens import DayUsage, Tokens, all_tokens, by_model, day_of, tokens_of


@dataclass
class ToolUse:
    """What one tool was used for. ``time_ms`` is from calls to their results, of the ``timed`` calls that have both."""

    calls: int = 0
    failures: int = 0
    timed: int = 0
    time_ms: int = 0

    def add(self, other: "ToolUse") -> None:
        """Count ``other`` in."""
        self.calls += other.calls
        self.failures += other.failures
        self.timed += other.timed
        self.time_ms += other.time_ms


class Request(NamedTuple):
    """One model request: the turn it belongs to (1-based), and its tokens."""

    turn: int
    ts: int
    tokens: Tokens


@dataclass
class SessionStats:
    """What one session's log holds, or several (then without ``session_id`` and ``…_ts``).

    ``turns`` are those that the log says ended or, where it never says so (``turns_ended`` is 0), the user's inputs.
    Times are unix milliseconds of what happened in the session, ``None`` where nothing did; the session's start, its
    labels and applications' own records, which may be written long afterwards, do not count. ``wall_ms`` is from the
    earliest to the latest, pauses included. ``days`` holds the tokens by day (UTC) and model.
    """

    session_id: str | None = None
    records: int = 0
    record_bytes: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    turns: int = 0
    turns_ended: int = 0
    tools: dict[str, ToolUse] = field(default_factory=dict)
    dangling_calls: int = 0
    days: dict[str, dict[str | None, Tokens]] = field(default_factory=dict)
    first_ts: int | None = None
    last_ts: int | None = None
    wall_ms: int = 0

    @property
    def usage(self) -> list[DayUsage]:
        """The tokens of each day and model, in the order of their names."""
        usage = [DayUsage(day, model, tokens) for day, models in self.days.items() for model, tokens in models.items()]
        return sorted(usage, key=lambda one: (one.day, one.model or ""))

    @property
    def models(self) -> dict[str | None, Tokens]:
        """The tokens of each model."""
        return by_model(self.usage)

    @property
    def tokens(self) -> Tokens:
        """The tokens of all models."""
        return all_tokens(self.usage)

    @property
    def tool_use(self) -> ToolUse:
        """All tools taken together."""
        total = ToolUse()
        for use in self.tools.values():
            total.add(use)
        return total


class _Frozen(msgspec.Struct, array_like=True):
    """A tally, to be kept."""

    stats: SessionStats
    model: str | None
    inputs: int
    waiting: dict[str, list[tuple[str, int | None]]]


class Tally:
    """Counts the records of one log, which it must be given in order."""

    def __init__(self, session_id: str, *, keep_requests: bool = False) -> None:
        """Begin before the first record; ``keep_requests`` fills :attr:`requests`, some hundred bytes each."""
        self.stats: SessionStats = SessionStats(session_id)
        self.requests: list[Request] = []
        self._keep_requests = keep_requests
        self._model: str | None = None
        self._inputs = 0
        self._open: dict[str, deque[tuple[str, int | None]]] = {}

    def take(self, record: HashedEntry) -> None:
        """Count one more record. Raises :class:`CorruptLog` if it does not decode."""
        entry, stats = record.entry, self.stats
        stats.records += 1
        stats.record_bytes += len(record.line) + 1
        stats.kinds[entry_kind(entry)] += 1
        for read in as_counted(entry):
            if not isinstance(read, SessionStart | Extension | LabelsChanged | UnknownEntry):
                stats.first_ts = read.ts if stats.first_ts is None else min(stats.first_ts, read.ts)
                stats.last_ts = read.ts if stats.last_ts is None else max(stats.last_ts, read.ts)
                stats.wall_ms = stats.last_ts - stats.first_ts
            self._take_entry(read)
        stats.turns = stats.turns_ended or self._inputs

    def open_calls(self) -> dict[str, str]:
        """Return the tools of the calls that no result has answered so far, by the calls' ids."""
        return {call_id: calls[0][0] for call_id, calls in self._open.items()}

    def freeze(self) -> bytes:
        """Return all that :meth:`thaw` needs to go on counting; without :attr:`requests`."""
        waiting = {call_id: list(calls) for call_id, calls in self._open.items()}
        return msgspec.msgpack.encode(_Frozen(self.stats, self._model, self._inputs, waiting))

    @classmethod
    def thaw(cls, frozen: bytes) -> "Tally":
        """Return the tally that :meth:`freeze` kept. Raises ``ValueError`` for what is none."""
        kept = msgspec.msgpack.decode(frozen, type=_Frozen, dec_hook=lambda _, counts: Counter(counts))
        tally = cls(kept.stats.session_id or "")
        tally.stats, tally._model, tally._inputs = kept.stats, kept.model, kept.inputs
        tally._open = {call_id: deque(calls) for call_id, calls in kept.waiting.items()}
        return tally

    def _take_entry(self, entry: LogEntry) -> None:
        match entry:
            case SessionStart():
                self._model = entry.config.model or None
                self._take_items(entry.history, ts=None)
            case ConfigChanged():
                self._model = entry.config.model or None
            case UserInput():
                self._inputs += 1
                self._take_items([entry.item], ts=entry.ts)
            case AssistantItems() | ToolResults() | HookInjectedItems():
                self._take_items(entry.items, ts=entry.ts)
            case TurnEnd():
                self.stats.turns_ended += 1
            case LlmUsage():
                self._take_usage(entry)
            case _:
                pass

    def _take_usage(self, entry: LlmUsage) -> None:
        tokens = tokens_of(entry)
        self.stats.days.setdefault(day_of(entry.ts), {}).setdefault(self._model, Tokens()).add(tokens)
        if self._keep_requests:
            turn = self.stats.turns_ended + 1 if self.stats.turns_ended else max(1, self._inputs)
            self.requests.append(Request(turn, entry.ts, tokens))

    def _take_items(self, items: Iterable[Item], *, ts: int | None) -> None:
        """Count calls and results; those without a ``ts`` are taken over from a source, and only stay open."""
        for item in items:
            if isinstance(item, ToolCall):
                self._open.setdefault(item.call_id, deque()).append((item.name, ts))
                self.stats.dangling_calls += 1
                if ts is not None:
                    self._use(item.name).calls += 1
            elif isinstance(item, ToolResult):
                self._take_result(item, ts=ts)

    def _take_result(self, result: ToolResult, *, ts: int | None) -> None:
        """Close the oldest open call of the result's id, as the restored state does."""
        waiting = self._open.get(result.call_id)
        name, called_ts = waiting.popleft() if waiting else ("", None)
        if waiting is not None:
            self.stats.dangling_calls -= 1
            if not waiting:
                del self._open[result.call_id]
        if ts is None:
            return
        if result.is_error:
            self._use(name).failures += 1
        if called_ts is not None and ts >= called_ts:
            use = self._use(name)
            use.timed += 1
            use.time_ms += ts - called_ts

    def _use(self, name: str) -> ToolUse:
        """Return the counts of the tool ``name``; the empty name is for results that no call asked for."""
        return self.stats.tools.setdefault(name, ToolUse())


async def session_stats(store: Store, session_id: str, *, keep_requests: bool = False) -> Tally:
    """Count one session, streamed. Raises whatever reading raises."""
    tally = Tally(session_id, keep_requests=keep_requests)
    async with aclosing(store.read(session_id)) as records:
        async for record in records:
            tally.take(record)
    return tally


def total_stats(all_stats: Iterable[SessionStats]) -> SessionStats:
    """Return the sum. Its ``wall_ms`` is that of the sessions added up: they may run side by side, or years apart."""
    total = SessionStats()
    for stats in all_stats:
        for name in ("records", "record_bytes", "turns", "turns_ended", "dangling_calls", "wall_ms"):
            setattr(total, name, getattr(total, name) + getattr(stats, name))
        total.kinds.update(stats.kinds)
        for tool, use in stats.tools.items():
            total.tools.setdefault(tool, ToolUse()).add(use)
        for day, models in stats.days.items():
            for model, tokens in models.items():
                total.days.setdefault(day, {}).setdefault(model, Tokens()).add(tokens)
    return total
