"""An application's own records in a log: what DomainLog reads, how it changes, and what a new log takes along."""

import multiprocessing
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from sessionlog import (
    Domain,
    DomainLog,
    DomainRecord,
    Extension,
    FileStore,
    HashedEntry,
    Head,
    HeadConflict,
    InvalidEntry,
    MemoryStore,
    Position,
    SessionContended,
    SessionNotFound,
    SessionStart,
    SessionStartState,
    Store,
    audit_session,
    compact,
    create_session_with_id,
    fork_at,
    link,
    user_message,
)
from sessionlog.session.kept_fold import CHANGE_ATTEMPTS_MAX

pytestmark = pytest.mark.anyio

TODO = "todo"
STARTED = SessionStartState(system_prompt="Be brief.")


def added(state: list[str], record: DomainRecord) -> list[str]:
    """Fold ``add`` and ``pop``; changes the list in place, as an adapter does."""
    match record.payload:
        case {"add": str(text)}:
            state.append(text)
        case {"pop": True}:
            state.pop()
    return state


def opening(state: list[str]) -> list[Any]:
    return [{"add": text} for text in state]


todo = Domain(TODO, list[str], added, opening)


def add(*texts: str) -> Callable[[list[str]], list[Any]]:
    return lambda _: [{"add": text} for text in texts]


class CountingStore(MemoryStore):
    """A store that counts what is read of it."""

    def __init__(self) -> None:
        super().__init__()
        self.served: list[int] = []

    async def read(self, session_id: str, *, after: int | Position | None = None) -> AsyncGenerator[HashedEntry, None]:
        async for record in super().read(session_id, after=after):
            self.served.append(record.seq)
            yield record


async def test_reads_what_was_appended_and_from_then_on_what_is_new() -> None:
    """The first read folds the log; a later one takes no record twice."""
    store = CountingStore()
    log = await create_session_with_id(store, "s", STARTED)
    await log.save_extension(TODO, {"add": "a"})
    await log.save_extension("other", {"add": "x"})
    await log.save_delta([user_message("hi")])
    mine = DomainLog(store, "s", todo)
    assert await mine.read() == ["a"]
    assert store.served == [0, 1, 2, 3]
    assert await mine.read() == ["a"]
    assert store.served == [0, 1, 2, 3], "the head had not moved"
    await log.save_extension(TODO, {"add": "b"})
    assert await mine.read() == ["a", "b"]
    assert store.served == [0, 1, 2, 3, 4]
    assert mine.head == log.head


async def test_a_change_appends_behind_the_head_in_one_commit() -> None:
    store = MemoryStore()
    await create_session_with_id(store, "s", STARTED)
    mine, other = DomainLog(store, "s", todo), DomainLog(store, "s", todo)
    assert await mine.change(add("a", "b")) == ["a", "b"]
    assert await other.change(lambda state: [{"add": state[-1] * 2}]) == ["a", "b", "bb"]
    assert await mine.read() == ["a", "b", "bb"]
    assert [record.seq for record in await store.read_all("s")] == [0, 1, 2, 3]


async def test_no_payload_means_no_append_but_the_state_is_that_of_the_head() -> None:
    store = MemoryStore()
    await create_session_with_id(store, "s", STARTED)
    mine = DomainLog(store, "s", todo)
    await mine.change(add("a"))
    await DomainLog(store, "s", todo).change(add("b"))
    seen: list[list[str]] = []

    def look(state: list[str]) -> list[Any]:
        seen.append(list(state))
        return []

    assert await mine.change(look) == ["a", "b"]
    assert seen[-1] == ["a", "b"]
    assert len(await store.read_all("s")) == 3


async def test_a_decide_that_raises_for_a_state_of_the_past_is_asked_again() -> None:
    """What the log no longer says is no reason to fail."""
    store = MemoryStore()
    await create_session_with_id(store, "s", STARTED)
    mine = DomainLog(store, "s", todo)
    await mine.change(add("a"))
    await DomainLog(store, "s", todo).change(add("b"))
    assert await mine.change(lambda state: [{"add": state[1] * 2}]) == ["a", "b", "bb"]
    with pytest.raises(IndexError):
        await mine.change(lambda state: [{"add": state[3]}])


async def test_the_first_change_makes_the_session_with_its_records_in_one_commit() -> None:
    store = MemoryStore()
    mine = DomainLog(store, "s", todo, start=STARTED)
    assert await mine.read() == []
    assert not await store.exists("s")
    assert await mine.change(lambda _: []) == []
    assert not await store.exists("s"), "nothing to keep, nothing made"
    assert await mine.change(add("a")) == ["a"]
    first, second = await store.read_all("s")
    assert isinstance(first.entry, SessionStart)
    assert first.entry.system_prompt == "Be brief."
    assert isinstance(second.entry, Extension)


async def test_without_a_start_a_session_that_is_not_there_is_an_error() -> None:
    mine = DomainLog(MemoryStore(), "s", todo)
    with pytest.raises(SessionNotFound):
        await mine.read()
    with pytest.raises(SessionNotFound):
        await mine.change(add("a"))


