"""Claude Agent SDK: :class:`SessionlogSessionStore`, a session store whose transcripts are logs.

    ClaudeAgentOptions(session_store=SessionlogSessionStore("logs"))

Each transcript, a session's own and each of its sub-agents', is a log of its own. A batch of entries is one append,
with the session's summary as of then. An entry whose ``uuid`` the transcript has already is taken once. Any number of
stores, threads, event loops and processes may work on one directory.
"""

import hashlib
import json
import os
import re
from typing import Any, Final, NamedTuple, cast

from claude_agent_sdk import (
    SessionKey,
    SessionListSubkeysKey,
    SessionStore,
    SessionStoreEntry,
    SessionStoreListEntry,
    SessionSummaryEntry,
    fold_session_summary,
)

from .. import Domain, DomainRecord, SessionId, Store
from .claude_agent_sdk_transcript import DOMAIN, Transcript, entries_of, summary_of
from .core import Logs

PROJECT_HASH_BYTES: Final = 10
SUBPATH_HASH_BYTES: Final = 10
SESSION_HASH_BYTES: Final = 20
_PLAIN: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
"""Session ids that stand in the ids of their logs. They have no ``_``, which sets the other parts off."""


class SessionlogSessionStore(SessionStore):
    """A session store of the Claude Agent SDK that keeps each transcript in a log."""

    def __init__(self, root: str | os.PathLike[str] | None = None, *, store: Store | None = None) -> None:
        """Keep transcripts in the directory ``root``, or in ``store``.

        Args:
            root: The directory of the logs. A log's id begins with a hash of its project, then names its session.
            store: A store to use instead.
        """
        self._logs = Logs(Domain(DOMAIN, Transcript, Transcript.apply), root, store=store, id_of=_log_id)

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        """Add entries to the end of a transcript, in one commit; those whose ``uuid`` it has are passed over."""
        given: list[dict[str, Any]] = json.loads(json.dumps(entries))
        place = _Place.of(key)

        def fold(data: dict[str, Any] | None, new: list[dict[str, Any]]) -> dict[str, Any]:
            before = None if data is None else SessionSummaryEntry(session_id=place.session_id, mtime=0, data=data)
            return fold_session_summary(before, key, cast("list[SessionStoreEntry]", new))["data"]

        if given:
            summarize = None if place.subpath else fold
            await self._logs.change(place.key, lambda transcript: (transcript.new_append(given, summarize), None))

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        """Return the entries of a transcript in order, ``None`` if there is none. They are read anew each time."""
        entries = await self._logs.replay(_Place.of(key).key, list[Any], entries_of)
        return entries or None

    async def list_sessions(self, project_key: str) -> list[SessionStoreListEntry]:
        """Return the sessions of a project that have a transcript of their own, with the times of the last appends."""
        found = await self._last_appends(project_key)
        return [SessionStoreListEntry(session_id=place.session_id, mtime=record.ts) for place, record in found]

    async def list_session_summaries(self, project_key: str) -> list[SessionSummaryEntry]:
        """Return the summaries of the sessions that :meth:`list_sessions` lists. Of each, one record is read."""
        found = await self._last_appends(project_key)
        return [
            SessionSummaryEntry(session_id=place.session_id, mtime=record.ts, data=summary_of(record))
            for place, record in found
        ]

    async def delete(self, key: SessionKey) -> None:
        """Delete a transcript's log, and with a session's own those of its sub-agents: what they held is off the disk.

        The session's own goes last. If the process dies before, the session is still listed: delete it again.
        """
        place = _Place.of(key)
        if not place.subpath:
            for key_of_subpath in await self._logs.keys(place.subpaths_prefix):
                await self._logs.delete(key_of_subpath)
        await self._logs.delete(place.key)

    async def list_subkeys(self, key: SessionListSubkeysKey) -> list[str]:
        """Return the subpaths that a session has transcripts under."""
        place = _Place(key["project_key"], key["session_id"], "")
        found = [_Place.parse(one) for one in await self._logs.keys(place.subpaths_prefix)]
        return sorted(one.subpath for one in found)

    async def _last_appends(self, project_key: str) -> list[tuple["_Place", DomainRecord]]:
        places = [_Place.parse(key) for key in await self._logs.keys(_project_prefix(project_key))]
        lasts = [(place, await self._logs.last(place.key)) for place in places if not place.subpath]
        return [(place, last) for place, last in lasts if last is not None]


class _Place(NamedTuple):
    """What names a transcript. The session's own has an empty ``subpath``."""

    project_key: str
    session_id: str
    subpath: str

    @classmethod
    def of(cls, key: SessionKey) -> "_Place":
        return cls(key["project_key"], key["session_id"], key.get("subpath") or "")

    @classmethod
    def parse(cls, key: str) -> "_Place":
        project_key, session_id, *subpath = json.loads(key)
        return cls(project_key, session_id, *subpath or [""])

    @property
    def key(self) -> str:
        return json.dumps([*self[:2], self.subpath] if self.subpath else self[:2])

    @property
    def subpaths_prefix(self) -> str:
        """How the ids of its sub-agents' logs begin."""
        plain = _PLAIN.fullmatch(self.session_id)
        session = self.session_id if plain else f"_{_hash(self.session_id, SESSION_HASH_BYTES)}"
        return f"{_project_prefix(self.project_key)}{session}_"


def _log_id(key: str) -> SessionId:
    place = _Place.parse(key)
    prefix = place.subpaths_prefix
    return SessionId(prefix + _hash(place.subpath, SUBPATH_HASH_BYTES) if place.subpath else prefix[:-1])


def _project_prefix(project_key: str) -> str:
    return f"{_hash(project_key, PROJECT_HASH_BYTES)}-"


def _hash(text: str, size: int) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()


__all__ = ["SessionlogSessionStore"]
