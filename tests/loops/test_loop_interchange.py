"""The seed's JSON document, read and written; and how it becomes a log."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loops_factories import START, as_read, at, end, events_strategy, fed, records_of, start, tool_end, tree, user
from test_recorder_rules import STORY

from sessionlog import (
    FileStore,
    InvalidEntry,
    InvalidSessionId,
    MemoryStore,
    SessionExists,
    SessionId,
    assistant_message,
    collect_state,
    user_message,
)
from sessionlog.loops import (
    AgentEvent,
    AgentStart,
    AssistantMessage,
    CompactionBlock,
    ExtensionMessage,
    FirstLoop,
    Image,
    InactivityTimeout,
    Initial,
    LoopConfigSnapshot,
    LoopImported,
    LoopRecord,
    LoopStatus,
    MessageUpdate,
    ParallelGroupRecord,
    Rerun,
    Session,
    SessionFold,
    SessionImported,
    SessionRecorder,
    SessionScope,
    SpawnRef,
    StopReason,
    Text,
    Thinking,
    ToolCallContent,
    ToolCallDelta,
    ToolResultMessage,
    TurnId,
    TurnRange,
    TurnStart,
    TurnTrigger,
    UnknownEvent,
    Usage,
    UserMessage,
    collect_session,
    import_session,
    load_session,
    loop_to_json,
    read_document,
    session_entries,
    write_document,
)

OLDER = Path(__file__).with_name("documents") / "older.json"


def written(session: Session) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(write_document(session))
    return document


def with_loop(**members: Any) -> Session:
    record = LoopRecord(loop_id="s.c.0", session_id="s", started_at=START, **members)
    return Session(session_id="s", created_at=START, last_active_at=START, formation=FirstLoop(START), loops=[record])


def test_an_older_document_is_read() -> None:
    """Written by hand: nulls, missing newer members, old names, and members of tomorrow."""
    session = read_document(OLDER.read_bytes())
    assert (session.session_id, session.agent_id, session.scope) == ("harbour-1", "pilot", SessionScope.EPHEMERAL)
    assert session.created_at.isoformat() == "2025-06-01T08:00:00.123457+00:00"
    assert session.last_active_at.isoformat() == "2025-06-01T10:05:00+02:00"
    assert session.formation == InactivityTimeout(threshold_secs=900, timestamp=read_time("2025-06-01T08:00:00"))
    assert session.parent_spawn_ref == SpawnRef("quay-7", "quay-7.main.2", "call-9", "send_pilot")
    first, second = session.loops
    assert (first.continuation_kind, second.continuation_kind) == (Initial(), Rerun("2025-06-01T08:05:00Z"))
    assert (first.status, second.status) == (LoopStatus.COMPLETED, LoopStatus.ABORTED)
    assert first.config == LoopConfigSnapshot("tide-2", "moon")
    assert (first.usage, second.usage) == (Usage(11, 5, 2, total_tokens=16), Usage())
    assert first.metadata == {"turnId": "free"}
    assert (first.turns, second.events, second.children_loop_ids) == ([], [], [])
    assert second.parallel_group == ParallelGroupRecord(
        ["harbour-1.main.1", "harbour-1.alt.0"], "harbour-1.alt.0", 1, Usage(3, 1), is_selected=False
    )
    assert second.compaction_block is not None
    assert second.compaction_block.keep_first == TurnRange(0, 1)
    assert second.compaction_block.created_at == read_time("2025-06-01T08:06:00")
    (turn,) = second.turns
    assert (turn.triggered_by, list(turn.tool_results)) == (TurnTrigger.SUB_AGENT, [])
    assert isinstance(turn.output_message, AssistantMessage)
    assert (turn.output_message.stop_reason, turn.output_message.error_message) == (StopReason.ERROR, "becalmed")


def read_time(text: str) -> datetime:
    session = read_document(
        json.dumps(
            {
                "session_id": "s",
                "created_at": f"{text}Z",
                "last_active_at": f"{text}Z",
                "formation": {"FirstLoop": {"timestamp": f"{text}Z"}},
            }
        )
    )
    return session.created_at


def test_its_messages_are_read() -> None:
    """CamelCase members, content by type, and free JSON untouched."""
    asked, answered, result, note = read_document(OLDER.read_bytes()).loops[0].messages
    assert asked == UserMessage([Text("Where is the wind?")], 1748764800000)
    assert answered == AssistantMessage(
        [
            Thinking("Ask the vane.", "c2Vh"),
            ToolCallContent("call-1", "vane", {"parentId": "kept as it is", "at": None}),
        ],
        1748764801000,
        StopReason.TOOL_USE,
        "tide-2",
        "moon",
        Usage(11, 5),
        turn_id=TurnId("harbour-1.main.0", 0),
        node_id=4,
        parent_id=3,
        provenance_hint={"kind": "steering"},
    )
    assert result == ToolResultMessage(
        "call-1", "vane", [Text("west"), Image("UE5H", "image/png")], timestamp=1748764802000
    )
    assert note == ExtensionMessage("mood", {"mimeType": "untouched"})


def test_its_events_are_read() -> None:
    """With their gaps; deltas by their variant, triggers by their old name, unknown ones whole."""
    events = read_document(OLDER.read_bytes()).loops[0].events
    assert [item.sequence for item in events] == [0, 3, 4, 5]
    begun, update, turn, tide = (item.event for item in events)
    assert isinstance(begun, AgentStart)
    assert isinstance(update, MessageUpdate)
    assert update.delta == ToolCallDelta('{"at"')
    assert isinstance(turn, TurnStart)
    assert turn.triggered_by is TurnTrigger.CONTINUATION
    assert tide == UnknownEvent("TideTurned", {"loop_id": "harbour-1.main.0", "metres": 2.5})


def test_an_older_document_is_written_back_with_what_it_lacked() -> None:
    """What it said is said again, in the seed's spelling; the rest is filled with defaults."""
    document = json.loads(OLDER.read_bytes())
    again = written(read_document(OLDER.read_bytes()))
    assert read_document(json.dumps(again)) == read_document(OLDER.read_bytes())
    assert again["scope"] == "ephemeral"
    assert again["formation"] == document["formation"]
    assert again["parent_spawn_ref"] == document["parent_spawn_ref"]
    loops = again["loops"]
    for said, found in zip(document["loops"], loops, strict=True):
        assert found.get("compaction_block") == said.get("compaction_block")
        for name in ("loop_id", "parent_loop_id", "status", "started_at", "ended_at", "config", "metadata"):
            assert found[name] == said[name]
    assert "compaction_block" not in loops[0]
    assert loops[0]["continuation_kind"] == "Initial"
    assert loops[1]["continuation_kind"] == document["loops"][1]["continuation_kind"]
    assert loops[0]["messages"][2:] == document["loops"][0]["messages"][2:]
    full = {"reasoning": 0, "cache_read": 0, "cache_write": 0, "total_tokens": 0}
    assert loops[0]["messages"][1] == {
        **document["loops"][0]["messages"][1],
        "usage": {"input": 11, "output": 5, **full},
    }
    assert loops[0]["events"][1]["event"]["delta"] == {"ToolCallDelta": {"delta": '{"at"'}}
    assert loops[0]["events"][2]["event"]["triggered_by"] == "Continuation"
    assert loops[0]["events"][3] == document["loops"][0]["events"][3]
    assert "request_payload" not in loops[1]["turns"][0]
    assert loops[1]["turns"][0]["turn_id"] == {"loopId": "harbour-1.main.1", "turnIndex": 0}


