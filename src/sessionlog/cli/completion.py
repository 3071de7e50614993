"""Shell completion: click's script for the shell, and the ids of the store for whatever takes one."""

import os
from typing import TYPE_CHECKING, Final

import anyio
import click

from .. import FileStore, SessionLogError
from .base import STORE_DEFAULT, STORE_VARIABLE, App, Settings, common_options, example, runs
from .output import Refused

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_SHELLS: Final = ("bash", "zsh", "fish")
_IDS_MAX: Final = 200
_PROGRAM: Final = "sessionlog"
_VARIABLE: Final = "_SESSIONLOG_COMPLETE"


@click.command(epilog=example('eval "$(sessionlog completion bash)"', "sessionlog completion fish | source"))
@click.argument("shell", type=click.Choice(_SHELLS))
@common_options
@runs
async def completion(app: App, shell: str) -> None:
    """Print the script that completes commands and ids.

    For the start-up file of a shell: the second example is for fish; zsh takes the first one with its own name.
    """
    from click.shell_completion import get_completion_class  # noqa: PLC0415

    kind = get_completion_class(shell)
    if kind is None:
        raise Refused(f"click completes no {shell}")
    parent = click.get_current_context().find_root()
    script = kind(parent.command, {}, _PROGRAM, _VARIABLE)
    source = script.source_template % script.source_vars()
    if app.out.json:
        await app.out.object({"shell": shell, "script": source})
        return
    for line in source.strip("\n").split("\n"):
        await app.out.row(line)


def complete_session(context: click.Context, _parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Return the ids of the store that begin as what was typed, last written first. Never raises: it is a shell's."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - only a shell that asks needs it

    settings = context.find_object(Settings)
    named = None if settings is None else settings.store
    root = named or os.environ.get(STORE_VARIABLE) or STORE_DEFAULT
    if not os.path.isdir(root):
        return []
    try:
        ids = anyio.run(_session_ids, root)
    except (SessionLogError, OSError):
        return []
    return [CompletionItem(one) for one in ids if one.startswith(incomplete)][:_IDS_MAX]


async def _session_ids(root: str) -> list[str]:
    async with FileStore(root) as store:
        return [str(session_id) for session_id in await store.list_sessions()]
