"""Sessions: every verb, what it writes, and what the ``SessionLog`` knows afterwards, on both event loops."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionlog import (
    AssistantItems,
    CacheUnlocked,
    ConfigChanged,
    CorruptLog,
    EntryHash,
    EntryNotFound,
    Extension,
    FileStore,
    HashedEntry,
    Head,
    HeadConflict,
    HookInjectedItems,
    InvalidEntry,
    InvalidSessionId,
    Item,
    LabelsChanged,
    LlmUsage,
    Locked,
    LogEntry,
    MemoryStore,
    Message,
    RequestConfig,
    RestoredState,
    RunOutcome,
    SessionExists,
    SessionId,
    SessionLog,
    SessionNotFound,
    SessionOrigin,
    SessionStart,
    SessionStartState,
    ToolCall,
    ToolResult,
    ToolResults,
    TurnEnd,
    UserInput,
    assistant_message,
    audit_session,
    collect_state,
    compact,
    create_compacted_session,
    create_session,
    create_session_with_id,
    fork,
    fork_at,
    open_session,
    reasoning,
    restore,
    system_message,
    tool_call,
    tool_result,
    user_message,
    verify_chain,
    verify_session,
)
from sessionlog.session.delta import delta_entries
from strategies import items as any_items

pytestmark = pytest.mark.anyio

ID = SessionId("s")
STATE = SessionStartState("p", RequestConfig(model="m", max_tokens=5), [user_message("before")])


def ticking() -> Callable[[], int]:
    """Return a clock that starts at 100 and ticks once a look."""
    times = iter(range(100, 10_000))
    return lambda: next(times)


class SlowStore(MemoryStore):
    """Lets a test stand between an append's arrival and its commit, and between its commit and its return."""

    def __init__(self) -> None:
        super().__init__()
        self.before = self.after = False
        self.arrived = anyio.Event()
        self.released = anyio.Event()
        self.commits: list[int] = []

    async def append(self, session_id: str, *records: HashedEntry) -> None:
        if self.before:
            self.arrived.set()
            await self.released.wait()
        await super().append(session_id, *records)
        self.commits.append(len(records))
        if self.after:  # as a store does that cannot take its commit back: it finishes, and returns
            self.arrived.set()
            try:
                with anyio.CancelScope(shield=True):
                    await self.released.wait()
            except asyncio.CancelledError:  # native, which no scope holds off: for the caller's next checkpoint
                task = asyncio.current_task()
                assert task is not None
                task.cancel()


@pytest.fixture
async def store() -> AsyncIterator[SlowStore]:
    async with SlowStore() as opened:
        yield opened


@pytest.fixture
async def log(store: SlowStore) -> SessionLog:
    return await create_session_with_id(store, ID, STATE, clock=ticking())


async def entries_of(store: MemoryStore, session_id: str) -> list[LogEntry]:
    records = await store.read_all(session_id)
    assert verify_chain(records).ok
    return [record.entry for record in records]


async def check_head(store: MemoryStore, log: SessionLog) -> None:
    """The log's head is the store's."""
    assert log.head is not None
    assert log.head == await store.read_head(log.session_id)
    assert log.head_hash == log.head.hash


# --- making sessions


async def test_create_session_writes_its_start(store: SlowStore) -> None:
    """A new session has one record, with format, id and the state given, and a new id each time."""
    one = await create_session(store, STATE, clock=lambda: 7)
    two = await create_session(store, SessionStartState())
    assert one.session_id != two.session_id
    assert await entries_of(store, one.session_id) == [
        SessionStart(
            ts=7,
            format="sessionlog/1",
            session_id=one.session_id,
            system_prompt="p",
            config=RequestConfig(model="m", max_tokens=5),
            history=[user_message("before")],
        )
    ]
    await check_head(store, one)
    await check_head(store, two)


async def test_an_id_can_be_taken_once(store: SlowStore, log: SessionLog) -> None:
    """A reserved id makes a session once; the second attempt raises and changes nothing."""
    assert log.session_id == ID
    with pytest.raises(SessionExists) as error:
        await create_session_with_id(store, ID, SessionStartState())
    assert error.value.session_id == ID
    assert len(await store.read_all(ID)) == 1


