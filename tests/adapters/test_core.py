"""What the adapters share: one log for each key, changed in one step, from any thread, loop and process."""

import math
import multiprocessing
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionlog import (
    Domain,
    DomainRecord,
    FileStore,
    InvalidEntry,
    MemoryStore,
    SessionId,
    SessionStartState,
    UnknownStore,
    blocking,
    create_session_with_id,
    delete,
    fork_at,
    open_session,
)
from sessionlog.adapters import core
from sessionlog.adapters.core import ForeignLog, Logs, keepable, restored, session_id_of
from sessionlog.ids import is_session_id


def apply(state: list[Any], record: DomainRecord) -> list[Any]:
    match record.payload:
        case {"op": "add", "item": item}:
            state.append(item)
        case {"op": "pop"}:
            state.pop()
    return state


items = Domain("test", list[Any], apply, lambda state: [{"op": "add", "item": item} for item in state])


def added(item: Any) -> Any:
    return lambda state: ([{"op": "add", "item": item}], len(state))


def popped(state: list[Any]) -> tuple[Iterable[Any], Any]:
    return ([{"op": "pop"}], state[-1]) if state else ([], None)


@pytest.mark.anyio
async def test_a_change_gives_the_result_of_the_decision_that_was_appended(tmp_path: Path) -> None:
    """Two objects with one directory, and a third through a store of its own, see the same data."""
    one, same, other = Logs(items, tmp_path), Logs(items, tmp_path), Logs(items, store=FileStore(tmp_path))
    assert await one.view("k", list) == []
    assert await one.change("k", popped) is None
    assert await one.keys() == [], "nothing to keep, nothing made"
    assert await one.change("k", added("a")) == 0
    assert await other.change("k", added("b")) == 1
    assert await same.change("k", popped) == "b"
    assert await other.view("k", list) == ["a"]
    assert await other.keys() == ["k"]


@pytest.mark.anyio
async def test_a_deleted_log_is_off_the_disk_and_starts_anew(tmp_path: Path) -> None:
    one, other = Logs(items, tmp_path), Logs(items, store=FileStore(tmp_path))
    await one.change("k", added("a secret"))
    assert await other.view("k", list) == ["a secret"]
    await one.delete("k", reason="asked for")
    assert not any(b"a secret" in path.read_bytes() for path in tmp_path.iterdir())
    assert await other.view("k", list) == []
    assert await other.change("k", added("b")) == 0
    await other.delete("none")


@pytest.mark.anyio
async def test_what_is_deleted_is_what_was_checked(tmp_path: Path) -> None:
    """A deletion that asks first takes nothing that came after the question."""
    logs, other = Logs(items, tmp_path), FileStore(tmp_path)
    await logs.change("k", added("a"))
    asked: list[list[Any]] = []

    def check(state: list[Any]) -> None:
        asked.append(list(state))
        if len(state) == 2:
            raise LookupError("another one came")

    async def append_first(store: Any, session_id: str, **more: Any) -> Any:
        if len(asked) == 1:
            await Logs(items, store=FileStore(tmp_path)).change("k", added("b"))
        return await delete(other, session_id, **more)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(core, "delete", append_first)
        with pytest.raises(LookupError):
            await logs.delete("k", check=check)
    assert asked == [["a"], ["a", "b"]]
    assert await logs.view("k", list) == ["a", "b"]
    await logs.delete("k", check=lambda state: asked.append(["yes", *state]))
    assert await logs.view("k", list) == []
    await logs.delete("k", check=lambda state: asked.append(["none", *state]))
    assert asked[2:] == [["yes", "a", "b"], ["none"]]


def test_synchronous_code_in_many_threads(tmp_path: Path) -> None:
    logs = Logs(items, tmp_path)
    with ThreadPoolExecutor(8) as pool:
        before = list(pool.map(lambda number: blocking.run(logs.change, "k", added(number)), range(40)))
    assert sorted(before) == list(range(40))
    assert sorted(blocking.run(logs.view, "k", list)) == list(range(40))


def test_event_loops_one_after_the_other_and_beside_each_other(tmp_path: Path) -> None:
    """A new loop for each request, in many threads, on asyncio and on trio."""
    logs = Logs(items, tmp_path)

    def serve(number: int) -> int:
        return anyio.run(logs.change, "k", added(number), backend=("asyncio", "trio")[number % 2])

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(serve, range(20))) == list(range(20))


