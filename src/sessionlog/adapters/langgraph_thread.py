"""What a LangGraph thread's log adds up to: checkpoints, channel values by version, and the writes of tasks.

Pure, and free of the framework: values stay as its serializer gave them. The records of the domain:

- ``put``: a checkpoint, the versions of its channels, and the values of those that changed. Of a list that only grew
  since the parent's version, as messages do, what is new, with that version and the number of new elements: a thread's
  log grows with what is said, not with its square;
- ``writes``: what a task wrote to a checkpoint, by index: the first write counts, and below 0 the last;
- ``drop``: checkpoints that are gone, with the writes to them, and the values that no other checkpoint has.
"""

import base64
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

from .. import DomainRecord

DOMAIN: Final = "langgraph"

Typed: TypeAlias = tuple[str, bytes]
"""A value as the serializer gave it: the name of its type, and its bytes."""
Kept: TypeAlias = tuple[str, str]
"""The same as a log holds it: the bytes in base64."""
Version: TypeAlias = str | int | float


class Row(NamedTuple):
    """A checkpoint with all that belongs to it."""

    ns: str
    id: str
    parent: str | None
    checkpoint: Typed
    metadata: Typed
    versions: dict[str, Version]
    values: dict[str, Typed]
    writes: list[tuple[str, str, Typed]]
    """Task, channel and value, in the order in which the framework applies them."""


class _Saved(NamedTuple):
    payload: dict[str, Any]
    """The record, but for the values."""
    parent: str | None
    versions: dict[str, Version]


class _Write(NamedTuple):
    path: str
    task: str
    place: int
    channel: str
    value: Kept


class _Value(NamedTuple):
    """A channel's value. That of a list may be what was added to another list."""

    kind: str
    data: bytes
    length: int = 0
    base: "_Value | None" = None

    @property
    def typed(self) -> Typed:
        if self.base is None:
            return self.kind, self.data
        parts, count = [], 0
        one: _Value | None = self
        while one is not None:
            parts.append(one.data if one.base is not None else one.data[len(_header(one.length)) :])
            count += one.length
            one = one.base
        return self.kind, b"".join([_header(count), *reversed(parts)])


@dataclass
class _Namespace:
    saved: dict[str, _Saved] = field(default_factory=dict)
    """By checkpoint."""
    writes: dict[str, dict[tuple[str, int], _Write]] = field(default_factory=dict)
    """By checkpoint, then by task and index."""
    values: dict[tuple[str, Version], _Value] = field(default_factory=dict)
    """By channel and version."""


