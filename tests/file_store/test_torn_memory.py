"""A large torn tail costs no memory: bytes after the last LF are no part of the log, so nothing holds them."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
import torn_memory

from sessionlog import FileStore, SessionStartState, create_session_with_id
from sessionlog.record import LINE_BYTES_MAX

TAIL_BYTES = 600_000_000
LONGER = ["read_all", "restore", "follow", "audit"]
PEAK_BYTES_MAX = 64 * 1024 * 1024
SLACK_BYTES = 16 * 1024 * 1024


def make_torn(root: Path, *, tail_bytes: int, begin: bytes = b"") -> Path:
    """Write a log of one record and a tail that takes no space on the disk; return its path."""

    async def make() -> None:
        async with FileStore(root, "os") as store:
            await create_session_with_id(store, torn_memory.TORN, SessionStartState())

    anyio.run(make)
    path = root / f"{torn_memory.TORN}.jsonl"
    with path.open("ab") as file:
        file.write(begin)
    os.truncate(path, path.stat().st_size + tail_bytes)
    return path


def peak_growth(call: str, root: Path) -> int:
    command = [sys.executable, torn_memory.__file__, call, str(root)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return int(done.stdout)


@pytest.mark.parametrize(
    "call",
    ["read", "read_head", "verify", *(pytest.param(call, marks=pytest.mark.long) for call in LONGER)],
)
def test_a_large_torn_tail_takes_no_memory(
    call: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """600 MB without an LF are read, verified and audited in 64 MiB."""
    make_torn(tmp_path / "large", tail_bytes=TAIL_BYTES)
    grown = peak_growth(call, tmp_path)
    record_property("peak_bytes", grown)
    assert grown <= PEAK_BYTES_MAX


@pytest.mark.parametrize("call", ["read", "verify", pytest.param("audit", marks=pytest.mark.long)])
def test_a_large_tail_that_begins_like_a_record_takes_the_memory_of_one_line(
    call: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """600 MB behind the head of a record could become one until they are longer than a line: no more of it is held."""
    begin = b'{"hash":"%064d","prev_hash":"%064d","seq":1,"kind":"user_input","ts":0,"item":"' % (0, 0)
    make_torn(tmp_path / "large", tail_bytes=TAIL_BYTES, begin=begin)
    grown = peak_growth(call, tmp_path)
    record_property("peak_bytes", grown)
    assert grown <= (PEAK_BYTES_MAX if call == "read" else LINE_BYTES_MAX + SLACK_BYTES)


@pytest.mark.parametrize("tail_bytes", [100_000_000, pytest.param(TAIL_BYTES, marks=pytest.mark.long)])
def test_a_large_torn_tail_is_set_aside_in_pieces(
    tail_bytes: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """The writer that cuts a large torn tail copies it whole, in 64 MiB."""
    path = make_torn(tmp_path / "large", tail_bytes=tail_bytes, begin=b'{"hash":"')
    size = path.stat().st_size
    end = path.read_bytes().index(b"\n") + 1 if tail_bytes < TAIL_BYTES else None
    grown = peak_growth("append", tmp_path)
    record_property("peak_bytes", grown)
    assert grown <= PEAK_BYTES_MAX
    (aside,) = path.parent.glob("*.torn-*")
    assert end is None or aside.name == f"{torn_memory.TORN}.torn-{end}"
    assert aside.stat().st_size == size - int(aside.name.rpartition("-")[2])


@pytest.mark.parametrize(
    "call",
    ["read_head of a line that is too long", "audit of a line that is too long"],
)
def test_a_line_that_is_too_long_takes_no_memory(
    call: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """200 MB that an LF ends are a broken line: found out in 64 MiB, too."""
    path = make_torn(tmp_path / "large", tail_bytes=0)
    path.write_bytes(b"")
    os.truncate(path, 200_000_000)
    with path.open("ab") as file:
        file.write(b"\n")
    grown = peak_growth(call, tmp_path)
    record_property("peak_bytes", grown)
    assert grown <= PEAK_BYTES_MAX
