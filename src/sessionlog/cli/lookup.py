"""Finding what people name: sessions and records, by their whole name or any beginning that only one has."""

import re
from collections.abc import Sequence
from contextlib import aclosing
from typing import Final

from .. import EntryNotFound, SessionId, SessionNotFound, Store
from .output import Refused
from .short_ids import candidates
from .text import SHORT_HASH_CHARS, short

_CANDIDATES_SHOWN: Final = 5
_HASH_BEGINNING: Final = re.compile(r"[0-9a-f]{1,64}\Z", re.ASCII)
_NUMBER: Final = re.compile(rf"[0-9]{{1,{SHORT_HASH_CHARS - 1}}}\Z", re.ASCII)
_HASH_CHARS: Final = 64


async def find_session(store: Store, text: str) -> SessionId:
    """Return the session that ``text`` names: its id, the beginning of just one id, or a short form of just one.

    Where all that it may mean are one session and what was made from it (``<id>-fork-…``, as importers name them), that
    one is meant. Raises :class:`InvalidSessionId`, :class:`SessionNotFound`, or :class:`Refused` when several
    begin so.
    """
    if await store.exists(text):
        return SessionId(text)
    found = candidates(text, await store.list_sessions())
    if not found:
        raise SessionNotFound(text)
    if not all(session_id.startswith(found[0]) for session_id in found):
        raise _ambiguous(text, "sessions", found)
    return found[0]


async def find_sessions(store: Store, texts: Sequence[str]) -> list[SessionId]:
    """Return the sessions that ``texts`` name, each once, in their order."""
    return list(dict.fromkeys([await find_session(store, text) for text in texts]))


async def find_record(store: Store, session_id: SessionId, text: str) -> str:
    """Return the hash of the record in ``session_id`` that ``text`` names.

    That is its number (its ``seq``), its hash, or the beginning of just one hash. Digits alone are a number where they
    are fewer than the characters of a short hash. A whole hash is returned as it is. Raises :class:`EntryNotFound`,
    :class:`Refused`, and whatever reading raises.
    """
    if _NUMBER.match(text):
        return await _numbered(store, session_id, int(text))
    if not _HASH_BEGINNING.match(text):
        raise Refused(f"{text!a} is no hash and no record number: give one, as 'sessionlog show' prints them")
    if len(text) == _HASH_CHARS:
        return text
    found = [record.head async for record in store.read(session_id) if record.hash.startswith(text)]
    if not found:
        raise EntryNotFound(session_id, text)
    if len(found) > 1:
        raise _ambiguous(text, "records", [f"{head.seq} ({short(head.hash)})" for head in found])
    return found[0].hash


async def _numbered(store: Store, session_id: SessionId, seq: int) -> str:
    async with aclosing(store.read(session_id, after=seq - 1 if seq else None)) as records:
        async for record in records:
            return record.hash
    head = await store.read_head(session_id)
    there = "holds no record yet" if head is None else f"ends with record {head.seq}"
    raise Refused(
        f"{session_id} has no record {seq}, it {there}; digits alone are a hash's beginning if they are "
        f"{SHORT_HASH_CHARS} or more"
    )


def _ambiguous(text: str, what: str, found: Sequence[str]) -> Refused:
    shown = ", ".join(found[:_CANDIDATES_SHOWN])
    more = f" and {len(found) - _CANDIDATES_SHOWN} more" if len(found) > _CANDIDATES_SHOWN else ""
    return Refused(f"{text} is the beginning of {len(found)} {what}: {shown}{more}; give more of it")
