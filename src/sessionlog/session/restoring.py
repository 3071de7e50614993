"""Folding a stored log into the state that a session resumes or goes on from."""

from collections.abc import Collection
from contextlib import aclosing

from ..errors import EntryNotFound
from ..state import RestoredState
from ..store import Store
from .domains import DomainFolds


async def restore(store: Store, session_id: str, *, extensions: Collection[str] | None = None) -> RestoredState:
    """Fold the session's log into the state to resume from. Raises :class:`SessionNotFound`, :class:`CorruptLog`.

    Args:
        store: The store that holds the session.
        session_id: The session.
        extensions: The domains whose ``extension`` entries the state holds, ``()`` for none. By default it holds all
            of them, and so all of a log that is made of them; :class:`DomainLog` folds one domain instead.
    """
    state = RestoredState(extension_domains=extensions)
    async with aclosing(store.read(session_id)) as records:
        async for record in records:
            state.apply(record)
    return state


async def state_at(
    store: Store, session_id: str, at_hash: str | None, *, domains: DomainFolds | None = None
) -> RestoredState:
    """Fold ``session_id`` up to and including the record ``at_hash``; ``None``: all of it.

    The state holds no extensions; ``domains`` are folded beside it. Raises :class:`EntryNotFound` if the record is not
    there.
    """
    state = RestoredState(extension_domains=())
    async with aclosing(store.read(session_id)) as records:
        async for record in records:
            state.apply(record)
            if domains is not None:
                domains.take(record)
            if record.hash == at_hash:
                return state
    if at_hash is None:
        return state
    raise EntryNotFound(session_id, at_hash)
