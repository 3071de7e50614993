"""Strands Agents: :class:`SessionlogRepository`, a session repository whose sessions are logs.

    RepositorySessionManager(session_id="u1", session_repository=SessionlogRepository("logs"))

A session with its agents, their messages and multi-agent states is one log; each call that writes is one append. What
is updated is appended again, and the last version counts: the earlier ones stay in the log until
:meth:`SessionlogRepository.delete_session`. Any number of repositories, threads and processes may use one directory.
"""

import json
import os
from typing import TYPE_CHECKING, Any, Final

from strands.session.session_repository import SessionRepository
from strands.types.exceptions import SessionException
from strands.types.session import Session, SessionAgent, SessionMessage

from .. import Domain, DomainRecord, Store
from ..blocking import run
from .core import Logs, keepable, restored

if TYPE_CHECKING:
    from strands.multiagent import MultiAgentBase

DOMAIN: Final = "strands"


class SessionlogRepository(SessionRepository):
    """A session repository of Strands Agents that keeps each session in a log."""

    def __init__(self, root: str | os.PathLike[str] | None = None, *, store: Store | None = None) -> None:
        """Keep sessions in the directory ``root``, or in ``store``.

        Args:
            root: The directory of the logs. A session's id names its log if it is a valid one, else its hash.
            store: A store to use instead.
        """
        self._logs = Logs(Domain(DOMAIN, _Kept, _Kept.apply), root, store=store)

    def create_session(self, session: Session, **kwargs: Any) -> Session:  # noqa: ARG002
        """Make a session. Raises ``SessionException`` if it is there already."""
        given = _json(session.to_dict())

        def decide(kept: _Kept) -> tuple[list[Any], None]:
            _check(kept.session is None, f"Session {session.session_id} already exists")
            return [{"op": "session", "session": given}], None

        run(self._logs.change, session.session_id, decide)
        return session

    def read_session(self, session_id: str, **kwargs: Any) -> Session | None:  # noqa: ARG002
        """Return a session, ``None`` if there is none."""
        found = run(self._logs.view, session_id, lambda kept: kept.session)
        return None if found is None else Session.from_dict(_copy(found))

    def delete_session(self, session_id: str, **kwargs: Any) -> None:  # noqa: ARG002
        """Delete a session's log: what was said is off the disk. Raises ``SessionException`` if it is not there."""
        _check(self.read_session(session_id) is not None, f"Session {session_id} does not exist")
        run(self._logs.delete, session_id)

    def create_agent(self, session_id: str, session_agent: SessionAgent, **kwargs: Any) -> None:  # noqa: ARG002
        """Add an agent. Raises ``SessionException`` if there is no such session, or the agent is in it already."""
        id, given = session_agent.agent_id, _json(session_agent.to_dict())

        def decide(kept: _Kept) -> tuple[list[Any], None]:
            _check(kept.session is not None, f"Session {session_id} does not exist")
            _check(id not in kept.agents, f"Agent {id} already exists in session {session_id}")
            return [{"op": "agent", "agent_id": id, "agent": given}], None

        run(self._logs.change, session_id, decide)

    def read_agent(self, session_id: str, agent_id: str, **kwargs: Any) -> SessionAgent | None:  # noqa: ARG002
        """Return an agent, ``None`` if there is none."""
        found = run(self._logs.view, session_id, lambda kept: kept.agents.get(agent_id))
        return None if found is None else SessionAgent.from_dict(_copy(found))

    def update_agent(self, session_id: str, session_agent: SessionAgent, **kwargs: Any) -> None:  # noqa: ARG002
        """Replace an agent; when it was made stays. Raises ``SessionException`` if there is none."""
        id, given = session_agent.agent_id, session_agent.to_dict()

        def decide(kept: _Kept) -> tuple[list[Any], str]:
            _check(id in kept.agents, f"Agent {id} in session {session_id} does not exist")
            created_at = restored(kept.agents[id])["created_at"]
            agent = _json({**given, "created_at": created_at})
            return [{"op": "agent", "agent_id": id, "agent": agent}], created_at

        session_agent.created_at = run(self._logs.change, session_id, decide)

    def create_message(
        self,
        session_id: str,
        agent_id: str,
        session_message: SessionMessage,
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        """Add a message. Raises ``SessionException`` if there is no such agent, or one of its messages has that id."""
        id, given = session_message.message_id, _json(session_message.to_dict())

        def decide(kept: _Kept) -> tuple[list[Any], None]:
            _check(agent_id in kept.agents, f"Agent {agent_id} does not exist in session {session_id}")
            _check(id not in kept.messages[agent_id], f"Message {id} already exists in agent {agent_id}")
            return [{"op": "message", "agent_id": agent_id, "message_id": id, "message": given}], None

        run(self._logs.change, session_id, decide)

    def read_message(
        self,
        session_id: str,
        agent_id: str,
        message_id: int,
        **kwargs: Any,  # noqa: ARG002
    ) -> SessionMessage | None:
        """Return a message, ``None`` if there is none."""
        found = run(self._logs.view, session_id, lambda kept: kept.messages.get(agent_id, {}).get(message_id))
        return None if found is None else SessionMessage.from_dict(_copy(found))

    def update_message(
        self,
        session_id: str,
        agent_id: str,
        session_message: SessionMessage,
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        """Replace a message; when it was made stays. Raises ``SessionException`` if there is none.

        The earlier version, such as one that a guardrail has redacted, is not given back any more. It stays in the log.
        """
        id, given = session_message.message_id, session_message.to_dict()

        def decide(kept: _Kept) -> tuple[list[Any], str]:
            before = kept.messages.get(agent_id, {}).get(id)
            if before is None:
                raise SessionException(f"Message {id} does not exist")
            created_at = restored(before)["created_at"]
            message = _json({**given, "created_at": created_at})
            return [{"op": "update", "agent_id": agent_id, "message_id": id, "message": message}], created_at

        session_message.created_at = run(self._logs.change, session_id, decide)

    def list_messages(
        self,
        session_id: str,
        agent_id: str,
        limit: int | None = None,
        offset: int = 0,
        **kwargs: Any,  # noqa: ARG002
    ) -> list[SessionMessage]:
        """Return an agent's messages by their ids. Raises ``SessionException`` if there is no such agent."""

        def look(kept: _Kept) -> list[Any]:
            _check(agent_id in kept.agents, f"Agent {agent_id} does not exist in session {session_id}")
            messages = kept.messages[agent_id]
            ids = sorted(messages)[offset : None if limit is None else offset + limit]
            return [messages[id] for id in ids]

        return [SessionMessage.from_dict(_copy(found)) for found in run(self._logs.view, session_id, look)]

    def create_multi_agent(self, session_id: str, multi_agent: "MultiAgentBase", **kwargs: Any) -> None:  # noqa: ARG002
        """Add the state of a multi-agent system. Raises ``SessionException`` if there is no such session."""
        self._put_multi_agent(session_id, multi_agent, must_exist=False)

    def read_multi_agent(self, session_id: str, multi_agent_id: str, **kwargs: Any) -> dict[str, Any] | None:  # noqa: ARG002
        """Return the state of a multi-agent system, ``None`` if there is none."""
        found = run(self._logs.view, session_id, lambda kept: kept.multi_agents.get(multi_agent_id))
        return None if found is None else _copy(found)

    def update_multi_agent(self, session_id: str, multi_agent: "MultiAgentBase", **kwargs: Any) -> None:  # noqa: ARG002
        """Replace the state of a multi-agent system. Raises ``SessionException`` if there is none."""
        self._put_multi_agent(session_id, multi_agent, must_exist=True)

    def _put_multi_agent(self, session_id: str, multi_agent: "MultiAgentBase", *, must_exist: bool) -> None:
        id, state = multi_agent.id, _json(multi_agent.serialize_state())

        def decide(kept: _Kept) -> tuple[list[Any], None]:
            _check(kept.session is not None, f"Session {session_id} does not exist")
            known = id in kept.multi_agents or not must_exist
            _check(known, f"MultiAgent state {id} in session {session_id} does not exist")
            return [{"op": "multi_agent", "id": id, "state": state}], None

        run(self._logs.change, session_id, decide)


class _Kept:
    """What a session's log adds up to: the last version of each thing, as the log holds it."""

    def __init__(self) -> None:
        self.session: Any = None
        self.agents: dict[str, Any] = {}
        self.messages: dict[str, dict[int, Any]] = {}
        """By agent and id."""
        self.multi_agents: dict[str, Any] = {}

    def apply(self, record: DomainRecord) -> "_Kept":
        match record.payload:
            case {"op": "session", "session": session}:
                self.session = session
            case {"op": "agent", "agent_id": str(id), "agent": agent}:
                self.agents[id] = agent
                self.messages.setdefault(id, {})
            case {"op": "message" | "update", "agent_id": str(agent_id), "message_id": int(id), "message": message}:
                self.messages.setdefault(agent_id, {})[id] = message
            case {"op": "multi_agent", "id": str(id), "state": state}:
                self.multi_agents[id] = state
            case _:
                pass
        return self


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise SessionException(otherwise)


def _json(value: Any) -> Any:
    return keepable(json.loads(json.dumps(value)))


def _copy(kept: Any) -> Any:
    """Return a value of its own to a caller, who may change it."""
    return json.loads(json.dumps(restored(kept)))


__all__ = ["SessionlogRepository"]
