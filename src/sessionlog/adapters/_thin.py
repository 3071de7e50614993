"""What the adapters share: the logs of one framework, folded once and then only forward, for any thread.

A framework's key (a thread, a session) names one log. What the framework keeps stands in ``extension`` records of the
adapter's domain; a fold of these is the framework's view. All store calls run on one event loop in one thread; callers
wait for it, in any thread and on any event loop.
"""

import asyncio
import base64
import hashlib
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import anyio

from .. import (
    EntryNotFound,
    Extension,
    FileStore,
    HashedEntry,
    HeadConflict,
    InvalidEntry,
    LogEntry,
    Position,
    SessionLogError,
    SessionNotFound,
    SessionStart,
    SessionStartState,
    Store,
    encode_entry,
    link,
    now_ms,
)
from ..ids import is_session_id
from ..session.start import start_entry

S = TypeVar("S")
T = TypeVar("T")

FRAMEWORK_LABEL: Final = "framework"
KEY_LABEL: Final = "key"
KEPT_MAX: Final = 1024
"""So many folds are kept; the least recently used goes first."""
ATTEMPTS_MAX: Final = 100


class Contended(SessionLogError):
    """Other writers came first, time and again; nothing was written. Try again later."""


class Domain(Generic[S]):
    """A framework's records: their domain, the state before the first of them, and how one changes it in place."""

    def __init__(self, name: str, begin: Callable[[], S], apply: Callable[[S, Any], S]) -> None:
        self.name = name
        self.begin = begin
        self.apply = apply


class _Kept(Generic[S]):
    """The fold of one log, up to a position."""

    def __init__(self, state: S) -> None:
        self.lock = anyio.Lock()
        self.state = state
        self.position: Position | None = None


class Logs(Generic[S]):
    """The logs of one framework in one store. Its methods run on the store's event loop."""

    def __init__(self, store: Store, domain: Domain[S]) -> None:
        self.store = store
        self._domain = domain
        self._kept: OrderedDict[str, _Kept[S]] = OrderedDict()

    async def view(self, key: str, look: Callable[[S], T]) -> T:
        """Return what ``look`` finds in the state at the head; it must not keep what later changes."""
        session_id = session_id_of(key)
        kept = self._keep(session_id)
        async with kept.lock:
            await self._read_on(session_id, kept)
            return look(kept.state)

    async def change(self, key: str, decide: Callable[[S], tuple[Sequence[Any], T]]) -> T:
        """Append the payloads that ``decide`` finds for the state at the head, and return its result.

        Decided anew if another writer came first. Raises :class:`Contended` when that happens without end.
        """
        session_id = session_id_of(key)
        kept = self._keep(session_id)
        async with kept.lock:
            at_head = kept.position is None
            if at_head:
                await self._read_on(session_id, kept)
            for _ in range(ATTEMPTS_MAX):
                payloads, result = decide(kept.state)
                if payloads:
                    try:
                        await self._append(session_id, key, kept, payloads)
                    except (HeadConflict, SessionNotFound):
                        pass
                    else:
                        return result
                elif at_head:
                    return result
                await self._read_on(session_id, kept)
                at_head = True
        raise Contended(f"{session_id}: {ATTEMPTS_MAX} attempts met another writer")

    async def delete(self, key: str) -> None:
        """Remove the log, whatever is in it; no error if there is none."""
        session_id = session_id_of(key)
        kept = self._keep(session_id)
        async with kept.lock:
            while True:
                try:
                    await self.store.delete_session(session_id, await self.store.read_head(session_id))
                except HeadConflict:
                    continue
                except SessionNotFound:
                    pass
                kept.state, kept.position = self._domain.begin(), None
                return

    async def keys(self) -> list[str]:
        """Return the framework's keys, last activity first."""
        found = []
        for session_id in await self.store.list_sessions():
            key = await self._key_of(session_id)
            if key is not None:
                found.append(key)
        return found

    async def _key_of(self, session_id: str) -> str | None:
        try:
            async with aclosing(self.store.read(session_id)) as records:
                async for record in records:
                    entry = record.entry
                    if isinstance(entry, SessionStart) and entry.labels.get(FRAMEWORK_LABEL) == self._domain.name:
                        return entry.labels.get(KEY_LABEL)
                    return None
        except SessionNotFound:
            pass
        return None

    def _keep(self, session_id: str) -> _Kept[S]:
        kept = self._kept.get(session_id)
        if kept is None:
            kept = self._kept[session_id] = _Kept(self._domain.begin())
            while len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(session_id)
        return kept

    async def _read_on(self, session_id: str, kept: _Kept[S]) -> None:
        try:
            if kept.position is None or await self.store.read_position(session_id) != kept.position:
                await self._fold(session_id, kept)
        except (EntryNotFound, SessionNotFound):  # cut, deleted or made anew: what was folded is void
            kept.state, kept.position = self._domain.begin(), None
            with suppress(SessionNotFound):
                await self._fold(session_id, kept)

    async def _fold(self, session_id: str, kept: _Kept[S]) -> None:
        async with aclosing(self.store.read(session_id, after=kept.position)) as records:
            async for record in records:
                self._take(kept, record)

    def _take(self, kept: _Kept[S], record: HashedEntry) -> None:
        entry = record.entry
        if isinstance(entry, Extension) and entry.domain == self._domain.name:
            kept.state = self._domain.apply(kept.state, entry.payload)
        end = 0 if kept.position is None else kept.position.end
        kept.position = Position(record.seq, record.hash, end + len(record.line) + 1)

    async def _append(self, session_id: str, key: str, kept: _Kept[S], payloads: Sequence[Any]) -> None:
        ts = now_ms()
        entries: list[LogEntry] = [Extension(ts=ts, domain=self._domain.name, payload=payload) for payload in payloads]
        if kept.position is None:
            labels = {FRAMEWORK_LABEL: self._domain.name, KEY_LABEL: key}
            entries.insert(0, start_entry(session_id, SessionStartState(labels=labels), ts=ts))
        head = None if kept.position is None else kept.position.head
        records = []
        for entry in entries:
            records.append(link(head, entry, line_bytes_max=self.store.line_bytes_max))
            head = records[-1].head
        await self.store.append(session_id, *records)
        for record in records:
            self._take(kept, record)


