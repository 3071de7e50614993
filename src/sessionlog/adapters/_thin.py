"""What the adapters share: the logs of one framework, folded once and then only forward, for any thread.

A framework's key (a thread, a session) names one log. What the framework keeps stands in ``extension`` records of the
adapter's domain; a fold of these is the framework's view. All store calls run on one event loop in one thread; callers
wait for it, in any thread and on any event loop.
"""

import asyncio
import hashlib
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from .. import (
    Domain,
    DomainLog,
    EntryNotFound,
    Extension,
    FileStore,
    HeadConflict,
    InvalidEntry,
    SessionNotFound,
    SessionStart,
    SessionStartState,
    Store,
    encode_entry,
    open_or_create_session,
)
from ..ids import is_session_id

S = TypeVar("S")
T = TypeVar("T")

FRAMEWORK_LABEL: Final = "framework"
KEY_LABEL: Final = "key"
KEPT_MAX: Final = 1024
"""So many folds are kept; the least recently used goes first."""


class Logs(Generic[S]):
    """The logs of one framework in one store. Its methods run on the store's event loop."""

    def __init__(self, store: Store, domain: Domain[S]) -> None:
        self.store = store
        self._domain = domain
        self._kept: OrderedDict[str, DomainLog[S]] = OrderedDict()

    def log(self, key: str) -> DomainLog[S]:
        """Return the log of ``key``, which need not be there yet."""
        log = self._kept.get(key)
        if log is None:
            start = SessionStartState(labels=self._labels(key))
            log = self._kept[key] = DomainLog(self.store, session_id_of(key), self._domain, start=start)
            while len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        return log

    async def view(self, key: str, look: Callable[[S], T]) -> T:
        """Return what ``look`` finds in the state at the head; it must not keep what later changes."""
        return look(await self.log(key).read())

    async def change(self, key: str, decide: Callable[[S], tuple[Iterable[Any], T]]) -> T:
        """Append the payloads that ``decide`` finds for the state at the head, and return its result."""
        results: list[T] = []

        def payloads(state: S) -> Iterable[Any]:
            found, result = decide(state)
            results.append(result)
            return found

        await self.log(key).change(payloads)
        return results[-1]

    async def follow(self, key: str, notify: Callable[[], None]) -> None:
        """Call ``notify`` at every record that is appended from now on, until cancelled; make the log if need be."""
        log = self.log(key)
        start = SessionStartState(labels=self._labels(key))
        while True:
            position = (await open_or_create_session(self.store, log.session_id, start)).position
            with suppress(SessionNotFound, EntryNotFound):  # deleted meanwhile: follow the next one
                notify()
                async with aclosing(self.store.follow(log.session_id, after=position)) as records:
                    async for _ in records:
                        notify()

    async def delete(self, key: str) -> None:
        """Remove the log, whatever is in it; no error if there is none."""
        session_id = session_id_of(key)
        while True:
            try:
                await self.store.delete_session(session_id, await self.store.read_head(session_id))
            except HeadConflict:
                continue
            except SessionNotFound:
                pass
            return

    async def keys(self) -> list[str]:
        """Return the framework's keys, last activity first."""
        return [key for one in await self.store.list_sessions() if (key := await self._key_of(one)) is not None]

    def _labels(self, key: str) -> dict[str, str]:
        return {FRAMEWORK_LABEL: self._domain.name, KEY_LABEL: key}

    async def _key_of(self, session_id: str) -> str | None:
        with suppress(SessionNotFound):
            async with aclosing(self.store.read(session_id)) as records:
                async for record in records:
                    entry = record.entry
                    if isinstance(entry, SessionStart) and entry.labels.get(FRAMEWORK_LABEL) == self._domain.name:
                        return entry.labels.get(KEY_LABEL)
                    return None
        return None


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

    def follow(self, key: str, notify: Callable[[], None]) -> Callable[[], object]:
        """Call ``notify``, on the logs' thread, whenever something was appended; return what ends that."""
        return asyncio.run_coroutine_threadsafe(self.logs.follow(key, notify), _loop()).cancel


def _loop() -> asyncio.AbstractEventLoop:
    with _guard:
        thread = _threads.get(os.getpid())
        if thread is None:
            thread = _threads[os.getpid()] = _Thread()
        return thread.loop
