"""Checks of what a store makes of a log that was damaged behind its back; for stores whose tests can do that."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from ...chain import link
from ...entries import Extension
from ...errors import CorruptLog, HeadConflict, SessionExists
from ...ids import Head
from ...record import HashedEntry, hash_payload, parse_record, record_line
from ._capabilities import EmptyLog, ReplaceLines, WriteTail
from ._kit import (
    ID,
    OTHER_ID,
    MakeStore,
    as_bytes,
    chain_onto,
    collect,
    conformance_check,
    expect,
    expect_absent,
    expect_log,
    expect_records,
    fail,
    first_record,
    new_log,
    next_record,
    raw_bytes,
    reading_calls,
    refused,
    refused_as_corrupt,
    take,
    within_patience,
)


@conformance_check
async def check_changed_record_is_not_served(make_store: MakeStore, replace_lines: ReplaceLines) -> None:
    """Whichever record was changed, reads raise CorruptLog that names it, and serve nothing from there on."""
    log = new_log(6)
    await _write(make_store, log)
    for record in log:
        for byte in (len(record.line) - 4, 12, 40):
            changed = bytearray(record.line)
            changed[byte] = ord("e") if changed[byte] != ord("e") else ord("d")
            lines = [bytes(changed) if one is record else one.line for one in log]
            await replace_lines(ID, lines)
            await _expect_corrupt(make_store, f"byte {byte} of record {record.seq} changed", log, record.seq)


@conformance_check
async def check_moved_records_are_not_served(make_store: MakeStore, replace_lines: ReplaceLines) -> None:
    """Removed, repeated, exchanged or foreign records make reads raise CorruptLog at the first that is out of place."""
    log = new_log(5)
    foreign = new_log(5, OTHER_ID)
    renumbered = link(Head(3, log[1].hash), Extension(ts=0, domain="conformance", payload="seq 4 behind record 1"))
    await _write(make_store, log)
    for what, seq, records in (
        ("record 0 removed", 0, log[1:]),
        ("record 2 removed", 2, [*log[:2], *log[3:]]),
        ("record 2 repeated", 3, [*log[:3], *log[2:]]),
        ("records 2 and 3 exchanged", 2, [log[0], log[1], log[3], log[2], log[4]]),
        ("records from 3 on of another log", 3, [*log[:3], *chain_onto(foreign[2].head, 2)]),
        ("a record that chains on with another seq", 2, [*log[:2], renumbered]),
    ):
        await replace_lines(ID, [record.line for record in records])
        await _expect_corrupt(make_store, what, log, seq)


@conformance_check
async def check_foreign_log_is_not_served(make_store: MakeStore, replace_lines: ReplaceLines) -> None:
    """A log whose first record binds another session or an unknown format is neither read nor appended to."""
    log = new_log(3)
    await _write(make_store, log)
    for what, foreign in (
        ("another session's log", new_log(3, OTHER_ID)),
        ("a log of another format", _log_of_format(b"sessionlog/9")),
    ):
        lines = [record.line for record in foreign]
        await replace_lines(ID, lines)
        await _expect_corrupt(make_store, what, log, 0)
        async with make_store() as store:
            for name, start in reading_calls(store, ID):
                if name != "read_raw":
                    await refused_as_corrupt(f"{name} of {what}", lines, start())
            append = store.append(ID, next_record(foreign[-1].head))
            await refused_as_corrupt(f"an append to {what}", lines, append)
            expect(f"the bytes after an append to {what}", await raw_bytes(store, ID), as_bytes(foreign))


@conformance_check
async def check_damaged_end_refuses_appends(make_store: MakeStore, replace_lines: ReplaceLines) -> None:
    """Where the last record was changed, or is none, there is no head: it and appends raise CorruptLog, unwritten."""
    log = new_log(4)
    await _write(make_store, log)
    lines = [record.line for record in log]
    changed = lines[-1].replace(b"conformance", b"Conformance")
    for what, damaged in (
        ("the last record changed", [*lines[:-1], changed]),
        ("a line that is no record at the end", [*lines, b"{}"]),
        ("a blank line at the end", [*lines, b""]),
    ):
        await replace_lines(ID, damaged)
        async with make_store() as store:
            await refused_as_corrupt(f"read_head with {what}", damaged, store.read_head(ID))
            await refused_as_corrupt(f"read_head_hash with {what}", damaged, store.read_head_hash(ID))
            await refused_as_corrupt(f"read_position with {what}", damaged, store.read_position(ID))
        async with make_store() as store:
            append = store.append(ID, next_record(log[-1].head))
            await refused_as_corrupt(f"an append with {what}", damaged, append)
            data = b"".join(line + b"\n" for line in damaged)
            expect(f"the bytes after an append with {what}", await raw_bytes(store, ID), data)


@conformance_check
async def check_raw_bytes_of_damage(make_store: MakeStore, replace_lines: ReplaceLines) -> None:
    """``read_raw`` gives the bytes of a damaged log as they lie there, for audits."""
    log = new_log(3)
    await _write(make_store, log)
    damaged = [log[0].line, log[1].line[:-9], b"", b"\0" * 8, log[2].line]
    await replace_lines(ID, damaged)
    async with make_store() as store:
        expect("read_raw of a damaged log", await raw_bytes(store, ID), b"".join(line + b"\n" for line in damaged))


@conformance_check
async def check_torn_tail_is_no_error(make_store: MakeStore, write_tail: WriteTail) -> None:
    """Bytes of an unfinished record at the end are no part of the log for readers, and the next append chains on."""
    log = new_log(4)
    await _write(make_store, log)
    for what in _tails(log):
        tail = _tails(log)[what]
        await write_tail(ID, tail)
        async with make_store() as store:
            expect_records(f"read_all with {what}", await store.read_all(ID), log)
            expect_records(f"read with {what}", await collect(store.read(ID)), log)
            with within_patience(f"follow with {what}"):
                expect_records(f"follow with {what}", await take(store.follow(ID), len(log)), log)
            expect(f"read_head with {what}", await store.read_head(ID), log[-1].head)
            expect(f"read_raw with {what}", await raw_bytes(store, ID), as_bytes(log) + tail)
            log.append(next_record(log[-1].head, "the next"))
            await store.append(ID, log[-1])
            await expect_log(f"after an append with {what}", store, ID, log)
    await write_tail(ID, log[-1].line[:90])
    async with make_store() as store:
        await store.delete_session(ID, log[-1].head)
        await expect_absent("after a deletion with a torn tail", store, ID)


@conformance_check
async def check_empty_log_has_no_head(make_store: MakeStore, empty_log: EmptyLog) -> None:
    """A session that holds no record is there, has no head, reads as empty, and takes its first record."""
    log = new_log(2)
    await _write(make_store, log)
    for create in (False, True):
        await empty_log(ID)
        async with make_store() as store:
            expect("exists", await store.exists(ID), expected=True)
            expect("listed", await store.list_sessions(), [ID])
            expect("read_head", await store.read_head(ID), None)
            expect("read_head_hash", await store.read_head_hash(ID), None)
            expect("read_all", await store.read_all(ID), [])
            expect("read", await collect(store.read(ID)), [])
            expect("read_raw", await raw_bytes(store, ID), b"")
            await refused("an append on a head that is gone", HeadConflict, store.append(ID, log[1]))
            await (store.create_session(ID, log) if create else store.append(ID, *log))
            await refused("create_session of a session with records", SessionExists, store.create_session(ID, log))
            await expect_log("after the first records", store, ID, log)
    await empty_log(ID)
    async with make_store() as store:
        await refused("delete_session for a head that is gone", HeadConflict, store.delete_session(ID, log[-1].head))
        await store.delete_session(ID, None)
        await expect_absent("after a deletion without a head", store, ID)


async def _write(make_store: MakeStore, log: list[HashedEntry]) -> None:
    async with make_store() as store:
        await store.create_session(ID, log)


async def _expect_corrupt(make_store: MakeStore, what: str, log: list[HashedEntry], seq: int) -> None:
    """Fail unless reads raise ``CorruptLog`` at ``seq`` and gave true records before it."""
    async with make_store() as store:
        _expect_named(what, await refused(f"read_all with {what}", CorruptLog, store.read_all(ID)), log, seq)
        for after in (None, 1):
            for name, stream in (("read", store.read(ID, after=after)), ("follow", store.follow(ID, after=after))):
                with within_patience(f"{name}(after={after}) with {what}"):
                    served, raised = await _read_until_fault(stream)
                if raised is None:
                    fail(f"{name}(after={after}) with {what}", expected="CorruptLog", found=f"an end after {served}")
                _expect_named(what, raised, log, seq)
                first = 0 if after is None else after + 1
                expect_records(f"{name}(after={after}) with {what}", served, log[first : max(first, seq)])


def _expect_named(what: str, raised: CorruptLog, log: list[HashedEntry], seq: int) -> None:
    expect(f"CorruptLog.seq with {what}", raised.seq, seq)
    expect(f"CorruptLog.line with {what}", raised.line, seq + 1)
    expect(f"CorruptLog.offset with {what}", raised.offset, len(as_bytes(log[:seq])))


async def _read_until_fault(
    stream: AsyncGenerator[HashedEntry, None],
) -> tuple[list[HashedEntry], CorruptLog | None]:
    served: list[HashedEntry] = []
    try:
        async with aclosing(stream) as records:
            async for record in records:
                served.append(record)  # noqa: PERF401 - what came before the fault counts
    except CorruptLog as raised:
        return served, raised
    return served, None


def _tails(log: Sequence[HashedEntry]) -> dict[str, bytes]:
    """Return, by what they are, bytes that may stand behind the last LF of ``log``."""
    line = next_record(log[-1].head, "unfinished").line
    cuts = (1, 2, 9, 74, 75, 76, 111, 148, 201)
    return {
        **{f"{cut} bytes of an unfinished record": line[:cut] for cut in cuts},
        "a record without its closing brace": line[:-1],
        "a record that lacks its line feed": line,
        "a record without line feed that does not chain": next_record(log[-2].head, "stale").line,
        "NUL bytes at the end": b"\0" * 512,
        "text at the end": b"no record",
    }


def _log_of_format(format_: bytes) -> list[HashedEntry]:
    """Return a log whose first record, right in itself, names a format that this version does not know."""
    payload = first_record().line[75:].replace(b"sessionlog/1", format_)
    first = parse_record(record_line(hash_payload(payload), payload))
    return [first, *chain_onto(first.head, 2)]
