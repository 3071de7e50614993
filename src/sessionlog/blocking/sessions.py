"""Sessions for synchronous code: the logs and the verbs that make them."""

import functools
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable, Sequence
from typing import Any, Concatenate, Final, Generic, ParamSpec, TypeVar

import anyio.to_thread

from .. import audit, session
from ..ids import EntryHash, Head, SessionId, now_ms
from ..items import Item
from ..record import Position
from ..session import Clock, Domain, OnConflict, SessionStartState
from ..state import RestoredState
from ..store import Store as AsyncStore
from .face import Call, Face
from .portal import portal
from .store import Store
from .streams import stream

P = ParamSpec("P")
ResultT = TypeVar("ResultT")
StateT = TypeVar("StateT")


class SessionLog(Face[session.SessionLog]):
    """One open session, as :class:`sessionlog.SessionLog` is, for synchronous code; threads may share one.

    It belongs to the process that opened it: a child that was forked opens the session for itself.
    """

    @property
    def session_id(self) -> SessionId:
        """The session appended to; another one after a fork."""
        return self.asynchronous.session_id

    @property
    def head(self) -> Head | None:
        """The last record that this writer knows to be in."""
        return self.asynchronous.head

    @property
    def head_hash(self) -> EntryHash | None:
        """The hash of :attr:`head`."""
        return self.asynchronous.head_hash

    @property
    def position(self) -> Position | None:
        """Where :attr:`head` ends, for ``read(after=…)``; ``None`` before the first record."""
        return self.asynchronous.position

    append: Final = Call(session.SessionLog.append)
    append_all: Final = Call(session.SessionLog.append_all)
    save_delta: Final = Call(session.SessionLog.save_delta)
    save_turn_end: Final = Call(session.SessionLog.save_turn_end)
    save_outcome: Final = Call(session.SessionLog.save_outcome)
    save_usage: Final = Call(session.SessionLog.save_usage)
    save_cache_locked: Final = Call(session.SessionLog.save_cache_locked)
    save_cache_unlocked: Final = Call(session.SessionLog.save_cache_unlocked)
    save_config_changed: Final = Call(session.SessionLog.save_config_changed)
    set_labels: Final = Call(session.SessionLog.set_labels)
    save_extension: Final = Call(session.SessionLog.save_extension)
    change: Final = Call(session.SessionLog.change)
    ensure_head_or_fork: Final = Call(session.SessionLog.ensure_head_or_fork)


class DomainLog(Face[session.DomainLog[StateT]], Generic[StateT]):
    """The records of one domain in one log, as :class:`sessionlog.DomainLog` is, for synchronous code.

    Threads that share one let ``apply`` return a new state each time: what one thread looks at, another's call would
    change otherwise.
    """

    def __init__(
        self,
        store: Store,
        session_id: str,
        domain: Domain[StateT],
        *,
        start: SessionStartState | None = None,
        clock: Clock = now_ms,
    ) -> None:
        """Work on the records of ``domain`` in ``session_id``, as :class:`sessionlog.DomainLog` does."""

        def make() -> session.DomainLog[StateT]:
            return session.DomainLog(store.asynchronous, session_id, domain, start=start, clock=clock)

        super().__init__(make(), make)

    @property
    def session_id(self) -> SessionId:
        """The session."""
        return self.asynchronous.session_id

    @property
    def head(self) -> Head | None:
        """The last record of the log, of whichever kind, that the state accounts for."""
        return self.asynchronous.head

    def read(self) -> StateT:
        """Return the state as of the log's head, as :meth:`sessionlog.DomainLog.read` does."""
        return portal().run(self.asynchronous.read)

    def change(self, decide: Callable[[StateT], Iterable[Any]]) -> StateT:
        """Append what ``decide`` returns for the state at the head, as :meth:`sessionlog.DomainLog.change` does.

        ``decide`` is called on the portal's thread, where no blocking call can be made.
        """
        return portal().run(self.asynchronous.change, decide)


def _answering(
    function: Callable[Concatenate[AsyncStore, P], Coroutine[Any, Any, ResultT]],
) -> Callable[Concatenate[Store, P], ResultT]:
    """Return the synchronous form of a function over a store."""

    @functools.wraps(function)
    def call(store: Store, /, *args: P.args, **kwargs: P.kwargs) -> ResultT:
        return portal().run(function, store.asynchronous, *args, **kwargs)

    return call


def _opening(
    function: Callable[Concatenate[AsyncStore, P], Coroutine[Any, Any, session.SessionLog]],
) -> Callable[Concatenate[Store, P], SessionLog]:
    """Return the synchronous form of a function that returns an open session."""

    @functools.wraps(function)
    def call(store: Store, /, *args: P.args, **kwargs: P.kwargs) -> SessionLog:
        return SessionLog(portal().run(function, store.asynchronous, *args, **kwargs))

    return call


def _streaming(
    function: Callable[Concatenate[AsyncStore, P], AsyncGenerator[ResultT, None]],
) -> Callable[Concatenate[Store, P], Generator[ResultT, None, None]]:
    """Return the synchronous form of a function that streams."""

    @functools.wraps(function)
    def call(store: Store, /, *args: P.args, **kwargs: P.kwargs) -> Generator[ResultT, None, None]:
        return stream(functools.partial(function, store.asynchronous, *args, **kwargs))

    return call


create_session: Final = _opening(session.create_session)
"""As :func:`sessionlog.create_session`."""
create_session_with_id: Final = _opening(session.create_session_with_id)
"""As :func:`sessionlog.create_session_with_id`."""
create_compacted_session: Final = _opening(session.create_compacted_session)
"""As :func:`sessionlog.create_compacted_session`."""
open_session: Final = _opening(session.open_session)
"""As :func:`sessionlog.open_session`."""
open_or_create_session: Final = _opening(session.open_or_create_session)
"""As :func:`sessionlog.open_or_create_session`."""
fork: Final = _opening(session.fork)
"""As :func:`sessionlog.fork`."""
fork_at: Final = _opening(session.fork_at)
"""As :func:`sessionlog.fork_at`."""
restore: Final = _answering(session.restore)
"""As :func:`sessionlog.restore`."""
delete: Final = _answering(session.delete)
"""As :func:`sessionlog.delete`."""
settle_deletion: Final = _answering(session.settle_deletion)
"""As :func:`sessionlog.settle_deletion`."""
verify_session: Final = _answering(audit.verify_session)
"""As :func:`sessionlog.verify_session`."""
audit_session: Final = _answering(audit.audit_session)
"""As :func:`sessionlog.audit_session`."""
verify_store: Final = _streaming(audit.verify_store)
"""As :func:`sessionlog.verify_store`; returns a generator."""
audit_store: Final = _streaming(audit.audit_store)
"""As :func:`sessionlog.audit_store`; returns a generator."""


def compact(
    store: Store,
    source_id: str,
    summarize: Callable[[RestoredState], Sequence[Item]],
    *,
    domains: Sequence[Domain[Any]] = (),
    on_conflict: OnConflict = "raise",
    clock: Clock = now_ms,
) -> SessionLog:
    """As :func:`sessionlog.compact`. ``summarize`` is a plain function, called on a thread of its own."""

    async def in_thread(state: RestoredState) -> Sequence[Item]:
        return await anyio.to_thread.run_sync(summarize, state, abandon_on_cancel=True)

    async_store = store.asynchronous
    return SessionLog(
        portal().run(
            session.compact, async_store, source_id, in_thread, domains=domains, on_conflict=on_conflict, clock=clock
        )
    )
