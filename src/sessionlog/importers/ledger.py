"""What a session's own log says about earlier imports: the importer trusts the log and nothing else.

Every commit that an import makes holds one ``extension`` entry of domain ``import``, an :class:`ImportNote`, before
what it imports. The note says which source the commit is from and which of the source's JSON objects gave how many of
the records that follow it. A commit is atomic, so after any crash the notes say exactly what is in.
"""

from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from ..entries import (
    AgentEventEntry,
    AssistantItems,
    ConfigChanged,
    Extension,
    HookInjectedItems,
    LlmUsage,
    LogEntry,
    RequestConfig,
    SessionStart,
    ToolResults,
    UserInput,
)
from ..ids import Head, SessionId
from ..loops.as_told import Told
from ..store import Store
from .loop_events import EarlyEnds
from .marks import read_marks
from .report import NotUnderstood

IMPORT_DOMAIN: Final = "import"
"""The domain of the ``extension`` entries that hold an :class:`ImportNote`."""
NO_OBJECT: Final = -1
"""Stands in a note for records that belong to no line."""


class Source(msgspec.Struct, frozen=True):
    """The file that was imported: its whole ``size``, and the BLAKE3 of its first ``bytes`` bytes, those that were."""

    path: str
    name: str
    size: int
    bytes: int
    blake3: str


class ImportNote(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The payload of an ``import`` entry.

    ``records`` is a list of ``[first, last, count]``: each of the source's JSON objects ``first`` to ``last`` (0-based,
    in the order of the file) gave ``count`` of the records that follow this note in its commit, in that order; the
    object ``-1`` stands for records that belong to no line. ``usage`` holds the tokens that the commit counts for an
    API message. ``sessions`` are those that the file makes beside this one. ``marks`` identifies, for each object in
    ``records`` in turn, the source up to and including it (:mod:`.marks`).
    """

    format: str
    source: Source
    role: str = "main"
    parent: SessionId | None = None
    cwd: str | None = None
    version: str | None = None
    agent: Any = None
    not_understood: list[NotUnderstood] | None = None
    sessions: list[SessionId] = msgspec.field(default_factory=list)
    records: list[tuple[int, int, int]] = msgspec.field(default_factory=list)
    usage: dict[str, tuple[int, int, int, int]] = msgspec.field(default_factory=dict)
    marks: str = ""


class End(NamedTuple):
    """Where an imported object stands in a log: the hash of the record after it, the history's length before it."""

    hash: str
    history_before: int


