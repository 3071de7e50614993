"""What goes wrong with one file stays with that file: odd lines, deep folders, bugs; the others are imported."""

import logging
import os
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from test_pi import SID, Session

from sessionlog import FileStore, MemoryStore, StoreFailed
from sessionlog.importers import (
    CaughtUp,
    Imported,
    Kept,
    NotImported,
    Watch,
    find_transcripts,
    import_file,
    import_paths,
)
from sessionlog.importers.pi.transcript import PiTranscript

pytestmark = pytest.mark.anyio
ODD = b'{"type":{}}\n{"type":[],"timestamp":1,"payload":[]}\n{"type":"session","id":{},"timestamp":[]}\n'
"""Lines whose members are of other types than anyone expects."""


def odd_folder(folder: Path) -> Path:
    """A folder with a good file between two odd ones."""
    good = Session()
    good.user("a")
    good.write(folder, "m.jsonl")
    (folder / "a.jsonl").write_bytes(ODD)
    (folder / "z.jsonl").write_bytes(ODD)
    return folder


def broken(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let reading a pi session's line raise ``error``, if the line says so."""
    add = PiTranscript.add

    def add_or_fail(self: PiTranscript, found: Any, *, fits: bool) -> str | Kept | None:
        if b"a bug" in found.raw:
            raise error
        return add(self, found, fits=fits)

    monkeypatch.setattr(PiTranscript, "add", add_or_fail)


async def test_an_odd_line_fails_its_own_file_only(tmp_path: Path) -> None:
    summary = await import_paths(MemoryStore(), [odd_folder(tmp_path)])
    assert [one.path.name for one in summary.reports] == ["m.jsonl"]
    assert [one.path.name for one in summary.failures] == ["a.jsonl", "z.jsonl"]


async def test_an_odd_line_does_not_end_a_watch(tmp_path: Path) -> None:
    seen: list[tuple[type, str]] = []
    async with aclosing(Watch(MemoryStore(), [odd_folder(tmp_path)]).run()) as outcomes:
        async for outcome in outcomes:
            match outcome:
                case CaughtUp():
                    break
                case Imported(report=report):
                    seen.append((Imported, report.path.name))
                case NotImported(path=path):
                    seen.append((NotImported, path.name))
    assert seen == [(NotImported, "a.jsonl"), (Imported, "m.jsonl"), (NotImported, "z.jsonl")]


async def test_a_bug_fails_the_file_that_meets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With the exception's name for whoever reports it; the traceback is in the debug log."""
    broken(monkeypatch, TypeError("unhashable"))
    bad = Session()
    bad.user("a bug")
    bad.write(odd_folder(tmp_path), "b.jsonl")
    caplog.set_level(logging.DEBUG, logger="sessionlog.importers")
    summary = await import_paths(MemoryStore(), [tmp_path])
    assert [one.path.name for one in summary.reports] == ["m.jsonl"]
    [failed] = [one for one in summary.failures if one.path.name == "b.jsonl"]
    assert "TypeError: unhashable" in failed.reason
    assert isinstance(failed.__cause__, TypeError)
    assert "add_or_fail" in caplog.text
    assert [record.levelno for record in caplog.records] == [logging.DEBUG]


@pytest.mark.parametrize("error", [StoreFailed("the disk is full"), KeyboardInterrupt()], ids=["store", "interrupt"])
async def test_what_is_not_the_files_is_not_swallowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Errors of the store, and what ends the program, stop an import as before."""
    broken(monkeypatch, error)
    bad = Session()
    bad.user("a bug")
    with pytest.raises(type(error)):
        await import_file(MemoryStore(), bad.write(tmp_path))


async def test_folders_as_deep_as_paths_go_are_read_and_deeper_ones_named(tmp_path: Path) -> None:
    """No folder is too deep to be looked through; below the longest path there is, the folder itself is told."""
    here = os.open(tmp_path, os.O_RDONLY)
    names = ["d"] * 1100 + ["d" * 200] * 20
    for level, name in enumerate(names):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
        if level == 1050:
            fd = os.open("deep.jsonl", os.O_CREAT | os.O_WRONLY, dir_fd=here)
            good = Session()
            good.user("a")
            os.write(fd, good.bytes())
            os.close(fd)
    os.close(here)
    try:
        summary = await import_paths(MemoryStore(), [tmp_path])
        assert [one.path.name for one in summary.reports] == ["deep.jsonl"]
        assert ["cannot be read" in one.reason for one in summary.failures] == [True]
    finally:
        _remove_deep(tmp_path, names)


def _remove_deep(folder: Path, names: list[str]) -> None:
    """Pull the chain apart from its top: what lies too deep has no path."""
    top = folder / "top"
    (folder / names[0]).rename(top)
    for name in [*names[1:], None]:
        if name is not None:
            (top / name).rename(folder / "next")
        for file in top.iterdir():
            file.unlink()
        top.rmdir()
        if name is not None:
            (folder / "next").rename(top)


async def test_links_in_a_circle_are_not_followed(tmp_path: Path) -> None:
    odd_folder(tmp_path)
    (tmp_path / "up").symlink_to(tmp_path)
    (tmp_path / "self.jsonl").symlink_to(tmp_path / "self.jsonl")
    names = [path.name for path in await find_transcripts([tmp_path, tmp_path / "up" / "up"])]
    assert names == ["a.jsonl", "m.jsonl", "self.jsonl", "z.jsonl"]


async def test_what_names_no_file_is_named(tmp_path: Path) -> None:
    """A path that is too long, one with a NUL, one through a file."""
    file = tmp_path / "f"
    file.touch()
    paths = [tmp_path / ("x" * 300), tmp_path / "a\0b", file / "below"]
    summary = await import_paths(MemoryStore(), paths)
    assert len(summary.failures) == 3
    assert all("cannot be read" in one.reason for one in summary.failures)


async def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (tmp_path / "shut").mkdir(mode=0)
    [failed] = (await import_paths(MemoryStore(), [odd_folder(tmp_path)])).failures[2:]
    assert "may not be read" in failed.reason


@pytest.mark.parametrize("planted", ["link", "folder", "damage"])
async def test_a_log_of_the_store_that_cannot_be_read_fails_its_own_file_only(tmp_path: Path, planted: str) -> None:
    """The others go to logs of their own; the reason names the log."""
    folder = tmp_path / "transcripts"
    folder.mkdir()
    for number in (1, 2, 3):
        session = Session()
        session.lines[0] = session.lines[0].replace(SID.encode(), b"%s%d" % (SID[:-1].encode(), number))
        session.user("a")
        session.write(folder, f"{number}.jsonl")
    async with FileStore(tmp_path / "store", "os") as store:
        first, second, third = (await import_paths(store, [folder])).reports
    log = tmp_path / "store" / f"{second.session_id}.jsonl"
    log.rename(tmp_path / "elsewhere")
    if planted == "link":
        log.symlink_to(tmp_path / "elsewhere")
    elif planted == "folder":
        log.mkdir()
    else:
        log.write_bytes((tmp_path / "elsewhere").read_bytes().replace(b'"seq":1', b'"seq":7'))
    async with FileStore(tmp_path / "store", "os") as store:
        summary = await import_paths(store, [folder])
    assert [one.session_id for one in summary.reports] == [first.session_id, third.session_id]
    assert [one.path.name for one in summary.failures] == ["2.jsonl"]
    assert second.session_id is not None
    assert second.session_id in summary.failures[0].reason
