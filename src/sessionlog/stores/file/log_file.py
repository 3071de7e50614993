"""One open log: lock, check, write, cut back. All calls block; who calls it decides on which thread.

What is remembered between commits, the head and the size, is trusted only under the lock and only while the path still
names the same file with the same size; everything else is read again or refused. Nothing is written before that check.
"""

import contextlib
import os
from typing import Final

from ...errors import CorruptLog, Damage, SessionNotFound
from ...ids import Head
from ...record import HASHED_FROM
from .layout import Layout, not_a_log, store_failed
from .repair import cut_tail
from .spans import write_all
from .system import System
from .tail import read_tail, scan

CATCH_UP_BYTES_MAX: Final = 4 * 1024 * 1024
"""Up to here, what others appended is checked record by record; behind more, the last record alone is."""


class LogFile:
    """A session's log, open for appending."""

    def __init__(
        self,
        fd: int,
        status: os.stat_result,
        *,
        adopted: bool,
        session_id: str,
        layout: Layout,
        system: System,
        line_bytes_max: int,
    ) -> None:
        """Take over the open file ``fd``; nothing is read before the first :meth:`refresh`.

        ``adopted``: it was found, and belongs to another user. Without a record it is none of ours.
        """
        self.fd = fd
        self.session_id = session_id
        self.head: Head | None = None
        self.size: int = -1
        self.name_flushed = False
        self.spent: bool = False
        """To be closed as soon as no flush of it is due."""
        self.flush_error: OSError | None = None
        """Why it is unknown what of it is on the disk."""
        self._adopted = adopted
        self._device, self._inode = status.st_dev, status.st_ino
        self._path = layout.log_path(session_id)
        self._layout = layout
        self._system = system
        self._line_bytes_max = line_bytes_max

    @property
    def path(self) -> str:
        """Where the log lies."""
        return self._path

    def try_lock(self) -> bool:
        """Take the log's lock if it is free. Raises :class:`StoreFailed`."""
        try:
            return self._system.try_lock(self.fd)
        except OSError as error:
            raise store_failed(error, self._path, "cannot lock the log") from error

    def unlock(self) -> None:
        """Let go of the lock. Where that fails, closing the file does it: ``spent`` asks for that."""
        try:
            self._system.unlock(self.fd)
        except OSError:
            self.spent = True

    def close(self) -> None:
        """Close the file, and with it the lock; the descriptor is gone whatever the system says."""
        self._layout.close(self.fd)

    def remove_if_empty(self) -> None:
        """Under the lock: take back a log that was made and got no record. What cannot be removed stays, empty."""
        if self.size == 0:
            with contextlib.suppress(OSError):
                self._system.unlink(self._path)

    def is_current(self) -> bool:
        """Tell, without the lock, whether ``head`` is the log's head at this moment."""
        try:
            status = self._system.lstat(self._path)
        except OSError:
            return False
        return (
            status.st_size == self.size
            and status.st_nlink == 1
            and status.st_ino == self._inode
            and status.st_dev == self._device
        )

    def append_now(self, data: bytes, head: Head) -> bool:
        """Lock, check that nothing changed, append, unlock; False, with nothing written, if that does not do.

        The caller has seen that ``data``, whole records that end at ``head``, chain onto ``self.head``. Raises
        :class:`StoreFailed` as :meth:`write`.
        """
        try:
            if self.spent or not self._system.try_lock(self.fd):
                return False
        except OSError:
            return False  # the whole way meets it again, and tells it
        try:
            if not self.is_current():
                return False
            self.write(data, head)
        finally:
            self.unlock()
        return True

    def refresh(self) -> bool:
        """Under the lock: bring ``head`` and ``size`` up to date, repairing a torn tail.

        Returns False when the path no longer names this file, since the session was deleted, and made anew or not: open
        it again. Raises :class:`CorruptLog` if the log was cut or damaged since this store knew it, or replaced by
        another file that begins with the same record; :class:`StoreFailed`.
        """
        try:
            status: os.stat_result | None = self._system.lstat(self._path)
        except FileNotFoundError:
            status = None
        except OSError as error:
            raise store_failed(error, self._path, "cannot read its state") from error
        if status is None or (status.st_dev, status.st_ino) != (self._device, self._inode):
            if status is not None and self._is_copied():
                raise self._changed("the file was replaced since this store wrote to it")
            return False
        if status.st_size == self.size and status.st_nlink == 1:
            return True
        if status.st_nlink != 1:
            raise self._changed("the file got a second hard link, so another name could change it")
        if status.st_size < self.size:
            raise self._changed(f"the file was cut to {status.st_size} bytes, {self.size} were there")
        self._catch_up(status.st_size)
        return True

    def write(self, data: bytes, head: Head) -> None:
        """Under the lock and refreshed: append ``data``, whole records that end at ``head``.

        Raises :class:`StoreFailed`; the file is cut back to where it was, or else it is ``poisoned``.
        """
        try:
            written = self._system.write(self.fd, data)
            if written != len(data):
                write_all(self._system, self.fd, data[written:])
        except OSError as error:
            failure = store_failed(error, self._path, "cannot append, nothing was written")
            self._cut(self.size, failure)
            raise failure from error
        self.size += len(data)
        self.head = head

    def _cut(self, size: int, cause: Exception) -> None:
        try:
            self._system.ftruncate(self.fd, size)
        except OSError as error:
            reason = "the append failed and its bytes cannot be cut off again"
            raise store_failed(error, self._path, reason, poisoned=True) from cause

    def _is_copied(self) -> bool:
        """Tell whether the file that has the log's name now begins with the record that was known to be the first.

        A log that was deleted is empty, so nothing is told of one that was made anew after that.
        """
        if self.size < 0:
            return False
        try:
            other = self._layout.open_to_read(self.session_id)
        except SessionNotFound:
            return False
        try:
            start = self._system.pread(self.fd, HASHED_FROM, 0)
            return bool(start) and start == self._system.pread(other, HASHED_FROM, 0)
        except OSError as error:
            raise store_failed(error, self._path, "cannot read the start of the log") from error
        finally:
            self._layout.close(other)

    def _catch_up(self, size: int) -> None:
        """Learn what others appended behind what is known, and repair a torn tail."""
        try:
            if self.size >= 0 and size - self.size <= CATCH_UP_BYTES_MAX:
                scanner = scan(
                    self._system,
                    self.fd,
                    self.session_id,
                    size,
                    line_bytes_max=self._line_bytes_max,
                    head=self.head,
                    offset=self.size,
                )
                head, end = scanner.head, scanner.offset
            else:
                tail = read_tail(self._system, self.fd, self.session_id, size, line_bytes_max=self._line_bytes_max)
                head, end = tail.head, tail.end
            if head is None and self._adopted:
                raise not_a_log(self.session_id, "it holds no record and belongs to another user: see who put it there")
            if end < size:
                cut_tail(self._system, self._layout, self.fd, self.session_id, end=end, size=size)
        except OSError as error:
            raise store_failed(error, self._path, "cannot read or repair the end of the log") from error
        self.head, self.size = head, end

    def _changed(self, reason: str) -> CorruptLog:
        seq = 0 if self.head is None else self.head.seq + 1
        return CorruptLog(
            f"{reason}; nothing was written",
            damage=Damage.FILE,
            seq=seq,
            offset=None if self.size < 0 else self.size,
            session_id=self.session_id,
        )


__all__ = ["CATCH_UP_BYTES_MAX", "LogFile"]
