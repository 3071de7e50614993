"""A store grows by no more than a small multiple of its source, however hostile that is."""

from pathlib import Path

import anyio
import pytest
from foreign import Transcript, check_store
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessionlog import MemoryStore
from sessionlog.importers import import_file
from sessionlog.importers.bounds import COPIED_FREE_BYTES, COPIED_PER_BYTE, PAST_BOUND_REASON

pytestmark = pytest.mark.anyio
PER_BYTE = 2 * COPIED_PER_BYTE
PER_LINE = 6_000
FREE = 3 * COPIED_FREE_BYTES


async def stored(store: MemoryStore) -> int:
    logs = [await store.read_all(one) for one in await store.list_sessions()]
    return sum(len(record.line) + 1 for log in logs for record in log)


def branches(count: int, *, shared: int, size: int = 1, junk: int = 0) -> Transcript:
    """Return ``shared`` messages, and ``count`` attempts behind the last of them; before all, ``junk`` lines ``x``."""
    made = Transcript()
    made.lines += [b"x"] * junk
    last = ""
    for _ in range(shared):
        last = made.user("a" * size)
    for _ in range(count):
        made.user("b", parent=last)
    return made


async def check_import(path: Path, *, lines: int) -> MemoryStore:
    """Import, check the bound, that every line is told of, and that a second import adds nothing."""
    store = MemoryStore()
    report = await import_file(store, path)
    assert report.imported + len(report.not_understood) == lines
    assert await stored(store) <= PER_BYTE * path.stat().st_size + PER_LINE * report.imported + FREE
    again = await import_file(store, path)
    assert (again.unchanged, again.records_added) == (True, 0)
    await check_store(store)
    return store


async def test_many_lines_that_are_not_understood_beside_branches(tmp_path: Path) -> None:
    """The list stands once, in the main session, and is bounded itself."""
    made = branches(60, shared=2, junk=50_000)
    store = await check_import(made.write(tmp_path), lines=len(made.lines))
    assert await stored(store) < 3_000_000


async def test_many_branches_behind_a_long_history(tmp_path: Path) -> None:
    """Branches past the bound are listed with their lines, and the others are there."""
    made = branches(400, shared=200, size=100)
    path = made.write(tmp_path)
    store = await check_import(path, lines=len(made.lines))
    report = await import_file(store, path)
    assert {one.reason for one in report.not_understood} == {PAST_BOUND_REASON}
    assert len(report.sessions) > 20
    assert report.live_session_id in await store.list_sessions()


async def test_the_bound_at_n_and_one_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last branch that fits is imported whole, one more is listed; a file that grows keeps what it got."""
    monkeypatch.setattr("sessionlog.importers.bounds.COPIED_FREE_BYTES", 0)
    fits = 0
    while True:
        made = branches(fits + 2, shared=40, size=50)
        report = await import_file(MemoryStore(), made.write(tmp_path))
        if report.not_understood:
            break
        fits += 1
    assert fits > 1
    assert len(report.not_understood) == 1
    store = MemoryStore()
    path = branches(fits + 1, shared=40, size=50).write(tmp_path)
    assert not (await import_file(store, path)).not_understood
    branches(fits + 2, shared=40, size=50).write(tmp_path)
    report = await import_file(store, path)
    assert [one.reason for one in report.not_understood] == [PAST_BOUND_REASON]
    assert (await import_file(store, path)).unchanged


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 300)), min_size=1, max_size=60), st.integers(0, 3_000))
def test_hostile_trees(tmp_path: Path, tree: list[tuple[int, int]], junk: int) -> None:
    """Any tree of messages, with any number of torn lines."""
    made = Transcript()
    uuids: list[str] = []
    for back, size in tree:
        parent = uuids[-1 - back] if back < len(uuids) else ""
        uuids.append(made.user("a" * size, parent=parent) if uuids else made.user("a"))
    made.lines += [b"x"] * junk
    path = made.write(tmp_path)

    async def check() -> None:
        await check_import(path, lines=len(made.lines))

    anyio.run(check)
