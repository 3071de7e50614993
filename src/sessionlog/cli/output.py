"""The one way to standard output and standard error: JSON lines, or text for people. All of it escaped.

Every piece of text that goes out passes through :mod:`sessionlog.cli.text`, so no command can forget it: what a log
holds never acts on a terminal. On a terminal, lines are styled and fitted to its width by rich (``NO_COLOR`` and
``TERM`` are respected); into a pipe or a file goes plain text, neither wrapped nor cropped. rich is loaded only for a
terminal. Standard output is written with aiofiles, in pieces: the loop does not wait for a slow reader, and a line does
not cost a thread hop.
"""

import logging
import os
import stat
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, TextIO, TypeAlias

import aiofiles
import click
import msgspec

from .text import json_safe, safe

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn

Segment: TypeAlias = str | tuple[str, str]
"""A piece of a line: text, or text and a rich style such as ``bold red``."""

_Pieces: TypeAlias = list[tuple[str, str]]
"""Text that is safe, and its styles."""
_PENDING_CHARS_MAX: Final = 64 * 1024
_PENDING_S_MAX: Final = 0.1
_REST_COLUMNS_MIN: Final = 8
_COLUMNS_UNKNOWN: Final = 80
_PLAIN_GLYPHS: Final = str.maketrans({"├": "|", "└": "`", "│": "|", "─": "-", "…": "..."})
"""What stands in for the glyphs that this program draws with, where the output cannot show them."""


class Refused(click.ClickException):
    """Wrong use, or something that is not there: one line that says what to do, and exit status 2."""

    exit_code = 2


class Output:
    """What one command prints: ``json`` objects or lines on standard output, notes and progress on standard error."""

    def __init__(self, *, json: bool) -> None:
        """Print objects if ``json``, else lines; nothing goes out yet. ``is_terminal``: lines, for people to read."""
        self.json = json
        self._encoding = "utf-8" if json or sys.stdout is None else sys.stdout.encoding  # JSON: RFC 8259 section 8.1
        self.is_terminal: bool = not json and sys.stdout is not None and sys.stdout.isatty()
        self._to_pipe = _is_pipe(sys.stdout)
        self._console: Console | None = None
        self._progress: Progress | None = None
        self._pending: list[str] = []
        self._pending_chars = 0
        self._flushed_at = time.monotonic()
        self._send: Callable[[bytes], Awaitable[None]] = _to_stdout

    @contextmanager
    def into(self, send: Callable[[bytes], Awaitable[None]]) -> Iterator[None]:
        """Give what is printed to ``send`` while the block runs, in the place of standard output: to a pager."""
        self._send = send
        try:
            yield
        finally:
            self._send = _to_stdout
            self._pending, self._pending_chars = [], 0

    @property
    def width(self) -> int | None:
        """The columns of the terminal; ``None`` where lines may be of any length."""
        return self._terminal().width if self.is_terminal else None

    async def object(self, value: object) -> None:
        """Print ``value`` as one line of JSON."""
        await self.json_text(msgspec.json.encode(value).decode())

    async def json_text(self, text: str) -> None:
        """Print one line of compact JSON that is text already."""
        await self._add(json_safe(text) + "\n")

    async def line(self, *segments: Segment, indent: int = 0, lead: Sequence[Segment] = ()) -> None:
        """Print text for people, ``indent`` columns to the right and behind ``lead``.

        A terminal wraps it at words; it goes on below where it began.
        """
        await self._print(segments, "", indent=indent, lead=lead, is_row=False)

    async def row(self, *segments: Segment, rest: str = "", indent: int = 0, crop: bool = False) -> None:
        """Print a row: ``segments`` whole, so that ids can be copied; of ``rest`` what fits on a terminal's line.

        With ``crop``, no more than what fits of the ``segments`` either.
        """
        await self._print(segments, rest, indent=indent, is_row=True, crop=crop)

    async def raw(self, data: bytes) -> None:
        """Write bytes as they are, for another program. Raises :class:`Refused` on a terminal: it would obey them."""
        if sys.stdout is not None and sys.stdout.isatty():
            raise Refused("raw bytes could act on the terminal: name a file with --output FILE, or pipe them")
        await self.flush()
        if sys.stdout is None:
            raise Refused("standard output is closed: nothing can be printed")
        await _to_stdout(data)

    async def flush(self) -> None:
        """Write out everything that was printed so far."""
        if not self._pending:
            return
        data = "".join(self._pending)
        self._pending, self._pending_chars = [], 0
        if sys.stdout is None:
            raise Refused("standard output is closed: nothing can be printed")
        if not self._encoding.lower().startswith("utf"):
            data = data.translate(_PLAIN_GLYPHS)
        with self._progress_paused():
            if self._to_pipe:
                self._progress = None  # for good: whoever reads the pipe may write to the same terminal
            await self._send(data.encode(self._encoding, "backslashreplace"))
        self._flushed_at = time.monotonic()

    async def note(self, text: str) -> None:
        """Print a message to standard error, after what was printed before it."""
        await self.flush()
        with self._progress_paused():
            complain(text)

    @contextmanager
    def progress(self, what: str, total: int, *, in_bytes: bool = False) -> Iterator[Callable[[int], None]]:
        """Show a bar on standard error while the block runs, if that is a terminal; call the result to advance it.

        With ``--debug`` there is none: lines come from any thread, and would break it.
        """
        if sys.stderr is None or not sys.stderr.isatty() or logging.getLogger("sessionlog").isEnabledFor(logging.DEBUG):
            yield lambda _: None
            return
        self._progress = progress = _progress(in_bytes=in_bytes)
        task = progress.add_task(safe(what), total=total)
        try:
            with progress:
                yield lambda step: progress.advance(task, step)
        finally:
            self._progress = None

    @contextmanager
    def _progress_paused(self) -> Iterator[None]:
        """Take the bar off the screen while something else is written to it."""
        progress = self._progress
        if progress is None:
            yield
            return
        progress.stop()
        yield
        if self._progress is not None:
            progress.start()

    async def _add(self, text: str) -> None:
        self._pending.append(text)
        self._pending_chars += len(text)
        if self._pending_chars >= _PENDING_CHARS_MAX or time.monotonic() - self._flushed_at >= _PENDING_S_MAX:
            await self.flush()

    async def _print(
        self,
        segments: Sequence[Segment],
        rest: str,
        *,
        indent: int,
        lead: Sequence[Segment] = (),
        is_row: bool,
        crop: bool = False,
    ) -> None:
        pieces, before = _safe_pieces(segments), [(" " * indent, ""), *_safe_pieces(lead)]
        if self.is_terminal:
            await self._add(self._render(pieces, safe(rest), before=before, is_row=is_row, crop=crop))
        else:
            await self._add("".join(text for text, _ in (*before, *pieces, (safe(rest), ""))).rstrip(" ") + "\n")

    def _render(self, pieces: _Pieces, rest: str, *, before: _Pieces, is_row: bool, crop: bool) -> str:
        from rich.text import Text  # noqa: PLC0415 - only a terminal pays for rich

        console = self._terminal()
        margin = Text.assemble(*before)
        text = Text.assemble(*(before if is_row else ()), *pieces)
        if crop or console.width - text.cell_len >= min(len(rest), _REST_COLUMNS_MIN):
            text.append(rest)
            text.truncate(console.width, overflow="ellipsis")
        text.rstrip()
        with console.capture() as rendered:
            for one in [text] if is_row else text.wrap(console, max(1, console.width - margin.cell_len)):
                console.print(one if is_row else margin + one, soft_wrap=True)
                margin = Text(" " * margin.cell_len)
        return rendered.get()

    def _terminal(self) -> "Console":
        from rich.console import Console  # noqa: PLC0415

        if self._console is None:
            self._console = Console(highlight=False, markup=False, emoji=False)
        return self._console


