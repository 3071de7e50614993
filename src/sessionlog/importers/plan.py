"""Which object of a file belongs to which session: what a format's reader decides and the writer carries out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Final, Literal, Protocol, TypeAlias

from blake3 import blake3

from ..ids import SESSION_ID_CHARS_MAX, SessionId

SessionRole: TypeAlias = Literal["main", "fork", "compaction", "agent"]
SHORT_UUID_CHARS: Final = 8
NAME_CHARS_MAX: Final = 40
"""What a derived session's id adds to its base, at most, beside the role."""
TRANSCRIPT_ID_CHARS_MAX: Final = 80
"""Leaves room in a session id for what derived sessions add."""


class Place(Protocol):
    """An object of the file: its 0-based ordinal, and its time in unix ms where it has one."""

    @property
    def ordinal(self) -> int:
        """How many objects stand before it."""
        ...

    @property
    def ts(self) -> int | None:
        """Its time."""
        ...


@dataclass(slots=True)
class PlannedSession:
    """A session that the file makes: which, where it comes from, and the object it starts at."""

    session_id: SessionId
    role: SessionRole
    first: Place | None
    source: "PlannedSession | None" = None
    parting: Place | None = None
    """The object of ``source`` after which this session parts; ``None``: at its very start."""
    summary: int | None = None
    """For a compaction: the ordinal of the object that says what its history starts with."""
    kept_from: int | None = None
    """For a compaction: the earlier object from which on the history is kept, behind the one item of the summary."""
    system_prompt: str | None = None
    """For a session without a source: what it starts with."""
    spawned_by: SessionId | None = None
    held: bool = False
    """A compaction whose summary is not in the file yet: nothing of it can be written."""


@dataclass
class Plan:
    """Where everything goes; the first of ``sessions`` is the main one. Ordinals are those of the file's objects."""

    sessions: list[PlannedSession] = field(default_factory=list)
    session_of: dict[int, PlannedSession] = field(default_factory=dict)
    waiting: dict[int, str] = field(default_factory=dict)
    """Objects that cannot be written yet, with the reason."""
    waits_for: dict[int, int] = field(default_factory=dict)
    """Objects whose parent stands later in the file, with the parent."""
    spawns: dict[int, tuple[str, SessionId, str | None]] = field(default_factory=dict)
    """Objects that tell of a sub-agent first: its id, its session, and the tool call that spawned it."""
    live: PlannedSession | None = None
    """The session that the conversation is in at the end of the file; ``None``: the main one."""


def derived_id(base: str, role: str, name: str) -> SessionId:
    """Return ``<base>-<role>-<name>``, with what may not stand in a session id replaced."""
    tail = f"-{role}-{safe_name(name, NAME_CHARS_MAX)}"
    return SessionId(safe_name(base, SESSION_ID_CHARS_MAX - len(tail)) + tail)


def safe_name(name: str, chars_max: int) -> str:
    """Return ``name`` if it may be part of a session id, else what is left of it and a hash of the whole."""
    clean = "".join(char if char.isascii() and (char.isalnum() or char in "-_") else "-" for char in name)
    if clean == name and 0 < len(name) <= chars_max:
        return name
    return f"{clean[: chars_max - 9].strip('-_') or 'x'}-{blake3(name.encode(errors='replace')).hexdigest()[:8]}"


def session_name(name: str) -> SessionId:
    """Return the session id that ``name`` gives to a whole file: itself where that can be one."""
    safe = safe_name(name.strip(), TRANSCRIPT_ID_CHARS_MAX)
    return SessionId(safe if safe[0].isalnum() else f"s{safe}")


class Names:
    """Gives derived sessions their ids: the settled one, else a short one that is free."""

    def __init__(self, base: SessionId, settled: Mapping[int, SessionId], taken: Iterable[SessionId]) -> None:
        """Derive from ``base``; what is ``settled`` stays, what is ``taken`` is passed over."""
        self._base = base
        self._settled = settled
        self._taken = {base, *settled.values(), *taken}

    def pick(self, ordinal: int, role: str, name: str) -> SessionId:
        """Return the id of the session of ``role`` that starts at object ``ordinal`` and is called ``name``."""
        if ordinal in self._settled:
            return self._settled[ordinal]
        short = name if role == "agent" else name[:SHORT_UUID_CHARS]
        candidates = chain((short, name), (f"{name}-{number}" for number in count(2)))
        ids = (derived_id(self._base, role, candidate) for candidate in candidates)
        session_id = next(session_id for session_id in ids if session_id not in self._taken)
        self._taken.add(session_id)
        return session_id
