"""Every system call of the file store fails in turn: a typed error or success, and nothing is lost."""

import contextlib
import errno
import inspect
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, get_args

import anyio
import pytest

import fault_scenarios
from fault_scenarios import (
    AT_ONCE,
    ID,
    SCENARIOS,
    Ledger,
    Scenario,
    WitnessedStore,
    a_session,
    append_to_many,
    chain_onto,
    check_kept,
    go_on,
    many_sessions,
    new_log,
    read_ledger,
    told_by,
)
from sessionlog import Durability, FileStore, Position, StoreFailed
from sessionlog.stores.file.system import System
from sessionlog.testing.faults import Call, Cut, Fail, Fault, FaultySystem, Kill, Kind

ERRNOS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EMFILE, errno.EROFS)
FLUSHES = ("flush", "flush_directory", "flush_file_system")
SCRIPT = Path(fault_scenarios.__file__)

each_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
each_durability = pytest.mark.parametrize("durability", ["disk", "os"])
on_asyncio = pytest.mark.parametrize("anyio_backend", [pytest.param(("asyncio", {}), id="asyncio")])
"""For the longer tests of what no event loop has a part in."""
exercised: Counter[str] = Counter()


def count_point(what: str) -> None:
    exercised[what] += 1


async def run_with(
    scenario: Scenario, root: Path, durability: Durability, *faults: Fault
) -> tuple[FaultySystem, Ledger]:
    """Run ``scenario`` once with ``faults``, then go on without them, then look at what is left."""
    before = await scenario.prepare(root)
    system, ledger = FaultySystem(*faults), Ledger()
    descriptors = len(os.listdir("/dev/fd"))
    async with WitnessedStore(root, durability, system=system) as store:
        store.ledger = ledger
        error = await told_by(scenario.run(store))
        if not system.fired:
            assert error is None
        else:
            system.heal()
            await go_on(store)
    assert len(os.listdir("/dev/fd")) == descriptors, "descriptors leaked"
    await check_kept(root, ledger, before)
    return system, ledger


def errnos_for(scenario: Scenario, backend: str) -> tuple[int, ...]:
    """Which errno it is, the file store hardly looks at, and the event loop never sees."""
    if backend != "asyncio":
        return (errno.EIO,)
    return (errno.ENOSPC, errno.EMFILE) if scenario.run is append_to_many else ERRNOS


def check_told(where: str, root: Path, met: Call, ledger: Ledger) -> None:
    """A failed flush poisons whom it concerns, in a way that says so; any other failure is one session's alone."""
    if met.kind in FLUSHES and met.on != str(root.parent):
        mild = [error for error in ledger.errors if not (isinstance(error, StoreFailed) and error.poisoned)]
        assert not mild, f"{where}: a failed flush that does not poison: {mild}"
        return
    assert not ledger.poisoned, f"{where}: poisoned though no flush failed"
    assert len(ledger.refused) <= 1, f"{where}: one failure reached {sorted(ledger.refused)}"


@pytest.mark.anyio
@each_durability
@each_scenario
async def test_each_call_fails(
    scenario: Scenario, durability: Durability, tmp_path: Path, anyio_backend_name: str
) -> None:
    """Whichever system call fails, and how: a typed error or success, nothing lost, and the store goes on."""
    for number in errnos_for(scenario, anyio_backend_name):
        name = errno.errorcode[number]
        for at in range(1, 1000):
            root = tmp_path / f"{name}-{at}" / "sessions"
            root.parent.mkdir()
            system, ledger = await run_with(scenario, root, durability, Fault(at=at, action=Fail(number)))
            if not system.fired:
                break
            count_point("failing call")
            check_told(f"{system.fired[0].kind}, call {at}, {name}", root, system.fired[0], ledger)


@pytest.mark.anyio
@on_asyncio
@each_durability
@each_scenario
async def test_each_call_fails_from_there_on(scenario: Scenario, durability: Durability, tmp_path: Path) -> None:
    """A disk that is full, or refuses writing, from any call on loses nothing; once it is well, appends go on."""
    writing: tuple[Kind, ...] = ("open", "mkdir", "write", "fchmod", "ftruncate", "unlink")
    for number in (errno.ENOSPC, errno.EROFS):
        for kind in writing:
            for at in range(1, 1000):
                root = tmp_path / f"{errno.errorcode[number]}-{kind}-{at}" / "sessions"
                root.parent.mkdir()
                fault = Fault(at=at, kind=kind, action=Fail(number), lasting=True)
                system, _ = await run_with(scenario, root, durability, fault)
                if not system.fired:
                    break
                count_point("call failing from there on")


