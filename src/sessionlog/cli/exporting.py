"""``export``: a session in the form of others, on standard output or into a file that is whole or not there."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiofiles
import click
import msgspec

from .. import SessionId, Store, restore
from .base import App, common_options, example, runs
from .completion import complete_session
from .files import replacing
from .lookup import find_session
from .output import Refused
from .text import json_safe, safe

if TYPE_CHECKING:
    from ..exporters import Omissions

FORMATS: Final = ("jsonl", "markdown", "openai", "anthropic", "phi-core")
_NOT_JSON: Final = (
    "markdown is not JSON: leave --json out, or take --format jsonl for the records, "
    "openai or anthropic for the conversation"
)
_BUFFER_BYTES: Final = 256 * 1024


@click.command(
    epilog=example(
        "sessionlog export 0190163d --format markdown --output session.md",
        "sessionlog export 0190163d --format anthropic | jq .messages",
    )
)
@click.argument("session", metavar="ID", shell_complete=complete_session)
@click.option("--format", "format_", type=click.Choice(FORMATS), required=True, help="The form to write.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write to FILE, which is replaced whole or stays as it was.",
)
@common_options
@runs
async def export(app: App, session: str, format_: str, output: Path | None) -> None:
    """Write a session in another form.

    jsonl: its records as they are; the copy verifies. markdown: to read; no text of the log acts as markup. openai,
    anthropic: the body of a request to the Chat Completions or the Messages API, in one JSON object, ready to be sent
    with the definitions of the tools. phi-core: its loops, as one document that "import phi-core" reads. What a format
    cannot say is told on standard error.
    """
    from ..exporters import Omissions  # noqa: PLC0415 - `list` need not wait for it

    if app.out.json and format_ == "markdown":
        raise Refused(_NOT_JSON)
    omitted = Omissions()
    async with app.open_store() as store, AsyncExitStack() as stack:
        session_id = await find_session(store, session)
        pieces = await stack.enter_async_context(aclosing(_pieces(store, session_id, format_, omitted)))
        if output is None:
            await _print(app, pieces, format_)
        else:
            await _write(pieces, await stack.enter_async_context(replacing(output)))
    for reason, count in omitted:
        await app.out.note(f"{count:,} x {reason}")
    if output is not None:
        await app.out.note(f"wrote {output}")


async def _pieces(
    store: Store, session_id: SessionId, format_: str, omitted: "Omissions"
) -> AsyncGenerator[bytes, None]:
    """Stream the export in lines with their LF. All but the log's own bytes are escaped: a file may be shown, too."""
    match format_:
        case "jsonl":
            from ..exporters import export_jsonl  # noqa: PLC0415

            async with aclosing(export_jsonl(store, session_id)) as lines:
                async for data in lines:
                    yield data
        case "markdown":
            from ..exporters import export_markdown  # noqa: PLC0415

            async with aclosing(export_markdown(store, session_id, omitted)) as texts:
                async for line in texts:
                    yield safe(line).encode() + b"\n"
        case "phi-core":
            from ..loops import load_session, write_document  # noqa: PLC0415

            document = write_document(await load_session(store, session_id)).decode()
            for text in document.removesuffix("\n").split("\n"):
                yield json_safe(text).encode() + b"\n"
        case _:
            yield await _request_body(store, session_id, format_, omitted)


async def _request_body(store: Store, session_id: SessionId, format_: str, omitted: "Omissions") -> bytes:
    from ..exporters import export_anthropic, export_openai  # noqa: PLC0415

    state = await restore(store, session_id)
    body = (export_openai if format_ == "openai" else export_anthropic)(state, omitted)
    return json_safe(msgspec.json.encode(body).decode()).encode() + b"\n"


async def _print(app: App, pieces: AsyncGenerator[bytes, None], format_: str) -> None:
    if format_ in ("jsonl", "phi-core"):
        async for data in _batches(pieces):
            await app.out.raw(data)
        return
    async for data in pieces:
        if format_ == "markdown":
            await app.out.line(data.decode().removesuffix("\n"))
        else:
            await app.out.json_text(data.decode().removesuffix("\n"))


async def _write(pieces: AsyncGenerator[bytes, None], path: Path) -> None:
    async with aiofiles.open(path, "wb") as file:
        async for data in _batches(pieces):
            await file.write(data)


async def _batches(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Join pieces, so that a line does not cost a thread hop."""
    held: list[bytes] = []
    size = 0
    async for data in pieces:
        held.append(data)
        size += len(data)
        if size >= _BUFFER_BYTES:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)
