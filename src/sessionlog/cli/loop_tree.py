"""In what order a session's loops are drawn, and behind which branches.

A loop that alone goes on from another one stands behind it on the same level, and so does what goes on from the
selected branch of a parallel group: a long conversation is a column, not a staircase. Where several go on, they stand
below. Whatever the ids and parents of a log say, every session and every loop comes once, and the drawing ends.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from ..loops import ChildLoopRef, LoopRecord, ParallelGroupRecord, Session, Turn, to_items
from .loop_sums import group_key
from .summary import summarize_item

BRANCH_CHARS_MAX: Final = 30
"""Branches are drawn no wider than this; what lies deeper keeps its innermost levels, behind a "…"."""


@dataclass(frozen=True)
class SessionNode:
    """A session; its loops are below it. ``ref`` is the tool call that ran it."""

    session: Session
    ref: ChildLoopRef | None = None


@dataclass(frozen=True)
class RefNode:
    """A tool call that ran a loop of a session which is not drawn here; ``where`` says why."""

    ref: ChildLoopRef
    where: str = ""


@dataclass(frozen=True)
class GroupNode:
    """A parallel group; those of its ``branches`` that begin here are below it. ``is_first``: it was not drawn yet."""

    session: Session
    group: ParallelGroupRecord
    branches: Sequence[LoopRecord]
    is_first: bool


@dataclass(frozen=True)
class LoopNode:
    """A loop; the sessions that it ran, and what goes on from it in several ways (``nested``), are below it."""

    session: Session
    loop: LoopRecord
    nested: "Sequence[GroupNode | LoopNode]" = ()


@dataclass(frozen=True)
class DetailsNode:
    """The line that says more of the loop above."""

    session: Session
    loop: LoopRecord


@dataclass(frozen=True)
class TurnNode:
    """A turn; its messages are below it."""

    turn: Turn


@dataclass(frozen=True)
class MessageNode:
    """What a message says, on one line."""

    text: str


Node: TypeAlias = SessionNode | RefNode | GroupNode | LoopNode | DetailsNode | TurnNode | MessageNode


class LoopTree:
    """The rows of a drawing. Made for one walk."""

    def __init__(self, root: Session, spawned: Sequence[Session], *, absent: str, with_turns: bool) -> None:
        """Draw ``root`` and what it ran of ``spawned``; what it ran and is in neither of them is called ``absent``."""
        self._root = root
        self._sessions = {one.session_id: one for one in (root, *spawned)}
        self._absent = absent
        self._with_turns = with_turns
        self._drawn_sessions = {root.session_id}
        self._drawn_groups: set[tuple[str, ...]] = set()
        self._taken: set[tuple[str, str]] = set()
        self._nexts: dict[tuple[str, str], list[GroupNode | LoopNode]] = {}

    def rows(self) -> Iterator[tuple[str, Node]]:
        """Yield every node once, with the branches to draw before it."""
        stack: list[tuple[str, str, Node]] = [("", "", SessionNode(self._root))]
        while stack:
            branch, below, node = stack.pop()
            node = self._look_up(node.ref) if isinstance(node, RefNode) else node
            yield branch, node
            nodes = self._below(node)
            is_last = True
            for one in reversed(nodes):
                stem, turn = ("   ", "└─ ") if is_last else ("│  ", "├─ ")
                is_leaf = isinstance(one, DetailsNode | MessageNode)
                stack.append((below + (stem if is_leaf else turn), _narrowed(below + stem), one))
                is_last = is_last and is_leaf

    def _look_up(self, ref: ChildLoopRef) -> SessionNode | RefNode:
        """Draw the session that a tool call ran here, if it is there and was not drawn before."""
        session = self._sessions.get(ref.child_session_id)
        if session is None:
            return RefNode(ref, self._absent)
        if ref.child_session_id in self._drawn_sessions:
            return RefNode(ref, "drawn above")
        self._drawn_sessions.add(ref.child_session_id)
        return SessionNode(session, ref)

    def _below(self, node: Node) -> Sequence[Node]:
        match node:
            case SessionNode(session):
                starts = [loop for depth, loop in session.walk() if depth == 0]
                return self._level(self._take(session, starts))
            case GroupNode(session, _, branches):
                hoisted = _only_selected(branches)
                return self._level([LoopNode(session, one) for one in branches], hoisted=hoisted)
            case LoopNode(session, loop, nested):
                told: list[Node] = [DetailsNode(session, loop), *map(TurnNode, loop.turns)] if self._with_turns else []
                return [*told, *map(RefNode, loop.child_loop_refs), *self._level(nested)]
            case TurnNode(turn):
                return [MessageNode(summarize_item(item)) for item in to_items(turn.all_messages)]
            case _:
                return []

    def _level(
        self, begun: Sequence[GroupNode | LoopNode], *, hoisted: LoopRecord | None = None
    ) -> list[GroupNode | LoopNode]:
        """Return the nodes of a level: those ``begun``, each followed by the one that alone goes on from it.

        What goes on from the branch that is ``hoisted`` stands on its group's level instead.
        """
        level: list[GroupNode | LoopNode] = []
        todo = deque(begun)
        while todo:
            node = todo.popleft()
            last = _only_selected(node.branches) if isinstance(node, GroupNode) else node.loop
            nexts = [] if last is None else self._going_on(node.session, last)
            if isinstance(node, LoopNode) and len(nexts) > 1:
                node = replace(node, nested=nexts)
            level.append(node)
            if len(nexts) == 1 and last is not hoisted:
                todo.appendleft(nexts[0])
        return level

    def _going_on(self, session: Session, loop: LoopRecord) -> list[GroupNode | LoopNode]:
        """Return what goes on from a loop; the same nodes when asked again, for a branch and for its group."""
        key = (session.session_id, loop.loop_id)
        if key not in self._nexts:
            self._nexts[key] = self._take(session, session.children_of(loop.loop_id))
        return self._nexts[key]

    def _take(self, session: Session, loops: Sequence[LoopRecord]) -> list[GroupNode | LoopNode]:
        """Take those of ``loops`` that nobody has taken, the branches of a parallel group together."""
        nodes: list[GroupNode | LoopNode] = []
        groups: dict[tuple[str, ...], list[LoopRecord]] = {}
        for loop in loops:
            if (session.session_id, loop.loop_id) in self._taken:
                continue
            self._taken.add((session.session_id, loop.loop_id))
            group = loop.parallel_group
            key = () if group is None else (session.session_id, *group_key(group))
            if group is None:
                nodes.append(LoopNode(session, loop))
            elif key in groups:
                groups[key].append(loop)
            else:
                groups[key] = [loop]
                nodes.append(GroupNode(session, group, groups[key], is_first=key not in self._drawn_groups))
                self._drawn_groups.add(key)
        return nodes


def _only_selected(branches: Sequence[LoopRecord]) -> LoopRecord | None:
    selected = [one for one in branches if one.parallel_group is not None and one.parallel_group.is_selected]
    return selected[0] if len(selected) == 1 else None


def _narrowed(branches: str) -> str:
    """Return the innermost of ``branches`` that fit."""
    return branches if len(branches) <= BRANCH_CHARS_MAX else "…  " + branches[6 - BRANCH_CHARS_MAX :]
