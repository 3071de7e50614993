"""The command line's root: its commands, and every error as one line with an exit status.

Exit status: 0 good, 1 findings (a broken log), 2 wrong use or something that is not there, 130 Ctrl-C, 141 the reader
of standard output has gone.
"""

import sys
from collections.abc import Sequence
from typing import Any

import click

from .. import CorruptLog, EntryNotFound, SessionLogError, SessionNotFound
from .base import EXIT_BROKEN_PIPE, EXIT_FINDINGS, EXIT_GOOD, EXIT_INTERRUPTED, EXIT_WRONG_USE, common_options, example
from .checking import audit, verify
from .demo import demo
from .graph import graph
from .importing import import_
from .output import silence_stdout
from .reading import list_, restore_, show, tail
from .text import safe
from .writing import append, fork


def run(args: Sequence[str]) -> int:
    """Run the command line on ``args``; return the exit status. Errors have been told by then."""
    status: int = cli.main(args=list(args), prog_name="sessionlog", standalone_mode=False)
    return status


class Program(click.Group):
    """The group of commands, telling errors in one line each."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run; return the exit status, or exit with it if ``standalone_mode``."""
        try:
            result = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
            status = result if isinstance(result, int) else EXIT_GOOD
        except Exception as error:  # noqa: BLE001 - nobody at a terminal is shown a traceback
            status = tell(error)
        if standalone_mode:
            sys.exit(status)
        return status


def tell(error: BaseException) -> int:
    """Print ``error`` to standard error, in one line that says what to do; return the exit status.

    In Python's development mode (``python -X dev``) an error that is nobody's fault but ours comes with its traceback.
    """
    match error:
        case click.Abort():
            return EXIT_INTERRUPTED
        case BrokenPipeError():
            silence_stdout()
            return EXIT_BROKEN_PIPE
        case click.exceptions.NoArgsIsHelpError():
            error.show()
            return EXIT_WRONG_USE
        case click.ClickException() | SessionLogError() | OSError():
            message = _message(error)
        case _:
            if sys.flags.dev_mode:
                raise error
            message = f"internal error, please report it: {type(error).__name__}: {error}"
    click.echo(f"sessionlog: {safe(message)}", err=True)
    return EXIT_FINDINGS if isinstance(error, CorruptLog) else EXIT_WRONG_USE


def _message(error: click.ClickException | SessionLogError | OSError) -> str:
    match error:
        case click.UsageError(ctx=context):
            hint = f" (see '{context.command_path} --help')" if context is not None else ""
            return " ".join(error.format_message().split()).rstrip(".") + hint
        case click.ClickException():
            return error.format_message()
        case CorruptLog():
            return f"{error}; 'sessionlog audit' tells more"
        case SessionNotFound():
            return f"{error}: 'sessionlog list' names those that are"
        case EntryNotFound():
            return f"{error}: 'sessionlog show {error.session_id}' prints those that it holds"
        case OSError(strerror=str(reason), filename=filename):
            return reason if filename is None else f"{filename}: {reason}"
        case _:
            return str(error)


def _print_version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - nothing else needs it

    try:
        click.echo(f"sessionlog {version('sessionlog')}")
    except PackageNotFoundError:
        click.echo("sessionlog (run from its source)")
    context.exit()


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=example(
        "sessionlog demo", "sessionlog import claude-code ~/.claude/projects", "sessionlog list", "sessionlog verify"
    ),
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Print the version."
)
@common_options
def cli() -> None:
    """Hash-chained, append-only session logs of AI agents: write, read, prove.

    Ids and hashes may be abbreviated to any beginning that only one has. Exit status: 0 good, 1 a broken log, 2 wrong
    use or something that is not there.
    """


for _command in (demo, import_, list_, show, verify, audit, restore_, fork, tail, graph, append):
    cli.add_command(_command)
