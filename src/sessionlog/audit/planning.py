"""What many audits can share: each source is read once, before what was made from it, for all that is claimed of it.

Planned from first records that nobody has checked, which is enough: what does not fit in the end is followed anew.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import NamedTuple, TypeAlias

import msgspec

from ..errors import SessionLogError
from ..store import Store
from ..stores.file import FileStore
from .chunks import CHUNK_SESSIONS
from .provenance import Evidence, Origins, may_claim


class Named(NamedTuple):
    """A session names a record of a source; ``state``: and says with which state of it it started."""

    source_id: str
    at_hash: str
    state: bool


Sources: TypeAlias = dict[str, list[Named]]
"""What the sessions that were made from others name, by session; a fork's source last."""


class Planned(NamedTuple):
    """Sessions to audit in this order, and what those of them name that were made from others."""

    session_ids: Sequence[str]
    sources: Sources


async def survey(store: Store, session_ids: Iterable[str]) -> Sources:
    """Read the first record of each session; return what those that were made from others name."""
    sources: Sources = {}
    for session_id in session_ids:
        try:
            line = await _first_line(store, session_id)
            if not may_claim(line):
                continue
            origins = msgspec.json.decode(line, type=Origins)
        except (SessionLogError, ValueError, RecursionError):
            continue  # its own audit will tell
        named = [
            Named(origin.session_id, origin.at_hash, origin is origins.forked_from)
            for origin in (origins.compacted_from, origins.forked_from)
            if origin is not None
        ]
        if named:
            sources[session_id] = named
    return sources


def evidence_wanted(sources: Sources) -> dict[str, Evidence]:
    """Return, for each source, the evidence to gather while it is read."""
    wanted: dict[str, Evidence] = {}
    for named in sources.values():
        for source_id, at_hash, state in named:
            wanted.setdefault(source_id, Evidence()).want(at_hash, state=state)
    return wanted


def sources_first(session_ids: Iterable[str], sources: Sources) -> Iterator[str]:
    """Yield every id once: after its source, if that is one of them, and else in the order given."""
    source_of = _source_of(sources)
    left = dict.fromkeys(session_ids)
    for session_id in list(left):
        lineage: list[str] = []
        ancestor: str | None = session_id
        while ancestor is not None and ancestor in left:
            del left[ancestor]
            lineage.append(ancestor)
            ancestor = source_of.get(ancestor)
        yield from reversed(lineage)


def families(session_ids: Iterable[str], sources: Sources) -> Iterator[Planned]:
    """Yield the sessions, sources first, in chunks that part no session from its source."""
    source_of = _source_of(sources)
    roots: dict[str, str] = {}
    members: dict[str, list[str]] = {}
    for session_id in sources_first(session_ids, sources):
        source = source_of.get(session_id)
        root = roots[session_id] = session_id if source is None else roots.get(source, session_id)
        members.setdefault(root, []).append(session_id)
    chunk: list[str] = []
    for family in members.values():
        if chunk and len(chunk) + len(family) > CHUNK_SESSIONS:
            yield Planned(chunk, _of(chunk, sources))
            chunk = []
        chunk += family
    if chunk:
        yield Planned(chunk, _of(chunk, sources))


def _source_of(sources: Sources) -> Mapping[str, str]:
    return {session_id: named[-1].source_id for session_id, named in sources.items()}


def _of(session_ids: Sequence[str], sources: Sources) -> Sources:
    return {session_id: sources[session_id] for session_id in session_ids if session_id in sources}


async def _first_line(store: Store, session_id: str) -> bytes:
    whole = store.read_now(session_id) if isinstance(store, FileStore) else None
    if whole is not None:
        return whole.partition(b"\n")[0]
    parts: list[bytes] = []
    size = 0
    async with aclosing(store.read_raw(session_id)) as chunks:
        async for chunk in chunks:
            line, end, _ = chunk.partition(b"\n")
            parts.append(line)
            size += len(line)
            if end or size > store.line_bytes_max or not parts[0].startswith(b"{"):
                break
    return b"".join(parts)
