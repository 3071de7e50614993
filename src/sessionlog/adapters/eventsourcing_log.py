"""What an eventsourcing application's log adds up to: its events in their order, and how far others were processed.

Pure, and free of the library. One kind of record: the events that were recorded together, with the tracking, if any, of
the notification that they come from.
"""

import base64
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from .. import DomainRecord

DOMAIN: Final = "eventsourcing"


class Event(NamedTuple):
    """An event as the library stores it."""

    originator_id: UUID | str
    originator_version: int
    topic: str
    state: bytes


class Duplicate(Exception):
    """An aggregate's event of this version, or a tracking that is not behind this one, is recorded already."""


class Application:
    """The state of an application's log."""

    def __init__(self) -> None:
        """Begin before the first record."""
        self.events: list[Event] = []
        self.tracked: dict[str, int] = {}
        """By application, the last notification that was processed."""
        self._places: dict[str, dict[int, int]] = {}
        """By aggregate and version, where the event is."""

    def apply(self, record: DomainRecord) -> "Application":
        """Fold a record in."""
        match record.payload:
            case {"events": [*events], **rest}:
                for kept in events:
                    event = _event(kept)
                    self._places.setdefault(str(event.originator_id), {})[event.originator_version] = len(self.events)
                    self.events.append(event)
                match rest.get("tracking"):
                    case [str(application), int(notification_id)]:
                        self.tracked[application] = notification_id
                    case _:
                        pass
            case _:
                pass
        return self

    def record(self, events: Sequence[Event], tracking: tuple[str, int] | None) -> list[dict[str, Any]]:
        """Return the record of ``events`` and ``tracking``, none for nothing. Raises :class:`Duplicate`."""
        new = set()
        for event in events:
            place = (str(event.originator_id), event.originator_version)
            if place in new or event.originator_version in self._places.get(place[0], ()):
                raise Duplicate(f"aggregate {place[0]} has an event of version {place[1]} already")
            new.add(place)
        if tracking is not None:
            application, notification_id = tracking
            last = self.tracked.get(application)
            if last is not None and last >= notification_id:
                raise Duplicate(f"{application}: notification {notification_id} does not follow {last}")
        if not events and tracking is None:
            return []
        payload: dict[str, Any] = {"events": [_kept(event) for event in events]}
        if tracking is not None:
            payload["tracking"] = list(tracking)
        return [payload]

    def of_aggregate(
        self, originator_id: UUID | str, *, gt: int | None, lte: int | None, desc: bool, limit: int | None
    ) -> list[Event]:
        """Return an aggregate's events by version."""
        places = self._places.get(str(originator_id), {})
        versions = sorted(
            (one for one in places if (gt is None or one > gt) and (lte is None or one <= lte)), reverse=desc
        )
        return [self.events[places[one]] for one in versions[:limit]]

    def notifications(
        self, first: int, *, stop: int | None, topics: Iterable[str], limit: int
    ) -> list[tuple[int, Event]]:
        """Return events with their places in the whole order, which are counted from 1."""
        last = len(self.events) if stop is None else min(stop, len(self.events))
        wanted = frozenset(topics)
        found: list[tuple[int, Event]] = []
        for id in range(max(first, 1), last + 1):
            event = self.events[id - 1]
            if len(found) == limit:
                break
            if not wanted or event.topic in wanted:
                found.append((id, event))
        return found


def _kept(event: Event) -> dict[str, Any]:
    """Return the event as a log holds it: its state as text if it is text, else in base64."""
    kind = "uuid" if isinstance(event.originator_id, UUID) else "id"
    try:
        state = {"text": event.state.decode()}
    except UnicodeDecodeError:
        state = {"base64": base64.b64encode(event.state).decode("ascii")}
    return {kind: str(event.originator_id), "version": event.originator_version, "topic": event.topic, **state}


def _event(kept: dict[str, Any]) -> Event:
    id = UUID(kept["uuid"]) if "uuid" in kept else kept["id"]
    state = kept["text"].encode() if "text" in kept else base64.b64decode(kept["base64"])
    return Event(id, kept["version"], kept["topic"], state)
