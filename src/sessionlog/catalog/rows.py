"""What the catalog knows of a session: one row, folded from its log and kept, so that only what is new is read.

    RowFold.thaw(fold.freeze()) goes on where ``fold`` ended, for every prefix of a log

Times are unix milliseconds of the conversation, never of an import; nothing here is authoritative.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

from ..entries import (
    AgentEventEntry,
    Extension,
    LabelsChanged,
    LogEntry,
    SessionOrigin,
    SessionStart,
    UserInput,
)
from ..ids import Head
from ..items import Item, Message
from ..queries import DayUsage, SessionStats, Tally, Tokens, all_tokens, by_model
from ..readings import as_counted
from ..receipts import RECEIPTS_SESSION
from ..record import HashedEntry
from ..state import merge_labels

SessionKind: TypeAlias = Literal["main", "fork", "compaction", "agent", "receipts"]
"""How a session came to be: by itself, from a record of another, as its summary, or run by a tool call of another.

``receipts`` is the session in which a store keeps the receipts of what was deleted; queries leave it out by default.
"""
SessionState: TypeAlias = Literal["valid", "broken", "unreadable"]
"""What came of reading a log: all of it was verified; it is damaged; the store could not read it."""

NUMBER_MAX: Final = 2**53 - 1
"""A count or a time beyond this is given as this: logs hold integers that SQLite has no place for."""
FIRST_WORDS_CHARS_MAX: Final = 200
_SPACES: Final = re.compile(r"[ \t\r\n\v\f]+")
_IMPORT_DOMAIN: Final = "import"
_SPAWN_SUFFIX: Final = ".spawn"


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One session, as the catalog has it.

    ``project`` is the directory that the agent worked in, ``agent`` the program, such as ``claude-code``. ``origin`` is
    where a fork or a compaction was taken from, ``parent`` the session whose tool call ran this one. ``usage`` holds
    the tokens by day and model (:func:`sessionlog.queries.price` gives their cost).
    Times are of the conversation, in unix milliseconds. ``bytes`` are those of the log's lines, up to ``head``.
    ``state`` is that of the last reading, which verified what was new; ``fault`` says what kept it from the log's end:
    the row is then of the records before that.
    """

    session_id: str
    title: str | None = None
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    project: str | None = None
    agent: str | None = None
    version: str | None = None
    kind: SessionKind = "main"
    origin: SessionOrigin | None = None
    parent: str | None = None
    first_ts: int | None = None
    last_ts: int | None = None
    first_words: str = ""
    turns: int = 0
    tool_calls: int = 0
    tool_failures: int = 0
    dangling_calls: int = 0
    usage: Sequence[DayUsage] = ()
    records: int = 0
    bytes: int = 0
    head: Head | None = None
    state: SessionState = "valid"
    fault: str | None = None

    @property
    def models(self) -> dict[str | None, Tokens]:
        """The tokens of each model; ``None`` where the log names none."""
        return by_model(self.usage)

    @property
    def tokens(self) -> Tokens:
        """The tokens of all models."""
        return all_tokens(self.usage)


class _Said(msgspec.Struct, array_like=True):
    """What a log says of its session beside what :class:`Tally` counts."""

    kind: SessionKind = "main"
    title: str | None = None
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    project: str | None = None
    agent: str | None = None
    version: str | None = None
    origin: SessionOrigin | None = None
    parent: str | None = None
    first_words: str = ""
    head: Head | None = None
    spawned: dict[str, Head] = msgspec.field(default_factory=dict)


