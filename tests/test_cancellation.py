"""What has begun runs to its end whatever cancels, and the cancellation surfaces behind it: on every event loop."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import anyio
import anyio.lowlevel
import pytest

from sessionlog.cancellation import outlast, run_to_end, surface
from sessionlog.event_loop import running_loop

pytestmark = pytest.mark.anyio

ASYNCIO = [pytest.param(("asyncio", {}), id="asyncio"), pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop")]
asyncio_only = pytest.mark.parametrize("anyio_backend", ASYNCIO)


@pytest.fixture(params=[*ASYNCIO, pytest.param(("trio", {}), id="trio")])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


class Gate:
    """A blocking call that stands still until it is let go; the event loop learns that it has begun."""

    def __init__(self, outcome: Callable[[], str]) -> None:
        self._post = running_loop().post
        self._outcome = outcome
        self._open = threading.Event()
        self.begun = anyio.Event()
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        self._post(self.begun.set)
        self._open.wait()
        return self._outcome()

    def let_go(self) -> None:
        self._open.set()


MakeGate = Callable[[Callable[[], str]], Gate]


@pytest.fixture
def make_gate(executor: ThreadPoolExecutor) -> Iterator[MakeGate]:
    """Gates that stand open at the end, so that a failed test ends, too."""
    gates: list[Gate] = []

    def make(outcome: Callable[[], str]) -> Gate:
        gates.append(Gate(outcome))
        return gates[-1]

    yield make
    for gate in gates:
        gate.let_go()


def fail() -> str:
    raise OSError("the disk refused")


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


async def test_call_returns_and_raises(executor: ThreadPoolExecutor) -> None:
    """The outcome of the call is that of the await, on the executor's thread and in the order of the calls."""
    thread = await run_to_end(executor, threading.get_ident)
    assert thread != threading.get_ident()
    with pytest.raises(OSError, match="the disk refused"):
        await run_to_end(executor, fail)
    assert await run_to_end(executor, threading.get_ident) == thread


@pytest.mark.parametrize("outcome", [lambda: "done", fail], ids=["value", "error"])
async def test_call_that_has_begun_outlasts_a_scope(
    executor: ThreadPoolExecutor, make_gate: MakeGate, outcome: Callable[[], str]
) -> None:
    """A cancelled task learns how its call ended, value or error; then the cancellation surfaces."""
    gate = make_gate(outcome)
    seen: list[str] = []

    async def run() -> None:
        try:
            seen.append(await run_to_end(executor, gate))
        except OSError as error:
            seen.append(str(error))
        await anyio.lowlevel.checkpoint()
        seen.append("not cancelled")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await gate.begun.wait()
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await turns()
            assert seen == []
            gate.let_go()
    assert seen == [outcome() if outcome is not fail else "the disk refused"]


@asyncio_only
@pytest.mark.parametrize("outcome", [lambda: "done", fail], ids=["value", "error"])
async def test_call_that_has_begun_outlasts_a_task_cancel(
    executor: ThreadPoolExecutor, make_gate: MakeGate, outcome: Callable[[], str]
) -> None:
    """The same for asyncio's own ``task.cancel()``, said twice: no anyio shield keeps that out."""
    gate = make_gate(outcome)
    seen: list[str] = []

    async def run() -> None:
        try:
            seen.append(await run_to_end(executor, gate))
        except OSError as error:
            seen.append(str(error))
        await turns()

    task = asyncio.get_running_loop().create_task(run())
    await gate.begun.wait()
    for _ in range(2):
        task.cancel()
        await turns()
        assert not task.done()
    gate.let_go()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == [outcome() if outcome is not fail else "the disk refused"]


@asyncio_only
async def test_timeout_in_mid_call_is_told(executor: ThreadPoolExecutor, make_gate: MakeGate) -> None:
    """``asyncio.timeout`` ends as one, with the outcome of the call known."""
    gate = make_gate(lambda: "done")
    timeout = asyncio.timeout(None)
    outcomes: list[str] = []

    async def run() -> None:
        async with timeout:
            outcomes.append(await run_to_end(executor, gate))
            await turns()

    task = asyncio.get_running_loop().create_task(run())
    await gate.begun.wait()
    timeout.reschedule(0)
    await turns()
    gate.let_go()
    with pytest.raises(TimeoutError):
        await task
    assert outcomes == ["done"]


async def test_call_that_has_not_begun_is_taken_back(executor: ThreadPoolExecutor, make_gate: MakeGate) -> None:
    """While another call has the thread, cancelling ends the wait at once, and the call is never made."""
    first, second = make_gate(lambda: "first"), make_gate(lambda: "second")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_to_end, executor, first)
        await first.begun.wait()
        ended, taken_back = anyio.Event(), []

        async def run() -> None:
            try:
                await run_to_end(executor, second)
            finally:
                ended.set()

        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as others:
                others.start_soon(run)
                await turns()
                scope.cancel()
                with anyio.CancelScope(shield=True):
                    await turns()
                    taken_back.append(ended.is_set())
                    first.let_go()
                    second.let_go()
    assert taken_back == [True]
    assert await run_to_end(executor, lambda: "third") == "third"
    assert (first.calls, second.calls) == (1, 0)


async def test_cancelled_task_begins_nothing(executor: ThreadPoolExecutor, make_gate: MakeGate) -> None:
    """In a scope that is cancelled already, the call is not made."""
    gate = make_gate(lambda: "done")
    gate.let_go()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await run_to_end(executor, gate)
    assert scope.cancelled_caught
    assert gate.calls == 0


async def test_task_that_only_outlasts_ends(executor: ThreadPoolExecutor, make_gate: MakeGate) -> None:
    """A task that makes one call after the other ends with the call in which it is cancelled."""
    gate = make_gate(lambda: "done")
    outcomes: list[str] = []

    async def run() -> None:
        while len(outcomes) < 100:
            outcomes.append(await run_to_end(executor, gate))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await gate.begun.wait()
        tasks.cancel_scope.cancel()
        gate.let_go()
    assert outcomes == ["done"]


@asyncio_only
async def test_task_that_only_outlasts_ends_by_task_cancel(executor: ThreadPoolExecutor, make_gate: MakeGate) -> None:
    """So does one that asyncio's ``task.cancel()`` is called on."""
    gate = make_gate(lambda: "done")
    outcomes: list[str] = []

    async def run() -> None:
        while len(outcomes) < 100:
            outcomes.append(await run_to_end(executor, gate))

    task = asyncio.get_running_loop().create_task(run())
    await gate.begun.wait()
    task.cancel()
    await turns()
    gate.let_go()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert outcomes == ["done"]


async def test_events_of_each_library_are_outlasted() -> None:
    """``outlast`` waits for an event of anyio or of the library that runs, and ``surface`` raises behind it."""
    for new_event in (anyio.Event, running_loop().new_event):
        event = new_event()
        reached: list[str] = []

        async def run(event: "anyio.Event" = event, reached: list[str] = reached) -> None:  # type: ignore[assignment]
            await outlast(event)
            reached.append("outlasted")
            await surface()
            reached.append("not cancelled")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await turns()
            tasks.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await turns()
                assert reached == []
                event.set()
        assert reached == ["outlasted"]
