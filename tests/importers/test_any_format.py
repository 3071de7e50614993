"""Telling formats apart, and files that no format can make something of."""

import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from foreign import SID, Transcript, check_store
from test_codex import Rollout
from test_pi import Session

from sessionlog import MemoryStore
from sessionlog.importers import (
    FORMATS,
    ImportFailed,
    find_transcripts,
    import_file,
    import_paths,
    import_transcript,
    recognise,
)

pytestmark = pytest.mark.anyio


async def test_a_mixed_folder_is_told_apart(tmp_path: Path) -> None:
    """Each file by what is in it, whatever it is called, also behind lines that say nothing."""
    claude = Transcript()
    claude.user("hi")
    claude.write(tmp_path, "a.jsonl")
    rollout, session = Rollout(), Session()
    rollout.turn("a", "1")
    session.user("a")
    rollout.lines.insert(0, b'{"a":1}')
    session.lines.insert(0, b"no json")
    rollout.write(tmp_path, "b.jsonl")
    session.write(tmp_path, "c.jsonl")
    store = MemoryStore()
    summary = await import_paths(store, [tmp_path])
    assert {one.path.name: one.format for one in summary.reports} == {
        "a.jsonl": "claude-code",
        "b.jsonl": "codex",
        "c.jsonl": "pi",
    }
    assert summary.failures == []
    await check_store(store)
    assert all(one.unchanged for one in (await import_paths(store, [tmp_path])).reports)


async def test_every_line_is_of_one_format_only(shared: Path) -> None:
    """No first line of a real file is taken by two formats."""
    for path in await find_transcripts([shared / "data"]):
        by = [one.name for one in FORMATS if await _takes(path, one)]
        assert len(by) == 1, (path, by)


async def _takes(path: Path, one: Any) -> bool:
    try:
        return await recognise(MemoryStore(), path, formats=[one]) is one
    except ImportFailed:
        return False


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(bytes(range(256)) * 300, "no line of it holds a JSON object", id="binary"),
        pytest.param(
            b'{"rows": 3}\n' * 99, "no transcript of a known format: none of its first 50 JSON", id="other JSON"
        ),
        pytest.param(b"[1]\n[2]\n", "no line of it holds a JSON object", id="no objects"),
    ],
)
async def test_what_is_no_transcript_is_told(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(data)
    store = MemoryStore()
    with pytest.raises(ImportFailed) as failed:
        await import_file(store, path)
    assert reason in failed.value.reason
    assert await store.list_sessions() == []


async def test_a_foreign_file_that_grows_is_refused_for_the_same_reason(tmp_path: Path) -> None:
    """A watch tells a reason once, until it is another one: it must not change with each line."""
    path = tmp_path / "x.jsonl"
    reasons = set()
    for lines in (1, 2, 50, 99):
        path.write_bytes(b'{"rows": 3}\n' * lines)
        with pytest.raises(ImportFailed) as failed:
            await import_file(MemoryStore(), path)
        reasons.add(failed.value.reason)
    assert len(reasons) == 1


@pytest.mark.parametrize(("data", "waiting"), [(b"", 0), (b"\n\n\0\0", 0), (b'{"timestamp":"2026-0', 1)])
async def test_an_empty_file_is_no_failure(tmp_path: Path, data: bytes, waiting: int) -> None:
    """There is nothing in it yet; what is half there waits."""
    path = tmp_path / "x.jsonl"
    path.write_bytes(data)
    steps: list[int] = []
    report = await import_file(MemoryStore(), path, progress=steps.append)
    assert (report.format, report.session_id, report.unchanged) == (None, None, True)
    assert len(report.waiting) == waiting
    assert sum(steps) == len(data) == report.bytes_read


async def test_an_endless_line_costs_bounded_memory(tmp_path: Path) -> None:
    """64 MiB on one line, with a limit of 1 MiB: the line is listed, the rest is imported."""
    made = Rollout()
    made.turn("a", "1")
    path = made.write(tmp_path)
    with path.open("r+b") as file:
        data = file.read()
        first = data.index(b"\n") + 1
        file.truncate(first)
        file.seek(first)
        file.write(b'{"x":"')
        file.seek(first + 64 * 2**20)
        file.write(b'"}\n' + data[first:])
    store = MemoryStore(line_bytes_max=2**20)
    tracemalloc.start()
    report = await import_file(store, path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [one.line for one in report.not_understood] == [2]
    assert report.imported == len(made.lines)
    assert peak < 16 * 2**20


async def test_unreadable_files_do_not_stop_the_rest(tmp_path: Path) -> None:
    """Each with one reason; and of ten thousand files, each is found once."""
    good = Session()
    good.user("a")
    good.write(tmp_path, "z.jsonl")
    os.mkfifo(tmp_path / "f.jsonl")
    (tmp_path / "l.jsonl").symlink_to(tmp_path / "l.jsonl")
    summary = await import_paths(MemoryStore(), [tmp_path, tmp_path / "gone.jsonl"])
    assert [one.path.name for one in summary.reports] == ["z.jsonl"]
    assert sorted(one.path.name for one in summary.failures) == ["f.jsonl", "gone.jsonl", "l.jsonl"]


async def test_ten_thousand_files_are_found_once(tmp_path: Path) -> None:
    for number in range(10_000):
        os.mknod(tmp_path / f"{number}.jsonl")
    assert len(await find_transcripts([tmp_path, tmp_path])) == 10_000


async def test_the_same_id_in_two_formats_makes_two_sessions(tmp_path: Path) -> None:
    """Notes of another format are not taken for one's own."""
    claude, session = Transcript(), Session()
    claude.user("hi")
    session.raw({"type": "message", "timestamp": 1, "message": {"role": "user", "content": "a"}})
    session.lines[0] = session.lines[0].replace(b"738aa34c-0000-4000-8000-000000000000", SID.encode())
    store = MemoryStore()
    reports = [
        await import_file(store, claude.write(tmp_path, "a.jsonl")),
        await import_file(store, session.write(tmp_path, "b.jsonl")),
    ]
    assert [one.session_id for one in reports] == [SID, f"{SID}-2"]


async def test_one_file_as_two_formats_makes_two_sessions(tmp_path: Path) -> None:
    """A format that was forced wrongly does no harm to an import as the right one, nor the other way round."""
    path = tmp_path / "x.jsonl"
    path.write_text('{"type":"message","timestamp":1,"message":{"role":"user","content":"a"}}\n')
    store = MemoryStore()
    for again in (False, True):
        reports = [await import_transcript(store, path, one) for one in FORMATS[1:]]
        assert [(one.session_id, one.unchanged) for one in reports] == [("x", again), ("x-2", again)]
    await check_store(store)
