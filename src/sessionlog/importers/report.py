"""What an import did, and how it fails."""

from pathlib import Path

import msgspec

from ..errors import SessionLogError
from ..ids import SessionId
from .plan import SessionRole


class NotUnderstood(msgspec.Struct, frozen=True):
    """A piece of the source that was not imported: its line, from 1, and the reason."""

    line: int
    reason: str


class ImportFailed(SessionLogError):
    """The file cannot be read, or is no transcript. What earlier commits of the same import wrote stays."""

    def __init__(self, path: Path, reason: str) -> None:
        """Name the file and the reason."""
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}")


class ImportedSession(msgspec.Struct, frozen=True, kw_only=True):
    """One session that a file makes.

    ``made`` tells whether this import made it; ``records_added`` counts the records that this import wrote to it, notes
    included. ``source`` is the session that it was forked or compacted from, or that spawned it.
    """

    session_id: SessionId
    role: SessionRole
    made: bool
    records_added: int
    source: SessionId | None = None


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What importing one file did.

    The file's pieces are ``imported`` (JSON objects that are in the store now), listed in ``not_understood`` (with the
    reason), or ``waiting`` (an unfinished last line; a compact boundary whose summary is not there yet; a file
    without any message): nothing else. A message that is not understood is imported, as an extension, and listed too.
    ``unchanged``: everything was there already, and nothing was written.
    ``older_copy``: besides, more of the same file is in the store; this is a beginning of it, such as a backup.
    ``passed_over`` says why the file is not meant to be imported, such as a trace beside a log.
    ``deleted`` names the sessions of the file that were deleted from the store, and those that would come from them:
    their pieces are not imported.
    ``format`` is the format's name, ``sessionlog`` for a log of ours; ``None`` for a file that is empty so far.
    ``live_session_id`` is the session that the last message of the file belongs to: the one to resume.
    """

    path: Path
    bytes_read: int
    format: str | None = None
    session_id: SessionId | None = None
    live_session_id: SessionId | None = None
    sessions: list[ImportedSession] = msgspec.field(default_factory=list)
    imported: int = 0
    imported_before: int = 0
    not_understood: list[NotUnderstood] = msgspec.field(default_factory=list)
    waiting: list[NotUnderstood] = msgspec.field(default_factory=list)
    unchanged: bool = False
    older_copy: bool = False
    passed_over: str | None = None
    deleted: list[SessionId] = msgspec.field(default_factory=list)

    @property
    def records_added(self) -> int:
        """How many records this import wrote, over all sessions."""
        return sum(session.records_added for session in self.sessions)


class ImportSummary(msgspec.Struct, frozen=True):
    """What importing several files did: a report for each, and the files that could not be imported."""

    reports: list[ImportReport]
    failures: list[ImportFailed]
