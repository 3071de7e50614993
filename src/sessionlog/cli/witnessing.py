"""The commands of whoever runs a witness: ``witness init``, ``witness add-checkpoint`` and ``witness serve``."""

import sys
import threading
from functools import partial
from typing import Final

import anyio
import anyio.to_thread
import click

from ..evidence import CheckpointWitness, WitnessServer, make_witness
from ..evidence.witness_protocol import REQUEST_BYTES_MAX
from .base import EXIT_GOOD, AnyCommand, App, common_options, example, runs
from .output import Refused

WITNESS_VARIABLE: Final = "SESSIONLOG_WITNESS"


def _dir_option(command: AnyCommand) -> AnyCommand:
    return click.option(
        "--dir",
        "directory",
        metavar="DIR",
        envvar=WITNESS_VARIABLE,
        required=True,
        help=f"The directory of the witness.  [${WITNESS_VARIABLE}]",
    )(command)


@click.group(
    epilog=example(
        "sessionlog witness init example.com/witness --dir witness", "sessionlog witness serve --dir witness"
    )
)
@common_options
def witness() -> None:
    """Cosign checkpoints of other machines.

    Each only if it extends the one before, so that nobody can be shown another history.
    """


@witness.command(epilog=example("sessionlog witness init example.com/witness --dir witness > witness.vkey"))
@click.argument("name", metavar="NAME")
@_dir_option
@common_options
@runs
async def init(app: App, name: str, directory: str) -> int:
    """Make the key of a new witness and print its public half.

    NAME is the witness's own, like a URL without its scheme. Write the verifier keys of the logs that it is to cosign
    into the file 'logs' in DIR, one a line. Never restore DIR from a backup: a witness that forgets what it cosigned
    would cosign a rollback.
    """
    vkey = make_witness(directory, name)
    if app.out.json:
        await app.out.object({"vkey": str(vkey)})
    else:
        await app.out.row(str(vkey))
    return EXIT_GOOD


@witness.command("add-checkpoint", epilog=example("sessionlog witness add-checkpoint --dir witness < request"))
@_dir_option
@common_options
@runs
async def add_checkpoint(app: App, directory: str) -> int:
    """Answer one request on standard input.

    For a log that reaches this machine by ssh: it anchors with --sink 'witness:exec:ssh HOST sessionlog witness
    add-checkpoint --dir DIR'. Takes a request of the witness protocol (C2SP tlog-witness), and prints the status on a
    line of its own, then the answer. Exit status 0 if it answered, a refusal included.
    """
    if sys.stdin is None:
        raise Refused("standard input is closed: pipe the request in")
    answering = CheckpointWitness(directory)
    request = await anyio.to_thread.run_sync(sys.stdin.buffer.read, REQUEST_BYTES_MAX + 1, abandon_on_cancel=True)
    answer = await anyio.to_thread.run_sync(answering.add_checkpoint, request)
    await app.out.raw(answer.encode())
    return EXIT_GOOD


@witness.command(epilog=example("sessionlog witness serve --dir witness --listen 127.0.0.1:8080"))
@_dir_option
@click.option(
    "--listen", default="127.0.0.1:8080", show_default=True, metavar="HOST:PORT", help="Where; port 0 is any free one."
)
@common_options
@runs
async def serve(app: App, directory: str, listen: str) -> int:
    """Answer requests over HTTP until Ctrl-C.

    Speaks the witness protocol (C2SP tlog-witness) for logs that anchor with --sink witness:URL. It is plain HTTP: put
    a reverse proxy before it for TLS. The file 'logs' is read anew for each request.
    """
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise Refused(f"--listen takes HOST:PORT, such as 127.0.0.1:8080, not {listen!r}")
    answering = CheckpointWitness(directory)
    with WitnessServer(answering, host.removeprefix("[").removesuffix("]"), int(port)) as server:
        await app.out.line(f"{answering.key.name} listens at {server.url}")
        await app.out.flush()
        thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.1))
        thread.start()
        try:
            await anyio.sleep_forever()
        finally:
            server.shutdown()
            thread.join()
    return EXIT_GOOD
