"""Where two sessions part: by lineage, then by content."""

import pytest

from sessionlog import (
    EntryHash,
    Item,
    MemoryStore,
    RestoredState,
    SessionLog,
    SessionStartState,
    ToolCall,
    assistant_message,
    compact,
    create_session,
    fork_at,
    tool_call,
    user_message,
)
from sessionlog.queries import After, Parting, diff_sessions

pytestmark = pytest.mark.anyio


async def new(store: MemoryStore, *items: Item) -> tuple[SessionLog, list[EntryHash]]:
    log = await create_session(store, SessionStartState())
    return log, list(await log.save_delta(list(items)))


def words(after: After) -> list[str]:
    return [str(getattr(place.item, "text", None) or getattr(place.item, "name", "")) for place in after.items]


async def part(store: MemoryStore, one: SessionLog, other: SessionLog) -> Parting:
    """Diff both ways round, and see that they mirror each other."""
    parting = await diff_sessions(store, one.session_id, other.session_id)
    mirrored = await diff_sessions(store, other.session_id, one.session_id)
    assert (mirrored.lineage, mirrored.same_items) == (parting.lineage, parting.same_items)
    assert (mirrored.first, mirrored.second) == (parting.second, parting.first)
    return parting


async def test_a_fork_parts_from_its_source_at_the_record_it_was_taken_from() -> None:
    store = MemoryStore()
    source, hashes = await new(store, user_message("a"), assistant_message("b"), user_message("c"))
    fork = await fork_at(store, source.session_id, hashes[1])
    await fork.save_delta([user_message("d"), assistant_message("e")])
    parting = await part(store, source, fork)
    assert parting.lineage is not None
    assert (parting.lineage.session_id, parting.lineage.head.hash) == (source.session_id, hashes[1])
    assert (parting.same_items, parting.last_same, parting.identical) == (0, None, False)
    assert (words(parting.first), words(parting.second)) == (["c"], ["d", "e"])
    assert (parting.first.stats.records, parting.second.stats.records) == (1, 3)


async def test_two_forks_part_at_the_earlier_record() -> None:
    """What the later fork took over from the source behind that is what it did, too."""
    store = MemoryStore()
    source, hashes = await new(store, user_message("a"), assistant_message("b"), user_message("c"))
    early, late = [await fork_at(store, source.session_id, hashes[at]) for at in (0, 2)]
    await early.save_delta([user_message("x")])
    await late.save_delta([user_message("y")])
    parting = await part(store, early, late)
    assert parting.lineage is not None
    assert parting.lineage.head.hash == hashes[0]
    assert (words(parting.first), words(parting.second)) == (["x"], ["b", "c", "y"])


async def test_forks_of_one_record_and_forks_of_forks() -> None:
    store = MemoryStore()
    source, hashes = await new(store, user_message("a"))
    one, other = [await fork_at(store, source.session_id, hashes[0]) for _ in range(2)]
    [at, _] = await one.save_delta([user_message("same"), user_message("one")])
    await other.save_delta([user_message("same"), user_message("other")])
    grandchild = await fork_at(store, one.session_id, at)
    await grandchild.save_delta([user_message("grandchild")])
    parting = await part(store, one, other)
    assert parting.same_items == 1
    assert (words(parting.first), words(parting.second)) == (["one"], ["other"])
    parting = await part(store, grandchild, other)
    assert parting.lineage is not None
    assert parting.lineage.session_id == source.session_id
    assert parting.same_items == 1
    assert (words(parting.first), words(parting.second)) == (["grandchild"], ["other"])


async def test_a_compaction_starts_with_its_summary() -> None:
    store = MemoryStore()
    source, _ = await new(store, user_message("a"), assistant_message("b"))

    async def summarize(state: RestoredState) -> list[Item]:
        return [user_message("summary")]

    compacted = await compact(store, source.session_id, summarize)
    await compacted.save_delta([user_message("go on")])
    parting = await part(store, source, compacted)
    assert parting.lineage is not None
    assert parting.lineage.head == source.head
    assert (words(parting.first), words(parting.second)) == ([], ["summary", "go on"])


async def test_sessions_without_an_origin_in_common_are_compared_by_content() -> None:
    """Ids do not matter, what was said and done does."""
    store = MemoryStore()
    one, _ = await new(store, user_message("a"), tool_call("c1", "Read", "{}"), user_message("b"))
    other = await create_session(store, SessionStartState(history=(user_message("a"),)))
    await other.save_delta([ToolCall("c9", "Read", "{}", id="i"), user_message("c")])
    parting = await part(store, one, other)
    assert (parting.lineage, parting.same_items) == (None, 2)
    assert parting.last_same is not None
    assert [place.session_id for place in parting.last_same] == [one.session_id, other.session_id]
    assert (words(parting.first), words(parting.second)) == (["b"], ["c"])


async def test_a_session_does_not_part_from_itself_or_from_its_copy() -> None:
    store = MemoryStore()
    log, _ = await new(store, user_message("a"))
    same, _ = await new(store, user_message("a"))
    assert (await part(store, log, log)).identical
    assert (await part(store, log, same)).identical


async def test_a_source_that_is_gone_ends_the_lineage() -> None:
    store, elsewhere = MemoryStore(), MemoryStore()
    source, hashes = await new(store, user_message("a"), user_message("b"))
    one, other = [await fork_at(store, source.session_id, hashes[0]) for _ in range(2)]
    for log in (one, other):
        await elsewhere.create_session(log.session_id, await store.read_all(log.session_id))
    parting = await part(elsewhere, one, other)
    assert (parting.lineage, parting.same_items, parting.identical) == (None, 1, True)


async def test_only_so_many_items_are_kept() -> None:
    store = MemoryStore()
    one, _ = await new(store, *(user_message(str(number)) for number in range(5)))
    other, _ = await new(store)
    parting = await diff_sessions(store, one.session_id, other.session_id, items_max=2)
    assert (words(parting.first), parting.first.item_count) == (["0", "1"], 5)