@dataclass
class Ledger:
    """What is known about one session of the store after reading its log."""

    session_id: SessionId
    format: str
    """Notes of another format are none."""
    first_hash: str | None = None
    head: Head | None = None
    config: RequestConfig = field(default_factory=RequestConfig)
    history_len: int = 0
    first_note: ImportNote | None = None
    last_note: ImportNote | None = None
    sources: dict[int, str] = field(default_factory=dict)
    """Of the sources that were imported: how many bytes, and their BLAKE3."""
    marks: dict[int, bytes] = field(default_factory=dict)
    """The marks of the source's objects, as far as this log tells them."""
    sessions: set[SessionId] = field(default_factory=set)
    counted: dict[str, tuple[int, int, int, int]] = field(default_factory=dict)
    listed: set[NotUnderstood] = field(default_factory=set)
    ends: dict[int, End] = field(default_factory=dict)
    """All objects that the log has whole."""
    torn: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Objects of which a commit that was killed left the first records: how many, those left out that follow from the
    state (usage, configuration), and the history's length before them."""
    early: EarlyEnds = field(default_factory=EarlyEnds)
    told: Told = field(default_factory=Told)
    """What the log has told of its loops: what its next events need not say again."""
    _started_ms: int | None = None
    _expected: list[tuple[int, int]] = field(default_factory=list)
    _usage: list[tuple[str, tuple[int, int, int, int]]] = field(default_factory=list)

    @property
    def only_begun_ms(self) -> int | None:
        """The time of the session's start, if that is all it holds: what an import leaves that is killed right then."""
        return self._started_ms if self.head is not None and self.head.seq == 0 and not self.history_len else None

    def take(self, entry: LogEntry, head: Head) -> None:
        """Fold one record in."""
        self.first_hash = self.first_hash or head.hash
        self.head = head
        if isinstance(entry, SessionStart):
            self._started_ms = entry.ts
        if isinstance(entry, AgentEventEntry):
            at_end = bool(self._expected) and self._expected[-1][0] == NO_OBJECT
            self.early.take(entry.event, at_end=at_end)
        note = self._note(entry)
        if note is not None:
            self._take_note(note, head)
        elif self._expected and not isinstance(entry, SessionStart):
            ordinal, left = self._expected[-1]
            follows = self._take_usage(entry) or isinstance(entry, ConfigChanged)  # from the state: not said again
            if ordinal != NO_OBJECT:
                count, before = self.torn.pop(ordinal, (0, self.history_len))
                if left > 1:
                    self.torn[ordinal] = (count + (not follows), before)
                else:
                    self.ends[ordinal] = End(head.hash, before)
            self._expected[-1] = (ordinal, left - 1)
        self._apply(entry)
        self._settle(head)

    def _take_note(self, note: ImportNote, head: Head) -> None:
        self.first_note = self.first_note or note
        self.last_note = note
        self.sources[note.source.bytes] = note.source.blake3
        self.sessions.update(note.sessions)
        self.listed.update(note.not_understood or ())
        self._usage = list(note.usage.items())[::-1]
        objects = [(ordinal, count) for first, last, count in note.records for ordinal in range(first, last + 1)]
        self._expected = objects[::-1]
        ordinals = (ordinal for ordinal, _ in objects if ordinal != NO_OBJECT)
        self.marks.update(zip(ordinals, read_marks(note.marks), strict=False))
        self._settle(head)

    def _take_usage(self, entry: LogEntry) -> bool:
        """Count usage that the note has announced, once it is there: a commit that was killed may lack it."""
        if not isinstance(entry, LlmUsage) or not self._usage:
            return False
        said = (entry.input_total_tokens, entry.cache_read_tokens, entry.cache_write_tokens, entry.output_tokens)
        if self._usage[-1][1] != said:
            return False
        self.count(*self._usage.pop())
        return True

    def _settle(self, head: Head) -> None:
        """Step over the objects that have all of their records."""
        while self._expected and self._expected[-1][1] <= 0:
            ordinal, _ = self._expected.pop()
            if ordinal != NO_OBJECT:
                self.ends.setdefault(ordinal, End(head.hash, self.history_len))

    def count(self, message_id: str, tokens: tuple[int, int, int, int]) -> None:
        """Add tokens that were logged for a message."""
        old = self.counted.get(message_id, (0, 0, 0, 0))
        self.counted[message_id] = (old[0] + tokens[0], old[1] + tokens[1], old[2] + tokens[2], old[3] + tokens[3])

    def _note(self, entry: LogEntry) -> ImportNote | None:
        if not isinstance(entry, Extension) or entry.domain != IMPORT_DOMAIN:
            return None
        try:
            note = msgspec.convert(entry.payload, ImportNote)
        except msgspec.ValidationError:
            return None
        return note if note.format == self.format else None

    def _apply(self, entry: LogEntry) -> None:
        self.history_len += history_items(entry)
        if isinstance(entry, SessionStart | ConfigChanged):
            self.config = entry.config


def history_items(entry: LogEntry) -> int:
    """Return by how many items ``entry`` makes the history longer."""
    match entry:
        case SessionStart():
            return len(entry.history)
        case UserInput():
            return 1
        case AssistantItems() | ToolResults() | HookInjectedItems():
            return len(entry.items)
        case _:
            return 0


async def read_ledger(store: Store, session_id: SessionId, format_name: str) -> Ledger | None:
    """Return what the session's log says; ``None`` without the session, or without a record in it.

    Raises as the store's ``read``.
    """
    if not await store.exists(session_id):
        return None
    ledger = Ledger(session_id, format_name)
    async with aclosing(store.read(session_id)) as records:
        async for record in records:
            ledger.take(record.entry, record.head)
            ledger.told.take_stored(record.entry)
    return None if ledger.head is None else ledger


def note_entry(note: ImportNote, *, ts: int) -> Extension:
    """Return the log entry that holds ``note``."""
    # as decoded JSON, lists for tuples: such a payload is equal to what the log gives back
    members = msgspec.json.decode(msgspec.json.encode(note))
    payload = {name: value for name, value in members.items() if value is not None}
    return Extension(ts=ts, domain=IMPORT_DOMAIN, payload=payload)


def runs(counts: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Return ``(object, records)`` pairs as runs of neighbours with the same number of records."""
    found: list[tuple[int, int, int]] = []
    for ordinal, count in counts:
        if found and 0 <= found[-1][1] == ordinal - 1 and found[-1][2] == count:
            found[-1] = (found[-1][0], ordinal, count)
        else:
            found.append((ordinal, ordinal, count))
    return found