@pytest.mark.anyio
async def test_a_cancelled_call_ends_when_its_outcome_is_known(tmp_path: Path) -> None:
    logs = Logs(items, tmp_path)
    await logs.change("k", added("a"))
    with anyio.CancelScope() as scope:
        scope.cancel()
        await logs.change("k", added("b"))
    kept = await logs.view("k", list)
    assert await Logs(items, store=FileStore(tmp_path)).view("k", list) == kept


@pytest.mark.parametrize("key", ["", "a key", "../etc", "user@example.org", "é", "x" * 200, "-x"])
def test_a_key_that_cannot_name_a_session_is_hashed_and_stands_in_the_labels(key: str) -> None:
    logs = Logs(items, store=MemoryStore())
    blocking.run(logs.change, key, added(1))
    assert blocking.run(logs.keys) == [key]
    assert is_session_id(session_id_of(key))
    assert session_id_of(key) != session_id_of(key + "2")


def test_a_key_that_can_name_a_session_does(tmp_path: Path) -> None:
    blocking.run(Logs(items, tmp_path).change, "user-1", added(1))
    assert (tmp_path / "user-1.jsonl").exists()


@pytest.mark.anyio
async def test_the_log_of_another_is_neither_read_nor_changed_nor_deleted(tmp_path: Path) -> None:
    """Nor is one that no adapter made; the keys of the other are not listed."""
    mine, theirs = Logs(items, tmp_path), Logs(Domain("other", list[Any], apply), tmp_path)
    await theirs.change("k", added(1))
    async with FileStore(tmp_path) as store:
        await create_session_with_id(store, "plain", SessionStartState())
    for key in ("k", "plain"):
        for call in (mine.view(key, list), mine.change(key, added(2)), mine.delete(key)):
            with pytest.raises(ForeignLog, match=f"session {key} .* was not made by the adapter for test"):
                await call
    assert await mine.keys() == []
    assert await theirs.keys() == ["k"]


@pytest.mark.anyio
async def test_a_fork_of_a_log_is_a_log_under_its_own_id(tmp_path: Path) -> None:
    logs = Logs(items, tmp_path)
    await logs.change("a key", added(1))
    async with FileStore(tmp_path) as store:
        at = await store.read_head_hash(session_id_of("a key"))
        assert at is not None
        forked = await fork_at(store, session_id_of("a key"), at, domains=[items])
    assert sorted(await logs.keys()) == sorted(["a key", forked.session_id])
    assert await logs.change(forked.session_id, popped) == 1
    assert await logs.view("a key", list) == [1]


def test_a_bounded_number_of_folds_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "FOLDS_MAX", 3)
    logs = Logs(items, store=MemoryStore())
    for number in range(5):
        blocking.run(logs.change, f"k{number}", added(number))
    blocking.run(logs.view, "k2", list)
    blocking.run(logs.view, "k0", list)
    assert list(logs._folds._logs) == ["k4", "k2", "k0"]
    assert [blocking.run(logs.view, f"k{number}", list) for number in range(5)] == [[number] for number in range(5)]


def test_memory_is_one_store_for_the_process_and_a_blocking_store_can_be_shared() -> None:
    blocking.run(Logs(items, "memory:").change, "shared", added(1))
    assert blocking.run(Logs(items, "memory:").view, "shared", list) == [1]
    with blocking.open_store("memory:") as store:
        blocking.run(Logs(items, store=store).change, "k", added(2))
        assert store.list_sessions() == ["k"]


def test_what_the_logs_are_in_must_be_said_once_and_be_known() -> None:
    with pytest.raises(TypeError, match="either root"):
        Logs(items)
    with pytest.raises(TypeError, match="either root"):
        Logs(items, "logs", store=MemoryStore())
    with pytest.raises(UnknownStore):
        Logs(items, "s3://bucket")


def test_a_forked_child_goes_on_with_the_same_logs(tmp_path: Path) -> None:
    logs = Logs(items, tmp_path)
    blocking.run(logs.change, "k", added("parent"))
    child = os.fork()
    if child == 0:
        try:
            blocking.run(logs.change, "k", added("child"))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert blocking.run(logs.view, "k", list) == ["parent", "child"]


