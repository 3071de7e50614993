"""Receipts: the records that tell of deletions, and the fold over them.

They stand in one session of the store, ``sessionlog-receipts``, as ``extension`` entries of the domain
``sessionlog/receipt``. A deletion has two: ``begun``, which names the session, its head, the hash of its first record
and a nonce, and the one that ends it: ``done``, or ``void`` if somebody appended meanwhile. Each gives the number of
deletions that are open after it, so the last record alone tells whether one is left to be finished.

Pure: no I/O, no clock. Payloads of another shape are passed over.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import msgspec

from .entries import Extension
from .ids import EntryHash, Head, SessionId
from .record import ENVELOPE, HashedEntry

RECEIPTS_SESSION: Final = SessionId("sessionlog-receipts")
"""The session that holds the receipts of its store."""
RECEIPT_DOMAIN: Final = "sessionlog/receipt"
"""The domain of their ``extension`` entries."""

_EXTENSION: Final = b'extension"'


class ReceiptState(StrEnum):
    """How far a deletion is."""

    BEGUN = "begun"
    DONE = "done"
    VOID = "void"


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """One deletion.

    ``head`` is the deleted log's last record and ``first_hash`` the hash of its first one; both are ``None`` for a log
    without records. ``begun_at`` and ``ended_at`` are unix milliseconds, and ``seq`` is the position of the ``begun``
    record in the session of the receipts. ``reason`` and ``by`` are the caller's words.
    """

    session_id: SessionId
    state: ReceiptState
    head: Head | None
    first_hash: EntryHash | None
    nonce: str
    begun_at: int
    ended_at: int | None = None
    reason: str | None = None
    by: str | None = None
    seq: int

    @property
    def record_count(self) -> int:
        """How many records the deleted log held."""
        return 0 if self.head is None else self.head.seq + 1


class ReceiptNote(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The payload of one record. Only ``begun`` has ``head`` and ``first_hash``; ``nonce`` tells what belongs to it."""

    kind: str
    """``delete``."""
    state: ReceiptState
    session_id: SessionId
    nonce: str
    head: Head | None = None
    first_hash: EntryHash | None = None
    reason: str | None = None
    by: str | None = None
    open: int = 0
    """How many deletions are open after this record."""


class _Payload(msgspec.Struct, frozen=True):
    """Around a note: a decoder of a struct is kept, one of a bare type is built at each call."""

    note: ReceiptNote


@dataclass
class Receipts:
    """What the receipts of a store add up to."""

    open: dict[str, Receipt] = field(default_factory=dict)
    """The deletions that were begun and not ended, by nonce, oldest first."""
    done: dict[SessionId, Receipt] = field(default_factory=dict)
    """The last deletion of each id that was deleted. The id may have been used again since."""
    ended: dict[str, ReceiptState] = field(default_factory=dict)
    """How each ended deletion ended, by nonce."""

    def take(self, payload: Any, *, ts: int, seq: int) -> None:
        """Fold one payload of the domain in."""
        try:
            note = msgspec.convert({"note": payload}, _Payload).note
        except msgspec.ValidationError:
            return
        if note.state is ReceiptState.BEGUN:
            if note.nonce not in self.ended:
                self.open[note.nonce] = Receipt(
                    session_id=note.session_id,
                    state=note.state,
                    head=note.head,
                    first_hash=note.first_hash,
                    nonce=note.nonce,
                    begun_at=ts,
                    reason=note.reason,
                    by=note.by,
                    seq=seq,
                )
            return
        begun = self.open.pop(note.nonce, None)
        if begun is None:
            return
        self.ended[note.nonce] = note.state
        if note.state is ReceiptState.DONE:
            self.done[begun.session_id] = msgspec.structs.replace(begun, state=note.state, ended_at=ts)

    def take_record(self, record: HashedEntry) -> None:
        """Fold a record of the receipts' session in, if it is a receipt."""
        envelope = ENVELOPE.match(record.line)
        if envelope is None or not record.line.startswith(_EXTENSION, envelope.end()):
            return
        entry = record.entry
        if isinstance(entry, Extension) and entry.domain == RECEIPT_DOMAIN:
            self.take(entry.payload, ts=entry.ts, seq=record.seq)

    def open_for(self, session_id: str) -> Receipt | None:
        """Return the open deletion of a session, the oldest if there are several."""
        return next((one for one in self.open.values() if one.session_id == session_id), None)


def open_count(record: HashedEntry) -> int | None:
    """Return how many deletions are open after a record of the receipts' session; ``None`` if it does not say."""
    entry = record.entry
    if not isinstance(entry, Extension) or entry.domain != RECEIPT_DOMAIN:
        return None
    try:
        return msgspec.convert({"note": entry.payload}, _Payload).note.open
    except msgspec.ValidationError:
        return None


__all__ = [
    "RECEIPTS_SESSION",
    "RECEIPT_DOMAIN",
    "Receipt",
    "ReceiptNote",
    "ReceiptState",
    "Receipts",
    "open_count",
]
