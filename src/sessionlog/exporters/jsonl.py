"""The log itself: every record's bytes as they are, each with its LF, so that the copy verifies (FORMAT section 2).

An unfinished record at the end of a log is no part of it and is not exported. The copy is the same session: it verifies
under its own id, so a file that is to be read by a store is to be named ``<session_id>.jsonl``.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from ..store import Store


async def export_jsonl(store: Store, session_id: str) -> AsyncGenerator[bytes, None]:
    """Stream the verified records of a session, one line each with its LF. Raises whatever reading raises."""
    async with aclosing(store.read(session_id)) as records:
        async for record in records:
            yield record.line + b"\n"
