"""Commands that read one session: ``show``, ``restore``, ``tail``. All but ``restore`` stream, in bounded memory."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

import click
from msgspec import structs

from .. import (
    FileStore,
    HashedEntry,
    RestoredState,
    SessionId,
    restore,
)
from .base import App, common_options, example, runs
from .completion import complete_session
from .lookup import find_session
from .output import Refused
from .pager import paged, pager_option
from .records import print_record
from .selection import Seqs, make_selection, selection_options
from .short_ids import ShownId
from .summary import describe_config, summarize_item
from .text import counted, one_line, short

_PROMPT_CHARS: Final = 80
_TAIL_RECORDS_DEFAULT: Final = 10
_RESTORE_SHOWS_ITEMS: Final = 10
_SEQ_CHARS_MIN: Final = 4


@click.command(
    epilog=example(
        "sessionlog show 0190163d",
        "sessionlog show 0190163d --not-kind extension --not-kind agent_event",
        "sessionlog show 0190163d --seq 40..60 --full",
    )
)
@click.argument("session", metavar="ID", shell_complete=complete_session)
@click.option("--full", is_flag=True, help="Print everything that each record says.")
@selection_options
@pager_option
@common_options
@runs
async def show(
    app: App,
    session: str,
    *,
    full: bool,
    kinds: Sequence[str],
    other_than: Sequence[str],
    seqs: Seqs | None,
    pager: bool,
) -> None:
    """Show a session's records.

    Position, hash, time (UTC), kind and what it says. A terminal crops each line to its width and shows them in $PAGER,
    or else in less. A pipe gets up to 120 characters of what each record says. --full and --json give all of it. Every
    record is verified before it is shown.
    """
    selection = make_selection(seqs, kinds, other_than)
    async with app.open_store() as store:
        session_id = await find_session(store, session)
        misspelled = await selection.misspelled(store, session_id)
        if misspelled:
            raise Refused(misspelled)
        records = selection.filter(store.read(session_id, after=selection.seqs.after))
        shown = await paged(app.out, lambda: _print_records(app, store, session_id, records, full=full), wanted=pager)
    if shown == 0 and not selection.is_all:
        await app.out.note("no record is selected")


@click.command(epilog=example("sessionlog tail 0190163d -f", "sessionlog tail 0190163d -f --kind user_input"))
@click.argument("session", metavar="ID", shell_complete=complete_session)
@click.option("-f", "--follow", is_flag=True, help="Wait for more; Ctrl-C ends it.")
@click.option(
    "-n",
    "--records",
    "count",
    type=click.IntRange(min=0),
    default=_TAIL_RECORDS_DEFAULT,
    show_default=True,
    metavar="COUNT",
    help="How many of the last records to show.",
)
@click.option("--full", is_flag=True, help="Print everything that each record says.")
@selection_options
@common_options
@runs
async def tail(
    app: App,
    session: str,
    *,
    follow: bool,
    count: int,
    full: bool,
    kinds: Sequence[str],
    other_than: Sequence[str],
    seqs: Seqs | None,
) -> None:
    """Show a session's last records.

    With -f, those that come as well, as they come. Where --kind, --not-kind or --seq narrow it, COUNT is of the records
    that are left. Else only these are read and verified, however long the log is: "sessionlog verify" checks all of it.
    """
    selection = make_selection(seqs, kinds, other_than)
    async with app.open_store() as store:
        session_id = await find_session(store, session)
        misspelled = await selection.misspelled(store, session_id)
        if misspelled and not follow:
            raise Refused(misspelled)
        if misspelled:
            await app.out.note(f"{misspelled}; one may come yet")
        after = await selection.before_last(store, session_id, count)
        records = store.follow(session_id, after=after) if follow else store.read(session_id, after=after)
        await _print_records(app, store, session_id, selection.filter(records), full=full, at_once=follow)


@click.command(
    "restore", epilog=example("sessionlog restore 0190163d", "sessionlog restore 0190163d --json | jq .history")
)
@click.argument("session", metavar="ID", shell_complete=complete_session)
@common_options
@runs
async def restore_(app: App, session: str) -> None:
    """Show the state that a session resumes in.

    What its records add up to. With --json the whole of it as one object: system prompt, configuration, history, usage,
    the tool calls that no result answers.
    """
    async with app.open_store() as store:
        session_id = await find_session(store, session)
        state = await restore(store, session_id)
        await print_state(app, session_id, state, await app.shown_ids(store))


async def _print_records(
    app: App,
    store: FileStore,
    session_id: SessionId,
    records: AsyncIterator[HashedEntry],
    *,
    full: bool,
    at_once: bool = False,
) -> int:
    """Print ``records``; return how many there were."""
    head = await store.read_head(session_id)
    seq_chars = max(_SEQ_CHARS_MIN, len(str(head.seq if head else 0)))
    shown = 0
    async for record in records:
        shown += 1
        await print_record(app.out, record, seq_chars=seq_chars, full=full)
        if at_once:
            await app.out.flush()
    return shown


def state_object(session_id: SessionId, state: RestoredState) -> dict[str, object]:
    """Return a restored state as ``restore --json`` prints it."""
    return {
        "session_id": session_id,
        "head": None if state.head is None else structs.asdict(state.head),
        "forked_from": state.forked_from,
        "compacted_from": state.compacted_from,
        "system_prompt": state.system_prompt,
        "config": state.config,
        "turn_count": state.turn_count,
        "locked_prefix_len": state.locked_prefix_len,
        "last_run_interrupted": state.last_run_interrupted,
        "dangling_tool_calls": state.dangling_tool_calls,
        "history": state.history,
        "usage_history": state.usage_history,
        "extensions": state.extensions,
    }


async def print_state(
    app: App, session_id: SessionId, state: RestoredState, shown: ShownId, *, items_shown: int = _RESTORE_SHOWS_ITEMS
) -> None:
    """Print a restored state, for people with ids as they are ``shown`` and the last ``items_shown`` items."""
    if app.out.json:
        await app.out.object(state_object(session_id, state))
        return
    head = "no record yet" if state.head is None else f"record {state.head.seq} ({short(state.head.hash)})"
    rows = [("session", shown(session_id)), ("head", head)]
    for verb, origin in (("forked", state.forked_from), ("compacted", state.compacted_from)):
        if origin is not None:
            rows.append((f"{verb} from", f"{shown(origin.session_id)} at {short(origin.at_hash)}"))
    rows.append(("config", describe_config(state.config)))
    if state.system_prompt is not None:
        rows.append(("system prompt", one_line(state.system_prompt, chars_max=_PROMPT_CHARS)))
    locked = f", the first {state.locked_prefix_len:,} fixed" if state.locked_prefix_len else ""
    rows += [
        ("turns", f"{state.turn_count:,}" + (", the last run interrupted" if state.last_run_interrupted else "")),
        ("usage", _usage(state)),
        ("history", counted(len(state.history), "item") + locked),
    ]
    for label, value in rows:
        await app.out.row((f"{label:<14}  ", "bold"), rest=value)
    last = state.history[-items_shown:]
    if len(last) < len(state.history):
        await app.out.line((f"... {len(state.history) - len(last):,} before these", "dim"), indent=2)
    for item in last:
        await app.out.row(rest=summarize_item(item), indent=2)
    if state.dangling_tool_calls:
        unanswered = counted(len(state.dangling_tool_calls), "tool call")
        await app.out.line((f"{unanswered} without a result: answer before you resume", "bold yellow"))
    for call in state.dangling_tool_calls:
        await app.out.row(rest=summarize_item(call), indent=2)


def _usage(state: RestoredState) -> str:
    requests = state.usage_history
    tokens_in = sum(usage.input_total_tokens for usage in requests)
    cached = sum(usage.cache_read_tokens for usage in requests)
    tokens_out = sum(usage.output_tokens for usage in requests)
    return f"{counted(len(requests), 'request')}: {tokens_in:,} tokens in ({cached:,} cached), {tokens_out:,} out"
