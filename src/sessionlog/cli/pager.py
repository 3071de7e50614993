"""The pager that long output is read in, as git has it.

``$PAGER``, else ``less``; none where standard output is no terminal, where the terminal is dumb, or where ``PAGER`` is
empty or ``cat``. What is printed streams into it, no faster than it reads. The program named is started as it is,
without a shell; ``LESS=FRX`` is set if ``LESS`` is not: what fits on the screen is printed and stays there.
"""

import os
import shlex
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from subprocess import PIPE
from typing import Any, Final, TypeVar

import anyio
import click
from anyio.abc import Process

from .output import Output

T = TypeVar("T")
AnyCommand = TypeVar("AnyCommand", bound=Callable[..., Any])

PAGER_DEFAULT: Final = "less"
_LESS_DEFAULT: Final = "FRX"


def pager_option(command: AnyCommand) -> AnyCommand:
    """Add ``--no-pager`` to a command, which is given as ``pager``."""
    return click.option("--no-pager", "pager", flag_value=False, default=True, help="Print at once, without a pager.")(
        command
    )


async def paged(out: Output, body: Callable[[], Awaitable[T]], *, wanted: bool) -> T | None:
    """Run ``body``, and let what it prints be read in the pager if that is ``wanted`` and standard output a terminal.

    Returns what ``body`` returns, when the pager has ended. If that is before ``body`` has, the rest of it is not
    printed, and ``None`` returned. Ctrl-C ends ``body``; the pager, which gets it too, stays for as long as it wants.
    Raises whatever ``body`` raises.
    """
    process = await _start(out) if wanted and out.is_terminal else None
    if process is None or process.stdin is None:
        return await body()
    try:
        with out.into(process.stdin.send), suppress(anyio.BrokenResourceError):  # it has been quit
            try:
                return await body()
            finally:
                await out.flush()
    finally:
        with anyio.CancelScope(shield=True), anyio.open_signal_receiver(signal.SIGINT):  # the pager's, from here on
            await process.stdin.aclose()
            await process.wait()
    return None


async def _start(out: Output) -> Process | None:
    """Start the pager; ``None``: there is none."""
    command = os.environ.get("PAGER", PAGER_DEFAULT)
    if command.strip() in ("", "cat") or os.environ.get("TERM") == "dumb":
        return None
    try:
        words = shlex.split(command)
        return await anyio.open_process(
            words, stdin=PIPE, stdout=None, stderr=None, env={"LESS": _LESS_DEFAULT, **os.environ}
        )
    except (OSError, ValueError) as error:
        if command != PAGER_DEFAULT:
            await out.note(f"the pager {command!a} cannot be started, so there is none: {error}")
        return None
