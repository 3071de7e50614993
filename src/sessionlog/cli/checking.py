"""Commands that check: ``verify`` (bytes) and ``audit`` (meaning), FORMAT sections 5 and 7. Neither changes a file."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeAlias

import click

from .. import (
    FileStore,
    Finding,
    LogState,
    Report,
    SessionId,
    Store,
    audit_session,
    audit_store,
    verify_session,
    verify_store,
)
from .base import EXIT_FINDINGS, EXIT_GOOD, App, common_options, example, runs
from .completion import complete_session
from .lookup import find_sessions
from .text import SHORT_HASH_CHARS, counted, short

CheckOne: TypeAlias = Callable[[Store, SessionId], Awaitable[Report]]
CheckAll: TypeAlias = Callable[[Store], AsyncIterator[Report]]

_STATE_STYLES = {LogState.VALID: "green", LogState.TORN_TAIL: "yellow", LogState.BROKEN: "bold red"}
_STATE_WORDS = {LogState.VALID: "valid", LogState.TORN_TAIL: "torn tail", LogState.BROKEN: "BROKEN"}


@click.command(epilog=example("sessionlog verify", "sessionlog verify 0190163d --json"))
@click.argument("sessions", metavar="[ID]...", nargs=-1, shell_complete=complete_session)
@common_options
@runs
async def verify(app: App, sessions: Sequence[str]) -> int:
    """Check that no byte was changed.

    Hashes, links and positions of all sessions, or of those named. Exit status 1 if a log is broken: the first bad
    record is named. A torn tail, an unfinished record as a crash leaves it, is told and is not broken. A cut tail or a
    rollback to an older copy do not show in a chain alone: keep head hashes elsewhere and compare them.
    """
    return await _check(app, sessions, "verifying", verify_session, verify_store)


@click.command(epilog=example("sessionlog audit", "sessionlog audit 0190163d --json"))
@click.argument("sessions", metavar="[ID]...", nargs=-1, shell_complete=complete_session)
@common_options
@runs
async def audit(app: App, sessions: Sequence[str]) -> int:
    """Check bytes, entries and origins.

    Whatever verify checks, of all sessions or of those named; then strict JSON, known entries that decode, and where
    forks and compactions say that they come from. Exit status as verify.
    """
    return await _check(app, sessions, "auditing", audit_session, audit_store)


async def _check(app: App, texts: Sequence[str], doing: str, check_one: CheckOne, check_all: CheckAll) -> int:
    """Check the sessions and print each report as it comes; return the exit status."""
    tally: Counter[LogState] = Counter()
    async with app.open_store() as store:
        session_ids = await find_sessions(store, texts) if texts else await store.list_sessions()
        reports = _each(store, session_ids, check_one) if texts else check_all(store)
        await print_heading(app)
        with app.out.progress(doing, len(session_ids)) as advance:
            async for report in reports:
                await print_report(app, report)
                tally[_state(report)] += 1
                advance(1)
    if not app.out.json:
        states = ", ".join(f"{count:,} {_STATE_WORDS[state].lower()}" for state, count in sorted(tally.items()))
        await app.out.line(f"{counted(tally.total(), 'session')}: {states or 'nothing to check'}")
    return EXIT_FINDINGS if tally[LogState.BROKEN] else EXIT_GOOD


async def _each(store: FileStore, session_ids: Sequence[SessionId], check: CheckOne) -> AsyncIterator[Report]:
    for session_id in session_ids:
        yield await check(store, session_id)


async def print_heading(app: App) -> None:
    """Print what the columns of :func:`print_report` are."""
    if not app.out.json:
        await app.out.row((f"{'STATE':<9}  RECORDS  {'HEAD':<{SHORT_HASH_CHARS}}  SESSION", "bold"))


async def print_report(app: App, report: Report) -> None:
    """Print what a check found in one session."""
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
                "findings": [_finding_object(finding) for finding in report.findings],
            }
        )
        return
    await app.out.row(
        (f"{_STATE_WORDS[state]:<9}", _STATE_STYLES[state]),
        f"  {verdict.record_count:>7,}  ",
        (f"{short(head_hash or '-'):<{SHORT_HASH_CHARS}}  ", "yellow"),
        (report.session_id, "cyan"),
    )
    if state is LogState.TORN_TAIL:
        await app.out.line(verdict.reason or "an unfinished record at the end", indent=11)
    for finding in report.findings:
        await app.out.line((_where(finding), "bold"), f"{finding.damage}: {finding.reason}", indent=11)


def _state(report: Report) -> LogState:
    """A log whose bytes are right and whose meaning is not is broken too."""
    return report.verdict.state if report.ok else LogState.BROKEN


def _finding_object(finding: Finding) -> dict[str, object]:
    members = ("damage", "seq", "line", "offset", "reason")
    return {name: getattr(finding, name) for name in members}


def _where(finding: Finding) -> str:
    if finding.offset is None:
        return ""  # no byte of it could be read
    return f"record {finding.seq} (line {finding.line}, byte {finding.offset}): "
