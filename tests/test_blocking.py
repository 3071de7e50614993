"""The synchronous face: what it answers, from any number of threads; that it says all that the async one says."""

import inspect
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

import sessionlog
from sessionlog import (
    Domain,
    Extension,
    HeadConflict,
    InvalidEntry,
    Item,
    RestoredState,
    SessionExists,
    SessionNotFound,
    SessionStartState,
    StoreFailed,
    TurnEnd,
    UserInput,
    WrongEventLoop,
    blocking,
    create_session,
    user_message,
)
from sessionlog.blocking.face import Call, Stream
from sessionlog.blocking.streams import AHEAD_ITEMS_MAX, stream

STARTED = SessionStartState(system_prompt="Be brief.")
notes = Domain("notes", tuple[Any, ...], lambda state, record: (*state, record.payload), lambda state: state)


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> blocking.Store:
    return blocking.open_store(tmp_path / "logs" if request.param == "file" else "memory:", durability="os")


def test_a_session_from_its_start_to_its_end(store: blocking.Store) -> None:
    with store:
        log = blocking.create_session_with_id(store, "s", STARTED)
        log.save_delta([user_message("hi")])
        assert log.save_turn_end(1) == log.head_hash
        assert log.head == store.read_head("s")
        assert log.position == store.read_position("s")
        assert [record.seq for record in store.read_all("s")] == [0, 1, 2]
        assert [record.seq for record in store.read("s", after=0)] == [1, 2]
        assert b"".join(store.read_raw("s")).count(b"\n") == 3
        state = blocking.restore(store, "s")
        assert (state.system_prompt, state.turn_count, len(state.history)) == ("Be brief.", 1, 1)
        assert store.list_sessions() == ["s"]
        assert blocking.audit_session(store, "s").ok
        assert [report.session_id for report in blocking.verify_store(store)] == ["s"]
        assert log.head_hash is not None
        forked = blocking.fork_at(store, "s", log.head_hash)
        assert forked.session_id != "s"

        def summarize(state: RestoredState) -> Sequence[Item]:
            assert len(state.history) == 1
            return [user_message("in short")]

        compacted = blocking.compact(store, "s", summarize)
        assert len(blocking.restore(store, compacted.session_id).history) == 1
        assert blocking.delete(store, "s", reason="done").session_id == "s"
        assert not store.exists("s")
    with pytest.raises(StoreFailed, match="closed"):
        store.exists("s")


def test_errors_are_those_of_the_async_calls(store: blocking.Store) -> None:
    with store:
        with pytest.raises(SessionNotFound):
            blocking.open_session(store, "s")
        log = blocking.open_or_create_session(store, "s", STARTED)
        with pytest.raises(SessionExists):
            blocking.create_session_with_id(store, "s", STARTED)
        blocking.open_session(store, "s").save_turn_end(1)
        with pytest.raises(HeadConflict):
            log.save_turn_end(2)
        with pytest.raises(InvalidEntry):
            log.save_extension("x", float("nan"))
        with pytest.raises(SessionNotFound):
            next(store.read("none"))


def test_a_change_and_a_domain(store: blocking.Store) -> None:
    with store:
        log = blocking.create_session_with_id(store, "s", STARTED)
        mine = blocking.DomainLog(store, "s", notes)
        assert mine.change(lambda state: [len(state)]) == (0,)
        assert mine.change(lambda state: [len(state)]) == (0, 1)
        log.change(lambda state: [TurnEnd(ts=0, turn_count=state.turn_count + 1)])
        assert mine.read() == (0, 1)
        assert mine.head == log.head


@pytest.mark.parametrize("verb", ["append", "change"])
def test_many_threads_share_a_store_and_a_session(store: blocking.Store, verb: str) -> None:
    """Nothing is lost, and each thread's records are in its order."""
    count, threads = 20, 8
    with store:
        log = blocking.create_session_with_id(store, "s", STARTED)

        def write(thread: int) -> None:
            for number in range(count):
                if verb == "append":
                    log.append(Extension(ts=0, domain="t", payload=[thread, number]))
                else:
                    entry = Extension(ts=0, domain="t", payload=[thread, number])
                    blocking.open_session(store, "s").change(lambda _, entry=entry: [entry])  # type: ignore[misc]

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(write, range(threads)))
        found = [extension.payload for extension in blocking.restore(store, "s").extensions]
        assert len(found) == threads * count
        for thread in range(threads):
            assert [number for one, number in found if one == thread] == list(range(count))


def test_all_threads_are_served_by_one_thread(tmp_path: Path) -> None:
    async def ident() -> int:
        return threading.get_ident()

    with ThreadPoolExecutor(4) as pool:
        idents = set(pool.map(lambda _: blocking.run(ident), range(8)))
    assert len(idents) == 1
    assert threading.get_ident() not in idents


