"""Checks that cost does not grow with the log: what a stream holds, and what heads and appends read.

Nothing is timed. Memory is what Python's allocator has handed out (``tracemalloc``); what is read is counted by the
store's author, see :data:`ReadCost`.
"""

import tracemalloc
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from functools import partial
from typing import Any, Final

from ...ids import Head, SessionId
from ...store import Store
from ._capabilities import ReadCost
from ._kit import ID, OTHER_ID, MakeStore, conformance_check, expect, fail, first_record, next_record, record_of_size

STREAMED_BYTES: Final = 16 * 1024 * 1024
STREAMED_RECORD_BYTES: Final = 128 * 1024
SMALL_LOG_RECORDS: Final = 128
LARGE_LOG_RECORDS: Final = 8 * SMALL_LOG_RECORDS
_BATCH_RECORDS: Final = 16
_RECORD_BYTES: Final = 1024


@conformance_check
async def check_streams_hold_little(make_store: MakeStore) -> None:
    """While ``read``, ``follow`` or ``read_raw`` streams a log of 16 MiB, no more than half of it is held at once."""
    async with make_store() as store:
        record_bytes = min(STREAMED_RECORD_BYTES, store.line_bytes_max)
        count = STREAMED_BYTES // record_bytes
        await _write_log(store, ID, count, record_bytes)
        log_bytes = len(first_record().line) + 1 + count * record_bytes
        for name, stream in (
            ("read", store.read(ID)),
            ("follow", store.follow(ID)),
            ("read_raw", store.read_raw(ID)),
        ):
            with _counting_held() as held:
                found = await _consume(stream, None if name == "read_raw" else count + 1)
            expect(f"what {name} gave", found, log_bytes if name == "read_raw" else count + 1)
            if held[0] > STREAMED_BYTES // 2:
                fail(
                    f"{name} of a log of {STREAMED_BYTES} bytes: bytes held at once",
                    expected=f"at most {STREAMED_BYTES // 2}",
                    found=held[0],
                )


@conformance_check
async def check_cost_of_head(make_store: MakeStore, read_cost: ReadCost) -> None:
    """What ``read_head`` of a store opened anew reads does not grow with the log."""
    await expect_flat(make_store, read_cost, "read_head", lambda store, session_id, _: store.read_head(session_id))
    await expect_flat(
        make_store, read_cost, "read_head_hash", lambda store, session_id, _: store.read_head_hash(session_id)
    )


@conformance_check
async def check_cost_of_append(make_store: MakeStore, read_cost: ReadCost) -> None:
    """What the first append of a store opened anew reads does not grow with the log."""
    await expect_flat(
        make_store, read_cost, "append", lambda store, session_id, head: store.append(session_id, next_record(head))
    )


Use = Callable[[Store, SessionId, Head], Awaitable[object]]


async def expect_flat(make_store: MakeStore, read_cost: ReadCost, name: str, use: Use) -> None:
    """Fail unless ``use`` reads about as much of a log as of one that is eight times as long."""
    costs: list[int] = []
    whole_costs: list[int] = []
    for session_id, count in ((ID, SMALL_LOG_RECORDS), (OTHER_ID, LARGE_LOG_RECORDS)):
        async with make_store() as store:
            head = await _log_head(store, session_id, count)
        async with make_store() as store:
            costs.append(await _cost(read_cost, partial(use, store, session_id, head)))
        async with make_store() as store:
            whole_costs.append(await _cost(read_cost, partial(store.read_all, session_id)))
    small, large = whole_costs
    if not 0 < small * 4 < large:
        fail("read_cost of reading a whole log, and one 8 times as long", expected="8 times as much", found=whole_costs)
    if costs[1] > 2 * costs[0] + small // 2:
        fail(
            f"what {name} reads of a log of {SMALL_LOG_RECORDS} records, and of {LARGE_LOG_RECORDS}",
            expected="about the same",
            found=costs,
        )


async def _cost(read_cost: ReadCost, call: Callable[[], Awaitable[object]]) -> int:
    before = read_cost()
    await call()
    return read_cost() - before


async def _log_head(store: Store, session_id: SessionId, count: int) -> Head:
    """Return the head of the session, which is written if it is not there."""
    if not await store.exists(session_id):
        await _write_log(store, session_id, count, _RECORD_BYTES)
    head = await store.read_head(session_id)
    if head is None:
        fail("the head of a session with records", expected="a head", found=None)
    return head


async def _write_log(store: Store, session_id: SessionId, count: int, record_bytes: int) -> None:
    """Write a first record, and ``count`` of ``record_bytes`` with their LF behind it; hold few of them at a time."""
    first = first_record(session_id)
    await store.create_session(session_id, [first])
    head = first.head
    for start in range(0, count, _BATCH_RECORDS):
        batch = []
        for _ in range(min(_BATCH_RECORDS, count - start)):
            batch.append(record_of_size(head, record_bytes - 1))
            head = batch[-1].head
        await store.append(session_id, *batch)


async def _consume(stream: AsyncGenerator[Any, None], count: int | None) -> int:
    """Take ``count`` things from ``stream`` and return how many came; ``None``: all, and their bytes."""
    found = 0
    async with aclosing(stream):
        async for one in stream:
            found += len(one) if count is None else 1
            if found == count:
                break
    return found


@contextmanager
def _counting_held() -> Iterator[list[int]]:
    """Count, into a list of one number, the bytes that were held at once in the block beyond those before it."""
    held: list[int] = []
    tracing = tracemalloc.is_tracing()
    if not tracing:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        yield held
        _, peak = tracemalloc.get_traced_memory()
        held.append(peak - before)
    finally:
        if not tracing:
            tracemalloc.stop()
