"""The commands of whoever keeps a store: ``keys``, ``anchor`` and ``finalize``."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import anyio
import click

from ..evidence import (
    Anchored,
    AnySink,
    ProgramSigner,
    anchor_store,
    default_keys,
    make_keys,
    parse_signer,
    parse_sink,
    read_vkey,
)
from .base import (
    EXIT_FINDINGS,
    EXIT_GOOD,
    AnyCommand,
    App,
    common_options,
    example,
    runs,
)
from .completion import complete_session
from .lookup import find_sessions
from .output import Refused
from .text import counted

ANCHORS_VARIABLE: Final = "SESSIONLOG_ANCHORS"
KEYS_VARIABLE: Final = "SESSIONLOG_KEYS"
EXIT_PENDING: Final = 3
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def anchors_option(command: AnyCommand) -> AnyCommand:
    """Add ``--anchors``, the directory of the anchors."""
    return click.option(
        "--anchors",
        metavar="DIR",
        envvar=ANCHORS_VARIABLE,
        required=True,
        help=f"The directory of the anchors.  [${ANCHORS_VARIABLE}]",
    )(command)


def keys_option(command: AnyCommand) -> AnyCommand:
    """Add ``--keys``, the directory of the key."""
    return click.option(
        "--keys",
        metavar="DIR",
        envvar=KEYS_VARIABLE,
        help=f"The directory of the key.  [${KEYS_VARIABLE}, else ~/.config/sessionlog/keys]",
    )(command)


def _sinks_option(command: AnyCommand) -> AnyCommand:
    return click.option(
        "--sink",
        "sinks",
        metavar="SINK",
        multiple=True,
        callback=_parse_sinks,
        help="Where checkpoints go: dir:PATH copies all but the secrets, exec:PROGRAM gets the checkpoint on its "
        "standard input, witness:URL is asked to cosign it. May be given several times.",
    )(command)


def _signer_option(command: AnyCommand) -> AnyCommand:
    return click.option(
        "--signer",
        metavar="exec:PROGRAM",
        help="A program that keeps the key: it gets the bytes on its standard input and prints their Ed25519 "
        "signature, 64 bytes.",
    )(command)


def _parse_sinks(_context: click.Context, _option: click.Parameter, values: Sequence[str]) -> list[AnySink]:
    try:
        return [parse_sink(value) for value in values]
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def parse_duration(_context: click.Context, _option: click.Parameter, value: str | None) -> int | None:
    """Return the seconds of a time such as ``60s``, ``5m``, ``26h`` or ``7d``; a click callback."""
    if value is None:
        return None
    match = re.fullmatch(r"([1-9][0-9]{0,8})([smhd])", value, re.ASCII)
    if match is None:
        raise click.BadParameter(f"{value!r} is not a time such as 60s, 5m, 26h or 7d")
    return int(match[1]) * _UNITS_S[match[2]]


@click.group(epilog=example("sessionlog keys init example.com/agents/store", "sessionlog keys vkey"))
@common_options
def keys() -> None:
    """Make and show the key that signs anchors."""


@keys.command(epilog=example("sessionlog keys init example.com/agents/store"))
@click.argument("origin", metavar="ORIGIN")
@keys_option
@click.option(
    "--public-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Make no key: a program keeps it, for --signer, and this is its public half, as PEM.",
)
@common_options
@runs
async def init(app: App, origin: str, keys: str | None, public_key: Path | None) -> int:
    """Make the key of a new anchor log and print its public half.

    ORIGIN names the log for ever, like a URL without its scheme. Give the public half, the verifier key, to whoever is
    to check the anchors, by a way that cannot be changed later. Back the directory up; keep it out of the store.
    """
    directory = _keys(app, keys)
    public_pem = None if public_key is None else await anyio.Path(public_key).read_bytes()
    vkey = make_keys(directory, origin, public_key=public_pem)
    await _print_vkey(app, str(vkey))
    if public_key is None:
        await app.out.note(f"the private key is {directory / 'log.key'}")
    return EXIT_GOOD


@keys.command(epilog=example("sessionlog keys vkey"))
@keys_option
@common_options
@runs
async def vkey(app: App, keys: str | None) -> int:
    """Print the public half of the key, for the policy of whoever checks the anchors."""
    await _print_vkey(app, str(read_vkey(_keys(app, keys))))
    return EXIT_GOOD


async def _print_vkey(app: App, vkey: str) -> None:
    if app.out.json:
        await app.out.object({"vkey": vkey})
    else:
        await app.out.row(vkey)


@click.command(
    epilog=example(
        "sessionlog anchor --anchors /backup/anchors --sink dir:/mnt/auditor", "sessionlog anchor --every 60s"
    )
)
@anchors_option
@keys_option
@_sinks_option
@_signer_option
@click.option(
    "--every", callback=parse_duration, metavar="TIME", help="Go on until Ctrl-C, a run each TIME, such as 60s."
)
@click.option(
    "--accept-loss",
    "losses",
    metavar="ID",
    multiple=True,
    help="A session that is damaged, shorter or gone, and will not come back: write a receipt that fails every audit "
    "whose auditor does not accept it, too.",
)
@click.option("--reason", metavar="TEXT", help="Why, with --accept-loss.")
@click.option(
    "--recover-from",
    type=click.Path(exists=True, file_okay=False),
    metavar="DIR",
    help="The anchors are lost, or from an old backup: restore them from this dir: sink first.",
)
@common_options
@runs
async def anchor(
    app: App,
    *,
    anchors: str,
    keys: str | None,
    sinks: Sequence[AnySink],
    signer: str | None,
    every: int | None,
    losses: Sequence[str],
    reason: str | None,
    recover_from: str | None,
) -> int:
    """Sign what the store holds now.

    Reads what changed since the last run, verified, and signs the catalog of all sessions as the next entry of the
    anchor log. Records younger than the last run are not covered. Exit status 0 if all is anchored, 1 if a session
    could not be (each is named; the others are anchored), 2 if nothing was signed, 3 if the checkpoint does not meet
    the quorum of the policy yet or a sink did not take it: the next run tries again.
    """
    if losses and not reason:
        raise Refused("say why the loss is accepted: --reason TEXT")
    accept_loss = dict.fromkeys(losses, reason or "")
    while True:
        status = await _run(
            app, anchors, keys, sinks, signer=signer, accept_loss=accept_loss, recover_from=recover_from
        )
        if every is None:
            return status
        recover_from = None
        await app.out.flush()
        await anyio.sleep(every)


@click.command(epilog=example("sessionlog finalize 0190163d --anchors /backup/anchors"))
@click.argument("sessions", metavar="ID...", nargs=-1, required=True, shell_complete=complete_session)
@anchors_option
@keys_option
@_sinks_option
@_signer_option
@common_options
@runs
async def finalize(
    app: App, *, sessions: Sequence[str], anchors: str, keys: str | None, sinks: Sequence[AnySink], signer: str | None
) -> int:
    """Anchor sessions for the last time.

    Whatever is appended to one afterwards, by anybody, is disproved by an audit. There is no way back: to go on, fork
    the session. Anchors the whole store as 'anchor' does, with the same exit status.
    """
    async with app.open_store() as store:
        session_ids = await find_sessions(store, sessions)
    return await _run(app, anchors, keys, sinks, signer=signer, session_ids=session_ids)


async def _run(
    app: App,
    anchors: str,
    keys: str | None,
    sinks: Sequence[AnySink],
    *,
    signer: str | None,
    session_ids: Sequence[str] = (),
    accept_loss: Mapping[str, str] | None = None,
    recover_from: str | None = None,
) -> int:
    _check_apart(app, Path(anchors), "the anchors")
    directory = _keys(app, keys)
    async with app.open_store() as store:
        done = await anchor_store(
            store,
            anchors,
            keys=directory,
            sinks=sinks,
            finalize=session_ids,
            accept_loss=accept_loss,
            signer=None if signer is None else _signer(signer, directory),
            recover_from=recover_from,
        )
    if app.out.json:
        await app.out.object(_object(done))
    else:
        await _print(app, done)
    if done.faults:
        return EXIT_FINDINGS
    return EXIT_PENDING if done.pending or done.unsent else EXIT_GOOD


async def _print(app: App, done: Anchored) -> None:
    for session_id, reason in done.faults.items():
        await app.out.note(f"sessionlog: not anchored: {session_id}: {reason}")
    for warning in done.warnings:
        await app.out.note(f"sessionlog: {warning}")
    if done.unsent is not None:
        await app.out.note(f"sessionlog: {done.unsent}")
    what = f"{counted(done.changed, 'session')} changed, {counted(done.records, 'record')} read"
    state = ", waiting for the quorum" if done.pending else ""
    await app.out.line(f"{counted(done.size, 'entry', 'entries')}, root {done.root.hex()}: {what}{state}")


def _object(done: Anchored) -> dict[str, object]:
    return {
        "size": done.size,
        "root": done.root.hex(),
        "sessions": done.sessions,
        "changed": done.changed,
        "records": done.records,
        "deleted": done.deleted,
        "faults": done.faults,
        "pending": done.pending,
        "unsent": done.unsent,
        "warnings": done.warnings,
    }


def _signer(text: str, keys: Path) -> ProgramSigner:
    try:
        return parse_signer(text, read_vkey(keys))
    except ValueError as error:
        raise Refused(str(error)) from error


def _keys(app: App, keys: str | None) -> Path:
    directory = default_keys() if keys is None else Path(keys)
    _check_apart(app, directory, "the key")
    return directory


def _check_apart(app: App, directory: Path, what: str) -> None:
    """Refuse what would lie in the store: whoever may write there could change both."""
    if directory.resolve().is_relative_to(app.root.resolve()):
        raise Refused(f"keep {what} out of the store: {directory} is in {app.store_name}")


__all__ = ["anchor", "anchors_option", "finalize", "keys", "keys_option", "parse_duration"]