@pytest.mark.anyio
@on_asyncio
@each_durability
@each_scenario
async def test_each_write_is_cut_short(scenario: Scenario, durability: Durability, tmp_path: Path) -> None:
    """A write taken in pieces goes on; one that then fails is cut back, and the log is as it was."""
    for number, then in enumerate((None, Fail(errno.ENOSPC))):
        for size in (1, 75, 300):
            for at in range(1, 1000):
                root = tmp_path / f"{number}-{size}-{at}" / "sessions"
                root.parent.mkdir()
                fault = Fault(at=at, kind="write", action=Cut(size, then=then))
                system, ledger = await run_with(scenario, root, durability, fault)
                if not system.fired:
                    break
                count_point("write cut short")
                assert not ledger.poisoned
                if then is None:
                    assert not ledger.errors, f"a short write is no failure: {ledger.errors}"


@pytest.mark.anyio
@each_durability
async def test_failed_cut_poisons(durability: Durability, tmp_path: Path) -> None:
    """When the bytes of a failed write cannot be cut off again either, the session is closed for writing."""
    log = await a_session(tmp_path)
    faults = (
        Fault(at=1, kind="write", action=Cut(20, then=Fail(errno.ENOSPC))),
        Fault(at=1, kind="ftruncate", action=Fail(errno.EIO)),
    )
    async with FileStore(tmp_path, durability, system=FaultySystem(*faults)) as store:
        record = chain_onto(log[-1].head, 1)[0]
        for _ in range(2):
            with pytest.raises(StoreFailed) as caught:
                await store.append(ID, record)
            assert caught.value.poisoned
        assert await store.read_all(ID) == log
    async with FileStore(tmp_path, durability) as store:
        await store.append(ID, record)
        assert await store.read_all(ID) == [*log, record]


async def read_after_position(store: FileStore) -> object:
    position: Position | None = None
    for record in new_log()[:2]:
        position = Position.after(record, position)
    return await collect(store.read(ID, after=position))


READS: dict[str, Callable[[FileStore], Awaitable[object]]] = {
    "read_all": lambda store: store.read_all(ID),
    "read": lambda store: collect(store.read(ID)),
    "read_raw": lambda store: collect(store.read_raw(ID)),
    "read_head": lambda store: store.read_head(ID),
    "read_head_hash": lambda store: store.read_head_hash(ID),
    "exists": lambda store: store.exists(ID),
    "list_sessions": lambda store: store.list_sessions(),
    "follow": lambda store: take_all(store.follow(ID), 3),
    "append_trace": lambda store: store.append_trace(ID, {"a": 1}),
    "read_position": lambda store: store.read_position(ID),
    "read_tail": lambda store: store.read_tail(ID, 2),
    "read after a position": read_after_position,
}


async def collect(stream: AsyncGenerator[Any, None]) -> list[Any]:
    async with aclosing(stream):
        return [one async for one in stream]


async def take_all(stream: AsyncGenerator[Any, None], count: int) -> list[Any]:
    taken: list[Any] = []
    async with aclosing(stream):
        async for one in stream:
            taken.append(one)
            if len(taken) == count:
                break
    return taken


@pytest.mark.anyio
@pytest.mark.parametrize("name", READS)
async def test_each_call_of_a_read_fails(name: str, tmp_path: Path) -> None:
    """A read or a trace whose system call fails raises StoreFailed or is right, and the next one works."""
    log = await a_session(tmp_path)
    async with FileStore(tmp_path, "os") as store:
        right = await READS[name](store)
    for number in ERRNOS:
        for at in range(1, 1000):
            system = FaultySystem(Fault(at=at, action=Fail(number)))
            descriptors = len(os.listdir("/dev/fd"))
            async with FileStore(tmp_path, "os", system=system) as store:
                with contextlib.suppress(StoreFailed):
                    assert await READS[name](store) == right
                fired = len(system.fired)
                system.heal()
                assert await READS[name](store) == right
                await store.append(ID, *(more := chain_onto(log[-1].head, 1)))
                assert await store.read_all(ID) == [*log, *more]
            (tmp_path / f"{ID}.jsonl").write_bytes(b"".join(record.line + b"\n" for record in log))
            assert len(os.listdir("/dev/fd")) == descriptors, "descriptors leaked"
            if not fired:
                break
            count_point("failing call of a read")


