"""Commands that check: ``verify`` (bytes) and ``audit`` (meaning), FORMAT sections 5 and 7. Neither changes a file."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, TypeAlias

import click

from .. import (
    EntryNotFound,
    FileStore,
    Finding,
    LogState,
    Report,
    SessionId,
    Store,
    StoreFailed,
    Verdict,
    audit_session,
    audit_store,
    verify_session,
    verify_store,
)
from .base import EXIT_FINDINGS, EXIT_GOOD, EXIT_WRONG_USE, App, common_options, example, jobs_option, runs
from .completion import complete_session
from .lookup import find_sessions
from .short_ids import ShownId
from .text import SHORT_HASH_CHARS, counted, short

CheckOne: TypeAlias = Callable[[Store, SessionId], Awaitable[Report]]
CheckAll: TypeAlias = Callable[..., AsyncIterator[Report]]

_STATES: Final = {
    LogState.VALID: ("valid", "green"),
    LogState.TORN_TAIL: ("torn tail", "yellow"),
    LogState.BROKEN: ("BROKEN", "bold red"),
    LogState.UNREADABLE: ("unreadable", "bold red"),
}
"""The word for each state, and its style."""
_INDENT: Final = 11


@click.command(epilog=example("sessionlog verify", "sessionlog verify 0190163d --json"))
@click.argument("sessions", metavar="[ID]...", nargs=-1, shell_complete=complete_session)
@jobs_option
@common_options
@runs
async def verify(app: App, sessions: Sequence[str], jobs: int) -> int:
    """Check that no byte was changed.

    Hashes, links and positions of all sessions, or of those named. Exit status 1 if a log is broken: the first bad
    record is named; else 2 if a log cannot be read. A torn tail, an unfinished record as a crash leaves it, is told and
    is not broken. A cut tail or a rollback to an older copy do not show in a chain alone: keep head hashes elsewhere
    and compare them.
    """
    return await _check(app, sessions, "verifying", verify_session, verify_store, jobs=jobs)


@click.command(epilog=example("sessionlog audit", "sessionlog audit 0190163d --json"))
@click.argument("sessions", metavar="[ID]...", nargs=-1, shell_complete=complete_session)
@jobs_option
@common_options
@runs
async def audit(app: App, sessions: Sequence[str], jobs: int) -> int:
    """Check bytes, entries and origins.

    Whatever verify checks, of all sessions or of those named; then strict JSON, known entries that decode, and where
    forks and compactions say that they come from. Exit status as verify: a remark, such as that others may write to a
    log or to the store's directory, leaves it as it is.
    """
    async with app.open_store() as store:
        for remark in store.remarks():
            await app.out.note(f"sessionlog: remark: {remark}")
    return await _check(app, sessions, "auditing", audit_session, audit_store, jobs=jobs)


async def _check(
    app: App, texts: Sequence[str], doing: str, check_one: CheckOne, check_all: CheckAll, *, jobs: int
) -> int:
    """Check the sessions and print each report as it comes; return the exit status."""
    tally: Counter[LogState] = Counter()
    async with app.open_store() as store:
        session_ids = await find_sessions(store, texts) if texts else await store.list_sessions()
        reports = _each(store, session_ids, check_one) if texts else check_all(store, jobs=jobs)
        shown = await app.shown_ids(store)
        await print_heading(app)
        with app.out.progress(doing, len(session_ids)) as advance:
            async for report in reports:
                await print_report(app, report, shown)
                tally[_state(report)] += 1
                advance(1)
    if not app.out.json:
        states = ", ".join(f"{count:,} {_STATES[state][0].lower()}" for state, count in sorted(tally.items()))
        await app.out.line(f"{counted(tally.total(), 'session')}: {states or 'nothing to check'}")
    if tally[LogState.BROKEN]:
        return EXIT_FINDINGS
    return EXIT_WRONG_USE if tally[LogState.UNREADABLE] else EXIT_GOOD


async def _each(store: FileStore, session_ids: Sequence[SessionId], check: CheckOne) -> AsyncIterator[Report]:
    for session_id in session_ids:
        try:
            yield await check(store, session_id)
        except (StoreFailed, EntryNotFound) as error:
            verdict = Verdict(state=LogState.UNREADABLE, record_count=0, valid_bytes=0, reason=str(error))
            yield Report(session_id=session_id, verdict=verdict)


async def print_heading(app: App) -> None:
    """Print what the columns of :func:`print_report` are."""
    if not app.out.json:
        await app.out.row((f"{'STATE':<9}  RECORDS  {'HEAD':<{SHORT_HASH_CHARS}}  SESSION", "bold"))


async def print_report(app: App, report: Report, shown: ShownId) -> None:
    """Print what a check found in one session, and its id as it is ``shown``."""
    state, verdict = _state(report), report.verdict
    head_hash = None if verdict.head is None else verdict.head.hash
    if app.out.json:
        await app.out.object(
            {
                "session_id": report.session_id,
                "state": state,
                "records": verdict.record_count,
                "valid_bytes": verdict.valid_bytes,
                "torn_bytes": verdict.torn_bytes,
                "head_hash": head_hash,
                "reason": verdict.reason,
                "findings": [_finding_object(finding) for finding in report.findings],
                "remarks": report.remarks,
            }
        )
        return
    word, style = _STATES[state]
    await app.out.row(
        (f"{word:<11}", style),
        f"{verdict.record_count:>7,}  ",
        (f"{short(head_hash or '-'):<{SHORT_HASH_CHARS}}  ", "yellow"),
        (shown(report.session_id), "cyan"),
    )
    if state is LogState.TORN_TAIL:
        await app.out.line(verdict.reason or "an unfinished record at the end", indent=_INDENT)
    if state is LogState.UNREADABLE:
        await app.out.line(f"cannot be read: {verdict.reason}", indent=_INDENT)
    for finding in report.findings:
        await app.out.line((_where(finding), "bold"), f"{finding.damage}: {finding.reason}", indent=_INDENT)
    for remark in report.remarks:
        await app.out.line(("remark: ", "bold"), remark, indent=_INDENT)


def _state(report: Report) -> LogState:
    """A log whose bytes are right and whose meaning is not is broken too."""
    return LogState.BROKEN if report.findings else report.verdict.state


def _finding_object(finding: Finding) -> dict[str, object]:
    members = ("damage", "seq", "line", "offset", "reason")
    return {name: getattr(finding, name) for name in members}


def _where(finding: Finding) -> str:
    if finding.offset is None:
        return ""  # no byte of it could be read
    return f"record {finding.seq} (line {finding.line}, byte {finding.offset}): "
