"""Deletion with receipts: what it removes, what it leaves, and how it ends when something comes in between."""

import fcntl
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest

from sessionlog import (
    RECEIPT_DOMAIN,
    RECEIPTS_SESSION,
    Damage,
    Deletions,
    FileStore,
    HeadConflict,
    MemoryStore,
    Receipt,
    Receipts,
    ReceiptState,
    Report,
    SessionHeld,
    SessionId,
    SessionLocked,
    SessionLog,
    SessionNotFound,
    SessionStartState,
    Store,
    audit_session,
    audit_store,
    create_session_with_id,
    delete,
    fork_at,
    open_session,
    settle_deletion,
    user_message,
    verify_session,
)

pytestmark = pytest.mark.anyio
HELLO = user_message("hello")


@pytest.fixture(params=["file", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Any) -> AsyncGenerator[Store, None]:
    async with FileStore(tmp_path / "logs", durability="os") if request.param == "file" else MemoryStore() as store:
        yield store


async def filled(store: Store, session_id: str = "gone", **state: Any) -> SessionLog:
    log = await create_session_with_id(store, session_id, SessionStartState(**state))
    await log.save_delta([HELLO])
    return log


async def receipts(store: Store) -> Receipts:
    return await Deletions(store).receipts()


async def payloads(store: Store) -> list[tuple[str, str]]:
    """Return state and session of every receipt record."""
    found = []
    for record in await store.read_all(RECEIPTS_SESSION):
        entry: Any = record.entry
        if getattr(entry, "domain", None) == RECEIPT_DOMAIN:
            found.append((entry.payload["state"], entry.payload["session_id"]))
    return found


class Interposed:
    """A store that does something before a deletion, or instead of it."""

    def __init__(self, store: Store, before: Any) -> None:
        self._store = store
        self._before = before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def delete_session(self, session_id: str, expected: Any) -> None:
        before, self._before = self._before, None
        if before is not None:
            await before()
        await self._store.delete_session(session_id, expected)


async def interrupted(store: Store, session_id: str = "gone") -> None:
    """Leave a deletion begun, as a kill before the removal does."""

    class Killed(Exception):
        pass

    async def die() -> None:
        raise Killed

    with pytest.raises(Killed):
        await Deletions(Interposed(store, die)).delete(session_id)
    assert list((await receipts(store)).open.values())[-1].session_id == session_id


async def test_a_receipt_tells_what_was_deleted(store: Store) -> None:
    log = await filled(store)
    first = (await store.read_all("gone"))[0]
    receipt = await delete(store, "gone", reason="asked to", by="the keeper")
    assert receipt == Receipt(
        session_id=SessionId("gone"),
        state=ReceiptState.DONE,
        head=log.head,
        first_hash=first.hash,
        nonce=receipt.nonce,
        begun_at=receipt.begun_at,
        ended_at=receipt.ended_at,
        reason="asked to",
        by="the keeper",
        seq=1,
    )
    assert receipt.record_count == 2
    assert not await store.exists("gone")
    assert await payloads(store) == [("begun", "gone"), ("done", "gone")]
    assert (await receipts(store)).done == {"gone": receipt}
    assert (await verify_session(store, RECEIPTS_SESSION)).ok
    with pytest.raises(SessionNotFound):
        await delete(store, "gone")


async def test_a_session_without_records_is_deleted(tmp_path: Any) -> None:
    async with FileStore(tmp_path) as store:
        (tmp_path / "empty.jsonl").touch(0o600)
        receipt = await delete(store, "empty")
        assert (receipt.head, receipt.first_hash, receipt.record_count) == (None, None, 0)
        assert not await store.exists("empty")


async def test_a_held_session_and_the_receipts_are_not_deleted(store: Store) -> None:
    log = await filled(store, "held", labels={"hold": "case 7"})
    with pytest.raises(SessionHeld, match="hold=case 7"):
        await delete(store, "held")
    assert not await store.exists(RECEIPTS_SESSION)
    await log.set_labels({"hold": None})
    await delete(store, "held")
    with pytest.raises(SessionHeld, match="receipts"):
        await delete(store, RECEIPTS_SESSION)
    later = await filled(store, "later")
    await later.set_labels({"hold": ""})
    with pytest.raises(SessionHeld):
        await delete(store, "later")


async def test_a_hold_that_comes_meanwhile_is_kept(store: Store) -> None:
    log = await filled(store)

    async def hold() -> None:
        await log.set_labels({"hold": "yes"})

    with pytest.raises(HeadConflict):
        await Deletions(Interposed(store, hold)).delete("gone")
    assert await store.exists("gone")


async def test_an_append_meanwhile_voids_the_receipt(store: Store) -> None:
    log = await filled(store)
    before = log.head

    async def append() -> None:
        await log.save_delta([HELLO])

    with pytest.raises(HeadConflict) as conflict:
        await Deletions(Interposed(store, append)).delete("gone")
    assert (conflict.value.expected, conflict.value.found) == (before, log.head)
    assert await payloads(store) == [("begun", "gone"), ("void", "gone")]
    assert (await receipts(store)).open == {}
    assert len(await store.read_all("gone")) == 3
    assert (await delete(store, "gone")).record_count == 3


async def test_only_the_expected_head_is_deleted(store: Store) -> None:
    """A log that has moved on since its head was looked at is left alone, and no receipt is begun."""
    log = await filled(store)
    before = log.head
    await log.save_delta([HELLO])
    with pytest.raises(HeadConflict) as conflict:
        await delete(store, "gone", expected=before)
    assert (conflict.value.expected, conflict.value.found) == (before, log.head)
    assert not await store.exists(RECEIPTS_SESSION)
    assert (await delete(store, "gone", expected=log.head)).state is ReceiptState.DONE


async def test_a_log_made_anew_meanwhile_is_left_alone(store: Store) -> None:
    """The deleted one is gone: somebody else removed it, and used the id again without asking the receipts."""
    log = await filled(store)

    async def replace() -> None:
        await store.delete_session("gone", log.head)
        other = await filled(store, "other", title="another")
        start = (await store.read_all("other"))[0].entry
        await SessionLog(store, "gone", None).append(start.__replace__(session_id="gone"))
        assert other.head is not None

    receipt = await Deletions(Interposed(store, replace)).delete("gone")
    assert receipt.state is ReceiptState.DONE
    assert len(await store.read_all("gone")) == 1


@pytest.mark.parametrize("who", ["delete", "create", "settle", "settle all"])
async def test_an_interrupted_deletion_is_finished_by_whoever_comes_next(store: Store, who: str) -> None:
    await filled(store)
    await interrupted(store)
    match who:
        case "delete":
            assert (await delete(store, "gone", reason="again")).reason is None  # the receipt of the first one
        case "create":
            log = await create_session_with_id(store, "gone", SessionStartState(title="new"))
            assert log.head is not None
            assert log.head.seq == 0
        case "settle":
            await settle_deletion(store, "gone")
        case _:
            [settled] = await Deletions(store).settle()
            assert settled.state is ReceiptState.DONE
    assert await payloads(store) == [("begun", "gone"), ("done", "gone")]
    assert await store.exists("gone") is (who == "create")


async def test_an_interrupted_deletion_is_void_once_somebody_appended(store: Store) -> None:
    log = await filled(store)
    await interrupted(store)
    await log.save_delta([HELLO])
    await settle_deletion(store, "gone")
    assert await payloads(store) == [("begun", "gone"), ("void", "gone")]
    assert len(await store.read_all("gone")) == 3


async def test_only_the_deletion_of_the_same_session_is_settled(store: Store) -> None:
    await filled(store)
    await interrupted(store)
    await settle_deletion(store, "other")
    await filled(store, "other")
    assert await store.exists("gone")
    assert len((await receipts(store)).open) == 1


async def test_an_open_deletion_is_known_by_the_last_record_alone(store: Store) -> None:
    """Creating a session costs one read of the end of the receipts, however many there are."""
    for name in ("one", "two"):
        await filled(store, name)
        await delete(store, name)
    reads: list[str] = []

    class Watched(Interposed):
        def read(self, session_id: str, **at: Any) -> Any:
            reads.append(session_id)
            return self._store.read(session_id, **at)

    watched: Any = Watched(store, None)
    await settle_deletion(watched, "three")
    assert reads == []
    await filled(store)
    await interrupted(store)
    await settle_deletion(watched, "gone")
    assert RECEIPTS_SESSION in reads
    assert not await store.exists("gone")


async def test_a_locked_session_stays_to_be_deleted(tmp_path: Any) -> None:
    async with FileStore(tmp_path, lock_wait_s=0.01) as store:
        await filled(store)
        with open(tmp_path / "gone.jsonl", "rb") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            with pytest.raises(SessionLocked):
                await delete(store, "gone")
        assert await store.exists("gone")
        assert len((await receipts(store)).open) == 1
        assert (await delete(store, "gone")).state is ReceiptState.DONE


async def test_tasks_that_delete_one_session_leave_one_receipt(store: Store) -> None:
    await filled(store)
    outcomes: list[object] = []

    async def one() -> None:
        try:
            outcomes.append((await delete(store, "gone")).nonce)
        except SessionNotFound as error:
            outcomes.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(one)
    nonces = {outcome for outcome in outcomes if isinstance(outcome, str)}
    assert len(nonces) == 1
    assert await payloads(store) == [("begun", "gone"), ("done", "gone")]


async def test_writers_and_deleters_lose_nothing(store: Store) -> None:
    """An append that was acknowledged is in a log that was deleted, or in the log: the receipts tell which."""
    await filled(store)
    acknowledged: set[str] = set()
    deleted: list[Receipt] = []

    async def write() -> None:
        for _ in range(30):
            try:
                log = await open_session(store, "gone")
                acknowledged.add((await log.save_delta([HELLO]))[0])
            except (HeadConflict, SessionNotFound):
                await create_if_missing()

    async def create_if_missing() -> None:
        if not await store.exists("gone"):
            try:
                await create_session_with_id(store, "gone", SessionStartState())
            except Exception:  # noqa: BLE001 - another task was first
                return

    async def remove() -> None:
        for _ in range(10):
            try:
                deleted.append(await delete(store, "gone"))
            except (HeadConflict, SessionNotFound):
                await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        tasks.start_soon(write)
        tasks.start_soon(remove)
    held = sum(one.record_count - 1 for one in deleted)
    left = len(await store.read_all("gone")) - 1 if await store.exists("gone") else 0
    assert held + left == len(acknowledged) + 1  # and the one that it was filled with
    assert (await receipts(store)).open == {}


async def test_what_is_no_receipt_is_passed_over(store: Store) -> None:
    await filled(store)
    await delete(store, "gone")
    log = await open_session(store, RECEIPTS_SESSION)
    await log.save_extension(RECEIPT_DOMAIN, {"state": "begun"})
    await log.save_extension(RECEIPT_DOMAIN, "nonsense")
    await log.save_extension("another", {"state": "begun"})
    await log.set_labels({"kept": "yes"})
    found = await receipts(store)
    assert (list(found.done), found.open) == (["gone"], {})
    await settle_deletion(store, "gone")
    await filled(store, "more")
    assert (await delete(store, "more")).state is ReceiptState.DONE


@pytest.mark.parametrize("whole_store", [False, True])
@pytest.mark.parametrize("id_used_again", [False, True])
async def test_the_origin_of_a_fork_cannot_be_checked_once_its_source_is_deleted(
    store: Store, whole_store: bool, id_used_again: bool
) -> None:
    """That is no fault and no proof, and said. Without a receipt it is a fault."""
    log = await filled(store)
    assert log.head is not None
    forked = await fork_at(store, "gone", log.head.hash)

    async def audited() -> Report:
        if not whole_store:
            return await audit_session(store, forked.session_id)
        reports = {report.session_id: report async for report in audit_store(store)}
        return reports[forked.session_id]

    assert (await audited()).remarks == ()
    await store.delete_session("gone", log.head)
    assert [finding.damage for finding in (await audited()).findings] == [Damage.PROVENANCE]

    await filled(store)
    receipt = await delete(store, "gone")
    if id_used_again:
        await filled(store, title="another")
    report = await audited()
    assert report.ok
    [remark] = report.remarks
    assert f"its source gone was deleted (receipt: record {receipt.seq} of {RECEIPTS_SESSION})" in remark
    assert "cannot be checked" in remark