def add_many(root: str, name: str) -> None:
    logs = Logs(items, root)
    for number in range(100):
        blocking.run(logs.change, "k", lambda state, n=number: ([{"op": "add", "item": [name, n, len(state)]}], None))


def test_three_processes_lose_nothing(tmp_path: Path) -> None:
    """300 adds, all in, in the order of each process, each decided on what it met."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=add_many, args=(str(tmp_path), name)) for name in "abc"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    found = blocking.run(Logs(items, tmp_path).view, "k", list)
    assert [before for _, _, before in found] == list(range(300))
    for name in "abc":
        assert [number for one, number, _ in found if one == name] == list(range(100))
    with blocking.open_store(tmp_path) as store:
        assert all(report.ok for report in blocking.audit_store(store))


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=()))
    | st.just("json"),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=()), max_size=4) | st.just("json"), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_every_json_value_comes_back_equal(value: Any) -> None:
    """Also those that a log refuses, and those that look like what they are kept as."""
    kept = keepable(value)
    logs = Logs(items, store=MemoryStore())
    blocking.run(logs.change, "k", added(kept))
    assert restored(blocking.run(logs.view, "k", lambda state: state[0])) == value


@pytest.mark.parametrize(
    "value",
    [
        2**64,
        -(2**70),
        "\ud800",
        {"\udfff": 1},
        math.inf,
        nested(63),
        nested(400),
        {"json": "{}"},
        {"json": {"json": 1}},
    ],
    ids=["large", "small", "surrogate", "key", "infinite", "nested", "deep", "alike", "alike_twice"],
)
def test_what_a_log_refuses_is_kept_as_text(value: Any) -> None:
    assert keepable(value).keys() == {"json"}
    assert restored(keepable(value)) == value


def test_nan_comes_back_as_nan_and_plain_values_are_kept_as_they_are() -> None:
    assert math.isnan(restored(keepable([math.nan]))[0])
    plain = {"role": "user", "content": [{"text": "héllo", "n": 2**63}]}
    assert keepable(plain) is plain


@pytest.mark.parametrize(
    "value", [{1: 2}, b"bytes", [object()], nested(200_000)], ids=["key", "bytes", "object", "deep"]
)
def test_what_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises(InvalidEntry):
        keepable(value)


def shelf_id(key: str) -> SessionId:
    shelf, _, book = key.partition("/")
    return SessionId(f"{shelf}-{session_id_of(book)}")


@pytest.mark.anyio
async def test_keys_of_several_parts_are_listed_by_how_their_ids_begin() -> None:
    """A domain may name its logs itself; only those whose ids begin as asked are looked at."""
    logs = Logs(items, store=MemoryStore(), id_of=shelf_id)
    for key in ("a/one", "a/two words", "b/one"):
        await logs.change(key, added(key))
    assert sorted(await logs.keys("a-")) == ["a/one", "a/two words"]
    assert len(await logs.keys()) == 3
    assert await logs.view("a/two words", list) == ["a/two words"]
    await logs.delete("a/one")
    assert await logs.keys("a-") == ["a/two words"]


@pytest.mark.anyio
async def test_a_replay_folds_anew_and_the_last_record_is_read_alone() -> None:
    """Both are of this domain alone, give payloads that the caller may change, and are empty where there is no log."""
    store = MemoryStore()
    logs = Logs(items, store=store)

    def collect(found: list[Any], record: DomainRecord) -> list[Any]:
        return [*found, record.payload]

    assert await logs.replay("k", list[Any], collect) == []
    assert await logs.last("k") is None
    await logs.change("k", added([1]))
    await logs.change("k", added([2]))
    for _ in range(2):
        found = await logs.replay("k", list[Any], collect)
        last = await logs.last("k")
        assert last is not None
        assert found == [{"op": "add", "item": [1]}, {"op": "add", "item": [2]}]
        assert last.payload == found[1]
        found[1]["item"].append(3)
        last.payload["item"].append(3)

    async def append_of_others() -> None:
        await (await open_session(store, "k")).save_extension("another", {})
        await create_session_with_id(store, "foreign", SessionStartState())

    await blocking.arun(append_of_others)
    last = await logs.last("k")
    assert last is not None
    assert last.payload == {"op": "add", "item": [2]}
    for call in (logs.replay("foreign", list[Any], collect), logs.last("foreign")):
        with pytest.raises(ForeignLog):
            await call
