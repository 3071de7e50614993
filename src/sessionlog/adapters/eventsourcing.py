"""The eventsourcing library: a persistence module that keeps an application in a log.

    PERSISTENCE_MODULE=sessionlog.adapters.eventsourcing
    SESSIONLOG_STORE=logs

The events of all aggregates of an application are in one log, in the order in which they were recorded; what is
recorded together, with the tracking of what it comes from, is one append. Any number of processes and threads may use
one application. The events of an application that is in use are held in memory.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from threading import Thread
from typing import Any, Final, TypeVar
from uuid import UUID

from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    InfrastructureFactory,
    InfrastructureFactoryError,
    IntegrityError,
    ListenNotifySubscription,
    Notification,
    ProcessRecorder,
    StoredEvent,
    Subscription,
    Tracking,
    TrackingRecorder,
)
from eventsourcing.utils import Environment, EnvType, resolve_topic

from .. import Domain, EntryNotFound, SessionNotFound, SessionStartState, Store, open_or_create_session, open_store
from ..blocking import run
from .core import FRAMEWORK_LABEL, KEY_LABEL, Logs, session_id_of
from .eventsourcing_log import DOMAIN, Application, Duplicate, Event

_APPLICATIONS: Final = Domain(DOMAIN, Application, Application.apply)
_UNNAMED: Final = "events"

RecorderT = TypeVar("RecorderT", bound="SessionlogRecorder")


class SessionlogRecorder:
    """What all recorders are: one log."""

    def __init__(self, root: str, key: str) -> None:
        """Work on the log ``key`` in the directory ``root``."""
        self._root = root
        self._key = key
        self._logs = Logs(_APPLICATIONS, root)

    def watch(self, tell: Callable[[], None]) -> "_Appends":
        """Call ``tell`` whenever something was appended to the log, by whichever process."""
        return _Appends(self._root, self._key, tell)

    def _record(self, events: Sequence[StoredEvent], tracking: Tracking | None) -> list[int]:
        new = [Event(one.originator_id, one.originator_version, one.topic, one.state) for one in events]
        tracked = None if tracking is None else (tracking.application_name, tracking.notification_id)

        def decide(application: Application) -> tuple[list[Any], int]:
            return application.record(new, tracked), len(application.events)

        try:
            before = run(self._logs.change, self._key, decide)
        except Duplicate as duplicate:
            raise IntegrityError(str(duplicate)) from duplicate
        return list(range(before + 1, before + len(new) + 1))


class SessionlogAggregateRecorder(SessionlogRecorder, AggregateRecorder):
    """Records events by aggregate."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Append the events, all or none. Raises ``IntegrityError`` if an aggregate has one of a version already."""
        self._record(stored_events, kwargs.get("tracking"))
        return None

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """Return an aggregate's events by version."""

        def look(application: Application) -> list[Event]:
            return application.of_aggregate(originator_id, gt=gt, lte=lte, desc=desc, limit=limit)

        return [StoredEvent(*event) for event in run(self._logs.view, self._key, look)]


class SessionlogApplicationRecorder(SessionlogAggregateRecorder, ApplicationRecorder):
    """Records events by aggregate, and in one order over all."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Append the events, all or none, and return their places in the order over all aggregates."""
        return self._record(stored_events, kwargs.get("tracking"))

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Return events in the order over all aggregates."""
        first = 1 if start is None else start if inclusive_of_start else start + 1

        def look(application: Application) -> list[tuple[int, Event]]:
            return application.notifications(first, stop=stop, topics=topics, limit=limit)

        found = run(self._logs.view, self._key, look)
        return [Notification(*event, id=id) for id, event in found]

    def max_notification_id(self) -> int | None:
        """Return the place of the last event, ``None`` if there is none."""
        count = run(self._logs.view, self._key, lambda application: len(application.events))
        return count or None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        """Return an iterator that waits for events, whichever process records them."""
        return SessionlogSubscription(self, gt=gt, topics=topics)


class SessionlogSubscription(ListenNotifySubscription[SessionlogApplicationRecorder]):
    """Waits for what is appended to the application's log."""

    def __init__(
        self, recorder: SessionlogApplicationRecorder, gt: int | None = None, topics: Sequence[str] = ()
    ) -> None:
        """Begin behind the notification ``gt``."""
        super().__init__(recorder=recorder, gt=gt, topics=topics)
        self._appends = recorder.watch(self._has_been_notified.set)

    def stop(self) -> None:
        """Stop waiting."""
        super().stop()
        self._appends.stop()


