"""Sessions: the verbs of a runtime, over any store.

Every verb that makes a session returns the :class:`SessionLog` that appends to it. A ``SessionLog`` knows the head
that it wrote last and appends behind that and nothing else, so a second writer is always noticed:
:class:`HeadConflict`, or, with ``on_conflict="fork"``, a fork from the last head that this writer knew. Forks and
compactions name their source (FORMAT section 7), so that an audit can follow them.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Any, Literal, TypeAlias

import anyio
import msgspec

from .chain import link_all, link_at
from .entries import (
    FORMAT,
    AssistantItems,
    CacheUnlocked,
    ConfigChanged,
    Extension,
    HookInjectedItems,
    LlmUsage,
    Locked,
    LogEntry,
    Outcome,
    RequestConfig,
    RunOutcome,
    SessionOrigin,
    SessionStart,
    ToolResults,
    TurnEnd,
    UserInput,
)
from .errors import EntryNotFound, HeadConflict
from .ids import EntryHash, Head, SessionId, new_session_id, now_ms
from .items import Item, Message, Reasoning, ToolCall, ToolResult
from .record import HashedEntry
from .state import RestoredState
from .store import Store

OnConflict: TypeAlias = Literal["raise", "fork"]
Clock: TypeAlias = Callable[[], int]
Summarize: TypeAlias = Callable[[RestoredState], Awaitable[Sequence[Item]]]


class SessionStartState(msgspec.Struct, frozen=True):
    """The state that a new session starts from."""

    system_prompt: str | None = None
    config: RequestConfig = RequestConfig()
    history: Sequence[Item] = ()


class SessionLog:
    """One open session: appends behind the head that it knows.

    Tasks may share one; their appends queue. After any exception from a verb, ``head`` tells what is in: it moves
    exactly when an append went in, also when the caller was cancelled meanwhile.
    """

    def __init__(
        self,
        store: Store,
        session_id: SessionId,
        head: Head | None,
        *,
        on_conflict: OnConflict = "raise",
        clock: Clock = now_ms,
    ) -> None:
        """Append to ``session_id`` behind ``head``; nothing is read or checked here, see :func:`open_session`."""
        self._store = store
        self._session_id = session_id
        self._head = head
        self._on_conflict = on_conflict
        self._clock = clock
        self._line_bytes_max = store.line_bytes_max
        self._turn = _Turn()

    @property
    def session_id(self) -> SessionId:
        """The session appended to; another one after a fork."""
        return self._session_id

    @property
    def head(self) -> Head | None:
        """The last record that this writer knows to be in."""
        return self._head

    @property
    def head_hash(self) -> EntryHash | None:
        """The hash of :attr:`head`."""
        return None if self._head is None else self._head.hash

    async def append(self, entry: LogEntry) -> EntryHash:
        """Append one entry and return its record's hash. Raises as :meth:`append_all`."""
        head, turn = self._head, self._turn
        if turn.taken or head is None:
            return (await self._append((entry,)))[0].hash
        turn.taken = True  # this and append_all do the same; here, in the fewest steps
        try:
            record = link_at(head.hash, head.seq + 1, entry, line_bytes_max=self._line_bytes_max)
            try:
                await self._store.append(self._session_id, record)
            except HeadConflict as conflict:
                record = (await self._resolve(conflict, (entry,)))[0]
            self._head = record.head
            return record.hash
        finally:
            turn.give()

    async def append_all(self, entries: Iterable[LogEntry]) -> list[EntryHash]:
        """Append ``entries`` in one commit and return their hashes; none for none.

        Raises :class:`InvalidEntry`, :class:`HeadConflict` (with ``on_conflict="fork"``: forks instead, and the entries
        go there), and whatever the store's ``append`` does. Nothing of it is in then.
        """
        entries = list(entries)
        return [record.hash for record in await self._append(entries)] if entries else []

    async def save_delta(self, items: Sequence[Item]) -> list[EntryHash]:
        """Append new history items, sorted into entries, in one commit.

        A user message makes a ``user_input`` each; a run of tool results one ``tool_results``; a run of assistant
        messages, tool calls and reasoning one ``assistant_items``; anything else a ``hook_injected_items`` each.
        """
        return await self.append_all(delta_entries(items, ts=self._clock()))

    async def save_turn_end(self, turn_count: int) -> EntryHash:
        """Append that a turn is over, the ``turn_count``-th."""
        return await self.append(TurnEnd(ts=self._clock(), turn_count=turn_count))

    async def save_outcome(self, outcome: Outcome, interrupted: bool, message: str | None = None) -> EntryHash:
        """Append how the run ended."""
        return await self.append(
            RunOutcome(ts=self._clock(), outcome=outcome, message=message, interrupted=interrupted)
        )

    async def save_usage(
        self,
        history_len: int,
        input_total_tokens: int,
        cache_read_tokens: int,
        cache_write_tokens: int,
        output_tokens: int,
    ) -> EntryHash:
        """Append what one model request cost, in tokens; ``history_len`` is the number of items that were sent."""
        return await self.append(
            LlmUsage(
                ts=self._clock(),
                history_len=history_len,
                input_total_tokens=input_total_tokens,
                cache_read_tokens=cache_read_tokens,
                cache_write_tokens=cache_write_tokens,
                output_tokens=output_tokens,
            )
        )

    async def save_cache_locked(self, locked_prefix_len: int) -> EntryHash:
        """Append that the first ``locked_prefix_len`` history items are fixed."""
        return await self.append(Locked(ts=self._clock(), locked_prefix_len=locked_prefix_len))

    async def save_cache_unlocked(self) -> EntryHash:
        """Append that the locked prefix is free again."""
        return await self.append(CacheUnlocked(ts=self._clock()))

    async def save_config_changed(self, config: RequestConfig) -> EntryHash:
        """Append the request configuration that holds from here on."""
        return await self.append(ConfigChanged(ts=self._clock(), config=config))

    async def save_extension(self, domain: str, payload: Any) -> EntryHash:
        """Append an application's own record."""
        return await self.append(Extension(ts=self._clock(), domain=domain, payload=payload))

    async def ensure_head_or_fork(self, state: SessionStartState) -> bool:
        """Fork if another writer has moved the head: from the last head known here, starting with ``state``.

        Returns True when it forked; this log then appends to the fork. A writer can still come in between this call and
        the next append, which then raises :class:`HeadConflict`. An audit compares ``state`` with the log up to that
        head (FORMAT section 7): give what was restored or saved, not what is still to be saved.
        """
        await self._turn.take()
        try:
            found = await self._store.read_head(self._session_id)
            if found == self._head:
                return False
            forked_from = None if self._head is None else SessionOrigin(self._session_id, self._head.hash)
            await self._move_to_new_session(state, forked_from, ())
            return True
        finally:
            self._turn.give()

    async def _append(self, entries: Sequence[LogEntry]) -> list[HashedEntry]:
        """Append ``entries``, at least one, in this task's turn; return their records."""
        turn = self._turn
        if turn.taken:
            await turn.take()
        else:
            turn.taken = True
        try:
            records = self._link(self._head, entries)
            try:
                await self._store.append(self._session_id, *records)
            except HeadConflict as conflict:
                records = await self._resolve(conflict, entries)
            self._head = records[-1].head
            return records
        finally:
            turn.give()

    def _link(self, head: Head | None, entries: Iterable[LogEntry]) -> list[HashedEntry]:
        return link_all(head, entries, line_bytes_max=self._line_bytes_max)

    async def _resolve(self, conflict: HeadConflict, entries: Sequence[LogEntry]) -> list[HashedEntry]:
        """Raise ``conflict``, or fork from the last head known here and append there; return the entries' records."""
        if self._on_conflict == "raise" or self._head is None:
            raise conflict
        state = await state_at(self._store, self._session_id, self._head.hash)
        origin = SessionOrigin(self._session_id, self._head.hash)
        return (await self._move_to_new_session(start_state(state), origin, entries))[1:]

    async def _move_to_new_session(
        self, state: SessionStartState, forked_from: SessionOrigin | None, entries: Sequence[LogEntry]
    ) -> list[HashedEntry]:
        session_id = new_session_id()
        start = _start_entry(session_id, state, ts=self._clock(), forked_from=forked_from)
        records = self._link(None, (start, *entries))
        await self._store.create_session(session_id, records)
        self._session_id, self._head = session_id, records[-1].head
        return records


