"""Recording into logs: what is written, in which order, and what is left after a failure."""

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import anyio
import pytest
from loops_factories import (
    answer,
    assert_log_says_the_same,
    at,
    end,
    group_end,
    group_start,
    records_of,
    said,
    start,
    streamed,
    tool_end,
    turn_end,
    turn_start,
    user,
)
from test_recorder_rules import STORY

from sessionlog import (
    AgentEventEntry,
    FileStore,
    HashedEntry,
    HeadConflict,
    InvalidEntry,
    InvalidSessionId,
    LogState,
    MemoryStore,
    Position,
    SessionId,
    SessionNotFound,
    SessionStart,
    SessionStartState,
    StoreFailed,
    create_session_with_id,
    open_session,
    restore,
    user_message,
    verify_chain,
)
from sessionlog.loops import (
    LoopStatus,
    SessionFormed,
    SessionRecorder,
    SessionRecorderConfig,
    SessionScope,
    SpawnRef,
    UnknownEvent,
    collect_session,
    load_session,
)

pytestmark = pytest.mark.anyio
SESSION = SessionId("s")


async def kinds_in(recorder: SessionRecorder, session_id: str = "s") -> list[str]:
    """Return what stands in the log, one word a record."""
    return [
        record.entry.event["type"] if isinstance(record.entry, AgentEventEntry) else type(record.entry).__name__
        for record in await records_of(recorder.store, session_id)
    ]


async def recorded(*events: object, recorder: SessionRecorder | None = None) -> SessionRecorder:
    recorder = SessionRecorder() if recorder is None else recorder
    for event in events:
        await recorder.record(event)  # type: ignore[arg-type] # the tests' own events
    return recorder


class FailingStore(MemoryStore):
    """Refuses every append while told to."""

    failing = False

    async def append(self, session_id: str, *records: HashedEntry) -> None:
        if self.failing:
            raise StoreFailed("no space left")
        await super().append(session_id, *records)


# what is written


async def test_the_whole_story_is_in_the_logs() -> None:
    """Recorded, its trees are the ones its logs fold to, and every chain verifies."""
    recorder = await recorded(*STORY)
    await assert_log_says_the_same(recorder)
    assert {session.session_id for session in recorder.sessions()} == {"s", "k"}
    for session in recorder.sessions():
        assert verify_chain(await records_of(recorder.store, session.session_id)).state is LogState.VALID


async def test_every_cut_of_the_log_folds() -> None:
    """A log cut behind any record is the tree of the events up to there."""
    events = [event for event in STORY if getattr(event, "loop_id", "s").startswith("s")]
    recorder = await recorded(*events)
    records = await records_of(recorder.store, "s")
    assert len(records) == len(events) + 1
    for cut in range(1, len(events) + 1):
        live = await recorded(*events[:cut])
        assert collect_session(records[: cut + 1]) == live.get_session("s")


async def test_the_first_record_binds_the_session() -> None:
    """An AgentStart of a session that the store does not hold makes it, in one commit with itself."""
    recorder = await recorded(start("s.c.0"))
    first, second = await records_of(recorder.store, "s")
    assert isinstance(first.entry, SessionStart)
    assert (first.entry.session_id, list(first.entry.history)) == ("s", [])
    assert isinstance(second.entry, AgentEventEntry)


async def test_record_returns_the_hash_of_its_record() -> None:
    """Of the event's own record, also where others are written with it."""
    recorder = SessionRecorder()
    await recorder.record(group_start("s.c.0", "s.c.1"))
    hashes = [await recorder.record(start("s.c.0")), await recorder.record(tool_end("s.c.0", "t1", child="sub"))]
    by_hash = {record.hash: record.entry for record in await records_of(recorder.store, "s")}
    found = [by_hash[hash_] for hash_ in hashes if hash_ is not None]
    assert [entry.event["type"] for entry in found if isinstance(entry, AgentEventEntry)] == [
        "AgentStart",
        "ToolExecutionEnd",
    ]