class LosingStore(MemoryStore):
    """A store in which another writer comes first, ``losses`` times."""

    losses = 0

    async def append(self, session_id: str, *records: HashedEntry) -> None:
        if self.losses:
            self.losses -= 1
            head = await self.read_head(session_id)
            rival = link(head, Extension(ts=0, domain=TODO, payload={"add": f"rival {self.losses}"}))
            await super().append(session_id, rival)
        await super().append(session_id, *records)


async def test_a_change_that_lost_is_decided_again_on_what_came_first() -> None:
    store = LosingStore()
    await create_session_with_id(store, "s", STARTED)
    mine = DomainLog(store, "s", todo)
    store.losses = 2
    seen: list[list[str]] = []

    def decide(state: list[str]) -> list[Any]:
        seen.append(list(state))
        return [{"add": f"after {len(state)}"}]

    assert await mine.change(decide) == ["rival 1", "rival 0", "after 2"]
    assert seen == [[], ["rival 1"], ["rival 1", "rival 0"]]


async def test_a_change_is_given_up_after_a_bounded_number_of_losses() -> None:
    store = LosingStore()
    await create_session_with_id(store, "s", STARTED)
    mine = DomainLog(store, "s", todo)
    store.losses = CHANGE_ATTEMPTS_MAX
    with pytest.raises(SessionContended) as caught:
        await mine.change(add("mine"))
    assert caught.value.attempts == CHANGE_ATTEMPTS_MAX
    assert "mine" not in await mine.read()
    store.losses = CHANGE_ATTEMPTS_MAX - 1
    assert (await mine.change(add("mine")))[-1] == "mine"


@pytest.mark.parametrize("make", [lambda _: MemoryStore(), FileStore], ids=["memory", "file"])
async def test_a_log_that_was_deleted_or_made_anew_is_folded_from_its_start(
    make: Callable[[Path], Store], tmp_path: Path
) -> None:
    """Nothing of the log that is gone is left in the state, whatever the two have in common."""
    async with make(tmp_path) as store:
        mine = DomainLog(store, "s", todo, start=STARTED)
        await mine.change(add("a", "b"))
        await store.delete_session("s", mine.head)
        assert await mine.read() == []
        await DomainLog(store, "s", todo, start=STARTED).change(add("c", "d", "e"))
        assert await mine.read() == ["c", "d", "e"]
        await store.delete_session("s", mine.head)
        assert await mine.change(add("f")) == ["f"]
        await store.delete_session("s", mine.head)
        await DomainLog(store, "s", todo, start=STARTED).change(add("g"))
        assert await mine.change(add("h")) == ["g", "h"]


async def test_a_log_deleted_between_deciding_and_appending_is_made_anew() -> None:

    class DeletingStore(MemoryStore):
        deletes = 0

        async def append(self, session_id: str, *records: HashedEntry) -> None:
            if self.deletes:
                self.deletes -= 1
                await self.delete_session(session_id, await self.read_head(session_id))
            await super().append(session_id, *records)

    store = DeletingStore()
    mine = DomainLog(store, "s", todo, start=STARTED)
    await mine.change(add("a"))
    store.deletes = 1
    assert await mine.change(add("b")) == ["b"]


async def test_an_apply_that_raises_leaves_nothing_half_folded() -> None:
    store = MemoryStore()
    log = await create_session_with_id(store, "s", STARTED)
    await log.save_extension(TODO, {"add": "a"})
    mine = DomainLog(store, "s", todo)
    assert await mine.read() == ["a"]
    await log.save_extension(TODO, {"pop": True})
    await log.save_extension(TODO, {"pop": True})
    for _ in range(2):
        with pytest.raises(IndexError):
            await mine.read()


async def test_a_decide_that_raises_and_a_payload_that_cannot_be_kept_change_nothing() -> None:
    store = MemoryStore()
    await create_session_with_id(store, "s", STARTED)
    mine = DomainLog(store, "s", todo)
    with pytest.raises(ZeroDivisionError):
        await mine.change(lambda _: [1 / 0])
    with pytest.raises(InvalidEntry):
        await mine.change(lambda _: [{"add": "a"}, float("nan")])
    assert await mine.read() == []
    assert await mine.change(add("b")) == ["b"]


async def test_the_state_shares_nothing_with_what_decide_returned() -> None:
    store = MemoryStore()
    await create_session_with_id(store, "s", STARTED)
    values = Domain("values", list[Any], lambda state, record: [*state, record.payload])
    payload = {"list": [1]}
    mine = DomainLog(store, "s", values)
    await mine.change(lambda _: [payload])
    payload["list"].append(2)
    assert await mine.read() == [{"list": [1]}]


