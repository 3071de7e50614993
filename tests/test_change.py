"""Changes decided from the state at the head, sessions that are opened or made, extensions that are left out."""

import gc
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import anyio
import pytest

from sessionlog import (
    ConfigChanged,
    Extension,
    FileStore,
    HashedEntry,
    InvalidSessionId,
    LogEntry,
    MemoryStore,
    Position,
    RequestConfig,
    RestoredState,
    SessionContended,
    SessionExists,
    SessionNotFound,
    SessionStartState,
    TurnEnd,
    create_session_with_id,
    link,
    open_or_create_session,
    open_session,
    restore,
    user_message,
)
from sessionlog.session.kept_fold import CHANGE_ATTEMPTS_MAX

pytestmark = pytest.mark.anyio

STARTED = SessionStartState(system_prompt="Be brief.")
TEXT = "x" * 10_000


def next_turn(state: RestoredState) -> Sequence[LogEntry]:
    return [TurnEnd(ts=0, turn_count=state.turn_count + 1)]


class LosingStore(MemoryStore):
    """A store in which another writer ends a turn first, ``losses`` times."""

    losses = 0

    async def append(self, session_id: str, *records: HashedEntry) -> None:
        if self.losses:
            self.losses -= 1
            state = await restore(self, session_id)
            await super().append(session_id, link(state.head, next_turn(state)[0]))
        await super().append(session_id, *records)


async def test_a_change_is_decided_from_the_state_at_the_head_whoever_moved_that() -> None:
    store = MemoryStore()
    one = await create_session_with_id(store, "s", STARTED)
    other = await open_session(store, "s")
    await one.change(next_turn)
    await other.change(next_turn)
    (hash_,) = await one.change(next_turn)
    assert one.head_hash == hash_
    assert (await restore(store, "s")).turn_count == 3


async def test_after_a_change_the_log_goes_on_from_the_head_that_was_decided_on() -> None:
    """Also where nothing was appended; and its position is that of the head."""
    store = MemoryStore()
    one = await create_session_with_id(store, "s", STARTED)
    other = await open_session(store, "s")
    await one.save_delta([user_message("hi")])
    assert await other.change(lambda _: []) == []
    assert other.head == one.head
    assert other.position == await store.read_position("s")
    await other.save_turn_end(1)
    assert other.position == await store.read_position("s")
    await other.change(next_turn)
    assert other.position == await store.read_position("s")


async def test_a_change_that_lost_is_decided_again() -> None:
    store = LosingStore()
    log = await create_session_with_id(store, "s", STARTED)
    store.losses = 3
    await log.change(next_turn)
    assert (await restore(store, "s")).turn_count == 4


async def test_a_change_is_given_up_after_a_bounded_number_of_losses() -> None:
    store = LosingStore()
    log = await create_session_with_id(store, "s", STARTED)
    before = log.head
    store.losses = CHANGE_ATTEMPTS_MAX
    with pytest.raises(SessionContended):
        await log.change(next_turn)
    assert (await restore(store, "s")).turn_count == CHANGE_ATTEMPTS_MAX
    assert log.head == before


async def test_a_change_is_one_commit_of_all_its_entries() -> None:
    store = MemoryStore()
    log = await create_session_with_id(store, "s", STARTED)
    config = RequestConfig(model="m")
    hashes = await log.change(lambda state: [ConfigChanged(ts=0, config=config), *next_turn(state)])
    assert [record.hash for record in (await store.read_all("s"))[1:]] == hashes
    with pytest.raises(ZeroDivisionError):
        await log.change(lambda _: [TurnEnd(ts=0, turn_count=1 // 0)])
    assert len(await store.read_all("s")) == 3


async def test_a_change_follows_its_log_to_a_fork_and_notices_a_deletion() -> None:
    store = MemoryStore()
    log = await create_session_with_id(store, "s", STARTED)
    await log.change(next_turn)
    await (await open_session(store, "s")).save_turn_end(5)
    assert await log.ensure_head_or_fork(STARTED)
    await log.change(next_turn)
    assert (await restore(store, log.session_id)).turn_count == 1
    await store.delete_session(log.session_id, log.head)
    with pytest.raises(SessionNotFound):
        await log.change(next_turn)


async def test_a_session_is_made_if_it_is_not_there_and_opened_if_it_is() -> None:
    store = MemoryStore()
    made = await open_or_create_session(store, "s", STARTED)
    opened = await open_or_create_session(store, "s", SessionStartState(system_prompt="Be long."))
    assert made.head == opened.head
    assert (await restore(store, "s")).system_prompt == "Be brief."
    with pytest.raises(InvalidSessionId):
        await open_or_create_session(store, "no id", STARTED)


async def test_many_who_open_or_make_a_session_at_once_have_one(tmp_path: Path) -> None:
    async with FileStore(tmp_path, "os") as store:
        heads = set()

        async def open_one(number: int) -> None:
            log = await open_or_create_session(store, "s", SessionStartState(system_prompt=str(number)))
            heads.add(log.head)

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(open_one, number)
        assert heads == {await store.read_head("s")}


class FlickeringStore(MemoryStore):
    """A store in which a session is there exactly when it is to be made."""

    async def create_session(self, session_id: str, _: Sequence[HashedEntry]) -> None:
        raise SessionExists(session_id)


async def test_opening_or_making_is_bounded_too() -> None:
    with pytest.raises(SessionContended):
        await open_or_create_session(FlickeringStore(), "s", STARTED)


async def test_a_restored_state_holds_the_extensions_of_the_domains_that_were_asked_for() -> None:
    store = MemoryStore()
    log = await create_session_with_id(store, "s", STARTED)
    await log.append_all([Extension(ts=0, domain=domain, payload=1) for domain in ("a", "b", "a", "c")])

    async def domains(*asked: Sequence[str]) -> list[str]:
        state = await restore(store, "s", **({"extensions": asked[0]} if asked else {}))
        assert state.head == log.head
        return [extension.domain for extension in state.extensions]

    assert await domains() == ["a", "b", "a", "c"]
    assert await domains(["a", "c"]) == ["a", "a", "c"]
    assert await domains(()) == []


class SamplingStore(FileStore):
    """A store that counts, now and then while it is read, how many payloads are alive."""

    most = 0

    async def read(self, session_id: str, *, after: int | Position | None = None) -> AsyncGenerator[HashedEntry, None]:
        async for record in super().read(session_id, after=after):
            if record.seq % 200 == 0:
                self.most = max(self.most, count_payloads())
            yield record


async def test_a_log_of_many_extensions_is_restored_without_holding_them(tmp_path: Path) -> None:
    """Of 2,000 payloads, those of one step of reading are alive at a time, and none afterwards; by default all are."""
    async with SamplingStore(tmp_path, "os") as store:
        log = await create_session_with_id(store, "s", STARTED)
        for _ in range(4):
            await log.append_all([Extension(ts=0, domain="big", payload=[TEXT])] * 500)
        state = await restore(store, "s", extensions=())
        assert store.most <= 1024 * 1024 // len(TEXT) + 1
        assert count_payloads() == 0
        kept = await restore(store, "s")
        assert count_payloads() == 2000
        assert (state.head, len(kept.extensions)) == (kept.head, 2000)


def count_payloads() -> int:
    gc.collect()
    return sum(type(one) is list and len(one) == 1 and one[0] == TEXT for one in gc.get_objects())
