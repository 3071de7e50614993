"""The commands about proofs: ``prove``, from a store and its anchors, and ``check-proof``, from a file alone."""

from datetime import UTC, datetime
from pathlib import Path

import anyio
import anyio.to_thread
import click

from ..evidence import (
    CheckedProof,
    InvalidEvidence,
    Proved,
    check_proof,
    parse_policy,
    prove_absent,
    prove_complete,
    prove_receipt,
    prove_record,
)
from .anchoring import anchors_option
from .base import EXIT_FINDINGS, EXIT_GOOD, App, common_options, example, runs
from .completion import complete_session
from .lookup import find_session
from .output import Refused
from .text import counted

_PROOF_SUFFIX = ".tlog-proof"
_RECORDS_SUFFIX = ".jsonl"


@click.command(
    epilog=example(
        "sessionlog prove 0190163d 12 --anchors anchors --output for-ada",
        "sessionlog prove 0190163d --complete --anchors anchors --output for-ada",
        "sessionlog prove --absent some-id --anchors anchors --output for-ada",
    )
)
@click.argument("session", metavar="[ID]", required=False, shell_complete=complete_session)
@click.argument("seq", metavar="[SEQ]", required=False, type=click.IntRange(min=0))
@click.option("--complete", is_flag=True, help="All records of the session, and that they are all.")
@click.option("--absent", metavar="ID", help="That there is no session of this id, and never was.")
@click.option("--receipt", type=click.IntRange(min=0), metavar="INDEX", help="The receipt at this entry.")
@anchors_option
@click.option("--output", metavar="NAME", required=True, help="Write NAME.tlog-proof and, for records, NAME.jsonl.")
@common_options
@runs
async def prove(
    app: App,
    *,
    session: str | None,
    seq: int | None,
    complete: bool,
    absent: str | None,
    receipt: int | None,
    anchors: str,
    output: str,
) -> int:
    """Prove a record, a session or an absence.

    Writes a proof for somebody who has neither the store nor its anchors: of one record, at position SEQ; of a whole
    session; that there is no session of an id; or of a receipt; as of the newest checkpoint. It discloses nothing
    else: no other record, and no other session. Whoever gets it checks it with 'sessionlog check-proof' and a policy of
    his own.
    """
    wanted = [session is not None and seq is not None, complete, absent is not None, receipt is not None]
    if sum(wanted) != 1 or (complete and session is None) or (session is not None and wanted[2:] != [False, False]):
        raise Refused("say what to prove: ID SEQ, ID --complete, --absent ID or --receipt INDEX")
    if session is None:
        made = await anyio.to_thread.run_sync(
            lambda: prove_receipt(anchors, receipt or 0) if absent is None else prove_absent(anchors, absent)
        )
    else:
        async with app.open_store() as store:
            session_id = await find_session(store, session)
            made = await (
                prove_complete(store, anchors, session_id)
                if seq is None
                else prove_record(store, anchors, session_id, seq)
            )
    await _write(app, made, output)
    return EXIT_GOOD


async def _write(app: App, made: Proved, output: str) -> None:
    names = {output + _PROOF_SUFFIX: made.proof}
    if made.records:
        names[output + _RECORDS_SUFFIX] = made.records
    for name, data in names.items():
        async with await anyio.open_file(name, "xb") as file:
            await file.write(data)
        if app.out.json:
            await app.out.object({"file": name, "bytes": len(data)})
        else:
            await app.out.line(f"{name}: {len(data):,} bytes")


@click.command("check-proof", epilog=example("sessionlog check-proof for-ada.tlog-proof --policy my-policy"))
@click.argument("proof", metavar="PROOF", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--policy",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    metavar="FILE",
    help="Your own policy: which keys you trust.",
)
@click.option(
    "--records",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The records.  [NAME.jsonl beside NAME.tlog-proof]",
)
@common_options
@runs
async def check_proof_(app: App, proof: Path, policy: Path, records: Path | None) -> int:
    """Check a proof; no store is needed.

    Says in one line what is proved, as of which checkpoint, and which witnesses had seen that by when. Exit status 0 if
    it is proved, 1 if not, 2 if a file is not there or the policy is wrong.
    """
    trusted = parse_policy(await anyio.Path(policy).read_bytes())
    data = await anyio.Path(proof).read_bytes()
    beside = anyio.Path(proof.with_suffix(_RECORDS_SUFFIX) if records is None else records)
    lines = await beside.read_bytes() if await beside.exists() else None
    try:
        checked = check_proof(data, trusted, lines)
    except InvalidEvidence as error:
        if app.out.json:
            await app.out.object({"proved": False, "reason": error.reason})
        else:
            await app.out.line(("NOT PROVED: ", "bold red"), error.reason)
        return EXIT_FINDINGS
    if app.out.json:
        await app.out.object(_object(checked))
    else:
        await app.out.line(("PROVED: ", "bold green"), f"{_claim(checked)}, {_as_of(checked)}")
    return EXIT_GOOD


def _claim(checked: CheckedProof) -> str:
    name, statement, receipt = checked.session_id, checked.statement, checked.receipt
    if receipt is not None:
        words = f"{receipt.kind} of session {name}, {counted(receipt.records, 'record')}"
        said = [f"{what} {text}" for what, text in (("by", receipt.by), ("reason:", receipt.reason)) if text]
        return ", ".join([words, *said])
    if statement is None:
        return f"there is no session {name}, and there was none"
    of = f"session {name} ({statement.state}, generation {statement.generation})"
    if checked.seq is None:
        return f"these {counted(statement.records, 'record')} are all of {of}"
    return f"this is record {checked.seq} of {statement.records} of {of}"


def _as_of(checked: CheckedProof) -> str:
    checkpoint = checked.checkpoint.checkpoint
    by = "; ".join(f"{name} by {_time(time_s)}" for name, time_s in _witnesses(checked).items())
    seen = f"seen by {by}" if by else f"seen by no witness; {_time(checked.time_ms // 1000)} on the keeper's word"
    return f"as of {counted(checkpoint.size, 'entry', 'entries')} of {checkpoint.origin}, {seen}"


def _witnesses(checked: CheckedProof) -> dict[str, int]:
    """Return the earliest time at which each witness had seen it."""
    earliest: dict[str, int] = {}
    for one in checked.checkpoint.cosignatures:
        earliest[one.key.name] = min(one.time_s, earliest.get(one.key.name, one.time_s))
    return earliest


def _time(time_s: int) -> str:
    try:
        return datetime.fromtimestamp(time_s, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return f"second {time_s}"


def _object(checked: CheckedProof) -> dict[str, object]:
    statement, receipt, checkpoint = checked.statement, checked.receipt, checked.checkpoint.checkpoint
    return {
        "proved": True,
        "kind": checked.kind,
        "session_id": checked.session_id,
        "seq": checked.seq,
        "records": receipt.records if receipt is not None else None if statement is None else statement.records,
        "state": None if statement is None else statement.state,
        "generation": None if statement is None else statement.generation,
        "by": None if receipt is None else receipt.by,
        "reason": None if receipt is None else receipt.reason,
        "anchored_ms": checked.time_ms,
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "witnesses": _witnesses(checked),
    }
