"""Folding a stored log into the state that a session resumes or goes on from."""

from contextlib import aclosing

from ..errors import EntryNotFound
from ..state import RestoredState
from ..store import Store


async def restore(store: Store, session_id: str) -> RestoredState:
    """Fold the session's log into the state to resume from. Raises :class:`SessionNotFound`, :class:`CorruptLog`."""
    state = RestoredState()
    async with aclosing(store.read(session_id)) as records:
        async for record in records:
            state.apply(record)
    return state


async def state_at(store: Store, session_id: str, at_hash: str) -> RestoredState:
    """Fold ``session_id`` up to and including the record ``at_hash``; :class:`EntryNotFound` if it is not there."""
    state = RestoredState()
    async with aclosing(store.read(session_id)) as records:
        async for record in records:
            state.apply(record)
            if record.hash == at_hash:
                return state
    raise EntryNotFound(session_id, at_hash)