class _Turn:
    """Lets one task at a time through, in the order in which they came; costs nothing while there is one."""

    __slots__ = ("_waiting", "taken")

    def __init__(self) -> None:
        self.taken = False
        self._waiting: deque[anyio.Event] = deque()

    async def take(self) -> None:
        """Wait for the turn. Cancelled, it is passed on."""
        if not self.taken:
            self.taken = True
            return
        given = anyio.Event()
        self._waiting.append(given)
        try:
            await given.wait()
        except BaseException:
            if given.is_set():
                self.give()
            else:
                self._waiting.remove(given)
            raise

    def give(self) -> None:
        """End the turn: the next task has it at once, if one waits."""
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self.taken = False


async def create_session(
    store: Store, state: SessionStartState, *, on_conflict: OnConflict = "raise", clock: Clock = now_ms
) -> SessionLog:
    """Make a session with a new id. Raises as the store's ``create_session``."""
    return await create_session_with_id(store, new_session_id(), state, on_conflict=on_conflict, clock=clock)


async def create_session_with_id(
    store: Store,
    session_id: SessionId,
    state: SessionStartState,
    *,
    on_conflict: OnConflict = "raise",
    clock: Clock = now_ms,
) -> SessionLog:
    """Make a session under an id that was reserved before. Raises :class:`SessionExists` if it is taken."""
    return await _create(store, session_id, state, on_conflict=on_conflict, clock=clock)


