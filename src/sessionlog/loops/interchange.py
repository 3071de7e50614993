"""Interchange: a session as one pretty-printed JSON document, as phi-core (the seed's program) saves it.

    read_document(write_document(session)) == session

It is another spelling of the same tree: structs by the seed's member names, some of them camelCase; enums by the
seed's variant names, those with data as ``{"Variant": {…}}``; a ``null`` or a missing member is the default. Members
that this version does not know are left out when reading. Times are kept to the microsecond. Events of unknown types
are kept both ways.
"""

from collections.abc import Callable

import msgspec

from ..chain import link_all
from ..entries import FORMAT, AgentEventEntry, LogEntry, RequestConfig, SessionStart
from ..errors import InvalidEntry
from ..ids import SessionId, now_ms
from ..store import Store, check_session_id
from .conversion import to_items
from .events import AgentEvent, LoopImported, SessionFormed, SessionImported, encode_event
from .model import Session, loop_to_json, session_to_json
from .overlay import load_context
from .recorder import scope_of
from .spelling import SESSION


def read_document(data: bytes | str) -> Session:
    """Return the session in a document. Raises :class:`InvalidEntry` where it is no such document, saying why."""
    try:
        return msgspec.convert(SESSION.read(msgspec.json.decode(data)), Session)
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidEntry(f"this is no session document: {error}") from error


def write_document(session: Session) -> bytes:
    """Return the session's document: UTF-8, two spaces a level, a line feed at the end.

    Raises :class:`InvalidEntry` for what JSON cannot hold.
    """
    try:
        return msgspec.json.format(msgspec.json.encode(SESSION.write(session)), indent=2) + b"\n"
    except (ValueError, TypeError, RecursionError, msgspec.MsgspecError) as error:
        raise InvalidEntry(f"the session cannot be written as JSON: {error}") from error


def session_entries(session: Session, *, ts: int) -> list[LogEntry]:
    """Return the entries of a log that folds to ``session``, written at ``ts`` (unix ms).

    The first one is the ``session_start``; its history is what the loop that began last would go on with, so that the
    session can be resumed too. Raises :class:`InvalidSessionId`: an id that cannot name a session is not bent into one.
    """
    history = to_items(load_context(session, session.loops[-1].loop_id)) if session.loops else []
    session_id = check_session_id(session.session_id)
    header = session_to_json(msgspec.structs.replace(session, loops=[]))
    imported: list[AgentEvent] = [
        SessionImported(session_id=session_id, session=header),
        *(LoopImported(session_id=session_id, loop=loop_to_json(loop)) for loop in session.loops),
    ]
    return [
        SessionStart(ts=ts, format=FORMAT, session_id=session_id, config=RequestConfig(), history=history),
        *(AgentEventEntry(ts=ts, event=encode_event(event)) for event in imported),
    ]


async def import_session(store: Store, session: Session, *, clock: Callable[[], int] = now_ms) -> SessionId:
    """Make a log of the session in ``store``, in one commit, and return its id; a recorder can go on with it.

    The log says where the session lives now. Raises :class:`SessionExists`, as :func:`session_entries`, and as the
    store's ``create_session`` does; nothing was written then.
    """
    entries = session_entries(session, ts=clock())
    session_id = check_session_id(session.session_id)
    scope = scope_of(store)
    if scope is not session.scope:
        moved = SessionFormed(session_id=session_id, scope=scope)
        entries.append(AgentEventEntry(ts=clock(), event=encode_event(moved)))
    await store.create_session(session_id, link_all(None, entries, line_bytes_max=store.line_bytes_max))
    return session_id


__all__ = ["import_session", "read_document", "session_entries", "write_document"]
