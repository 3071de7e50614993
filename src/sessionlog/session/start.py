"""What a session starts with, and the entry that says so: the first of every log (FORMAT section 3)."""

from collections.abc import Mapping, Sequence

import msgspec

from ..entries import FORMAT, RequestConfig, SessionOrigin, SessionStart
from ..items import Item
from ..state import RestoredState


class SessionStartState(msgspec.Struct, frozen=True):
    """The state that a new session starts from.

    ``title`` is what people call the session and ``labels`` what it is filed under, such as ``{"team": "billing"}``.
    """

    system_prompt: str | None = None
    config: RequestConfig = RequestConfig()
    history: Sequence[Item] = ()
    title: str | None = None
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)


def start_state(state: RestoredState) -> SessionStartState:
    """Return what a session that goes on from ``state`` starts with."""
    return SessionStartState(
        state.system_prompt, state.config, list(state.history), title=state.title, labels=dict(state.labels)
    )


def start_entry(
    session_id: str,
    state: SessionStartState,
    *,
    ts: int,
    forked_from: SessionOrigin | None = None,
    compacted_from: SessionOrigin | None = None,
) -> SessionStart:
    """Return the entry that starts ``session_id`` with ``state``."""
    return SessionStart(
        ts=ts,
        format=FORMAT,
        session_id=session_id,
        system_prompt=state.system_prompt,
        config=state.config,
        history=list(state.history),
        forked_from=forked_from,
        compacted_from=compacted_from,
        title=state.title,
        labels=dict(state.labels),
    )
