"""The catalog tells behind which record of its source a session was made, and reads a source once for that."""

from pathlib import Path

import pytest

from sessionlog import (
    FileStore,
    MemoryStore,
    SessionOrigin,
    SessionStartState,
    create_compacted_session,
    create_session,
    create_session_with_id,
    fork_at,
    open_session,
    user_message,
)
from sessionlog.catalog import Catalog
from test_catalog import Counting, say

pytestmark = pytest.mark.anyio


async def places(catalog: Catalog) -> dict[str, int | None]:
    """Refresh, and return the positions of the sessions that come from another one."""
    await catalog.refresh()
    return {link.session_id: link.at_seq for link in await catalog.links() if link.source_id is not None}


async def test_forks_and_compactions_are_placed_in_their_source(tmp_path: Path) -> None:
    """Whatever the record, in the first catalog as in one that is brought up to date."""
    async with FileStore(tmp_path / "store", "os") as store, Catalog(store) as catalog:
        for turn in range(3):
            await say(store, "source", "harvest", turn)
        expected: dict[str, int | None] = {}
        for record in await store.read_all("source"):
            expected[(await fork_at(store, "source", record.hash)).session_id] = record.seq
        origin = SessionOrigin("source", (await store.read_all("source"))[2].hash)
        expected[(await create_compacted_session(store, SessionStartState(), origin)).session_id] = 2
        assert await places(catalog) == expected
        await say(store, "source", "lamp", 9)
        head = await store.read_head("source")
        assert head is not None
        expected[(await fork_at(store, "source", head.hash)).session_id] = head.seq
        assert await places(catalog) == expected
        async with Catalog(store, tmp_path / "other") as other:
            assert await places(other) == expected


async def test_what_the_source_lacks_is_looked_for_when_it_changes(tmp_path: Path) -> None:
    """A source that comes later, grows, is made anew or goes: each time the links say what its log says then."""
    async with FileStore(tmp_path / "store", "os") as store, FileStore(tmp_path / "other", "os") as other:
        await say(other, "source", "harvest", 1)
        log = await open_session(other, "source")
        fork = await fork_at(other, "source", log.head_hash or "")
        await store.create_session(fork.session_id, await other.read_all(fork.session_id))
        async with Catalog(store) as catalog:
            assert await places(catalog) == {fork.session_id: None}
            records = await other.read_all("source")
            await store.create_session("source", records[:2])
            assert await places(catalog) == {fork.session_id: None}
            await store.append("source", *records[2:])
            assert await places(catalog) == {fork.session_id: records[-1].seq}
            await store.delete_session("source", records[-1].head)
            assert await places(catalog) == {fork.session_id: None}
            await say(store, "source", "lamp", 1)
            assert await places(catalog) == {fork.session_id: None}
            await store.delete_session("source", await store.read_head("source"))
            await store.create_session("source", records)
            assert await places(catalog) == {fork.session_id: records[-1].seq}


async def test_a_source_is_read_as_far_as_it_takes() -> None:
    """Once for all its forks, not at all for its head, and never again while nothing changes."""
    store = Counting()
    for turn in range(50):
        await say(store, "source", "harvest", turn)
    async with Catalog(store) as catalog:
        await catalog.refresh()
        head = await store.read_head("source")
        assert head is not None
        await fork_at(store, "source", head.hash)
        store.read_count = 0
        assert list((await places(catalog)).values()) == [head.seq]
        assert store.read_count == 1
        records = [record async for record in MemoryStore.read(store, "source")]
        for seq in (3, 5, 7):
            await create_compacted_session(store, SessionStartState(), SessionOrigin("source", records[seq].hash))
        await create_compacted_session(store, SessionStartState(), SessionOrigin("source", "0" * 64))
        store.read_count = 0
        assert sorted(seq for seq in (await places(catalog)).values() if seq is not None) == [3, 5, 7, head.seq]
        assert store.read_count == 4 + len(records)  # to its end, for the record that it does not hold
        store.read_count = 0
        await places(catalog)
        assert store.read_count == 0


async def test_a_session_is_called_by_what_its_user_said_first() -> None:
    """In the history that it starts with, too, unless that is another session's."""
    store = MemoryStore()
    state = SessionStartState(history=[user_message("  First\n words ")])
    started = await create_session(store, state)
    await started.save_delta([user_message("Second words")])
    fork = await fork_at(store, started.session_id, started.head_hash or "")
    await fork.save_delta([user_message("Third words")])
    async with Catalog(store) as catalog:
        await catalog.refresh()
        rows = {row.session_id: row.first_words for row in (await catalog.sessions()).rows}
    assert rows == {started.session_id: "First words", fork.session_id: "Third words"}


async def test_of_several_that_ran_a_session_the_first_counts() -> None:
    """A copy of a transcript repeats the calls of the first one; and nobody runs himself."""
    store = MemoryStore()
    for ts, name in ((5, "child"), (9, "again"), (3, "first"), (7, "later")):
        log = await create_session_with_id(store, name, SessionStartState(), clock=lambda ts=ts: ts)  # type: ignore[misc]
        await log.save_delta([user_message("harvest")])
        await log.save_extension("codex.spawn", {"session_id": "child"})
    async with Catalog(store) as catalog:
        await catalog.refresh()
        sources = {link.session_id: (link.source_id, link.at_seq) for link in await catalog.links()}
    assert sources == {"child": ("first", 2), "again": (None, None), "first": (None, None), "later": (None, None)}
