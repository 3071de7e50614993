"""``loops``: a session as the tree of its loops, and of the sessions that its tool calls ran, as rows or as JSON.

The tree is :mod:`sessionlog.loops`'s and the cost :mod:`sessionlog.queries`'s; here they are only shown. Loop ids are
shown without the session's, which stands above them, and a name that could be taken for something else is quoted.
"""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from msgspec import structs

from .. import CorruptLog, SessionLogError
from .base import EXIT_FINDINGS, EXIT_GOOD, EXIT_WRONG_USE, App, common_options, example, runs
from .completion import complete_session
from .lookup import find_session
from .output import Segment
from .rates import cost_fields, find_rates, rates_option, read_rates, tell_gaps
from .short_ids import ShownId
from .text import compact, counted, duration, one_line, utc

if TYPE_CHECKING:
    from ..loops import ChildLoopRef, ContinuationKind, LoopRecord, Session, Turn
    from ..queries import Rates
    from .loop_sums import Sums
    from .loop_tree import GroupNode, Node

NAME_CHARS_MAX: Final = 48
"""Ids and other names of a log are cut here, but for ids with ``--full``."""
_REASON_CHARS_MAX: Final = 120
_PROMPT_CHARS_MAX: Final = 120
_PLAIN_NAME: Final = re.compile(r"[^\s\"',()]+")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
_STATUS_STYLES: Final = {"pending": "yellow", "running": "yellow", "rejected": "bold red", "aborted": "bold red"}


@click.command(
    epilog=example(
        "sessionlog loops 0190163d --rates rates.toml",
        "sessionlog loops 0190163d --json | jq -c '.loops[] | [.loop_id, .status]'",
    )
)
@click.argument("session", metavar="ID", shell_complete=complete_session)
@rates_option
@click.option("--full", is_flag=True, help="Draw the turns as well; with --json, print all that is known of a loop.")
@common_options
@runs
async def loops(app: App, session: str, rates_file: Path | None, full: bool) -> int:
    """Draw a session's loops and sub-agents.

    A loop is one run of an agent. What alone goes on from it stands under it on the same level; what goes on in several
    ways, and the sessions that its tool calls ran, stand below it. With their turns, tokens, status, model, the prompt
    that began each, and the cost, by the list prices of the extra "prices" or by --rates. Tokens that have no price are
    not in the cost, and are told.
    """
    from ..loops import load_session, load_spawned  # noqa: PLC0415 - `list` need not wait for it
    from .loop_sums import add_up, sum_session  # noqa: PLC0415

    given = await read_rates(rates_file)
    sessions: list[Session] = []
    fault: SessionLogError | None = None
    async with app.open_store() as store:
        shown = await app.shown_ids(store)
        sessions.append(await load_session(store, await find_session(store, session)))
        try:
            sessions += await load_spawned(store, sessions[0])
        except SessionLogError as error:
            fault = error
    sums = add_up(map(sum_session, sessions))
    rates = await find_rates(sums.usage, given)
    if app.out.json:
        for one in sessions:
            await app.out.object(session_object(one, rates, full=full))
    elif sessions[0].loops:
        await _Printer(app, rates, shown, full=full).print_tree(
            sessions, absent="not in this store" if not fault else "not read"
        )
    else:
        await app.out.note(f"{sessions[0].session_id} has no loops: no agent event in its log starts one")
    cost = sums.cost(rates)
    if cost is not None:
        await tell_gaps(app, cost)
    if fault is None:
        return EXIT_GOOD
    await app.out.note(f"sessionlog: {fault}; the sessions that tool calls ran are left out")
    return EXIT_FINDINGS if isinstance(fault, CorruptLog) else EXIT_WRONG_USE


def session_object(session: "Session", rates: "Rates | None", *, full: bool) -> dict[str, object]:
    """Return what ``loops --json`` prints of one session: its loops, parents before children, with their ``depth``."""
    from ..loops import session_to_json  # noqa: PLC0415
    from .loop_sums import sum_session  # noqa: PLC0415

    members: dict[str, object] = session_to_json(structs.replace(session, loops=[]))
    tree = [_loop_object(loop, depth, rates, full=full) for depth, loop in session.walk()]
    return {**members, **_sums_object(sum_session(session), rates), "loops": tree}


