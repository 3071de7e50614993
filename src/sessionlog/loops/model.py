"""The model: a session as a tree of loops, each with its turns, its events and its links to other sessions.

A tree is made by folding events (:mod:`sessionlog.loops.fold`) and is a reading of the log, never a source of its
own. The structs of a live tree change as events come in; take a copy to keep one.

    session.get_loop(id).loop_id == id          loops are found by id in constant time
    set(session.loop_chain_to(id)) is finite    and holds no id twice, whatever the parents say
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import msgspec

from .blocks import CompactionBlock
from .events import AgentEvent, decode_event, encode_event
from .kinds import (
    ContinuationKind,
    Initial,
    LoopConfigSnapshot,
    LoopStatus,
    SessionFormation,
    SessionScope,
    Timestamp,
    TurnId,
    TurnTrigger,
)
from .messages import AgentMessage
from .usage import Usage

if TYPE_CHECKING:
    _Event: TypeAlias = AgentEvent
else:
    _Event = Any  # events of unknown types keep msgspec from decoding the union by itself: LoopEvent does it


class ChildLoopRef(msgspec.Struct, frozen=True):
    """The way out: on the parent's loop, the loop of another session (or of this one) that a tool call ran."""

    tool_call_id: str
    tool_name: str
    child_loop_id: str
    child_session_id: str


class SpawnRef(msgspec.Struct, frozen=True):
    """The way in: on the child's session, the loop and the tool call that ran it.

    ``tool_call_id`` and ``tool_name`` are empty until the parent's tool has ended.
    """

    parent_session_id: str
    parent_loop_id: str
    tool_call_id: str = ""
    tool_name: str = ""


class ParallelGroupRecord(msgspec.Struct, frozen=True):
    """The parallel group of a loop; all of its loops say the same but for ``is_selected``.

    ``all_loop_ids`` stand in the order of the configurations, of which ``selected_config_index`` (0-based) won.
    """

    all_loop_ids: Sequence[str]
    selected_loop_id: str
    selected_config_index: int
    evaluation_usage: Usage
    is_selected: bool


class LoopEvent(msgspec.Struct, frozen=True):
    """One event of a loop. ``sequence`` counts from 0 and never repeats; a gap stands for events that were filtered."""

    sequence: int
    event: _Event

    def __post_init__(self) -> None:
        """Decode the event where it comes as JSON."""
        if isinstance(self.event, dict):
            msgspec.structs.force_setattr(self, "event", decode_event(self.event))


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One model request with what went in before it, what came out, and the tools that ran after it.

    ``request_payload`` is the whole request, where the recorder was told to keep it.
    """

    turn_id: TurnId
    triggered_by: TurnTrigger = TurnTrigger.USER
    usage: Usage = Usage()
    input_messages: Sequence[AgentMessage] = msgspec.field(default_factory=list)
    output_message: AgentMessage
    tool_results: Sequence[AgentMessage] = msgspec.field(default_factory=list)
    started_at: Timestamp
    ended_at: Timestamp
    request_payload: Any = None

    @property
    def index(self) -> int:
        """The turn's 0-based index in its loop."""
        return self.turn_id.turn_index

    @property
    def duration(self) -> timedelta:
        """How long the turn took, by the runtime's clock; below zero where that went backwards."""
        return self.ended_at - self.started_at

    @property
    def has_tool_calls(self) -> bool:
        """True when tools answered in this turn."""
        return bool(self.tool_results)

    @property
    def all_messages(self) -> list[AgentMessage]:
        """Input, output, tool results: the turn's messages in their order."""
        return [*self.input_messages, self.output_message, *self.tool_results]


