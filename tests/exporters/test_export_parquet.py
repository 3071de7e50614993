"""The Parquet table has a row for each entry, and an engine reads it."""

from pathlib import Path
from typing import Any

import msgspec
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from sessionlog import Extension, MemoryStore, SessionStartState, UserInput, create_session, user_message
from sessionlog.exporters import parquet
from sessionlog.exporters.parquet import ParquetFile
from sessionlog.importers.claude_code import import_paths

pytestmark = pytest.mark.anyio


async def write(store: MemoryStore, path: Path) -> Any:
    async with ParquetFile(path) as file:
        for session_id in await store.list_sessions():
            for record in await store.read_all(session_id):
                await file.add(session_id, record)
    return pq.read_table(path)


async def test_real_sessions_row_by_row(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups are small, every record has its row, and sums over columns are those of the records."""
    monkeypatch.setattr(parquet, "GROUP_ROWS_MAX", 100)
    store = MemoryStore()
    await import_paths(store, [shared / "data" / "claude-code"])
    table = await write(store, tmp_path / "t.parquet")
    records = [record for one in await store.list_sessions() for record in await store.read_all(one)]
    assert table.column("hash").to_pylist() == [record.hash for record in records]
    decoded = [msgspec.json.decode(record.line) for record in records]
    assert pc.sum(table.column("output_tokens")).as_py() == sum(one.get("output_tokens", 0) for one in decoded)
    for text, entry in zip(table.column("entry").to_pylist(), decoded, strict=True):
        assert msgspec.json.decode(text) == {name: entry[name] for name in list(entry)[3:]}
    assert pq.ParquetFile(tmp_path / "t.parquet").num_row_groups == -(-len(records) // 100)


async def test_numbers_that_a_column_does_not_hold_stay_in_the_entry(tmp_path: Path) -> None:
    store = MemoryStore()
    log = await create_session(store, SessionStartState())
    await log.append(UserInput(ts=2**64 - 1, item=user_message("x")))
    await log.append(Extension(ts=-5, domain="d", payload=None))
    rows = (await write(store, tmp_path / "t.parquet")).to_pylist()
    assert rows[1]["ts"] is None
    assert '"ts":18446744073709551615' in rows[1]["entry"]
    assert (rows[1]["role"], rows[1]["text"], rows[2]["items"]) == ("user", "x", 0)


async def test_an_empty_store_gives_an_empty_table(tmp_path: Path) -> None:
    async with ParquetFile(tmp_path / "t.parquet") as file:
        await file.flush()
    assert pq.read_table(tmp_path / "t.parquet").num_rows == 0