async def test_events_wait_for_their_session() -> None:
    """They are in no log before its AgentStart, and right before it afterwards, in the order in which they came."""
    recorder = SessionRecorder()
    assert await recorder.record(group_start("s.c.0", "main")) is None
    assert await recorder.record(turn_start("s.c.0")) is None
    assert await recorder.record(said("main", user("hi"))) is None
    assert not await recorder.store.exists(SESSION)
    assert len(recorder.waiting_events) == 3
    assert await recorder.record(start("s.c.0")) is not None
    assert recorder.waiting_events == []
    assert await kinds_in(recorder) == [
        "SessionStart",
        "ParallelLoopStart",
        "TurnStart",
        "MessageEnd",
        "AgentStart",
    ]
    await assert_log_says_the_same(recorder)


async def test_events_wait_for_a_loop_whose_id_hides_its_session() -> None:
    """What came for ``main`` goes to the session whose AgentStart names ``main``, and nothing else does."""
    recorder = await recorded(said("main", user("hi")), said("other", user("ho")), start("main", "s"))
    assert await kinds_in(recorder) == ["SessionStart", "MessageEnd", "AgentStart"]
    assert len(recorder.waiting_events) == 1
    await assert_log_says_the_same(recorder)


async def test_events_of_another_loop_with_the_same_prefix_wait_on() -> None:
    """An id that hides its session says nothing about its neighbours'."""
    recorder = await recorded(said("x.a.0", user("hi")), said("x.b.0", user("ho")), start("x.a.0", "s"))
    assert await kinds_in(recorder) == ["SessionStart", "MessageEnd", "AgentStart"]
    assert recorder.waiting_events == [said("x.b.0", user("ho"))]
    await recorder.record(start("x.c.0"))
    assert await kinds_in(recorder, "x") == ["SessionStart", "MessageEnd", "AgentStart"]


async def test_an_event_whose_loop_starts_meanwhile_follows_it() -> None:
    """Its session is looked up in the store while its loop's AgentStart goes to another one."""
    store = GatedStore()
    recorder = SessionRecorder(store=store)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(recorder.record, said("main", user("hi")))
        await store.reached.wait()
        await recorder.record(start("main", "s"))
        store.opened.set()
    assert await kinds_in(recorder) == ["SessionStart", "AgentStart", "MessageEnd"]
    assert recorder.waiting_events == []


class GatedStore(MemoryStore):
    """Lets nobody read session ``main`` before it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.opened = anyio.Event(), anyio.Event()

    async def read(self, session_id: str, *, after: int | Position | None = None) -> AsyncGenerator[HashedEntry, None]:
        if session_id == "main":
            self.reached.set()
            await self.opened.wait()
        async for record in super().read(session_id, after=after):
            yield record


async def test_what_is_not_kept_is_not_written() -> None:
    """Streaming events leave one record that counts them, before the next event of their loop."""
    recorder = await recorded(start("s.c.0"), streamed("s.c.0"), streamed("s.c.0"), end("s.c.0"))
    assert await kinds_in(recorder) == ["SessionStart", "AgentStart", "EventsFiltered", "AgentEnd"]
    await assert_log_says_the_same(recorder)
    kept = SessionRecorder(SessionRecorderConfig(include_streaming_events=True))
    await recorded(start("s.c.0"), streamed("s.c.0"), end("s.c.0"), recorder=kept)
    assert await kinds_in(kept) == ["SessionStart", "AgentStart", "MessageUpdate", "AgentEnd"]


async def test_members_that_are_not_known_stay_in_the_record() -> None:
    """A mapping is written as it is, and applied as far as it is understood."""
    recorder = await recorded(start("s.c.0"))
    newer = {"type": "AgentEnd", "loop_id": "s.c.0", "timestamp": "2026-03-01T12:00:09Z", "mood": {"good": True}}
    await recorder.record(newer)
    await recorder.record(UnknownEvent("Novel", {"loop_id": "s.c.0", "x": [1]}))
    *_, ended, novel = await records_of(recorder.store, "s")
    assert isinstance(ended.entry, AgentEventEntry)
    assert isinstance(novel.entry, AgentEventEntry)
    assert ended.entry.event == newer
    assert novel.entry.event == {"type": "Novel", "loop_id": "s.c.0", "x": [1]}
    session = recorder.get_session("s")
    assert session is not None
    assert session.loops[0].status is LoopStatus.COMPLETED


async def test_a_spawned_session_says_so_in_its_own_log() -> None:
    """Each log folds to its own tree, links included, without the other one."""
    recorder = await recorded(start("s.c.0"), start("k.c.0", parent_loop_id="s.c.0"), end("k.c.0"))
    await recorder.record(tool_end("s.c.0", "t1", child="k.c.0"))
    assert await kinds_in(recorder, "k") == ["SessionStart", "AgentStart", "AgentEnd", "SpawnLinked"]
    assert await kinds_in(recorder, "s") == ["SessionStart", "AgentStart", "ToolExecutionEnd"]
    session = await load_session(recorder.store, SessionId("k"))
    assert session.parent_spawn_ref == SpawnRef("s", "s.c.0", "t1", "task")


async def test_a_child_that_begins_meanwhile_is_linked() -> None:
    """Its session becomes known while the tool's end is being written."""
    store = RacingStore()
    recorder = await recorded(start("s.c.0"), recorder=SessionRecorder(store=store))
    store.before_append = lambda: recorded(start("sub", "k"), recorder=recorder)
    await recorder.record(tool_end("s.c.0", "t1", child="sub"))
    parent, child = recorder.get_session("s"), recorder.get_session("k")
    assert parent is not None
    assert child is not None
    assert [ref.child_session_id for ref in parent.loops[0].child_loop_refs] == ["k"]
    assert child.parent_spawn_ref == SpawnRef("s", "s.c.0", "t1", "task")
    await assert_log_says_the_same(recorder)


