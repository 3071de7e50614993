"""What the adapters share. This is the guide for whoever writes one.

A framework's key (a thread, a session) names one log. What the framework keeps stands in ``extension`` records of the
adapter's domain, and a fold of these is the framework's view. An adapter is four things:

1. **A domain**: ``Domain("my_framework", begin, apply)``. ``apply`` folds one record in and may change the state in
   place. Payloads are the framework's own, with an ``op`` member that says what was done; they stay readable for all
   later versions, so ``apply`` passes over what it does not know. With ``opening`` (the payloads that a new log begins
   with to have this state), a fork or a compaction takes the domain along.
2. **The logs**: ``Logs(domain, root, store=store)``. :meth:`Logs.view` looks at the state at the head of a key's log,
   :meth:`Logs.change` decides on it and appends, in one step. The log is made by the first change. :meth:`Logs.delete`
   takes it off the disk.
3. **The framework's class**, whose methods call these. From a coroutine: ``await logs.view(…)``. From synchronous code,
   in any thread: ``blocking.run(logs.view, …)``; a class with both kinds of methods writes the async ones, and
   ``blocking.run(self.aget, …)`` for the others.
4. **How its payloads read**: an entry in :mod:`sessionlog.readings`, so that ``log``, ``search`` and ``stats`` show a
   conversation. That part does not import the framework.

::

    def apply(state: list[Any], record: DomainRecord) -> list[Any]:
        match record.payload:
            case {"op": "add", "items": items}:
                state.extend(items)
            case {"op": "pop"}:
                state.pop()
        return state


    logs = Logs(Domain("my_framework", list[Any], apply), root)
    await logs.change(key, lambda state: ([{"op": "add", "items": [keepable(item)]}], None))
    popped = await logs.change(key, lambda state: ([{"op": "pop"}], state[-1]) if state else ([], None))
    items = await logs.view(key, lambda state: [restored(item) for item in state[-20:]])

**What holds of it.** All calls run on the one event loop of :mod:`sessionlog.blocking`, so callers may be in any thread
and on any event loop; ``look``, ``decide`` and ``apply`` run there, too: let them be quick, and let them return nothing
that a later record changes (a copy of a list, not the list). Any number of objects and processes may work on one
directory: what is appended was decided for the very state that it meets. A log that was deleted or made anew is
noticed. Cancelled or interrupted, a call ends when it is known whether its records are in.

**Ids and keys.** A key that can name a session names its log; any other is hashed, unless ``id_of`` says otherwise: for
keys of several parts, ids that begin alike let :meth:`Logs.keys` list those of one part. The log's first record carries
the labels ``framework`` (the domain) and ``key``, so :meth:`Logs.keys` lists what there is. A log without that label is
not the framework's: every call on it raises :class:`ForeignLog`, for to delete it would delete another's records.
"""

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import aclosing
from typing import Any, Final, Generic, TypeVar

from ..blocking import Store as BlockingStore
from ..blocking import arun
from ..entries import SessionStart
from ..errors import HeadConflict, SessionContended, SessionLogError, SessionNotFound
from ..ids import SessionId, is_session_id
from ..record import HashedEntry
from ..session import Domain, DomainLog, DomainRecord, SessionStartState, delete
from ..store import Store
from ..stores.file import FileStore
from ..stores.opening import open_store
from .json_values import keepable, restored

StateT = TypeVar("StateT")
ResultT = TypeVar("ResultT")

FRAMEWORK_LABEL: Final = "framework"
KEY_LABEL: Final = "key"
FOLDS_MAX: Final = 256
"""So many logs of one framework in one store are kept folded; the least recently used is dropped first."""
KEYS_MAX: Final = 65_536
"""So many first records are remembered for :meth:`Logs.keys`."""
DELETE_ATTEMPTS_MAX: Final = 100
KEY_HASH_BYTES: Final = 20


class ForeignLog(SessionLogError):
    """The log that the key names is not of this framework; nothing was read or written."""

    def __init__(self, session_id: str, framework: str) -> None:
        """Keep the log's id, and for which framework it was asked for."""
        self.session_id = session_id
        self.framework = framework
        super().__init__(
            f"session {session_id} in this store was not made by the adapter for {framework}: give the framework "
            "a directory of its own, or another key"
        )


