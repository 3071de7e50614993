"""What a transcript's log adds up to: which entries it has, without their content, and the session's summary.

Pure, and free of the SDK. One kind of record, ``append``: entries as the SDK gave them, the session's ``summary`` as of
them, and, if they go on with an API message that is in the log already, which tokens of it were ``counted``: the SDK
repeats a message's usage, as far as it is known, in each entry of the message.
"""

from collections.abc import Callable
from typing import Any, Final

from .. import DomainRecord
from .core import keepable, restored

DOMAIN: Final = "claude_agent_sdk"

Summarize = Callable[[dict[str, Any] | None, list[dict[str, Any]]], dict[str, Any]]


class Transcript:
    """The state of a transcript's log. Entries are not held in memory; their uuids are."""

    def __init__(self) -> None:
        """Begin before the first record."""
        self._uuids: set[str] = set()
        self._summary: dict[str, Any] | None = None
        self._message: tuple[str, Any] | None = None
        """The API message that the last of the model's entries is of: its id, and its usage as it stands there."""

    def apply(self, record: DomainRecord) -> "Transcript":
        """Fold a record in."""
        for entry in entries_of([], record):
            if (uuid := _uuid(entry)) is not None:
                self._uuids.add(uuid)
            self._message = _message(entry) or self._message
        match record.payload:
            case {"summary": kept}:
                self._summary = restored(kept)
            case _:
                pass
        return self

    def new_append(self, entries: list[dict[str, Any]], summarize: Summarize | None) -> list[dict[str, Any]]:
        """Return the record of the entries that the transcript has not; none if it has all."""
        seen: set[str] = set()
        new: list[dict[str, Any]] = []
        for entry in entries:
            uuid = _uuid(entry)
            if uuid is None or (uuid not in self._uuids and uuid not in seen):
                new.append(entry)
            if uuid is not None:
                seen.add(uuid)
        if not new:
            return []
        payload: dict[str, Any] = {"op": "append", "entries": [keepable(entry) for entry in new]}
        if summarize is not None:
            payload["summary"] = keepable(summarize(self._summary, new))
        first = next(filter(None, map(_message, new)), None)
        if first is not None and self._message is not None and first[0] == self._message[0]:
            payload["counted"] = keepable(self._message[1])
        return [payload]


def entries_of(before: list[Any], record: DomainRecord) -> list[Any]:
    """Add the entries of a record to those before it."""
    match record.payload:
        case {"op": "append", "entries": [*entries]}:
            before.extend(map(restored, entries))
        case _:
            pass
    return before


def summary_of(record: DomainRecord) -> dict[str, Any]:
    """Return the session's summary as of a record."""
    match record.payload:
        case {"summary": kept}:
            summary: dict[str, Any] = restored(kept)
            return summary
        case _:
            return {}


def _uuid(entry: Any) -> str | None:
    match entry:
        case {"uuid": str(uuid)}:
            return uuid
        case _:
            return None


def _message(entry: Any) -> tuple[str, Any] | None:
    """Return the id and the usage of what the API answered, if the entry is of that."""
    match entry:
        case {"type": "assistant", "message": {"id": str(id), **rest}}:
            return id, rest.get("usage")
        case _:
            return None
