"""Which line belongs to which session. Pure: an index and what is settled already in, a plan out.

The lines with a ``uuid`` form a tree. Here it is read in *steps*: an API message with all its lines, the tool results
that answer it (parallel calls and results branch the tree, but are one step), and the progress, hook and system lines
that hang there, is one step; what the user says is one. Steps form a tree of their own, and only its branches are
attempts:

- a session follows one path of steps from its root; the main session that to the last message that is neither on a side
  chain nor meta, or, where a path is settled by an earlier import, the path that goes on from it;
- a step beside the path starts a session that is forked where it parts, and follows its own path likewise;
- a compact boundary starts a session that is compacted from the step that it points back to;
- side chains in the file are sessions of their own.

Repairs: a parent that stands later in the file is waited for; for a parent that is not in the file (a cut head, a lost
line), the line before stands in, so that one bad line does not tear a conversation apart; a circle of parents is cut
at its first line. Lines outside the tree go with the tree line before them in the file.

A line that was settled stays where it is. For a file that grows by whole lines the plan grows as well, unless the last
message has come to stand on another branch: the old session then stays, and the new branch is a fork of it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from ...ids import SessionId
from ..plan import Names, PlannedSession, SessionRole, derived_id
from ..plan import Plan as _Plan
from .index import Index, Node

__all__ = ["Plan", "plan"]


_WAITING: Final = "it waits for the summary of a compact boundary"


@dataclass
class Plan(_Plan):
    """What :func:`plan` decided."""

    order: list[Node] = field(default_factory=list)
    """The tree's lines as they are to be written: in the order of the file, but none before its parent."""


def plan(
    index: Index,
    base: SessionId,
    settled: Mapping[int, SessionId],
    *,
    agent_file: bool,
    agents_base: str,
    taken: Iterable[SessionId] = (),
) -> Plan:
    """Assign every line of the file to a session.

    ``base`` is the main session (of an ``agent_file``, the agent's); ``settled`` says to which session the objects went
    that earlier imports wrote; the sessions of sub-agents are named after ``agents_base``; ids that are ``taken`` are
    not used for new sessions.
    """
    result = Plan()
    chains: dict[str | None, list[Node]] = {None: []}
    for group, node in _grouped(index, agent_file=agent_file):
        chains.setdefault(group, []).append(node)
    names = Names(base, settled, taken)
    for group, nodes in chains.items():
        if group is None:
            first = nodes[0] if nodes else None
            root = PlannedSession(base, "agent", first) if agent_file else PlannedSession(base, "main", first)
            root.spawned_by = SessionId(agents_base) if agent_file else None
        else:
            session_id = names.pick(nodes[0].ordinal, "agent", nodes[0].group or nodes[0].uuid)
            root = PlannedSession(session_id, "agent", nodes[0], spawned_by=base)
        _Layout(result, nodes, root, settled, names).run()
    _place_others(result, index, result.sessions[0])
    _link_agents(result, index, agents_base, chains)
    result.waiting = {ordinal: _WAITING for ordinal, session in result.session_of.items() if session.held}
    spoken = (node.ordinal for node in index.nodes if node.speaks and not node.meta)
    live = max((ordinal for ordinal in spoken if ordinal not in result.waiting), default=None)
    result.live = None if live is None else result.session_of[live]
    return result


@dataclass(slots=True)
class _Step:
    """A step: the API message or user message that starts it, and what joined it."""

    start: Node | None
    parent: int
    depth: int
    compacts: bool = False
    """It is a compact boundary and there is something before it."""
    message_id: str | None = None
    calls: set[str] = field(default_factory=set)
    answered: set[str] = field(default_factory=set)
    spoken: int = -1
    """The ordinal of the last message in it that is not meta."""
    last_all: int = -1
    """The last message in it and in all that follows."""
    last_here: int = -1
    """The same without crossing into another session."""
    settled: SessionId | None = None
    session: PlannedSession | None = None


