"""``graph``: which session came from which, as a tree.

A session has one parent at most: the session that it was forked or compacted from, as its first record says, or else
the one whose tool call spawned it, as an extension entry says. Origins are claims here; ``audit`` checks them.
"""

from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import click

from .. import (
    RECEIPTS_SESSION,
    CorruptLog,
    Extension,
    FileStore,
    HashedEntry,
    SessionLogError,
    SessionNotFound,
    SessionStart,
)
from .base import App, common_options, example, runs, tell_faults
from .short_ids import ShownId
from .summary import user_words
from .text import counted, short

IMPORT_DOMAIN: Final = "import"
SPAWN_DOMAINS: Final = ("claude_code.spawn", "codex.spawn")
_ENVELOPE_BYTES_MAX: Final = 256
_VERBS: Final = {"forked_from": "fork", "compacted_from": "compacted", "spawned_by": "sub-agent"}


@dataclass
class Node:
    """One session in the graph; ``parent`` may be no session of the store."""

    session_id: str
    relation: str | None = None
    parent: str | None = None
    at_hash: str | None = None
    at_seq: int | None = None
    records: int = 0
    first_message: str = ""
    fault: SessionLogError | None = None


@click.command(
    epilog=example("sessionlog graph", "sessionlog graph --json | jq -r 'select(.parent == null).session_id'")
)
@common_options
@runs
async def graph(app: App) -> int:
    """Draw which session came from which.

    Forks, compactions and sub-agents below what they come from, as a tree; "fork at 17" is behind record 17.
    """
    async with app.open_store() as store:
        nodes = await read_graph(app, store)
        await print_graph(app, nodes, await app.shown_ids(store))
    return await tell_faults(app, [node.fault for node in nodes if node.fault is not None])


async def read_graph(app: App, store: FileStore) -> list[Node]:
    """Return the conversations of ``store`` as it lists them, linked to those that they come from."""
    session_ids = [one for one in await store.list_sessions() if one != RECEIPTS_SESSION]
    nodes: dict[str, Node] = {session_id: Node(session_id) for session_id in session_ids}
    for node in nodes.values():
        await _read_origin(store, node)
    wanted = {node.at_hash for node in nodes.values() if node.at_hash is not None}
    positions: dict[tuple[str, str], int] = {}
    with app.out.progress("reading", len(session_ids)) as advance:
        for node in nodes.values():
            await _read_log(store, node, nodes, wanted, positions)
            advance(1)
    for node in nodes.values():
        if node.parent is not None and node.at_hash is not None:
            node.at_seq = node.at_seq if node.at_seq is not None else positions.get((node.parent, node.at_hash))
    return list(nodes.values())


async def _read_origin(store: FileStore, node: Node) -> None:
    """Take from the first record what it says of the session's origin."""
    try:
        async with aclosing(store.read(node.session_id)) as records:
            async for record in records:
                entry = record.entry
                if isinstance(entry, SessionStart):
                    origin = entry.forked_from or entry.compacted_from
                    if origin is not None:
                        node.relation = "forked_from" if entry.forked_from else "compacted_from"
                        node.parent, node.at_hash = origin.session_id, origin.at_hash
                return
    except SessionLogError as error:
        _take_fault(node, error)


async def _read_log(
    store: FileStore,
    node: Node,
    nodes: dict[str, Node],
    wanted: set[str],
    positions: dict[tuple[str, str], int],
) -> None:
    """Stream a whole log: count its records, find the positions that are ``wanted``, link what it spawned."""
    try:
        async for record in store.read(node.session_id):
            node.records = record.seq + 1
            if record.hash in wanted:
                positions[node.session_id, record.hash] = record.seq
            if not node.first_message and _is_kind(record, "session_start", "user_input", "extension"):
                node.first_message = user_words(record.entry)
            _link_spawned(node, record, nodes)
    except SessionLogError as error:
        _take_fault(node, error)


