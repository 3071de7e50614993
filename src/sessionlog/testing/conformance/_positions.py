"""Checks of reading on from a :class:`~sessionlog.Position`: what comes, what is refused, and what it costs."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import anyio
import anyio.lowlevel

from ...errors import CorruptLog, EntryNotFound
from ...record import HashedEntry, Position
from ...store import Store
from ._capabilities import ReadCost, ReplaceLines
from ._costs import expect_flat
from ._kit import (
    ID,
    OTHER_ID,
    MakeStore,
    chain_onto,
    collect,
    conformance_check,
    expect,
    expect_offset,
    expect_records,
    fail,
    first_record,
    new_log,
    next_record,
    record_of_size,
    refused,
    refused_as_corrupt,
    take,
    within_patience,
)


@conformance_check
async def check_position_of_last_record(make_store: MakeStore) -> None:
    """``read_position`` tells the last record's place and hash and the bytes of all lines, right after each append."""
    async with make_store() as store:
        log = [first_record(text="caf\u00e9")]
        await store.create_session(ID, log)
        for count in (1, 3, 2):
            expect("read_position", await store.read_position(ID), positions(log)[-1])
            log += chain_onto(log[-1].head, count, "\u2028")
            await store.append(ID, *log[-count:])
        log.append(record_of_size(log[-1].head, min(100_000, store.line_bytes_max)))
        await store.append(ID, log[-1])
        expect("read_position behind a large record", await store.read_position(ID), positions(log)[-1])


@conformance_check
async def check_read_after_position(make_store: MakeStore) -> None:
    """``read`` gives what stands behind a position, whichever record it is, and goes on from where it stopped."""
    log = new_log(12)
    async with make_store() as store:
        await store.create_session(ID, log)
        for at in positions(log):
            expect_records(f"read(after={at})", await collect(store.read(ID, after=at)), log[at.seq + 1 :])
        kept: Position | None = None
        for count in (0, 1, 0, 4):
            more = chain_onto(log[-1].head, count, "more")
            if more:
                await store.append(ID, *more)
            log += more
            found = await collect(store.read(ID, after=kept))
            expect_records("read from where it stopped", found, log[0 if kept is None else kept.seq + 1 :])
            for record in found:
                kept = Position.after(record, kept)


@conformance_check
async def check_follow_after_position(make_store: MakeStore) -> None:
    """``follow`` gives what stands behind a position, then what comes, each record once and in order."""
    async with make_store() as store:
        log = new_log(6)
        await store.create_session(ID, log)
        for at in positions(log):
            more = chain_onto(log[-1].head, 5, f"{at.seq}-")
            found: list[HashedEntry] = []

            async def watch(at: Position = at, found: list[HashedEntry] = found, count: int = len(log) + 5) -> None:
                found += await take(store.follow(ID, after=at), count - at.seq - 1)

            with within_patience(f"follow(after={at})"):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(watch)
                    for record in more:
                        await anyio.lowlevel.checkpoint()
                        await store.append(ID, record)
            log += more
            expect_records(f"follow(after={at})", found, log[at.seq + 1 :])


@conformance_check
async def check_foreign_position_is_refused(make_store: MakeStore) -> None:
    """Where the log does not hold the record at a position, ``read`` and ``follow`` raise EntryNotFound at once."""
    log = new_log(5)
    beyond = chain_onto(log[-1].head, 2, "never appended")
    sidelined = chain_onto(log[2].head, 2, "of another branch")
    held = positions(log)
    async with make_store() as store:
        await store.create_session(ID, log)
        await store.create_session(OTHER_ID, new_log(5, OTHER_ID))
        for what, position in (
            ("a record behind the end", positions([*log, *beyond])[-1]),
            ("a record of another branch", positions([*log[:3], *sidelined])[-1]),
            ("another session's first record", positions(new_log(5, OTHER_ID))[0]),
            ("another session's last record", positions(new_log(5, OTHER_ID))[-1]),
            ("a record in another place", Position(held[2].seq + 1, held[2].hash, held[2].end)),
            ("no record at all", Position(3, "0" * 64, held[3].end)),
            ("a place before the first", Position(-1, held[0].hash, 0)),
        ):
            await _expect_not_found(store, what, position)
        for end in (held[2].end - 1, held[2].end + 1, held[1].end, held[-1].end, held[-1].end + 9, 0, -1):
            position = Position(held[2].seq, held[2].hash, end)
            try:
                found = await collect(store.read(ID, after=position))
            except EntryNotFound:
                continue
            expect_records(f"read(after={position}), which ends elsewhere", found, log[3:])