class _Layout:
    """Lays out one tree: the main conversation or one side chain."""

    def __init__(
        self,
        result: Plan,
        nodes: list[Node],
        root: PlannedSession,
        settled: Mapping[int, SessionId],
        names: Names,
    ) -> None:
        self._plan = result
        self._nodes = nodes
        self._root = root
        self._settled = settled
        self._names = names
        self._parents, self._order = _tree_order(nodes)
        self._sessions: dict[SessionId, PlannedSession] = {root.session_id: root}
        self._tips: dict[SessionId, int] = {}
        self._steps = [_Step(None, -1, 0, settled=root.session_id, session=root)]
        self._step_of: dict[int, int] = {}
        self._paths: dict[SessionId, set[int]] = {}

    def run(self) -> None:
        """Find the steps, then give each its session."""
        self._find_steps()
        self._sum_up()
        self._follow(self._root, 0)
        for number, step in enumerate(self._steps[1:], start=1):
            self._assign(number, step)
        for node in self._order:
            session = self._steps[self._step_of[node.ordinal]].session
            assert session is not None  # noqa: S101 - every step was assigned above
            # A parent that came late may have moved a settled line to another step; its record stays where it is.
            session = self._sessions.get(self._settled.get(node.ordinal, session.session_id), session)
            self._plan.session_of[node.ordinal] = session
            if session.role == "compaction" and session.summary is None and node.summary:
                session.summary = node.ordinal
            parent = self._parents[node.ordinal]
            if parent is not None and parent.ordinal > node.ordinal:
                self._plan.waits_for[node.ordinal] = parent.ordinal
        self._hold_back()
        self._plan.sessions.extend(self._sessions.values())
        self._plan.order.extend(self._order)

    def _find_steps(self) -> None:
        leads = self._leading_nodes()
        known_calls = {call for node in self._nodes for call in node.calls}
        for node in self._order:
            parent = self._parents[node.ordinal]
            at = 0 if parent is None else self._step_of[parent.ordinal]
            if self._starts_step(node, self._steps[at], node.ordinal in leads, known_calls):
                compacts = node.boundary and parent is not None
                step = _Step(node, at, self._steps[at].depth + 1, compacts, node.message_id)
                step.settled = self._settled.get(node.ordinal)
                self._steps.append(step)
                at = len(self._steps) - 1
            step = self._steps[at]
            self._step_of[node.ordinal] = at
            step.calls.update(node.calls)
            step.answered.update(node.answers)
            if node.speaks and not node.meta:
                step.spoken = max(step.spoken, node.ordinal)

    @staticmethod
    def _starts_step(node: Node, here: _Step, leads: bool, known_calls: set[str]) -> bool:
        """Tell whether ``node``, whose parent is in the step ``here``, starts one of its own."""
        if node.boundary:
            return True
        if node.type == "assistant":
            return here.message_id is None or node.message_id != here.message_id
        if node.type != "user":
            return False
        if node.answers:
            if not known_calls.intersection(node.answers):
                return False
            return not here.calls.issuperset(node.answers) or not here.answered.isdisjoint(node.answers)
        return leads if node.meta else True

    def _leading_nodes(self) -> set[int]:
        """Return the nodes that a message other than a meta one follows, however far."""
        leads: set[int] = set()
        for node in reversed(self._order):
            parent = self._parents[node.ordinal]
            if parent is not None and (node.ordinal in leads or (node.speaks and not node.meta)):
                leads.add(parent.ordinal)
        return leads

    def _sum_up(self) -> None:
        """Let each step know the last message that follows it; steps stand behind their parents."""
        for step in reversed(self._steps):
            step.last_all, step.last_here = max(step.last_all, step.spoken), max(step.last_here, step.spoken)
            if step.start is None:
                continue
            parent = self._steps[step.parent]
            parent.last_all = max(parent.last_all, step.last_all)
            if not step.compacts:
                parent.last_here = max(parent.last_here, step.last_here)
        for number, step in enumerate(self._steps):
            if step.settled is None or step.spoken < 0 or step.start is None or step.start.meta:
                continue
            tip = self._tips.setdefault(step.settled, number)
            if step.depth >= self._steps[tip].depth:
                self._tips[step.settled] = number

    def _follow(self, session: PlannedSession, root: int) -> None:
        """Choose the path of ``session``, which starts at step ``root``: through what an earlier import gave to it."""
        through = self._tips.get(session.session_id)
        if through is None:
            through = root
            last = self._steps[root].last_all
            for number in self._climb(self._step_of[last] if last >= 0 else root, root):
                through = self._steps[number].parent if self._steps[number].compacts and number != root else through
        last = self._steps[through].last_here
        leaf = self._step_of[last] if last >= 0 else through
        self._paths[session.session_id] = {*self._climb(leaf, root), root}

    def _climb(self, number: int, root: int) -> Iterator[int]:
        while number not in (root, -1):
            yield number
            number = self._steps[number].parent

    def _assign(self, number: int, step: _Step) -> None:
        source = self._steps[step.parent].session
        assert source is not None and step.start is not None  # noqa: PT018, S101 - parents come first
        if step.settled == source.session_id:
            step.session = source
        elif step.compacts:
            step.session = self._derive("compaction", number, step.start, source)
        elif step.settled is not None or number not in self._paths[source.session_id]:
            step.session = self._derive("fork", number, step.start, source)
        else:
            step.session = source

    def _derive(self, role: SessionRole, number: int, start: Node, source: PlannedSession) -> PlannedSession:
        name = "compact" if role == "compaction" else "fork"
        session_id = self._names.pick(start.ordinal, name, start.uuid)
        if session_id in self._sessions:
            return self._sessions[session_id]
        parting = self._parents[start.ordinal]
        session = PlannedSession(session_id, role, start, source=source, parting=parting)
        self._sessions[session_id] = session
        self._follow(session, number)
        return session

    def _hold_back(self) -> None:
        """Hold compactions that nobody has spoken in yet, and all that would part from them."""
        spoken = {id(step.session) for step in self._steps if step.spoken >= 0}
        for session in self._sessions.values():
            silent = session.role == "compaction" and id(session) not in spoken
            settled = session.first is not None and session.first.ordinal in self._settled
            session.held = (
                session.held or (silent and not settled) or (session.source is not None and session.source.held)
            )


