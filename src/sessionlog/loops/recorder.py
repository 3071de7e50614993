"""The recorder: takes a runtime's events one by one and keeps the tree of every session that they speak of.

    record(event)     appends to the session's chain, then applies: what the tree shows is on disk
    on_event(event)   applies only: for programs that keep no log

For every sequence of events, ``collect_session`` of a session's log equals ``get_session`` here: both are the same
fold (:class:`sessionlog.loops.SessionFold`) over the same decoded events. What one session learns from another's
event (whose tool call ran it) is written to its own chain too, as an event of the recorder's.

A session opens at the first ``AgentStart`` that names it. Events that come before wait, and are written, in the order
in which they came, right before that ``AgentStart``. A session that the store holds already is taken up where its log
ends.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Protocol, TypeAlias

import msgspec

from ..chain import link_all_encoded, link_encoded
from ..entries import (
    FORMAT,
    AgentEventEntry,
    LogEntry,
    RequestConfig,
    SessionStart,
    encode_entry,
    encode_event_entry,
    wrap_event,
)
from ..errors import HeadConflict, InvalidEntry, SessionLogError, SessionNotFound
from ..ids import EntryHash, Head, SessionId, is_session_id, now_ms
from ..mutex import Mutex
from ..store import Store, check_session_id
from ..stores.memory import MemoryStore
from .events import (
    KNOWN_TYPES,
    AgentEvent,
    AgentStart,
    MessageUpdate,
    SessionFlushed,
    SessionFormed,
    TurnRequest,
    encode_event,
    session_named_by,
)
from .fold import SessionFold, fold_record
from .kinds import SessionScope
from .model import LoopRecord, Session
from .receiving import receive, receive_to_keep
from .routing import Batch, Received, Router

TaskCallback: TypeAlias = Callable[[Session], object]


class SessionRecorderConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a recorder keeps, and whom it tells.

    ``include_streaming_events`` keeps ``MessageUpdate``; ``capture_turn_requests`` keeps ``TurnRequest`` and gives
    each turn its ``request_payload``. What is not kept is neither in the tree nor in the log, and leaves a gap in the
    sequence numbers. ``before_task`` is called when a session has been opened, ``after_task`` when one is completed
    (by ``flush`` or ``checkpoint``). What they raise surfaces from the call that brought it about, whose own work is
    done by then.
    """

    include_streaming_events: bool = False
    capture_turn_requests: bool = False
    before_task: TaskCallback | None = None
    after_task: TaskCallback | None = None


class EntryLog(Protocol):
    """What a recorder needs of a session's log that somebody else appends to as well; a ``SessionLog`` is one."""

    @property
    def session_id(self) -> SessionId:
        """The session appended to."""
        ...

    async def append_all(self, entries: list[LogEntry]) -> list[EntryHash]:
        """Append the entries in one commit, or none of them."""
        ...


def _left_out(config: SessionRecorderConfig) -> Collection[type]:
    """Return the events that are not kept."""
    kept = {MessageUpdate: config.include_streaming_events, TurnRequest: config.capture_turn_requests}
    return [struct for struct, is_kept in kept.items() if not is_kept]


def scope_of(store: Store) -> SessionScope:
    """Return where the sessions of ``store`` live: ephemeral in a :class:`MemoryStore`, persistent in any other."""
    return SessionScope.EPHEMERAL if isinstance(store, MemoryStore) else SessionScope.PERSISTENT