@pytest.mark.parametrize("backend", ["memory", "file"])
@pytest.mark.parametrize("name", ["", "../x", "a b", "-a", "a" * 129, "ü", 7], ids=repr)
async def test_an_id_that_can_name_nothing_is_refused(name: str, backend: str, tmp_path: Path) -> None:
    """Every verb and check raises `InvalidSessionId` for it, and no session is made."""
    state, at = SessionStartState(), "0" * 64

    async def summarize(state: RestoredState) -> Sequence[Item]:
        return state.history

    async with MemoryStore() if backend == "memory" else FileStore(tmp_path) as store:
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: create_session_with_id(store, name, state),
            lambda: open_session(store, name),
            lambda: restore(store, name),
            lambda: fork_at(store, name, at),
            lambda: fork(store, state, SessionOrigin(name, at)),
            lambda: create_compacted_session(store, state, SessionOrigin(name, at)),
            lambda: compact(store, name, summarize),
            lambda: verify_session(store, name),
            lambda: audit_session(store, name),
            lambda: SessionLog(store, name, Head(0, at)).append(TurnEnd(ts=0, turn_count=1)),
        ]
        for call in calls:
            with pytest.raises(InvalidSessionId):
                await call()
        assert await store.list_sessions() == []


async def test_the_default_clock_is_the_wall(store: SlowStore) -> None:
    """Without a clock of its own, a session is stamped with unix milliseconds."""
    log = await create_session(store, STATE)
    await log.save_turn_end(1)
    start, turn_end = await entries_of(store, log.session_id)
    assert 1_600_000_000_000 < start.ts <= turn_end.ts < 4_000_000_000_000


async def test_open_session_goes_on_at_the_head(store: SlowStore, log: SessionLog) -> None:
    """An opened session appends behind what is there; one that is not there cannot be opened."""
    await log.save_turn_end(1)
    opened = await open_session(store, ID, clock=lambda: 9)
    assert (opened.session_id, opened.head) == (ID, log.head)
    await opened.save_turn_end(2)
    assert (await entries_of(store, ID))[-1] == TurnEnd(ts=9, turn_count=2)
    with pytest.raises(SessionNotFound):
        await open_session(store, SessionId("gone"))


async def test_invalid_states_make_no_session(store: SlowStore) -> None:
    """A state that cannot be kept is refused before anything is there."""
    with pytest.raises(InvalidEntry):
        await create_session(store, SessionStartState("\ud800"))
    assert await store.list_sessions() == []


# --- the verbs of a log


async def test_every_verb_writes_its_entry(store: SlowStore, log: SessionLog) -> None:
    """Each verb appends one record with the clock's time, returns its hash, and moves the head there."""
    hashes = [
        await log.append(UserInput(ts=1, item=user_message("u"))),
        await log.save_turn_end(3),
        await log.save_outcome("error", True, "m"),
        await log.save_outcome("finished", False),
        await log.save_usage(1, 2, 3, 4, 5),
        await log.save_cache_locked(6),
        await log.save_cache_unlocked(),
        await log.save_config_changed(RequestConfig(top_k=1)),
        await log.save_extension("d", {"a": [1]}),
        await log.set_labels({"team": "x", "case": None}, title="t"),
        await log.set_labels(title=None),
    ]
    assert (await entries_of(store, ID))[1:] == [
        UserInput(ts=1, item=user_message("u")),
        TurnEnd(ts=101, turn_count=3),
        RunOutcome(ts=102, outcome="error", message="m", interrupted=True),
        RunOutcome(ts=103, outcome="finished", interrupted=False),
        LlmUsage(
            ts=104,
            history_len=1,
            input_total_tokens=2,
            cache_read_tokens=3,
            cache_write_tokens=4,
            output_tokens=5,
        ),
        Locked(ts=105, locked_prefix_len=6),
        CacheUnlocked(ts=106),
        ConfigChanged(ts=107, config=RequestConfig(top_k=1)),
        Extension(ts=108, domain="d", payload={"a": [1]}),
        LabelsChanged(ts=109, title="t", labels={"team": "x", "case": None}),
        LabelsChanged(ts=110, title=None),
    ]
    assert [record.hash for record in await store.read_all(ID)][1:] == hashes
    assert store.commits == [1] * len(hashes)
    await check_head(store, log)


async def test_a_change_of_no_label_is_refused(store: SlowStore, log: SessionLog) -> None:
    """What changes nothing, or names a label without a name, is no record."""
    for labels in (None, {}, {"": "x"}):
        with pytest.raises(InvalidEntry):
            await log.set_labels(labels)
    assert store.commits == []
    await check_head(store, log)


