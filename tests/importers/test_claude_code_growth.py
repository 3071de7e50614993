"""Importing again: nothing twice, nothing missing, whatever happened in between."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from blake3 import blake3
from foreign import SID, Transcript, check_store, contents, is_note

from sessionlog import HashedEntry, MemoryStore, SessionId, StoreFailed, restore, user_message
from sessionlog.importers.claude_code import import_file
from sessionlog.session import SessionStartState, create_session_with_id, open_session

pytestmark = pytest.mark.anyio


def script() -> Transcript:
    """Make a transcript with a bit of everything; its live branch is settled by its first three lines."""
    made = Transcript()
    made.raw({"type": "file-history-snapshot", "messageId": "x", "snapshot": {}})
    made.progress()
    made.user("gö ünï 😀")
    made.says("thinking", "m1", out=1)
    one = made.calls("c1", "m1", out=7)
    two = made.calls("c2", "m1", out=30)
    made.progress(parent=one)
    made.result("c1", parent=one)
    made.raw(b'{"type":"user","message":"torn')
    made.result("c2", parent=two)
    made.raw(b"")
    made.says("end", "m2", out=2)
    made.raw({"type": "summary", "summary": "s", "leafUuid": "y"})
    last = made.says("end, really", "m2", out=20)
    made.lines[-2] += made.lines.pop()  # two objects on one line
    made.boundary(last)
    made.summary("short")
    made.user("more")
    made.says("fine", "m3")
    return made


class Failing(MemoryStore):
    """A store that fails after some commits."""

    def __init__(self) -> None:
        super().__init__()
        self.commits_left = 10**6

    async def create_session(self, session_id: str, records: Sequence[HashedEntry]) -> None:
        self._count()
        await super().create_session(session_id, records)

    async def append(self, session_id: str, *records: HashedEntry) -> None:
        self._count()
        await super().append(session_id, *records)

    def _count(self) -> None:
        if self.commits_left == 0:
            raise StoreFailed("no space left")
        self.commits_left -= 1


async def test_every_cut_gives_the_same_records(tmp_path: Path) -> None:
    """Cut anywhere, also within a message and within a character: the second import adds exactly the rest."""
    data = script().bytes()
    path = tmp_path / "t.jsonl"
    path.write_bytes(data)
    whole = MemoryStore()
    await import_file(whole, path)
    expected = await contents(whole)
    ends = [index for index, byte in enumerate(data) if byte == 10]
    for cut in sorted({*range(0, len(data), 83), *ends, *(end + 1 for end in ends), *(end + 2 for end in ends)}):
        store = MemoryStore()
        path.write_bytes(data[:cut])
        await import_file(store, path, growing=True)
        path.write_bytes(data)
        await import_file(store, path)
        assert await contents(store) == expected, cut
        await check_store(store)


async def test_line_by_line_gives_the_same_records(tmp_path: Path) -> None:
    """A file that is followed while it is written ends up as if it had been imported at once."""
    data = script().bytes()
    path = tmp_path / "t.jsonl"
    path.write_bytes(data)
    whole, store = MemoryStore(), MemoryStore()
    await import_file(whole, path)
    for cut in [index + 1 for index, byte in enumerate(data) if byte == 10]:
        path.write_bytes(data[:cut])
        await import_file(store, path, growing=True)
    await import_file(store, path)
    assert await contents(store) == await contents(whole)


async def test_a_message_that_went_on_after_it_was_counted_is_not_counted_twice(tmp_path: Path) -> None:
    """Tokens add up at every moment, also for a file that was taken for finished in the middle of a message."""
    made = Transcript()
    made.user("go")
    made.says("a", "m1", out=1)
    store = MemoryStore()
    await import_file(store, made.write(tmp_path))
    assert await tokens(store) == (123, 1)
    made.calls("c1", "m1", out=60)
    await import_file(store, made.write(tmp_path))
    assert await tokens(store) == (123, 60)
    assert (await import_file(store, made.write(tmp_path))).unchanged


async def tokens(store: MemoryStore) -> tuple[int, int]:
    usage = (await restore(store, SessionId(SID))).usage_history
    return sum(one.input_total_tokens for one in usage), sum(one.output_tokens for one in usage)


async def test_an_import_that_failed_anywhere_goes_on(tmp_path: Path) -> None:
    """Whichever commit fails: the error surfaces, every chain is whole, and the next import completes it."""
    made = script()
    live = made.lines[2]
    for _ in range(130):  # several commits to one session
        made.progress()
    made.says("late attempt", "m8", parent="00000002-0000-4000-8000-000000000000")
    made.user("last")
    assert live
    path = made.write(tmp_path)
    whole = MemoryStore()
    await import_file(whole, path)
    expected = await contents(whole)
    failures = 0
    while True:
        store = Failing()
        store.commits_left = failures
        try:
            await import_file(store, path)
            break
        except StoreFailed:
            failures += 1
        await check_store(store)
        store.commits_left = 10**6
        await import_file(store, path)
        assert await contents(store) == expected
        assert (await import_file(store, path)).unchanged
    assert failures >= 5


async def test_an_import_of_a_grown_file_that_failed_anywhere_goes_on(tmp_path: Path) -> None:
    """The same when only what is new is written: here an attempt within an attempt, which makes a session."""
    made = Transcript()
    answer = made.says("yes", "m1")
    prompt = made.user("abandoned")
    made.says("one", "m2")
    made.user("live", parent=answer)
    half = made.bytes()
    made.says("two", "m3", parent=prompt)
    made.says("three", "m4", parent=prompt)
    whole, path = MemoryStore(), tmp_path / "t.jsonl"
    await import_halves(whole, path, half, made.bytes())
    failures, failed = 0, True
    while failed:
        store, failed = Failing(), False
        path.write_bytes(half)
        await import_file(store, path, growing=True)
        store.commits_left = failures
        path.write_bytes(made.bytes())
        try:
            await import_file(store, path)
        except StoreFailed:
            failed = True
        store.commits_left = 10**6
        await import_file(store, path)
        assert await contents(store) == await contents(whole), failures
        failures += 1
    assert failures > 3


async def import_halves(store: MemoryStore, path: Path, half: bytes, data: bytes) -> None:
    path.write_bytes(half)
    await import_file(store, path, growing=True)
    path.write_bytes(data)
    await import_file(store, path)


async def test_every_commit_names_the_source(tmp_path: Path) -> None:
    """The second record says which bytes were imported, by size and BLAKE3, and what was not understood."""
    path = script().write(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data + b'{"type":"us')
    store = MemoryStore()
    report = await import_file(store, path)
    assert [one.line for one in report.not_understood] == [9]
    assert [one.line for one in report.waiting] == [data.count(b"\n") + 1]
    for session in report.sessions:
        note = (await store.read_all(session.session_id))[1].entry
        assert is_note(note)
        payload = note.payload  # type: ignore[union-attr]
        source = payload["source"]
        assert source["path"] == str(path.resolve())
        assert source["size"] == len(data) + 11
        assert source["blake3"] == blake3(data[: source["bytes"]]).hexdigest()
        assert source["bytes"] == len(data) - 1
        listed = [{"line": 9, "reason": report.not_understood[0].reason}] if session.role == "main" else None
        assert payload.get("not_understood") == listed


async def test_a_line_that_is_finished_later_is_imported_then(tmp_path: Path) -> None:
    """Only the unfinished line waits, and when nothing else came nothing is written."""
    made = script()
    data = made.bytes()
    path = tmp_path / "t.jsonl"
    store = MemoryStore()
    path.write_bytes(data[:-40])
    first = await import_file(store, path)
    assert not first.unchanged
    path.write_bytes(data[:-30])
    assert (await import_file(store, path)).unchanged
    path.write_bytes(data)
    assert (await import_file(store, path)).imported == first.imported + 1


async def test_a_new_bad_line_is_noted(tmp_path: Path) -> None:
    """What was not understood reaches the log even when nothing else is new."""
    made = script()
    store = MemoryStore()
    await import_file(store, made.write(tmp_path))
    before = len(await store.read_all(SessionId(SID)))
    made.raw(b"what is this")
    report = await import_file(store, made.write(tmp_path))
    assert report.records_added == 1
    note = (await store.read_all(SessionId(SID)))[before].entry
    assert [one["line"] for one in note.payload["not_understood"]] == [len(made.lines)]  # type: ignore[union-attr]
    assert (await import_file(store, made.write(tmp_path))).unchanged


async def test_another_file_with_the_same_session_id_is_another_session(tmp_path: Path) -> None:
    """A rewritten file never changes what is there: it becomes <id>-2, and is known as such the next time."""
    store = MemoryStore()
    made = script()
    await import_file(store, made.write(tmp_path))
    before = await contents(store)
    other = Transcript()
    other.user("something else")
    report = await import_file(store, other.write(tmp_path))
    assert report.session_id == f"{SID}-2"
    assert {name: log for name, log in (await contents(store)).items() if name in before} == before
    other.says("more", "m1")
    report = await import_file(store, other.write(tmp_path))
    assert (report.session_id, report.sessions[0].made) == (f"{SID}-2", False)
    assert (await import_file(store, made.write(tmp_path))).unchanged


async def test_a_session_that_was_not_imported_is_left_alone(tmp_path: Path) -> None:
    """An id that is taken by a session of another origin is passed over, for derived sessions too."""
    store = MemoryStore()
    made = Transcript()
    answer = made.says("yes", "m1")
    made.user("abandoned")
    made.user("live", parent=answer)
    for name in (SID, f"{SID}-2-fork-00000002"):
        await create_session_with_id(store, SessionId(name), SessionStartState())
    report = await import_file(store, made.write(tmp_path))
    assert report.session_id == f"{SID}-2"
    assert report.sessions[1].session_id == f"{SID}-2-fork-00000002-0000-4000-8000-000000000000"
    assert (await import_file(store, made.write(tmp_path))).unchanged


async def test_what_the_user_appended_stays_and_the_file_goes_on(tmp_path: Path) -> None:
    """Live turns on an imported session do not disturb the next import of its grown file."""
    store = MemoryStore()
    made = Transcript()
    made.user("one")
    await import_file(store, made.write(tmp_path))
    log = await open_session(store, SessionId(SID))
    await log.save_delta([user_message("live turn")])
    made.says("two", "m1")
    await import_file(store, made.write(tmp_path))
    texts = [item.text for item in (await restore(store, SessionId(SID))).history]  # type: ignore[union-attr]
    assert texts == ["one", "live turn", "two"]
    assert (await import_file(store, made.write(tmp_path))).unchanged
    await check_store(store)


async def test_a_live_branch_that_moved_becomes_a_fork(tmp_path: Path) -> None:
    """The old session stays as it was; the new branch parts from it and is the live one."""
    store = MemoryStore()
    made = Transcript()
    answer = made.says("yes", "m1")
    made.user("first try")
    made.says("answer", "m2")
    await import_file(store, made.write(tmp_path))
    before = await contents(store)
    made.user("second try", parent=answer)
    made.says("better", "m3")
    report = await import_file(store, made.write(tmp_path))
    after = await contents(store)
    assert after[SessionId(SID)][: len(before[SessionId(SID)])] == before[SessionId(SID)]
    assert [one.role for one in report.sessions] == ["main", "fork"]
    assert report.live_session_id == report.sessions[1].session_id
    await check_store(store)
