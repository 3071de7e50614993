"""phi-core documents: a whole session in one JSON file, which becomes one session with its loops.

A document cannot be streamed, as it is one value: it is held in memory, and so has limits, which are checked before
anything of it is decoded: :data:`DOCUMENT_BYTES_MAX` and :data:`DOCUMENT_BRACKETS_MAX`.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
import msgspec

from ..ids import SessionId
from ..loops import import_session, read_document
from ..store import Store
from .contained import contained
from .deleted import DELETED_REASON, Deleted
from .paths import files_at
from .report import ImportFailed
from .source import close, open_regular

DOCUMENT_BYTES_MAX: Final = 64 * 1024 * 1024
"""The longest document, in bytes: what a transcript of 30 MB comes to when it is exported as one."""
DOCUMENT_BRACKETS_MAX: Final = 4_000_000
"""The most ``[`` and ``{`` in a document, in its texts too. Decoded, an empty array takes 64 bytes for its two; without
this limit, 64 MiB of them would take six gigabytes. Source code has one bracket in forty bytes."""
_SUFFIX: Final = ".json"


class ImportedDocument(msgspec.Struct, frozen=True):
    """The session that a document became."""

    path: Path
    session_id: SessionId
    loop_count: int


async def import_document(
    store: Store,
    path: Path,
    *,
    bytes_max: int = DOCUMENT_BYTES_MAX,
    brackets_max: int = DOCUMENT_BRACKETS_MAX,
    deleted: Deleted | None = None,
) -> ImportedDocument:
    """Import the phi-core document at ``path`` under its own session id, in one commit.

    Raises :class:`ImportFailed` when it cannot be read, is over one of the limits, is no such document, or its session
    was ``deleted`` from ``store`` (and that was not made with ``again=True``);
    :class:`SessionExists`, and whatever else the store raises. Nothing was written then.
    """
    path, file = await open_regular(path)
    try:
        with contained(path):
            data = await file.read(bytes_max + 1)
            if len(data) > bytes_max:
                raise ImportFailed(path, f"it is longer than {bytes_max:,} bytes, the most for a document")
            if data.count(b"[") + data.count(b"{") > brackets_max:
                raise ImportFailed(path, f"it has more than {brackets_max:,} brackets, the most for a document")
            session = read_document(data)
            deleted = deleted or Deleted(store)
            await deleted.settle(session.session_id)
            if await deleted.among([SessionId(session.session_id)]):
                raise ImportFailed(path, f"its session {session.session_id} was {DELETED_REASON}")
            return ImportedDocument(path, await import_session(store, session), len(session.loops))
    finally:
        await close(file)


async def find_documents(paths: Iterable[Path]) -> list[Path]:
    """Return the documents at ``paths``: a file as it is, of a folder every ``*.json`` below; each once.

    What is not there, and a folder that cannot be read, is returned too, for the import to name.
    """
    return await anyio.to_thread.run_sync(_find, list(paths))


def _find(paths: list[Path]) -> list[Path]:
    return list(dict.fromkeys(file for path in paths for file in sorted(files_at(path, _SUFFIX))))
