"""Which tool call ran the sub-agent whose transcript is a file of its own: the log of its parent says so."""

from contextlib import aclosing
from typing import Final

from ..entries import AgentEventEntry
from ..ids import SessionId
from ..loops import SpawnLinked, ToolExecutionEnd, decode_event
from ..store import Store
from .ledger import Ledger
from .loop_events import loop_id
from .protocol import Header

_KIND: Final = b'"kind":"agent_event"'


async def find_spawn(store: Store, header: Header, ledger: Ledger | None) -> SpawnLinked | None:
    """Return how the sub-agent that ``header`` names was run, where its parent's log tells and its own does not yet.

    The parent may have gone on in a session that was compacted or forked from it; those are looked at, too. Raises as
    the store's ``read``.
    """
    if header.role != "agent" or header.parent is None or (ledger is not None and ledger.early.linked):
        return None
    child = header.session_id
    wanted = loop_id(child, 0)
    parent, others = header.parent, (f"{header.parent}-", f"{header.parent}-agent-")
    sessions = [
        one
        for one in await store.list_sessions()
        if one == parent or (one.startswith(others[0]) and not one.startswith(others[1]))
    ]
    for session_id in sorted(sessions, key=len):
        link = await _link_in(store, session_id, child, wanted)
        if link is not None:
            return link
    return None


async def _link_in(store: Store, session_id: SessionId, child: SessionId, wanted: str) -> SpawnLinked | None:
    name = wanted.encode()
    async with aclosing(store.read(session_id)) as records:
        async for record in records:
            if _KIND not in record.line or name not in record.line:
                continue
            entry = record.entry
            event = decode_event(entry.event) if isinstance(entry, AgentEventEntry) else None
            if isinstance(event, ToolExecutionEnd) and event.child_loop_id == wanted:
                return SpawnLinked(
                    parent_session_id=session_id,
                    parent_loop_id=event.loop_id,
                    child_session_id=child,
                    child_loop_id=wanted,
                    tool_call_id=event.tool_call_id,
                    tool_name=event.tool_name,
                )
    return None
