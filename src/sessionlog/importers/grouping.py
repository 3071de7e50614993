"""Which files have to be imported one after the other, and which can be imported at the same time.

What an import does depends on what is in the store of the file's own session (an older copy, another file with its id)
and, for a sub-agent, of its parent's. So files of one session, and a sub-agent's file and its parent's, make a group. A
file's beginning tells: what :meth:`~.protocol.Transcript.header` says of it holds for the whole. Files that do not tell
make a group of their own. A file that tells something else later on is imported all the same, as if another program
imported the other file at that time.
"""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from ..binding import bound_session
from ..errors import SessionLogError
from .lines import Found, Piece, Splitter
from .protocol import Format, Header, Transcript

LOOKED_AT_BYTES: Final = 16 * 1024
LOOKED_AT_BYTES_MAX: Final = 1024 * 1024
"""So much of a file is looked at, at most, for the first message."""
UNKNOWN: Final = frozenset(("",))
"""The key of a file that does not tell whose it is: no session has this id."""

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


async def keys_of(path: str, formats: Sequence[Format]) -> frozenset[str]:
    """Return the ids of the sessions whose logs the import of ``path`` reads or writes; :data:`UNKNOWN` if unclear.

    Waits for the disk: for a thread or a process that may.
    """
    try:
        with _open_regular(path) as file:
            key = await _keys_in(file, path, formats)
    except (OSError, ValueError, SessionLogError):
        return UNKNOWN
    named = None if key else _UUID.search(os.path.basename(path))
    return key or (UNKNOWN if named is None else frozenset((named[0],)))


def groups_of(keys: Sequence[frozenset[str]]) -> list[list[int]]:
    """Return the positions in ``keys``, parted so that no two groups share a key, even by way of a third.

    Positions rise in each group, and so do the groups' first ones.
    """
    parents: dict[str, str] = {}

    def root(key: str) -> str:
        while (above := parents.setdefault(key, key)) != key:
            parents[key] = parents[above]
            key = above
        return key

    for own in keys:
        first, *others = sorted(own)
        for other in others:
            parents[root(other)] = root(first)
    groups: dict[str, list[int]] = {}
    for at, own in enumerate(keys):
        groups.setdefault(root(min(own)), []).append(at)
    return list(groups.values())


def _open_regular(path: str) -> BinaryIO:
    """Open a file; a FIFO or a device is not waited for. Raises ``OSError``, and ``ValueError`` for an odd name."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError("it is no regular file")
    return os.fdopen(fd, "rb", buffering=0)


async def _keys_in(file: BinaryIO, path: str, formats: Sequence[Format]) -> frozenset[str]:
    start = file.read(LOOKED_AT_BYTES)
    bound = bound_session(start)
    if bound is not None:
        return frozenset((bound[1],))
    header = await _header(file, start, path, formats)
    if header is None:
        return frozenset()
    agent_of = header.parent if header.role == "agent" else None
    return frozenset((header.session_id, agent_of or header.session_id))


async def _header(file: BinaryIO, start: bytes, path: str, formats: Sequence[Format]) -> Header | None:
    """Return what the beginning of a transcript says of it; ``None`` if it holds no message."""
    waiting: list[Found] = []
    transcript: Transcript | None = None
    for pieces in _pieces(file, start):
        waiting += [piece for piece in pieces if isinstance(piece, Found)]
        if transcript is None:
            transcript = _recognised(waiting, path, formats)
        if transcript is None:
            continue
        for piece in waiting:
            transcript.add(piece, fits=True)
        waiting = []
        header = await transcript.header()
        if header is not None:
            return header
    return None


def _recognised(objects: Sequence[Found], path: str, formats: Sequence[Format]) -> Transcript | None:
    """Return a reader of the one format there is, or of the first that recognises an object."""
    for piece in objects:
        for one in formats:
            if len(formats) == 1 or one.recognises(piece.value):
                return one.transcript(Path(path))
    return None


def _pieces(file: BinaryIO, start: bytes) -> Iterator[list[Piece]]:
    """Yield the pieces of the file's beginning, ``start`` first; the last line may have no LF."""
    splitter, size, chunk = Splitter(LOOKED_AT_BYTES_MAX), 0, start
    while chunk and size < LOOKED_AT_BYTES_MAX:
        size += len(chunk)
        yield list(splitter.feed(chunk))
        chunk = file.read(LOOKED_AT_BYTES)
    if not chunk:
        yield list(splitter.finish())
