"""The command of whoever checks a store against its anchors: ``audit-anchors``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import anyio
import click

from ..evidence import AnchorAudit, AuditState, audit_anchors, parse_policy
from .anchoring import EXIT_PENDING, anchors_option, parse_duration
from .base import EXIT_FINDINGS, EXIT_GOOD, App, common_options, example, runs
from .text import counted

_EXITS: Final = {
    AuditState.PROVED: EXIT_GOOD,
    AuditState.DISPROVED: EXIT_FINDINGS,
    AuditState.CONSISTENT: EXIT_PENDING,
}
_STYLES: Final = {
    AuditState.PROVED: "bold green",
    AuditState.DISPROVED: "bold red",
    AuditState.CONSISTENT: "bold yellow",
}

FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(
    "audit-anchors",
    epilog=example("sessionlog audit-anchors --anchors anchors --policy my-policy --since last"),
)
@anchors_option
@click.option("--policy", type=FILE, required=True, metavar="FILE", help="Your own policy: which keys you trust.")
@click.option("--since", type=FILE, metavar="FILE", help="The checkpoint of your last audit.")
@click.option(
    "--max-age",
    callback=parse_duration,
    metavar="TIME",
    help="How old, as 26h, unanchored records and the newest cosignature may be.",
)
@click.option(
    "--accept", "accepted", type=int, multiple=True, metavar="INDEX", help="A receipt of a loss that you accept, too."
)
@click.option(
    "--remember",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Keep the checkpoint there for the next audit, unless this one disproves.",
)
@common_options
@runs
async def audit_anchors_(
    app: App,
    *,
    anchors: str,
    policy: Path,
    since: Path | None,
    max_age: int | None,
    accepted: Sequence[int],
    remember: Path | None,
) -> int:
    """Check the store against its anchors.

    Replays every anchor under your own policy, then reads every session and compares it with all that was ever anchored
    of it. Names each session that was cut, rewritten, rolled back, removed without a receipt, or appended to after it
    was final. Records that are not anchored yet are counted apart. Exit status 0 if all of it is proved, 1 if
    something is disproved, 2 if you lack a file, 3 if it is consistent, and something was missing to prove it.
    """
    trusted = parse_policy(await anyio.Path(policy).read_bytes())
    seen = None if since is None else await anyio.Path(since).read_bytes()
    async with app.open_store() as store:
        audit = await audit_anchors(store, anchors, trusted, since=seen, max_age_s=max_age, accepted=accepted)
    if remember is not None and audit.state is not AuditState.DISPROVED:
        await anyio.Path(remember).write_bytes(audit.note)
    if app.out.json:
        await app.out.object(_object(audit))
    else:
        await _print(app, audit)
    return _EXITS[audit.state]


async def _print(app: App, audit: AnchorAudit) -> None:
    for finding in audit.findings:
        where = "" if finding.session_id is None else f"session {finding.session_id}: "
        await app.out.line((f"{finding.fault}: ", "bold red"), f"{where}{finding.reason}")
    for reason in audit.missing:
        await app.out.line(("not proved: ", "bold yellow"), reason)
    if audit.unanchored_records:
        records, sessions = counted(audit.unanchored_records, "record"), counted(audit.unanchored_sessions, "session")
        await app.out.line(("not anchored yet: ", "bold"), f"{records} in {sessions}")
    parts = [counted(audit.anchors, "anchor"), counted(audit.sessions, "session")]
    if audit.deleted:
        parts.append(f"{audit.deleted:,} deleted with a receipt")
    parts.append(f"cosigned by {', '.join(audit.witnesses)}" if audit.witnesses else "cosigned by no witness")
    size = "" if audit.checkpoint is None else f" as of {counted(audit.checkpoint.size, 'entry', 'entries')}"
    await app.out.line((audit.state.value.upper(), _STYLES[audit.state]), f"{size}: {', '.join(parts)}")


def _object(audit: AnchorAudit) -> dict[str, object]:
    checkpoint = audit.checkpoint
    return {
        "state": audit.state,
        "findings": [
            {"fault": one.fault, "session_id": one.session_id, "reason": one.reason} for one in audit.findings
        ],
        "missing": audit.missing,
        "origin": None if checkpoint is None else checkpoint.origin,
        "size": None if checkpoint is None else checkpoint.size,
        "root": None if checkpoint is None else checkpoint.root.hex(),
        "witnesses": audit.witnesses,
        "anchors": audit.anchors,
        "sessions": audit.sessions,
        "deleted": audit.deleted,
        "unanchored_records": audit.unanchored_records,
        "unanchored_sessions": audit.unanchored_sessions,
    }