def test_absence_is_written_as_the_seed_does() -> None:
    """``null`` where it always writes the member, nothing where it leaves empty ones out."""
    (loop,) = written(with_loop(config=LoopConfigSnapshot("m", "p")))["loops"]
    assert {name: loop[name] for name in ("parent_loop_id", "ended_at", "rejection", "metadata", "parallel_group")} == {
        "parent_loop_id": None,
        "ended_at": None,
        "rejection": None,
        "metadata": None,
        "parallel_group": None,
    }
    assert loop["config"] == {"model": "m", "provider": "p", "config_id": None}
    block = CompactionBlock(created_at=START)
    (compacted,) = written(with_loop(compaction_block=block))["loops"]
    assert compacted["compaction_block"] == {"createdAt": "2026-03-01T12:00:00Z"}


def test_the_document_is_pretty() -> None:
    """Two spaces a level, characters as they are, a line feed at the end."""
    text = write_document(with_loop(agent_id="héllo")).decode()
    assert text.startswith('{\n  "session_id": "s",\n  "agent_id": ""')
    assert "héllo" in text
    assert text.endswith("}\n")


@pytest.mark.parametrize("session", fed(*STORY).sessions(), ids=lambda session: session.session_id)
def test_a_story_survives_interchange(session: Session) -> None:
    """Every member of every struct that the story fills."""
    assert read_document(write_document(session)) == session


