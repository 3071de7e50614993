"""A transcript beside older copies of it: each of its lines is in the store once, in whatever order they come."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from foreign import SID, Transcript, check_store, is_note
from test_claude_code_growth import Failing, script
from test_codex import Rollout
from test_pi import Session

from sessionlog import LlmUsage, MemoryStore, StoreFailed, build_chain
from sessionlog.importers import find_transcripts, import_file, import_paths

pytestmark = pytest.mark.anyio


def claude() -> bytes:
    """Return a transcript with compactions, torn lines, abandoned attempts and a line that stands there twice."""
    made = script()
    answer = made.says("yes", "m7")
    made.user("abandoned")
    made.says("one", "m8")
    made.lines.insert(9, made.lines[4])
    made.user("live", parent=answer)
    made.says("two", "m9")
    return made.bytes()


def codex() -> bytes:
    """Return a rollout with several turns and a rollback."""
    made = Rollout()
    made.turn("a", "1")
    made.turn("b", "2")
    made.event("thread_rolled_back", num_turns=1)
    made.turn("c", "3")
    return b"\n".join(made.lines) + b"\n"


def pi() -> bytes:
    """Return a session with a branch."""
    made = Session()
    start = made.user("a")
    made.user("b")
    made.user("c", parent=start)
    return b"\n".join(made.lines) + b"\n"


async def records(store: MemoryStore) -> int:
    return sum([len(await store.read_all(one)) for one in await store.list_sessions()])


async def tokens(store: MemoryStore) -> int:
    logs = [await store.read_all(one) for one in await store.list_sessions()]
    return sum(one.entry.output_tokens for log in logs for one in log if isinstance(one.entry, LlmUsage))


def cuts_of(data: bytes, random_: random.Random) -> list[bytes]:
    return [data, *(data[: random_.randrange(len(data))] for _ in range(4))]


def write(folder: Path, copies: Sequence[bytes]) -> list[Path]:
    paths = [folder / f"{number}.jsonl" for number in range(len(copies))]
    for path, data in zip(paths, copies, strict=True):
        path.write_bytes(data)
    return paths


async def check_copies(folder: Path, copies: Sequence[bytes], data: bytes) -> None:
    """Import ``copies`` of ``data`` in their order, three times, and compare with an import of ``data`` alone."""
    paths = write(folder, copies)
    alone, store = MemoryStore(), MemoryStore()
    (whole,) = (await import_paths(alone, [paths[list(copies).index(data)]])).reports
    first = await import_paths(store, paths)
    assert not first.failures
    new = sum(one.imported - one.imported_before for one in first.reports if not one.older_copy)
    assert new == whole.imported
    assert {one.session_id for one in first.reports} <= {whole.session_id, None}
    assert await tokens(store) == await tokens(alone)
    before = await records(store)
    for _ in range(2):
        again = await import_paths(store, paths)
        assert again.failures == []
        assert [one.records_added for one in again.reports] == [0] * len(paths)
        assert all(one.unchanged for one in again.reports)
    assert await records(store) == before
    await check_store(store)


@pytest.mark.parametrize("make", [claude, codex, pi])
@pytest.mark.parametrize("order", ["sorted", "reversed", "shuffled"])
async def test_a_folder_of_copies_is_imported_once(tmp_path: Path, make: Callable[[], bytes], order: str) -> None:
    """Beginnings cut at any byte, of each format: nothing twice, and a second and third import add no record."""
    data = make()
    for seed in range(10):
        random_ = random.Random(seed)
        copies = sorted(cuts_of(data, random_), key=len, reverse=order == "reversed")
        if order == "shuffled":
            random_.shuffle(copies)
        await check_copies(tmp_path, copies, data)


async def test_real_transcripts_and_their_copies(tmp_path: Path, shared: Path) -> None:
    """The same for files that tools wrote."""
    random_ = random.Random(1)
    for path in await find_transcripts([shared / "data"]):
        data = path.read_bytes()
        if len(data) < 100_000:
            copies = cuts_of(data, random_)
            random_.shuffle(copies)
            await check_copies(tmp_path, copies, data)


async def test_every_beginning_is_an_older_copy(tmp_path: Path) -> None:
    """Cut behind each line, under another name, after the whole: it is told, and nothing is written."""
    data = claude()
    (whole,) = write(tmp_path, [data])
    store = MemoryStore()
    await import_file(store, whole)
    before = await records(store)
    copy = tmp_path / "backup.jsonl"
    for end in [at + 1 for at, byte in enumerate(data) if byte == 10][2:-1]:
        copy.write_bytes(data[:end])
        report = await import_file(store, copy)
        assert (report.older_copy, report.unchanged, report.session_id) == (True, True, SID), end
        assert await records(store) == before


def parted(*texts: str) -> bytes:
    """Return a transcript of one shared line and one for each of ``texts``."""
    made = Transcript()
    made.user("shared")
    for number, text in enumerate(texts):
        made.says(text, f"m{number}")
    return made.bytes()


@pytest.mark.parametrize("seed", range(6))
async def test_files_that_differ_become_sessions_of_their_own_once(tmp_path: Path, seed: int) -> None:
    """Three that part after a shared beginning, with copies of each, in any order: ``-2``, ``-3``, and never again."""
    files = [parted("a", "b", "c"), parted("a", "x", "y"), parted("z"), parted("a", "b"), parted("a", "x"), parted("a")]
    random.Random(seed).shuffle(files)
    store = MemoryStore()
    paths = write(tmp_path, files)
    await import_paths(store, paths)
    assert set(await store.list_sessions()) == {SID, f"{SID}-2", f"{SID}-3"}
    before = await records(store)
    for order in (paths, paths[::-1], paths):
        assert (await import_paths(store, order)).failures == []
        assert await records(store) == before
    grown = tmp_path / "grown.jsonl"
    grown.write_bytes(parted("a", "x", "y", "more"))
    report = await import_file(store, grown)
    assert (report.imported - report.imported_before, report.sessions[0].made) == (1, False)
    assert all(one.unchanged for one in (await import_paths(store, [*paths, grown])).reports)


async def test_copies_of_a_sub_agent_s_file(tmp_path: Path) -> None:
    """A sub-agent's session, whose id is derived, knows its copies too."""
    made = Transcript(agent="a1")
    for number in range(4):
        made.user(f"do {number}")
        made.says("done", f"m{number}")
    data = made.bytes()
    await check_copies(tmp_path, [data[: len(data) // 2], data, data[:-9]], data)


@pytest.mark.parametrize("copy_first", [False, True])
async def test_a_copy_comes_after_an_import_that_was_broken_off(tmp_path: Path, copy_first: bool) -> None:
    """Whatever commit failed, and whichever file comes next: in the end each line is there once."""
    data = claude()
    copy, path = write(tmp_path, [data[: len(data) * 2 // 3], data])
    whole = MemoryStore()
    expected = (await import_file(whole, path)).imported
    for failures in range(100):
        store = Failing()
        store.commits_left = failures
        try:
            await import_file(store, path)
            break
        except StoreFailed:
            store.commits_left = 10**6
        for one in [copy, path] if copy_first else [path, copy]:
            await import_file(store, one)
        report = await import_file(store, path)
        assert (report.unchanged, report.imported_before) == (True, expected)
        assert (await import_file(store, copy)).older_copy
        assert set(await store.list_sessions()) == set(await whole.list_sessions())
        assert await tokens(store) == await tokens(whole)
        await check_store(store)
    assert failures > 3


async def test_a_log_without_marks_goes_on(tmp_path: Path) -> None:
    """Notes of earlier versions name only the source: it grows, and the copies that were imported are known."""
    data = parted("a", "b", "c")
    copy, path = write(tmp_path, [data[: data.index(b"\n", data.index(b'"b"')) + 1], data])
    new = MemoryStore()
    await import_file(new, copy)
    old = await without_marks(new)
    report = await import_file(old, path)
    assert (report.imported, report.imported_before, report.session_id) == (4, 3, SID)
    assert (await import_file(old, copy)).older_copy
    assert (await import_file(old, path)).unchanged


async def without_marks(store: MemoryStore) -> MemoryStore:
    """Return a store with the same entries, but for the marks in notes."""
    copy = MemoryStore()
    for session_id in await store.list_sessions():
        entries = [one.entry for one in await store.read_all(session_id)]
        for entry in entries:
            if is_note(entry):
                entry.payload.pop("marks", None)  # type: ignore[union-attr]
        await copy.create_session(session_id, build_chain(entries))
    return copy


async def test_a_turn_that_the_whole_file_does_not_have_is_no_news(tmp_path: Path) -> None:
    """A parent that came late moved a line to another session: what the log began there is left, and noted once."""
    made = Transcript()
    made.user("hi")
    made.calls("c1", "m1")
    made.result("c1", "out")
    last = made.says("done", "m2")
    made.boundary(last)
    made.summary()
    by_place = [made.lines[at] for at in (0, 1, 4, 3, 2, 5)]
    path = tmp_path / "t.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in by_place[:4]))
    store = MemoryStore()
    await import_file(store, path, growing=True)
    path.write_bytes(b"".join(line + b"\n" for line in by_place))
    assert not (await import_file(store, path)).unchanged
    for _ in range(3):
        assert (await import_file(store, path)).unchanged
