"""``graph``: which session came from which, as a tree, from the store's catalog.

A session has one parent at most: the session that it was forked or compacted from, as its first record says, or else
the one whose tool call spawned it, as an extension entry says. Origins are claims here; ``audit`` checks them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

from .. import Store
from .base import App, common_options, example, runs
from .catalogs import open_catalog, tell_catalog_faults
from .short_ids import ShownId
from .text import counted, one_line, short

if TYPE_CHECKING:
    from ..catalog import Link

_WORDS_CHARS_MAX: Final = 80
_RELATIONS: Final = {"fork": "forked_from", "compaction": "compacted_from"}
"""By kind; whatever else comes from another session was spawned by it."""
_VERBS: Final = {"forked_from": "fork", "compacted_from": "compacted", "spawned_by": "sub-agent"}
_STATES: Final = {"broken": "damaged", "unreadable": "cannot be read"}


@dataclass(frozen=True)
class Node:
    """One session in the graph; ``parent`` may be no session of the store."""

    session_id: str
    relation: str | None = None
    parent: str | None = None
    at_hash: str | None = None
    at_seq: int | None = None
    records: int = 0
    first_words: str = ""
    state: str = "valid"
    fault: str | None = None


@click.command(
    epilog=example("sessionlog graph", "sessionlog graph --json | jq -r 'select(.parent == null).session_id'")
)
@click.option("--verify", is_flag=True, help="Read and verify every log from its start, whatever the catalog says.")
@common_options
@runs
async def graph(app: App, *, verify: bool) -> int:
    """Draw which session came from which.

    Forks, compactions and sub-agents below what they come from, as a tree; "fork at 17" is behind record 17. It comes
    from the store's catalog, as list does.
    """
    async with app.open_store() as store:
        nodes = await read_graph(app, store, verify=verify)
        await print_graph(app, nodes, await app.shown_ids(store))
    return await tell_catalog_faults(app, [(node.state, node.fault) for node in nodes])


async def read_graph(app: App, store: Store, *, verify: bool = False) -> list[Node]:
    """Return the conversations of ``store``, last written first, linked to those that they come from."""
    async with open_catalog(app, store, verify=verify) as catalog:
        links = {link.session_id: link for link in await catalog.links()}
    return [_node(links[one]) for one in await store.list_sessions() if one in links]


def _node(link: "Link") -> Node:
    has_source = link.source_id is not None
    return Node(
        session_id=link.session_id,
        relation=_RELATIONS.get(link.kind, "spawned_by") if has_source else None,
        parent=link.source_id,
        at_hash=link.at_hash,
        at_seq=link.at_seq,
        records=link.records,
        first_words=one_line(link.first_words, chars_max=_WORDS_CHARS_MAX),
        state=link.state,
        fault=link.fault,
    )


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
                    "fault": node.fault,
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
        count = _STATES.get(node.state, node.state)
    words = f"  {node.first_words}" if node.relation is None else ""
    return origin, f"{', ' if origin else '  '}{count}{words}"