async def test_a_sub_agent_in_the_same_session_writes_no_link() -> None:
    """The tool's end says it all."""
    recorder = await recorded(start("s.c.0"), start("sub", "s"), tool_end("s.c.0", "t1", child="sub"))
    assert await kinds_in(recorder) == ["SessionStart", "AgentStart", "AgentStart", "ToolExecutionEnd", "SpawnLinked"]
    recorder = await recorded(start("s.c.0"), start("s.d.0"), tool_end("s.c.0", "t1", child="s.d.0"))
    assert await kinds_in(recorder) == ["SessionStart", "AgentStart", "AgentStart", "ToolExecutionEnd"]


async def test_a_spawned_session_is_linked_though_it_was_drained() -> None:
    """Its log is taken up again for it."""
    recorder = await recorded(start("k.c.0", parent_loop_id="s.c.0"), end("k.c.0"))
    recorder.checkpoint()
    recorder.drain_completed()
    await recorded(start("s.c.0"), tool_end("s.c.0", "t1", child="k.c.0"), recorder=recorder)
    session = await load_session(recorder.store, SessionId("k"))
    assert session.parent_spawn_ref == SpawnRef("s", "s.c.0", "t1", "task")
    await assert_log_says_the_same(recorder)


async def test_a_flush_can_be_recorded() -> None:
    """Then the log says that the loops were given up; a plain flush is the live tree's alone."""
    recorder = await recorded(start("s.c.0"), start("k.c.0"), end("k.c.0"))
    await recorder.record_flush()
    assert await kinds_in(recorder, "k") == ["SessionStart", "AgentStart", "AgentEnd"]
    await assert_log_says_the_same(recorder)
    (aborted,) = [session for session in recorder.drain_completed() if session.session_id == "s"]
    assert aborted.loops[0].status is LoopStatus.ABORTED
    plain = await recorded(start("s.c.0"))
    plain.flush()
    folded = await load_session(plain.store, SESSION)
    assert folded.loops[0].status is LoopStatus.RUNNING


# stores and scopes


async def test_sessions_are_ephemeral_in_memory_and_persistent_elsewhere(tmp_path: Path) -> None:
    """The recorder says so in the log, and so does the store that a log is loaded from."""
    async with FileStore(tmp_path, durability="os") as store:
        in_file = await recorded(start("s.c.0"), end("s.c.0"), recorder=SessionRecorder(store=store))
        in_memory = await recorded(start("s.c.0"), end("s.c.0"))
        for recorder, scope in ((in_file, SessionScope.PERSISTENT), (in_memory, SessionScope.EPHEMERAL)):
            session = recorder.get_session("s")
            assert session is not None
            assert session.scope is scope
            assert await load_session(recorder.store, SESSION) == session
            await assert_log_says_the_same(recorder)
        assert in_file.store is store