async def test_title_and_labels_are_taken_along(store: SlowStore, log: SessionLog) -> None:
    """A fork and a compaction are called and filed as their source was at that record."""
    labelled = await log.set_labels({"team": "x"}, title="t")
    await log.set_labels({"team": "y"}, title="later")

    async def summarize(state: RestoredState) -> list[Item]:
        return []

    forked = await restore(store, (await fork_at(store, ID, labelled)).session_id)
    assert (forked.title, forked.labels) == ("t", {"team": "x"})
    compacted = await restore(store, (await compact(store, ID, summarize)).session_id)
    assert (compacted.title, compacted.labels) == ("later", {"team": "y"})


async def test_append_all_is_one_commit(store: SlowStore, log: SessionLog) -> None:
    """Several entries go in together and come back as hashes in order; none make no commit."""
    entries = [TurnEnd(ts=n, turn_count=n) for n in range(5)]
    hashes = await log.append_all(iter(entries))
    assert (await entries_of(store, ID))[1:] == entries
    assert [record.hash for record in await store.read_all(ID)][1:] == hashes
    assert await log.append_all([]) == []
    assert await log.save_delta([]) == []
    assert store.commits == [5]
    await check_head(store, log)


async def test_an_invalid_entry_writes_nothing(store: SlowStore, log: SessionLog) -> None:
    """One entry that cannot be kept keeps out all of its commit, and the log goes on."""
    head = log.head
    with pytest.raises(InvalidEntry):
        await log.append_all([TurnEnd(ts=1, turn_count=1), Extension(ts=1, domain="d", payload=float("nan"))])
    with pytest.raises(InvalidEntry):
        await log.append((await entries_of(store, ID))[0])
    assert (log.head, store.commits) == (head, [])
    await log.save_turn_end(1)
    await check_head(store, log)


async def test_save_delta_sorts_items_in_one_commit(store: SlowStore, log: SessionLog) -> None:
    """User messages and strangers get entries of their own, runs of the rest share one, and all is one commit."""
    u, a, s = user_message("u"), assistant_message("a"), system_message("s")
    r, c, t = reasoning("r"), tool_call("c", "n", "{}"), tool_result("c", "s")
    hashes = await log.save_delta([u, u, r, a, c, t, t, a, s, s, t, u, c])
    expected = [
        UserInput(ts=101, item=u),
        UserInput(ts=101, item=u),
        AssistantItems(ts=101, items=[r, a, c]),
        ToolResults(ts=101, items=[t, t]),
        AssistantItems(ts=101, items=[a]),
        HookInjectedItems(ts=101, items=[s]),
        HookInjectedItems(ts=101, items=[s]),
        ToolResults(ts=101, items=[t]),
        UserInput(ts=101, item=u),
        AssistantItems(ts=101, items=[c]),
    ]
    assert (await entries_of(store, ID))[1:] == expected
    assert len(hashes) == len(expected)
    assert store.commits == [len(expected)]
    await check_head(store, log)


@given(st.lists(any_items, max_size=12))
def test_sorting_loses_and_moves_nothing(items: list[Item]) -> None:
    """Sorted into entries, items keep their order; no entry holds what does not belong there; runs are whole."""
    entries = delta_entries(items, ts=5)
    flat: list[Item] = []
    for entry in entries:
        assert entry.ts == 5
        if isinstance(entry, UserInput):
            assert isinstance(entry.item, Message)
            assert entry.item.role == "user"
            flat.append(entry.item)
        elif isinstance(entry, ToolResults):
            assert all(isinstance(item, ToolResult) for item in entry.items)
            flat.extend(entry.items)
        elif isinstance(entry, AssistantItems):
            roles = [item.role for item in entry.items if isinstance(item, Message)]
            assert set(roles) <= {"assistant"}
            assert not any(isinstance(item, ToolResult) for item in entry.items)
            flat.extend(entry.items)
        else:
            assert isinstance(entry, HookInjectedItems)
            (item,) = entry.items
            assert isinstance(item, Message)
            assert item.role == "system"
            flat.append(item)
    assert flat == items
    kinds = [type(entry) for entry in entries]
    assert all(one is not two or one not in (ToolResults, AssistantItems) for one, two in itertools.pairwise(kinds))


