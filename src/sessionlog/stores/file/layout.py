"""Where things lie in a store's directory, and how they may be opened (FORMAT section 1).

    <root>/<session_id>.jsonl            the log
    <root>/<session_id>.trace.jsonl      its raw trace
    <root>/<session_id>.torn-<offset>    bytes that a repair set aside (then ``-2``, ``-3``, … if the name was taken)
    <root>/<session_id>.repairing        a log that is being repaired, until it takes the log's name

Directories are made 0700 and files 0600, whatever the umask. Writers refuse symlinks, whatever is no regular file, and
files with more than one hard link; readers refuse symlinks and whatever is no regular file. A trace is written to only
if it is this user's own.
"""

import contextlib
import errno
import logging
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from ...errors import CorruptLog, Damage, SessionLogError, SessionNotFound, StoreFailed
from ...ids import SessionId
from .stamps import is_settled, stamp
from .system import System

logger: Final = logging.getLogger("sessionlog.stores.file")

LOG_SUFFIX: Final = ".jsonl"
TRACE_SUFFIX: Final = ".trace.jsonl"
_LOG_NAME: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]{0,127})\.jsonl\Z", re.ASCII)


class Layout:
    """The paths of one store, and opening them by the rules."""

    def __init__(self, root: Path, system: System) -> None:
        """Lay the store out below ``root``, an absolute path."""
        self.root = root
        self._prefix = os.fspath(root) + os.sep
        self._system = system
        self._unflushed: list[Path] = [root.parent]
        """Directories whose entries may not be durable yet: the store's own one may have been made by anybody."""

    def log_path(self, session_id: str) -> str:
        """The path of a session's log."""
        return f"{self._prefix}{session_id}{LOG_SUFFIX}"

    def trace_path(self, session_id: str) -> str:
        """The path of a session's trace."""
        return f"{self._prefix}{session_id}{TRACE_SUFFIX}"

    def torn_path(self, session_id: str, offset: int, attempt: int) -> str:
        """The path of the ``attempt``-th file, counted from 1, for bytes set aside at ``offset``."""
        return f"{self._prefix}{session_id}.torn-{offset}" + ("" if attempt == 1 else f"-{attempt}")

    def repairing_path(self, session_id: str) -> str:
        """The path of the file that a repair writes before it takes the log's name."""
        return f"{self._prefix}{session_id}.repairing"

    def files_beside(self, session_id: str) -> list[str]:
        """Return the paths of what lies beside a session's log and goes with it: trace, torn and unfinished files.

        Raises ``OSError``.
        """
        ours = re.compile(rf"{session_id}\.(trace\.jsonl|torn-[0-9]+(-[0-9]+)?|repairing)", re.ASCII)
        names = self._system.list_names(os.fspath(self.root))
        return [self._prefix + name for name in sorted(names) if ours.fullmatch(name)]

    def make_root(self) -> None:
        """Make the store's directory, and those above it, where they are missing. Raises :class:`StoreFailed`."""
        missing: list[Path] = []
        path = self.root
        try:
            while not path.exists():
                missing.append(path)
                path = path.parent
            for path in reversed(missing):
                try:
                    self._system.mkdir(os.fspath(path), 0o700)
                except FileExistsError:
                    continue
                if path.parent not in self._unflushed:
                    self._unflushed.append(path.parent)
        except OSError as error:
            raise store_failed(error, path, "cannot make the store's directory") from error
        if not self.root.is_dir():
            raise StoreFailed("is no directory, so no store: give another path", path=self.root)

    def flush_root(self) -> None:
        """Make the store's directory, and those above it that were made here, durable; only what is not yet.

        The entry of the directory itself is flushed by whoever first needs it, since a process that made it may have
        been killed before, or did not flush. Raises :class:`StoreFailed`; what is left is tried again.
        """
        while self._unflushed:
            path = min(self._unflushed)  # the one above before the one below
            try:
                self._system.flush_directory(os.fspath(path))
            except PermissionError:
                pass  # a directory that this user may not even read, such as one of mode 0711: its owner's business
            except OSError as error:
                raise store_failed(error, path, "cannot flush the directory above the store") from error
            self._unflushed.remove(path)

    def remarks(self, session_id: str | None = None) -> list[str]:
        """Say who else may write to the store's directory, or to a session's log. Raises :class:`StoreFailed`."""
        path = os.fspath(self.root) if session_id is None else self.log_path(session_id)
        try:
            mode = self._system.lstat(path).st_mode
        except FileNotFoundError:
            return []
        except OSError as error:
            raise store_failed(error, path, "cannot read its state") from error
        others = [who for who, bit in (("its group", stat.S_IWGRP), ("everybody", stat.S_IWOTH)) if mode & bit]
        if stat.S_ISLNK(mode) or not others:
            return []
        wanted = "700" if session_id is None else "600"
        return [f"{path}: {' and '.join(others)} may write to it (mode {stat.S_IMODE(mode):o}): chmod {wanted}"]

    def is_taken(self, session_id: str) -> bool:
        """Tell whether a log, or anything else, has the session's name. Raises :class:`StoreFailed`."""
        path = self.log_path(session_id)
        try:
            self._system.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise store_failed(error, path, "cannot read its state") from error
        return True

    def open_to_read(self, session_id: str) -> int:
        """Open a session's log to read. Raises :class:`SessionNotFound`, :class:`CorruptLog`, :class:`StoreFailed`."""
        return self._open_log(session_id, os.O_RDONLY)[0]

    def open_to_write(self, session_id: str) -> tuple[int, os.stat_result]:
        """Open a session's log to append. Raises as :meth:`open_to_read`; for hard links too."""
        fd, status = self._open_log(session_id, os.O_RDWR | os.O_APPEND)
        if status.st_nlink > 1:
            self.close(fd)
            raise not_a_log(session_id, "it has a second hard link, so another name could change it: copy it instead")
        return fd, status

    def create(self, session_id: str) -> tuple[int, os.stat_result] | None:
        """Make an empty log and open it to append; ``None`` if the name is taken. Raises :class:`StoreFailed`."""
        path = self.log_path(session_id)
        try:
            fd = self._system.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except FileExistsError:
            return None
        except OSError as error:
            raise store_failed(error, path, "cannot make the log") from error
        try:
            self._system.fchmod(fd, 0o600)
            logger.debug("%s: made", path)
            return fd, self._system.fstat(fd)
        except OSError as error:
            self.close(fd)
            raise store_failed(error, path, "cannot make the log") from error

    def close(self, fd: int) -> None:
        """Close what was only read, flushed already or opened in vain; it is closed whatever the system says."""
        with contextlib.suppress(OSError):
            self._system.close(fd)

    def open_trace(self, session_id: str) -> int:
        """Open a session's trace to append, making it where it is missing. Raises :class:`StoreFailed`."""
        path = self.trace_path(session_id)

        def refused(reason: str) -> StoreFailed:
            return StoreFailed(f"what lies in the trace's place is refused: {reason}", path=Path(path))

        fd, status = self._open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, refused)
        try:
            if status.st_nlink != 1:
                raise refused("it has a second hard link, so another name could change it")
            if status.st_uid != os.geteuid():
                raise refused("it belongs to another user")
        except StoreFailed:
            self.close(fd)
            raise
        return fd

    def sessions(self) -> list[SessionId]:
        """Return the ids of all logs, last written first; none if the directory is not there yet."""
        return [name for _, name in sorted((-status.st_mtime_ns, name) for name, status in self._statuses())]

    def stamps(self) -> dict[SessionId, str]:
        """Return the change token of each log; one that is unsettled gets a token that no other call returns."""
        once = f"-{secrets.token_hex(8)}"
        return {name: stamp(status) + ("" if is_settled(status) else once) for name, status in self._statuses()}

    def _statuses(self) -> Iterator[tuple[SessionId, os.stat_result]]:
        """Yield each log that is there, and its status."""
        try:
            with os.scandir(self.root) as found:
                matches = [(entry, _LOG_NAME.match(entry.name)) for entry in found]
        except FileNotFoundError:
            return
        except OSError as error:
            raise store_failed(error, self.root, "cannot list the store") from error
        for entry, match in matches:
            if match is None:
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # gone since it was listed
            except OSError as error:
                raise store_failed(error, Path(entry.path), "cannot read its state") from error
            yield SessionId(match[1]), status

    def _open_log(self, session_id: str, flags: int) -> tuple[int, os.stat_result]:
        try:
            return self._open(self.log_path(session_id), flags, lambda reason: not_a_log(session_id, reason))
        except FileNotFoundError:
            raise SessionNotFound(session_id) from None

    def _open(self, path: str, flags: int, refused: Callable[[str], SessionLogError]) -> tuple[int, os.stat_result]:
        """Open a regular file. Raises ``FileNotFoundError``, what ``refused`` makes of a reason, ``StoreFailed``."""
        try:
            fd = self._system.open(path, flags | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise refused("it is a symbolic link: put the file itself there") from error
            if error.errno in (errno.EISDIR, errno.ENXIO):
                raise refused("it is no regular file") from error
            raise store_failed(error, path, "cannot open") from error
        try:
            status = self._system.fstat(fd)
        except OSError as error:
            self.close(fd)
            raise store_failed(error, path, "cannot read its state") from error
        if not stat.S_ISREG(status.st_mode):
            self.close(fd)
            raise refused("it is no regular file")
        logger.debug("%s: opened", path)
        return fd, status


def store_failed(error: OSError, path: "str | Path", what: str, *, poisoned: bool = False) -> StoreFailed:
    """Return the typed error for what the system refused."""
    reason = error.strerror or str(error)
    return StoreFailed(f"{what}: {reason}", path=Path(path), poisoned=poisoned)


def not_a_log(session_id: str, reason: str) -> CorruptLog:
    """Return the typed error for what is no log of this store."""
    return CorruptLog(
        f"what lies in the log's place is refused: {reason}",
        damage=Damage.FILE,
        seq=0,
        offset=0,
        session_id=session_id,
    )
