"""The catalog's file: an SQLite database that is made anew whenever it is not what it should be.

Blocking, for one thread at a time; any number of processes may use the same file. It is this user's alone (0600), and
SQLite gives its ``-wal`` and ``-shm`` the same mode. What is deleted is overwritten (``secure_delete``), and
:meth:`Database.scrub` takes it out of the ``-wal`` too.

A damaged file is overwritten by an empty catalog as one transaction, so that other processes that have it open see the
change. Only a file that SQLite takes for no database at all is replaced by another: nobody can have that one open.
"""

import contextlib
import os
import sqlite3
import stat
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final, Protocol, TypeVar

from .schema import APPLICATION_ID, SCHEMA, SCHEMA_VERSION, TABLES

T = TypeVar("T")

BUSY_MS: Final = 10_000
"""So long a writer waits for another process that writes."""
_CACHE_KIB: Final = 16 * 1024
_CHECKPOINT_PAGES: Final = 8 * 1024
"""So many pages the ``-wal`` may hold: each checkpoint waits for the disk twice."""
_REFUSALS: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_AUTH,
    }
)
"""What the system refuses, or another process holds up: no damage."""


class Database:
    """The open file."""

    def __init__(self, path: Path | None) -> None:
        """Open ``path``, making it for the user alone where it is missing; ``None``: in memory.

        What is no catalog of this version, or is damaged, is made anew: :attr:`rebuilt` says why. Raises ``OSError``
        and ``sqlite3.Error`` where no file can be made.
        """
        self.rebuilt: str | None = None
        self.path = path
        self.connection: sqlite3.Connection = self._connect()
        try:
            fault = self._fault()
            if fault is not None:
                self.remake(fault)
        except BaseException:
            self.connection.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Change the file, wholly or not at all."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield self.connection
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise

    def remake(self, fault: str) -> None:
        """Make the file an empty catalog, because of ``fault``. Raises ``OSError`` and ``sqlite3.Error``."""
        self.rebuilt = fault
        try:
            self.empty()
        except sqlite3.Error as error:
            if is_refusal(error) and error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_READONLY:
                raise  # read-only is how a database of another page size answers
            self._replace()

    def empty(self) -> None:
        """Overwrite all that is there by an empty catalog, in one transaction."""
        if self.path is None:
            self.connection.close()
            self.connection = self._connect()
            self._make()
            return
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
        with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
            model.execute("PRAGMA auto_vacuum = INCREMENTAL")
            _make(model)
            model.backup(self.connection)
        self.scrub()

    def shrink(self) -> None:
        """Give the space of what was deleted back to the file system."""
        self.connection.executescript("PRAGMA incremental_vacuum")  # execute() would stop after the first page

    def scrub(self) -> None:
        """Take what was deleted out of the ``-wal``. Raises ``sqlite3.Error`` if others read for too long."""
        if self.path is None:
            return
        busy, _, _ = self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise sqlite3.OperationalError("another process reads it: what was deleted stays in its -wal for now")

    def _replace(self) -> None:
        self.connection.close()
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self.path}{suffix}")
        self.connection = self._connect()
        again = self._fault()
        if again is not None:
            raise sqlite3.DatabaseError(again)

    def _connect(self) -> sqlite3.Connection:
        if self.path is not None:
            _claim(self.path)
        name = ":memory:" if self.path is None else str(self.path)
        return sqlite3.connect(name, isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1000)

    def _fault(self) -> str | None:
        """Set the file up; say why it is none of ours, or damaged. An empty file becomes a catalog."""
        connection = self.connection
        try:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # has its effect on an empty file alone
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if not tables:
                self._make()
                return None
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if application != APPLICATION_ID:
                return "it is a database of another program"
            if version != SCHEMA_VERSION:
                return f"it is of version {version}, this is version {SCHEMA_VERSION}"
            for table in TABLES:
                connection.execute(f"SELECT * FROM {table} LIMIT 1").fetchone()  # noqa: S608 - names of ours
            connection.execute("SELECT rowid FROM words WHERE words MATCH 'abc' LIMIT 1").fetchone()
        except sqlite3.Error as error:
            if is_refusal(error):
                raise
            return str(error)
        except UnicodeDecodeError:  # what SQLite quotes of the file in its message
            return "its schema is damaged"
        return None

    def _make(self) -> None:
        with self.transaction() as connection:
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if not tables:  # else another process was here first
                _make(connection)


class Call(Protocol):
    """Runs a function on the database, in a thread."""

    def __call__(self, call: Callable[[Database], T]) -> Awaitable[T]:
        """Return what ``call`` returns."""
        ...


def is_refusal(error: sqlite3.Error) -> bool:
    """Tell whether the system or another process is in the way, so that the file itself may be good."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _REFUSALS


def _make(connection: sqlite3.Connection) -> None:
    for statement in SCHEMA.split(";\n"):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _claim(path: Path) -> None:
    """Make the file where it is missing, for this user alone; refuse what is no regular file. Raises ``OSError``.

    A file that is there is not opened: closing it again would drop the locks that SQLite holds on it for this process
    (https://www.sqlite.org/howtocorrupt.html, section 2.2).
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    for suffix in ("", "-wal", "-shm"):
        try:
            mode = os.lstat(f"{path}{suffix}").st_mode
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(mode):
            raise OSError(f"{path}{suffix} is no regular file: move it away")
        if mode & 0o077:
            os.chmod(f"{path}{suffix}", 0o600)