@settings(max_examples=150)
@given(st.lists(events_strategy(), max_size=30))
def test_any_tree_survives_interchange(events: list[AgentEvent]) -> None:
    """Whatever the events made of it."""
    fold = SessionFold("s")
    for event in events:
        fold.apply(as_read(event))
    assert read_document(write_document(fold.session)) == fold.session


@pytest.mark.parametrize("reason", list(StopReason))
def test_every_stop_reason_has_its_spelling(reason: StopReason) -> None:
    """camelCase, and back."""
    session = with_loop(messages=[AssistantMessage([Text("x")], stop_reason=reason)])
    (loop,) = written(session)["loops"]
    assert "_" not in loop["messages"][0]["stopReason"]
    assert read_document(write_document(session)) == session


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "truncated"),
        (b"[]", "no object"),
        (b"{}", "session_id"),
        (b"nonsense", "malformed"),
        ("[" * 100_000, ""),
        (OLDER.read_bytes().replace(b'"Aborted"', b'"Vanished"'), "Vanished"),
        (OLDER.read_bytes().replace(b'"Rerun"', b'"Retry"'), "Retry"),
        (OLDER.read_bytes().replace(b'"role": "user"', b'"role": "oracle"'), "oracle"),
        (OLDER.read_bytes().replace(b'"InactivityTimeout": {', b'"": {'), "none of"),
        (OLDER.read_bytes().replace(b'"turns": [', b'"turns": 3, "x": ['), "no array"),
        (OLDER.read_bytes().replace(b'"threshold_secs": 900', b'"threshold_secs": "long"'), "threshold_secs"),
        (OLDER.read_bytes().replace(b'"2025-06-01T08:06:00Z"', b'"2025-06-01T08:06:00"'), "timezone"),
        (OLDER.read_bytes().replace(b'{"Rerun": {"tag": "2025-06-01T08:05:00Z"}}', b"{}"), ""),
        (OLDER.read_bytes().replace(b'{"Rerun": {"tag": "2025-06-01T08:05:00Z"}}', b"7"), ""),
    ],
)
def test_what_is_no_document_is_refused(data: bytes | str, said: str) -> None:
    """With a typed error that says what is wrong."""
    with pytest.raises(InvalidEntry, match=f"no session document.*{said}"):
        read_document(data)


def test_what_json_cannot_hold_is_refused() -> None:
    """With a typed error, too."""
    for metadata in (object(), "\ud800"):
        with pytest.raises(InvalidEntry, match="cannot be written"):
            write_document(with_loop(metadata=metadata))


# into a store


