"""Commands that read: ``list``, ``show``, ``restore``, ``tail``. All but ``restore`` stream, in bounded memory."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import anyio
import click
from msgspec import structs

from .. import (
    CorruptLog,
    FileStore,
    HashedEntry,
    Head,
    RestoredState,
    SessionId,
    SessionNotFound,
    SessionOrigin,
    SessionStart,
    StoreFailed,
    restore,
)
from .base import App, common_options, example, runs, tell_faults
from .completion import complete_session
from .lookup import find_session
from .output import Refused, Segment
from .pager import paged, pager_option
from .records import print_record
from .selection import Seqs, make_selection, selection_options
from .short_ids import ShownId, column
from .summary import describe_config, summarize_item, user_words
from .text import counted, one_line, short, utc

_LIST_READS_RECORDS: Final = 16
"""The first message is looked for among so many records at a session's start."""
_PROMPT_CHARS: Final = 80
_TAIL_RECORDS_DEFAULT: Final = 10
_RESTORE_SHOWS_ITEMS: Final = 10
_SEQ_CHARS_MIN: Final = 4


@dataclass
class _Listed:
    """One row of ``list``; ``fault`` is why the rest is not known."""

    session_id: SessionId
    last_written_ms: int
    head: Head | None = None
    forked_from: SessionOrigin | None = None
    compacted_from: SessionOrigin | None = None
    first_message: str = ""
    fault: CorruptLog | StoreFailed | None = None


@click.command("list", epilog=example("sessionlog list", "sessionlog list --json | jq -r .session_id"))
@common_options
@runs
async def list_(app: App) -> int:
    """List the sessions, last written first."""
    async with app.open_store() as store:
        faults = await print_list(app, store)
    return await tell_faults(app, faults)


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


async def print_list(app: App, store: FileStore) -> list[CorruptLog | StoreFailed]:
    """Print a row for each session of ``store``; return why some could not be read."""
    faults: list[CorruptLog | StoreFailed] = []
    session_ids = await store.list_sessions()
    if not session_ids:
        await app.out.note(f"there is no session in {app.store_name} yet")
    shown = await app.shown_ids(store)
    width = column(map(shown, session_ids)) if app.out.is_terminal else 0
    if session_ids and not app.out.json:
        await app.out.row((f"RECORDS  {'LAST WRITTEN':<16}  {'SESSION':<{width}}  FIRST MESSAGE", "bold"))
    for session_id in session_ids:
        try:
            row = await _look_at(store, session_id)
        except SessionNotFound:
            continue  # gone since it was listed
        await _print_row(app, row, f"{shown(session_id):<{width}}")
        if row.fault is not None:
            faults.append(row.fault)
    return faults


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


async def _look_at(store: FileStore, session_id: SessionId) -> _Listed:
    """Return what ``list`` tells of a session, at a cost that does not grow with its log."""
    path = anyio.Path(store.root) / f"{session_id}.jsonl"
    try:
        row = _Listed(session_id, (await path.lstat()).st_mtime_ns // 1_000_000)
    except FileNotFoundError:
        raise SessionNotFound(session_id) from None
    try:
        row.head = await store.read_head(session_id)
        if row.head is not None:
            await _read_start(store, row)
    except (CorruptLog, StoreFailed) as fault:
        row.fault = fault
    return row


async def _read_start(store: FileStore, row: _Listed) -> None:
    """Learn from the first records where a session came from and how its conversation began."""
    async with aclosing(store.read(row.session_id)) as records:
        async for record in records:
            entry = record.entry
            if isinstance(entry, SessionStart):
                row.forked_from, row.compacted_from = entry.forked_from, entry.compacted_from
            row.first_message = user_words(entry)
            if row.first_message or record.seq + 1 == _LIST_READS_RECORDS:
                return


async def _print_row(app: App, row: _Listed, shown_id: str) -> None:
    records = 0 if row.head is None else row.head.seq + 1
    if app.out.json:
        await app.out.object(
            {
                "session_id": row.session_id,
                "records": None if row.fault else records,
                "head_hash": None if row.head is None else row.head.hash,
                "last_written_ms": row.last_written_ms,
                "first_message": row.first_message,
                "forked_from": row.forked_from,
                "compacted_from": row.compacted_from,
                "fault": None if row.fault is None else row.fault.reason,
            }
        )
        return
    count: Segment = f"{records:>7,}"
    if row.fault is not None:
        count = ("damaged" if isinstance(row.fault, CorruptLog) else "      -", "bold red")
    unreadable = f"cannot be read: {row.fault.reason}" if isinstance(row.fault, StoreFailed) else ""
    origin = "(fork) " if row.forked_from else "(compacted) " if row.compacted_from else ""
    await app.out.row(
        count,
        (f"  {utc(row.last_written_ms)[:16]}  ", "dim"),
        (shown_id, "cyan"),
        rest=f"  {origin}{unreadable or row.first_message}",
    )


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