class Logs(Generic[StateT]):
    """The logs of one framework in one store. For any thread and any event loop."""

    def __init__(
        self,
        domain: Domain[StateT],
        root: str | os.PathLike[str] | None = None,
        *,
        store: Store | BlockingStore | None = None,
        id_of: Callable[[str], SessionId] | None = None,
    ) -> None:
        """Work on the logs of ``domain`` in a directory or a store; nothing is touched before the first call.

        Objects with one ``root`` share a store and the folds that are kept.

        Args:
            domain: What the framework's records add up to.
            root: The directory, or what else :func:`sessionlog.open_store` takes. ``"memory:"`` is one store for the
                whole process.
            store: A store instead. One that runs on another event loop already raises :class:`WrongEventLoop`; one of
                :mod:`sessionlog.blocking` can be shared with the program.
            id_of: Which log keeps a key; :func:`session_id_of` by default. One for each domain.

        Raises:
            TypeError: Neither or both of ``root`` and ``store`` are given.
            UnknownStore: ``root`` names no store.
        """
        if (root is None) is (store is None):
            raise TypeError("give either root, the directory of the logs, or store")
        self._domain = domain
        self._where = "" if root is None else _place(root)
        given = store.asynchronous if isinstance(store, BlockingStore) else store
        self._id_of = session_id_of if id_of is None else id_of
        self._of_store = None if given is None else _Folds(given, domain, self._id_of)

    async def view(self, key: str, look: Callable[[StateT], ResultT]) -> ResultT:
        """Return what ``look`` finds in the state at the head; the state before the first record if there is no log.

        Raises as :meth:`DomainLog.read`, and :class:`ForeignLog`.
        """
        return await arun(self._folds.view, key, look)

    async def change(self, key: str, decide: Callable[[StateT], tuple[Iterable[Any], ResultT]]) -> ResultT:
        """Append the payloads that ``decide`` finds for the state at the head, and return its result.

        ``decide`` is pure: asked again if another writer came first. Makes the log if it is not there and there is
        something to append. Raises as :meth:`DomainLog.change`, and :class:`ForeignLog`.
        """
        return await arun(self._folds.change, key, decide)

    async def delete(
        self, key: str, *, check: Callable[[StateT], None] | None = None, reason: str | None = None
    ) -> None:
        """Delete the key's log, whatever is appended meanwhile, so that its content is off the disk; none is no error.

        Args:
            key: The key.
            check: Raises if the log is not to be deleted. What is deleted has the very state that it was asked about;
                it is asked again if another writer came first, and also if there is no log.
            reason: For the receipt.

        Raises as :func:`sessionlog.delete`, :class:`ForeignLog`, and :class:`SessionContended` where the appends of
        others never end.
        """
        await arun(self._folds.delete, key, check, reason)

    async def keys(self, id_prefix: str = "") -> list[str]:
        """Return the keys that have a log, last activity first. Of each log, the first record is read, once.

        Args:
            id_prefix: How the ids of the logs begin; other logs are not looked at.
        """
        return await arun(self._folds.keys, id_prefix)

    async def replay(
        self, key: str, begin: Callable[[], ResultT], apply: Callable[[ResultT, DomainRecord], ResultT]
    ) -> ResultT:
        """Fold the key's log anew, by another fold that is not kept: for content that no state should hold in memory.

        The payloads belong to the caller. Returns ``begin()`` if there is no log. Raises as :meth:`view`.
        """
        return await arun(self._folds.replay, key, begin, apply)

    async def last(self, key: str) -> DomainRecord | None:
        """Return the last record of the domain, at the cost of reading one record if nothing else was appended since.

        Raises as :meth:`view`.
        """
        return await arun(self._folds.last, key)

    @property
    def _folds(self) -> "_Folds[StateT]":
        return _shared(self._where, self._domain, self._id_of) if self._of_store is None else self._of_store


