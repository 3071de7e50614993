"""Reading trees out of a store."""

from contextlib import aclosing

from ..errors import SessionNotFound
from ..ids import is_session_id
from ..store import Store
from .fold import SessionFold, fold_record
from .model import Session
from .recorder import scope_of


async def load_session(store: Store, session_id: str) -> Session:
    """Fold the session's log into its tree; its scope is told by the store that it lies in.

    Raises :class:`SessionNotFound`, and as the store's ``read`` does: a damaged log raises :class:`CorruptLog`.
    """
    session = await _load(store, session_id, agent_id=None)
    return session if session is not None else SessionFold(session_id).session


async def list_sessions_for_agent(store: Store, agent_id: str) -> list[Session]:
    """Return the trees of all sessions of this agent, last activity first.

    An agent's session is one whose first ``AgentStart`` named it; of the others no more is read than it takes to see
    that. Raises as :func:`load_session`, but for sessions that are removed meanwhile.
    """
    found = []
    for session_id in await store.list_sessions():
        try:
            session = await _load(store, session_id, agent_id=agent_id)
        except SessionNotFound:
            continue
        if session is not None and session.agent_id == agent_id:
            found.append(session)
    return found


async def load_spawned(store: Store, session: Session) -> list[Session]:
    """Return the sessions that tool calls of ``session`` ran, and those that these ran, and so on: each once.

    Nearest first; ``session`` itself is left out, and so are sessions that are not in the store. Raises as
    :func:`load_session` otherwise.
    """
    found: dict[str, Session] = {session.session_id: session}
    todo = [session]
    for parent in todo:
        for ref in (ref for loop in parent.loops for ref in loop.child_loop_refs):
            if ref.child_session_id in found or not is_session_id(ref.child_session_id):
                continue
            try:
                child = await load_session(store, ref.child_session_id)
            except SessionNotFound:
                continue
            found[ref.child_session_id] = child
            todo.append(child)
    return todo[1:]


async def _load(store: Store, session_id: str, *, agent_id: str | None) -> Session | None:
    """Fold the log; give up, with ``None``, once it turns out to be another agent's than ``agent_id``."""
    fold: SessionFold | None = None
    async with aclosing(store.read(session_id)) as records:
        async for record in records:
            fold = fold_record(fold, record)
            if agent_id is not None and fold.opened and fold.session.agent_id != agent_id:
                return None
    if fold is None:
        return None
    fold.session.scope = scope_of(store)
    return fold.session


__all__ = ["list_sessions_for_agent", "load_session", "load_spawned"]