# --- resuming


async def test_restore_folds_the_log(store: SlowStore, log: SessionLog) -> None:
    """What was appended is what a resuming runtime gets, calls without a result included."""
    await log.save_delta([user_message("u"), tool_call("c1", "n", "{}"), tool_call("c2", "n", "{}")])
    await log.save_delta([tool_result("c1", "s")])
    await log.save_outcome("error", True)
    state = await restore(store, ID)
    assert state == collect_state(await store.read_all(ID))
    assert state.head == log.head
    assert [call.call_id for call in state.dangling_tool_calls] == ["c2"]
    assert state.last_run_interrupted
    with pytest.raises(SessionNotFound):
        await restore(store, SessionId("gone"))


async def test_a_stopped_restore_leaves_no_stream_open(store: SlowStore, log: SessionLog) -> None:
    """A fold that ends early, by its find or by damage, closes the stream that it read from."""
    await log.save_turn_end(1)
    closed: list[str] = []

    class Watched(MemoryStore):
        async def read(self, session_id, *, after=None):  # type: ignore[no-untyped-def]  # noqa: ARG002
            try:
                for record in await store.read_all(session_id):
                    yield record
            finally:
                closed.append(session_id)

    watched = Watched()
    assert log.head_hash is not None
    first = (await store.read_all(ID))[0]
    await fork_at(watched, ID, first.hash)
    assert closed == [ID]
    first._entry = None
    first.line = first.line.replace(b'"session_id"', b'"session_ix"')
    with pytest.raises(CorruptLog):
        await restore(watched, ID)
    assert closed == [ID, ID]


# --- forking and compacting


async def test_fork_at_takes_the_state_of_that_record(store: SlowStore, log: SessionLog) -> None:
    """A fork starts with the state as of the record, names it as its origin, and passes an audit."""
    await log.save_delta([user_message("one"), assistant_message("two")])
    at = log.head_hash
    assert at is not None
    await log.save_config_changed(RequestConfig(model="later"))
    await log.save_delta([user_message("three")])
    forked = await fork_at(store, ID, at, clock=lambda: 7)
    start = (await entries_of(store, forked.session_id))[0]
    assert start == SessionStart(
        ts=7,
        format="sessionlog/1",
        session_id=forked.session_id,
        system_prompt="p",
        config=STATE.config,
        history=[user_message("before"), user_message("one"), assistant_message("two")],
        forked_from=SessionOrigin(ID, at),
    )
    await check_head(store, forked)
    await forked.save_turn_end(1)
    assert (await audit_session(store, forked.session_id)).findings == ()
    await check_head(store, log)


async def test_fork_at_needs_a_record_that_is_there(store: SlowStore, log: SessionLog) -> None:
    """A hash that the source does not hold, or a source that is not there, raises, and makes nothing."""
    await log.save_turn_end(1)
    for at_hash in ("0" * 64, "", log.head_hash[:10] if log.head_hash else ""):
        with pytest.raises(EntryNotFound) as error:
            await fork_at(store, ID, EntryHash(at_hash))
        assert (error.value.session_id, error.value.at_hash) == (ID, at_hash)
    with pytest.raises(SessionNotFound):
        await fork_at(store, SessionId("gone"), EntryHash("0" * 64))
    assert await store.list_sessions() == [ID]


async def test_fork_names_the_origin_that_it_is_given(store: SlowStore, log: SessionLog) -> None:
    """A fork of a given state carries the given origin, or none."""
    assert log.head_hash is not None
    origin = SessionOrigin(ID, log.head_hash)
    named = await fork(store, STATE, origin)
    unnamed = await fork(store, STATE)
    assert (await restore(store, named.session_id)).forked_from == origin
    assert (await restore(store, unnamed.session_id)).forked_from is None
    for made in (named, unnamed):
        await check_head(store, made)
        assert (await audit_session(store, made.session_id)).ok


