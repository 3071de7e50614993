"""The fold from events to a session's tree. Recorder and log reader feed the same one, so that they cannot disagree.

    SessionFold(id), apply(e1), apply(e2), … is the same however the events came: live, or out of a log

Pure: no I/O, no clock. ``apply`` takes any event in any order and never raises. What it cannot place yet, it keeps
until it can: events of a loop that has not started wait for its ``AgentStart``, children wait for their parent. What
repeats something final (a second ``AgentStart`` or ``AgentEnd`` of a loop, a turn that ended before) changes nothing.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from ..entries import AgentEventEntry, SessionStart
from ..record import HashedEntry
from .as_told import Told
from .events import (
    LOOP_EVENTS,
    AgentEnd,
    AgentEvent,
    AgentStart,
    CompactionBlockAdded,
    EventsFiltered,
    LoopImported,
    MessageEnd,
    ParallelLoopEnd,
    ParallelLoopStart,
    SessionFlushed,
    SessionFormed,
    SessionImported,
    SpawnLinked,
    ToolExecutionEnd,
    TurnEnd,
    TurnRequest,
    TurnStart,
    decode_event,
    loop_of,
)
from .kinds import Explicit, FirstLoop, LoopStatus
from .loop_ids import session_id_of
from .model import (
    ChildLoopRef,
    LoopRecord,
    ParallelGroupRecord,
    Session,
    SpawnRef,
    loop_from_json,
    session_from_json,
)
from .open_loop import OpenLoop

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class SessionFold:
    """The tree of one session, as of the events that were applied."""

    __slots__ = (
        "_child_refs",
        "_children_waiting",
        "_ended_groups",
        "_formation_said",
        "_groups",
        "_open",
        "_opened",
        "_waiting",
        "session",
        "told",
    )

    def __init__(self, session_id: str, *, made_at: datetime = _EPOCH) -> None:
        """Start with an empty session that was made by hand at ``made_at``; its first ``AgentStart`` says better."""
        self.session: Session = Session(
            session_id=session_id, created_at=made_at, last_active_at=made_at, formation=Explicit(made_at)
        )
        self.told: Told = Told()
        """What the log has told, for the events that leave it out."""
        self._opened = False
        self._formation_said = False
        self._child_refs: set[tuple[str, str, str]] = set()
        self._open: dict[str, OpenLoop] = {}
        self._waiting: dict[str, list[AgentEvent]] = {}
        self._children_waiting: dict[str, list[str]] = {}
        self._groups: dict[str, list[str]] = {}
        self._ended_groups: dict[str, ParallelLoopEnd] = {}

    @property
    def opened(self) -> bool:
        """True once an ``AgentStart`` (or an import) has said whose session this is."""
        return self._opened

    @property
    def has_open_loops(self) -> bool:
        """True while a loop is pending or running."""
        return bool(self._open)

    def open_loop(self, loop_id: str) -> LoopRecord | None:
        """Return the loop if it is pending or running."""
        run = self._open.get(loop_id)
        return None if run is None else run.record

    def apply(self, event: AgentEvent) -> None:
        """Fold one more event in."""
        if type(event) in LOOP_EVENTS:  # most of them; those of a loop that runs need no search for their place
            loop_id = loop_of(event)
            run = None if loop_id is None else self._open.get(loop_id)
            if run is not None and run.record.status is LoopStatus.RUNNING:
                self._apply_to_loop(run.record, event)
            else:
                self._place(event, loop_id)
            return
        match event:
            case AgentStart():
                self._start(event)
            case ParallelLoopStart():
                self._announce_group(event)
            case ParallelLoopEnd():
                self._end_group(event)
            case SessionFormed():
                self._form(event)
            case SessionFlushed():
                self._abort_open_loops()
            case SpawnLinked():
                self._link_spawn(event)
            case SessionImported():
                self._import_session(event)
            case LoopImported():
                self._import_loop(event)
            case _:
                self._place(event, loop_of(event))

    def _place(self, event: AgentEvent, loop_id: str | None) -> None:
        if loop_id is None:
            return
        loop = self.session.get_loop(loop_id)
        if loop is None or loop.status is LoopStatus.PENDING:
            self._waiting.setdefault(loop_id, []).append(event)
        else:
            self._apply_to_loop(loop, event)

    def _apply_to_loop(self, loop: LoopRecord, event: AgentEvent) -> None:
        match event:
            case CompactionBlockAdded():
                loop.compaction_block = event.block
                return
            case ToolExecutionEnd() if event.child:
                self._refer_to_child(loop, event, event.child)
            case _:
                pass
        run = self._open.get(loop.loop_id)
        if run is None:
            return  # the loop's end is final; what comes late stays in the log
        match event:
            case EventsFiltered():
                run.skip(event.count)
                return
            case TurnStart():
                run.start_turn(event)
            case TurnRequest():
                run.keep_request(event)
            case MessageEnd():
                run.take_message(event.message)
            case TurnEnd():
                run.end_turn(event)
            case AgentEnd():
                run.end(event)
                del self._open[loop.loop_id]
            case _:
                pass
        run.keep(event)

    def _refer_to_child(self, loop: LoopRecord, event: ToolExecutionEnd, child_loop_id: str) -> None:
        ref = (loop.loop_id, event.tool_call_id, child_loop_id)
        if ref not in self._child_refs:
            self._child_refs.add(ref)
            loop.child_loop_refs.append(
                ChildLoopRef(event.tool_call_id, event.tool_name, child_loop_id, session_id_of(child_loop_id))
            )

    # the events of a whole session, and those that make loops

    def _start(self, event: AgentStart) -> None:
        session = self.session
        if not self._opened:
            self._opened = True
            session.agent_id = event.agent_id
            session.created_at = session.last_active_at = event.timestamp
            if not self._formation_said:
                session.formation = FirstLoop(event.timestamp)
        session.last_active_at = max(session.last_active_at, event.timestamp)
        loop = session.get_loop(event.loop_id)
        if loop is None:
            loop = self._add(event.loop_id, event.timestamp)
        elif loop.status is LoopStatus.PENDING:
            session.move_loop(loop, event.timestamp)
        else:
            self._apply_to_loop(loop, event)
            return
        loop.status = LoopStatus.RUNNING
        loop.agent_id = event.agent_id
        loop.parent_loop_id = event.parent_loop_id
        loop.continuation_kind = event.continuation_kind
        loop.config = event.config_snapshot
        loop.metadata = event.metadata
        self._link_to_parent(loop)
        self._apply_to_loop(loop, event)
        self._apply_waiting(loop)

    def _announce_group(self, event: ParallelLoopStart) -> None:
        loop_ids = list(dict.fromkeys(event.loop_ids))
        for loop_id in loop_ids:
            self._groups.setdefault(loop_id, loop_ids)
            if self.session.get_loop(loop_id) is None:
                self._add(loop_id, event.timestamp).status = LoopStatus.PENDING
        for loop_id in loop_ids:
            if loop_id in self._ended_groups:
                self._set_group(self._ended_groups[loop_id])

    def _end_group(self, event: ParallelLoopEnd) -> None:
        self._ended_groups.setdefault(event.selected_loop_id, event)
        self._set_group(self._ended_groups[event.selected_loop_id])

    def _set_group(self, event: ParallelLoopEnd) -> None:
        loop_ids = self._groups.get(event.selected_loop_id, [event.selected_loop_id])
        for loop_id in loop_ids:
            loop = self.session.get_loop(loop_id)
            if loop is not None:
                loop.parallel_group = ParallelGroupRecord(
                    all_loop_ids=loop_ids,
                    selected_loop_id=event.selected_loop_id,
                    selected_config_index=event.selected_config_index,
                    evaluation_usage=event.evaluation_usage,
                    is_selected=loop_id == event.selected_loop_id,
                )

    def _form(self, event: SessionFormed) -> None:
        if event.formation is not None:
            self.session.formation = event.formation
            self._formation_said = True
        if event.scope is not None:
            self.session.scope = event.scope

    def _abort_open_loops(self) -> None:
        for run in self._open.values():
            run.record.status = LoopStatus.ABORTED
        self._open.clear()

    def _link_spawn(self, event: SpawnLinked) -> None:
        session = self.session
        if event.parent_session_id == session.session_id:
            parent = session.get_loop(event.parent_loop_id)
            refs = [] if parent is None else parent.child_loop_refs
            for place, ref in enumerate(refs):
                if ref.child_loop_id == event.child_loop_id:
                    refs[place] = msgspec.structs.replace(ref, child_session_id=event.child_session_id)
        elif session.parent_spawn_ref is None or not session.parent_spawn_ref.tool_call_id:
            session.parent_spawn_ref = SpawnRef(
                event.parent_session_id, event.parent_loop_id, event.tool_call_id, event.tool_name
            )

    def _import_session(self, event: SessionImported) -> None:
        try:
            imported = session_from_json({**event.session, "session_id": self.session.session_id, "loops": []})
        except (ValueError, TypeError):
            return
        imported.loops = self.session.loops
        self.session = imported
        self._opened = self._formation_said = True

    def _import_loop(self, event: LoopImported) -> None:
        try:
            loop = loop_from_json(event.loop)
        except (ValueError, TypeError):
            return
        if self.session.get_loop(loop.loop_id) is None:
            self._child_refs.update((loop.loop_id, ref.tool_call_id, ref.child_loop_id) for ref in loop.child_loop_refs)
            self._adopt(loop)
            if loop.status.is_open:
                self._open[loop.loop_id] = OpenLoop(loop)
            if loop.status is not LoopStatus.PENDING:
                self._apply_waiting(loop)

    def _apply_waiting(self, loop: LoopRecord) -> None:
        for event in self._waiting.pop(loop.loop_id, ()):
            self._apply_to_loop(loop, event)

    def _add(self, loop_id: str, started_at: datetime) -> LoopRecord:
        loop = LoopRecord(
            loop_id=loop_id, session_id=self.session.session_id, agent_id=self.session.agent_id, started_at=started_at
        )
        self._open[loop_id] = OpenLoop(loop)
        self._adopt(loop)
        if loop_id in self._ended_groups:
            self._set_group(self._ended_groups[loop_id])
        return loop

    def _adopt(self, loop: LoopRecord) -> None:
        """Take a new loop in, with the children that waited for it."""
        session = self.session
        session.add_loop(loop)
        loop.children_loop_ids.extend(self._children_waiting.pop(loop.loop_id, ()))
        guess = session.parent_spawn_ref
        if guess is not None and guess.parent_loop_id == loop.loop_id and not guess.tool_call_id:
            session.parent_spawn_ref = None  # the parent is one of this session's own loops after all

    def _link_to_parent(self, loop: LoopRecord) -> None:
        """Link a parent of this session both ways; a parent of another session makes a spawn ref."""
        session, parent_id = self.session, loop.parent_loop_id
        if parent_id is None or parent_id == loop.loop_id:
            return
        parent = session.get_loop(parent_id)
        if parent is not None:
            parent.children_loop_ids.append(loop.loop_id)
            return
        self._children_waiting.setdefault(parent_id, []).append(loop.loop_id)
        parent_session_id = session_id_of(parent_id)
        if parent_session_id != session.session_id and session.parent_spawn_ref is None:
            session.parent_spawn_ref = SpawnRef(parent_session_id, parent_id)


def collect_session(records: Iterable[HashedEntry]) -> Session:
    """Fold ``records``, a log from its first record on, into the session's tree.

    Every prefix folds: a log without an ``AgentStart`` gives a session without loops that was made by hand when its
    first record was written; an empty one, a session without a name. Entries other than agent events are passed over.
    Raises :class:`CorruptLog` for a record that does not decode.
    """
    fold: SessionFold | None = None
    for record in records:
        fold = fold_record(fold, record)
    return (fold or SessionFold("")).session


def fold_record(fold: SessionFold | None, record: HashedEntry) -> SessionFold:
    """Fold one more record of a log in; the first one makes the fold. Raises as :func:`collect_session`."""
    entry = record.entry
    if fold is None:
        start = entry if isinstance(entry, SessionStart) else None
        fold = SessionFold("") if start is None else SessionFold(start.session_id, made_at=_time_of(start.ts))
    event = fold.told.take_stored(entry)
    if isinstance(entry, AgentEventEntry):
        fold.apply(decode_event(event))
    return fold


def _time_of(ts_ms: int) -> datetime:
    try:
        return _EPOCH + timedelta(milliseconds=ts_ms)
    except OverflowError:
        return _EPOCH  # a log may say any 64-bit integer


__all__ = ["SessionFold", "collect_session", "fold_record"]
