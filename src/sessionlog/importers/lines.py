"""Foreign JSON lines: the bytes of a transcript, cut into JSON objects.

Bytes are split on LF and nothing else. What real files hold is expected: a missing final LF, NUL padding, CR LF, a byte
order mark, several objects on one line, a torn object with the next one glued to it, lines that are no JSON at all.
Each object comes out as :class:`Found`, in the order of the file, everything else as :class:`Bad` with line and
reason.

*What is decided stays decided*: for a file that only grows, what was found in the first bytes is found again, with the
same ordinals. So the unfinished end of a file (:class:`Tail`) is never guessed at: it waits.

At most one line, of at most ``line_bytes_max`` bytes, is held.
"""

import asyncio
import json
import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, Final, Protocol, Self, TypeAlias

import aiofiles
import anyio
import msgspec

CHUNK_BYTES: Final = 256 * 1024
GLUE_SEARCHES_MAX: Final = 256
"""How often, in one damaged line, the start of a whole object is looked for."""

_decode = msgspec.json.Decoder().decode
_find_object = json.JSONDecoder().raw_decode
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_PADDING: Final = b" \t\r\0"
_BOM: Final = b"\xef\xbb\xbf"


class Found(msgspec.Struct, frozen=True, gc=False):
    """One JSON object: the ``ordinal``-th of the file (from 0), on ``line`` (from 1), ending at byte ``end``."""

    ordinal: int
    line: int
    end: int
    raw: bytes
    value: dict[str, Any]


class Bad(msgspec.Struct, frozen=True, gc=False):
    """Bytes on ``line`` that are no usable JSON object, ending at byte ``end``."""

    line: int
    end: int
    reason: str


class Tail(msgspec.Struct, frozen=True, gc=False):
    """The unfinished end of the file on ``line``; its ``size`` bytes are not consumed."""

    line: int
    size: int


Piece: TypeAlias = Found | Bad | Tail


class ByteFile(Protocol):
    """An open file, read with await."""

    async def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes; none at the end."""
        ...

    async def seek(self, offset: int, /) -> int:
        """Go to byte ``offset``."""
        ...

    async def close(self) -> None:
        """Close the file."""
        ...


async def open_bytes(path: Path) -> ByteFile:
    """Open ``path`` for reading: with aiofiles on asyncio, with anyio elsewhere. Raises ``OSError``."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _AnyioFile(await anyio.open_file(path, "rb"))
    return await aiofiles.open(path, "rb")


class Pieces:
    """What is in a file, from its first byte up to byte ``end`` (``None``: to its end); a :class:`Tail` comes last.

    Iterate over it once, from the file's start; it may be left at any time. ``on_chunk`` is called with the bytes as
    they are read. Iterating raises ``OSError``.
    """

    def __init__(
        self,
        file: ByteFile,
        *,
        line_bytes_max: int,
        line_keys: Collection[str] = (),
        end: int | None = None,
        on_chunk: Callable[[bytes], object] | None = None,
    ) -> None:
        """Read from ``file``, which stands at its first byte; ``line_keys`` are those of :class:`Splitter`."""
        self._chunks = Chunks(file, end=end)
        self._on_chunk = on_chunk
        self._splitter = Splitter(line_bytes_max, line_keys)
        self._ready: Iterator[Piece] = iter(())
        self._ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Piece:
        while True:
            for piece in self._ready:
                return piece
            if self._ended:
                raise StopAsyncIteration
            chunk = await self._chunks.read()
            if chunk:
                if self._on_chunk is not None:
                    self._on_chunk(chunk)
                self._ready = self._splitter.feed(chunk)
            else:
                self._ended = True
                self._ready = self._splitter.finish()


class Chunks:
    """Reads a file in chunks, from where it stands, up to ``end`` bytes on.

    Each chunk but the last is full, so that two readings of a file end their chunks at the same bytes. The file ends
    where it was first seen to end, even if it grows.
    """

    def __init__(self, file: ByteFile, *, end: int | None = None) -> None:
        """Read from ``file``."""
        self._file = file
        self._left = end
        self._ended = False

    async def read(self) -> bytes:
        """Return the next bytes; none at the end."""
        wanted = CHUNK_BYTES if self._left is None else min(CHUNK_BYTES, self._left)
        parts: list[bytes] = []
        while wanted and not self._ended:
            part = await self._file.read(wanted)
            self._ended = not part
            parts.append(part)
            wanted -= len(part)
        chunk = parts[0] if len(parts) == 1 else b"".join(parts)
        if self._left is not None:
            self._left -= len(chunk)
        return chunk


class _AnyioFile:
    """The three calls of :class:`ByteFile` over anyio's file."""

    def __init__(self, file: anyio.AsyncFile[bytes]) -> None:
        self._file = file

    async def read(self, size: int, /) -> bytes:
        return await self._file.read(size)

    async def seek(self, offset: int, /) -> int:
        return await self._file.seek(offset)

    async def close(self) -> None:
        await self._file.aclose()