class _Folds(Generic[StateT]):
    """The logs that are kept folded; on the portal's event loop."""

    def __init__(self, store: Store, domain: Domain[StateT], id_of: Callable[[str], SessionId]) -> None:
        self._store = store
        self._id_of = id_of
        self._domain = _OwnDomain(domain.name, domain.begin, domain.apply, domain.opening)
        self._logs: OrderedDict[str, DomainLog[StateT]] = OrderedDict()
        self._keys: OrderedDict[str, str | None] = OrderedDict()

    async def view(self, key: str, look: Callable[[StateT], ResultT]) -> ResultT:
        return look(await self._log(key).read())

    async def change(self, key: str, decide: Callable[[StateT], tuple[Iterable[Any], ResultT]]) -> ResultT:
        results: list[ResultT] = []

        def decide_again(state: StateT) -> Iterable[Any]:
            payloads, result = decide(state)
            results[:] = [result]
            return payloads

        await self._log(key).change(decide_again)
        return results[0]

    async def delete(self, key: str, check: Callable[[StateT], None] | None, reason: str | None) -> None:
        log = self._log(key)
        for _ in range(DELETE_ATTEMPTS_MAX):
            state = await log.read()  # raises if the log is not ours
            expected = None
            if check is not None:
                check(state)
                expected = log.head
                if expected is None:
                    return
            try:
                await delete(self._store, log.session_id, expected=expected, reason=reason)
            except HeadConflict:
                continue
            except SessionNotFound:
                pass
            return
        raise SessionContended(log.session_id, attempts=DELETE_ATTEMPTS_MAX)

    async def keys(self, id_prefix: str) -> list[str]:
        found: list[str] = []
        for session_id in await self._store.list_sessions():
            key = await self._key_of(session_id) if session_id.startswith(id_prefix) else None
            if key is not None:
                found.append(key)
        return found

    async def replay(
        self, key: str, begin: Callable[[], ResultT], apply: Callable[[ResultT, DomainRecord], ResultT]
    ) -> ResultT:
        domain = _OwnDomain(self._domain.name, begin, apply)
        state = begin()
        try:
            async with aclosing(self._store.read(self._id_of(key))) as records:
                async for record in records:
                    state = domain.fold(state, _decoded_anew(record))
        except SessionNotFound:
            return begin()
        return state

    async def last(self, key: str) -> DomainRecord | None:
        try:
            records = await self._store.read_tail(self._id_of(key), 1)
        except SessionNotFound:
            return None
        found: DomainRecord | None = None
        for record in records:
            found = Domain(self._domain.name, _no_record, _newer).fold(None, _decoded_anew(record))
        return await self.replay(key, _no_record, _newer) if found is None else found

    def _log(self, key: str) -> DomainLog[StateT]:
        log = self._logs.get(key)
        if log is None:
            labels = {FRAMEWORK_LABEL: self._domain.name, KEY_LABEL: key}
            start = SessionStartState(labels=labels)
            log = self._logs[key] = DomainLog(self._store, self._id_of(key), self._domain, start=start)
            while len(self._logs) > FOLDS_MAX:
                self._logs.popitem(last=False)
        self._logs.move_to_end(key)
        return log

    async def _key_of(self, session_id: SessionId) -> str | None:
        """Return the key of a log of this framework; of a fork, which was made under another id, that id."""
        if session_id in self._keys:
            return self._keys[session_id]
        key: str | None = None
        try:
            async with aclosing(self._store.read(session_id)) as records:
                async for record in records:
                    if _framework(record) == self._domain.name:
                        entry = record.entry
                        named = entry.labels.get(KEY_LABEL) if isinstance(entry, SessionStart) else None
                        key = named if named is not None and self._id_of(named) == session_id else session_id
                    break
                else:
                    return None
        except SessionNotFound:
            return None
        self._keys[session_id] = key
        while len(self._keys) > KEYS_MAX:
            self._keys.popitem(last=False)
        return key


class _OwnDomain(Domain[StateT]):
    """A domain that refuses the logs of others."""

    def fold(self, state: StateT, record: HashedEntry) -> StateT:
        """Fold a record in; of the first one, look whose log it begins."""
        if record.seq == 0 and _framework(record) != self.name:
            entry = record.entry
            raise ForeignLog(entry.session_id if isinstance(entry, SessionStart) else "", self.name)
        return super().fold(state, record)


def _decoded_anew(record: HashedEntry) -> HashedEntry:
    """Return the record without what it was decoded to, which a store in memory shares with all readers."""
    return HashedEntry(record.line, record.hash, record.prev_hash, record.seq)


def _no_record() -> DomainRecord | None:
    return None


def _newer(_: DomainRecord | None, record: DomainRecord) -> DomainRecord | None:
    return record


def session_id_of(key: str) -> SessionId:
    """Return the id of the log that keeps ``key``: the key itself if it can name a session, else a hash of it."""
    if is_session_id(key):
        return SessionId(key)
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=KEY_HASH_BYTES)
    return SessionId(f"key-{digest.hexdigest()}")


def _framework(first: HashedEntry) -> str | None:
    entry = first.entry
    return entry.labels.get(FRAMEWORK_LABEL) if isinstance(entry, SessionStart) else None


def _place(root: str | os.PathLike[str]) -> str:
    """Return one name for each store. Raises :class:`UnknownStore`."""
    store = open_store(root)
    return os.fspath(store.root) if isinstance(store, FileStore) else os.fspath(root)


_guard = threading.Lock()
_stores: dict[str, Store] = {}
_folds: dict[tuple[str, str], Any] = {}
_owner_pid = 0


def _shared(where: str, domain: Domain[StateT], id_of: Callable[[str], SessionId]) -> _Folds[StateT]:
    """Return what all objects of this process with one root share; a forked child begins anew."""
    global _owner_pid  # noqa: PLW0603 - whose the above are
    with _guard:
        if _owner_pid != os.getpid():
            _owner_pid = os.getpid()
            _stores.clear()
            _folds.clear()
        if where not in _stores:
            _stores[where] = open_store(where)
        if (where, domain.name) not in _folds:
            _folds[where, domain.name] = _Folds(_stores[where], domain, id_of)
        folds: _Folds[StateT] = _folds[where, domain.name]
        return folds


__all__ = [
    "FOLDS_MAX",
    "FRAMEWORK_LABEL",
    "KEY_LABEL",
    "ForeignLog",
    "Logs",
    "keepable",
    "restored",
    "session_id_of",
]
