"""Checks of create and append: what goes in, what is refused, and that a refusal writes nothing."""

from collections.abc import Awaitable

import anyio
import anyio.lowlevel

from ...chain import link
from ...entries import Extension
from ...errors import HeadConflict, InvalidEntry, InvalidSessionId, SessionExists, SessionNotFound
from ...ids import Head, SessionId
from ...record import HashedEntry, hash_payload, parse_record, record_line, record_payload
from ...store import Store
from ._kit import (
    ID,
    OTHER_ID,
    MakeStore,
    all_calls,
    chain_onto,
    conformance_check,
    expect,
    expect_absent,
    expect_log,
    fail,
    first_record,
    new_log,
    next_record,
    raw_bytes,
    reading_calls,
    record_of_size,
    refused,
    within_patience,
)

LARGE_RECORD_BYTES = 2 * 1024 * 1024
INVALID_IDS = (
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "a\\b",
    ".hidden",
    "-option",
    "_first",
    "a.jsonl",
    "a b",
    "a\n",
    "a\0b",
    "é",
    "\uff41",
    "a" * 129,
)


async def _refused_and_unchanged(
    what: str, store: Store, log: list[HashedEntry], error: type[Exception], call: Awaitable[object]
) -> Exception:
    """Fail unless ``call`` raises ``error`` and the log of ``ID`` is byte for byte what it was."""
    before = await raw_bytes(store, ID)
    raised = await refused(what, error, call)
    expect(f"the log's bytes after {what} was refused", await raw_bytes(store, ID), before)
    await expect_log(f"after {what} was refused", store, ID, log)
    return raised


@conformance_check
async def check_create_session(make_store: MakeStore) -> None:
    """A created session holds its first records, exists and is listed; before, there is nothing of it."""
    log = new_log(3)
    async with make_store() as store:
        await expect_absent("before create_session", store, ID)
        expect("list_sessions of an empty store", await store.list_sessions(), [])
        await store.create_session(ID, log)
        await expect_log("after create_session", store, ID, log)
        expect("list_sessions", await store.list_sessions(), [ID])


@conformance_check
async def check_create_existing_writes_nothing(make_store: MakeStore) -> None:
    """Creating a session that holds records raises SessionExists, naming it, and writes nothing."""
    log = new_log(2)
    async with make_store() as store:
        await store.create_session(ID, log)
        for again in (log, [first_record(text="another")]):
            raised = await _refused_and_unchanged(
                "create_session of an existing session", store, log, SessionExists, store.create_session(ID, again)
            )
            expect("SessionExists.session_id", getattr(raised, "session_id", None), ID)


@conformance_check
async def check_append_makes_session(make_store: MakeStore) -> None:
    """An append that starts with a first record makes the session."""
    log = new_log(3)
    async with make_store() as store:
        await store.append(ID, *log)
        await expect_log("after an append of a first record", store, ID, log)


@conformance_check
async def check_append_chains_on(make_store: MakeStore) -> None:
    """Single records and batches that chain onto the head are all there afterwards, in order."""
    log = new_log(1)
    async with make_store() as store:
        await store.create_session(ID, log)
        for count in (1, 1, 7, 1, 40, 1):
            more = chain_onto(log[-1].head, count, f"{count}-")
            await store.append(ID, *more)
            log += more
            expect("read_head after an append", await store.read_head(ID), log[-1].head)
        await expect_log("after appends", store, ID, log)


@conformance_check
async def check_bytes_are_kept(make_store: MakeStore) -> None:
    """A record is kept byte for byte: unknown kinds and members, and JSON that another writer spelled differently."""
    log = new_log(1)
    for entry in (
        b'{"kind":"made_elsewhere","ts":1,"ratio":1.50,"word":"caf\\u00e9","list":[1E2,-0]}',
        '{"kind":"extension","ts":2,"domain":"x","payload":"caf\u00e9 \u2028 \U0001f600","new":{"b":1,"a":2}}'.encode(),
    ):
        payload = record_payload(log[-1].hash, log[-1].seq + 1, entry)
        log.append(parse_record(record_line(hash_payload(payload), payload)))
    async with make_store() as store:
        await store.create_session(ID, log[:1])
        await store.append(ID, *log[1:])
        await expect_log("after an append of another writer's records", store, ID, log)
        await store.append(ID, next_record(log[-1].head))


