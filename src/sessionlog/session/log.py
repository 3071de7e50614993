"""One open session: the log that a runtime appends to."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from ..chain import link_all, link_at
from ..entries import (
    CacheUnlocked,
    ConfigChanged,
    Extension,
    LabelsChanged,
    LlmUsage,
    Locked,
    LogEntry,
    Outcome,
    RequestConfig,
    RunOutcome,
    SessionOrigin,
    TurnEnd,
)
from ..errors import HeadConflict, InvalidEntry, SessionContended
from ..ids import EntryHash, Head, SessionId, new_session_id, now_ms
from ..items import Item
from ..mutex import Mutex
from ..record import HashedEntry, Position
from ..state import RestoredState
from ..store import Store
from .delta import delta_entries
from .kept_fold import CHANGE_ATTEMPTS_MAX, KeptFold
from .restoring import state_at
from .start import SessionStartState, start_entry, start_state

_logger = logging.getLogger("sessionlog.session")

OnConflict: TypeAlias = Literal["raise", "fork"]
Clock: TypeAlias = Callable[[], int]


class SessionLog:
    """One open session: appends behind the head that it knows.

    Tasks may share one; their appends queue. After any exception from a verb, ``head`` tells what is in: it moves
    exactly when an append went in, also when the caller was cancelled meanwhile.
    """

    def __init__(
        self,
        store: Store,
        session_id: str,
        head: Head | None,
        *,
        end: int | None = None,
        on_conflict: OnConflict = "raise",
        clock: Clock = now_ms,
    ) -> None:
        """Append to ``session_id`` behind ``head``; nothing is read or checked here, see :func:`open_session`.

        ``end`` is how many bytes the lines up to ``head`` have, for :attr:`position`.
        """
        self._store = store
        self._session_id = SessionId(session_id)
        self._head = head
        self._end_at_opening = end
        self._appended_bytes = 0
        self._on_conflict = on_conflict
        self._clock = clock
        self._line_bytes_max = store.line_bytes_max
        self._turn = Mutex()
        self._fold: KeptFold[RestoredState] | None = None

    def __repr__(self) -> str:
        """Show the session, the head that this writer knows, and the store."""
        return f"SessionLog({self._session_id!r}, {self._head!r}, {self._store!r})"

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
        return None if self._head is None else EntryHash(self._head.hash)

    @property
    def position(self) -> Position | None:
        """Where :attr:`head` ends, for ``read(after=…)``; ``None`` before the first record, or if the end is unknown.

        It is known to the logs that the verbs of this package return.
        """
        if self._head is None or self._end_at_opening is None:
            return None
        return Position(self._head.seq, self._head.hash, self._end_at_opening + self._appended_bytes)

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
            else:
                self._appended_bytes += len(record.line) + 1
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

    async def set_labels(
        self, labels: Mapping[str, str | None] | None = None, *, title: str | msgspec.UnsetType | None = msgspec.UNSET
    ) -> EntryHash:
        """Append a new title, labels, or both; what is not named stays as it was.

        A title of ``None`` takes the title away; a label of ``None`` takes that label away. Raises
        :class:`InvalidEntry` where nothing is named or a label has no name, and as :meth:`append`.
        """
        labels = {} if labels is None else dict(labels)
        if not labels and title is msgspec.UNSET:
            raise InvalidEntry("nothing to change: give a title, or at least one label")
        if "" in labels:
            raise InvalidEntry("a label needs a name")
        return await self.append(LabelsChanged(ts=self._clock(), title=title, labels=labels))

    async def save_extension(self, domain: str, payload: Any) -> EntryHash:
        """Append an application's own record."""
        return await self.append(Extension(ts=self._clock(), domain=domain, payload=payload))

    async def change(self, decide: Callable[[RestoredState], Iterable[LogEntry]]) -> list[EntryHash]:
        """Append, in one commit, the entries that ``decide`` returns for the state at the head; return their hashes.

        If another writer comes first, what that appended is folded in and ``decide`` is asked again: so what is
        appended was decided for the very state that it meets. Never forks. Afterwards, :attr:`head` is the head that
        ``decide`` saw last, or what was appended to it: this log goes on from there. The first call reads the log; its
        state is kept, so that later ones read what is new.

        Args:
            decide: Returns the entries to append; none, to append nothing. It may be called many times and must do
                nothing else: no change to the state, no I/O.

        Raises:
            SessionContended: Other writers came first, many times over; nothing was written.
            SessionNotFound: The session is not there.
            InvalidEntry: As :meth:`append_all`.
        """
        await self._turn.take()
        try:
            fold = self._fold = self._fold or KeptFold(RestoredState, _folded)
            for _ in range(CHANGE_ATTEMPTS_MAX):
                await fold.catch_up(self._store, self._session_id)
                records = self._link(fold.head, decide(fold.state))
                if records:
                    try:
                        await self._store.append(self._session_id, *records)
                    except HeadConflict:
                        continue
                    fold.take(records)
                self._head = fold.head
                self._end_at_opening, self._appended_bytes = 0 if fold.position is None else fold.position.end, 0
                return [record.hash for record in records]
            raise SessionContended(self._session_id, attempts=CHANGE_ATTEMPTS_MAX)
        finally:
            self._turn.give()

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
            else:
                self._appended_bytes += bytes_of(records)
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
        start = start_entry(session_id, state, ts=self._clock(), forked_from=forked_from)
        records = self._link(None, (start, *entries))
        await self._store.create_session(session_id, records)
        _logger.info("session %s: another writer appended first, going on as %s", self._session_id, session_id)
        self._session_id, self._head = session_id, records[-1].head
        self._end_at_opening, self._appended_bytes = 0, bytes_of(records)
        return records


def _folded(state: RestoredState, record: HashedEntry) -> RestoredState:
    state.apply(record)
    return state


def bytes_of(records: Iterable[HashedEntry]) -> int:
    """Return how many bytes the lines of ``records`` have, each with its LF."""
    return sum(len(record.line) + 1 for record in records)
