"""What is done to a file store while faults are injected under it, and what must be true afterwards.

A scenario prepares a store's directory with an ordinary store, then runs on one that faults are injected under. A
``Ledger`` notes what each append was told; ``check_kept`` holds it against what an ordinary store finds afterwards.

Run as a script, it runs a scenario in processes that are killed at each system call in turn::

    fault_scenarios.py SCENARIO DURABILITY FOLDER
"""

import itertools
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from sessionlog import (
    Durability,
    Extension,
    FileStore,
    HashedEntry,
    Head,
    LogState,
    RequestConfig,
    SessionId,
    SessionLogError,
    SessionStart,
    StoreFailed,
    assistant_message,
    compact,
    fork_at,
    link,
    parse_record,
    user_message,
    verify_chain,
)
from sessionlog.items import Item
from sessionlog.state import RestoredState
from sessionlog.testing.faults import Cut, Fault, FaultySystem, Kill

ID = SessionId("main")
BATCH_RECORDS = 5
AT_ONCE = [SessionId(f"at-once-{number}") for number in range(7)]
"""More than the file store flushes one by one."""


def first_record(session_id: str = ID) -> HashedEntry:
    return link(
        None,
        SessionStart(
            ts=0,
            format="sessionlog/1",
            session_id=session_id,
            system_prompt="Be brief.",
            config=RequestConfig(),
            history=[user_message("hello"), assistant_message("hello")],
        ),
    )


def chain_onto(head: Head, count: int, text: str = "") -> list[HashedEntry]:
    records: list[HashedEntry] = []
    for number in range(count):
        last = records[-1].head if records else head
        records.append(link(last, Extension(ts=0, domain="fault", payload=f"{text}{number} " + "x" * 100)))
    return records


def new_log(session_id: str = ID, count: int = 3) -> list[HashedEntry]:
    first = first_record(session_id)
    return [first, *chain_onto(first.head, count - 1)]


@dataclass
class Ledger:
    """What appends were told."""

    acknowledged: dict[str, list[HashedEntry]] = field(default_factory=dict)
    refused: dict[str, list[HashedEntry]] = field(default_factory=dict)
    poisoned: set[str] = field(default_factory=set)
    errors: list[SessionLogError] = field(default_factory=list)

    def note(self, session_id: str, records: tuple[HashedEntry, ...], error: SessionLogError | None) -> None:
        if error is None:
            self.acknowledged.setdefault(session_id, []).extend(records)
            return
        self.errors.append(error)
        if isinstance(error, StoreFailed) and error.poisoned:
            self.poisoned.add(session_id)
        else:
            self.refused.setdefault(session_id, []).extend(records)


class WitnessedStore(FileStore):
    """A file store that notes in ``ledger`` what it told of each append."""

    ledger: Ledger

    async def append(self, session_id: str, *records: HashedEntry) -> None:
        await self._witness(session_id, records, super().append(session_id, *records))

    async def create_session(self, session_id: str, records: Sequence[HashedEntry]) -> None:
        await self._witness(session_id, tuple(records), super().create_session(session_id, records))

    async def _witness(self, session_id: str, records: tuple[HashedEntry, ...], call: Awaitable[None]) -> None:
        try:
            await call
        except SessionLogError as error:
            self.ledger.note(session_id, records, error)
            raise
        self.ledger.note(session_id, records, None)


@dataclass(frozen=True)
class Scenario:
    """Something done to a store."""

    name: str
    run: Callable[[FileStore], Awaitable[object]]
    prepare: Callable[[Path], Awaitable[list[HashedEntry]]]
    """Returns what is in the session ``ID`` before."""


async def nothing(root: Path) -> list[HashedEntry]:
    return []


async def a_session(root: Path) -> list[HashedEntry]:
    log = new_log()
    async with FileStore(root, "os") as store:
        await store.create_session(ID, log)
    return log


async def an_unfinished_record(root: Path) -> list[HashedEntry]:
    log = await a_session(root)
    with (root / f"{ID}.jsonl").open("ab") as file:
        file.write(chain_onto(log[-1].head, 1, "unfinished")[0].line[:90])
    return log


async def a_record_without_line_feed(root: Path) -> list[HashedEntry]:
    log = await a_session(root)
    last = chain_onto(log[-1].head, 1, "whole")[0]
    with (root / f"{ID}.jsonl").open("ab") as file:
        file.write(last.line)
    return log


async def many_sessions(root: Path) -> list[HashedEntry]:
    async with FileStore(root, "os") as store:
        for session_id in AT_ONCE[:-2]:
            await store.create_session(session_id, new_log(session_id))
    return await a_session(root)


async def create(store: FileStore) -> None:
    await store.create_session(ID, new_log())


async def append_one(store: FileStore) -> None:
    await store.append(ID, *chain_onto(new_log()[-1].head, 1))


async def append_one_after_another(store: FileStore) -> None:
    records = chain_onto(new_log()[-1].head, 3)
    for record in records:
        await store.append(ID, record)


async def append_batch(store: FileStore) -> None:
    await store.append(ID, *chain_onto(new_log()[-1].head, BATCH_RECORDS))


async def append_to_many(store: FileStore) -> None:
    """Append to some sessions and make others, all at once; each goes on or fails by itself."""

    async def write(session_id: str) -> None:
        log = new_log(session_id)
        try:
            if session_id in AT_ONCE[-2:]:
                await store.create_session(session_id, log)
            else:
                await store.append(session_id, *chain_onto(log[-1].head, 2))
        except SessionLogError:
            pass  # in the ledger

    async with anyio.create_task_group() as tasks:
        for session_id in AT_ONCE:
            tasks.start_soon(write, session_id)


