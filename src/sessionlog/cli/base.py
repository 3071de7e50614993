"""What every command shares: the common options, on either side of its name, and running its coroutine."""

import functools
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import anyio
import click

from .. import CorruptLog, FileStore, SessionLogError, Store, open_store
from .debugging import log_to_stderr
from .output import Output, Refused, silence_stdout
from .short_ids import ShortIds, ShownId

P = ParamSpec("P")
AnyCommand = TypeVar("AnyCommand", bound=Callable[..., Any])

STORE_DEFAULT: Final = "./sessions"
STORE_VARIABLE: Final = "SESSIONLOG_STORE"
EXIT_GOOD: Final = 0
EXIT_FINDINGS: Final = 1
EXIT_WRONG_USE: Final = 2
EXIT_INTERRUPTED: Final = 130
EXIT_BROKEN_PIPE: Final = 141
"""As a shell reports a program that SIGINT or SIGPIPE ended: 128 and the signal's number."""
_SIGNALLED: Final = 128


@dataclass
class Settings:
    """What the common options said; ``store`` is ``None`` where no option named one."""

    store: str | None = None
    json: bool = False
    full_ids: bool = False


@dataclass(frozen=True)
class App:
    """What a command's coroutine gets: the settings, and the way to print."""

    settings: Settings
    out: Output

    @property
    def root(self) -> Path:
        """The directory of the store that the command works on, absolute."""
        store = open_store(self.store_name)
        if not isinstance(store, FileStore):
            raise Refused(f"a store in memory ends with the command: name a directory, not {self.store_name}")
        return store.root

    @property
    def store_name(self) -> str:
        """That directory as it was named."""
        return self.settings.store or os.environ.get(STORE_VARIABLE) or STORE_DEFAULT

    @asynccontextmanager
    async def open_store(self, *, make: bool = False) -> AsyncIterator[FileStore]:
        """Open the store; unless the command may ``make`` one, it must be there."""
        root = anyio.Path(self.root)
        if await root.exists() and not await root.is_dir():
            raise Refused(f"{self.store_name} is no directory, so no store: name another with --store DIR")
        if not make and not await root.exists():
            raise Refused(
                f"there is no store at {self.store_name}: name one with --store DIR or {STORE_VARIABLE}, "
                "or make one with 'sessionlog import claude-code PATH'"
            )
        async with FileStore(self.root) as store:
            yield store

    async def shown_ids(self, store: Store) -> ShownId:
        """Return how the ids of ``store`` are shown: in short to people at a terminal, whole to everybody else."""
        if self.settings.full_ids or not self.out.is_terminal:
            return str
        return ShortIds(await store.list_sessions())


async def tell_faults(app: App, faults: Sequence[SessionLogError]) -> int:
    """Print why logs could not be read as far as they go; return the exit status: a damaged log weighs most."""
    for fault in faults:
        await app.out.note(f"sessionlog: {fault}")
    if any(isinstance(fault, CorruptLog) for fault in faults):
        return EXIT_FINDINGS
    return EXIT_WRONG_USE if faults else EXIT_GOOD


def example(*lines: str) -> str:
    """Return the end of a command's help: an example, its lines as they are."""
    return "\n".join(("\b", "Example:", *(f"  {line}" for line in lines)))


def jobs_option(
    command: AnyCommand, *, callback: Callable[[click.Context, click.Parameter, int], None] | None = None
) -> AnyCommand:
    """Add ``--jobs``: how many processes work at once, by default one for each core that is there.

    With a ``callback``, that gets the number, and the command does not.
    """
    return click.option(
        "--jobs",
        expose_value=callback is None,
        callback=callback,
        type=click.IntRange(min=1),
        default=cores,
        metavar="COUNT",
        help="How many processes work at once.  [default: one for each core]",
    )(command)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def common_options(command: AnyCommand) -> AnyCommand:
    """Add what :class:`Settings` holds to a command or a group; the innermost ``--store`` counts."""
    json_option = click.option(
        "--json", is_flag=True, expose_value=False, callback=_set_json, help="Print one JSON object a line."
    )
    store_option = click.option(
        "--store",
        metavar="DIR",
        expose_value=False,
        callback=_set_store,
        help=f"The store's directory.  [${STORE_VARIABLE}, else {STORE_DEFAULT}]",
    )
    full_ids_option = click.option(
        "--full-ids", is_flag=True, expose_value=False, callback=_set_full_ids, help="Do not shorten ids on a terminal."
    )
    debug_option = click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        callback=_set_debug,
        help="Tell on standard error what was opened, repaired and retried, and where an error came from.",
    )
    return store_option(json_option(full_ids_option(debug_option(command))))


def runs(body: Callable[Concatenate[App, P], Awaitable[int | None]]) -> Callable[P, int]:
    """Make a click callback of a coroutine function; it returns the exit status (``None`` is 0)."""

    @functools.wraps(body)
    def callback(*args: P.args, **kwargs: P.kwargs) -> int:
        settings = click.get_current_context().ensure_object(Settings)
        try:
            return anyio.run(_run, settings, lambda app: body(app, *args, **kwargs))
        except KeyboardInterrupt:
            return EXIT_INTERRUPTED
        except BrokenPipeError:
            silence_stdout()
            return EXIT_BROKEN_PIPE

    return callback


async def _run(settings: Settings, body: Callable[[App], Awaitable[int | None]]) -> int:
    """Run ``body``; on SIGINT (Ctrl-C) or SIGTERM cancel it between two steps of the event loop."""
    app = App(settings, Output(json=settings.json))
    status: int | None = None
    failure: Exception | None = None
    ended_by: int | None = None

    scope = anyio.CancelScope()

    async def cancel_on_signal() -> None:
        nonlocal ended_by
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for number in signals:  # to the end: a second Ctrl-C breaks no clean-up
                ended_by = number
                scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(cancel_on_signal)
        try:
            with scope:
                status = await body(app)
        except Exception as error:  # noqa: BLE001 - told by the caller, as it is and not in a group
            failure = error
        group.cancel_scope.cancel()
    await app.out.flush()
    if failure is not None:
        raise failure
    if ended_by is not None:
        return _SIGNALLED + ended_by
    return status or EXIT_GOOD


def _set_json(context: click.Context, _option: click.Parameter, value: bool) -> None:
    settings = context.ensure_object(Settings)
    settings.json = settings.json or value


def _set_full_ids(context: click.Context, _option: click.Parameter, value: bool) -> None:
    settings = context.ensure_object(Settings)
    settings.full_ids = settings.full_ids or value


def _set_debug(_context: click.Context, _option: click.Parameter, value: bool) -> None:
    if value:
        log_to_stderr()


def _set_store(context: click.Context, _option: click.Parameter, value: str | None) -> None:
    settings = context.ensure_object(Settings)
    if value is None:
        return
    if not value or "\0" in value:
        raise click.BadParameter("give the path of a directory")
    settings.store = value
