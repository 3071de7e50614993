"""What an importer of one transcript format has to say; everything else is the same for all and lives beside this file.

A :class:`Format` knows a line when it sees one, and makes a :class:`Transcript` for each file. The engine reads the
file twice. First it shows every object to ``add``, asks ``header`` who this is, and lets ``plan`` place the objects in
sessions; then it asks ``entries`` of each what it says. Reading lines, limits, notes, resumption, commits, provenance
and reports are the engine's: a format never sees the store.

*What is said of a file must hold for the file as it grows.* ``header``, and where ``plan`` puts an object, should
follow from the object and what stands before it; then importing a growing file in any steps gives the records of
importing it at once. :class:`~.layout.Layout` places objects in this way.

A transcript that tells of loops (:class:`~.told.TellsLoops`) is asked one question more, beside ``entries``; the
agent events are made of its answers, for all formats alike, in :mod:`.loop_events`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from ..entries import LogEntry, RequestConfig
from ..ids import SessionId
from ..items import Item
from .lines import Found
from .plan import Plan, SessionRole
from .usage import Due


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """Who a transcript is.

    ``session_id`` is the main session's; ``parent`` the session that spawned it (``role`` is then ``agent``) or that it
    continues; ``agent`` any JSON value that is told of it. ``started_ms`` is the time of lines before the first that
    has one.
    """

    session_id: SessionId
    role: SessionRole = "main"
    parent: SessionId | None = None
    cwd: str | None = None
    version: str | None = None
    agent: Any = None
    started_ms: int = 0


class Kept(msgspec.Struct, frozen=True):
    """A reason to list an object that is imported all the same, as an ``extension``: it is not understood."""

    reason: str


NOT_UNDERSTOOD: Final = Kept("a message that is not understood: it is kept as an extension, not in the history")
"""For a message that has content, but none that becomes an item."""


class Transcript(Protocol):
    """One file, as it is being read."""

    def add(self, found: Found, *, fits: bool) -> str | Kept | None:
        """Take the next object in; ``fits`` tells whether its entries can be stored.

        Return a reason not to import it (a repetition, say), or with :class:`Kept` a reason only to list it; else
        ``None``. What does not fit is listed already, but keeps its place.
        """
        ...

    async def header(self) -> Header | None:
        """Return who this is, after the last ``add``; ``None`` when nothing in it makes a session so far."""
        ...

    def plan(self, base: SessionId, settled: Mapping[int, SessionId], taken: Iterable[SessionId]) -> Plan:
        """Place every object.

        Called after ``header``. ``base`` is the main session: the header's, or one numbered after it. ``settled`` tells
        where earlier imports put what they wrote, where it has to stay; ids that are ``taken`` are not for new
        sessions. May be called again.
        """
        ...

    def usage(self, plan: Plan, *, growing: bool | None) -> Mapping[SessionId, list[Due]]:
        """Return the tokens that each session has to log, in order; ``growing``: the file is still being written."""
        ...

    def time(self, found: Found) -> int | None:
        """Return the object's own time, in unix ms; ``None`` without one: then that of the object before counts."""
        ...

    def entries(self, found: Found, *, ts: int, config: RequestConfig, begins: bool = False) -> list[LogEntry]:
        """Return what the object says, at ``ts``, after the model was asked with ``config``; may be nothing.

        ``begins``: its ``summary`` stands in the first record of its session, and need not be said again. Called before
        ``add`` too, to see whether the entries can be stored.
        """
        ...

    def summary(self, found: Found) -> Sequence[Item]:
        """Return what the history of a compacted session starts with, from the object that the plan names for it."""
        ...


class Format(Protocol):
    """A transcript format: stateless, one object for all files."""

    @property
    def name(self) -> str:
        """Its name, as notes and the command line have it: lower case, with ``-``."""
        ...

    @property
    def domain(self) -> str:
        """The domain of the ``extension`` entries that hold what has no entry of its own."""
        ...

    @property
    def line_keys(self) -> Collection[str]:
        """Members that every line has: by them a line is found that was glued to the torn one before it."""
        ...

    def recognises(self, value: dict[str, Any]) -> bool:
        """Tell whether this object is a line of this format, and of no other."""
        ...

    def transcript(self, path: Path) -> Transcript:
        """Return the reader of one file, at its real path; nothing is read from there."""
        ...