@conformance_check
async def check_replaced_log_is_noticed(make_store: MakeStore, replace_lines: ReplaceLines) -> None:
    """A log that was cut or made anew since a position was kept is refused, whatever its length: never folded on."""
    log = new_log(6)
    async with make_store() as store:
        await store.create_session(ID, log)
        kept = await store.read_position(ID)
    if kept is None:
        fail("read_position of a session with records", expected="a position", found=None)
    remade = first_record(text="made anew")
    for what, lines in (
        ("cut", log[:4]),
        ("made anew, and shorter", [remade, *chain_onto(remade.head, 2)]),
        ("made anew, and as long", [remade, *chain_onto(remade.head, 5)]),
        ("made anew, and longer", [remade, *chain_onto(remade.head, 40)]),
        ("made anew of the same first record", [log[0], *chain_onto(log[0].head, 9, "anew")]),
    ):
        await replace_lines(ID, [record.line for record in lines])
        async with make_store() as store:
            await _expect_not_found(store, f"a log that was {what}", kept)
    await replace_lines(ID, [record.line for record in log])
    async with make_store() as store:
        expect_records("read of the log put back", await collect(store.read(ID, after=kept)), [])


@conformance_check
async def check_damage_behind_position_is_not_served(make_store: MakeStore, replace_lines: ReplaceLines) -> None:
    """Behind a position reads verify as ever: the first bad record raises CorruptLog, and those before it are given."""
    log = new_log(8)
    async with make_store() as store:
        await store.create_session(ID, log)
    lines = [record.line for record in log]
    for bad in (4, 6):
        changed = lines[bad].replace(b"conformance", b"Conformance")
        for what, damaged in (
            (f"record {bad} changed", [*lines[:bad], changed, *lines[bad + 1 :]]),
            (f"record {bad} removed", [*lines[:bad], *lines[bad + 1 :]]),
        ):
            await replace_lines(ID, damaged)
            async with make_store() as store:
                for name, stream in (
                    ("read", store.read(ID, after=positions(log)[3])),
                    ("follow", store.follow(ID, after=positions(log)[3])),
                ):
                    served: list[HashedEntry] = []
                    with within_patience(f"{name} with {what}"):
                        raised = await refused(f"{name} with {what}", CorruptLog, _into(served, stream))
                    expect(f"{name} with {what}: CorruptLog.seq", raised.seq, bad)
                    expect_offset(f"{name} with {what}", raised, damaged)
                    expect_records(f"{name} with {what}", served, log[4:bad])


@conformance_check
async def check_read_tail(make_store: MakeStore) -> None:
    """``read_tail`` gives the last records in order, as many as asked for or as there are, right after each append."""
    async with make_store() as store:
        log = new_log(1)
        await store.create_session(ID, log)
        for size in (0, 1, 7, 40):
            more = chain_onto(log[-1].head, size, "caf\u00e9 \u2028")
            if more:
                await store.append(ID, *more)
            log += more
            for count in (0, 1, 2, len(log) - 1, len(log), len(log) + 3):
                expected = log[-count:] if count else []
                expect_records(f"read_tail({count}) of {len(log)}", await store.read_tail(ID, count), expected)
        log.append(record_of_size(log[-1].head, min(100_000, store.line_bytes_max)))
        log += chain_onto(log[-1].head, 2)
        await store.append(ID, *log[-3:])
        for count in range(1, 6):
            expect_records(f"read_tail({count}) over a large record", await store.read_tail(ID, count), log[-count:])
        await refused("read_tail(-1)", ValueError, store.read_tail(ID, -1))