async def test_tasks_that_share_one_queue_and_lose_nothing(tmp_path: Path) -> None:
    async with FileStore(tmp_path, "os") as store:
        mine = DomainLog(store, "s", todo, start=STARTED)
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(mine.change, add(str(number)))
        assert sorted(await mine.read(), key=int) == [str(number) for number in range(20)]
        assert await DomainLog(store, "s", todo).read() == await mine.read()


async def test_cancelled_in_the_commit_the_state_has_moved_exactly_if_it_went_in(tmp_path: Path) -> None:
    async with FileStore(tmp_path) as store:
        mine = DomainLog(store, "s", todo, start=STARTED)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await mine.change(add("a"))
        there = await DomainLog(store, "s", todo, start=STARTED).read()
        assert await mine.read() == there
        assert await mine.change(add("b")) == [*there, "b"]


async def test_a_record_tells_where_it_stands() -> None:
    store = MemoryStore()
    await create_session_with_id(store, "s", STARTED)
    places = Domain("p", list[DomainRecord], lambda state, record: [*state, record])
    (record,) = await DomainLog(store, "s", places, clock=lambda: 17).change(lambda _: [None])
    head = await store.read_head("s")
    assert head is not None
    assert record == DomainRecord(None, 17, head.seq, (await store.read_all("s"))[1].hash)


async def test_a_fork_takes_the_state_of_a_domain_along_as_it_was() -> None:
    """As it was at the record that is forked at; the payloads that made it stay behind. The audit has no objection."""
    store = MemoryStore()
    log = await create_session_with_id(store, "s", STARTED)
    mine = DomainLog(store, "s", todo)
    await mine.change(lambda _: [{"add": "a"}, {"add": "b"}, {"pop": True}, {"add": "c"}])
    at = mine.head
    assert at is not None
    await mine.change(add("later"))
    forked = await fork_at(store, "s", at.hash, domains=[todo])
    assert await DomainLog(store, forked.session_id, todo).read() == ["a", "c"]
    assert len(await store.read_all(forked.session_id)) == 3, "the start and two records"
    assert forked.head == await store.read_head(forked.session_id)
    await forked.save_delta([user_message("on")])
    assert (await audit_session(store, forked.session_id)).ok
    without = await fork_at(store, "s", at.hash)
    assert await DomainLog(store, without.session_id, todo).read() == []
    assert log.session_id == "s"


async def test_a_compaction_takes_the_state_of_a_domain_along() -> None:
    store = MemoryStore()
    await create_session_with_id(store, "s", STARTED)
    await DomainLog(store, "s", todo).change(lambda _: [{"add": "a"}, {"pop": True}, {"add": "b"}])

    async def summarize(_: object) -> Sequence[Any]:
        return [user_message("in short")]

    compacted = await compact(store, "s", summarize, domains=[todo])
    assert await DomainLog(store, compacted.session_id, todo).read() == ["b"]
    assert (await audit_session(store, compacted.session_id)).ok


async def test_a_domain_that_cannot_say_what_a_new_log_begins_with_is_refused() -> None:
    store = MemoryStore()
    log = await create_session_with_id(store, "s", STARTED)
    silent = Domain(TODO, list[str], added)
    assert log.head_hash is not None
    with pytest.raises(ValueError, match="'todo' does not say"):
        await fork_at(store, "s", log.head_hash, domains=[silent])
    assert await store.list_sessions() == ["s"]


ADDS = 100
PROCESSES = 3


def add_many(root: str, name: str) -> None:
    async def run() -> None:
        async with FileStore(root, "os") as store:
            mine = DomainLog(store, "s", todo, start=STARTED)
            for number in range(ADDS):
                await mine.change(lambda state, n=number: [{"add": f"{name} {n} {len(state)}"}])  # type: ignore[misc]

    anyio.run(run)


async def test_three_processes_lose_nothing_and_each_decides_on_what_it_meets(tmp_path: Path) -> None:
    """300 adds, all in, in the order of each process; each one says how many stood before it, and so many did."""
    context = multiprocessing.get_context("spawn")
    names = [f"p{number}" for number in range(PROCESSES)]
    processes = [context.Process(target=add_many, args=(str(tmp_path), name)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        await anyio.to_thread.run_sync(process.join)
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    async with FileStore(tmp_path) as store:
        found = [text.split() for text in await DomainLog(store, "s", todo).read()]
        assert [int(before) for _, _, before in found] == list(range(ADDS * PROCESSES))
        for name in names:
            assert [int(number) for one, number, _ in found if one == name] == list(range(ADDS))
        assert (await audit_session(store, "s")).ok


async def test_a_writer_that_does_not_know_of_domains_is_read_on_behind() -> None:
    """The plain verbs and DomainLog take turns on one log; a plain writer is told, as ever."""
    store = MemoryStore()
    log = await create_session_with_id(store, "s", STARTED)
    mine = DomainLog(store, "s", todo)
    await mine.change(add("a"))
    with pytest.raises(HeadConflict) as caught:
        await log.save_turn_end(1)
    assert caught.value.found == mine.head
    assert isinstance(mine.head, Head)