def _safe_pieces(segments: Sequence[Segment]) -> _Pieces:
    return [(safe(one), "") if isinstance(one, str) else (safe(one[0]), one[1]) for one in segments]


async def _to_stdout(data: bytes) -> None:
    await aiofiles.stdout_bytes.write(data)
    await aiofiles.stdout_bytes.flush()


def _progress(*, in_bytes: bool) -> "Progress":
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    counts: list[ProgressColumn] = [MofNCompleteColumn()]
    if in_bytes:
        counts = [DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(compact=True)]
    label = TextColumn("{task.description}", markup=False)
    return Progress(
        label,
        BarColumn(),
        *counts,
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,  # rich would put objects of its own in the place of sys.stdout and sys.stderr, which do
        redirect_stderr=False,  # not have all that files have; what this program prints pauses the bar by itself
    )


def complain(text: str) -> None:
    """Print a message to standard error: wrapped at words on a terminal, so that no id is broken."""
    text = safe(text)
    try:
        if sys.stderr is not None and sys.stderr.isatty():
            columns = os.get_terminal_size(sys.stderr.fileno()).columns or _COLUMNS_UNKNOWN
            text = textwrap.fill(text, columns, break_long_words=False, break_on_hyphens=False)
        click.echo(text, err=True)
    except BrokenPipeError:
        raise
    except OSError:
        pass  # a full disk, say: there is nowhere else to say it


def _is_pipe(stream: "TextIO | None") -> bool:
    try:
        return stream is not None and stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):  # it is no file
        return False


def silence_stdout() -> None:
    """Let nothing more reach a standard output whose reader has gone: Python would complain when it exits."""
    with suppress(OSError, ValueError, AttributeError):  # it is no file: nothing will complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
