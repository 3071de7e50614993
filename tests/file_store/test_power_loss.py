"""After every crash that the power-loss model can make, what was acknowledged is there."""

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest
from power_loss import CrashState, Recorder

from sessionlog import (
    CorruptLog,
    Damage,
    FileStore,
    HashedEntry,
    LogState,
    SessionId,
    SessionNotFound,
    SessionStartState,
    compact,
    create_session_with_id,
    fork_at,
    open_session,
    user_message,
    verify_chain,
)

SESSION = SessionId("main")
Scenario = Callable[[FileStore, Recorder], Awaitable[None]]


async def create_and_append(store: FileStore, recorder: Recorder) -> None:
    """One session, three single appends."""
    log = await create_session_with_id(store, SESSION, SessionStartState())
    recorder.acknowledge()
    for turn in range(3):
        await log.save_turn_end(turn)
        recorder.acknowledge()


async def append_long_records(store: FileStore, recorder: Recorder) -> None:
    """Records of several pages each."""
    log = await create_session_with_id(store, SESSION, SessionStartState("p" * 5000))
    recorder.acknowledge()
    for _ in range(2):
        await log.save_delta([user_message("x" * 9000)])
        recorder.acknowledge()


async def append_batches(store: FileStore, recorder: Recorder) -> None:
    """Several records in one commit, over page borders."""
    log = await create_session_with_id(store, SESSION, SessionStartState())
    recorder.acknowledge()
    for _ in range(2):
        await log.save_delta([user_message("y" * 1500)] * 4)
        recorder.acknowledge()


async def many_sessions(store: FileStore, recorder: Recorder) -> None:
    """Sessions enough for one flush of the file system."""

    async def make(number: int) -> None:
        log = await create_session_with_id(store, SessionId(f"s{number}"), SessionStartState())
        await log.save_turn_end(1)

    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(make, number)
    recorder.acknowledge()


async def fork_and_compact(store: FileStore, recorder: Recorder) -> None:
    """Sessions made from another."""
    log = await create_session_with_id(store, SESSION, SessionStartState())
    recorder.acknowledge()
    at_hash = await log.save_turn_end(1)
    recorder.acknowledge()
    await fork_at(store, SESSION, at_hash)
    recorder.acknowledge()

    async def summarize(state: object) -> list:  # type: ignore[type-arg]
        return [user_message(f"before: {type(state).__name__}")]

    await compact(store, SESSION, summarize)
    recorder.acknowledge()


SCENARIOS = [create_and_append, append_long_records, append_batches, many_sessions, fork_and_compact]
LENGTHS = [24, pytest.param(2000, marks=pytest.mark.long)]


@pytest.mark.parametrize("states_max", LENGTHS, ids=["short", "long"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_acknowledged_records_survive_power_loss(
    tmp_path: Path, scenario: Scenario, states_max: int, record_property: Callable[[str, object], None]
) -> None:
    """At every call, in every state that a crash may leave, every acknowledged record is there and verifies."""
    root = tmp_path / "store"
    root.mkdir()
    recorder = Recorder(root)
    acknowledged: list[dict[str, list[HashedEntry]]] = [{}]

    async def run() -> None:
        async with FileStore(root, "disk", system=recorder) as store:
            given = recorder.acknowledge

            def acknowledge() -> None:
                given()
                acknowledged.append({})

            recorder.acknowledge = acknowledge  # type: ignore[method-assign]
            await scenario(store, recorder)

    anyio.run(run)
    final = anyio.run(_read_every, root)
    states = 0
    for state in recorder.crash_states(seed=len(scenario.__name__), states_max=states_max):
        states += 1
        _lay_out(tmp_path / "after", state)
        anyio.run(_check, tmp_path / "after", state, _records_by(recorder, state.acknowledged), final)
    record_property("crash_states", states)
    assert states > 10


def _records_by(recorder: Recorder, acknowledged: int) -> dict[str, bytes]:
    """Return the files as they stood when the ``acknowledged``-th success was told."""
    if acknowledged == 0:
        return {}
    moment = recorder.acknowledged_at.index(acknowledged)
    return {name: file.current for name, file in recorder.moments[moment]}


def _lay_out(root: Path, state: CrashState) -> None:
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for name, content in state.files.items():
        (root / name).write_bytes(content)


async def _read_every(root: Path) -> dict[str, list[HashedEntry]]:
    async with FileStore(root) as store:
        return {session_id: await store.read_all(session_id) for session_id in await store.list_sessions()}


async def _check(
    root: Path, state: CrashState, promised: dict[str, bytes], final: dict[str, list[HashedEntry]]
) -> None:
    async with FileStore(root, "disk") as store:
        for session_id, records in final.items():
            wanted = promised.get(f"{session_id}.jsonl", b"").count(b"\n")
            found: list[HashedEntry] = []
            fault: CorruptLog | None = None
            try:
                async for record in store.read(session_id):
                    found.append(record)  # noqa: PERF401 - what came before a fault counts
            except SessionNotFound:
                assert wanted == 0
                continue
            except CorruptLog as corrupt:
                fault = corrupt
            assert found[:wanted] == records[:wanted]
            assert found == records[: len(found)]
            if fault is None:
                await _go_on(store, session_id)
            else:
                # Bytes that were never acknowledged, of which the first page is lost and a later one is not: refused,
                # named, and nothing is cut (FORMAT section 6 lets a writer repair a tail without an LF, no more).
                assert state.has_hole
                assert fault.damage in (Damage.NUL_BYTES, Damage.SHAPE, Damage.HASH, Damage.HEX)
                assert fault.seq == len(found) >= wanted


async def _go_on(store: FileStore, session_id: str) -> None:
    """Do as a writer does after a crash, and see that the log verifies."""
    for _ in range(2):
        if await store.read_head(session_id) is None:
            await create_session_with_id(store, session_id, SessionStartState())
        else:
            await (await open_session(store, session_id)).save_turn_end(7)
    assert verify_chain(await store.read_all(session_id)).state is LogState.VALID


@pytest.mark.parametrize("tail", [b'{"hash":"unfinished', b"\0" * 5000, b"x" * 9000], ids=["short", "zeros", "long"])
def test_a_repair_loses_nothing_to_power_loss(tmp_path: Path, tail: bytes) -> None:
    """Whenever the power goes during a repair, the torn bytes are in the log or in a file beside it."""
    root = tmp_path / "store"

    async def make() -> None:
        async with FileStore(root, "disk") as store:
            log = await create_session_with_id(store, SESSION, SessionStartState())
            await log.save_turn_end(1)

    anyio.run(make)
    path = root / f"{SESSION}.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    recorder = Recorder(root)

    async def repair() -> None:
        async with FileStore(root, "disk", system=recorder) as store:
            await (await open_session(store, SESSION)).save_turn_end(2)

    anyio.run(repair)
    states = list(recorder.crash_states(seed=1, states_max=64))
    assert len(states) > 5
    for state in states:
        log = state.files[path.name]
        aside = [content for name, content in state.files.items() if ".torn-" in name]
        assert log.startswith(whole)
        assert log.startswith(whole + tail) or tail in aside
        _lay_out(tmp_path / "after", state)
        if not state.has_hole:
            anyio.run(_repair_again, tmp_path / "after")
            kept = [found.read_bytes() for found in (tmp_path / "after").glob("*.torn-*")]
            assert tail in kept


async def _repair_again(root: Path) -> None:
    async with FileStore(root, "disk") as store:
        await _go_on(store, SESSION)
