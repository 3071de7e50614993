"""Everything that sessionlog raises on purpose.

One base, and a class of its own only where a caller does something different about it: stop (``CorruptLog``), take
the new head and try again (``HeadConflict``), try again later (``SessionLocked``, ``StoreFailed``), or mend the call
(the rest). Each carries its facts as attributes; the text is for people and says what to do.
"""

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from .ids import Head


class SessionLogError(Exception):
    """The base of every error that sessionlog raises on purpose. Can be pickled: it may come from another process."""

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the text and the attributes; not each ``__init__`` takes the text."""
        return _restored, (type(self), self.args, self.__dict__)


class InvalidSessionId(SessionLogError):
    """The text cannot name a session. Nothing was read or written."""

    def __init__(self, session_id: object) -> None:
        """Name the refused text."""
        self.session_id = session_id
        shown = ascii(session_id)
        shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
        super().__init__(
            f"{shown} is no session id: 1 to 128 ASCII letters, digits, '-' and '_', a letter or digit first"
        )


class SessionNotFound(SessionLogError):
    """The store holds no session of this id."""

    def __init__(self, session_id: str) -> None:
        """Name the session that is not there."""
        self.session_id = session_id
        super().__init__(f"there is no session {session_id} in this store")


class SessionExists(SessionLogError):
    """The store holds a session of this id already; nothing was written."""

    def __init__(self, session_id: str) -> None:
        """Name the session that is there."""
        self.session_id = session_id
        super().__init__(f"session {session_id} exists already: open it, or take another id")


class EntryNotFound(SessionLogError):
    """The session holds no record with this hash: it never did, or the log was cut or made anew since."""

    def __init__(self, session_id: str, at_hash: str) -> None:
        """Name the session and the hash."""
        self.session_id = session_id
        self.at_hash = at_hash
        super().__init__(f"session {session_id} holds no record with hash {at_hash}")


class InvalidEntry(SessionLogError):
    """The entry cannot be kept faithfully, or cannot stand where it was put. Nothing was written."""

    def __init__(self, reason: str) -> None:
        """Say what cannot be kept, and where in the entry."""
        self.reason = reason
        super().__init__(reason)


class HeadConflict(SessionLogError):
    """The log's head is another one than an append or a deletion was made for; nothing was changed.

    Another writer appended first, or made the session anew. Read the log again, then append on ``found``, or fork.
    """

    def __init__(self, session_id: str, *, expected: "Head | None", found: "Head | None") -> None:
        """Keep the head that was expected and the one that the log has."""
        self.session_id = session_id
        self.expected = expected
        self.found = found
        super().__init__(
            f"session {session_id}: the head was expected to be {_head_text(expected)}, "
            f"the log is at {_head_text(found)}; nothing was changed: read again and append on it, or fork"
        )


class SessionContended(SessionLogError):
    """Other writers came first each time that a change was decided, many times over; nothing was written.

    Try again later, with fewer writers on one session.
    """

    def __init__(self, session_id: str, *, attempts: int) -> None:
        """Keep how many times the change was decided."""
        self.session_id = session_id
        self.attempts = attempts
        super().__init__(
            f"session {session_id}: other writers appended first {attempts} times in a row; nothing was written: "
            "try again later, or let fewer writers share the session"
        )


class SessionHeld(SessionLogError):
    """The session may not be deleted: it has the label ``hold``, or holds the receipts. Nothing was changed."""

    def __init__(self, session_id: str, reason: str) -> None:
        """Say why the session is kept, and what to do."""
        self.session_id = session_id
        self.reason = reason
        super().__init__(f"session {session_id} may not be deleted: {reason}")


class SessionLocked(SessionLogError):
    """Another writer held the session's lock for the whole waiting time; nothing was written. Try again later."""

    def __init__(self, session_id: str, *, waited_s: float) -> None:
        """Keep for how long the lock was tried."""
        self.session_id = session_id
        self.waited_s = waited_s
        super().__init__(f"session {session_id} stayed locked by another writer for {waited_s:g} s; try again later")