async def test_compact_summarises_the_state_of_now(store: SlowStore, log: SessionLog) -> None:
    """The summary becomes the history, prompt and configuration stay, and the origin is the head of now."""
    await log.save_delta([user_message("one"), assistant_message("two")])
    await log.save_config_changed(RequestConfig(model="later"))

    async def summarize(state: RestoredState) -> Sequence[Item]:
        return [system_message(f"{len(state.history)} items")]

    made = await compact(store, ID, summarize, clock=lambda: 7)
    assert log.head_hash is not None
    assert await entries_of(store, made.session_id) == [
        SessionStart(
            ts=7,
            format="sessionlog/1",
            session_id=made.session_id,
            system_prompt="p",
            config=RequestConfig(model="later"),
            history=[system_message("3 items")],
            compacted_from=SessionOrigin(ID, log.head_hash),
        )
    ]
    await check_head(store, made)
    assert (await audit_session(store, made.session_id)).ok
    with pytest.raises(SessionNotFound):
        await compact(store, SessionId("gone"), summarize)


async def test_compacting_an_empty_log_is_refused() -> None:
    """A session without a record has nothing that a compaction could name."""

    class Empty(MemoryStore):
        async def read(self, session_id, *, after=None):  # type: ignore[no-untyped-def]  # noqa: ARG002
            for record in list[HashedEntry]():
                yield record

    async def summarize(state: RestoredState) -> Sequence[Item]:
        return []

    with pytest.raises(EntryNotFound):
        await compact(Empty(), ID, summarize)


async def test_create_compacted_session_carries_its_source(store: SlowStore, log: SessionLog) -> None:
    """A summary made elsewhere becomes a session that names its source."""
    assert log.head_hash is not None
    origin = SessionOrigin(ID, log.head_hash)
    made = await create_compacted_session(store, STATE, origin)
    state = await restore(store, made.session_id)
    assert (state.compacted_from, state.forked_from, state.history) == (origin, None, [user_message("before")])
    await check_head(store, made)


# --- two writers


async def test_the_slower_writer_is_told(store: SlowStore, log: SessionLog) -> None:
    """Whoever appends behind an old head gets ``HeadConflict`` with both heads, and nothing of it is in."""
    other = await open_session(store, ID)
    await other.save_turn_end(1)
    head = log.head
    with pytest.raises(HeadConflict) as error:
        await log.append_all([TurnEnd(ts=1, turn_count=5), TurnEnd(ts=1, turn_count=6)])
    assert (error.value.session_id, error.value.expected, error.value.found) == (ID, head, other.head)
    assert log.head == head
    assert len(await store.read_all(ID)) == 2
    again = await open_session(store, ID)
    await again.save_turn_end(7)
    await check_head(store, again)


async def test_on_conflict_fork_goes_on_elsewhere(store: SlowStore) -> None:
    """The slower writer forks from the last head that it knew, its entries go there, and it stays there."""
    await create_session_with_id(store, ID, STATE)
    mine = await open_session(store, ID, on_conflict="fork", clock=lambda: 7)
    await mine.save_delta([user_message("mine")])
    known = mine.head
    assert known is not None
    other = await open_session(store, ID)
    await other.save_delta([user_message("theirs")])

    entries = [TurnEnd(ts=1, turn_count=5), TurnEnd(ts=1, turn_count=6)]
    hashes = await mine.append_all(entries)
    assert mine.session_id != ID
    records = await store.read_all(mine.session_id)
    assert [record.entry for record in records] == [
        SessionStart(
            ts=7,
            format="sessionlog/1",
            session_id=mine.session_id,
            system_prompt="p",
            config=STATE.config,
            history=[user_message("before"), user_message("mine")],
            forked_from=SessionOrigin(ID, known.hash),
        ),
        *entries,
    ]
    assert [record.hash for record in records[1:]] == hashes
    await check_head(store, mine)
    await mine.save_turn_end(7)
    await check_head(store, mine)
    await check_head(store, other)
    assert (await audit_session(store, mine.session_id)).findings == ()
    assert len(await store.list_sessions()) == 2


async def test_a_log_that_knows_no_head_cannot_fork(store: SlowStore, log: SessionLog) -> None:
    """Without a head of its own there is nothing to fork from: the conflict is raised."""
    headless = SessionLog(store, ID, None, on_conflict="fork")
    start = (await entries_of(store, ID))[0]
    with pytest.raises(HeadConflict):
        await headless.append(start)
    assert (headless.head, headless.head_hash, headless.session_id) == (None, None, ID)


async def test_forking_from_a_head_that_is_gone_raises(store: SlowStore) -> None:
    """If the store no longer holds the head that this writer knew, there is nothing to fork from."""
    await create_session_with_id(store, ID, STATE)
    lost = SessionLog(store, ID, Head(5, EntryHash("0" * 64)), on_conflict="fork")
    with pytest.raises(EntryNotFound):
        await lost.save_turn_end(1)
    assert (lost.session_id, lost.head) == (ID, Head(5, EntryHash("0" * 64)))
    assert await store.list_sessions() == [ID]