class Splitter:
    """Cuts chunks into lines and lines into pieces."""

    def __init__(self, line_bytes_max: int, line_keys: Collection[str] = ()) -> None:
        """Take lines of up to ``line_bytes_max`` bytes.

        Behind torn bytes, an object that has all of ``line_keys`` is a line's; without keys, nothing is looked for.
        """
        self._line_bytes_max = line_bytes_max
        self._line_keys = frozenset(line_keys)
        self._parts: list[bytes] = []
        self._parts_bytes = 0
        self._dropped_bytes = 0
        self._line = 1
        self._offset = 0
        self._ordinal = 0

    def feed(self, chunk: bytes) -> Iterator[Piece]:
        """Take the next bytes; yield the pieces of the lines that they complete."""
        *lines, rest = chunk.split(b"\n")
        for part in lines:
            self._keep(part)
            yield from self._finish_line(whole=True)
            self._line += 1
        self._keep(rest)

    def finish(self) -> Iterator[Piece]:
        """Yield the pieces of the last line, which has no LF."""
        yield from self._finish_line(whole=False)

    def _keep(self, part: bytes) -> None:
        size = self._parts_bytes + len(part)
        if self._dropped_bytes or size > self._line_bytes_max:
            self._dropped_bytes += size
            self._parts, self._parts_bytes = [], 0
        elif part:
            self._parts.append(part)
            self._parts_bytes = size

    def _finish_line(self, *, whole: bool) -> Iterator[Piece]:
        data, dropped, start = b"".join(self._parts), self._dropped_bytes, self._offset
        self._parts, self._parts_bytes, self._dropped_bytes = [], 0, 0
        self._offset = start + (dropped or len(data)) + 1
        if dropped:
            if whole:
                yield Bad(self._line, start + dropped, f"a line of {dropped} bytes, more than {self._line_bytes_max}")
            else:
                yield Tail(self._line, dropped)
            return
        if start == 0 and data.startswith(_BOM):
            data, start = data[len(_BOM) :], len(_BOM)
        start += len(data) - len(data.lstrip(_PADDING))
        data = data.strip(_PADDING)
        if not data:
            return
        value = _as_object(data)
        if value is not None:
            yield self._found(value, data, start + len(data))
        else:
            yield from self._glued(data, start, whole=whole)

    def _found(self, value: dict[str, Any], raw: bytes, end: int) -> Found:
        self._ordinal += 1
        return Found(self._ordinal - 1, self._line, end, raw, value)

    def _glued(self, data: bytes, start: int, *, whole: bool) -> Iterator[Piece]:
        """Take ``data``, which is not one object, apart: objects, and what is none."""
        text = data.decode(errors="surrogateescape")  # what is no UTF-8 must not spoil a good object before it
        position, end = 0, start
        while position < len(text):
            stop, reason = _object_end(text, position)
            if stop is None:
                if not whole:
                    yield Tail(self._line, len(_bytes(text[position:])))
                    return
                stop = _next_object(text, position, self._line_keys)
                skipped = _bytes(text[position:stop])
                end += len(skipped)
                yield Bad(self._line, end, f"{reason} ({len(skipped)} bytes left out)")
            else:
                raw = _bytes(text[position:stop])
                end += len(raw)
                value = _as_object(raw)
                if value is not None:
                    yield self._found(value, raw, end)
                else:
                    yield Bad(self._line, end, _refusal(raw))
            position = stop
            while position < len(text) and text[position] in " \t\r\0":
                position, end = position + 1, end + 1


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _as_object(data: bytes) -> dict[str, Any] | None:
    try:
        value = _decode(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _object_end(text: str, position: int) -> tuple[int | None, str]:
    """Return where the object at ``position`` ends, or ``None`` and the reason why there is none."""
    if text[position] != "{":
        return None, "no JSON object"
    try:
        return _find_object(text, position)[1], ""
    except RecursionError:
        return None, "nested too deep"
    except ValueError as error:
        return None, f"no JSON: {getattr(error, 'msg', error)}"


def _next_object(text: str, position: int, line_keys: frozenset[str]) -> int:
    """Return where, after torn bytes, whole transcript objects fill the rest of the line; else the line's end."""
    for _ in range(GLUE_SEARCHES_MAX if line_keys else 0):
        position = text.find('{"', position + 1)
        if position < 0:
            break
        if _is_transcript(text, position, line_keys):
            return position
    return len(text)


def _is_transcript(text: str, position: int, line_keys: frozenset[str]) -> bool:
    while position < len(text):
        try:
            value, position = _find_object(text, position)
        except (ValueError, RecursionError):
            return False
        if not (isinstance(value, dict) and line_keys <= value.keys()):
            return False
        while position < len(text) and text[position] in " \t\r\0":
            position += 1
    return True


def _refusal(raw: bytes) -> str:
    if _SURROGATE.search(raw):
        return "a string holds a lone surrogate, which UTF-8 cannot carry"
    try:
        value = _decode(raw)
    except RecursionError:
        return "nested too deep"
    except UnicodeDecodeError:
        return "no UTF-8"
    except ValueError as error:
        return str(error)
    return f"no JSON object but {type(value).__name__}"
