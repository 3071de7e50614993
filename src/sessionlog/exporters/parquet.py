"""Entries as a Parquet table (extra ``parquet``): one row each, for whatever query engine reads Parquet.

Rows are written in groups, so that memory is bounded whatever the logs' size. ``entry`` is the whole entry as JSON;
numbers that 64 bits with a sign do not hold are null in their column, and stay in ``entry``.
"""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import anyio.to_thread
import pyarrow as pa
import pyarrow.parquet as pq

from ..entries import AssistantItems, HookInjectedItems, LlmUsage, SessionStart, ToolResults, UserInput, entry_kind
from ..items import Item, Message, ToolCall, ToolResult
from ..record import HASHED_FROM, HashedEntry

GROUP_ROWS_MAX: Final = 4096
GROUP_BYTES_MAX: Final = 16 * 1024 * 1024
_INT64: Final = range(-(2**63), 2**63)

SCHEMA: Final = pa.schema(
    [
        pa.field("session_id", pa.string(), nullable=False),
        pa.field("seq", pa.int64(), nullable=False),
        pa.field("hash", pa.string(), nullable=False),
        pa.field("prev_hash", pa.string()),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("ts", pa.timestamp("ms", tz="UTC")),
        pa.field("line_bytes", pa.int64(), nullable=False),
        pa.field("items", pa.int64(), nullable=False),
        pa.field("role", pa.string()),
        pa.field("tools", pa.list_(pa.string()), nullable=False),
        pa.field("tool_errors", pa.int64(), nullable=False),
        pa.field("text", pa.string()),
        pa.field("input_total_tokens", pa.int64()),
        pa.field("cache_read_tokens", pa.int64()),
        pa.field("cache_write_tokens", pa.int64()),
        pa.field("output_tokens", pa.int64()),
        pa.field("entry", pa.string(), nullable=False),
    ]
)
"""The table's columns. ``role`` and ``text`` are those of the entry's messages, ``tools`` of its calls."""


class ParquetFile:
    """Writes entries to a Parquet file. Use it as an async context manager: the file is whole when that is left."""

    def __init__(self, path: Path) -> None:
        """Write to ``path``, which is made or overwritten."""
        self._writer = pq.ParquetWriter(str(path), SCHEMA, compression="zstd")
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0
        self.rows_written: int = 0

    async def add(self, session_id: str, record: HashedEntry) -> None:
        """Add one row. Raises :class:`CorruptLog` if the record does not decode."""
        self._rows.append(row_of(session_id, record))
        self._bytes += len(record.line)
        if len(self._rows) >= GROUP_ROWS_MAX or self._bytes >= GROUP_BYTES_MAX:
            await self.flush()

    async def flush(self) -> None:
        """Write the rows that are held as one group."""
        if self._rows:
            rows, self._rows, self._bytes = self._rows, [], 0
            await anyio.to_thread.run_sync(self._write, rows)
            self.rows_written += len(rows)

    def _write(self, rows: Sequence[dict[str, Any]]) -> None:
        self._writer.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMA))

    async def __aenter__(self) -> Self:
        """Return the file."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Write the last group and the footer."""
        try:
            if kind is None:
                await self.flush()
        finally:
            self._writer.close()


def row_of(session_id: str, record: HashedEntry) -> dict[str, Any]:
    """Return the row of a record."""
    entry = record.entry
    items: Sequence[Item] = ()
    match entry:
        case SessionStart():
            items = entry.history
        case UserInput():
            items = (entry.item,)
        case AssistantItems() | ToolResults() | HookInjectedItems():
            items = entry.items
        case _:
            pass
    said = [item for item in items if isinstance(item, Message)]
    row: dict[str, Any] = {
        "session_id": session_id,
        "seq": record.seq,
        "hash": record.hash,
        "prev_hash": record.prev_hash,
        "kind": entry_kind(entry),
        "ts": _int64(entry.ts),
        "line_bytes": len(record.line) + 1,
        "items": len(items),
        "role": said[0].role if said else None,
        "tools": [item.name for item in items if isinstance(item, ToolCall)],
        "tool_errors": sum(isinstance(item, ToolResult) and item.is_error for item in items),
        "text": "\n".join(message.text for message in said) if said else None,
        "entry": _entry_json(record),
    }
    if isinstance(entry, LlmUsage):
        for name in ("input_total_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens"):
            row[name] = _int64(getattr(entry, name))
    return row


def _int64(value: int) -> int | None:
    return value if value in _INT64 else None


def _entry_json(record: HashedEntry) -> str:
    """Return the entry's own bytes: what follows the envelope's three members (FORMAT section 2)."""
    start = record.line.index(b'"kind":', HASHED_FROM)
    return "{" + record.line[start:].decode()