async def test_ensure_head_or_fork_stays_when_nobody_wrote(store: SlowStore, log: SessionLog) -> None:
    """With the head still in place nothing is made."""
    await log.save_turn_end(1)
    assert await log.ensure_head_or_fork(SessionStartState()) is False
    assert log.session_id == ID
    assert await store.list_sessions() == [ID]


async def test_ensure_head_or_fork_forks_when_somebody_wrote(store: SlowStore, log: SessionLog) -> None:
    """The fork starts with the state given, and its origin is the last head that this writer knew."""
    known = log.head
    assert known is not None
    await (await open_session(store, ID)).save_turn_end(1)
    assert await log.ensure_head_or_fork(STATE) is True
    assert log.session_id != ID
    await check_head(store, log)
    state = await restore(store, log.session_id)
    assert (state.forked_from, state.history) == (SessionOrigin(ID, known.hash), [user_message("before")])
    assert (await audit_session(store, log.session_id)).ok
    assert await log.ensure_head_or_fork(STATE) is False
    await log.save_turn_end(2)
    await check_head(store, log)


async def test_a_writer_between_check_and_append_is_noticed(store: SlowStore, log: SessionLog) -> None:
    """After ``ensure_head_or_fork`` a writer can still come first: the append raises."""
    assert await log.ensure_head_or_fork(STATE) is False
    await (await open_session(store, ID)).save_turn_end(1)
    with pytest.raises(HeadConflict):
        await log.save_turn_end(2)


# --- tasks and cancellation


async def test_tasks_share_a_log(store: SlowStore, log: SessionLog) -> None:
    """Appends of many tasks queue on one log: all are in, none conflicts, each task's own are in order."""

    async def append(task: int) -> None:
        for n in range(5):
            await log.append(TurnEnd(ts=task, turn_count=n))
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        for task in range(20):
            tasks.start_soon(append, task)
    entries = (await entries_of(store, ID))[1:]
    assert len(entries) == 100
    for task in range(20):
        own = [entry.turn_count for entry in entries if isinstance(entry, TurnEnd) and entry.ts == task]
        assert own == list(range(5))
    await check_head(store, log)


async def test_racing_logs_lose_nothing(store: SlowStore, log: SessionLog) -> None:
    """Many logs on one session, each loser reading again: one linear chain with everything in it."""

    async def append(task: int) -> None:
        mine = await open_session(store, ID)
        for n in range(5):
            while True:
                try:
                    await mine.append(TurnEnd(ts=task, turn_count=n))
                    break
                except HeadConflict:
                    mine = await open_session(store, ID)

    async with anyio.create_task_group() as tasks:
        for task in range(10):
            tasks.start_soon(append, task)
    entries = (await entries_of(store, ID))[1:]
    assert sorted((e.ts, e.turn_count) for e in entries if isinstance(e, TurnEnd)) == [
        (task, n) for task in range(10) for n in range(5)
    ]


async def test_an_append_cancelled_before_its_commit_is_out(store: SlowStore, log: SessionLog) -> None:
    """Cancelled while the store has not committed: nothing is in, the head has not moved, the log goes on."""
    head = log.head
    store.before = True
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(log.save_turn_end, 1)
        await store.arrived.wait()
        tasks.cancel_scope.cancel()
    assert log.head == head == await store.read_head(ID)
    store.before = False
    await log.save_turn_end(2)
    await check_head(store, log)
    assert len(await store.read_all(ID)) == 2


async def test_an_append_cancelled_after_its_commit_is_in(store: SlowStore, log: SessionLog) -> None:
    """Cancelled when the commit has begun: it is in, and the head has moved before the cancellation surfaces."""
    store.after = True
    seen: list[Head | None] = []

    async def append() -> None:
        try:
            await log.save_turn_end(1)
            await anyio.lowlevel.checkpoint()
        finally:
            seen.append(log.head)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(append)
        await store.arrived.wait()
        tasks.cancel_scope.cancel()
        store.released.set()
    assert seen == [await store.read_head(ID)]
    assert log.head is not None
    assert log.head.seq == 1
    store.after = False
    await log.save_turn_end(2)
    await check_head(store, log)