async def create_compacted_session(
    store: Store,
    state: SessionStartState,
    source: SessionOrigin,
    *,
    on_conflict: OnConflict = "raise",
    clock: Clock = now_ms,
) -> SessionLog:
    """Make a session whose ``state`` summarises ``source``; it carries ``compacted_from``."""
    return await _create(store, new_session_id(), state, compacted_from=source, on_conflict=on_conflict, clock=clock)


async def compact(
    store: Store,
    source_id: SessionId,
    summarize: Summarize,
    *,
    on_conflict: OnConflict = "raise",
    clock: Clock = now_ms,
) -> SessionLog:
    """Make a compacted session of ``source_id`` as it stands now.

    ``summarize`` gets the restored state and returns the new history; system prompt and configuration are taken over.
    Raises :class:`SessionNotFound`, :class:`EntryNotFound` (the source holds no record), and as the store does.
    """
    state = await restore(store, source_id)
    if state.head is None:
        raise EntryNotFound(source_id, EntryHash(""))
    history = await summarize(state)
    return await create_compacted_session(
        store,
        SessionStartState(state.system_prompt, state.config, history),
        SessionOrigin(source_id, state.head.hash),
        on_conflict=on_conflict,
        clock=clock,
    )


async def open_session(
    store: Store, session_id: SessionId, *, on_conflict: OnConflict = "raise", clock: Clock = now_ms
) -> SessionLog:
    """Open a session to append at its present head, without reading it. Raises :class:`SessionNotFound`."""
    head = await store.read_head(session_id)
    return SessionLog(store, session_id, head, on_conflict=on_conflict, clock=clock)


async def fork(
    store: Store,
    state: SessionStartState,
    forked_from: SessionOrigin | None = None,
    *,
    on_conflict: OnConflict = "raise",
    clock: Clock = now_ms,
) -> SessionLog:
    """Make a session that starts with ``state``; with ``forked_from``, an audit expects the state as of that record."""
    return await _create(store, new_session_id(), state, forked_from=forked_from, on_conflict=on_conflict, clock=clock)