async def test_the_scope_is_written_once(tmp_path: Path) -> None:
    """With the AgentStart that opens the session, and only where it outlives the process."""
    async with FileStore(tmp_path, durability="os") as store:
        await create_session_with_id(store, SESSION, SessionStartState())
        recorder = await recorded(
            group_start("s.c.0"),
            start("s.c.0"),
            SessionFormed(session_id="s", scope=SessionScope.EPHEMERAL),
            end("s.c.0"),
            recorder=SessionRecorder(store=store),
        )
        assert await kinds_in(recorder) == [
            "SessionStart",
            "ParallelLoopStart",
            "SessionFormed",
            "AgentStart",
            "SessionFormed",
            "AgentEnd",
        ]
        await assert_log_says_the_same(recorder)


async def test_loops_of_a_session_taken_up_are_known() -> None:
    """Also by ids that hide their session."""
    first = await recorded(start("main", "s"))
    second = SessionRecorder(store=first.store)
    await second.record(start("s.c.1", seconds=1))
    assert await second.record(end("main")) is not None
    session = second.get_session("s")
    assert session is not None
    assert session.loops[0].status is LoopStatus.COMPLETED


async def test_a_log_without_agent_events_is_a_session_made_by_hand() -> None:
    """It has no loops, and the time of its first record."""
    store = MemoryStore()
    await create_session_with_id(store, SESSION, SessionStartState(), clock=lambda: 1_700_000_000_000)
    session = await load_session(store, SESSION)
    assert (session.session_id, session.loops, session.agent_id) == ("s", [], "")
    assert session.created_at.timestamp() == 1_700_000_000
    assert type(session.formation).__name__ == "Explicit"
    assert collect_session([]).loops == []


async def test_a_time_that_is_none_folds() -> None:
    """A first record may say any 64-bit integer."""
    store = MemoryStore()
    await create_session_with_id(store, SESSION, SessionStartState(), clock=lambda: 2**63)
    assert (await load_session(store, SESSION)).created_at.timestamp() == 0


async def test_a_session_is_taken_up_where_its_log_ends() -> None:
    """A new recorder on the same store goes on with the same tree, and appends behind the head."""
    first = await recorded(start("s.c.0"), turn_start("s.c.0"), said("s.c.0", user("hi")))
    second = SessionRecorder(store=first.store)
    await recorded(turn_end("s.c.0"), end("s.c.0"), recorder=second)
    session = second.get_session("s")
    assert session is not None
    (turn,) = session.loops[0].turns
    assert list(turn.input_messages) == [user("hi")]
    await assert_log_says_the_same(second)


async def test_a_session_that_somebody_made_is_recorded_into() -> None:
    """A log with a history and no loops gets them; the history stays what it was."""
    store = MemoryStore()
    log = await create_session_with_id(store, SESSION, SessionStartState(history=[user_message("hi")]))
    recorder = await recorded(group_start("s.c.0"), start("s.c.0"), recorder=SessionRecorder(store=store))
    assert (await records_of(store, "s"))[0].head == log.head
    assert (await restore(store, SESSION)).history == [user_message("hi")]
    await assert_log_says_the_same(recorder)


# other writers


async def test_another_recorder_on_the_same_log_is_folded_in() -> None:
    """Neither loses an event: each goes behind what the log holds by then."""
    one = await recorded(start("s.c.0"))
    other = await recorded(start("s.c.1", seconds=1), recorder=SessionRecorder(store=one.store))
    await recorded(end("s.c.0"), recorder=one)
    await recorded(end("s.c.1"), recorder=other)
    await recorded(turn_start("s.c.0"), recorder=one)
    session = one.get_session("s")
    assert session is not None
    assert [loop.status for loop in session.loops] == [LoopStatus.COMPLETED, LoopStatus.COMPLETED]
    await assert_log_says_the_same(one)


async def test_two_recorders_may_open_one_session_at_once() -> None:
    """The second finds the log there when it writes, and goes behind."""
    store = RacingStore()
    loser = SessionRecorder(store=store)
    store.before_append = lambda: recorded(start("s.c.1"), recorder=SessionRecorder(store=store))
    await recorded(start("s.c.0"), recorder=loser)
    assert await kinds_in(loser) == ["SessionStart", "AgentStart", "AgentStart"]
    await assert_log_says_the_same(loser)


async def test_items_of_a_session_log_do_not_stop_the_recorder() -> None:
    """Another writer's history entries lie between the events."""
    recorder = await recorded(start("s.c.0"))
    log = await open_session(recorder.store, SESSION)
    await log.save_delta([user_message("hi")])
    await recorded(end("s.c.0"), recorder=recorder)
    with pytest.raises(HeadConflict):
        await log.save_delta([user_message("ho")])
    await assert_log_says_the_same(recorder)