@pytest.mark.anyio
async def test_failed_flush_is_final(tmp_path: Path) -> None:
    """After a failed flush its session is never written to again through this store; other sessions are."""
    log = await a_session(tmp_path)
    await many_sessions(tmp_path / "other")
    other = new_log(AT_ONCE[0])
    system = FaultySystem(Fault(at=1, kind="flush", action=Fail(errno.EIO)))
    async with FileStore(tmp_path, "disk", system=system) as store:
        record = chain_onto(log[-1].head, 1)[0]
        with pytest.raises(StoreFailed) as caught:
            await store.append(ID, record)
        assert caught.value.poisoned
        assert caught.value.path == tmp_path / f"{ID}.jsonl"
        size = (tmp_path / f"{ID}.jsonl").stat().st_size
        calls = len(system.calls)
        for records in (chain_onto(record.head, 1), [record], chain_onto(log[-1].head, 2, "other")):
            with pytest.raises(StoreFailed) as caught:
                await store.append(ID, *records)
            assert caught.value.poisoned
        assert len(system.calls) == calls, "a poisoned session is not even opened"
        assert (tmp_path / f"{ID}.jsonl").stat().st_size == size
        await store.create_session(AT_ONCE[0], other)
        assert await store.read_all(AT_ONCE[0]) == other
    async with FileStore(tmp_path, "disk") as store:
        head = await store.read_head(ID)
        assert head is not None
        await store.append(ID, *chain_onto(head, 1, "again"))


