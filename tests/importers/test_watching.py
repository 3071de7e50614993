"""Watching: what is due when, and files that grow, fail, shrink, are replaced, or are imported by two at once."""

import math
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from foreign import SID, Transcript, check_store, contents

from sessionlog import HashedEntry, HeadConflict, MemoryStore, SessionId, SessionLocked, StoreFailed
from sessionlog.importers import (
    CaughtUp,
    Imported,
    ImportFailed,
    NotImported,
    Outcome,
    Pace,
    Watch,
    engine,
    import_file,
)
from sessionlog.importers.watching import Agenda, Stamp

EAGER = Pace(share=0, pause_s=0, look_s=0.02, new_s=0)
"""As soon as possible: a test must not wait."""
ONE, TWO = Path("one"), Path("two")


def stamp(size: int) -> Stamp:
    return Stamp(1, size, 0, 0)


def imported(agenda: Agenda, path: Path, size: int, *, began: float, ended: float, **more: Any) -> None:
    agenda.done(path, stamp(size), began=began, ended=ended, **{"again": False, **more})


def test_a_file_is_due_at_once_and_then_when_it_has_changed_and_rested() -> None:
    agenda = Agenda(Pace(share=40, pause_s=1))
    assert agenda.take(0) is None
    assert agenda.next_at() == math.inf
    agenda.see(ONE, stamp(1))
    agenda.see(ONE, stamp(2))
    assert agenda.take(0) == ONE
    assert agenda.take(0) is None
    imported(agenda, ONE, 2, began=0, ended=0.5)
    agenda.see(ONE, stamp(2))
    assert agenda.next_at() == math.inf, "it has not changed"
    agenda.see(ONE, stamp(3))
    assert agenda.next_at() == 0.5 + 40 * 0.5
    assert agenda.take(20) is None
    assert agenda.take(20.5) == ONE


def test_a_quick_import_rests_for_the_pause() -> None:
    agenda = Agenda(Pace(share=40, pause_s=1))
    imported(agenda, ONE, 1, began=7, ended=7.001)
    agenda.see(ONE, stamp(2))
    assert agenda.next_at() == 7.001 + 1


def test_the_more_files_wait_the_longer_each_rests() -> None:
    """So that all of them together take no more than one would."""
    agenda = Agenda(Pace(share=10, pause_s=0))
    agenda.see(ONE, stamp(1))
    agenda.see(TWO, stamp(1))
    assert agenda.take(0) == ONE
    imported(agenda, ONE, 1, began=0, ended=1)
    agenda.see(ONE, stamp(2))
    assert agenda.take(1) == TWO
    imported(agenda, TWO, 1, began=1, ended=2)
    agenda.see(TWO, stamp(2))
    assert agenda.take(12) == TWO, "nothing else waited when it was done"
    assert agenda.take(20.9) is None
    assert agenda.take(21) == ONE


def test_a_file_that_grew_is_due_once_more_when_it_is_quiet() -> None:
    agenda = Agenda(Pace(share=0, pause_s=0))
    imported(agenda, ONE, 1, began=0, ended=0, settles_at=300)
    assert agenda.next_at() == 300
    agenda.see(ONE, stamp(2))
    assert agenda.take(1) == ONE
    imported(agenda, ONE, 2, began=1, ended=1, settles_at=301)
    assert agenda.take(300) is None
    assert agenda.take(301) == ONE
    imported(agenda, ONE, 2, began=301, ended=301)
    assert agenda.next_at() == math.inf


def test_a_file_that_is_gone_is_forgotten() -> None:
    agenda = Agenda()
    agenda.see(ONE, stamp(1))
    assert (len(agenda), ONE in agenda) == (1, True)
    agenda.forget(ONE)
    assert (len(agenda), ONE in agenda, agenda.take(9)) == (0, False, None)


class Watched:
    """A watch that runs, and what it tells."""

    def __init__(self, watch: Watch, outcomes: AsyncIterator[Outcome]) -> None:
        self.watch = watch
        self._outcomes = outcomes

    async def next(self) -> Outcome:
        with anyio.fail_after(30):
            return await anext(self._outcomes)

    async def caught_up(self) -> int:
        """Wait until all is imported; return the number of files."""
        while not isinstance(found := await self.next(), CaughtUp):
            assert isinstance(found, Imported)
        return found.file_count

    async def imported(self) -> Imported:
        found = await self.next()
        assert isinstance(found, Imported)
        return found

    async def not_imported(self) -> NotImported:
        found = await self.next()
        assert isinstance(found, NotImported)
        return found