async def test_an_attached_log_shares_its_head() -> None:
    """A runtime's SessionLog and the recorder append by turns, and neither conflicts."""
    store = MemoryStore()
    log = await create_session_with_id(store, SESSION, SessionStartState())
    recorder = SessionRecorder(store=store)
    await recorder.attach(log)
    await recorder.record(start("s.c.0"))
    await log.save_delta([user_message("hi")])
    hash_ = await recorder.record(end("s.c.0"))
    assert log.head_hash == hash_
    await log.save_turn_end(1)
    assert (await restore(store, SESSION)).turn_count == 1
    await assert_log_says_the_same(recorder)


async def test_an_attached_log_that_lost_its_head_conflicts() -> None:
    """Its owner has to decide then; the tree does not show the event."""
    store = MemoryStore()
    log = await create_session_with_id(store, SESSION, SessionStartState())
    recorder = SessionRecorder(store=store)
    await recorder.attach(log)
    await (await open_session(store, SESSION)).save_turn_end(1)
    with pytest.raises(HeadConflict):
        await recorder.record(start("s.c.0"))
    session = recorder.get_session("s")
    assert session is not None
    assert session.loops == []


async def test_a_log_that_is_not_there_cannot_be_attached() -> None:
    """The recorder's own store must hold it."""
    log = await create_session_with_id(MemoryStore(), SESSION, SessionStartState())
    with pytest.raises(SessionNotFound):
        await SessionRecorder().attach(log)


async def test_tasks_record_into_many_sessions_at_once() -> None:
    """Each session's events stay in the order in which they were recorded."""
    recorder = SessionRecorder()

    async def run(session_id: str) -> None:
        await recorded(
            start(f"{session_id}.c.0"),
            *(turn for n in range(5) for turn in (turn_start(f"{session_id}.c.0", n), turn_end(f"{session_id}.c.0"))),
            end(f"{session_id}.c.0"),
            recorder=recorder,
        )

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(run, f"s{number}")
    assert [session.loops[0].turn_count for session in recorder.sessions()] == [5] * 8
    await assert_log_says_the_same(recorder)


async def test_tasks_may_record_into_one_session_at_once() -> None:
    """Also the AgentStart that the others wait for."""
    recorder = SessionRecorder()
    async with anyio.create_task_group() as tasks:
        for number in range(4):
            for event in (said(f"s.c.{number}", user("hi")), start(f"s.c.{number}"), end(f"s.c.{number}")):
                tasks.start_soon(recorder.record, event)
    session = recorder.get_session("s")
    assert session is not None
    assert [loop.status for loop in session.loops] == [LoopStatus.COMPLETED] * 4
    await assert_log_says_the_same(recorder)


class RacingStore(MemoryStore):
    """Lets somebody else in once, right before an append."""

    before_append: object = None

    async def append(self, session_id: str, *records: HashedEntry) -> None:
        meanwhile, self.before_append = self.before_append, None
        if callable(meanwhile):
            await meanwhile()
        await super().append(session_id, *records)


# failures


async def test_after_a_refused_write_neither_log_nor_tree_holds_the_event() -> None:
    """It can be recorded again; what waited for it waits on."""
    store = FailingStore()
    recorder = SessionRecorder(store=store)
    await recorder.record(group_start("s.c.0"))
    store.failing = True
    with pytest.raises(StoreFailed):
        await recorder.record(start("s.c.0"))
    assert recorder.sessions() == []
    assert len(recorder.waiting_events) == 1
    store.failing = False
    await recorder.record(start("s.c.0"))
    store.failing = True
    with pytest.raises(StoreFailed):
        await recorder.record(end("s.c.0"))
    assert recorder.current_loop("s.c.0") is not None
    store.failing = False
    await recorder.record(end("s.c.0"))
    assert await kinds_in(recorder) == ["SessionStart", "ParallelLoopStart", "AgentStart", "AgentEnd"]
    await assert_log_says_the_same(recorder)


