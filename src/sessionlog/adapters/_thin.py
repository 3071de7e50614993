"""What the adapters share: the logs of one framework, folded once and then only forward, for any thread.

A framework's key (a thread, a session) names one log. What the framework keeps stands in ``extension`` records of the
adapter's domain; a fold of these is the framework's view. All store calls run on the event loop of
:mod:`sessionlog.blocking`; callers wait for it, in any thread and on any event loop.
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
    Extension,
    FileStore,
    HeadConflict,
    InvalidEntry,
    SessionNotFound,
    SessionStart,
    SessionStartState,
    Store,
    encode_entry,
)
from ..blocking.portal import portal
from ..ids import SessionId, is_session_id

StateT = TypeVar("StateT")
ResultT = TypeVar("ResultT")

FRAMEWORK_LABEL: Final = "framework"
KEY_LABEL: Final = "key"
KEPT_MAX: Final = 256
"""So many folds are kept; the least recently used goes first."""


class Logs(Generic[StateT]):
    """The logs of one framework in one store. For any thread and any event loop."""

    def __init__(
        self, domain: Domain[StateT], root: str | os.PathLike[str] | None = None, *, store: Store | None = None
    ) -> None:
        """Work on the logs in the directory ``root``, or in ``store``."""
        if (root is None) is (store is None):
            raise TypeError("give either root, the directory of the logs, or store")
        self._domain = domain
        self._root = str(Path(root or "").absolute())
        self._of_store = None if store is None else _Folds(store, domain)

    async def view(self, key: str, look: Callable[[StateT], ResultT]) -> ResultT:
        """Return what ``look`` finds in the state at the head; it must not keep what later changes."""
        return await _arun(self._find().view(key, look))

    async def change(self, key: str, decide: Callable[[StateT], tuple[Iterable[Any], ResultT]]) -> ResultT:
        """Append the payloads that ``decide`` finds for the state at the head, and return its result."""
        return await _arun(self._find().change(key, decide))

    async def delete(self, key: str) -> None:
        """Remove the log, whatever is in it; no error if there is none."""
        await _arun(self._find().delete(key))

    async def keys(self) -> list[str]:
        """Return the framework's keys, last activity first."""
        return await _arun(self._find().keys())

    def _find(self) -> "_Folds[StateT]":
        if self._of_store is not None:
            return self._of_store
        where = (os.getpid(), self._root, self._domain.name)
        with _guard:
            if where not in _folds:
                _folds[where] = _Folds(FileStore(self._root), self._domain)
            found: _Folds[StateT] = _folds[where]
            return found


class _Folds(Generic[StateT]):
    """The logs that are kept folded; on the portal's event loop."""

    def __init__(self, store: Store, domain: Domain[StateT]) -> None:
        self._store = store
        self._domain = domain
        self._kept: OrderedDict[str, DomainLog[StateT]] = OrderedDict()

    async def view(self, key: str, look: Callable[[StateT], ResultT]) -> ResultT:
        return look(await self._log(key).read())

    async def change(self, key: str, decide: Callable[[StateT], tuple[Iterable[Any], ResultT]]) -> ResultT:
        results: list[ResultT] = []

        def payloads(state: StateT) -> Iterable[Any]:
            found, result = decide(state)
            results.append(result)
            return found

        await self._log(key).change(payloads)
        return results[-1]

    async def delete(self, key: str) -> None:
        session_id = session_id_of(key)
        while True:
            try:
                await self._store.delete_session(session_id, await self._store.read_head(session_id))
            except HeadConflict:
                continue
            except SessionNotFound:
                pass
            return

    async def keys(self) -> list[str]:
        return [key for one in await self._store.list_sessions() if (key := await self._key_of(one)) is not None]

    def _log(self, key: str) -> DomainLog[StateT]:
        log = self._kept.get(key)
        if log is None:
            start = SessionStartState(labels={FRAMEWORK_LABEL: self._domain.name, KEY_LABEL: key})
            log = self._kept[key] = DomainLog(self._store, session_id_of(key), self._domain, start=start)
            while len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return log

    async def _key_of(self, session_id: str) -> str | None:
        with suppress(SessionNotFound):
            async with aclosing(self._store.read(session_id)) as records:
                async for record in records:
                    entry = record.entry
                    if isinstance(entry, SessionStart) and entry.labels.get(FRAMEWORK_LABEL) == self._domain.name:
                        return entry.labels.get(KEY_LABEL)
                    return None
        return None


def session_id_of(key: str) -> SessionId:
    """Return the id of the log that keeps ``key``: the key itself if it can name a session, else a hash of it."""
    if is_session_id(key):
        return SessionId(key)
    return SessionId("key-" + hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest())


def keepable(value: Any) -> Any:
    """Return what a log keeps for a JSON value: itself, or an object that holds its JSON text."""
    with suppress(InvalidEntry):
        encode_entry(Extension(ts=0, domain="", payload=[[[[value]]]]))
        if not (isinstance(value, dict) and value.keys() == {"json"}):
            return value
    return {"json": json.dumps(value)}


def restored(kept: Any) -> Any:
    """Return the value that :func:`keepable` was given."""
    if isinstance(kept, dict) and kept.keys() == {"json"}:
        return json.loads(kept["json"])
    return kept


_guard = threading.Lock()
_folds: dict[tuple[int, str, str], _Folds[Any]] = {}


async def _arun(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Await the work on the portal's loop: also if cancelled meanwhile, so that its outcome is known."""
    if portal().is_this_thread:
        return await work
    future = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, portal()._loop))  # noqa: SLF001
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
