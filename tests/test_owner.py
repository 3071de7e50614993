"""A store belongs to the event loop that first used it: no other reads or writes through it while that runs."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from sessionlog import (
    Extension,
    FileStore,
    HeadConflict,
    MemoryStore,
    SessionId,
    SessionLog,
    SessionLogError,
    SessionStartState,
    Store,
    WrongEventLoop,
    create_session_with_id,
    link,
    open_session,
    verify_session,
)

SESSION = SessionId("one")
OTHER = SessionId("other")
STORES: dict[str, Callable[[Path], Store]] = {
    "memory": lambda _: MemoryStore(),
    "os": lambda root: FileStore(root, "os"),
    "disk": lambda root: FileStore(root, "disk"),
}
BACKENDS: dict[str, dict[str, Any]] = {
    "asyncio": {"backend": "asyncio"},
    "uvloop": {"backend": "asyncio", "backend_options": {"use_uvloop": True}},
    "trio": {"backend": "trio"},
}
each_store = pytest.mark.parametrize("make", STORES.values(), ids=STORES)
owner_backend = pytest.mark.parametrize("first", BACKENDS.values(), ids=BACKENDS)
other_backend = pytest.mark.parametrize("second", BACKENDS.values(), ids=[f"then-{name}" for name in BACKENDS])


async def drain(stream: AsyncGenerator[Any, None]) -> None:
    async with aclosing(stream):
        async for _ in stream:
            pass


async def every_call(store: Store, log: SessionLog) -> dict[str, SessionLogError | None]:
    """Make every call of a store; return what each raised."""
    record = link(log.head, Extension(ts=0, domain="test", payload="of the other"))
    calls: dict[str, Awaitable[object]] = {
        "append": store.append(SESSION, record),
        "append of two": store.append(SESSION, record, link(record.head, record.entry)),
        "create_session": create_session_with_id(store, OTHER, SessionStartState()),
        "read_all": store.read_all(SESSION),
        "read": drain(store.read(SESSION)),
        "follow": drain(store.follow(SESSION)),
        "read_raw": drain(store.read_raw(SESSION)),
        "read_head": store.read_head(SESSION),
        "read_head_hash": store.read_head_hash(SESSION),
        "read_position": store.read_position(SESSION),
        "read_tail": store.read_tail(SESSION, 1),
        "stamps": store.stamps(),
        "delete_session": store.delete_session(SESSION, log.head),
        "list_sessions": store.list_sessions(),
        "exists": store.exists(SESSION),
        "append_trace": store.append_trace(SESSION, 1),
        "SessionLog.append": log.append(record.entry),
        "aclose": store.aclose(),
    }
    raised: dict[str, SessionLogError | None] = {}
    for name, call in calls.items():
        try:
            with anyio.fail_after(20):
                await call
        except SessionLogError as error:
            raised[name] = error
        else:
            raised[name] = None
    return raised


@each_store
@owner_backend
@other_backend
def test_a_store_refuses_another_thread(
    make: Callable[[Path], Store], first: dict[str, Any], second: dict[str, Any], tmp_path: Path
) -> None:
    """While its loop runs, every call on another thread's loop raises, writes nothing, and the owner goes on."""

    async def own() -> None:
        async with make(tmp_path) as store:
            log = await create_session_with_id(store, SESSION, SessionStartState())
            before = await store.read_all(SESSION)
            files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
            raised = await anyio.to_thread.run_sync(lambda: anyio.run(every_call, store, log, **second))
            assert {name: type(error) for name, error in raised.items()} == dict.fromkeys(raised, WrongEventLoop)
            assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files
            assert await store.read_all(SESSION) == before
            assert await store.list_sessions() == [SESSION]
            await log.save_turn_end(1)

    anyio.run(own, **first)


@each_store
@owner_backend
@other_backend
def test_a_second_loop_after_the_first_has_ended_may_use_the_store(
    make: Callable[[Path], Store], first: dict[str, Any], second: dict[str, Any], tmp_path: Path
) -> None:
    """One store serves one run after the other, on this thread and on another."""
    store = make(tmp_path)

    async def begin() -> None:
        await create_session_with_id(store, SESSION, SessionStartState())

    async def go_on() -> None:
        log = await open_session(store, SESSION)
        for turn in range(40):
            await log.save_turn_end(turn)

    anyio.run(begin, **first)
    anyio.run(go_on, **second)
    thread = threading.Thread(target=lambda: anyio.run(go_on, **first))
    thread.start()
    thread.join()

    async def end() -> None:
        assert len(await store.read_all(SESSION)) == 81
        await store.aclose()

    anyio.run(end, **second)


def test_a_loop_that_stands_still_gives_the_store_to_the_next_on_its_thread(tmp_path: Path) -> None:
    """Loops that take turns on one thread cannot run beside each other, so each may use the store."""
    store = FileStore(tmp_path, "os")
    loops = [asyncio.new_event_loop() for _ in range(2)]
    log = loops[0].run_until_complete(create_session_with_id(store, SESSION, SessionStartState()))
    for turn in range(4):
        loops[turn % 2].run_until_complete(log.save_turn_end(turn))
    loops[0].run_until_complete(store.aclose())
    for loop in loops:
        loop.close()


@pytest.mark.parametrize("durability", ["os", "disk"])
@pytest.mark.parametrize("threads", [2, 4])
def test_threads_that_share_a_store_do_not_break_its_log(durability: str, threads: int, tmp_path: Path) -> None:
    """Of several threads that append through one store at once, one is served; the log stays whole."""
    store = FileStore(tmp_path, "os" if durability == "os" else "disk")
    together = threading.Barrier(threads)
    served: list[int] = []
    refused: list[int] = []

    async def make() -> None:
        await create_session_with_id(store, SESSION, SessionStartState())

    async def write(number: int) -> None:
        log = SessionLog(store, SESSION, head)
        together.wait()
        try:
            for turn in range(50):
                await log.save_turn_end(turn)
            served.append(number)
        except WrongEventLoop:
            refused.append(number)
        together.wait()  # a loop that has ended gives the store to the next

    anyio.run(make)
    head = anyio.run(store.read_head, SESSION)
    writers = [threading.Thread(target=anyio.run, args=(write, number)) for number in range(threads)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    async def check() -> None:
        assert (await verify_session(store, SESSION)).verdict.record_count == 51
        await store.aclose()

    anyio.run(check)
    assert (len(served), len(refused)) == (1, threads - 1)


def test_two_stores_on_one_directory_serve_two_threads(tmp_path: Path) -> None:
    """What the error says to do works: each thread makes a store of its own, and losers of a race are told."""
    counts: list[int] = []

    async def write() -> None:
        async with FileStore(tmp_path, "os") as store:
            written = 0
            while written < 30:
                try:
                    await (await open_session(store, SESSION)).save_turn_end(written)
                    written += 1
                except HeadConflict:
                    continue
            counts.append(written)

    async def make() -> None:
        async with FileStore(tmp_path, "os") as store:
            await create_session_with_id(store, SESSION, SessionStartState())

    anyio.run(make)
    writers = [threading.Thread(target=anyio.run, args=(write,)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    async def check() -> None:
        async with FileStore(tmp_path) as store:
            assert (await verify_session(store, SESSION)).verdict.record_count == 61

    anyio.run(check)
    assert counts == [30, 30]
