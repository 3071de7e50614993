"""The second pass: entries into sessions, in commits that say what they hold.

Every commit is one note (:class:`~.ledger.ImportNote`) and the entries after it. What a session already holds is
skipped, so an import that was interrupted anywhere goes on where it stopped; a source is committed before anything
that names a record of it.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, cast

import msgspec

from ..chain import link_all_encoded
from ..entries import FORMAT as LOG_FORMAT
from ..entries import (
    AgentEventEntry,
    ConfigChanged,
    Extension,
    LlmUsage,
    LogEntry,
    RequestConfig,
    SessionOrigin,
    SessionStart,
    encode_entry,
)
from ..errors import InvalidEntry
from ..ids import Head, SessionId
from ..items import Item
from ..loops import AgentEvent, SpawnLinked, decode_event, encode_event, scope_of
from ..session import state_at
from ..store import Store
from .ledger import NO_OBJECT, ImportNote, Ledger, history_items, note_entry, runs
from .lines import Found
from .loop_events import LoopEvents, bare, due_links, parted
from .marks import Marks
from .plan import Plan, PlannedSession
from .protocol import Format, Transcript
from .survey import RECORD_OVERHEAD_BYTES
from .told import TellsLoops
from .usage import Due, Tokens, added_tokens

BATCH_ENTRIES: Final = 100
BATCH_BYTES: Final = 1024 * 1024
SPAWN_SUFFIX: Final = ".spawn"
"""Ends the domain of the ``extension`` entries that link a tool call to the session of the agent that it spawned."""


class Piece(NamedTuple):
    """One object of the file, ready to be written; ``left_out``: it is listed instead, and has no entries."""

    found: Found
    ts: int
    left_out: bool
    begins: bool = False
    """Its summary is in the session's first record."""

    @property
    def ordinal(self) -> int:
        """Which object it is."""
        return self.found.ordinal


class Writer:
    """Writes what a plan says to one store."""

    def __init__(
        self,
        store: Store,
        source: tuple[Format, Transcript],
        plan: Plan,
        ledgers: dict[SessionId, Ledger],
        due: Mapping[SessionId, list[Due]],
        *,
        opening_note: Callable[[PlannedSession], ImportNote],
        marks: Marks,
        clock: Callable[[], int],
        whole: bool,
        spawned: SpawnLinked | None,
        news: bool,
    ) -> None:
        """Write behind what ``ledgers`` say; ``opening_note`` makes the note that opens a session's part.

        ``marks`` are those of the file's objects. ``news``: the main session gets a note even if nothing else is due.
        ``whole``: nobody is still writing the file. ``spawned`` tells which tool call ran the main session's agent.
        """
        self.store = store
        self.format: Format = source[0]
        self.transcript: Transcript = source[1]
        self.plan = plan
        self.opening_note = opening_note
        self.marks = marks
        self.clock = clock
        self.whole = whole
        self.spawned = spawned
        self._news = news
        self.tells_loops: TellsLoops | None = (
            cast(TellsLoops, self.transcript) if hasattr(self.transcript, "told") else None
        )
        self.message_starts: set[int] = {one.first for dues in due.values() for one in dues}
        self.sessions: dict[SessionId, SessionWriter] = {
            session.session_id: SessionWriter(
                self, session, ledgers.get(session.session_id), due.get(session.session_id, [])
            )
            for session in plan.sessions
            if not session.held
        }
        self._settled = {ordinal for ledger in ledgers.values() for ordinal in ledger.ends}
        self._main = self.sessions[plan.sessions[0].session_id]
        self._held: dict[int, list[Piece]] = {}
        self._passed: set[int] = set()

    async def take(self, piece: Piece) -> None:
        """Take the next object of the file; it is written once its parent has passed."""
        parent = self.plan.waits_for.get(piece.ordinal)
        if parent is not None and parent not in self._passed:
            self._held.setdefault(parent, []).append(piece)
            return
        ready = [piece]
        while ready:
            one = ready.pop()
            session = self.plan.session_of.get(one.ordinal)
            waits = session is None or session.held or one.ordinal in self.plan.waiting
            if session is not None and not waits:
                writer = self.sessions[session.session_id]
                if one.ordinal in self._settled:
                    writer.take_again(one)
                else:
                    await writer.take(one)
            elif session is None and one.left_out and one.ordinal not in self._settled:
                self._main.pass_over(one)
            if self.plan.waits_for:
                self._passed.add(one.ordinal)
            ready.extend(reversed(self._held.pop(one.ordinal, ())))

    async def announce(self) -> None:
        """See to it that the main session has a note of this import, which names all sessions of the file."""
        await self._main.commit(even_empty=not self._main.noted)

    async def finish(self) -> None:
        """Write what is left."""
        left = {
            one.source.session_id
            for one in self.plan.sessions
            if one.role == "compaction" and one.source and not one.held
        }
        links = due_links(one.loops.links for one in self.sessions.values() if one.loops is not None)
        if self.spawned is not None:
            links[self._main.session.session_id] = self.spawned
        for session_id, writer in self.sessions.items():
            await writer.finish(left=session_id in left, link=links.get(session_id))
        if self._news or self.records_added:
            await self.announce()

    def heads_made(self) -> dict[SessionId, Head]:
        """Return the heads of the sessions that this import made."""
        return {
            session_id: writer.head
            for session_id, writer in self.sessions.items()
            if writer.made and writer.head is not None
        }

    @property
    def records_added(self) -> int:
        """How many records all sessions got."""
        return sum(writer.records_added for writer in self.sessions.values())


