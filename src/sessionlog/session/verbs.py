"""The verbs that make or open a session; each returns the :class:`SessionLog` that appends to it."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeAlias

import msgspec

from ..chain import link_all
from ..entries import LogEntry, SessionOrigin
from ..errors import EntryNotFound, SessionContended, SessionExists, SessionNotFound
from ..ids import new_session_id, now_ms
from ..items import Item
from ..state import RestoredState
from ..store import Store, check_session_id
from .deleting import settle_deletion
from .domains import Domain, DomainFolds
from .kept_fold import CHANGE_ATTEMPTS_MAX
from .log import Clock, OnConflict, SessionLog, bytes_of
from .restoring import state_at
from .start import SessionStartState, start_entry, start_state

Summarize: TypeAlias = Callable[[RestoredState], Awaitable[Sequence[Item]]]


async def create_session(
    store: Store, state: SessionStartState, *, on_conflict: OnConflict = "raise", clock: Clock = now_ms
) -> SessionLog:
    """Make a session with a new id. Raises as the store's ``create_session``."""
    return await create_session_with_id(store, new_session_id(), state, on_conflict=on_conflict, clock=clock)


async def create_session_with_id(
    store: Store,
    session_id: str,
    state: SessionStartState,
    *,
    on_conflict: OnConflict = "raise",
    clock: Clock = now_ms,
) -> SessionLog:
    """Make a session under an id that was reserved before.

    A deletion of that id that was interrupted is finished first. Raises :class:`SessionExists` if the id is taken,
    :class:`InvalidSessionId` if it cannot name a session.
    """
    await settle_deletion(store, check_session_id(session_id), clock=clock)
    return await _create(store, session_id, state, on_conflict=on_conflict, clock=clock)


async def create_compacted_session(
    store: Store,
    state: SessionStartState,
    source: SessionOrigin,
    *,
    on_conflict: OnConflict = "raise",
    clock: Clock = now_ms,
) -> SessionLog:
    """Make a session whose ``state`` summarises ``source``; it carries ``compacted_from``."""
    return await _create(store, new_session_id(), state, compacted_from=source, on_conflict=on_conflict, clock=clock)


async def compact(
    store: Store,
    source_id: str,
    summarize: Summarize,
    *,
    domains: Sequence[Domain[Any]] = (),
    on_conflict: OnConflict = "raise",
    clock: Clock = now_ms,
) -> SessionLog:
    """Make a compacted session of ``source_id`` as it stands now.

    ``summarize`` gets the restored state, without extensions, and returns the new history; system prompt,
    configuration, title and labels are taken over, and so is the state of each of ``domains``, which need an
    ``opening``. Raises :class:`SessionNotFound`, :class:`EntryNotFound` (the source holds no record), and as the store
    does.
    """
    folds = DomainFolds(domains)
    state = await state_at(store, source_id, None, domains=folds)
    if state.head is None:
        raise EntryNotFound(source_id, "")
    history = await summarize(state)
    return await _create(
        store,
        new_session_id(),
        msgspec.structs.replace(start_state(state), history=history),
        compacted_from=SessionOrigin(source_id, state.head.hash),
        opening=folds.opening(ts=clock()),
        on_conflict=on_conflict,
        clock=clock,
    )


async def open_session(
    store: Store, session_id: str, *, on_conflict: OnConflict = "raise", clock: Clock = now_ms
) -> SessionLog:
    """Open a session to append at its present head, without reading it. Raises :class:`SessionNotFound`."""
    at = await store.read_position(session_id)
    head, end = (None, 0) if at is None else (at.head, at.end)
    return SessionLog(store, session_id, head, end=end, on_conflict=on_conflict, clock=clock)


async def open_or_create_session(
    store: Store,
    session_id: str,
    state: SessionStartState,
    *,
    on_conflict: OnConflict = "raise",
    clock: Clock = now_ms,
) -> SessionLog:
    """Open the session, or make it with ``state`` if it is not there, whoever else does so at the same time.

    ``state`` counts only if this call makes the session. Raises :class:`InvalidSessionId`, :class:`SessionContended`
    (others deleted and made it anew, many times over), and as the store does.
    """
    for _ in range(CHANGE_ATTEMPTS_MAX):
        try:
            log = await open_session(store, session_id, on_conflict=on_conflict, clock=clock)
            if log.head is not None:
                return log
        except SessionNotFound:
            pass
        try:
            return await create_session_with_id(store, session_id, state, on_conflict=on_conflict, clock=clock)
        except SessionExists:  # made meanwhile
            pass
    raise SessionContended(session_id, attempts=CHANGE_ATTEMPTS_MAX)


async def fork(
    store: Store,
    state: SessionStartState,
    forked_from: SessionOrigin | None = None,
    *,
    on_conflict: OnConflict = "raise",
    clock: Clock = now_ms,
) -> SessionLog:
    """Make a session that starts with ``state``; with ``forked_from``, an audit expects the state as of that record."""
    return await _create(store, new_session_id(), state, forked_from=forked_from, on_conflict=on_conflict, clock=clock)


async def fork_at(
    store: Store,
    source_id: str,
    at_hash: str,
    *,
    domains: Sequence[Domain[Any]] = (),
    on_conflict: OnConflict = "raise",
    clock: Clock = now_ms,
) -> SessionLog:
    """Make a session from ``source_id`` as it was after the record ``at_hash``.

    Extensions are not taken over, but the state of each of ``domains`` is: the new log begins with the records that its
    ``opening`` gives. Raises :class:`SessionNotFound`; :class:`EntryNotFound` if the source holds no such record;
    ``ValueError`` for a domain without ``opening``.
    """
    folds = DomainFolds(domains)
    state = await state_at(store, source_id, at_hash, domains=folds)
    return await _create(
        store,
        new_session_id(),
        start_state(state),
        forked_from=SessionOrigin(source_id, at_hash),
        opening=folds.opening(ts=clock()),
        on_conflict=on_conflict,
        clock=clock,
    )


async def _create(
    store: Store,
    session_id: str,
    state: SessionStartState,
    *,
    forked_from: SessionOrigin | None = None,
    compacted_from: SessionOrigin | None = None,
    opening: Iterable[LogEntry] = (),
    on_conflict: OnConflict,
    clock: Clock,
) -> SessionLog:
    for named in (session_id, *(origin.session_id for origin in (forked_from, compacted_from) if origin)):
        check_session_id(named)
    start = start_entry(session_id, state, ts=clock(), forked_from=forked_from, compacted_from=compacted_from)
    records = link_all(None, (start, *opening), line_bytes_max=store.line_bytes_max)
    await store.create_session(session_id, records)
    head, end = records[-1].head, bytes_of(records)
    return SessionLog(store, session_id, head, end=end, on_conflict=on_conflict, clock=clock)
