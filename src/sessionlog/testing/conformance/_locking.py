"""Checks of the lock between processes; for stores that have one which a test can hold."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import anyio
import anyio.lowlevel

from ...errors import SessionLocked
from ._capabilities import HoldLock
from ._kit import (
    ID,
    MakeStore,
    conformance_check,
    expect,
    expect_absent,
    expect_log,
    new_log,
    next_record,
    refused,
    within_patience,
)

HELD_TURNS: Final = 16
"""A lock that is soon free is held for so many turns of the event loop: a small part of any budget."""


@conformance_check
async def check_locked_session_is_told(make_store: MakeStore, hold_lock: HoldLock) -> None:
    """An append to a session that stays locked, or its deletion, raises SessionLocked and changes nothing."""
    log = new_log(2)
    async with make_store() as store:
        await store.create_session(ID, log)
    for batch in (1, 3):
        async with make_store() as store:
            head = log[-1].head
            more = [next_record(head)]
            while len(more) < batch:
                more.append(next_record(more[-1].head))
            async with hold_lock(ID):
                with within_patience("an append to a session that stays locked"):
                    raised = await refused(
                        "an append to a session that stays locked", SessionLocked, store.append(ID, *more)
                    )
                expect("SessionLocked.session_id", raised.session_id, ID)
                raised = await refused("its deletion", SessionLocked, store.delete_session(ID, head))
                expect("SessionLocked.session_id of a deletion", raised.session_id, ID)
            await expect_log("after an append to a locked session", store, ID, log)
            await store.append(ID, *more)
            log += more
            await expect_log("after an append to a session that is free again", store, ID, log)


@conformance_check
async def check_freed_lock_is_waited_for(make_store: MakeStore, hold_lock: HoldLock) -> None:
    """An append to a session that is locked for a moment, or its deletion, waits and goes in."""
    log = new_log(2)
    async with make_store() as store:
        await store.create_session(ID, log)
        log.append(next_record(log[-1].head))
        await _while_held("an append", hold_lock, partial(store.append, ID, log[-1]))
        await expect_log("after an append to a session that was locked for a moment", store, ID, log)
        await _while_held("a deletion", hold_lock, partial(store.delete_session, ID, log[-1].head))
        await expect_absent("after the deletion of a session that was locked for a moment", store, ID)


async def _while_held(what: str, hold_lock: HoldLock, call: Callable[[], Awaitable[None]]) -> None:
    """Make the call while the lock is held, and let go of that a little later. Fail unless the call returns."""
    refusals: list[SessionLocked] = []

    async def run() -> None:
        try:
            await call()
        except SessionLocked as refusal:
            refusals.append(refusal)

    with within_patience(f"{what} to end once the lock is free"):
        async with anyio.create_task_group() as tasks, hold_lock(ID):
            tasks.start_soon(run)
            for _ in range(HELD_TURNS):
                await anyio.lowlevel.checkpoint()
    expect(f"what refused {what} on a lock that is soon free", refusals, [])
