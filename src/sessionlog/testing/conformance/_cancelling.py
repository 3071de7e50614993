"""Checks of cancellation: at every moment of an operation, wholly in or wholly out."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any, Final

import anyio
import anyio.lowlevel

from ...entries import Extension
from ...ids import SessionId
from ...record import HashedEntry
from ...session import SessionLog
from ...store import Store
from ._kit import (
    ID,
    MakeStore,
    all_calls,
    chain_onto,
    conformance_check,
    expect,
    expect_absent,
    expect_log,
    first_record,
    new_log,
    next_record,
    take,
    within_patience,
)
from ._moments import (
    MOMENTS,
    SUSPENSIONS_MAX,
    Attempts,
    at_suspension,
    cancel_scope,
    cancel_task,
    on_asyncio,
    time_out,
    time_out_at_last,
)


async def _append_at_every_moment(
    make_store: MakeStore, attempts: Attempts, *, beside: bool = False, batch: int = 1
) -> None:
    """Cancel appends at each moment; ``beside``: while others append to another session."""
    async with make_store() as store:
        for moment, number_max in MOMENTS.items():
            session_id = SessionId(f"cancelled-{moment.__name__}")
            other_id = SessionId(f"other-{moment.__name__}")
            log, other_log = new_log(1, session_id), new_log(1, other_id)
            await store.create_session(session_id, log)
            await store.create_session(other_id, other_log)
            for number in range(1, number_max + 1):
                records = chain_onto(log[-1].head, batch, f"{number}-")
                more = chain_onto(other_log[-1].head, 3, f"{number}-") if beside else []
                call = partial(store.append, session_id, *records)
                what = f"an append cancelled {moment.__name__} {number}"
                with within_patience(what):
                    async with _appending(store, other_id, more):
                        attempt = await attempts(call, moment, number)
                what += ", which returned" if attempt.returned else ", which raised"
                expect(f"{what}: the cancellation surfaced at the next checkpoint", attempt.surfaced, attempt.cancelled)
                if attempt.returned:
                    log += records
                other_log += more
                await expect_log(f"after {what}", store, session_id, log)
                if not attempt.cancelled:
                    break
            await store.append(session_id, next_record(log[-1].head))
            await expect_log("the other session", store, other_id, other_log)


async def _session_log_at_every_moment(make_store: MakeStore, attempts: Attempts) -> None:
    """Cancel appends through a SessionLog at each moment."""
    async with make_store() as store:
        for moment, number_max in MOMENTS.items():
            session_id = SessionId(f"session-{moment.__name__}")
            first = first_record(session_id)
            await store.create_session(session_id, [first])
            log = SessionLog(store, session_id, first.head)
            for number in range(1, number_max + 1):
                before = log.head
                entries = [Extension(ts=0, domain="x", payload=[number, index]) for index in range(2)]
                what = f"SessionLog.append_all cancelled {moment.__name__} {number}"
                with within_patience(what):
                    attempt = await attempts(partial(log.append_all, entries), moment, number)
                expect(f"{what}: the cancellation surfaced", attempt.surfaced, attempt.cancelled)
                expect(f"{what}: its head", log.head, await store.read_head(session_id))
                expect(f"{what}: its head moved", log.head != before, attempt.returned)
                await log.append(Extension(ts=0, domain="x", payload="next"))
                if not attempt.cancelled:
                    break
            expect("the head of the SessionLog", log.head, (await store.read_all(session_id))[-1].head)


@asynccontextmanager
async def _appending(store: Store, session_id: str, records: list[HashedEntry]) -> AsyncGenerator[None, None]:
    """Append ``records`` one by one in a task beside the block; wait for it at the end."""
    if not records:
        yield
        return
    begun = anyio.Event()

    async def append() -> None:
        begun.set()
        for record in records:
            await store.append(session_id, record)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(append)
        await begun.wait()
        yield


@conformance_check
async def check_cancelled_append(make_store: MakeStore) -> None:
    """An append cancelled at any moment is in when it returned, and out when it raised; the store goes on."""
    await _append_at_every_moment(make_store, cancel_scope)


@conformance_check
async def check_cancelled_batch(make_store: MakeStore) -> None:
    """A batch cancelled at any moment is wholly in when it returned, and wholly out when it raised."""
    await _append_at_every_moment(make_store, cancel_scope, batch=5)


@conformance_check
async def check_cancelled_append_beside_others(make_store: MakeStore) -> None:
    """Cancelling an append disturbs no other that runs at the same time."""
    await _append_at_every_moment(make_store, cancel_scope, beside=True)


@conformance_check
async def check_cancelled_create(make_store: MakeStore) -> None:
    """A creation cancelled at any moment made the session when it returned, and nothing when it raised."""
    async with make_store() as store:
        for at in range(1, SUSPENSIONS_MAX):
            session_id = SessionId(f"session-{at}")
            records = new_log(2, session_id)
            with within_patience(f"create_session that is cancelled at its suspension {at}"):
                attempt = await cancel_scope(partial(store.create_session, session_id, records), at_suspension, at)
            what = f"after create_session cancelled at its suspension {at}"
            expect(f"{what}: the cancellation surfaced", attempt.surfaced, attempt.cancelled)
            if not attempt.returned:
                await expect_absent(what, store, session_id)
                await store.create_session(session_id, records)
            await expect_log(what, store, session_id, records)
            if not attempt.cancelled:
                break


_CHANGING: Final = ("create_session", "append", "delete_session")


@conformance_check
async def check_cancelled_reads(make_store: MakeStore) -> None:
    """Any read or listing may be cancelled at any moment; the next call of any kind works."""
    log = new_log(5)
    async with make_store() as store:
        await store.create_session(ID, log)
        calls = [call for call in all_calls(store, ID, log) if call.name not in _CHANGING]
        names = {call.name: call.start for call in calls} | {"list_sessions": store.list_sessions}
        for name, start in names.items():

            async def call(start: Callable[[], Awaitable[object]] = start) -> object:
                return await start()

            for at in range(1, SUSPENSIONS_MAX):
                with within_patience(f"{name} that is cancelled at its suspension {at}"):
                    attempt = await cancel_scope(call, at_suspension, at)
                if not attempt.cancelled:
                    break
            log.append(next_record(log[-1].head))
            await store.append(ID, log[-1])
        await expect_log("after cancelled reads", store, ID, log)


@conformance_check
async def check_cancelled_follow(make_store: MakeStore) -> None:
    """A follower may be cancelled at any moment, also while it waits; another sees every record."""
    log = new_log(3)
    async with make_store() as store:
        await store.create_session(ID, log)
        for at in range(1, 16):

            async def watch() -> None:
                async with aclosing(store.follow(ID)) as records:
                    async for _ in records:
                        pass

            with within_patience(f"a follower that is cancelled at its suspension {at}"):
                async with anyio.create_task_group() as tasks:

                    async def cancelled(at: int = at, tasks: Any = tasks) -> None:
                        await cancel_scope(watch, at_suspension, at)
                        tasks.cancel_scope.cancel()

                    tasks.start_soon(cancelled)
                    while not tasks.cancel_scope.cancel_called:  # keeps the follower going to its next suspension
                        log.append(next_record(log[-1].head))
                        with anyio.CancelScope(shield=True):
                            await store.append(ID, log[-1])
                        await anyio.lowlevel.checkpoint()
        with within_patience("a follower after cancelled ones"):
            expect("follow", len(await take(store.follow(ID), len(log))), len(log))
        await expect_log("after cancelled followers", store, ID, log)


@conformance_check
async def check_session_log_head_after_cancel(make_store: MakeStore) -> None:
    """After a cancelled append the head of the SessionLog tells what is in, and its next append goes there."""
    await _session_log_at_every_moment(make_store, cancel_scope)


@conformance_check
async def check_asyncio_task_cancel(make_store: MakeStore) -> None:
    """On asyncio, ``task.cancel()`` at any moment leaves an append wholly in or out, and is not lost."""
    if on_asyncio():
        await _append_at_every_moment(make_store, cancel_task)


@conformance_check
async def check_asyncio_task_cancel_beside_others(make_store: MakeStore) -> None:
    """On asyncio, ``task.cancel()`` of an append disturbs no other that runs at the same time."""
    if on_asyncio():
        await _append_at_every_moment(make_store, cancel_task, beside=True)


@conformance_check
async def check_asyncio_task_cancel_of_session_log(make_store: MakeStore) -> None:
    """On asyncio, after ``task.cancel()`` the head of the SessionLog tells what is in."""
    if on_asyncio():
        await _session_log_at_every_moment(make_store, cancel_task)


@conformance_check
async def check_asyncio_timeout(make_store: MakeStore) -> None:
    """On asyncio, a timeout at any moment leaves an append wholly in or out, and is raised at the next await."""
    if on_asyncio():
        await _append_at_every_moment(make_store, time_out)


@conformance_check
async def check_asyncio_timeout_ends_with_block(make_store: MakeStore) -> None:
    """On asyncio, a timeout around an append that went in all the same cancels nothing behind its block."""
    if on_asyncio():
        await _append_at_every_moment(make_store, time_out_at_last)


@conformance_check
async def check_asyncio_timeout_beside_others(make_store: MakeStore) -> None:
    """On asyncio, a timeout of an append that waits for others cancels nothing behind its block either."""
    if on_asyncio():
        await _append_at_every_moment(make_store, time_out_at_last, beside=True)