async def fork_at(
    store: Store,
    source_id: SessionId,
    at_hash: EntryHash,
    *,
    on_conflict: OnConflict = "raise",
    clock: Clock = now_ms,
) -> SessionLog:
    """Make a session from ``source_id`` as it was after the record ``at_hash``.

    Raises :class:`SessionNotFound`; :class:`EntryNotFound` if the source holds no such record.
    """
    state = await state_at(store, source_id, at_hash)
    return await fork(
        store, start_state(state), SessionOrigin(source_id, at_hash), on_conflict=on_conflict, clock=clock
    )


async def restore(store: Store, session_id: SessionId) -> RestoredState:
    """Fold the session's log into the state to resume from. Raises :class:`SessionNotFound`, :class:`CorruptLog`."""
    state = RestoredState()
    async with aclosing(store.read(session_id)) as records:
        async for record in records:
            state.apply(record)
    return state


def start_state(state: RestoredState) -> SessionStartState:
    """Return what a session that goes on from ``state`` starts with."""
    return SessionStartState(state.system_prompt, state.config, list(state.history))


def delta_entries(items: Sequence[Item], *, ts: int) -> list[LogEntry]:
    """Sort new history items into entries, as :meth:`SessionLog.save_delta` says."""
    entries: list[LogEntry] = []
    run: list[Item] = []
    run_kind: type[ToolResults | AssistantItems] | None = None
    for item in items:
        kind = _run_kind(item)
        if run_kind is not None and kind is not run_kind:
            entries.append(run_kind(ts=ts, items=run))
            run = []
        run_kind = kind
        if kind is not None:
            run.append(item)
        elif isinstance(item, Message) and item.role == "user":
            entries.append(UserInput(ts=ts, item=item))
        else:
            entries.append(HookInjectedItems(ts=ts, items=[item]))
    if run_kind is not None:
        entries.append(run_kind(ts=ts, items=run))
    return entries


def _run_kind(item: Item) -> type[ToolResults | AssistantItems] | None:
    if isinstance(item, ToolResult):
        return ToolResults
    if isinstance(item, ToolCall | Reasoning) or (isinstance(item, Message) and item.role == "assistant"):
        return AssistantItems
    return None


def _start_entry(
    session_id: SessionId,
    state: SessionStartState,
    *,
    ts: int,
    forked_from: SessionOrigin | None = None,
    compacted_from: SessionOrigin | None = None,
) -> SessionStart:
    return SessionStart(
        ts=ts,
        format=FORMAT,
        session_id=session_id,
        system_prompt=state.system_prompt,
        config=state.config,
        history=list(state.history),
        forked_from=forked_from,
        compacted_from=compacted_from,
    )


async def _create(
    store: Store,
    session_id: SessionId,
    state: SessionStartState,
    *,
    forked_from: SessionOrigin | None = None,
    compacted_from: SessionOrigin | None = None,
    on_conflict: OnConflict,
    clock: Clock,
) -> SessionLog:
    start = _start_entry(session_id, state, ts=clock(), forked_from=forked_from, compacted_from=compacted_from)
    records = link_all(None, (start,), line_bytes_max=store.line_bytes_max)
    await store.create_session(session_id, records)
    return SessionLog(store, session_id, records[-1].head, on_conflict=on_conflict, clock=clock)


async def state_at(store: Store, session_id: SessionId, at_hash: EntryHash) -> RestoredState:
    """Fold ``session_id`` up to and including the record ``at_hash``; :class:`EntryNotFound` if it is not there."""
    state = RestoredState()
    async with aclosing(store.read(session_id)) as records:
        async for record in records:
            state.apply(record)
            if record.hash == at_hash:
                return state
    raise EntryNotFound(session_id, at_hash)
