"""What was deleted stays deleted: no import brings it back, unless it is asked to."""

from collections.abc import Callable
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import pytest
from test_copies import claude, codex, pi

from sessionlog import Deletions, Head, MemoryStore, ReceiptState, Store, delete
from sessionlog.importers import Deleted, ImportReport, import_file, import_paths
from sessionlog.receipts import RECEIPTS_SESSION

pytestmark = pytest.mark.anyio
FORMATS = pytest.mark.parametrize("make", [claude, codex, pi])


async def logs(store: Store) -> dict[str, list[bytes]]:
    return {
        session_id: [record.line for record in await store.read_all(session_id)]
        for session_id in await store.list_sessions()
        if session_id != RECEIPTS_SESSION
    }


async def imported(store: Store, path: Path, **options: Any) -> ImportReport:
    [report] = (await import_paths(store, [path], clock=lambda: 5, **options)).reports
    return report


@FORMATS
async def test_no_set_of_deleted_sessions_comes_back(tmp_path: Path, make: Callable[[], bytes]) -> None:
    """Every set of a file's sessions: the others stay byte for byte as they were."""
    path = tmp_path / "x.jsonl"
    path.write_bytes(make())
    store = MemoryStore()
    main = (await imported(store, path)).session_id
    everything = await logs(store)
    assert len(everything) > 1
    for deleted in chain.from_iterable(combinations(everything, count) for count in range(1, len(everything) + 1)):
        store = MemoryStore()
        await imported(store, path)
        for session_id in deleted:
            await delete(store, session_id)
        for _ in range(2):
            report = await imported(store, path)
            assert await logs(store) == {key: log for key, log in everything.items() if key not in deleted}
            assert report.unchanged
            if main in deleted:
                assert report.deleted == [main]
                assert report.passed_over is not None
                assert report.imported == 0
            else:
                assert set(deleted) <= set(report.deleted)
                assert report.imported + len(report.not_understood) + len(report.waiting) < 100


@FORMATS
async def test_again_brings_it_back(tmp_path: Path, make: Callable[[], bytes]) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(make())
    store = MemoryStore()
    await imported(store, path)
    everything = await logs(store)
    for session_id in everything:
        await delete(store, session_id)
    assert (await imported(store, path)).sessions == []
    assert (await imported(store, path, again=True)).deleted == []
    assert await logs(store) == everything
    assert (await imported(store, path)).deleted == []  # it is there: what the receipts say is over
    assert await logs(store) == everything


@FORMATS
async def test_what_is_there_grows_on_beside_what_was_deleted(tmp_path: Path, make: Callable[[], bytes]) -> None:
    data = make()
    lines = data.splitlines(keepends=True)
    path = tmp_path / "x.jsonl"
    for cut in range(1, len(lines)):
        store = MemoryStore()
        path.write_bytes(b"".join(lines[:cut]))
        before = await imported(store, path)
        derived = [one for one in await logs(store) if one != before.session_id]
        for session_id in derived:
            await delete(store, session_id)
        path.write_bytes(data)
        await imported(store, path)
        assert not set(derived) & set(await logs(store))


async def test_a_file_whose_session_has_a_number_is_known_when_the_first_one_was_deleted(tmp_path: Path) -> None:
    """Two files with one id: the second one is <id>-2. Deleting the first leaves the second one alone."""
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    first.write_bytes(pi())
    second.write_bytes(pi().replace(b'"a"', b'"z"'))
    store = MemoryStore()
    one, two = (await imported(store, first)).session_id, (await imported(store, second)).session_id
    assert one is not None
    assert two == f"{one}-2"
    await delete(store, one)
    assert (await imported(store, second)).session_id == two
    assert (await imported(store, second)).unchanged
    assert (await imported(store, first)).deleted == [one]
    await delete(store, two)
    assert (await imported(store, second)).sessions == []