class Thread:
    """The state of a thread's log."""

    def __init__(self) -> None:
        """Begin before the first record."""
        self._namespaces: dict[str, _Namespace] = {}

    def apply(self, record: DomainRecord) -> "Thread":
        """Fold a record in."""
        self._apply(record.payload)
        return self

    def _apply(self, payload: Any) -> None:
        match payload:
            case {"op": "put", "ns": ns, "id": id, "values": values}:
                space = self._namespace(ns)
                kept = {name: value for name, value in payload.items() if name != "values"}
                space.saved[id] = _Saved(kept, kept["parent"], kept["versions"])
                for name, version, kind, data, *since in values:
                    space.values[name, version] = _value(kind, unpacked(data), space, name, since)
            case {"op": "writes", "ns": ns, "id": id, "task": task, "path": path, "writes": writes}:
                known = self._namespace(ns).writes.setdefault(id, {})
                for index, channel, kind, data in writes:
                    if index < 0 or (task, index) not in known:
                        known[task, index] = _Write(path, task, index, channel, (kind, data))
            case {"op": "drop", "checkpoints": checkpoints, "values": values}:
                for ns, id in checkpoints:
                    self._namespace(ns).saved.pop(id, None)
                    self._namespace(ns).writes.pop(id, None)
                for ns, name, version in values:
                    self._namespace(ns).values.pop((name, version), None)
            case _:
                pass

    def row(self, ns: str, checkpoint_id: str | None) -> Row | None:
        """Return a checkpoint, the latest one for ``None``, if it is there."""
        space = self._namespaces.get(ns)
        if space is None or not space.saved:
            return None
        id = checkpoint_id or max(space.saved)
        return self._row(ns, space, id) if id in space.saved else None

    def rows(self, *, ns: str | None, checkpoint_id: str | None, before_id: str | None) -> list[Row]:
        """Return the checkpoints that match, the newest first in each namespace."""
        return [
            self._row(name, space, id)
            for name, space in self._namespaces.items()
            if ns is None or name == ns
            for id in sorted(space.saved, reverse=True)
            if (not checkpoint_id or id == checkpoint_id) and (not before_id or id < before_id)
        ]

    def new_put(self, payload: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the record of a checkpoint: of the lists that grew, what is new."""
        space = self._namespaces.get(payload["ns"])
        parent = None if space is None else space.saved.get(payload["parent"])
        if space is None or parent is None:
            return [payload]
        values = []
        for name, version, kind, data in payload["values"]:
            base_version = parent.versions.get(name)
            base = space.values.get((name, base_version)) if base_version is not None else None
            added = None if base is None or base.kind != kind else _added(base.typed[1], unpacked(data))
            values.append(
                [name, version, kind, data]
                if added is None
                else [name, version, kind, packed(added[1]), base_version, added[0]]
            )
        return [{**payload, "values": values}]

    def new_writes(self, payload: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the record of those writes of ``payload`` that change something, if there are any."""
        space = self._namespaces.get(payload["ns"])
        kept = {} if space is None else space.writes.get(payload["id"], {})
        new = []
        for index, channel, kind, data in payload["writes"]:
            known = kept.get((payload["task"], index))
            write = _Write(payload["path"], payload["task"], index, channel, (kind, data))
            if known is None or (index < 0 and known != write):
                new.append([index, channel, kind, data])
        return [{**payload, "writes": new}] if new else []

    def drop_runs(self, run_ids: frozenset[str]) -> list[dict[str, Any]]:
        """Return the record that drops the checkpoints that these runs made, if there are any."""
        return self._drop(
            lambda space: [id for id, saved in space.saved.items() if saved.payload.get("run") in run_ids]
        )

    def drop_all_but_latest(self) -> list[dict[str, Any]]:
        """Return the record that drops what is not needed for the latest checkpoint of each namespace."""
        return self._drop(lambda space: space.saved.keys() - _needed(space))

    def payloads(self) -> Iterator[dict[str, Any]]:
        """Yield the records with which another thread would hold the same."""
        copy = Thread()
        for ns, space in self._namespaces.items():
            told: set[tuple[str, Version]] = set()
            for saved in space.saved.values():
                new = [key for key in saved.versions.items() if key in space.values and key not in told]
                told.update(new)
                values = [[*key, kind, packed(data)] for key in new for kind, data in [space.values[key].typed]]
                for payload in copy.new_put({**saved.payload, "values": values}):
                    copy._apply(payload)
                    yield payload
            for id, writes in space.writes.items():
                for write in writes.values():
                    one = [write.place, write.channel, *write.value]
                    yield {"op": "writes", "ns": ns, "id": id, "task": write.task, "path": write.path, "writes": [one]}

    def _namespace(self, ns: str) -> _Namespace:
        return self._namespaces.setdefault(ns, _Namespace())

    def _row(self, ns: str, space: _Namespace, id: str) -> Row:
        saved = space.saved[id]
        values = {key[0]: space.values[key].typed for key in saved.versions.items() if key in space.values}
        writes = [(one.task, one.channel, _typed(one.value)) for one in sorted(space.writes.get(id, {}).values())]
        checkpoint, metadata = _typed(saved.payload["checkpoint"]), _typed(saved.payload["metadata"])
        return Row(ns, id, saved.parent, checkpoint, metadata, saved.versions, values, writes)

    def _drop(self, find: Callable[[_Namespace], Iterable[str]]) -> list[dict[str, Any]]:
        checkpoints = []
        values = []
        for ns, space in self._namespaces.items():
            gone = set(find(space))
            stay = {key for id, saved in space.saved.items() if id not in gone for key in saved.versions.items()}
            checkpoints += [[ns, id] for id in sorted(gone)]
            values += [[ns, *key] for key in space.values if gone and key not in stay]
        return [{"op": "drop", "checkpoints": checkpoints, "values": values}] if checkpoints else []


def _needed(space: _Namespace) -> set[str]:
    """Return the latest checkpoint, and the ancestors from which its delta channels are rebuilt."""
    needed: set[str] = set()
    missing: set[str] | None = None
    id = max(space.saved, default=None)
    while id in space.saved and missing != set():
        saved = space.saved[id]
        needed.add(id)
        if missing is None:
            missing = set(saved.payload.get("deltas", ()))
        missing -= {name for name in missing if (name, saved.versions.get(name)) in space.values}
        id = saved.parent
    return needed


def _value(kind: str, data: bytes, space: _Namespace, name: str, since: Sequence[Any]) -> _Value:
    if not since:
        return _Value(kind, data, _count(data) or 0)
    base_version, count = since
    return _Value(kind, data, count, space.values[name, base_version])


def _typed(kept: Kept) -> Typed:
    kind, text = kept
    return kind, unpacked(text)


def _added(before: bytes, after: bytes) -> tuple[int, bytes] | None:
    """Return how many elements a MessagePack array has more than another that it begins with, and these; or nothing."""
    count_before, count = _count(before), _count(after)
    if not count_before or not count or count <= count_before:
        return None
    start, start_before = len(_header(count)), len(_header(count_before))
    if not after.startswith(before[start_before:], start):
        return None
    return count - count_before, after[start + len(before) - start_before :]


def _count(data: bytes) -> int | None:
    """Return how many elements a MessagePack array has; nothing for another value, or an unusual form of one."""
    first = data[0] if data else 0
    size = {0xDC: 2, 0xDD: 4}.get(first)
    if size is None:
        return first & 0x0F if first & 0xF0 == 0x90 else None
    count = int.from_bytes(data[1 : 1 + size], "big")
    return count if data.startswith(_header(count)) else None


def _header(count: int) -> bytes:
    """Return what a MessagePack array of so many elements begins with."""
    if count < 16:
        return bytes([0x90 | count])
    return b"\xdc" + count.to_bytes(2, "big") if count < 0x10000 else b"\xdd" + count.to_bytes(4, "big")


def packed(data: bytes) -> str:
    """Return bytes as a log holds them."""
    return base64.b64encode(data).decode("ascii")


def unpacked(text: str) -> bytes:
    """Return the bytes that :func:`packed` was given."""
    return base64.b64decode(text)