async def test_a_link_that_cannot_be_written_waits() -> None:
    """The tool's end is in; its link goes to the child's log with a later event."""
    store = ChildFailingStore()
    recorder = await recorded(start("s.c.0"), start("k.c.0"), recorder=SessionRecorder(store=store))
    store.failing = True
    assert await recorder.record(tool_end("s.c.0", "t1", child="k.c.0")) is not None
    assert len(recorder.waiting_events) == 1
    await assert_log_says_the_same(recorder)
    store.failing = False
    await recorder.record(end("s.c.0"))
    assert recorder.waiting_events == []
    session = recorder.get_session("k")
    assert session is not None
    assert session.parent_spawn_ref == SpawnRef("s", "s.c.0", "t1", "task")
    await assert_log_says_the_same(recorder)


class ChildFailingStore(MemoryStore):
    """Refuses appends to session ``k`` while told to."""

    failing = False

    async def append(self, session_id: str, *records: HashedEntry) -> None:
        if self.failing and session_id == "k":
            raise StoreFailed("no space left")
        await super().append(session_id, *records)


async def test_a_cancelled_record_is_in_or_out() -> None:
    """Whichever it is, log and tree agree on it."""
    for checkpoints in range(6):
        store = MemoryStore()
        recorder = await recorded(start("s.c.0"), recorder=SessionRecorder(store=store))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(recorder.record, tool_end("s.c.0", "t1", child="s.c.1"))
            for _ in range(checkpoints):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        await assert_log_says_the_same(recorder)


BAD_EVENTS = [
    None,
    7,
    UnknownEvent("Novel", {"x": 1}),
    UnknownEvent("Novel", {"loop_id": "s.c.0", "x": float("nan")}),
    start("s.c.0", metadata=float("inf")),
    start("s.c.0", metadata={1: 2}),
    start("s.c.0", metadata=2**64),
    start("s.c.0", metadata="\ud800"),
    start("s.c.0", timestamp=at(0).replace(tzinfo=None)),
    start("s.c.0", agent_id=None),
    {"type": "Novel"},
]


@pytest.mark.parametrize("event", BAD_EVENTS, ids=repr)
async def test_what_cannot_be_kept_is_refused(event: object) -> None:
    """With a typed error, before anything is written, applied or kept waiting."""
    recorder = SessionRecorder()
    with pytest.raises(InvalidEntry):
        await recorded(event, recorder=recorder)
    assert await recorder.store.list_sessions() == []
    assert (recorder.sessions(), recorder.waiting_events) == ([], [])


async def test_the_refusal_names_the_member() -> None:
    """So that its runtime can be mended."""
    with pytest.raises(InvalidEntry, match=r"AgentStart: .*timezone.*\$\.timestamp"):
        await SessionRecorder().record(start("s.c.0", timestamp=at(0).replace(tzinfo=None)))


@pytest.mark.parametrize("session_id", ["", "a b", "x.y", "-x", "s" * 129])
async def test_a_session_that_cannot_be_named_is_refused(session_id: str) -> None:
    """Ids are not bent into shape: the error names the id, and nothing was written."""
    recorder = SessionRecorder()
    with pytest.raises(InvalidSessionId):
        await recorder.record(start("loop", session_id))
    assert (recorder.sessions(), await recorder.store.list_sessions()) == ([], [])


async def test_loop_ids_may_be_anything() -> None:
    """Only the session's id names a file; events of a loop find the session by its AgentStart."""
    loop_ids: Sequence[str] = ["", ".", "...", "ünï", "a b.c.0", "x" * 500, "s"]
    recorder = SessionRecorder()
    for loop_id in loop_ids:
        await recorded(turn_start(loop_id), start(loop_id, "s"), turn_end(loop_id), end(loop_id), recorder=recorder)
    session = recorder.get_session("s")
    assert session is not None
    assert [(loop.loop_id, loop.status, loop.turn_count) for loop in session.loops] == [
        (loop_id, LoopStatus.COMPLETED, 1) for loop_id in loop_ids
    ]
    assert recorder.waiting_events == []
    await assert_log_says_the_same(recorder)


async def test_groups_are_in_the_log() -> None:
    """Announcement and choice go to the session that they name."""
    recorder = await recorded(start("s.c.0"), group_start("s.c.1", "x"), said("x", answer("hi")), group_end("x"))
    assert await kinds_in(recorder) == [
        "SessionStart",
        "AgentStart",
        "ParallelLoopStart",
        "MessageEnd",
        "ParallelLoopEnd",
    ]
    await assert_log_says_the_same(recorder)