@asynccontextmanager
async def watching(store: MemoryStore, *paths: Path, pace: Pace = EAGER, **more: Any) -> AsyncIterator[Watched]:
    watch = Watch(store, paths, pace=pace, **more)
    async with aclosing(watch.run()) as outcomes:
        yield Watched(watch, outcomes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "transcripts"
    path.mkdir()
    return path


def two_turns() -> Transcript:
    made = Transcript()
    made.user("one")
    made.says("two", "m1")
    return made


@pytest.mark.anyio
async def test_what_is_there_then_what_comes(folder: Path) -> None:
    """Lines, files and folders; a half-written line waits. In the end the store is as after one import."""
    store = MemoryStore()
    made = two_turns()
    path = made.write(folder)
    async with watching(store, folder) as watched:
        assert await watched.caught_up() == 1
        made.user("three")
        whole = made.bytes()
        path.write_bytes(whole + b'{"type":"us')
        assert (await watched.imported()).report.imported == 3
        made.user("four")
        path.write_bytes(made.bytes())
        assert (await watched.imported()).report.imported == 4
        agent = Transcript(agent="a1")
        agent.user("sub-task")
        subagents = folder / "t" / "subagents"
        subagents.mkdir(parents=True)
        agent.write(subagents, "agent-a1.jsonl")
        assert (await watched.imported()).report.path.name == "agent-a1.jsonl"
    once = MemoryStore()
    for name in (path, subagents / "agent-a1.jsonl"):
        await import_file(once, name, growing=True)
    assert await contents(store) == await contents(once)
    await check_store(store)


@pytest.mark.anyio
async def test_events_are_enough(folder: Path) -> None:
    """With no look due for an hour, a notice of a grown file, and of a new one, brings the import."""
    store = MemoryStore()
    made = two_turns()
    path = made.write(folder)
    async with watching(store, folder, pace=EAGER._replace(look_s=3600)) as watched:
        await watched.caught_up()
        made.user("three")
        made.write(folder)
        watched.watch.notice([path])
        assert (await watched.imported()).report.records_added > 0
        other = Transcript()
        other.user("another", sessionId="another")
        watched.watch.notice([other.write(folder, "other.jsonl")])
        assert (await watched.imported()).report.path.name == "other.jsonl"


@pytest.mark.anyio
async def test_a_file_that_did_not_change_is_not_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Path] = []

    async def counting(store: MemoryStore, path: Path, **more: Any) -> Any:
        reads.append(path)
        return await import_file(store, path, **more)

    monkeypatch.setattr("sessionlog.importers.watching.import_file", counting)
    path, made = two_turns().write(folder), two_turns()
    made.lines = [line.replace(SID.encode(), b"other") for line in made.lines]
    async with watching(MemoryStore(), folder) as watched:
        await watched.caught_up()
        watched.watch.notice([path])
        made.write(folder, "u.jsonl")
        await watched.imported()
        assert [one.name for one in reads] == ["t.jsonl", "u.jsonl"]


