"""Routing: which session's chain an event goes to, what waits until its session is known, what rides along.

Pure and synchronous; the recorder drives it. An event goes to the session that it names, or to that of its loop: as
its ``AgentStart`` or ``ParallelLoopStart`` said, or else as the loop id says before its first dot. Nothing is settled
by asking (:meth:`Router.batch`); only :meth:`Router.settle` lets go of what was waiting, so a failed write can be
tried again.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from .events import (
    LOOP_EVENTS,
    AgentEvent,
    AgentStart,
    EventsFiltered,
    ParallelLoopStart,
    SpawnLinked,
    ToolExecutionEnd,
    encode_event,
    loop_of,
    session_named_by,
)
from .loop_ids import session_id_of


class Received(msgspec.Struct, frozen=True, gc=False):
    """An event as it came: the JSON to keep (with members that this version does not know), and what it says."""

    json: Any
    event: AgentEvent
    encoded: bytes | None = None
    """``json`` in bytes, if it is at hand."""


class Batch(NamedTuple):
    """What goes to one session at once, in this order.

    ``main`` is the place of the event that brought it about; ``waited`` holds what had been waiting, and where.
    """

    items: list[Received]
    main: int
    waited: list[tuple[str, Received]]

    @property
    def events(self) -> list[AgentEvent]:
        """What the items say."""
        return [received.event for received in self.items]


class Router:
    """Knows the sessions of loops, the events that wait, and the counts of those that were filtered."""

    __slots__ = ("_filtered", "_session_of_loop", "_spawns", "_waiting")

    def __init__(self) -> None:
        self._session_of_loop: dict[str, str] = {}
        self._waiting: dict[str, list[Received]] = {}
        self._filtered: dict[str, int] = {}
        self._spawns: dict[str, SpawnLinked] = {}

    def session_of(self, event: AgentEvent) -> str | None:
        """Return the session that the event goes to; ``None`` where it names neither a session nor a loop."""
        if isinstance(event, SpawnLinked):
            return event.child_session_id
        named = session_named_by(event)
        loop_id = loop_of(event)
        if named is None:
            return None if loop_id is None else self.session_of_loop(loop_id)
        if isinstance(event, AgentStart):
            self._session_of_loop[event.loop_id] = named
        elif isinstance(event, ParallelLoopStart):
            for branch in event.loop_ids:
                self._session_of_loop.setdefault(branch, named)
        return named

    def session_of_plain(self, event: AgentEvent) -> str | None:
        """Return the session of an event that concerns nothing but its loop, if all of that is known.

        ``None`` where the event makes or links loops, or something waits for its session or is told before it.
        """
        if type(event) not in LOOP_EVENTS:
            return None
        loop_id = loop_of(event)
        session_id = None if loop_id is None else self._session_of_loop.get(loop_id)
        if session_id is None or session_id in self._waiting or loop_id in self._filtered:
            return None
        return None if isinstance(event, ToolExecutionEnd) and event.child else session_id

    def session_of_loop(self, loop_id: str) -> str:
        """Return the session of a loop, as far as it is known."""
        return self._session_of_loop.get(loop_id, session_id_of(loop_id))

    def learn(self, session_id: str, loop_ids: Iterable[str]) -> None:
        """Note loops of a session."""
        for loop_id in loop_ids:
            self._session_of_loop[loop_id] = session_id

    def forget(self, loop_ids: Iterable[str]) -> None:
        """Let go of loops that will say no more."""
        for loop_id in loop_ids:
            self._session_of_loop.pop(loop_id, None)
            self._filtered.pop(loop_id, None)

    def count_filtered(self, loop_id: str) -> None:
        """Note that an event of the loop is not kept."""
        self._filtered[loop_id] = self._filtered.get(loop_id, 0) + 1

    def wait(self, session_id: str, received: Received) -> None:
        """Keep the event until its session takes it."""
        self._waiting.setdefault(session_id, []).append(received)

    def waiting(self) -> list[AgentEvent]:
        """Return what waits, by session, in the order in which it came."""
        return [received.event for items in self._waiting.values() for received in items]

    def waiting_for(self, session_id: str) -> bool:
        """Tell whether something waits for the session."""
        return session_id in self._waiting

    def batch(self, session_id: str, received: Received | None) -> Batch:
        """Return what the session is to take now: all that waited for it, then ``received``."""
        items = list(self._waiting.get(session_id, ()))
        waited = [(session_id, item) for item in items]
        if received is not None:
            if isinstance(received.event, AgentStart):
                misplaced = self._misplaced(received.event)
                waited += ((session_id_of(received.event.loop_id), item) for item in misplaced)
                items += (_moved(item, session_id) for item in misplaced)
            items.append(received)
        expanded: list[Received] = []
        counted = set[str]()
        main = 0
        for item in items:
            loop_id = loop_of(item.event)
            if loop_id is not None and loop_id in self._filtered and loop_id not in counted:
                counted.add(loop_id)
                expanded.append(_own(EventsFiltered(loop_id=loop_id, count=self._filtered[loop_id])))
            main = len(expanded)
            expanded.append(item)
            link = self._link_made_by(session_id, item.event)
            if link is not None and link.child_session_id != session_id_of(link.child_loop_id):
                expanded.append(_own(link))
        return Batch(expanded, main, waited)

    def settle(self, session_id: str, batch: Batch) -> list[str]:
        """Note that the session has taken the batch; return the sessions for which something waits because of it."""
        self._remove(batch.waited)
        told = {event.child_loop_id for event in batch.events if isinstance(event, SpawnLinked)}
        reached = []
        for event in batch.events:
            if isinstance(event, AgentStart):
                reached += self._correct_link(session_id, event)
            elif isinstance(event, EventsFiltered):
                self._filtered.pop(event.loop_id, None)
            link = self._link_made_by(session_id, event)
            if link is None:
                continue
            if link.child_session_id != session_id_of(link.child_loop_id) and link.child_loop_id not in told:
                self.wait(session_id, _own(link))  # the child began while the batch was being written
                reached.append(session_id)
            if link.child_session_id != session_id:
                if link.child_loop_id not in self._session_of_loop:
                    self._spawns[link.child_loop_id] = link
                self.wait(link.child_session_id, _own(link))
                reached.append(link.child_session_id)
        return reached

    def _remove(self, waited: list[tuple[str, Received]]) -> None:
        taken = {id(item) for _, item in waited}
        for session_id in {session_id for session_id, _ in waited}:
            left = [item for item in self._waiting.pop(session_id, ()) if id(item) not in taken]
            if left:
                self._waiting[session_id] = left

    def _correct_link(self, session_id: str, start: AgentStart) -> list[str]:
        """Tell the parent which session its child loop really belongs to, where the loop id had hidden it."""
        link = self._spawns.pop(start.loop_id, None)
        if link is None or session_id in {link.child_session_id, link.parent_session_id}:
            return []
        self.wait(link.parent_session_id, _own(msgspec.structs.replace(link, child_session_id=session_id)))
        return [link.parent_session_id]

    def _misplaced(self, start: AgentStart) -> list[Received]:
        """Return what waits for the loop under the session that its id seemed to name."""
        guess = session_id_of(start.loop_id)
        if guess == start.session_id:
            return []
        return [item for item in self._waiting.get(guess, ()) if _is_about(item.event, start.loop_id)]

    def _link_made_by(self, session_id: str, event: AgentEvent) -> SpawnLinked | None:
        """Return what a tool's end tells the session of the sub-agent that the tool ran."""
        if not isinstance(event, ToolExecutionEnd) or not event.child:
            return None
        return SpawnLinked(
            parent_session_id=session_id,
            parent_loop_id=event.loop_id,
            child_session_id=self.session_of_loop(event.child),
            child_loop_id=event.child,
            tool_call_id=event.tool_call_id,
            tool_name=event.tool_name,
        )


def _is_about(event: AgentEvent, loop_id: str) -> bool:
    if isinstance(event, SpawnLinked):
        return event.child_loop_id == loop_id
    return session_named_by(event) is None and loop_of(event) == loop_id


def _moved(item: Received, session_id: str) -> Received:
    if isinstance(item.event, SpawnLinked):
        return _own(msgspec.structs.replace(item.event, child_session_id=session_id))
    return item


def _own(event: AgentEvent) -> Received:
    return Received(encode_event(event), event)