def _loop_object(loop: "LoopRecord", depth: int, rates: "Rates | None", *, full: bool) -> dict[str, object]:
    from ..loops import loop_to_json  # noqa: PLC0415
    from .loop_sums import prompt_of, sum_loop  # noqa: PLC0415

    outline = loop if full else structs.replace(loop, messages=[], turns=[], events=[])
    members: dict[str, object] = loop_to_json(outline)
    if not full:
        for name in ("messages", "turns", "events"):
            del members[name]
    return {"depth": depth, "prompt": prompt_of(loop) or None, **members, **_sums_object(sum_loop(loop), rates)}


def _sums_object(sums: "Sums", rates: "Rates | None") -> dict[str, object]:
    cost = sums.cost(rates)
    return {
        "turn_count": sums.turns,
        "tokens": sums.tokens,
        "cost": cost_fields(cost),
    }


class _Printer:
    """Prints the rows of one drawing: what it adds up to on the left, the tree on the right."""

    def __init__(self, app: App, rates: "Rates | None", shown: ShownId, *, full: bool) -> None:
        self._app = app
        self._shown = shown
        self._rates = rates
        self._full = full

    async def print_tree(self, sessions: "Sequence[Session]", *, absent: str) -> None:
        """Print the first of ``sessions`` with the others below the loops that ran them, and what all add up to."""
        from .loop_sums import add_up, sum_session  # noqa: PLC0415
        from .loop_tree import LoopTree  # noqa: PLC0415

        cost_heading = "" if self._rates is None else f"{f'{self._rates.currency} COST'[-9:]:>9}  "
        heading = f"TURNS  {'IN':>6}  {'OUT':>6}  {cost_heading}SESSION AND LOOPS"
        await self._app.out.row((heading, "bold"), crop=True)
        for branch, node in LoopTree(sessions[0], sessions[1:], absent=absent, with_turns=self._full).rows():
            numbers, words = self._described(node)
            await self._app.out.row(self._columns(numbers), (branch, "dim"), *words, crop=True)
        if len(sessions) > 1:
            total = add_up(map(sum_session, sessions))
            await self._app.out.row(self._columns(total), f"all {len(sessions):,} sessions", crop=True)

    def _columns(self, sums: "Sums | None") -> str:
        width = 23 if self._rates is None else 34
        if sums is None:
            return " " * width
        text = f"{sums.turns:>5,}  {compact(sums.tokens.input_total):>6}  {compact(sums.tokens.output):>6}  "
        cost = sums.cost(self._rates)
        if cost is None:
            return text
        amount = "?" if cost.gaps and not cost.amount else f"{'>' if cost.gaps else ''}{cost.amount:,.4f}"
        return f"{text}{amount:>9}  "

    def _described(self, node: "Node") -> "tuple[Sums | None, list[Segment]]":
        """Return what stands on the left and on the right of a node's row."""
        from . import loop_sums, loop_tree  # noqa: PLC0415

        match node:
            case loop_tree.SessionNode(session, ref):
                return loop_sums.sum_session(session), self._session_words(session, ref)
            case loop_tree.RefNode(ref, where):
                return None, [
                    (self._session_name(ref.child_session_id), "cyan"),
                    self._caller(ref),
                    (f", {where}", "yellow"),
                ]
            case loop_tree.GroupNode(_, group, _, is_first):
                return loop_sums.sum_evaluation(group) if is_first else None, self._group_words(node)
            case loop_tree.LoopNode(session, loop):
                return loop_sums.sum_loop(loop), self._loop_words(session, loop)
            case loop_tree.DetailsNode(_, loop):
                return None, [(self._details(loop), "dim")]
            case loop_tree.TurnNode(turn):
                return None, self._turn_words(turn)
            case loop_tree.MessageNode(text):
                return None, [text]

    def _session_words(self, session: "Session", ref: "ChildLoopRef | None") -> list[Segment]:
        spawned = session.parent_spawn_ref
        caller = "" if ref is None else self._caller(ref)
        if ref is None and spawned is not None:
            tool = f"{self._name(spawned.tool_name)} in " if spawned.tool_name else ""
            how = "by" if tool or not _parted(session) else "from"
            caller = f"  {how} {tool}{self._name(spawned.parent_loop_id)}"
        agent = f"agent {self._name(session.agent_id)}, " if session.agent_id else ""
        words = f"{', ' if caller else '  '}{agent}{counted(len(session.loops), 'loop')}"
        return [(self._session_name(session.session_id), "bold cyan"), (caller, "yellow"), words]

    def _group_words(self, node: "GroupNode") -> list[Segment]:
        group = node.group
        words = f"parallel group of {len(group.all_loop_ids):,}"
        if all(branch.loop_id != group.selected_loop_id for branch in node.branches):
            words += f", {self._loop_name(node.session, group.selected_loop_id)} selected"
        return [(words, "magenta")]

    def _loop_words(self, session: "Session", loop: "LoopRecord") -> list[Segment]:
        from . import loop_sums  # noqa: PLC0415

        words: list[Segment] = [(self._loop_name(session, loop.loop_id), "cyan"), "  "]
        came = self._came(session, loop)
        if came:
            words.append((f"{came}, ", "yellow"))
        words.append((loop.status, _STATUS_STYLES.get(loop.status, "")))
        if loop.parallel_group is not None and loop.parallel_group.is_selected:
            words.append((", selected", "bold green"))
        model = None if loop.config is None else loop_sums.model_name(loop.config.model)
        if model is not None:
            words.append((f"  {self._name(model)}", "dim"))
        if loop.rejection:
            words.append(f"  {one_line(loop.rejection, chars_max=_REASON_CHARS_MAX)}")
        prompt = one_line(loop_sums.prompt_of(loop), chars_max=_PROMPT_CHARS_MAX)
        return [*words, f"  {prompt}"] if prompt else words

    def _session_name(self, session_id: str) -> str:
        return self._name(self._shown(session_id))

    def _came(self, session: "Session", loop: "LoopRecord") -> str:
        """Return how a loop came from its parent, which is named where it is not drawn above."""
        how = _kind_words(loop.continuation_kind)
        parent = loop.parent_loop_id
        spawned = session.parent_spawn_ref
        if parent is None or session.get_loop(parent) is not None or (spawned and spawned.parent_loop_id == parent):
            return how
        return f"{how or 'run'} after {self._loop_name(session, parent)}, which is not here"

    def _details(self, loop: "LoopRecord") -> str:
        parts = [f"from {utc((loop.started_at - _EPOCH) // _MS)}"]
        if loop.ended_at is not None:
            parts.append(duration((loop.ended_at - loop.started_at) // _MS))
        if loop.agent_id:
            parts.append(f"agent {self._name(loop.agent_id)}")
        if loop.config is not None and loop.config.provider:
            parts.append(f"provider {self._name(loop.config.provider)}")
        if loop.compaction_block is not None:
            parts.append("compacted")
        return ", ".join(parts)

    def _turn_words(self, turn: "Turn") -> list[Segment]:
        usage = turn.usage
        tokens = f"{usage.input + usage.cache_read + usage.cache_write:,} in, {usage.output:,} out"
        return [f"turn {turn.index:,}", (f"  {turn.triggered_by}, {duration(turn.duration // _MS)}, {tokens}", "dim")]

    def _caller(self, ref: "ChildLoopRef") -> str:
        call = f" ({self._name(ref.tool_call_id)})" if self._full and ref.tool_call_id else ""
        return f"  by {self._name(ref.tool_name)}{call}"

    def _loop_name(self, session: "Session", loop_id: str) -> str:
        prefix = f"{session.session_id}."
        return self._name(loop_id if self._full else loop_id.removeprefix(prefix) or loop_id)

    def _name(self, text: str) -> str:
        """Return a name of the log's in a form that reads as one name."""
        shown = text if _PLAIN_NAME.fullmatch(text) else json.dumps(text, ensure_ascii=False)
        return shown if self._full or len(shown) <= NAME_CHARS_MAX else shown[: NAME_CHARS_MAX - 1] + "…"


def _parted(session: "Session") -> bool:
    """Tell whether the session goes on from another one, rather than that a tool call of that one ran it."""
    from ..loops import Branch, Compaction, Rerun  # noqa: PLC0415

    return bool(session.loops) and isinstance(session.loops[0].continuation_kind, Branch | Rerun | Compaction)


def _kind_words(kind: "ContinuationKind") -> str:
    from ..loops import Branch, Compaction, Default, Rerun  # noqa: PLC0415

    match kind:
        case Default():
            return "continues"
        case Rerun(tag) | Branch(tag):
            word = "rerun" if isinstance(kind, Rerun) else "branch"
            return f"{word} {json.dumps(one_line(tag, chars_max=NAME_CHARS_MAX), ensure_ascii=False)}" if tag else word
        case Compaction():
            return "compaction"
        case _:
            return ""
