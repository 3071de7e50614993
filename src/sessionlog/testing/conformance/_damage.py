"""Checks of what a store makes of bytes that were changed behind its back; for stores whose bytes can be."""

from collections.abc import Iterator
from contextlib import aclosing

from ...errors import CorruptLog, HeadConflict, SessionExists
from ...record import HashedEntry
from ...store import Store
from ._kit import (
    ID,
    OTHER_ID,
    EditBytes,
    MakeStore,
    as_bytes,
    chain_onto,
    collect,
    conformance_check,
    expect,
    expect_log,
    expect_records,
    fail,
    new_log,
    next_record,
    raw_bytes,
    refused,
)


@conformance_check
async def check_changed_record_is_not_served(make_store: MakeStore, edit_bytes: EditBytes) -> None:
    """Whichever record was changed, reads raise CorruptLog that names it, and serve nothing from there on."""
    log = new_log(6)
    await _write(make_store, log)
    for record in log:
        for byte in (len(record.line) - 4, 12, 40):
            changed = bytearray(record.line)
            changed[byte] = ord("e") if changed[byte] != ord("e") else ord("d")
            lines = [bytes(changed) if one is record else one.line for one in log]
            await edit_bytes(ID, b"".join(line + b"\n" for line in lines))
            await _expect_corrupt(make_store, f"byte {byte} of record {record.seq} changed", log, record.seq)


@conformance_check
async def check_moved_records_are_not_served(make_store: MakeStore, edit_bytes: EditBytes) -> None:
    """Removed, repeated, exchanged or foreign records make reads raise CorruptLog at the first that is out of place."""
    log = new_log(5)
    foreign = new_log(5, OTHER_ID)
    await _write(make_store, log)
    for what, seq, records in (
        ("record 0 removed", 0, log[1:]),
        ("record 2 removed", 2, [*log[:2], *log[3:]]),
        ("record 2 repeated", 3, [*log[:3], *log[2:]]),
        ("records 2 and 3 exchanged", 2, [log[0], log[1], log[3], log[2], log[4]]),
        ("records from 3 on of another log", 3, [*log[:3], *chain_onto(foreign[2].head, 2)]),
        ("another session's log", 0, foreign),
    ):
        await edit_bytes(ID, as_bytes(records))
        await _expect_corrupt(make_store, what, log, seq)


@conformance_check
async def check_damaged_end_refuses_appends(make_store: MakeStore, edit_bytes: EditBytes) -> None:
    """Behind a last record that was changed, or no record at all, an append raises CorruptLog and writes nothing."""
    log = new_log(4)
    await _write(make_store, log)
    changed = bytearray(as_bytes(log))
    changed[-5] ^= 1
    for what, data in (
        ("the last record changed", bytes(changed)),
        ("a line that is no record at the end", as_bytes(log) + b"{}\n"),
        ("a blank line at the end", as_bytes(log) + b"\n"),
    ):
        await edit_bytes(ID, data)
        async with make_store() as store:
            await refused(f"an append with {what}", CorruptLog, store.append(ID, next_record(log[-1].head)))
            expect(f"the bytes after an append with {what}", await raw_bytes(store, ID), data)


@conformance_check
async def check_torn_tail_is_no_error(make_store: MakeStore, edit_bytes: EditBytes) -> None:
    """Bytes of an unfinished record at the end are no part of the log for readers, and the next append chains on."""
    log = new_log(4)
    await _write(make_store, log)
    whole = as_bytes(log)
    for what, tail in _tails(log):
        await edit_bytes(ID, whole + tail)
        async with make_store() as store:
            expect_records(f"read_all with {what}", await store.read_all(ID), log)
            expect_records(f"read with {what}", await collect(store.read(ID)), log)
            expect(f"read_head with {what}", await store.read_head(ID), log[-1].head)
            expect(f"read_raw with {what}", await raw_bytes(store, ID), whole + tail)
            record = next_record(log[-1].head, "the next")
            await store.append(ID, record)
            await expect_log(f"after an append with {what}", store, ID, [*log, record])


@conformance_check
async def check_empty_log_has_no_head(make_store: MakeStore, edit_bytes: EditBytes) -> None:
    """A session that holds no record is there, has no head, reads as empty, and takes its first record."""
    log = new_log(2)
    await _write(make_store, log)
    for create in (False, True):
        await edit_bytes(ID, b"")
        async with make_store() as store:
            expect("exists", await store.exists(ID), expected=True)
            expect("read_head", await store.read_head(ID), None)
            expect("read_head_hash", await store.read_head_hash(ID), None)
            expect("read_all", await store.read_all(ID), [])
            expect("read", await collect(store.read(ID)), [])
            await refused("an append on a head that is gone", HeadConflict, store.append(ID, log[1]))
            await (store.create_session(ID, log) if create else store.append(ID, *log))
            await refused("create_session of a session with records", SessionExists, store.create_session(ID, log))
            await expect_log("after the first records", store, ID, log)


async def _write(make_store: MakeStore, log: list[HashedEntry]) -> None:
    async with make_store() as store:
        await store.create_session(ID, log)


async def _expect_corrupt(make_store: MakeStore, what: str, log: list[HashedEntry], seq: int) -> None:
    """Fail unless reads raise ``CorruptLog`` at ``seq`` and gave true records before it."""
    async with make_store() as store:
        _expect_named(what, await refused(f"read_all with {what}", CorruptLog, store.read_all(ID)), log, seq)
        for after in (None, 1):
            served, raised = await _read_until_fault(store, after)
            if raised is None:
                fail(f"read(after={after}) with {what}", expected="CorruptLog", found=f"an end after {served}")
            _expect_named(what, raised, log, seq)
            first = 0 if after is None else after + 1
            expect_records(f"read(after={after}) with {what}", served, log[first : max(first, seq)])


def _expect_named(what: str, raised: CorruptLog, log: list[HashedEntry], seq: int) -> None:
    expect(f"CorruptLog.seq with {what}", raised.seq, seq)
    expect(f"CorruptLog.line with {what}", raised.line, seq + 1)
    expect(f"CorruptLog.offset with {what}", raised.offset, len(as_bytes(log[:seq])))


async def _read_until_fault(store: Store, after: int | None) -> tuple[list[HashedEntry], CorruptLog | None]:
    served: list[HashedEntry] = []
    try:
        async with aclosing(store.read(ID, after=after)) as records:
            async for record in records:
                served.append(record)  # noqa: PERF401 - what came before the fault counts
    except CorruptLog as raised:
        return served, raised
    return served, None


def _tails(log: list[HashedEntry]) -> Iterator[tuple[str, bytes]]:
    """Yield what, and the bytes."""
    last = next_record(log[-1].head, "unfinished")
    size = len(last.line)
    for cut in sorted({1, 2, 9, 74, 75, 76, size // 2, size - 1, *range(3, size, 37)}):
        yield f"{cut} bytes of an unfinished record", last.line[:cut]
    yield "a record that lacks its line feed", last.line
    yield "NUL bytes at the end", b"\0" * 512
    stale = next_record(log[-2].head, "stale")
    yield "a record without line feed that does not chain", stale.line
    yield "text at the end", b"no record"
