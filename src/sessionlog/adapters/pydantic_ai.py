"""Pydantic AI: :class:`SessionlogConversationStore`, a store whose conversations are logs.

    store = SessionlogConversationStore("logs")
    await store.save(result)

A save is one append: the messages that are new, then what else the framework keeps of a conversation. It is decided
against the log's head, so that of two writers one is told of the other. A fork's log begins with a copy of the history
that it shares: each log stands for itself, and to delete one leaves the others whole. Any number of objects, threads
and processes may work on one directory.
"""

import dataclasses
import json
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from pydantic import TypeAdapter
from pydantic_ai.conversation_store import (
    ConversationConflict,
    ConversationEntry,
    ConversationRecord,
    ConversationStore,
)
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter

from .. import Domain, DomainRecord, Store
from .core import Logs, keepable, restored

DOMAIN: Final = "pydantic_ai"
HOMES_MAX: Final = 65_536
"""Of so many entries, an object remembers in which conversation they are; of others, it has to look for it."""

Json: TypeAlias = bytes | str
"""A value as JSON: bytes, or text if it holds what a log refuses."""

_RECORD: Final = TypeAdapter(ConversationRecord)


class _Entry(NamedTuple):
    id: str
    parent: str | None
    message: Json


@dataclasses.dataclass
class _Conversation:
    """The state of a conversation's log."""

    record: Json | None = None
    revision: str | None = None
    entries: dict[str, _Entry] = dataclasses.field(default_factory=dict)

    def apply(self, record: DomainRecord) -> "_Conversation":
        match record.payload:
            case {"op": "message", "id": str(id), "parent": str() | None as parent, "message": message}:
                self.entries[id] = _Entry(id, parent, _json(message))
            case {"op": "save", "revision": str(revision), "record": saved}:
                self.record, self.revision = _json(saved), revision
            case _:
                pass
        return self

    def history(self, head: str, limit: int | None) -> list[_Entry]:
        """Return the entries up to ``head``. Raises ``KeyError`` if one is not there."""
        found: list[_Entry] = []
        id: str | None = head
        while id is not None and (limit is None or len(found) < limit):
            found.append(self.entries[id])
            id = found[-1].parent
        return found[::-1]


_DOMAIN: Final = Domain(DOMAIN, _Conversation, _Conversation.apply)