class RowFold:
    """Folds the records of one log, in order, into a :class:`SessionRow`."""

    def __init__(self, tally: Tally, said: _Said) -> None:
        """Go on behind what was counted and said so far; :meth:`begin` and :meth:`thaw` make one."""
        self._tally = tally
        self._said = said
        self._last: HashedEntry | None = None
        self._spawned: str | None = None

    @classmethod
    def begin(cls, session_id: str) -> "RowFold":
        """Return the fold of a log before its first record."""
        return cls(Tally(session_id), _Said("receipts" if session_id == RECEIPTS_SESSION else "main"))

    @property
    def stats(self) -> SessionStats:
        """What was counted."""
        return self._tally.stats

    @property
    def head(self) -> Head | None:
        """The head of the records that were taken."""
        return self._said.head if self._last is None else self._last.head

    @property
    def spawned(self) -> Mapping[str, Head]:
        """The sessions that tool calls of this one ran, and the records that say so."""
        return self._said.spawned

    def open_calls(self) -> dict[str, str]:
        """Return the tools of the calls that wait for their results, by the calls' ids."""
        return self._tally.open_calls()

    def take(self, record: HashedEntry) -> None:
        """Fold one more record in. Raises :class:`CorruptLog` if it does not decode."""
        self._tally.take(record)
        for entry in as_counted(record.entry):
            self._take_entry(entry)
        if self._spawned is not None:
            self._said.spawned[self._spawned], self._spawned = record.head, None
        self._last = record

    def row(self, *, state: SessionState = "valid", fault: str | None = None) -> SessionRow:
        """Return the row as of the records that were taken."""
        stats, said = self._tally.stats, self._said
        use = stats.tool_use
        return SessionRow(
            session_id=stats.session_id or "",
            title=said.title,
            labels=said.labels,
            project=said.project,
            agent=said.agent,
            version=said.version,
            kind=said.kind,
            origin=said.origin,
            parent=said.parent,
            first_ts=_bounded(stats.first_ts),
            last_ts=_bounded(stats.last_ts),
            first_words=said.first_words,
            turns=stats.turns,
            tool_calls=use.calls,
            tool_failures=use.failures,
            dangling_calls=stats.dangling_calls,
            usage=tuple(DayUsage(one.day, one.model, _bounded_tokens(one.tokens)) for one in stats.usage),
            records=stats.records,
            bytes=stats.record_bytes,
            head=self.head,
            state=state,
            fault=fault,
        )

    def freeze(self) -> bytes | None:
        """Return all that the fold needs to go on; ``None`` if a forged log made it count beyond 64 bits."""
        self._said.head = self.head
        try:
            return msgspec.msgpack.encode((self._tally.freeze(), self._said))
        except OverflowError:
            return None

    @classmethod
    def thaw(cls, frozen: bytes) -> "RowFold":
        """Return the fold that :meth:`freeze` kept. Raises ``ValueError`` for bytes of another version."""
        tally, said = msgspec.msgpack.decode(frozen, type=tuple[bytes, _Said])
        return cls(Tally.thaw(tally), said)

    def _take_entry(self, entry: LogEntry) -> None:
        said = self._said
        match entry:
            case SessionStart():
                self._take_start(entry)
            case LabelsChanged():
                if entry.title is not msgspec.UNSET:
                    said.title = entry.title
                said.labels = merge_labels(said.labels, entry.labels)
            case UserInput(item=item) if not said.first_words:
                said.first_words = _user_words(item)
            case Extension(domain=domain, payload=dict(note)) if domain == _IMPORT_DOMAIN:
                self._take_note(note)
            case Extension(domain=domain, payload={"session_id": str(spawned)}) if domain.endswith(_SPAWN_SUFFIX):
                self._spawned = spawned
            case AgentEventEntry(event={"type": "AgentStart", "metadata": {"cwd": str(cwd)}}):
                said.project = said.project or cwd
            case AgentEventEntry(event={"type": "SpawnLinked", "parent_session_id": str(parent)} as event):
                if event.get("child_session_id") == self._tally.stats.session_id and said.parent is None:
                    said.parent, said.kind = parent, "agent" if said.kind == "main" else said.kind
            case _:
                pass

    def _take_start(self, start: SessionStart) -> None:
        said = self._said
        said.title, said.labels = start.title, dict(start.labels)
        if self.head is not None:
            return
        said.origin = start.forked_from or start.compacted_from
        if said.origin is None:
            said.first_words = next(filter(None, map(_user_words, start.history)), "")
        else:
            said.kind = "fork" if start.forked_from is not None else "compaction"

    def _take_note(self, note: Mapping[str, Any]) -> None:
        """Take what an import says of the file that the session is from."""
        said = self._said
        for name, member in (("project", "cwd"), ("agent", "format"), ("version", "version")):
            value = note.get(member)
            if isinstance(value, str) and getattr(said, name) is None:
                setattr(said, name, value)
        parent = note.get("parent")
        if note.get("role") == "agent" and isinstance(parent, str) and said.parent is None:
            said.parent, said.kind = parent, "agent" if said.origin is None else said.kind


def _user_words(item: Item) -> str:
    if not isinstance(item, Message) or item.role != "user":
        return ""
    return _SPACES.sub(" ", item.text[: 4 * FIRST_WORDS_CHARS_MAX]).strip()[:FIRST_WORDS_CHARS_MAX]


def _bounded(ts: int | None) -> int | None:
    return None if ts is None else max(-NUMBER_MAX, min(ts, NUMBER_MAX))


def _bounded_tokens(tokens: Tokens) -> Tokens:
    return Tokens(**{name: min(count, NUMBER_MAX) for name, count in vars(tokens).items()})
