"""Standard input, line by line as it comes."""

import sys
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Final

import aiofiles
import anyio

from .output import Refused

_CHUNK_BYTES: Final = 256 * 1024


async def stdin_lines(*, line_bytes_max: int) -> AsyncGenerator[list[bytes], None]:
    """Yield the lines that each read completed, without their LF; a last line needs none.

    Holds one read and one unfinished line. Raises :class:`Refused` for a line of more than ``line_bytes_max`` bytes.
    """
    if sys.stdin is None:
        raise Refused("standard input is closed: pipe the entries in, one JSON object a line")
    parts: list[bytes] = []
    size = 0
    while chunk := await _read():
        *lines, rest = chunk.split(b"\n")
        if lines:
            lines[0] = b"".join((*parts, lines[0]))
            parts, size = [], 0
            yield lines
        parts.append(rest)
        size += len(rest)
        if size > line_bytes_max:
            raise Refused(f"a line of standard input is longer than {line_bytes_max} bytes; those before it are kept")
    if size:
        yield [b"".join(parts)]


async def _read() -> bytes:
    """Return what there is, as soon as there is something; nothing at the end.

    Waiting happens on the loop, not inside a read on a thread: such a thread could not be stopped, and Ctrl-C would
    hang until the next line.
    """
    with suppress(OSError, ValueError):  # no pipe or terminal but a file: it never makes anyone wait
        await anyio.wait_readable(sys.stdin.fileno())
    data: bytes = await aiofiles.stdin_bytes.read1(_CHUNK_BYTES)
    return data