@conformance_check
async def check_damaged_tail_is_not_served(make_store: MakeStore, replace_lines: ReplaceLines) -> None:
    """Where one of the last records was changed or moved, or none is the head, ``read_tail`` raises CorruptLog."""
    log = new_log(8)
    async with make_store() as store:
        await store.create_session(ID, log)
    lines = [record.line for record in log]
    changed = lines[6].replace(b"conformance", b"Conformance")
    for what, damaged in (
        ("a record changed", [*lines[:6], changed, lines[7]]),
        ("a record removed", [*lines[:6], lines[7]]),
        ("records exchanged", [*lines[:5], lines[6], lines[5], lines[7]]),
        ("a line that is no record at the end", [*lines, b"{}"]),
        ("another session's log", [record.line for record in new_log(8, OTHER_ID)]),
    ):
        await replace_lines(ID, damaged)
        async with make_store() as store:
            for count in (4, len(damaged)):
                tail = store.read_tail(ID, count)
                await refused_as_corrupt(f"read_tail of {count} with {what}", damaged, tail)


@conformance_check
async def check_stamps_tell_changes(make_store: MakeStore) -> None:
    """There is a token for each session, and after a change of the session none of its earlier tokens comes back."""
    log = new_log(3)
    async with make_store() as store:
        expect("stamps of an empty store", await store.stamps(), {})
        await store.create_session(ID, log)
        await store.create_session(OTHER_ID, new_log(2, OTHER_ID))
        seen: list[str] = []
        for turn in range(6):
            stamps = await store.stamps()
            expect("the sessions that have a token", sorted(stamps), sorted([ID, OTHER_ID]))
            if stamps[ID] in seen:
                fail("the token of a session that was changed", expected=f"none of {seen}", found=stamps[ID])
            seen += [stamps[ID], (await store.stamps())[ID]]
            if turn == 3:
                await store.delete_session(ID, log[-1].head)
                expect("the sessions that have a token", sorted(await store.stamps()), [OTHER_ID])
                remade = first_record(text="made anew")
                log = [remade, *chain_onto(remade.head, len(log) - 1)]
                await store.create_session(ID, log)
            else:
                log.append(next_record(log[-1].head))
                await store.append(ID, log[-1])


@conformance_check
async def check_cost_of_position(make_store: MakeStore, read_cost: ReadCost) -> None:
    """What ``read_position``, ``read_tail`` and reading on from a position read does not grow with the log."""

    async def read_on(store: Store, session_id: str) -> None:
        kept = await store.read_position(session_id)
        expect("what is new behind the last record", await collect(store.read(session_id, after=kept)), [])

    async def append_and_read_on(store: Store, session_id: str) -> None:
        kept = await store.read_position(session_id)
        if kept is None:
            fail("read_position of a session with records", expected="a position", found=None)
        record = next_record(kept.head)
        await store.append(session_id, record)
        expect_records("what is new", await collect(store.read(session_id, after=kept)), [record])
        expect_records("what is new", await take(store.follow(session_id, after=kept), 1), [record])

    await expect_flat(make_store, read_cost, "read_position", lambda store, name, _: store.read_position(name))
    await expect_flat(make_store, read_cost, "read_tail", lambda store, name, _: store.read_tail(name, 5))
    await expect_flat(make_store, read_cost, "read(after=…) of the end", lambda store, name, _: read_on(store, name))
    await expect_flat(make_store, read_cost, "read(after=…)", lambda store, name, _: append_and_read_on(store, name))


def positions(log: Sequence[HashedEntry]) -> list[Position]:
    """Return the position of each record of a log."""
    found: list[Position] = []
    for record in log:
        found.append(Position.after(record, found[-1] if found else None))
    return found


async def _expect_not_found(store: Store, what: str, position: Position) -> None:
    for name, stream in (("read", store.read(ID, after=position)), ("follow", store.follow(ID, after=position))):
        with within_patience(f"{name} behind {what}"):
            raised = await refused(f"{name} behind {what}", EntryNotFound, _into([], stream))
        expect(f"{name} behind {what}: EntryNotFound.session_id", raised.session_id, ID)
        expect(f"{name} behind {what}: EntryNotFound.at_hash", raised.at_hash, position.hash)


async def _into(served: list[HashedEntry], stream: AsyncGenerator[HashedEntry, None]) -> None:
    async with aclosing(stream) as records:
        async for record in records:
            served.append(record)  # noqa: PERF401 - what came before the error counts