class SessionlogConversationStore(ConversationStore):
    """A store of Pydantic AI that keeps each conversation in a log."""

    def __init__(self, root: str | os.PathLike[str] | None = None, *, store: Store | None = None) -> None:
        """Keep conversations in the directory ``root``, or in ``store``.

        Args:
            root: The directory of the logs. A conversation's id names its log if it is a valid session id, else its
                hash.
            store: A store to use instead.
        """
        self._logs = Logs(_DOMAIN, root, store=store)
        self._homes: OrderedDict[str, str] = OrderedDict()

    async def read_record(self, conversation_id: str) -> ConversationRecord | None:
        """Return what is kept of a conversation besides its messages."""
        kept = await self._logs.view(conversation_id, lambda conversation: conversation.record)
        if kept is None:
            return None
        record = _record(conversation_id, kept)
        self._remember(conversation_id, [record.head_id, *record.branches])
        return record

    async def read_records(self, *, scope: str | None = None, limit: int | None = None) -> Sequence[ConversationRecord]:
        """Return the records, the last saved one first."""
        records = [await self.read_record(conversation_id) for conversation_id in await self._logs.keys()]
        found = [one for one in records if one is not None and (scope is None or one.scope == scope)]
        found.sort(key=lambda record: record.updated_at, reverse=True)
        return found[:limit]

    async def write_record(
        self,
        record: ConversationRecord,
        *,
        new_entries: Sequence[ConversationEntry] = (),
        expected_revision: str | None,
    ) -> None:
        """Append the new entries and the record, in one commit.

        Raises ``ConversationConflict`` if another writer came first, or if the history's end is not in the store; then
        nothing is written.
        """
        new = list(_payloads(new_entries))
        new.append({"op": "save", "revision": record.revision, "record": keepable(_record_json(record))})
        new_ids = {entry.id for entry in new_entries}
        ends = {record.head_id, *(entry.parent_id for entry in new_entries)} - new_ids - {None}
        shared: dict[str, _Entry] = {}

        def decide(conversation: _Conversation) -> tuple[list[Any], str | None]:
            if conversation.revision != expected_revision:
                raise ConversationConflict(record.conversation_id)
            missing = next((end for end in ends if end not in conversation.entries and end not in shared), None)
            if missing is not None:
                return [], missing
            taken = [one for one in shared.values() if one.id not in conversation.entries]
            return [*(_payload(one.id, one.parent, _value(one.message), of=source) for one in taken), *new], None

        source = ""
        while (missing := await self._logs.change(record.conversation_id, decide)) is not None:
            try:
                source, history = await self._find(missing, None, first=record.forked_from)
            except KeyError as error:
                raise ConversationConflict(record.conversation_id) from error
            shared.update((one.id, one) for one in history)
        self._remember(record.conversation_id, [record.head_id, *new_ids])

    async def delete_record(self, conversation_id: str, *, expected_revision: str) -> None:
        """Delete the conversation's log: its messages are off the disk, but for those that a fork has.

        Raises ``ConversationConflict`` if it is not there, or another writer came first.
        """

        def check(conversation: _Conversation) -> None:
            if conversation.revision != expected_revision:
                raise ConversationConflict(conversation_id)

        await self._logs.delete(conversation_id, check=check)

    async def read_entry(self, entry_id: str) -> ConversationEntry:
        """Return an entry. Raises ``KeyError`` if no conversation has it."""
        _, (entry,) = await self._find(entry_id, 1)
        return _entries([entry])[0]

    async def read_history(self, head_id: str | None, *, limit: int | None = None) -> list[ConversationEntry]:
        """Return the entries up to ``head_id``, or the last ``limit`` of them, at one look at the log.

        Raises ``KeyError`` if no conversation has them.
        """
        if head_id is None or limit == 0:
            return []
        _, history = await self._find(head_id, limit)
        return _entries(history)

    async def _find(self, head: str, limit: int | None, *, first: str | None = None) -> tuple[str, list[_Entry]]:
        """Return a conversation that has an entry, and the history up to it. Raises ``KeyError``."""

        def look(conversation: _Conversation) -> list[_Entry] | None:
            return conversation.history(head, limit) if head in conversation.entries else None

        likely = dict.fromkeys(one for one in (self._homes.get(head), first) if one is not None)
        for conversation_id in likely:
            history = await self._logs.view(conversation_id, look)
            if history is not None:
                return conversation_id, history
        for conversation_id in await self._logs.keys():
            history = None if conversation_id in likely else await self._logs.view(conversation_id, look)
            if history is not None:
                self._remember(conversation_id, [head])
                return conversation_id, history
        raise KeyError(head)

    def _remember(self, conversation_id: str, entries: Iterable[str | None]) -> None:
        for id in entries:
            if id is not None:
                self._homes[id] = conversation_id
                self._homes.move_to_end(id)
        while len(self._homes) > HOMES_MAX:
            self._homes.popitem(last=False)


def _payloads(entries: Iterable[ConversationEntry]) -> Iterator[dict[str, Any]]:
    for entry in entries:
        (message,) = ModelMessagesTypeAdapter.dump_python([entry.message], mode="json")
        yield _payload(entry.id, entry.parent_id, keepable(message))


def _payload(id: str, parent: str | None, message: Any, *, of: str | None = None) -> dict[str, Any]:
    """Return the record of a message. One that a fork shares says of which conversation it is."""
    shared = {} if of is None else {"of": of}
    return {"op": "message", "id": id, "parent": parent, **shared, "message": message}


def _entries(kept: Sequence[_Entry]) -> list[ConversationEntry]:
    messages = _messages([one.message for one in kept])
    return [
        ConversationEntry(id=one.id, parent_id=one.parent, message=message)
        for one, message in zip(kept, messages, strict=True)
    ]


def _messages(kept: Sequence[Json]) -> list[ModelMessage]:
    plain = [one for one in kept if isinstance(one, bytes)]
    if len(plain) == len(kept):
        return ModelMessagesTypeAdapter.validate_json(b"[" + b",".join(plain) + b"]")
    return ModelMessagesTypeAdapter.validate_python([json.loads(one) for one in kept])


def _record(conversation_id: str, kept: Json) -> ConversationRecord:
    record = _RECORD.validate_json(kept) if isinstance(kept, bytes) else _RECORD.validate_python(json.loads(kept))
    return dataclasses.replace(record, conversation_id=conversation_id)


def _record_json(record: ConversationRecord) -> Any:
    return _RECORD.dump_python(record, mode="json")


def _json(kept: Any) -> Json:
    """Return what :func:`keepable` made of a value as JSON, for each reader to make values of its own of."""
    value = restored(kept)
    return msgspec.json.encode(value) if value is kept else json.dumps(value)


def _value(kept: Json) -> Any:
    return keepable(json.loads(kept))


__all__ = ["SessionlogConversationStore"]