class LoopRecord(msgspec.Struct, kw_only=True, dict=True):
    """One run of an agent's loop.

    ``messages`` are what the loop added, as its end told them: empty while it runs. ``turns`` are those that ended.
    ``children_loop_ids`` names loops of this session only, ``child_loop_refs`` what tool calls ran elsewhere.
    ``started_at`` of a pending loop is when it was announced. ``config`` comes from the start, or else from the first
    message of the model.
    """

    loop_id: str
    session_id: str
    agent_id: str = ""
    parent_loop_id: str | None = None
    continuation_kind: ContinuationKind = Initial()
    started_at: Timestamp
    ended_at: Timestamp | None = None
    status: LoopStatus = LoopStatus.RUNNING
    rejection: str | None = None
    config: LoopConfigSnapshot | None = None
    messages: list[AgentMessage] = msgspec.field(default_factory=list)
    turns: list[Turn] = msgspec.field(default_factory=list)
    usage: Usage = Usage()
    metadata: Any = None
    events: list[LoopEvent] = msgspec.field(default_factory=list)
    children_loop_ids: list[str] = msgspec.field(default_factory=list)
    child_loop_refs: list[ChildLoopRef] = msgspec.field(default_factory=list)
    parallel_group: ParallelGroupRecord | None = None
    compaction_block: CompactionBlock | None = None

    @property
    def turn_count(self) -> int:
        """How many turns ended."""
        return len(self.turns)

    def get_turn(self, turn_index: int) -> Turn | None:
        """Return the turn with this 0-based index; ``None`` where it never ended. Indexed."""
        if self._turn_index[0] != len(self.turns):
            self._turn_index = len(self.turns), {turn.index: turn for turn in reversed(self.turns)}
        return self._turn_index[1].get(turn_index)

    @cached_property
    def _turn_index(self) -> tuple[int, dict[int, Turn]]:
        return 0, {}


class Session(msgspec.Struct, kw_only=True, dict=True):
    """All the loops of one session, in the order of their ``started_at``.

    The tree lies in the loops' ``parent_loop_id`` and ``children_loop_ids``. ``last_active_at`` is when the last loop
    began. ``parent_spawn_ref`` is set when a loop of another session ran this one. Add loops with :meth:`add_loop`; the
    lookups notice when ``loops`` grew or shrank otherwise.
    """

    session_id: str
    agent_id: str = ""
    created_at: Timestamp
    last_active_at: Timestamp
    formation: SessionFormation
    parent_spawn_ref: SpawnRef | None = None
    scope: SessionScope = SessionScope.EPHEMERAL
    loops: list[LoopRecord] = msgspec.field(default_factory=list)

    def add_loop(self, loop: LoopRecord) -> None:
        """Put a loop in its place by ``started_at``, behind those that started with it; its id must be new."""
        index = self._index.covering(self.loops)
        insort(self.loops, loop, key=_started_at)
        index.add(loop)

    def move_loop(self, loop: LoopRecord, started_at: datetime) -> None:
        """Set ``started_at`` of a loop of this session and put the loop in its new place."""
        if started_at == loop.started_at:
            return
        place = bisect_left(self.loops, loop.started_at, key=_started_at)
        while self.loops[place] is not loop:
            place += 1
        del self.loops[place]
        loop.started_at = started_at
        insort(self.loops, loop, key=_started_at)

    def get_loop(self, loop_id: str) -> LoopRecord | None:
        """Return the loop with this id. Indexed."""
        return self._index.covering(self.loops).by_id.get(loop_id)

    def root_loops(self) -> list[LoopRecord]:
        """Return the loops whose parent is not in this session, or that have none."""
        known = self._index.covering(self.loops).by_id
        return [loop for loop in self.loops if loop.parent_loop_id is None or loop.parent_loop_id not in known]

    def children_of(self, loop_id: str) -> list[LoopRecord]:
        """Return the loops of this session that continue ``loop_id``, by ``started_at``."""
        loop = self.get_loop(loop_id)
        return [] if loop is None else self._picked(loop.children_loop_ids)

    def parallel_siblings(self, loop_id: str) -> list[LoopRecord]:
        """Return the loops of the same parallel group, ``loop_id`` among them, by ``started_at``."""
        loop = self.get_loop(loop_id)
        return [] if loop is None or loop.parallel_group is None else self._picked(loop.parallel_group.all_loop_ids)

    def loop_chain_to(self, target_loop_id: str) -> list[str]:
        """Return the ids from the root to ``target_loop_id``, following parents.

        Ends where a parent is not in this session, and where a parent came before. Empty for an unknown target.
        """
        chain: dict[str, None] = {}
        loop = self.get_loop(target_loop_id)
        while loop is not None and loop.loop_id not in chain:
            chain[loop.loop_id] = None
            loop = None if loop.parent_loop_id is None else self.get_loop(loop.parent_loop_id)
        return list(reversed(chain))

    def total_usage(self) -> Usage:
        """Return the usage of all loops together, as their ends told it."""
        return sum((loop.usage for loop in self.loops), Usage())

    def walk(self) -> Iterator[tuple[int, LoopRecord]]:
        """Yield every loop once with its depth, parents before children: the tree, ready to be drawn.

        Loops whose parents form a cycle come last, from depth 0.
        """
        seen: set[str] = set()
        for start in (self.root_loops(), self.loops):
            stack = [(0, loop) for loop in reversed(start)]
            while stack:
                depth, loop = stack.pop()
                if loop.loop_id not in seen:
                    seen.add(loop.loop_id)
                    yield depth, loop
                    stack.extend((depth + 1, child) for child in reversed(self.children_of(loop.loop_id)))

    def _picked(self, loop_ids: Sequence[str]) -> list[LoopRecord]:
        known = self._index.covering(self.loops).by_id
        picked = [known[loop_id] for loop_id in dict.fromkeys(loop_ids) if loop_id in known]
        return sorted(picked, key=_started_at)

    @cached_property
    def _index(self) -> "_LoopIndex":
        return _LoopIndex()