async def test_an_interrupted_deletion_is_finished_before_its_file_is_imported(tmp_path: Path) -> None:
    """Both before and after the log was removed."""

    class Dies(MemoryStore):
        first: bool

        async def delete_session(self, session_id: str, expected: Head | None) -> None:
            if not self.first:
                await super().delete_session(session_id, expected)
            self.delete_session = super().delete_session  # type: ignore[method-assign]
            raise KeyboardInterrupt

    path = tmp_path / "x.jsonl"
    path.write_bytes(pi())
    for first in (True, False):
        store = Dies()
        store.first = first
        main = (await imported(store, path)).session_id
        assert main is not None
        with pytest.raises(KeyboardInterrupt):
            await delete(store, main)
        assert (await imported(store, path)).deleted == [main]
        assert not await store.exists(main)
        receipts = await Deletions(store).receipts()
        assert receipts.done[main].state is ReceiptState.DONE


async def test_a_deletion_in_the_middle_of_an_import_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each of its commits: the session is not made anew by the next one."""
    monkeypatch.setattr("sessionlog.importers.writer.BATCH_ENTRIES", 1)
    path = tmp_path / "x.jsonl"
    path.write_bytes(pi())

    class Deletes(MemoryStore):
        appends = 0
        at = 0

        async def append(self, session_id: str, *records: Any) -> None:
            if session_id != RECEIPTS_SESSION:
                self.appends += 1
                if self.appends == self.at and await self.exists(main):
                    await delete(self, main)
            await super().append(session_id, *records)

    store = Deletes()
    main = (await imported(store, path)).session_id or ""
    commits = store.appends
    assert commits >= 2
    noticed = 0
    for at in range(1, commits + 1):
        store = Deletes()
        store.at = at
        report = await imported(store, path)
        deletions = await Deletions(store).receipts()
        noticed += main in deletions.done
        assert await store.exists(main) is (main not in deletions.done)
        if main in deletions.done:
            assert report.deleted == [main]
    assert noticed


@FORMATS
async def test_what_another_importer_made_and_somebody_deleted_meanwhile_stays_deleted(
    tmp_path: Path, make: Callable[[], bytes]
) -> None:
    """Between this import's look at the store and its first commit."""
    path = tmp_path / "x.jsonl"
    path.write_bytes(make())

    class Overtaken(MemoryStore):
        overtaken = False

        async def create_session(self, session_id: str, records: Any) -> None:
            if not self.overtaken and session_id != RECEIPTS_SESSION:
                self.overtaken = True
                await imported(self, path)
                for one in await logs(self):
                    await delete(self, one)
            await super().create_session(session_id, records)

    store = Overtaken()
    report = await imported(store, path)
    assert store.overtaken
    assert await logs(store) == {}
    assert report.deleted == [report.session_id]


async def test_a_log_that_was_deleted_is_not_copied_back(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(pi())
    store = MemoryStore()
    main = (await imported(store, path)).session_id or ""
    copy = tmp_path / f"{main}.jsonl"
    copy.write_bytes(b"".join(line + b"\n" for line in (await logs(store))[main]))
    await delete(store, main)
    assert (await import_file(store, copy)).deleted == [main]
    assert not await store.exists(main)
    assert (await import_file(store, copy, deleted=Deleted(store, again=True))).records_added
    assert await store.exists(main)


async def test_a_log_that_another_importer_copied_and_somebody_deleted_meanwhile_stays_deleted(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(pi())
    source = MemoryStore()
    main = (await imported(source, path)).session_id or ""
    copy = tmp_path / f"{main}.jsonl"
    copy.write_bytes(b"".join(line + b"\n" for line in (await logs(source))[main]))

    class Overtaken(MemoryStore):
        overtaken = False

        async def append(self, session_id: str, *records: Any) -> None:
            if not self.overtaken and session_id == main:
                self.overtaken = True
                await import_file(self, copy)
                await delete(self, main)
            await super().append(session_id, *records)

    store = Overtaken()
    assert (await import_file(store, copy)).deleted == [main]
    assert store.overtaken
    assert await logs(store) == {}