def _link_spawned(node: Node, record: HashedEntry, nodes: dict[str, Node]) -> None:
    """Link sub-agents: from the entry behind the tool call that spawned one, or from the agent's own import note."""
    entry = record.entry if _is_kind(record, "extension") else None
    if not isinstance(entry, Extension) or not isinstance(entry.payload, dict):
        return
    if entry.domain in SPAWN_DOMAINS:
        spawned = entry.payload.get("session_id")
        child = nodes.get(spawned) if isinstance(spawned, str) else None
        if child is not None and child is not node and child.relation in (None, "spawned_by"):
            child.relation, child.parent = "spawned_by", node.session_id
            child.at_hash, child.at_seq = record.hash, record.seq
    elif entry.domain == IMPORT_DOMAIN and entry.payload.get("role") == "agent" and node.relation is None:
        parent = entry.payload.get("parent")
        if isinstance(parent, str) and parent != node.session_id:
            node.relation, node.parent = "spawned_by", parent


def _is_kind(record: HashedEntry, *kinds: str) -> bool:
    """Tell whether the record is of one of ``kinds``, without parsing it: the kind follows the envelope (FORMAT 2)."""
    envelope = record.line[:_ENVELOPE_BYTES_MAX]
    return any(f'"kind":"{kind}"'.encode() in envelope for kind in kinds)


def _take_fault(node: Node, error: SessionLogError) -> None:
    if isinstance(error, SessionNotFound):
        return  # gone since it was listed
    if node.fault is None:
        node.fault = error


async def print_graph(app: App, nodes: Sequence[Node], shown: ShownId) -> None:
    """Print the graph: an object for each session, or one tree for each that comes from no other."""
    if app.out.json:
        there = {node.session_id for node in nodes}
        for node in nodes:
            await app.out.object(
                {
                    "session_id": node.session_id,
                    "records": node.records,
                    "relation": node.relation,
                    "parent": node.parent,
                    "parent_in_store": None if node.parent is None else node.parent in there,
                    "at_hash": node.at_hash,
                    "at_seq": node.at_seq,
                    "fault": None if node.fault is None else str(node.fault),
                }
            )
        return
    for branch, node in _tree(nodes):
        style = "bold red" if node.fault else "cyan"
        origin, rest = _describe(node)
        await app.out.row((branch, "dim"), (shown(node.session_id), style), (origin, "yellow"), rest=rest)


def _tree(nodes: Sequence[Node]) -> Iterator[tuple[str, Node]]:
    """Yield every session once, below what it comes from, with the branches to draw before it."""
    children: dict[str, list[Node]] = {}
    for node in nodes:
        if node.parent is not None:
            children.setdefault(node.parent, []).append(node)
    there = {node.session_id for node in nodes}
    roots = [node for node in nodes if node.parent is None]
    roots += [Node(parent, relation="missing") for parent in children if parent not in there]
    drawn: set[str] = set()
    for root in (*roots, *nodes):  # all of them again: claims that lead in a circle have no root
        stack = [] if root.session_id in drawn else [("", "", root)]
        while stack:
            branch, below, node = stack.pop()
            drawn.add(node.session_id)
            yield branch, node
            nexts = [child for child in children.get(node.session_id, ()) if child.session_id not in drawn]
            nexts.sort(key=lambda child: (-1 if child.at_seq is None else child.at_seq, child.session_id), reverse=True)
            for index, child in enumerate(nexts):
                last = index == 0
                stack.append((below + ("└─ " if last else "├─ "), below + ("   " if last else "│  "), child))


def _describe(node: Node) -> tuple[str, str]:
    """Return what the tree says behind a session's id: where it comes from, and the rest."""
    if node.relation == "missing":
        return "  (not in this store)", ""
    origin = ""
    if node.relation is not None:
        at = "" if node.at_hash is None else f" at {short(node.at_hash)}"
        origin = f"  {_VERBS[node.relation]}" + (at if node.at_seq is None else f" at {node.at_seq}")
    count = counted(node.records, "record")
    if node.fault is not None:
        count = "damaged" if isinstance(node.fault, CorruptLog) else "cannot be read"
    words = f"  {node.first_message}" if node.relation is None else ""
    return origin, f"{', ' if origin else '  '}{count}{words}"