class SessionRecorder:
    """Records events into the trees, and the logs, of their sessions. For one event loop, not for threads.

    The sessions that it gives are its own and change as events come in.
    """

    def __init__(
        self,
        config: SessionRecorderConfig | None = None,
        store: Store | None = None,
        *,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        """Record into ``store``; without one, into a :class:`MemoryStore` of its own. ``clock`` gives unix ms."""
        self._config = SessionRecorderConfig() if config is None else config
        self._left_out = _left_out(self._config)
        self._store: Store = MemoryStore() if store is None else store
        self._clock = clock
        self._router = Router()
        self._folds: dict[str, SessionFold] = {}
        self._completed: dict[str, None] = {}
        self._heads: dict[str, Head] = {}
        self._logs: dict[str, EntryLog] = {}
        self._locks: dict[str, Mutex] = {}
        self._reached: dict[str, None] = {}
        self._newly_opened: list[str] = []
        self._ignored_count = 0

    @property
    def store(self) -> Store:
        """Where :meth:`record` keeps the logs."""
        return self._store

    @property
    def ignored_count(self) -> int:
        """How many things :meth:`on_event` was given that are no events, or name no session and no loop."""
        return self._ignored_count

    @property
    def waiting_events(self) -> list[AgentEvent]:
        """The events whose session has not been opened yet; they are in no tree and no log."""
        return self._router.waiting()

    # reading the trees

    def sessions(self) -> list[Session]:
        """Return all sessions: the completed ones that were not drained, then the others."""
        known = [session_id for session_id in self._folds if session_id not in self._completed]
        return [self._folds[session_id].session for session_id in (*self._completed, *known)]

    def get_session(self, session_id: str) -> Session | None:
        """Return the session, completed or not; ``None`` if it is not known, or drained."""
        fold = self._folds.get(session_id)
        return None if fold is None else fold.session

    def current_loop(self, loop_id: str) -> LoopRecord | None:
        """Return the loop if it is pending or running."""
        fold = self._folds.get(self._router.session_of_loop(loop_id))
        return None if fold is None else fold.open_loop(loop_id)

    # taking events

    def on_event(self, event: object) -> None:
        """Apply an event to the trees in memory; nothing is written.

        Never raises on odd input: what is no event, or belongs to nothing, is counted in :attr:`ignored_count`. Use
        this or :meth:`record` for a session, not both: a recorded session takes its tree from its log.
        """
        if self._is_filtered(event):
            return
        try:
            received = receive(event)
        except InvalidEntry:
            self._ignored_count += 1
            return
        session_id = self._router.session_of(received.event)
        if session_id is None:
            self._ignored_count += 1
        elif session_id in self._folds or isinstance(received.event, AgentStart):
            self._folds.setdefault(session_id, SessionFold(session_id))
            self._apply(session_id, self._router.batch(session_id, received))
            self._pass_on()
            self._announce()
        else:
            self._router.wait(session_id, received)

    async def record(self, event: AgentEvent | Mapping[str, Any]) -> EntryHash | None:
        """Append the event to its session's chain, then apply it; return its record's hash.

        ``None``: the event is not kept (see :class:`SessionRecorderConfig`), or waits for its session. A mapping is an
        event's JSON, kept with the members that this version does not know.

        Raises :class:`InvalidEntry` (no event, or it cannot be kept faithfully), :class:`InvalidSessionId` (the session
        that it names cannot be named in a store), and whatever the store's ``append`` and ``read`` do. After any of
        these, neither log nor tree holds the event. Another writer on the chain is no error: its records are folded in
        and the event goes behind them; only on an attached log does :class:`HeadConflict` surface.
        """
        if self._is_filtered(event):
            return None
        # what no log can hold is refused now, also where it would wait
        received = receive_to_keep(event)
        plain_id = self._router.session_of_plain(received.event)
        if plain_id is not None and plain_id in self._heads and plain_id not in self._logs and not self._reached:
            lock = self._lock(plain_id)
            hash_ = None if lock.taken else await self._write_plain(SessionId(plain_id), received, lock)
            if hash_ is not None:
                return hash_
        while True:
            session_id = self._router.session_of(received.event)
            if session_id is None:
                raise InvalidEntry(f"{type(received.event).__name__} names neither a session nor a loop")
            if not is_session_id(session_id) and session_named_by(received.event) is None:
                self._router.wait(session_id, received)  # a guess from a loop id: its AgentStart will say better
                return None
            key = check_session_id(session_id)
            async with self._lock(key):
                known = await self._take_up(key) or isinstance(received.event, AgentStart)
                if self._router.session_of(received.event) != session_id:
                    continue  # its loop's AgentStart went by while we waited
                if not known:
                    self._router.wait(session_id, received)
                    return None
                hash_ = await self._write(key, self._router.batch(session_id, received))
            await self._deliver()
            self._announce()
            return hash_

    async def attach(self, log: EntryLog) -> None:
        """Record a session through ``log``, so that its other writer and this recorder append behind one head.

        ``log`` appends to the recorder's store, and raises on conflicts. Raises as the store's ``read`` does.
        """
        async with self._lock(log.session_id):
            if not await self._take_up(log.session_id):
                raise SessionNotFound(log.session_id)
            self._logs[log.session_id] = log

    # ending

    def flush(self) -> None:
        """Abort every open loop and complete every session, in memory; :meth:`record_flush` writes it, too."""
        for session_id, fold in list(self._folds.items()):
            if fold.has_open_loops:
                fold.apply(SessionFlushed(session_id=session_id))
            self._complete(session_id)

    async def record_flush(self) -> None:
        """Append to the chain of every session with open loops that they are aborted, then :meth:`flush`.

        Raises as :meth:`record`; nothing is completed then, though loops may have been aborted already.
        """
        for session_id in [s for s, fold in self._folds.items() if fold.has_open_loops and s in self._heads]:
            await self.record(SessionFlushed(session_id=session_id))
        self.flush()

    def checkpoint(self) -> int:
        """Complete the sessions that have no open loop; return how many were not completed before."""
        ready = [s for s, fold in self._folds.items() if s not in self._completed and not fold.has_open_loops]
        for session_id in ready:
            self._complete(session_id)
        return len(ready)

    def drain_completed(self) -> list[Session]:
        """Hand over the completed sessions and forget them.

        A later event takes a recorded one up again from its log.
        """
        drained = [self._folds.pop(session_id).session for session_id in self._completed]
        for session in drained:
            for kept in (self._heads, self._logs):
                kept.pop(session.session_id, None)
            self._router.forget(loop.loop_id for loop in session.loops)
            if session.session_id in self._locks and not self._locks[session.session_id].taken:
                del self._locks[session.session_id]
        self._completed.clear()
        return drained

    def _complete(self, session_id: str) -> None:
        if session_id not in self._completed and session_id in self._folds:
            self._completed[session_id] = None
            if self._config.after_task is not None:
                self._config.after_task(self._folds[session_id].session)

    # in memory

    def _is_filtered(self, event: object) -> bool:
        """Tell whether the event is not to be kept, and count it then."""
        struct = type(event)
        if struct in KNOWN_TYPES:
            if struct not in self._left_out:
                return False
            loop_id = getattr(event, "loop_id", None)
        elif isinstance(event, Mapping):
            if event.get("type") not in [struct.__name__ for struct in self._left_out]:
                return False
            loop_id = event.get("loop_id")
        else:
            return False
        if isinstance(loop_id, str):
            self._router.count_filtered(loop_id)
        return True

    def _apply(self, session_id: str, batch: Batch) -> None:
        fold = self._folds[session_id]
        was_open = fold.opened
        for event in batch.events:
            fold.apply(event)
        self._reached.update(dict.fromkeys(self._router.settle(session_id, batch)))
        if fold.has_open_loops:
            self._completed.pop(session_id, None)
        if fold.opened and not was_open:
            self._newly_opened.append(session_id)

    def _pass_on(self) -> None:
        """Apply, in memory, what one session's events made for others that are known in memory only."""
        while True:
            session_id = next((s for s in self._reached if s not in self._heads), None)
            if session_id is None:
                return
            del self._reached[session_id]
            if session_id in self._folds:
                self._apply(session_id, self._router.batch(session_id, None))

    def _announce(self) -> None:
        while self._newly_opened:
            session = self.get_session(self._newly_opened.pop(0))
            if session is not None and self._config.before_task is not None:
                self._config.before_task(session)

    # in the store

    def _lock(self, session_id: str) -> Mutex:
        lock = self._locks.get(session_id)
        if lock is None:
            lock = self._locks[session_id] = Mutex()
        return lock

    async def _take_up(self, session_id: str) -> bool:
        """Fold what the store holds of the session, if that is not done yet; False where it holds no record of it."""
        if session_id in self._heads:
            return True
        fold: SessionFold | None = None
        head: Head | None = None
        try:
            async with aclosing(self._store.read(session_id)) as records:
                async for record in records:
                    fold, head = fold_record(fold, record), record.head
        except SessionNotFound:
            return False
        if fold is None or head is None:
            return False
        self._folds[session_id], self._heads[session_id] = fold, head
        self._router.learn(session_id, (loop.loop_id for loop in fold.session.loops))
        return True

    async def _catch_up(self, session_id: str) -> None:
        """Fold what another writer has appended."""
        fold = self._folds[session_id]
        async with aclosing(self._store.read(session_id, after=self._heads[session_id].seq)) as records:
            async for record in records:
                fold_record(fold, record)
                self._heads[session_id] = record.head
        self._router.learn(session_id, (loop.loop_id for loop in fold.session.loops))

    async def _write_plain(self, session_id: SessionId, received: Received, lock: Mutex) -> EntryHash | None:
        """Write an event that concerns its own loop alone: the fast path of :meth:`record`.

        ``None``, with nothing done, where another writer has appended meanwhile.
        """
        lock.taken = True
        try:
            head, fold = self._heads[session_id], self._folds[session_id]
            told = fold.told.shorten(received.json)
            if told is received.json and received.encoded is not None:
                encoded = wrap_event(received.encoded, ts=self._clock())
            else:
                encoded = encode_event_entry(told, ts=self._clock())
            record = link_encoded(head.hash, head.seq + 1, encoded, line_bytes_max=self._store.line_bytes_max)
            try:
                await self._store.append(session_id, record)
            except HeadConflict:
                return None
            self._heads[session_id] = record.head
            fold.told.take(received.json)
            fold.apply(received.event)
            if fold.has_open_loops:
                self._completed.pop(session_id, None)
            return record.hash
        finally:
            lock.give()

    async def _write(self, session_id: str, batch: Batch) -> EntryHash:
        """Append the batch behind whatever the log holds by then, and apply it; return the hash of its main record."""
        while True:
            head = self._heads.get(session_id)
            fold = SessionFold(session_id) if head is None else self._folds[session_id]
            own = self._scope_event(fold, batch)
            events = [*own, *batch.items]
            # of several events at once, what a later one may leave out depends on those before it: written out
            told = [fold.told.shorten(events[0].json)] if len(events) == 1 else [received.json for received in events]
            try:
                hashes = await self._append(session_id, head, told)
            except HeadConflict:
                if session_id in self._logs:
                    raise
                if await self._take_up(session_id):
                    await self._catch_up(session_id)
                continue
            self._folds[session_id] = fold
            for received in events:
                fold.told.take(received.json)
            for event in (received.event for received in own):
                fold.apply(event)
            self._apply(session_id, batch)
            return hashes[batch.main - len(batch.items)]

    async def _append(self, session_id: str, head: Head | None, events: Sequence[Any]) -> list[EntryHash]:
        ts = self._clock()
        if session_id in self._logs:
            return await self._logs[session_id].append_all([AgentEventEntry(ts=ts, event=data) for data in events])
        encoded = [encode_event_entry(data, ts=ts) for data in events]
        if head is None:
            start = SessionStart(ts=ts, format=FORMAT, session_id=session_id, config=RequestConfig(), history=())
            encoded.insert(0, encode_entry(start))
        records = link_all_encoded(head, encoded, line_bytes_max=self._store.line_bytes_max)
        await self._store.append(session_id, *records)
        self._heads[session_id] = records[-1].head
        return [record.hash for record in records]

    def _scope_event(self, fold: SessionFold, batch: Batch) -> list[Received]:
        """Return what says that the session outlives the process, if it does and its log does not say so yet."""
        scope = scope_of(self._store)
        opens = not fold.opened and any(isinstance(event, AgentStart) for event in batch.events)
        if not opens or scope is fold.session.scope:
            return []
        event = SessionFormed(session_id=fold.session.session_id, scope=scope)
        return [Received(encode_event(event), event)]

    async def _deliver(self) -> None:
        """Write what one session's events made for others; what cannot be written now goes with a later event."""
        later: dict[str, None] = {}
        try:
            while self._reached:
                session_id, _ = self._reached.popitem()
                if is_session_id(session_id):
                    later[session_id] = None
                    await self._deliver_to(session_id)
                    del later[session_id]
        except SessionLogError:
            pass  # the event that was recorded is in; this one still waits
        finally:
            self._reached.update(later)

    async def _deliver_to(self, session_id: str) -> None:
        async with self._lock(session_id):
            if self._router.waiting_for(session_id) and await self._take_up(session_id):
                await self._write(session_id, self._router.batch(session_id, None))


__all__ = ["EntryLog", "SessionRecorder", "SessionRecorderConfig", "scope_of"]