def test_following_gives_what_another_thread_appends(store: blocking.Store) -> None:
    with store:
        log = blocking.create_session_with_id(store, "s", STARTED)
        with closing(store.follow("s")) as records, ThreadPoolExecutor(1) as pool:
            assert next(records).seq == 0
            for seq in range(1, 4):
                appended = pool.submit(log.save_turn_end, seq)
                assert next(records).seq == seq
                appended.result()


class Endless:
    """An async generator that counts what was asked of it."""

    def __init__(self) -> None:
        self.given = 0
        self.closed = threading.Event()

    async def numbers(self) -> Any:
        try:
            while True:
                self.given += 1
                yield self.given
        finally:
            await anyio.lowlevel.checkpoint()
            self.closed.set()


def test_iteration_runs_ahead_by_a_bounded_amount_and_closes_what_it_reads() -> None:
    endless = Endless()
    numbers = stream(endless.numbers)
    assert endless.given == 0
    for number in numbers:
        assert endless.given <= number + 2 * AHEAD_ITEMS_MAX + 1
        if number == 5 * AHEAD_ITEMS_MAX:
            break
    numbers.close()
    assert endless.closed.is_set()


def test_an_iteration_that_is_dropped_is_closed() -> None:
    endless = Endless()
    assert next(stream(endless.numbers)) == 1
    assert endless.closed.wait(60)


def test_a_call_on_the_portals_own_thread_says_what_is_wrong(store: blocking.Store) -> None:
    """It would wait for itself: from ``decide``, say."""
    with store:
        log = blocking.create_session_with_id(store, "s", STARTED)

        def decide(_: object) -> list[Any]:
            return [UserInput(ts=0, item=user_message(str(len(store.read_all("s")))))]

        with pytest.raises(WrongEventLoop, match="blocking call was made on the thread that runs all blocking calls"):
            log.change(decide)
        assert len(store.read_all("s")) == 1


@pytest.mark.anyio
async def test_within_a_running_loop_it_works_as_in_a_notebook_and_from_other_threads(tmp_path: Path) -> None:
    with blocking.open_store(tmp_path, durability="os") as store:
        log = blocking.create_session(store, STARTED)
        await anyio.to_thread.run_sync(log.save_turn_end, 1)
        assert blocking.restore(store, log.session_id).turn_count == 1
        assert blocking.run(store.asynchronous.exists, log.session_id)
        with pytest.raises(WrongEventLoop):
            await create_session(store.asynchronous, STARTED)


FACES = [
    (sessionlog.SessionLog, blocking.SessionLog),
    (sessionlog.Store, blocking.Store),
    (sessionlog.DomainLog, blocking.DomainLog),
]
RENAMED = {"aclose": "close", "__aenter__": "__enter__", "__aexit__": "__exit__"}
VERBS = [name for name in blocking.__all__ if hasattr(sessionlog, name) and name[0].islower()]


@pytest.mark.parametrize(("async_class", "face"), FACES, ids=lambda one: one.__module__)
def test_the_two_faces_have_the_same_members_with_the_same_signatures(async_class: type, face: type) -> None:
    for name, member in vars(async_class).items():
        if (name.startswith("_") and name not in RENAMED and name != "__init__") or name == "__init__":
            continue
        mirrored = inspect.getattr_static(face, RENAMED.get(name, name))
        if isinstance(member, property):
            assert isinstance(mirrored, property), name
            assert mirrored.fget is not None
            assert member.fget is not None
            assert inspect.signature(mirrored.fget) == inspect.signature(member.fget)
        elif isinstance(mirrored, Call | Stream):
            assert mirrored.__wrapped__ is member, name
            assert isinstance(mirrored, Stream) is not inspect.iscoroutinefunction(member), name
        else:
            assert parameters(mirrored) == parameters(member), name


def test_the_constructors_take_the_same() -> None:
    assert parameters(blocking.DomainLog.__init__) == parameters(sessionlog.DomainLog.__init__)


def test_help_shows_the_async_signature_and_documentation(store: blocking.Store) -> None:
    with store:
        log = blocking.create_session(store, STARTED)
        assert inspect.signature(log.save_usage) == inspect.signature(
            blocking.run(sessionlog.create_session, store.asynchronous, STARTED).save_usage
        )
        assert log.save_usage.__doc__ == sessionlog.SessionLog.save_usage.__doc__
        assert not inspect.iscoroutinefunction(log.save_usage)


@pytest.mark.parametrize("name", VERBS)
def test_the_verbs_take_the_same(name: str) -> None:
    one, other = getattr(blocking, name), getattr(sessionlog, name)
    assert parameters(one) == parameters(other)
    assert not inspect.iscoroutinefunction(one)


def test_every_verb_over_a_store_has_its_synchronous_form() -> None:
    """A function of the package that takes a store first is here too."""
    missing = {
        name
        for name in sessionlog.__all__
        if inspect.isfunction(verb := getattr(sessionlog, name))
        and next(iter(inspect.signature(verb).parameters), None) == "store"
        and name not in blocking.__all__
    }
    assert not missing


def parameters(function: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    return [(one.name, one.kind, one.default) for one in inspect.signature(function).parameters.values()]
