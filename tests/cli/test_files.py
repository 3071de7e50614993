"""Files that commands write take another's place whole, and durably."""

import os
from pathlib import Path

import pytest

from sessionlog.cli.files import replacing

pytestmark = pytest.mark.anyio


async def test_a_replaced_file_is_flushed_with_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The content is flushed before the name, and the name before the command says that it is done."""
    path = tmp_path / "out.csv"
    path.write_text("old")
    flushed: list[tuple[int, str]] = []
    flush = os.fsync

    def note(fd: int) -> None:
        flush(fd)
        flushed.append((os.fstat(fd).st_ino, path.read_text()))

    monkeypatch.setattr(os, "fsync", note)
    async with replacing(path) as temporary:
        temporary.write_text("new")
        inode = temporary.stat().st_ino
    assert flushed == [(inode, "old"), (tmp_path.stat().st_ino, "new")]