def session_id_of(key: str) -> str:
    """Return the id of the log that keeps ``key``: the key itself if it can name a session, else a hash of it."""
    if is_session_id(key):
        return key
    return "key-" + hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()


def kept_json(text: str) -> Any:
    """Return what a log holds for a JSON object: the object, or its JSON as a string if a log refuses it."""
    value = json.loads(text)
    try:
        encode_entry(Extension(ts=0, domain="", payload=[[value]]))
    except InvalidEntry:
        return text
    return value


def packed(data: bytes) -> str:
    """Return bytes as a log holds them."""
    return base64.b64encode(data).decode("ascii")


def unpacked(text: str) -> bytes:
    """Return the bytes that :func:`packed` was given."""
    return base64.b64decode(text)


class _Thread:
    """One event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="sessionlog", daemon=True).start()


_guard = threading.Lock()
_threads: dict[int, _Thread] = {}
_logs: dict[tuple[int, str, str], Logs[Any]] = {}


class Access(Generic[S]):
    """A framework's logs for any thread (:meth:`call`) and any event loop (:meth:`acall`)."""

    def __init__(self, domain: Domain[S], root: str | os.PathLike[str] | None, store: Store | None) -> None:
        if (root is None) is (store is None):
            raise TypeError("give either root, the directory of the logs, or store")
        self._domain = domain
        self._root = str(Path(root or "").absolute())
        self._of_store = None if store is None else Logs(store, domain)

    @property
    def logs(self) -> Logs[S]:
        if self._of_store is not None:
            return self._of_store
        where = (os.getpid(), self._root, self._domain.name)
        with _guard:
            if where not in _logs:
                _logs[where] = Logs(FileStore(self._root), self._domain)
            return _logs[where]

    def call(self, work: Callable[[Logs[S]], Coroutine[Any, Any, T]]) -> T:
        """Do the work and wait for its result."""
        return asyncio.run_coroutine_threadsafe(work(self.logs), _loop()).result()

    async def acall(self, work: Callable[[Logs[S]], Coroutine[Any, Any, T]]) -> T:
        """Do the work and await its result: also if cancelled meanwhile, so that its outcome is known."""
        future = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work(self.logs), _loop()))
        cancelled: asyncio.CancelledError | None = None
        while not future.done():
            try:
                await asyncio.wait({future})
            except asyncio.CancelledError as error:
                cancelled = cancelled or error
        if cancelled is not None:
            future.exception()
            raise cancelled
        return future.result()


def _loop() -> asyncio.AbstractEventLoop:
    with _guard:
        thread = _threads.get(os.getpid())
        if thread is None:
            thread = _threads[os.getpid()] = _Thread()
        return thread.loop