async def fork_in_the_middle(store: FileStore) -> None:
    log = await fork_at(store, ID, new_log()[1].hash)
    await log.append(Extension(ts=0, domain="fault", payload="in the fork"))


async def compact_it(store: FileStore) -> None:
    async def summarize(state: RestoredState) -> list[Item]:
        return state.history[-1:]

    log = await compact(store, ID, summarize)
    await log.append(Extension(ts=0, domain="fault", payload="in the compacted session"))


SCENARIOS = [
    Scenario("create", create, nothing),
    Scenario("append", append_one, a_session),
    Scenario("append-repeated", append_one_after_another, a_session),
    Scenario("append-batch", append_batch, a_session),
    Scenario("append-to-many", append_to_many, many_sessions),
    Scenario("fork-at", fork_in_the_middle, a_session),
    Scenario("compact", compact_it, a_session),
    Scenario("repair-by-cut", append_one, an_unfinished_record),
    Scenario("repair-of-a-whole-record", append_one, a_record_without_line_feed),
]


async def go_on(store: WitnessedStore) -> None:
    """Append to every session that was met: it works, but where a flush had failed."""
    ledger = store.ledger
    poisoned = set(ledger.poisoned)
    met = {*ledger.acknowledged, *ledger.refused, *ledger.poisoned}
    for session_id in sorted(met):
        error = await told_by(append_next(store, session_id))
        if session_id in poisoned:
            assert isinstance(error, StoreFailed), f"{session_id}: appended to after a failed flush: {error!r}"
            assert error.poisoned, f"{session_id}: no longer poisoned: {error!r}"
        else:
            assert error is None, f"{session_id}: the store does not go on: {error!r}"


async def append_next(store: FileStore, session_id: str) -> None:
    """Append to the session as it is now, making it where it is not there."""
    head = await store.read_head(session_id) if await store.exists(session_id) else None
    await store.append(session_id, *(new_log(session_id) if head is None else chain_onto(head, 1, "next")))


async def told_by(call: Awaitable[object]) -> SessionLogError | None:
    try:
        await call
    except SessionLogError as error:
        return error
    return None


async def check_kept(root: Path, ledger: Ledger, before: list[HashedEntry]) -> None:
    """Hold the ledger against what an ordinary store finds: nothing lost, nothing that was refused, appends go on."""
    if before:
        ledger.acknowledged[ID] = [*before, *ledger.acknowledged.get(ID, [])]
    async with FileStore(root, "os") as store:
        for session_id, records in ledger.acknowledged.items():
            log = await store.read_all(session_id)
            assert verify_chain(log).state is LogState.VALID
            for record in records:
                assert record.seq < len(log), f"{session_id}: acknowledged record {record.seq} is lost"
                assert log[record.seq] == record, f"{session_id}: acknowledged record {record.seq} is another"
        for session_id, records in ledger.refused.items():
            if await store.exists(session_id):
                found = set(await store.read_all(session_id)) - set(ledger.acknowledged.get(session_id, ()))
                kept = [record.seq for record in records if record in found]
                assert not kept or session_id in ledger.poisoned, f"{session_id}: refused records {kept} are there"
        for session_id in await store.list_sessions():
            await append_next(store, session_id)
            assert verify_chain(await store.read_all(session_id)).state is LogState.VALID


class WritingLedger(Ledger):
    """A ledger that outlives its process: each acknowledgement is in the file before the next call begins."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(self, session_id: str, records: tuple[HashedEntry, ...], error: SessionLogError | None) -> None:
        super().note(session_id, records, error)
        if error is None:
            os.write(self._fd, b"".join(session_id.encode() + b" " + record.line + b"\n" for record in records))


def read_ledger(point: Path) -> tuple[Ledger, list[HashedEntry]]:
    """Return what was acknowledged at ``point``, and what had been there before."""
    ledger = Ledger()
    for line in (point / "acknowledged").read_bytes().splitlines():
        session_id, _, record = line.partition(b" ")
        ledger.note(SessionId(session_id.decode()), (parse_record(record),), None)
    return ledger, [parse_record(line) for line in (point / "before").read_bytes().splitlines()]


async def run_to_kill(scenario: Scenario, durability: Durability, point: Path, fault: Fault) -> None:
    point.mkdir()
    before = await scenario.prepare(point / "sessions")
    (point / "before").write_bytes(b"".join(record.line + b"\n" for record in before))
    ledger = WritingLedger(point / "acknowledged")
    async with WitnessedStore(point / "sessions", durability, system=FaultySystem(fault)) as store:
        store.ledger = ledger
        await scenario.run(store)


def main(name: str, durability: Durability, folder: Path) -> None:
    """Run the scenario in a child for each call at which it can be killed; and for each write, cut in its middle."""
    scenario = next(one for one in SCENARIOS if one.name == name)
    kinds: list[tuple[str, Callable[[int], Fault]]] = [
        ("call", lambda at: Fault(at=at, action=Kill())),
        ("write", lambda at: Fault(at=at, kind="write", action=Cut(150, then=Kill()))),
    ]
    for kind, make_fault in kinds:
        for at in itertools.count(1):
            child = os.fork()  # this process runs no event loop and no thread
            if child == 0:
                status = 1
                try:
                    anyio.run(run_to_kill, scenario, durability, folder / f"{kind}-{at:03}", make_fault(at))
                    status = 0
                finally:
                    os._exit(status)
            _, status = os.waitpid(child, 0)
            if status == 0:
                break  # there is no such call any more
            assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, f"{kind} {at} ended otherwise: {status}"


if __name__ == "__main__":
    main(sys.argv[1], "os" if sys.argv[2] == "os" else "disk", Path(sys.argv[3]))