class _Appends:
    """Tells of what is appended to a log, in a thread of its own; makes the log if it is not there."""

    def __init__(self, root: str, key: str, tell: Callable[[], None]) -> None:
        self._root = root
        self._key = key
        self._tell = tell
        self._task: asyncio.Task[Any] | None = None
        self._stopped = False
        Thread(target=run, args=(self._follow,), name="sessionlog subscription", daemon=True).start()

    def stop(self) -> None:
        run(self._cancel)

    async def _cancel(self) -> None:
        self._stopped = True
        if self._task is not None:
            self._task.cancel()

    async def _follow(self) -> None:
        if not self._stopped:
            self._task = asyncio.current_task()
            with suppress(asyncio.CancelledError):
                async with open_store(self._root) as store:
                    while True:
                        with suppress(SessionNotFound, EntryNotFound):  # deleted meanwhile: follow the next one
                            await self._follow_one(store)

    async def _follow_one(self, store: Store) -> None:
        start = SessionStartState(labels={FRAMEWORK_LABEL: DOMAIN, KEY_LABEL: self._key})
        log = await open_or_create_session(store, session_id_of(self._key), start)
        self._tell()
        async with aclosing(store.follow(log.session_id, after=log.position)) as records:
            async for _ in records:
                self._tell()


class SessionlogTrackingRecorder(SessionlogRecorder, TrackingRecorder):
    """Records how far the notifications of other applications were processed."""

    def insert_tracking(self, tracking: Tracking) -> None:
        """Append the tracking. Raises ``IntegrityError`` if it does not follow the last one of its application."""
        self._record((), tracking)

    def max_tracking_id(self, application_name: str) -> int | None:
        """Return the last notification of ``application_name`` that was processed."""

        def look(application: Application) -> int | None:
            return application.tracked.get(application_name)

        return run(self._logs.view, self._key, look)


class SessionlogProcessRecorder(SessionlogTrackingRecorder, SessionlogApplicationRecorder, ProcessRecorder):
    """Records events, and in the same append the notification that they come from."""


class Factory(InfrastructureFactory[SessionlogTrackingRecorder]):
    """Makes the recorders of an application, in the directory that ``SESSIONLOG_STORE`` names."""

    SESSIONLOG_STORE = "SESSIONLOG_STORE"

    def __init__(self, env: Environment | EnvType | None) -> None:
        """Take the directory from the environment. Raises ``InfrastructureFactoryError`` if it names none."""
        super().__init__(env)
        root = self.env.get(self.SESSIONLOG_STORE)
        if not root:
            keys = ", ".join(self.env.create_keys(self.SESSIONLOG_STORE))
            raise InfrastructureFactoryError(f"no directory for the logs: set {keys} in the environment")
        self._root = root
        self._key = self.env.name or _UNNAMED

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        """Return a recorder of events, or with another purpose, such as snapshots, one with a log of its own."""
        key = self._key if purpose == "events" else f"{self._key}-{purpose}"
        return SessionlogAggregateRecorder(self._root, key)

    def application_recorder(self) -> ApplicationRecorder:
        """Return a recorder of events."""
        return self._made(SessionlogApplicationRecorder, self.APPLICATION_RECORDER_TOPIC)

    def tracking_recorder(
        self, tracking_recorder_class: type[SessionlogTrackingRecorder] | None = None
    ) -> SessionlogTrackingRecorder:
        """Return a recorder of trackings."""
        if tracking_recorder_class is not None:
            return tracking_recorder_class(self._root, self._key)
        return self._made(SessionlogTrackingRecorder, self.TRACKING_RECORDER_TOPIC)

    def process_recorder(self) -> ProcessRecorder:
        """Return a recorder of events with trackings."""
        return self._made(SessionlogProcessRecorder, self.PROCESS_RECORDER_TOPIC)

    def _made(self, usual: type[RecorderT], topic_key: str) -> RecorderT:
        topic = self.env.get(topic_key)
        recorder_class: type[RecorderT] = resolve_topic(topic) if topic else usual
        return recorder_class(self._root, self._key)


__all__ = [
    "Factory",
    "SessionlogAggregateRecorder",
    "SessionlogApplicationRecorder",
    "SessionlogProcessRecorder",
    "SessionlogSubscription",
    "SessionlogTrackingRecorder",
]