@pytest.mark.anyio
async def test_a_document_becomes_a_log(tmp_path: Path) -> None:
    """The log folds to the document's session, in its new scope, and can be resumed."""
    session = read_document(OLDER.read_bytes())
    async with FileStore(tmp_path, durability="os") as store:
        assert await import_session(store, session) == "harbour-1"
        loaded = await load_session(store, await import_id(store))
        assert loaded.scope is SessionScope.PERSISTENT
        assert collect_session(await records_of(store, "harbour-1")) == loaded
        loaded.scope = session.scope
        assert loaded == session
        with pytest.raises(SessionExists):
            await import_session(store, session)


async def import_id(store: FileStore) -> SessionId:
    (session_id,) = await store.list_sessions()
    return session_id


@pytest.mark.anyio
async def test_the_history_is_what_the_last_loop_goes_on_with() -> None:
    """So that a restored session has one."""
    store = MemoryStore()
    events = [start("s.c.0"), end("s.c.0", messages=[user("hi"), AssistantMessage([Text("hello")])])]
    await import_session(store, fed(*events).sessions()[0])
    state = collect_state(await records_of(store, "s"))
    assert state.history == [user_message("hi"), assistant_message("hello")]


@pytest.mark.anyio
async def test_a_recorder_goes_on_with_an_imported_session() -> None:
    """Where its open loops were left."""
    store = MemoryStore()
    spawning = tool_end("s.c.0", "t1", child="k.c.0")
    await import_session(store, fed(start("s.c.0"), spawning, start("s.c.1", seconds=1), end("s.c.1")).sessions()[0])
    recorder = SessionRecorder(store=store)
    await recorder.record(spawning)
    await recorder.record(end("s.c.0"))
    await recorder.record(start("s.c.2", seconds=20, parent_loop_id="s.c.0"))
    session = recorder.get_session("s")
    assert session is not None
    assert session == collect_session(await records_of(store, "s"))
    assert [loop.status.value for loop in session.loops] == ["completed", "completed", "running"]
    assert [item.sequence for item in session.loops[0].events] == [0, 1, 2, 3]
    assert len(session.loops[0].child_loop_refs) == 1
    assert session.children_of("s.c.0") == [session.loops[2]]
    assert session.formation == FirstLoop(at(0))


def test_an_import_that_does_not_decode_is_passed_over() -> None:
    """So is a loop that is there already; events that came before their loop was imported find it."""
    session = tree(start("s.c.0"))
    imported = loop_to_json(tree(start("s.c.1"), start("s.c.2", seconds=2)).loops[0])
    events = [
        SessionImported(session_id="s", session=7),
        SessionImported(session_id="s", session={"created_at": "never"}),
        LoopImported(session_id="s", loop=[]),
        LoopImported(session_id="s", loop={"loop_id": "s.c.1"}),
        LoopImported(session_id="s", loop={**imported, "loop_id": "s.c.0", "agent_id": "thief"}),
    ]
    assert tree(start("s.c.0"), *events) == session
    found = tree(start("s.c.0"), end("s.c.1"), LoopImported(session_id="s", loop=imported)).get_loop("s.c.1")
    assert found is not None
    assert found.status is LoopStatus.COMPLETED


def test_an_id_that_cannot_name_a_session_is_not_bent() -> None:
    """The import is refused."""
    session = fed(start("a b.c.0", "a b")).sessions()[0]
    with pytest.raises(InvalidSessionId):
        session_entries(session, ts=0)


@settings(max_examples=100)
@given(st.lists(events_strategy(), max_size=25))
def test_any_tree_survives_import(events: list[AgentEvent]) -> None:
    """Into a log and out of it."""

    async def run() -> None:
        for session in fed(*events).sessions():
            if session.session_id == "no good":
                continue
            store = MemoryStore()
            session.scope = SessionScope.EPHEMERAL
            await import_session(store, session)
            assert collect_session(await records_of(store, session.session_id)) == session

    anyio.run(run)