async def test_a_queued_append_can_be_cancelled(store: SlowStore, log: SessionLog) -> None:
    """Cancelled while it waits for its turn, an append is out, and the queue goes on without it."""
    store.before = True
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(log.save_turn_end, 1)
        await store.arrived.wait()
        with anyio.CancelScope() as queued:
            async with anyio.create_task_group() as inner:
                inner.start_soon(log.save_turn_end, 2)
                await anyio.wait_all_tasks_blocked()
                queued.cancel()
        store.released.set()
    assert (await entries_of(store, ID))[1:] == [TurnEnd(ts=101, turn_count=1)]
    await log.save_turn_end(3)
    await check_head(store, log)


async def test_a_cancelled_fork_leaves_the_log_where_it_was(store: SlowStore) -> None:
    """Cancelled on its way to a fork, the log still stands at the head that it knew."""

    class SlowReads(SlowStore):
        async def read(self, session_id, *, after=None):  # type: ignore[no-untyped-def]
            self.arrived.set()
            await self.released.wait()
            for record in (await self.read_all(session_id))[0 if after is None else after + 1 :]:
                yield record

    reads = SlowReads()
    mine = await create_session_with_id(reads, ID, STATE, on_conflict="fork")
    await (await open_session(reads, ID)).save_turn_end(1)
    head = mine.head
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(mine.save_turn_end, 2)
        await reads.arrived.wait()
        tasks.cancel_scope.cancel()
    assert (mine.session_id, mine.head) == (ID, head)
    assert await reads.list_sessions() == [ID]
    reads.released.set()
    await mine.save_turn_end(3)
    assert mine.session_id != ID
    await check_head(reads, mine)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_native_cancellation_out_and_in(store: SlowStore, log: SessionLog) -> None:
    """``task.cancel()`` of asyncio keeps the promise too: out before the commit, in and known after it."""
    head = log.head
    store.before = True
    task = asyncio.ensure_future(log.save_turn_end(1))
    await store.arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log.head == head == await store.read_head(ID)

    store.before, store.after = False, True
    store.arrived = anyio.Event()
    seen: list[Head | None] = []

    async def append() -> None:
        try:
            await log.save_turn_end(2)
            await asyncio.sleep(0)
        finally:
            seen.append(log.head)

    appending = asyncio.ensure_future(append())
    await store.arrived.wait()
    appending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await appending
    assert seen == [await store.read_head(ID)]
    assert log.head is not None
    assert log.head.seq == 1
    store.after = False
    await log.save_turn_end(3)
    await check_head(store, log)


async def test_calls_are_written_as_given(store: SlowStore, log: SessionLog) -> None:
    """Arguments of a tool call are kept to the letter, valid JSON or not."""
    await log.save_delta([ToolCall("c", "n", '{"a": 1, "a"')])
    assert (await restore(store, ID)).history[-1] == ToolCall("c", "n", '{"a": 1, "a"')


async def test_position_is_where_the_log_ends(tmp_path: Path) -> None:
    """A log's position is the store's, after each verb, on a fork too; a log of an unknown end tells none."""
    async with FileStore(tmp_path, "os") as store:
        log = await create_session(store, SessionStartState("caf\u00e9"))
        assert log.position == await store.read_position(log.session_id)
        kept = log.position
        await log.save_turn_end(1)
        await log.save_delta([user_message("one"), user_message("two")])
        assert log.position == await store.read_position(log.session_id)
        other = await open_session(store, log.session_id, on_conflict="fork")
        assert other.position == log.position
        assert [record.seq async for record in store.read(log.session_id, after=kept)] == [1, 2, 3]
        await log.save_turn_end(2)
        await other.save_turn_end(2)
        assert other.session_id != log.session_id
        assert other.position == await store.read_position(other.session_id)
        await other.append_all([TurnEnd(ts=0, turn_count=3), TurnEnd(ts=0, turn_count=4)])
        assert other.position == await store.read_position(other.session_id)
        stale = await open_session(store, log.session_id)
        await log.save_turn_end(3)
        assert await stale.ensure_head_or_fork(SessionStartState())
        assert stale.position == await store.read_position(stale.session_id)
        assert SessionLog(store, log.session_id, log.head).position is None
        assert SessionLog(store, log.session_id, None, end=0).position is None
