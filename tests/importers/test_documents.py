"""phi-core documents as files: which are found, which are opened, how much is read."""

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from sessionlog import MemoryStore, SessionExists
from sessionlog.importers import ImportFailed, find_documents, import_document

pytestmark = pytest.mark.anyio
DOCUMENT = (Path(__file__).parent.parent / "loops" / "documents" / "older.json").read_bytes()
BRACKETS = DOCUMENT.count(b"{") + DOCUMENT.count(b"[")


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "a.json"
    path.write_bytes(DOCUMENT)
    return path


async def test_a_document_becomes_a_session_once(document: Path) -> None:
    store = MemoryStore()
    imported = await import_document(store, document)
    assert (imported.session_id, imported.loop_count) == ("harbour-1", 2)
    with pytest.raises(SessionExists):
        await import_document(store, document)


@pytest.mark.parametrize(("limit", "value"), [("bytes_max", len(DOCUMENT)), ("brackets_max", BRACKETS)])
async def test_a_document_at_a_limit_is_taken_and_one_beyond_it_is_not(document: Path, limit: str, value: Any) -> None:
    assert (await import_document(MemoryStore(), document, **{limit: value})).loop_count == 2
    store = MemoryStore()
    with pytest.raises(ImportFailed, match="the most for a document"):
        await import_document(store, document, **{limit: value - 1})
    assert await store.list_sessions() == []


async def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    """Nothing waits for a FIFO or reads a device to its end."""
    os.mkfifo(tmp_path / "fifo.json")
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    found = await find_documents([tmp_path])
    assert [path.name for path in found] == ["fifo.json", "zero.json"]
    with anyio.fail_after(60):
        for path in [*found, tmp_path / "none.json"]:
            with pytest.raises(ImportFailed, match=r"no regular file|No such file"):
                await import_document(MemoryStore(), path)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"session_id":{}}',
        DOCUMENT.replace(b'"harbour-1"', b'"../x"'),
        DOCUMENT.replace(b'"loops": [', b'"loops": {"a": 1}, "x": ['),
        DOCUMENT.replace(b'"metadata": ', b'"metadata": ' + b'{"a":' * 200 + b"1" + b"}" * 200 + b', "x": '),
    ],
    ids=["no UTF-8", "brackets", "another shape", "no id", "no list", "too deep"],
)
async def test_what_is_no_document_fails_with_a_reason(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(data)
    with pytest.raises(ImportFailed) as failed:
        await import_document(MemoryStore(), path)
    assert "bug" not in failed.value.reason


async def test_a_huge_sparse_file_costs_no_memory(tmp_path: Path) -> None:
    """Three gigabytes of zeros are refused by a process that may not even have one."""
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(3 * 2**30)
    ran = subprocess.run(
        [sys.executable, "-m", "sessionlog", "--store", tmp_path / "store", "import", "phi-core", path],
        capture_output=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30)),
    )
    assert ran.returncode == 2, ran
    assert b"the most for a document" in ran.stderr
