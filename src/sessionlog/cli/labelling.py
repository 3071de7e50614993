"""``label``: what a session is called and filed under."""

from collections.abc import Sequence

import click
import msgspec

from .. import RestoredState, SessionLog, restore
from .base import App, common_options, example, runs
from .completion import complete_session
from .lookup import find_session
from .output import Refused


@click.command(
    epilog=example("sessionlog label 0190163d team=billing --title 'Refund twice'", "sessionlog label 0190163d")
)
@click.argument("session", metavar="ID", shell_complete=complete_session)
@click.argument("labels", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--title", metavar="TEXT", help="What to call the session; an empty TEXT takes the title away.")
@click.option("--remove", "removed", multiple=True, metavar="KEY", help="Take a label away.  [repeatable]")
@common_options
@runs
async def label(app: App, session: str, labels: Sequence[str], title: str | None, removed: Sequence[str]) -> None:
    """Give a session a title and labels.

    The change is one record in the session's log. Without a change, what the session has is printed.
    """
    changes = _changes(labels, removed)
    async with app.open_store() as store:
        session_id = await find_session(store, session)
        state = await restore(store, session_id)
        if changes or title is not None:
            log = SessionLog(store, session_id, state.head)
            await log.set_labels(changes, title=msgspec.UNSET if title is None else title or None)
            state = await restore(store, session_id)
    await _print(app, session_id, state)


def _changes(labels: Sequence[str], removed: Sequence[str]) -> dict[str, str | None]:
    """Return the label changes that the words of the command line ask for. Raises :class:`Refused`."""
    changes: dict[str, str | None] = dict.fromkeys(removed)
    for text in labels:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise Refused(f"{text!a} is no label: write KEY=VALUE, or --remove KEY to take one away")
        if key in changes:
            raise Refused(f"the label {key!a} is named twice")
        changes[key] = value
    return changes


async def _print(app: App, session_id: str, state: RestoredState) -> None:
    if app.out.json:
        await app.out.object({"session_id": session_id, "title": state.title, "labels": state.labels})
        return
    if state.title is not None:
        await app.out.row(("title   ", "bold"), rest=state.title)
    for key, value in sorted(state.labels.items()):
        await app.out.row(("label   ", "bold"), rest=f"{key}={value}")
    if state.title is None and not state.labels:
        await app.out.note(f"session {session_id} has no title and no labels")