@pytest.mark.anyio
async def test_many_are_flushed_one_by_one_where_there_is_no_syncfs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a call that flushes the whole file system, each of many files is flushed, before it is acknowledged."""
    monkeypatch.setattr(System, "flush_file_system", lambda _self, _fd: False)
    await many_sessions(tmp_path)
    scenario = next(one for one in SCENARIOS if one.run is append_to_many)
    system, ledger = await run_with(scenario, tmp_path / "again", "disk")
    assert not ledger.errors
    assert system.count("flush") >= len(AT_ONCE)
    for at in range(1, 1000):
        fault = Fault(at=at, kind="flush", action=Fail(errno.EIO))
        system, ledger = await run_with(scenario, tmp_path / str(at), "disk", fault)
        if not system.fired:
            break
        assert len(ledger.poisoned) == 1, "the failed flush of one file is one session's alone"


@pytest.mark.anyio
async def test_new_directories_are_flushed_before_the_first_acknowledgement(tmp_path: Path) -> None:
    """The directory above a new store is flushed, again where that failed, before an append is acknowledged."""
    root = tmp_path / "above" / "sessions"
    failing = [Fault(at=at, kind="flush_directory", action=Fail(errno.EIO)) for at in (1, 2)]
    system = FaultySystem(*failing)
    async with FileStore(root, "disk", system=system) as store:
        for _ in failing:
            with pytest.raises(StoreFailed):
                await store.create_session(ID, new_log())
        await store.create_session(ID, new_log())
        await store.append(ID, *chain_onto(new_log()[-1].head, 1))
    flushed = [call.on for call in system.calls if call.kind == "flush_directory"]
    assert flushed == [str(tmp_path)] * 3 + [str(root.parent), str(root)]


@each_durability
@each_scenario
def test_killed_at_each_call(scenario: Scenario, durability: Durability, tmp_path: Path) -> None:
    """A process killed at any system call, or in the middle of a write, loses nothing that it had acknowledged."""
    subprocess.run(
        [sys.executable, str(SCRIPT), scenario.name, durability, str(tmp_path)], check=True, stdin=subprocess.DEVNULL
    )
    points = sorted(tmp_path.iterdir())
    assert points
    for point in points:
        count_point("SIGKILL")
        ledger, before = read_ledger(point)
        anyio.run(check_kept, point / "sessions", ledger, before)


def test_every_call_of_the_system_can_fail() -> None:
    """FaultySystem overrides every call of System, with its very signature, and names its kind."""
    functions = inspect.getmembers(System, inspect.isfunction)
    names = [
        name for name, call in functions if not name.startswith("_") and not inspect.iscoroutinefunction(call)
    ]  # a coroutine function runs calls, and is none
    assert sorted(get_args(Kind.__value__ if hasattr(Kind, "__value__") else Kind)) == names
    for name in names:
        assert name in vars(FaultySystem), f"FaultySystem does not override {name}"
        assert inspect.signature(getattr(FaultySystem, name)) == inspect.signature(getattr(System, name))


def test_calls_are_counted_and_recorded(tmp_path: Path) -> None:
    """Without faults it is the real system, and tells what was called and on what."""
    system = FaultySystem()
    path = str(tmp_path / "file")
    fd = system.open(path, os.O_RDWR | os.O_CREAT)
    assert system.write(fd, b"12345") == 5
    assert system.pread(fd, 9, 1) == b"2345"
    system.close(fd)
    assert system.calls == [("open", path), ("write", fd), ("pread", fd), ("close", fd)]
    assert (system.count(), system.count("write"), system.count("flush")) == (4, 1, 0)
    assert system.fired == []


def test_fault_at_the_nth_call(tmp_path: Path) -> None:
    """A fault meets the N-th call and no other, of its kind or of all; a lasting one all that follow too."""
    system = FaultySystem(
        Fault(at=2, kind="lstat", action=Fail(errno.EIO)), Fault(at=5, action=Fail(errno.EACCES), lasting=True)
    )
    told: list[int | None] = []
    for _ in range(7):
        try:
            system.lstat(str(tmp_path))
            told.append(None)
        except OSError as error:
            told.append(error.errno)
    assert told == [None, errno.EIO, None, None, errno.EACCES, errno.EACCES, errno.EACCES]
    assert len(system.fired) == 4


def test_cut_write_and_read(tmp_path: Path) -> None:
    """A cut write takes, and a cut read gives, so many bytes; what was said to follow follows."""
    system = FaultySystem(
        Fault(at=1, kind="write", action=Cut(2)),
        Fault(at=2, kind="write", action=Cut(1, then=Fail(errno.ENOSPC))),
        Fault(at=1, kind="pread", action=Cut(1)),
    )
    fd = system.open(str(tmp_path / "file"), os.O_RDWR | os.O_CREAT)
    assert system.write(fd, b"12345") == 2
    assert system.write(fd, memoryview(b"345")) == 1
    with pytest.raises(OSError, match="No space left"):
        system.write(fd, b"45")
    assert system.write(fd, b"45") == 2
    assert system.pread(fd, 5, 0) == b"1"
    assert system.pread(fd, 5, 0) == b"12345"
    system.close(fd)


def test_failed_close_closes(tmp_path: Path) -> None:
    """A close that fails has closed all the same."""
    system = FaultySystem(Fault(at=1, kind="close", action=Fail(errno.EIO)))
    fd = system.open(str(tmp_path), os.O_RDONLY)
    with pytest.raises(OSError, match="Input/output"):
        system.close(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


@pytest.mark.parametrize(
    ("fault", "left"),
    [
        ('Fault(at=2, kind="write", action=Kill())', b"one"),
        ('Fault(at=2, kind="write", action=Kill("after"))', b"onetwo"),
        ('Fault(at=2, kind="write", action=Cut(2, then=Kill()))', b"onetw"),
    ],
)
def test_kill(fault: str, left: bytes, tmp_path: Path) -> None:
    """A kill comes before the call, after it, or in the middle of a write."""
    script = (
        "import os, sys\n"
        "from sessionlog.testing.faults import Cut, Fault, FaultySystem, Kill\n"
        f"system = FaultySystem({fault})\n"
        "fd = system.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)\n"
        "for data in (b'one', b'two', b'three'):\n"
        "    system.write(fd, data)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "file")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "file").read_bytes() == left


@pytest.mark.parametrize(
    "fault",
    [
        lambda: Fault(at=0, action=Kill()),
        lambda: Fault(at=1, action=Cut(3)),
        lambda: Fault(at=1, kind="flush", action=Cut(3)),
        lambda: Fault(at=1, kind="write", action=Cut(0)),
    ],
    ids=["no-such-call", "cut-of-no-kind", "cut-flush", "cut-to-nothing"],
)
def test_impossible_faults_are_refused(fault: Callable[[], Fault]) -> None:
    """A fault that could never come raises ValueError."""
    with pytest.raises(ValueError, match=r"count|cut"):
        fault()


def test_points_are_told(capsys: pytest.CaptureFixture[str], record_property: Callable[[str, object], None]) -> None:
    """How many fault points the tests above went through stands in the report."""
    for what, count in sorted(exercised.items()):
        record_property(what, count)
    with capsys.disabled():
        print(
            f"\nfault points: {', '.join(f'{count} x {what}' for what, count in sorted(exercised.items())) or 'none'}"
        )
