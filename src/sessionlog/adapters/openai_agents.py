"""OpenAI Agents SDK: :class:`SessionlogSession`, a session whose history is a log.

    Runner.run(agent, "hi", session=SessionlogSession("u1", "logs"))

Items are added in one commit each call. ``pop_item`` appends that the last item is gone, decided against the head, so
that an item is given to one caller only; ``clear_session`` deletes the log. Any number of objects, threads and
processes may work on one session.
"""

import json
import os
from collections.abc import Sequence
from typing import Any, Final

from agents import SessionSettings, TResponseInputItem
from agents.memory import SessionABC
from agents.memory.session_settings import coerce_session_settings, resolve_session_limit

from .. import Domain, DomainRecord, Store
from .core import Logs, keepable, restored

DOMAIN: Final = "openai_agents"


def _apply(items: list[Any], record: DomainRecord) -> list[Any]:
    match record.payload:
        case {"op": "add", "items": [*added]}:
            items.extend(added)
        case {"op": "pop"}:
            del items[-1:]
        case _:
            pass
    return items


_DOMAIN: Final = Domain(DOMAIN, list[Any], _apply)


class SessionlogSession(SessionABC):
    """A session of the OpenAI Agents SDK, kept in a log."""

    def __init__(
        self,
        session_id: str,
        root: str | os.PathLike[str] | None = None,
        *,
        store: Store | None = None,
        session_settings: SessionSettings | dict[str, Any] | None = None,
    ) -> None:
        """Keep the session ``session_id`` in the directory ``root``, or in ``store``.

        Args:
            session_id: Any string. One that is a valid session id names the log; others are hashed.
            root: The directory of the logs.
            store: A store to use instead.
            session_settings: As for the SDK's own sessions: how many items :meth:`get_items` returns by default.
        """
        self.session_id = session_id
        self.session_settings = (
            SessionSettings() if session_settings is None else coerce_session_settings(session_settings)
        )
        self._open_logs: Logs[list[Any]] | None = Logs(_DOMAIN, root, store=store)

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """Return the items, oldest first; with a ``limit`` that is not negative, the last ones."""
        last = _last(resolve_session_limit(limit, self.session_settings))
        return [_copy(kept) for kept in await self._logs.view(self.session_id, last)]

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Add items to the end of the history, in one commit."""
        logs = self._logs
        if items:
            added = {"op": "add", "items": [keepable(json.loads(json.dumps(item))) for item in items]}
            await logs.change(self.session_id, lambda _: ([added], None))

    async def pop_item(self) -> TResponseInputItem | None:
        """Take the last item out of the history and return it; ``None`` if there is none."""
        popped = await self._logs.change(self.session_id, _pop)
        return None if popped is None else _copy(popped)

    async def clear_session(self) -> None:
        """Delete the session's log: what was said is off the disk."""
        await self._logs.delete(self.session_id)

    def close(self) -> None:
        """End the use of this object: its methods raise ``RuntimeError`` from now on. The log stays."""
        self._open_logs = None

    @property
    def _logs(self) -> Logs[list[Any]]:
        if self._open_logs is None:
            raise RuntimeError(f"{type(self).__name__} is closed: make another one")
        return self._open_logs


def _last(limit: int | None) -> Any:
    def look(items: list[Any]) -> list[Any]:
        return items[:] if limit is None or limit < 0 else items[max(0, len(items) - limit) :]

    return look


def _pop(items: list[Any]) -> tuple[Sequence[Any], Any]:
    return ([{"op": "pop"}], items[-1]) if items else ([], None)


def _copy(kept: Any) -> Any:
    """Return an item of its own to a caller, who may change it."""
    return json.loads(json.dumps(restored(kept)))


__all__ = ["SessionlogSession"]
