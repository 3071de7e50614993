"""The command line's root: its commands, and every error as one line with an exit status.

Exit status: 0 good, 1 findings (a broken log), 2 wrong use or something that is not there, 130 Ctrl-C, 141 the reader
of standard output has gone.
"""

import logging
import sys
from collections.abc import Iterator, MutableMapping, Sequence
from importlib import import_module
from typing import Any, Final

import click

import sessionlog

from .. import CorruptLog, EntryNotFound, SessionLogError, SessionNotFound
from .base import EXIT_BROKEN_PIPE, EXIT_FINDINGS, EXIT_GOOD, EXIT_INTERRUPTED, EXIT_WRONG_USE, common_options, example
from .output import complain, silence_stdout

_logger = logging.getLogger("sessionlog.cli")

_COMMANDS: Final = {
    "anchor": "anchoring",
    "append": "writing",
    "audit": "checking",
    "audit-anchors": "anchor_auditing",
    "check-proof": "proving",
    "completion": "completion",
    "delete": "deleting",
    "demo": "demo",
    "diff": "parting",
    "export": "exporting",
    "finalize": "anchoring",
    "fork": "writing",
    "graph": "graph",
    "import": "importing",
    "keys": "anchoring",
    "label": "labelling",
    "list": "listing",
    "log": "conversation",
    "loops": "loops",
    "prove": "proving",
    "repair": "repairing",
    "restore": "reading",
    "search": "searching",
    "show": "reading",
    "sql": "sql",
    "stats": "counting",
    "tail": "reading",
    "verify": "checking",
    "watch": "watching",
    "witness": "witnessing",
}
"""Each command and the module that it is written in, under its name, or its name and ``_`` where Python has it."""


def run(args: Sequence[str]) -> int:
    """Run the command line on ``args``; return the exit status. Errors have been told by then."""
    status: int = cli.main(args=list(args), prog_name="sessionlog", standalone_mode=False)
    return status


class Commands(MutableMapping[str, click.Command]):
    """The commands by name, each imported when it is first asked for: none waits for what only others need."""

    def __init__(self, modules: dict[str, str]) -> None:
        """Take the module of each command; nothing is imported yet."""
        self._modules = modules
        self._loaded: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        """Return a command."""
        if name not in self._loaded:
            module = import_module(f".{self._modules[name]}", __package__)
            attribute = name.replace("-", "_")
            command = getattr(module, attribute, None)
            self._loaded[name] = command if isinstance(command, click.Command) else getattr(module, f"{attribute}_")
        return self._loaded[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        """Add a command that is there already."""
        self._modules[name], self._loaded[name] = "", command

    def __delitem__(self, name: str) -> None:
        """Take a command away."""
        del self._modules[name]
        self._loaded.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        """Yield the names."""
        return iter(self._modules)

    def __len__(self) -> int:
        """Return the number of commands."""
        return len(self._modules)


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

    With ``--debug`` its traceback comes first. In Python's development mode (``python -X dev``) an internal error is
    raised.
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
    _logger.debug("%s", type(error).__name__, exc_info=error)
    if isinstance(error, OSError):
        silence_stdout()  # if that is what failed, Python would try again when it exits
    complain(f"sessionlog: {message}")
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
    click.echo(f"sessionlog {sessionlog.__version__}")
    context.exit()


@click.group(
    cls=Program,
    commands=Commands(dict(_COMMANDS)),
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
