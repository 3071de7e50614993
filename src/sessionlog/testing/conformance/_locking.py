"""Checks of the lock between processes; for stores that have one which a test can hold."""

from ...errors import SessionLocked
from ._capabilities import HoldLock
from ._kit import ID, MakeStore, conformance_check, expect, expect_log, new_log, next_record, refused, within_patience


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