@pytest.mark.anyio
async def test_a_quiet_file_is_imported_to_its_end(folder: Path) -> None:
    """The usage of the last message waits while the file may grow, and no longer: then all is as after an import."""
    store, once = MemoryStore(), MemoryStore()
    path = two_turns().write(folder)
    await import_file(once, path)
    now = [path.stat().st_mtime_ns // 10**6]
    pace = EAGER._replace(quiet_s=0.2)
    async with watching(store, folder, pace=pace, clock=lambda: now[0]) as watched:
        await watched.caught_up()
        assert await contents(store) != await contents(once)
        now[0] += 1000
        assert (await watched.imported()).report.records_added == 3  # the usage, the end of the turn, and a note
        assert await contents(store) == await contents(once)


@pytest.mark.anyio
async def test_an_old_file_is_imported_to_its_end_at_once(folder: Path) -> None:
    store, once = MemoryStore(), MemoryStore()
    path = two_turns().write(folder)
    os.utime(path, (0, 0))
    await import_file(once, path)
    async with watching(store, folder) as watched:
        await watched.caught_up()
        assert await contents(store) == await contents(once)


@pytest.mark.anyio
async def test_a_replaced_file_becomes_another_session(folder: Path, tmp_path: Path) -> None:
    """Written over or renamed over: the session that was there stays as it is, and both are named."""
    store = MemoryStore()
    path = two_turns().write(folder)
    async with watching(store, folder) as watched:
        await watched.caught_up()
        before = (await contents(store))[SessionId(SID)]
        other = Transcript()
        other.user("something else")
        os.replace(other.write(tmp_path, "new"), path)
        found = await watched.imported()
        assert (found.replaced, found.report.session_id) == (SID, f"{SID}-2")
        assert (await contents(store))[SessionId(SID)] == before
        other.says("more", "m1")
        os.replace(other.write(tmp_path, "new"), path)
        found = await watched.imported()
        assert (found.replaced, found.report.session_id) == (None, f"{SID}-2"), "the same, longer"


@pytest.mark.anyio
async def test_a_file_that_shrinks_to_nothing_is_told(folder: Path) -> None:
    store = MemoryStore()
    path = two_turns().write(folder)
    size = path.stat().st_size
    async with watching(store, folder) as watched:
        await watched.caught_up()
        path.write_bytes(b"")
        found = await watched.imported()
        assert (found.shrank_from, found.replaced, found.report.unchanged) == (size, None, True)
        assert await store.list_sessions() == [SID]


@pytest.mark.anyio
async def test_a_file_that_cannot_be_imported_is_told_once(folder: Path) -> None:
    """However it grows; when the reason is another, that is told; the rest is imported."""
    bad = folder / "a.jsonl"
    bad.write_bytes(b'{"rows":1}\n')
    two_turns().write(folder)
    store = MemoryStore()
    async with watching(store, folder) as watched:
        assert isinstance((await watched.not_imported()).error, ImportFailed)
        assert await watched.caught_up() == 2
        for size in (2, 3):
            bad.write_bytes(b'{"rows":1}\n' * size)
            watched.watch.notice([bad])
        bad.write_bytes(bytes(range(256)))
        assert "JSON object" in str((await watched.not_imported()).error)
        two_turns().write(folder, "a.jsonl")
        os.utime(bad, (0, 0))
        assert (await watched.imported()).report.path == bad


@pytest.mark.anyio
async def test_files_that_go_are_forgotten(folder: Path) -> None:
    store = MemoryStore()
    path = two_turns().write(folder)
    async with watching(store, folder) as watched:
        await watched.caught_up()
        path.unlink()
        watched.watch.notice([path])
        other = Transcript()
        other.user("another", sessionId="another")
        other.write(folder, "other.jsonl")
        assert (await watched.imported()).report.session_id == "another"


@pytest.mark.anyio
async def test_the_stores_own_files_are_passed_over(folder: Path) -> None:
    """A store within the watched folder is no transcript, and its growing wakes nobody."""
    logs = folder / "sessions"
    logs.mkdir()
    (logs / "log.jsonl").write_bytes(b'{"hash":"x"}\n')
    two_turns().write(folder)
    async with watching(MemoryStore(), folder, skip=logs) as watched:
        assert await watched.caught_up() == 1
        watched.watch.notice([logs / "log.jsonl"])


class Contended(MemoryStore):
    """A store whose first appends lose against another writer."""

    def __init__(self, *errors: Callable[[str], Exception]) -> None:
        super().__init__()
        self.errors = list(errors)

    async def create_session(self, session_id: str, records: Sequence[HashedEntry]) -> None:
        if self.errors:
            raise self.errors.pop()(session_id)
        await super().create_session(session_id, records)


@pytest.mark.anyio
async def test_a_conflict_is_imported_again(folder: Path) -> None:
    store = Contended(
        lambda session_id: HeadConflict(session_id, expected=None, found=None),
        lambda session_id: SessionLocked(session_id, waited_s=5),
    )
    two_turns().write(folder)
    async with watching(store, folder) as watched:
        while True:
            found = await watched.next()
            if isinstance(found, Imported):
                break
    assert store.errors == []
    assert await store.list_sessions() == [SID]


@pytest.mark.anyio
async def test_a_store_that_fails_ends_the_watch(folder: Path) -> None:
    two_turns().write(folder)
    async with watching(Contended(lambda _: StoreFailed("the disk is full")), folder) as watched:
        with pytest.raises(StoreFailed):
            await watched.next()


@pytest.mark.anyio
async def test_an_import_that_another_one_outran_reads_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file grew after it was read, and another import has stored what came: no second session comes of it."""
    store = MemoryStore()
    made = two_turns()
    path = made.write(tmp_path)
    first = made.bytes()
    made.user("three")
    survey = engine._Import._read_survey
    outran: list[int] = []

    async def outrun(run: Any) -> int:
        size = await survey(run)
        if not outran:
            outran.append(size)
            path.write_bytes(made.bytes())
            await import_file(store, path, growing=True)
        return size

    monkeypatch.setattr(engine._Import, "_read_survey", outrun)
    done: list[int] = []
    report = await import_file(store, path, growing=True, progress=done.append)
    assert outran == [len(first)]
    assert (report.session_id, report.unchanged) == (SID, True)
    assert sum(done) == len(made.bytes())
    assert await store.list_sessions() == [SID]


@pytest.mark.anyio
async def test_two_watches_of_one_folder_write_nothing_twice(folder: Path) -> None:
    """Growing by arbitrary cuts under both, on one store."""
    store, once = MemoryStore(), MemoryStore()
    made = two_turns()
    for number in range(20):
        made.says(f"answer {number}", f"m{number + 2}")
        made.user(f"question {number}", parent="00000002-0000-4000-8000-000000000000" if number == 7 else "")
    data = made.bytes()
    path = folder / "t.jsonl"
    path.write_bytes(data[:50])
    went_on = anyio.Event()

    async def run(watch: Watch) -> None:
        async with aclosing(watch.run()) as outcomes:
            async for outcome in outcomes:
                assert not isinstance(outcome, NotImported)
                went_on.set()

    watches = [Watch(store, [folder], pace=EAGER._replace(look_s=0.002)) for _ in range(2)]
    await import_file(once, made.write(folder.parent), growing=True)
    async with anyio.create_task_group() as tasks:
        for watch in watches:
            tasks.start_soon(run, watch)
        for cut in range(50, len(data), 997):
            with path.open("ab") as file:
                file.write(data[cut : cut + 997])
            for watch in watches:
                watch.notice([path])
            await anyio.lowlevel.checkpoint()
        with anyio.fail_after(30):
            while await contents(store) != await contents(once):
                await went_on.wait()
                went_on = anyio.Event()
        tasks.cancel_scope.cancel()
    await check_store(store)