class SessionWriter:
    """Writes one session."""

    def __init__(self, run: Writer, session: PlannedSession, ledger: Ledger | None, due: list[Due]) -> None:
        """Write behind ``ledger``, or make the session when there is none."""
        self.session = session
        self.made: bool = False
        self.noted: bool = False
        self.records_added: int = 0
        self._run = run
        self._due = due
        self._head = None if ledger is None else ledger.head
        self._ledger = ledger or Ledger(session.session_id, run.format.name)
        self._config = self._ledger.config
        self._history_len = self._ledger.history_len
        self._counted = dict(self._ledger.counted)
        self._history_before: dict[int, int] = {}
        self._start: SessionStart | None = None
        self._backlog: list[Piece] = []
        self._entries: list[tuple[LogEntry, bytes]] = []
        self._counts: list[tuple[int, int]] = []
        self._usage: dict[str, Tokens] = {}
        self._size = 0
        self._last_ts = 0
        self.loops: LoopEvents | None = None if run.tells_loops is None else self._loop_events(run.tells_loops)

    @property
    def head(self) -> Head | None:
        """The last record that was written."""
        return self._head

    async def take(self, piece: Piece) -> None:
        """Write one line of this session, or keep it until the session can begin."""
        is_summary = piece.ordinal == self.session.summary
        if not self._begun:
            if self.session.summary is not None and not is_summary:
                self._backlog.append(piece)
                return
            summary = self._run.transcript.summary(piece.found) if is_summary and not piece.left_out else ()
            await self._begin(summary)
            backlog, self._backlog = self._backlog, []
            for kept in backlog:
                await self._write(kept)
            piece = piece._replace(begins=bool(summary))
        await self._write(piece)

    def take_again(self, piece: Piece) -> None:
        """Take a line that the log has already: what comes may go on from it."""
        self._events_of(piece)

    def pass_over(self, piece: Piece) -> None:
        """Note an object that has no place and no records, so that its mark is known."""
        self._counts.append((piece.ordinal, 0))

    async def finish(self, *, left: bool = False, link: SpawnLinked | None = None) -> None:
        """Write what is due, and commit; the session may have been ``left`` for a compacted one."""
        if self._begun:
            entries = self._take_due(math.inf)
            if self.loops is not None:
                events = self.loops.finish(
                    whole=self._run.whole, left=left, answered=link is not None or self._ledger.early.linked
                )
                if link is not None and not self._ledger.early.linked:
                    events.append(link)
                entries += self._event_entries(events, ts=self._last_ts)
            self._counts.append((NO_OBJECT, len(entries)))
            await self._keep(entries, size=0)
            await self.commit()

    async def commit(self, *, even_empty: bool = False) -> None:
        """Commit what was taken behind a note of it; nothing if there is nothing, unless ``even_empty``."""
        if not self._entries and not even_empty:
            return
        if not self._begun:
            await self._begin(())
        note = self._run.opening_note(self.session)
        if self.noted:
            note = ImportNote(format=note.format, source=note.source, role=note.role)
        marks = self._run.marks.text(ordinal for ordinal, _ in self._counts if ordinal != NO_OBJECT)
        note = msgspec.structs.replace(note, records=runs(self._counts), usage=self._usage, marks=marks)
        opening = note_entry(note, ts=self._run.clock())
        await self._append([(opening, encode_entry(opening)), *self._entries])
        self.noted = True
        self._entries, self._counts, self._usage, self._size = [], [], {}, 0

    async def hash_after(self, ordinal: int | None) -> str:
        """Return the hash of the record with which the log ended after line ``ordinal`` (``None``: of the first)."""
        await self.commit(even_empty=self._head is None)
        ends = self._ledger.ends
        if ordinal is not None and ordinal not in ends:
            ordinal = max((end for end in ends if end < ordinal), default=None)
        if ordinal is not None:
            return ends[ordinal].hash
        assert self._ledger.first_hash is not None  # noqa: S101 - the commit above has made the session
        return self._ledger.first_hash

    def history_before(self, ordinal: int) -> int:
        """Return where in this session's history object ``ordinal``, of this session or one that it comes from, begins.

        What a compaction did not keep has no place: the end of the summary stands for it.
        """
        end = self._ledger.ends.get(ordinal)
        if end is not None:
            return end.history_before
        session = self.session
        if session.source is None:
            return 0
        source = self._run.sessions[session.source.session_id]
        if session.role != "compaction":
            return source.history_before(ordinal)
        kept = ordinal if session.kept_from is None else session.kept_from
        return 1 + max(0, source.history_before(ordinal) - source.history_before(kept))

    @property
    def _begun(self) -> bool:
        return self._head is not None or self._start is not None

    async def _begin(self, summary: Sequence[Item]) -> None:
        """Prepare the first record; a session that has a source starts with what the source says at the parting."""
        session = self.session
        ts = (session.first.ts if session.first is not None else None) or 0
        start = SessionStart(
            ts=ts,
            format=LOG_FORMAT,
            session_id=session.session_id,
            system_prompt=session.system_prompt,
            config=RequestConfig(),
            history=[],
        )
        if session.source is not None:
            await self._run.announce()
            source = self._run.sessions[session.source.session_id]
            at_hash = await source.hash_after(None if session.parting is None else session.parting.ordinal)
            state = await state_at(self._run.store, session.source.session_id, at_hash)
            origin = SessionOrigin(session.source.session_id, at_hash)
            start = msgspec.structs.replace(start, config=state.config, system_prompt=state.system_prompt)
            if session.role == "compaction":
                history = list(summary)
                if session.kept_from is not None:
                    history += state.history[source.history_before(session.kept_from) :]
                start = msgspec.structs.replace(start, history=history, compacted_from=origin)
            else:
                start = msgspec.structs.replace(start, history=state.history, forked_from=origin)
        self._start = start
        self._config, self._history_len = start.config, len(start.history)

    async def _write(self, piece: Piece) -> None:
        opening, later = parted(self._events_of(piece))
        entries = self._take_due(piece.ordinal) + self._event_entries(opening, ts=piece.ts)
        written, history_before = self._ledger.torn.pop(piece.ordinal, (0, self._history_len))
        if piece.ordinal in self._run.message_starts:
            self._history_before[piece.ordinal] = history_before
        if not piece.left_out:
            entries += self._entries_of(piece)
            entries += self._take_due(piece.ordinal + 0.5)
        entries += self._event_entries(later, ts=piece.ts)
        entries = entries[written:]  # the rest of an object that a killed commit began
        self._counts.append((piece.ordinal, len(entries)))
        await self._keep(entries, size=len(piece.found.raw))

    def _entries_of(self, piece: Piece) -> list[LogEntry]:
        """Return what the object says, and the link to the agent that it tells of first."""
        transcript, begins = self._run.transcript, piece.begins
        entries = transcript.entries(piece.found, ts=piece.ts, config=self._config, begins=begins)
        spawn = self._run.plan.spawns.get(piece.ordinal)
        if spawn is not None:
            payload = {"agent_id": spawn[0], "session_id": spawn[1], "tool_use_id": spawn[2]}
            entries.append(Extension(ts=piece.ts, domain=self._run.format.domain + SPAWN_SUFFIX, payload=payload))
        return entries

    def _loop_events(self, transcript: TellsLoops) -> LoopEvents:
        session = self.session
        root = session
        while root.source is not None:
            root = root.source
        agent_id: str | None = getattr(root.first, "group", None) if root.role == "agent" else None
        return LoopEvents(
            session,
            self._ledger.early,
            agent_id=agent_id or transcript.agent_id,
            scope=scope_of(self._run.store),
            parent_loop=self._parent_loop,
            source_tool=self._source_tool,
        )

    def _source_tool(self, call_id: str) -> str:
        source = self.session.source
        loops = None if source is None else self._run.sessions[source.session_id].loops
        return "" if loops is None else loops.tool_name(call_id)

    def _parent_loop(self) -> str | None:
        """Return the loop of another session that this one's first loop comes from, as far as is told by now."""
        session, run = self.session, self._run
        if session.source is not None:
            source = run.sessions[session.source.session_id].loops
            return (
                None if source is None else source.loop_at(-1 if session.parting is None else session.parting.ordinal)
            )
        if session.role != "agent" or session.spawned_by is None:
            return None
        spawner = run.sessions.get(session.spawned_by)
        if spawner is not None and spawner.loops is not None:
            return spawner.loops.last_loop
        return None if run.spawned is None else run.spawned.parent_loop_id

    def _events_of(self, piece: Piece) -> list[AgentEvent]:
        """Return the agent events that the line proves."""
        self._last_ts = piece.ts
        transcript = self._run.tells_loops
        if piece.left_out or transcript is None or self.loops is None:
            return []
        told = transcript.told(piece.found, ts=piece.ts)
        spawn = self._run.plan.spawns.get(piece.ordinal)
        return self.loops.take(told, piece.ordinal, ts=piece.ts, spawn=spawn)

    def _event_entries(self, events: Iterable[AgentEvent], *, ts: int) -> list[LogEntry]:
        return [AgentEventEntry(ts=ts, event=encode_event(event)) for event in events]

    def _as_told(self, entry: LogEntry) -> tuple[LogEntry, bytes]:
        """Return the next entry of the log as it is written, and its encoding.

        An event is written without what the log has told already. What no record can hold of it is left out as well:
        the line's own entries have it.
        """
        told = self._ledger.told
        if not isinstance(entry, AgentEventEntry):
            told.take_entry(entry)
            return entry, encode_entry(entry)
        kept = AgentEventEntry(ts=entry.ts, event=told.shorten(entry.event))
        encoded = self._encoded_if_it_fits(kept)
        if encoded is not None:
            told.take(entry.event)
            return kept, encoded
        kept = AgentEventEntry(ts=entry.ts, event=encode_event(bare(decode_event(entry.event))))
        told.take(kept.event)
        return kept, encode_entry(kept)

    def _encoded_if_it_fits(self, entry: LogEntry) -> bytes | None:
        try:
            encoded = encode_entry(entry)
        except (InvalidEntry, ValueError, OverflowError):
            return None
        return encoded if len(encoded) + RECORD_OVERHEAD_BYTES <= self._run.store.line_bytes_max else None

    async def _keep(self, entries: list[LogEntry], *, size: int) -> None:
        for entry in entries:
            self._history_len += history_items(entry)
            if isinstance(entry, ConfigChanged):
                self._config = entry.config
        self._entries += map(self._as_told, entries)
        self._size += size
        if len(self._entries) >= BATCH_ENTRIES or self._size >= BATCH_BYTES:
            await self.commit()

    def _take_due(self, ordinal: float) -> list[LogEntry]:
        entries: list[LogEntry] = []
        while self._due and self._due[0].at <= ordinal:
            one = self._due.pop(0)
            tokens = added_tokens(one.tokens, self._counted.get(one.message_id))
            if tokens is None:
                continue
            self._counted[one.message_id] = one.tokens
            self._usage[one.message_id] = tokens
            entries.append(
                LlmUsage(
                    ts=one.ts or 0,
                    history_len=self._history_at(one.first),
                    input_total_tokens=tokens[0],
                    cache_read_tokens=tokens[1],
                    cache_write_tokens=tokens[2],
                    output_tokens=tokens[3],
                )
            )
        return entries

    def _history_at(self, ordinal: int) -> int:
        if ordinal in self._history_before:
            return self._history_before[ordinal]
        end = self._ledger.ends.get(ordinal)
        return self._history_len if end is None else end.history_before

    async def _append(self, entries: list[tuple[LogEntry, bytes]]) -> None:
        """Append entries, each with its encoding, in one commit."""
        store, session_id = self._run.store, self.session.session_id
        self.made = self.made or self._head is None
        if self._head is None:
            assert self._start is not None  # noqa: S101 - commit has begun the session
            entries = [(self._start, encode_entry(self._start)), *entries]
        encoded = (data for _, data in entries)
        records = link_all_encoded(self._head, encoded, line_bytes_max=store.line_bytes_max)
        if self._head is None:
            await store.create_session(session_id, records)
        else:
            await store.append(session_id, *records)
        self._head = records[-1].head
        for (entry, _), record in zip(entries, records, strict=True):
            self._ledger.take(entry, record.head)
        self.records_added += len(records)