@conformance_check
async def check_stale_head_writes_nothing(make_store: MakeStore) -> None:
    """An append on a head that is no longer the head raises HeadConflict with both heads, and writes nothing."""
    log = new_log(3)
    async with make_store() as store:
        await store.create_session(ID, log)
        for stale in (log[0].head, log[1].head):
            for count in (1, 3):
                raised = await _refused_and_unchanged(
                    "an append on a stale head",
                    store,
                    log,
                    HeadConflict,
                    store.append(ID, *chain_onto(stale, count, "s")),
                )
                _expect_conflict(raised, expected=stale, found=log[-1].head)
        await store.append(ID, next_record(log[-1].head))


@conformance_check
async def check_gap_writes_nothing(make_store: MakeStore) -> None:
    """An append with the head's hash but another position, or the position but another hash, raises HeadConflict."""
    log = new_log(3)
    head = log[-1].head
    async with make_store() as store:
        await store.create_session(ID, log)
        for wrong in (Head(head.seq + 1, head.hash), Head(head.seq - 1, head.hash), Head(head.seq, log[0].hash)):
            raised = await _refused_and_unchanged(
                f"an append that expects head {wrong}", store, log, HeadConflict, store.append(ID, next_record(wrong))
            )
            _expect_conflict(raised, expected=wrong, found=head)


@conformance_check
async def check_second_first_record_writes_nothing(make_store: MakeStore) -> None:
    """An append of a first record to a session that holds records raises HeadConflict, and writes nothing."""
    log = new_log(2)
    async with make_store() as store:
        await store.create_session(ID, log)
        for again in (log[0], first_record(text="another")):
            raised = await _refused_and_unchanged(
                "an append of a first record", store, log, HeadConflict, store.append(ID, again)
            )
            _expect_conflict(raised, expected=None, found=log[-1].head)


def _expect_conflict(raised: Exception, *, expected: Head | None, found: Head | None) -> None:
    expect("HeadConflict.session_id", getattr(raised, "session_id", None), ID)
    expect("HeadConflict.expected", getattr(raised, "expected", None), expected)
    expect("HeadConflict.found", getattr(raised, "found", None), found)


@conformance_check
async def check_broken_batch_writes_nothing(make_store: MakeStore) -> None:
    """A batch whose records do not chain onto each other raises InvalidEntry, and writes nothing."""
    log = new_log(2)
    one, two, three = chain_onto(log[-1].head, 3)
    elsewhere = link(Head(one.seq, log[0].hash), Extension(ts=0, domain="conformance", payload="another hash"))
    async with make_store() as store:
        await store.create_session(ID, log)
        for batch in ((one, three), (one, one), (two, one), (one, elsewhere), (one, two, log[0]), (one, two, two)):
            await _refused_and_unchanged(
                f"a batch of records {[record.seq for record in batch]} that does not chain",
                store,
                log,
                InvalidEntry,
                store.append(ID, *batch),
            )
        new = new_log(3, OTHER_ID)
        await refused("create_session with a gap", InvalidEntry, store.create_session(OTHER_ID, [new[0], new[2]]))
        await expect_absent("after create_session with a gap", store, OTHER_ID)


@conformance_check
async def check_foreign_first_record_writes_nothing(make_store: MakeStore) -> None:
    """A first record that binds another session raises InvalidEntry, and makes no session."""
    foreign = new_log(2, OTHER_ID)
    async with make_store() as store:
        await refused("an append of another session's first record", InvalidEntry, store.append(ID, *foreign))
        await refused(
            "create_session with another session's first record", InvalidEntry, store.create_session(ID, foreign)
        )
        await expect_absent("after another session's first record was refused", store, ID)
        await expect_absent("after a first record under another name", store, OTHER_ID)


