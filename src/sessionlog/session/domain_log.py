"""One domain of one log: read what its records add up to, and change it."""

from collections.abc import Callable, Iterable
from typing import Any, Generic

from ..chain import link_all
from ..entries import LogEntry
from ..errors import HeadConflict, SessionContended, SessionExists, SessionNotFound
from ..ids import Head, SessionId, now_ms
from ..mutex import Mutex
from ..store import Store, check_session_id
from .domains import Domain, StateT
from .kept_fold import CHANGE_ATTEMPTS_MAX, KeptFold
from .log import Clock
from .start import SessionStartState, start_entry


class DomainLog(Generic[StateT]):
    """The records of one domain in one log, folded once and from then on only read on.

    Any number of them, in any number of processes, may work on one log. Tasks may share one; their calls queue. The
    state that is returned is the one that is kept: do not change it, and take from it what you need before the next
    ``await``, or let ``apply`` make a new one each time.
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
        """Work on the records of ``domain`` in ``session_id``; nothing is read yet.

        Args:
            store: The store that holds, or will hold, the session.
            session_id: The session.
            domain: What the records add up to.
            start: What :meth:`change` makes the session with if it is not there; :meth:`read` then returns the state
                before the first record. Without it, both raise :class:`SessionNotFound`.
            clock: Returns unix milliseconds.
        """
        self._store = store
        self._session_id = check_session_id(session_id)
        self._domain = domain
        self._start = start
        self._clock = clock
        self._fold = KeptFold(domain.begin, domain.fold)
        self._turn = Mutex()

    def __repr__(self) -> str:
        """Show the domain and the log, and how far it is folded."""
        return f"DomainLog({self._domain.name!r}, {self._session_id!r}, {self._fold.head!r}, {self._store!r})"

    @property
    def session_id(self) -> SessionId:
        """The session."""
        return self._session_id

    @property
    def head(self) -> Head | None:
        """The last record of the log, of whichever kind, that the state accounts for."""
        return self._fold.head

    async def read(self) -> StateT:
        """Return the state as of the log's head, at the cost of what is new.

        If the log was deleted, cut or made anew since the last call, it is folded from its start. Raises
        :class:`SessionNotFound`, :class:`CorruptLog`, :class:`StoreFailed`, and what ``apply`` raises.
        """
        await self._turn.take()
        try:
            await self._catch_up()
            return self._fold.state
        finally:
            self._turn.give()

    async def change(self, decide: Callable[[StateT], Iterable[Any]]) -> StateT:
        """Append the payloads that ``decide`` returns for the state at the head, in one commit; return the new state.

        If another writer comes first, what that appended is folded in and ``decide`` is asked again: so what is
        appended was decided for the very state that it meets. No payloads: nothing is appended.

        Args:
            decide: Returns the payloads to append, as JSON values. It may be called many times and must do nothing
                else: no change to the state, no I/O. What its last call saw is what counts.

        Raises:
            SessionContended: Other writers came first, many times over.
            SessionNotFound: There is no such session, and no ``start`` to make it with.
            InvalidEntry: A payload cannot be kept faithfully.
            SessionLocked: See :meth:`Store.append`; as for :class:`StoreFailed` and :class:`CorruptLog`.
        """
        await self._turn.take()
        try:
            at_head = self._fold.head is None
            if at_head:
                await self._catch_up()
            for _ in range(CHANGE_ATTEMPTS_MAX):
                try:
                    entries = self._domain.entries(decide(self._fold.state), ts=self._clock())
                except Exception:  # also, as it may be, since the state is not that of the head any more
                    if at_head:
                        raise
                    entries = []
                if await self._append(entries) if entries else at_head:
                    return self._fold.state
                await self._catch_up()
                at_head = True
            raise SessionContended(self._session_id, attempts=CHANGE_ATTEMPTS_MAX)
        finally:
            self._turn.give()

    async def _catch_up(self) -> None:
        try:
            await self._fold.catch_up(self._store, self._session_id)
        except SessionNotFound:
            if self._start is None:
                raise

    async def _append(self, entries: Iterable[LogEntry]) -> bool:
        """Append behind the head that is folded; False if the log has another one."""
        head = self._fold.head
        if head is None:
            state = SessionStartState() if self._start is None else self._start
            entries = (start_entry(self._session_id, state, ts=self._clock()), *entries)
        records = link_all(head, entries, line_bytes_max=self._store.line_bytes_max)
        try:
            if head is None:
                await self._store.create_session(self._session_id, records)
            else:
                await self._store.append(self._session_id, *records)
        except (HeadConflict, SessionExists):
            return False
        except SessionNotFound:  # deleted meanwhile
            return False
        self._fold.take(records)
        return True
