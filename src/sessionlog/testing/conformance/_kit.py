"""What the checks share: what a store is made by, records to put in, and ways to say what was expected and found."""

import functools
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager
from typing import Any, Final, NamedTuple, NoReturn, ParamSpec, TypeAlias, TypeVar

import anyio

from ...chain import link
from ...entries import FORMAT, Extension, RequestConfig, SessionStart
from ...errors import CorruptLog
from ...ids import Head, SessionId
from ...record import HashedEntry
from ...store import Store

MakeStore: TypeAlias = Callable[[], AbstractAsyncContextManager[Store]]
"""Makes a store, to be entered with ``async with``. Bound to one place, empty when a check begins."""

PATIENCE_S: float = 60.0
"""After so many seconds without what must happen, a check fails. Good stores never make a check wait for it."""
CHECK_PATIENCE: Final = 4
"""So many times longer may a whole check take."""

ID: Final = SessionId("conformance")
OTHER_ID: Final = SessionId("conformance-2")

_P = ParamSpec("_P")
_T = TypeVar("_T")
_E = TypeVar("_E", bound=Exception)


def conformance_check(
    check: Callable[_P, Coroutine[Any, Any, None]],
) -> Callable[_P, Coroutine[Any, Any, None]]:
    """Make ``check`` raise ``AssertionError`` and no other error, whatever the store raises and from which task."""

    @functools.wraps(check)
    async def checked(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            with within_patience(check.__name__, CHECK_PATIENCE):
                await check(*args, **kwargs)
        except AssertionError:
            raise
        except Exception as error:
            cause: Exception = error
            while isinstance(cause, ExceptionGroup):
                cause = cause.exceptions[0]
            told = isinstance(cause, AssertionError)
            message = str(cause) if told else f"{check.__name__}: expected no error here, found {cause!r}"
            raise AssertionError(message) from error

    return checked


def fail(what: str, *, expected: object, found: object) -> NoReturn:
    """Raise ``AssertionError``. Not an ``assert``: those vanish under ``python -O``."""
    raise AssertionError(f"{what}: expected {_shown(expected)}, found {_shown(found)}")


def expect(what: str, found: object, expected: object) -> None:
    """Fail unless ``found`` equals ``expected``."""
    if found != expected:
        fail(what, expected=expected, found=found)


def expect_records(what: str, found: Sequence[HashedEntry], expected: Sequence[HashedEntry]) -> None:
    """Fail unless ``found`` are the very bytes of ``expected``, with the fields that those bytes say."""
    seqs = [record.seq for record in found]
    expect(f"{what}: the records' positions", seqs, [record.seq for record in expected])
    for one, other in zip(found, expected, strict=True):
        expect(f"{what}: the bytes of record {other.seq}", one.line, other.line)
        expect(f"{what}: the hash of record {other.seq}", one.hash, other.hash)
        expect(f"{what}: the prev_hash of record {other.seq}", one.prev_hash, other.prev_hash)


async def refused(what: str, error: type[_E], call: Awaitable[object]) -> _E:
    """Fail unless ``call`` raises ``error``; return it."""
    try:
        result = await call
    except error as raised:
        return raised
    except Exception as raised:
        message = f"{what}: expected {error.__name__}, found {raised!r}"
        raise AssertionError(message) from raised
    fail(what, expected=error.__name__, found=f"no error but {_shown(result)}")


async def refused_as_corrupt(what: str, lines: Sequence[bytes], call: Awaitable[object]) -> CorruptLog:
    """Fail unless ``call`` raises ``CorruptLog``, with the true offset or none; return it.

    ``lines`` is the damaged log. A read that begins behind its start may not know the offset, but then it tells none.
    """
    raised = await refused(what, CorruptLog, call)
    if raised.offset is not None:
        expect_offset(what, raised, lines)
    return raised


def expect_offset(what: str, raised: CorruptLog, lines: Sequence[bytes]) -> None:
    """Fail unless ``raised.offset`` is where the line of the record that it names starts in the log of ``lines``."""
    starts = sum(len(line) + 1 for line in lines[: raised.seq])
    expect(f"{what}: CorruptLog.offset, of record {raised.seq}", raised.offset, starts)


@contextmanager
def within_patience(what: str, times: int = 1) -> Iterator[None]:
    """Fail when the block takes longer than ``PATIENCE_S``, so many times: what must happen does not."""
    with anyio.move_on_after(PATIENCE_S * times) as scope:
        yield
    if scope.cancelled_caught:
        raise AssertionError(f"{what}: expected it soon, found that it did not happen in {PATIENCE_S * times:g} s")


def first_record(session_id: str = ID, text: str = "") -> HashedEntry:
    """Return a record that starts the session."""
    start = SessionStart(
        ts=0, format=FORMAT, session_id=session_id, system_prompt=text or None, config=RequestConfig(), history=[]
    )
    return link(None, start)


def next_record(head: Head, text: str = "") -> HashedEntry:
    """Return a record that chains onto ``head``."""
    return link(head, Extension(ts=0, domain="conformance", payload=text))


def chain_onto(head: Head, count: int, text: str = "") -> list[HashedEntry]:
    """Return ``count`` records, the first chained onto ``head``."""
    records: list[HashedEntry] = []
    for index in range(count):
        records.append(next_record(records[-1].head if records else head, f"{text}{index}"))
    return records


def new_log(count: int, session_id: str = ID) -> list[HashedEntry]:
    """Return a log of ``count`` records."""
    first = first_record(session_id)
    return [first, *chain_onto(first.head, count - 1)]


def record_of_size(head: Head, line_bytes: int) -> HashedEntry:
    """Return a record whose line is ``line_bytes`` long."""
    empty = next_record(head)
    return link(
        head,
        Extension(ts=0, domain="conformance", payload="x" * (line_bytes - len(empty.line))),
        line_bytes_max=line_bytes,
    )


async def collect(stream: AsyncGenerator[_T, None]) -> list[_T]:
    """Return all that ``stream`` gives."""
    async with aclosing(stream):
        return [one async for one in stream]


async def take(stream: AsyncGenerator[_T, None], count: int) -> list[_T]:
    """Return the first ``count`` that ``stream`` gives, and close it."""
    taken: list[_T] = []
    async with aclosing(stream):
        if count:
            async for one in stream:
                taken.append(one)
                if len(taken) == count:
                    break
    return taken


async def raw_bytes(store: Store, session_id: str) -> bytes:
    """Return the log's bytes."""
    return b"".join(await collect(store.read_raw(session_id)))


def as_bytes(records: Sequence[HashedEntry]) -> bytes:
    """Return the bytes of a log of these records."""
    return b"".join(record.line + b"\n" for record in records)


async def expect_log(what: str, store: Store, session_id: str, records: Sequence[HashedEntry]) -> None:
    """Fail unless every read of the session agrees that its log is ``records``."""
    expect_records(f"{what}: read_all", await store.read_all(session_id), records)
    expect_records(f"{what}: read", await collect(store.read(session_id)), records)
    expect(f"{what}: read_raw", await raw_bytes(store, session_id), as_bytes(records))
    expect(f"{what}: read_head", await store.read_head(session_id), records[-1].head)
    expect(f"{what}: read_head_hash", await store.read_head_hash(session_id), records[-1].hash)
    expect(f"{what}: exists", await store.exists(session_id), expected=True)
    expect(f"{what}: listed", session_id in await store.list_sessions(), expected=True)


async def expect_absent(what: str, store: Store, session_id: str) -> None:
    """Fail if there is anything of the session."""
    expect(f"{what}: exists", await store.exists(session_id), expected=False)
    expect(f"{what}: listed", session_id in await store.list_sessions(), expected=False)


class Call(NamedTuple):
    """One method of a store, ready to be called."""

    name: str
    start: Callable[[], Awaitable[object]]


def reading_calls(store: Store, session_id: str) -> list[Call]:
    """Return every read that needs the session to be there."""
    return [
        Call("read_all", lambda: store.read_all(session_id)),
        Call("read", lambda: collect(store.read(session_id))),
        Call("follow", lambda: take(store.follow(session_id), 1)),
        Call("read_head", lambda: store.read_head(session_id)),
        Call("read_head_hash", lambda: store.read_head_hash(session_id)),
        Call("read_position", lambda: store.read_position(session_id)),
        Call("read_tail", lambda: store.read_tail(session_id, 2)),
        Call("read_raw", lambda: collect(store.read_raw(session_id))),
    ]


def all_calls(store: Store, session_id: str, records: Sequence[HashedEntry]) -> list[Call]:
    """Return every method that takes a session id; ``records`` is a log to write."""
    return [
        Call("create_session", lambda: store.create_session(session_id, records)),
        Call("append", lambda: store.append(session_id, *records)),
        Call("append_trace", lambda: store.append_trace(session_id, {"a": 1})),
        Call("delete_session", lambda: store.delete_session(session_id, records[-1].head)),
        Call("exists", lambda: store.exists(session_id)),
        *reading_calls(store, session_id),
    ]


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 300 else f"{text[:200]}… ({len(text)} characters) …{text[-60:]}"