@conformance_check
async def check_empty_append_is_refused(make_store: MakeStore) -> None:
    """An append of no records raises InvalidEntry; so does creating a session with none, and makes no session."""
    log = new_log(1)
    async with make_store() as store:
        await store.create_session(ID, log)
        await _refused_and_unchanged("an append of nothing", store, log, InvalidEntry, store.append(ID))
        await refused("create_session with nothing", InvalidEntry, store.create_session(OTHER_ID, []))
        await expect_absent("after create_session with nothing", store, OTHER_ID)


@conformance_check
async def check_append_to_missing_session(make_store: MakeStore) -> None:
    """An append behind a head to a session that is not there raises SessionNotFound, and makes none."""
    log = new_log(2)
    async with make_store() as store:
        raised = await refused("an append to a missing session", SessionNotFound, store.append(ID, log[1]))
        expect("SessionNotFound.session_id", raised.session_id, ID)
        await expect_absent("after an append to a missing session", store, ID)


@conformance_check
async def check_missing_session_is_told(make_store: MakeStore) -> None:
    """Every read of a session that is not there raises SessionNotFound, naming it."""
    async with make_store() as store:
        await store.create_session(OTHER_ID, new_log(1, OTHER_ID))
        for name, start in reading_calls(store, ID):
            with within_patience(f"{name} of a missing session"):
                raised = await refused(f"{name} of a missing session", SessionNotFound, start())
                expect(f"SessionNotFound.session_id from {name}", raised.session_id, ID)


@conformance_check
async def check_invalid_ids_are_refused(make_store: MakeStore) -> None:
    """Every method raises InvalidSessionId for what cannot name a session, and the store holds nothing afterwards."""
    async with make_store() as store:
        for text in INVALID_IDS:
            for name, start in all_calls(store, SessionId(text), new_log(1)):
                with within_patience(f"{name} of session {text!r}"):
                    raised = await refused(f"{name} of session {text!r}", InvalidSessionId, start())
                    expect("InvalidSessionId.session_id", raised.session_id, text)
        expect("list_sessions after refused ids", await store.list_sessions(), [])


@conformance_check
async def check_valid_ids_are_distinct(make_store: MakeStore) -> None:
    """Ids are compared byte for byte: those that differ in case only, or hardly, are sessions of their own."""
    ids = [SessionId(text) for text in ("session", "Session", "SESSION", "session-", "session_", "0", "a" * 128, "con")]
    logs = {session_id: new_log(2, session_id) for session_id in ids}
    async with make_store() as store:
        for session_id in ids:
            await expect_absent("before it was made", store, session_id)
            await store.create_session(session_id, logs[session_id][:1])
        for session_id in ids:
            await store.append(session_id, logs[session_id][1])
        for session_id in ids:
            await expect_log(f"session {session_id}", store, session_id, logs[session_id])
        expect("list_sessions", sorted(await store.list_sessions()), sorted(ids))


@conformance_check
async def check_line_limit(make_store: MakeStore) -> None:
    """A record line of exactly ``line_bytes_max`` bytes is taken and read; one byte more is refused, unwritten."""
    log = new_log(1)
    async with make_store() as store:
        await store.create_session(ID, log)
        log.append(record_of_size(log[-1].head, store.line_bytes_max))
        await store.append(ID, log[-1])
        await expect_log("with a record as long as may be", store, ID, log)
        too_long = record_of_size(log[-1].head, store.line_bytes_max + 1)
        await _refused_and_unchanged("a record one byte too long", store, log, InvalidEntry, store.append(ID, too_long))
        short = next_record(log[-1].head)
        batch = [short, record_of_size(short.head, store.line_bytes_max + 1)]
        await _refused_and_unchanged(
            "a batch with a record one byte too long", store, log, InvalidEntry, store.append(ID, *batch)
        )