class Damage(StrEnum):
    """What is wrong with a log, in one word: the code of a finding and of :class:`CorruptLog`."""

    BYTE_ORDER_MARK = "byte_order_mark"
    CARRIAGE_RETURN = "carriage_return"
    BLANK_LINE = "blank_line"
    NUL_BYTES = "nul_bytes"
    LINE_TOO_LONG = "line_too_long"
    SHAPE = "shape"
    HEX = "hex"
    RESERIALISED = "reserialised"
    HASH = "hash"
    LINK = "link"
    SEQ = "seq"
    FIRST_RECORD = "first_record"
    WRONG_SESSION = "wrong_session"
    UNKNOWN_FORMAT = "unknown_format"
    ENCODING = "encoding"
    JSON = "json"
    DUPLICATE_MEMBER = "duplicate_member"
    LIMIT = "limit"
    ENVELOPE = "envelope"
    ENTRY = "entry"
    PROVENANCE = "provenance"
    FILE = "file"


class CorruptLog(SessionLogError):
    """The log is damaged or was changed: stop. Nothing was written.

    ``seq`` is the position of the first bad record and ``line`` its 1-based line. ``offset`` is the byte, in the log as
    ``read_raw`` streams it, where that record's line starts; ``None`` if it is not known, because the log was not
    read from its first record or from a :class:`Position`. ``damage`` is the kind of fault and ``reason`` the fault in
    words.
    """

    def __init__(
        self,
        reason: str,
        *,
        damage: Damage,
        seq: int,
        offset: int | None,
        session_id: str | None = None,
    ) -> None:
        """Name the record and the fault."""
        self.session_id = session_id
        self.damage = damage
        self.seq = seq
        self.line: int = seq + 1
        self.offset = offset
        self.reason = reason
        name = f"session {session_id}" if session_id else "log"
        where = f"record {seq} (line {self.line}" + ("" if offset is None else f", byte {offset}") + ")"
        super().__init__(f"{name} is damaged or was changed at {where}: {reason}")


class UnknownStore(SessionLogError):
    """The text names no store that can be opened here; nothing was read or written."""

    def __init__(self, where: str, reason: str) -> None:
        """Keep what was asked for, and why it cannot be had."""
        self.where = where
        self.reason = reason
        super().__init__(f"cannot open the store {where!a}: {reason}")


class WrongEventLoop(SessionLogError):
    """The store belongs to another event loop, which still runs; nothing was read or written.

    A store belongs to the event loop, and so the thread, that first used it. Make a store for each loop: any number of
    them may work on one directory. Once the owner has ended, another loop may use the store. A blocking call on the
    thread that runs all blocking calls raises this, too: it would wait for itself.
    """

    def __init__(
        self,
        reason: str = "the store belongs to another event loop or thread, which used it first: nothing was read or "
        "written; make a store of your own here, on the same directory, or call it on its own loop",
    ) -> None:
        """Say what is wrong and what to do."""
        super().__init__(reason)


class StoreFailed(SessionLogError):
    """The disk, or what stands in the place of the store, refused.

    After a refused write the log is as it was before. After a refused flush (``poisoned``) nobody knows what
    reached the disk: the store never writes to that session again until it is opened anew, and then verifies it.
    """

    def __init__(self, reason: str, *, path: "Path | None" = None, poisoned: bool = False) -> None:
        """Keep the reason, the path that it concerns, and whether the handle is closed for good."""
        self.reason = reason
        self.path = path
        self.poisoned = poisoned
        super().__init__(reason if path is None else f"{path}: {reason}")


class WorkerDied(SessionLogError):
    """A process that works for this one ended before it was done, such as one that was killed for want of memory.

    What it had committed stays, and a commit under way is wholly in or wholly out. Try again, with fewer ``jobs`` if
    the memory is short. ``started`` is false if it never came to its work.
    """

    def __init__(self, reason: str, *, started: bool) -> None:
        """Say how it ended."""
        self.reason = reason
        self.started = started
        super().__init__(f"a worker process died ({reason}): try again, with fewer jobs")


def _restored(kind: type[SessionLogError], args: tuple[object, ...], attributes: dict[str, object]) -> SessionLogError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


def _head_text(head: "Head | None") -> str:
    return "nothing" if head is None else f"{head.seq} ({head.hash[:12]})"
