"""Spans of a file: read whole, copied, and searched for line feeds, in memory that does not grow with them."""

from typing import Final, NamedTuple

from .system import System

CHUNK_BYTES: Final = 1024 * 1024
LAST_BYTES: Final = 16 * 1024
"""What is looked for at a log's end is mostly there."""


def read_span(system: System, fd: int, start: int, end: int) -> bytes:
    """Return the bytes from ``start`` to ``end``; fewer only where the file ends before."""
    data = system.pread(fd, end - start, start)
    if not data or len(data) == end - start:
        return data
    parts = [data]
    start += len(data)
    while start < end and (part := system.pread(fd, end - start, start)):
        parts.append(part)
        start += len(part)
    return b"".join(parts)


def find_lf(system: System, fd: int, start: int, end: int) -> int | None:
    """Return where the first LF from ``start`` on stands, before ``end``; ``None`` if there is none."""
    while start < end and (data := system.pread(fd, min(CHUNK_BYTES, end - start), start)):
        at = data.find(b"\n")
        if at >= 0:
            return start + at
        start += len(data)
    return None


class FoundLf(NamedTuple):
    """An LF, at ``block[at]``, and the block around it, which begins at ``start`` of the file."""

    start: int
    block: bytes
    at: int


def rfind_lf(system: System, fd: int, start: int, end: int) -> FoundLf | None:
    """Return the last LF before ``end``, not before ``start``; ``None`` if there is none."""
    block_bytes = LAST_BYTES
    while start < end:
        block_start = max(start, end - block_bytes)
        block = read_span(system, fd, block_start, end)
        at = block.rfind(b"\n")
        if at >= 0:
            return FoundLf(block_start, block, at)
        end = block_start
        block_bytes = min(block_bytes * 2, CHUNK_BYTES)
    return None


def write_all(system: System, fd: int, data: bytes) -> None:
    """Write all of ``data``, also when the system takes it in pieces."""
    written = system.write(fd, data)
    if written < len(data):
        rest = memoryview(data)[written:]
        while rest:
            rest = rest[system.write(fd, rest) :]


def append_span(system: System, source: int, start: int, end: int, target: int) -> None:
    """Append the bytes from ``start`` to ``end`` of ``source`` to ``target``."""
    for offset in range(start, end, CHUNK_BYTES):
        write_all(system, target, read_span(system, source, offset, min(end, offset + CHUNK_BYTES)))