class _LoopIndex:
    """Finds loops by id; built anew when the list has another length than the one it was built from."""

    __slots__ = ("by_id", "count")

    def __init__(self) -> None:
        self.by_id: dict[str, LoopRecord] = {}
        self.count = 0

    def covering(self, loops: list[LoopRecord]) -> Self:
        if self.count != len(loops):
            self.by_id.clear()
            for loop in loops:
                self.by_id.setdefault(loop.loop_id, loop)
            self.count = len(loops)
        return self

    def add(self, loop: LoopRecord) -> None:
        self.by_id[loop.loop_id] = loop
        self.count += 1


def loop_to_json(loop: LoopRecord) -> Any:
    """Return the loop as plain JSON data, every member of it; timestamps are RFC 3339 text."""
    data = msgspec.to_builtins(msgspec.structs.replace(loop, events=[]))
    data["events"] = [{"sequence": item.sequence, "event": encode_event(item.event)} for item in loop.events]
    return data


def loop_from_json(data: Any) -> LoopRecord:
    """Return the loop that :func:`loop_to_json` wrote.

    Raises ``ValueError`` where members are missing or do not fit.
    """
    return msgspec.convert(data, LoopRecord)


def session_to_json(session: Session) -> Any:
    """Return the session as plain JSON data, every member of it; timestamps are RFC 3339 text."""
    data = msgspec.to_builtins(msgspec.structs.replace(session, loops=[]))
    data["loops"] = [loop_to_json(loop) for loop in session.loops]
    return data


def session_from_json(data: Any) -> Session:
    """Return the session that :func:`session_to_json` wrote. Raises ``ValueError`` as :func:`loop_from_json` does."""
    return msgspec.convert(data, Session)


def _started_at(loop: LoopRecord) -> datetime:
    return loop.started_at


__all__ = [
    "ChildLoopRef",
    "LoopEvent",
    "LoopRecord",
    "ParallelGroupRecord",
    "Session",
    "SpawnRef",
    "Turn",
    "loop_from_json",
    "loop_to_json",
    "session_from_json",
    "session_to_json",
]
