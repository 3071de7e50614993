"""Token usage: one ``llm_usage`` for each API message, however many lines repeat it.

The last line of a message has its final numbers (the output count grows while it streams), so usage is due when the
message is over: at the first later line of its session that starts another message, that the user wrote, that ends
the turn, or that parts from the session. That moment does not move when the file grows. Only the message at the very
end of a file stays open; it is counted as it stands if the file ends in a whole line, and left for later if it is
still being written.
"""

import math
from dataclasses import dataclass

from ...ids import SessionId
from ..plan import PlannedSession
from ..usage import Due, Tokens
from .index import Node
from .tree import Plan


@dataclass(slots=True)
class _Open:
    tokens: Tokens
    first: int
    ts: int | None


def usage_due(plan: Plan, *, file_is_growing: bool) -> dict[SessionId, list[Due]]:
    """Return what each session has to log, in order."""
    due: dict[SessionId, list[Due]] = {}
    open_messages: dict[SessionId, dict[str, _Open]] = {}

    def close(session: PlannedSession, at: float, *, but: str | None = None) -> None:
        messages = open_messages.get(session.session_id, {})
        for message_id in [message_id for message_id in messages if message_id != but]:
            message = messages.pop(message_id)
            found = Due(at, message_id, message.tokens, message.first, message.ts)
            due.setdefault(session.session_id, []).append(found)

    for node in plan.order:
        session = plan.session_of[node.ordinal]
        if session.first is node and session.source is not None:
            close(session.source, node.ordinal)
        if _is_next(node):
            close(session, node.ordinal, but=node.message_id)
        if node.usage is not None and node.message_id is not None:
            messages = open_messages.setdefault(session.session_id, {})
            before = messages.get(node.message_id)
            messages[node.message_id] = _Open(node.usage, node.ordinal if before is None else before.first, node.ts)
    if not file_is_growing:
        for session in plan.sessions:
            close(session, math.inf)
    return due


def _is_next(node: Node) -> bool:
    """Tell whether the message before cannot go on after this line."""
    if node.type == "assistant":
        return True
    return node.boundary or node.ends_turn or (node.prompts and not node.meta)
