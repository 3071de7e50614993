"""Checks of ``aclose`` and, where a store says that it is persistent, of opening again."""

from functools import partial

import anyio
import anyio.lowlevel

from ...errors import StoreFailed
from ...record import HashedEntry
from ._kit import (
    ID,
    OTHER_ID,
    MakeStore,
    all_calls,
    chain_onto,
    conformance_check,
    expect,
    expect_log,
    expect_records,
    new_log,
    next_record,
    refused,
    within_patience,
)


@conformance_check
async def check_closed_store_refuses(make_store: MakeStore) -> None:
    """Every method of a closed store raises StoreFailed; closing it again does not."""
    log = new_log(3)
    async with make_store() as store:
        await store.create_session(ID, log[:2])
        await store.aclose()
        for name, start in [
            *all_calls(store, OTHER_ID, new_log(1, OTHER_ID)),
            *all_calls(store, ID, log),
        ]:
            with within_patience(f"{name} of a closed store"):
                raised = await refused(f"{name} of a closed store", StoreFailed, start())
                expect(f"StoreFailed.poisoned from {name} of a closed store", raised.poisoned, expected=False)
        await refused("append of a closed store", StoreFailed, store.append(ID, log[2]))
        await refused("list_sessions of a closed store", StoreFailed, store.list_sessions())
        await store.aclose()


@conformance_check
async def check_left_store_refuses(make_store: MakeStore) -> None:
    """Leaving the ``async with`` closes the store, by an exception too."""
    store = None
    try:
        async with make_store() as store:
            await store.create_session(ID, new_log(1))
            raise KeyError
    except KeyError:
        pass
    if store is not None:
        await refused("read_all behind the async with", StoreFailed, store.read_all(ID))


@conformance_check
async def check_close_settles_appends(make_store: MakeStore) -> None:
    """Appends in flight when the store is closed each end: in, or refused with StoreFailed."""
    for turns in range(4):
        async with make_store() as store:
            session_ids = [f"session-{turns}-{number}" for number in range(6)]
            ended: list[str] = []

            async def write(session_id: str, ended: list[str] = ended, store=store) -> None:  # type: ignore[no-untyped-def]
                try:
                    await store.create_session(session_id, new_log(2, session_id))
                except StoreFailed as raised:
                    expect("StoreFailed.poisoned from a store being closed", raised.poisoned, expected=False)
                ended.append(session_id)

            with within_patience("appends in flight when the store is closed"):
                async with anyio.create_task_group() as tasks:
                    for session_id in session_ids:
                        tasks.start_soon(write, session_id)
                    for _ in range(turns):
                        await anyio.lowlevel.checkpoint()
                    await store.aclose()
            expect("appends that ended", sorted(ended), session_ids)


@conformance_check
async def check_reopened_store_has_all(make_store: MakeStore) -> None:
    """A store made again holds every session with every record, in any number of rounds, and appends go on."""
    log, other_log = new_log(4), new_log(1, OTHER_ID)
    async with make_store() as store:
        await store.create_session(ID, log)
        await store.append(OTHER_ID, *other_log)
        await store.append_trace(ID, "a trace")
    for _ in range(3):
        async with make_store() as store:
            expect("list_sessions of a reopened store", sorted(await store.list_sessions()), sorted([ID, OTHER_ID]))
            await expect_log("in a reopened store", store, ID, log)
            await expect_log("in a reopened store", store, OTHER_ID, other_log)
            more = chain_onto(log[-1].head, 2)
            await store.append(ID, *more)
            log += more
            await store.append_trace(ID, "a trace")


@conformance_check
async def check_close_waits_for_commits(make_store: MakeStore) -> None:
    """When ``aclose`` returned, what will be acknowledged is in, and what was refused is out, for good."""
    log = new_log(1)
    session_ids: list[str] = [f"session-{number}" for number in range(6)]
    logs = {session_id: new_log(1, session_id) for session_id in session_ids}
    async with make_store() as store:
        for session_id in session_ids:
            await store.create_session(session_id, logs[session_id])
        await store.create_session(ID, log)
    for turns in range(6):
        acknowledged: list[str] = []
        kept: dict[str, list[HashedEntry]] = {}
        more = {session_id: chain_onto(logs[session_id][-1].head, 2, str(turns)) for session_id in session_ids}
        async with make_store() as store:

            async def write(session_id: str, store=store, more=more, acknowledged=acknowledged) -> None:  # type: ignore[no-untyped-def]
                try:
                    await store.append(session_id, *more[session_id])
                except StoreFailed:
                    return
                acknowledged.append(session_id)

            with within_patience("appends in flight when the store is closed"):
                async with anyio.create_task_group() as tasks:
                    for session_id in session_ids:
                        tasks.start_soon(partial(write, session_id))
                    for _ in range(turns):
                        await anyio.lowlevel.checkpoint()
                    await store.aclose()
                    async with make_store() as again:
                        for session_id in session_ids:
                            kept[session_id] = await again.read_all(session_id)
        for session_id in acknowledged:
            logs[session_id] += more[session_id]
        for session_id in session_ids:
            expect_records("what is kept right after aclose, of a store", kept[session_id], logs[session_id])
    async with make_store() as store:
        for session_id in session_ids:
            await expect_log("after the last aclose", store, session_id, logs[session_id])
        await store.append(ID, next_record(log[-1].head))