@conformance_check
async def check_large_records(make_store: MakeStore) -> None:
    """Large records among small ones are kept whole, and the log goes on behind them."""
    log = new_log(2)
    async with make_store() as store:
        await store.create_session(ID, log)
        for size in (LARGE_RECORD_BYTES // 8, LARGE_RECORD_BYTES, LARGE_RECORD_BYTES // 2 - 1):
            large = record_of_size(log[-1].head, min(size, store.line_bytes_max))
            more = [large, next_record(large.head, "behind a large one")]
            await store.append(ID, *more)
            log += more
            expect("read_head behind a large record", await store.read_head(ID), log[-1].head)
        await store.append(ID, tail := next_record(log[-1].head))
        await expect_log("with large records", store, ID, [*log, tail])


@conformance_check
async def check_list_order(make_store: MakeStore) -> None:
    """Sessions are listed each once, last activity first, as finely as the store's clock ticks."""
    ids = [SessionId(text) for text in ("m", "z", "a")]
    heads: dict[str, Head] = {}
    async with make_store() as store:
        for session_id in ids:
            first = first_record(session_id)
            await store.create_session(session_id, [first])
            heads[session_id] = first.head
        expect("list_sessions", sorted(await store.list_sessions()), sorted(ids))
        for session_id in (ids[2], ids[0], ids[1], ids[0]):
            with within_patience(f"session {session_id} first in the list, by appends to it alone"):
                while True:
                    record = next_record(heads[session_id])
                    await store.append(session_id, record)
                    heads[session_id] = record.head
                    if (await store.list_sessions())[0] == session_id:
                        break
            listed = await store.list_sessions()
            if sorted(listed) != sorted(ids):
                fail("list_sessions after appends", expected=f"each of {ids} once", found=listed)
        expect("list_sessions, last activity first", await store.list_sessions(), [ids[0], ids[1], ids[2]])


@conformance_check
async def check_trace_leaves_log_alone(make_store: MakeStore) -> None:
    """Traces take any JSON value, refuse what JSON cannot hold, and change neither logs nor lists."""
    log = new_log(2)
    async with make_store() as store:
        await store.create_session(ID, log)
        for value in ({"delta": "caf\u00e9 \u2028\n"}, [1, 2.5, None, True], "text", None, 0, {}):
            await store.append_trace(ID, value)
        for wrong in (float("nan"), float("inf"), {"a": [float("-inf")]}, "\ud800", {1: 2}, 2**64, object(), b"x"):
            await refused(f"append_trace of {wrong!r}", InvalidEntry, store.append_trace(ID, wrong))
        await expect_log("after traces", store, ID, log)
        missing = store.append_trace(OTHER_ID, {"before": "its session"})
        await refused("append_trace of a session that is not there", SessionNotFound, missing)
        await expect_absent("after a trace that was refused", store, OTHER_ID)
        await store.append(ID, next_record(log[-1].head))
        await store.create_session(OTHER_ID, new_log(1, OTHER_ID))
        await store.append_trace(OTHER_ID, {"after": "its session"})
        await expect_log("with traces", store, OTHER_ID, new_log(1, OTHER_ID))
        expect("list_sessions with traces", sorted(await store.list_sessions()), sorted([ID, OTHER_ID]))


@conformance_check
async def check_order_of_one_task(make_store: MakeStore) -> None:
    """What was appended is in every read that begins afterwards, at once."""
    log = new_log(1)
    async with make_store() as store:
        await store.create_session(ID, log)
        for index in range(40):
            log.append(next_record(log[-1].head, str(index)))
            await store.append(ID, log[-1])
            if index % 2:
                await anyio.lowlevel.checkpoint()
            expect("read_head right after an append", await store.read_head(ID), log[-1].head)
            if index % 8 == 0:
                await expect_log("right after an append", store, ID, log)