def _grouped(index: Index, *, agent_file: bool) -> Iterator[tuple[str | None, Node]]:
    """Yield each node with its chain: ``None`` for the main conversation, else the agent, or a side chain's root."""
    chain_of: dict[str, str] = {}
    latest: str | None = None
    for node in index.nodes:
        if node.group is None or agent_file:
            yield None, node
            continue
        if node.group:
            group = node.group
        elif node.parent_uuid in chain_of:
            group = chain_of[node.parent_uuid]
        elif node.parent_uuid is not None and node.parent_uuid not in index.by_uuid and latest is not None:
            group = latest
        else:
            group = node.uuid
        chain_of[node.uuid] = latest = group
        yield group, node


def _tree_order(nodes: list[Node]) -> tuple[dict[int, Node | None], list[Node]]:
    """Return every node's parent, repaired, and the nodes in the order in which they are written."""
    known = {node.uuid: node for node in nodes}
    parents: dict[int, Node | None] = {}
    before: Node | None = None
    for node in nodes:
        wanted = (node.logical_uuid or node.parent_uuid) if node.boundary else node.parent_uuid
        parent = None if wanted is None else known.get(wanted)
        if parent is None and (wanted is not None or node.boundary):
            parent = before
        parents[node.ordinal] = parent
        before = node
    _cut_circles(nodes, parents)
    order: list[Node] = []
    placed: set[int] = set()
    waiting: dict[int, list[Node]] = {}
    for node in nodes:
        parent = parents[node.ordinal]
        if parent is not None and parent.ordinal not in placed:
            waiting.setdefault(parent.ordinal, []).append(node)
            continue
        ready = [node]
        while ready:
            one = ready.pop()
            order.append(one)
            placed.add(one.ordinal)
            ready.extend(reversed(waiting.pop(one.ordinal, ())))
    return parents, order


def _cut_circles(nodes: Iterable[Node], parents: dict[int, Node | None]) -> None:
    """Give the first line of every circle of parents another parent: the last line before that hangs in no circle."""
    sound: set[int] = set()
    before: Node | None = None
    for node in nodes:
        walk: list[Node] = []
        seen: set[int] = set()
        one: Node | None = node
        while one is not None and one.ordinal not in sound and one.ordinal not in seen:
            walk.append(one)
            seen.add(one.ordinal)
            one = parents[one.ordinal]
        if one is not None and one.ordinal in seen:
            circle = walk[walk.index(one) :]
            parents[min(node.ordinal for node in circle)] = before
        sound |= seen
        before = node


def _place_others(result: Plan, index: Index, main: PlannedSession) -> None:
    """Give each line outside the tree to the session of the tree line before it."""
    nodes = iter(index.nodes)
    node = next(nodes, None)
    session = main
    for ordinal in index.others:
        while node is not None and node.ordinal < ordinal:
            session = result.session_of[node.ordinal]
            node = next(nodes, None)
        result.session_of[ordinal] = session


def _link_agents(result: Plan, index: Index, agents_base: str, chains: Mapping[str | None, list[Node]]) -> None:
    """Find the first line that tells of each sub-agent: by its id, or, for a side chain, by the prompt it was given."""
    roots = [nodes[0] for group, nodes in chains.items() if group is not None]
    in_file = {root.group: result.session_of[root.ordinal] for root in roots}
    unnamed = {root.text: root for root in roots if not root.group}
    by_call = {call: unnamed[text] for node in index.nodes for call, text in node.call_texts if text in unnamed}
    told: set[str] = set()
    for node in index.nodes:
        spawn = node.spawn
        if spawn is not None and spawn[0] not in told:
            told.add(spawn[0])
            session = in_file.get(spawn[0])
            session_id = derived_id(agents_base, "agent", spawn[0]) if session is None else session.session_id
            result.spawns[node.ordinal] = (spawn[0], session_id, spawn[1])
        for call in node.answers:
            root = by_call.get(call)
            if root is not None and root.uuid not in told:
                told.add(root.uuid)
                result.spawns[node.ordinal] = (root.uuid, result.session_of[root.ordinal].session_id, call)
