"""The logs that are open for appending: a bounded number, the least recently used closed first; and committing to them.

Everything here blocks and is for one thread at a time: the event loop's, or the group commit's worker. The one
exception is :meth:`OpenLogs.flush`, beside which logs may be appended to, since nothing closes a file that is in it.
"""

import errno
import os
import resource
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from ...errors import HeadConflict, SessionExists, SessionLogError, StoreFailed
from ...ids import Head
from ...record import HashedEntry
from .commit import Commit, Fate, Request
from .deleting import delete_log
from .layout import Layout, logger, store_failed
from .log_file import LogFile
from .system import System

OPEN_LOGS_MAX: Final = 4096
OPEN_LOGS_MIN: Final = 8
FLUSH_EACH_MAX: Final = 4
"""Up to here, files are flushed one by one; more of them with one call for the file system, where there is one."""


class OpenLogs:
    """Opens, keeps, commits to and flushes logs."""

    def __init__(self, layout: Layout, system: System, *, durable: bool, line_bytes_max: int) -> None:
        """Keep at most a quarter of the descriptors that the process may have, and at most ``OPEN_LOGS_MAX``."""
        self._layout = layout
        self._system = system
        self._durable = durable
        self._line_bytes_max = line_bytes_max
        self._logs: OrderedDict[str, LogFile] = OrderedDict()
        self._poisoned: dict[str, StoreFailed] = {}
        self._unflushed: dict[str, LogFile] = {}
        """Written to since the last flush began."""
        self._in_flush: dict[str, LogFile] = {}
        """Written to before the flush that is running; empty where none is. These, too, are not to be closed."""
        self._root_made = False
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        quarter = OPEN_LOGS_MAX if limit == resource.RLIM_INFINITY else limit // 4
        self.open_max: int = max(OPEN_LOGS_MIN, min(OPEN_LOGS_MAX, quarter))

    def __len__(self) -> int:
        """Return how many logs are open."""
        return len(self._logs)

    def commit(self, batch: Sequence[Request]) -> dict[str, StoreFailed]:
        """Settle every request of ``batch``: one write a log, then the fewest flushes; then deletions. Never raises.

        What :meth:`append_now` wrote is flushed with it. Returns the sessions whose flush failed.
        """
        by_session: dict[str, list[Commit]] = {}
        deletions: list[Request] = []
        for request in batch:
            request.fate = Fate.TAKEN
            if isinstance(request, Commit):
                by_session.setdefault(request.session_id, []).append(request)
            else:
                deletions.append(request)
        sessions = list(by_session.items())
        failures: dict[str, StoreFailed] = {}
        while sessions or self._unflushed:
            part = sessions[: self.open_max - len(self._unflushed)]
            del sessions[: len(part)]
            for session_id, commits in part:
                self._write_session(session_id, commits)
            logs = self.begin_flush()
            failed = self.end_flush(self.flush(logs) if self._durable else {})
            for session_id, commits in part:
                _settle(commits, failed.get(session_id))
            failures.update(failed)
        for deletion in deletions:
            self._delete(deletion)
        return failures

    def begin_flush(self) -> list[LogFile]:
        """Return the logs to flush: written to since the last flush, which has ended; they stay open until this has.

        One whose flush has failed is left out. There is nothing left to learn of it, and its file has told of an error
        of the file system once and would not again: a flush of the file system through it could go well in silence.
        """
        self._in_flush, self._unflushed = self._unflushed, {}
        return [log for log in self._in_flush.values() if log.flush_error is None]

    def flush(self, logs: Sequence[LogFile]) -> dict[str, OSError]:
        """Make what was written to ``logs`` durable, with the fewest calls; return what kept some of them from it.

        Never raises: what breaks off has failed for all of them.
        """
        try:
            return self._flush(logs)
        except BaseException as error:  # noqa: BLE001 - out of memory, or a bug: nobody knows what is durable
            return broken_off(logs, error)

    def end_flush(self, errors: Mapping[str, OSError]) -> dict[str, StoreFailed]:
        """Take the outcome of :meth:`flush`: poison the logs that it failed for, they alone, and return how.

        So it goes for what was appended to them while that flush ran: no later flush tells whether it is durable.
        """
        logs, self._in_flush = self._in_flush, {}
        failures: dict[str, StoreFailed] = {}
        for session_id, log in logs.items():
            log.flush_error = errors.get(session_id, log.flush_error)
            if log.flush_error is not None:
                failures[session_id] = self._poison(log, log.flush_error)
            if log.spent:
                self._close_when_flushed(log)
        return failures

    def append_now(self, session_id: str, record: HashedEntry) -> bool:
        """Append one record to a log that is open, free and as it was left; False, with nothing written, otherwise.

        The short way for what mostly happens; :meth:`commit` is the whole one, and flushes what this wrote. Raises
        :class:`StoreFailed`.
        """
        log = self._logs.get(session_id)
        if log is None:
            return False
        head = log.head
        if head is None or record.prev_hash != head.hash or record.seq != head.seq + 1:
            return False
        try:
            done = log.append_now(record.line + b"\n", Head(record.seq, record.hash))
        except StoreFailed as failure:
            self._give_up(session_id, failure)
            raise
        if done:
            self._logs.move_to_end(session_id)
            if self._durable:
                self._unflushed[session_id] = log
        if log.spent:
            self._close_when_flushed(log)
        return done

    def known(self, session_id: str) -> LogFile | None:
        """Return the open log of this session, if there is one."""
        return self._logs.get(session_id)

    def close(self) -> None:
        """Close all."""
        while self._logs:
            self._close_oldest()

    def _delete(self, deletion: Request) -> None:
        """Delete a session; all that was appended to it is flushed and acknowledged by now, or has failed."""
        session_id = deletion.session_id
        try:
            self._check_poisoned(session_id)
            self.forget(session_id)
            done = delete_log(
                self._layout, self._system, session_id, deletion.expected, line_bytes_max=self._line_bytes_max
            )
            deletion.fate = Fate.DONE if done else Fate.LOCKED
        except (SessionLogError, OSError) as error:
            failure = error if isinstance(error, SessionLogError) else _unexpected(error, self._layout.root)
            self._give_up(session_id, failure)
            deletion.fail(failure)

    def _write_session(self, session_id: str, commits: list[Commit]) -> None:
        """Lock one log, check the conditions, write what meets them, unlock."""
        try:
            if len(commits) == 1 and self._write_known(commits[0]):
                return
            self._check_poisoned(session_id)
            log = self._locked(session_id, commits)
            if log is None:
                for commit in commits:
                    commit.fate = Fate.LOCKED
                return
            try:
                accepted = _accept(log, commits)
                if accepted:
                    data = accepted[0].data if len(accepted) == 1 else b"".join([one.data for one in accepted])
                    log.write(data, accepted[-1].head)
                    self._unflushed[session_id] = log
            except BaseException:
                log.remove_if_empty()
                raise
            finally:
                log.unlock()
        except (SessionLogError, OSError) as error:
            failure = error if isinstance(error, SessionLogError) else _unexpected(error, self._layout.root)
            self._give_up(session_id, failure)
            for commit in commits:
                if commit.error is None:
                    commit.fail(failure)

    def _write_known(self, commit: Commit) -> bool:
        """Write a commit to a log that is open, free and as it was left; False, with nothing written, otherwise."""
        log = self._logs.get(commit.session_id)
        if log is None or log.head is None or log.head != commit.expected:
            return False
        if not log.append_now(commit.data, commit.head):
            return False
        self._logs.move_to_end(commit.session_id)
        self._unflushed[commit.session_id] = log
        return True

    def _locked(self, session_id: str, commits: Sequence[Commit]) -> LogFile | None:
        """Return the log, locked and refreshed; ``None`` if another has the lock."""
        while True:
            may_create = any(commit.expected is None for commit in commits)
            log = self._logs.get(session_id) or self._open(session_id, may_create=may_create)
            if not log.try_lock():
                return None
            try:
                if log.refresh():
                    self._logs.move_to_end(session_id)
                    return log
            except BaseException:
                log.unlock()
                raise
            self.forget(session_id)  # deleted or made anew since it was opened: open what is there now

    def _open(self, session_id: str, *, may_create: bool) -> LogFile:
        while len(self._logs) >= self.open_max:
            self._close_oldest()
        try:
            log = self._open_now(session_id, may_create=may_create)
        except StoreFailed as failure:
            idle = self._logs.keys() - self._unflushed.keys()
            if not _out_of_descriptors(failure) or not idle:
                raise
            for other in idle:  # the rest of this process holds more than we thought: make room, once
                self._forget(other)
            log = self._open_now(session_id, may_create=may_create)
        self._logs[session_id] = log
        return log

    def _open_now(self, session_id: str, *, may_create: bool) -> LogFile:
        made = None
        if may_create:
            if not self._root_made:
                self._layout.make_root()
                self._root_made = True
            if self._durable:
                self._layout.flush_root()
            made = self._layout.create(session_id)
        fd, status = made or self._layout.open_to_write(session_id)
        if self._durable and made is None:
            try:
                self._layout.flush_root()
            except StoreFailed:
                self._layout.close(fd)
                raise
        return LogFile(
            fd,
            status,
            adopted=made is None and status.st_uid != os.geteuid(),
            session_id=session_id,
            layout=self._layout,
            system=self._system,
            line_bytes_max=self._line_bytes_max,
        )

    def _flush(self, logs: Sequence[LogFile]) -> dict[str, OSError]:
        errors: dict[str, OSError] = {}
        if len(logs) <= FLUSH_EACH_MAX or not self._flush_together(logs, errors):
            for log in logs:
                try:
                    self._system.flush(log.fd)
                except OSError as error:
                    errors[log.session_id] = error
        unnamed = [log for log in logs if not log.name_flushed]
        if unnamed:
            try:
                self._system.flush_directory(str(self._layout.root))
            except OSError as error:
                errors.update({log.session_id: error for log in unnamed})
            else:
                for log in unnamed:
                    log.name_flushed = True
        return errors

    def _flush_together(self, logs: Sequence[LogFile], failed: dict[str, OSError]) -> bool:
        """Flush the file system; False where that is not to be had."""
        try:
            return self._system.flush_file_system(logs[0].fd)
        except OSError as error:
            failed.update({log.session_id: error for log in logs})
            return True

    def _poison(self, log: LogFile, cause: OSError) -> StoreFailed:
        reason = "the flush failed, so what is on the disk is unknown: close the store, open it again and read the log"
        failure = store_failed(cause, log.path, reason, poisoned=True)
        failure.__cause__ = cause
        logger.info("%s", failure)
        self._poisoned[log.session_id] = failure
        log.spent = True
        return failure

    def _check_poisoned(self, session_id: str) -> None:
        earlier = self._poisoned.get(session_id)
        if earlier is not None:
            raise StoreFailed(f"closed for writing since: {earlier.reason}", path=earlier.path, poisoned=True)

    def _give_up(self, session_id: str, failure: SessionLogError) -> None:
        """Close the log after a failure, behind the flush that is due; for good if nobody knows what is on the disk."""
        log = self._logs.get(session_id)
        if log is not None:
            log.spent = True
            self._close_when_flushed(log)
        if isinstance(failure, StoreFailed) and failure.poisoned:
            self._poisoned.setdefault(session_id, failure)

    def _close_when_flushed(self, log: LogFile) -> None:
        """Close a log that is spent, unless a flush of it is due or running: the end of that closes it."""
        if log.session_id not in self._unflushed and log.session_id not in self._in_flush:
            self._forget(log.session_id)

    def forget(self, session_id: str) -> None:
        """Close a log that is deleted or replaced; nothing of it is to be flushed any more."""
        self._unflushed.pop(session_id, None)
        self._forget(session_id)

    def _forget(self, session_id: str) -> None:
        log = self._logs.pop(session_id, None)
        if log is not None:
            log.close()

    def _close_oldest(self) -> None:
        self._logs.popitem(last=False)[1].close()


def broken_off(logs: Iterable[LogFile], error: BaseException) -> dict[str, OSError]:
    """Return that the flush of ``logs`` failed, for a reason that is none of the disk's."""
    cause = OSError(errno.EIO, f"the flush broke off: {error!r}")
    cause.__cause__ = error
    return {log.session_id: cause for log in logs}


def _accept(log: LogFile, commits: Sequence[Commit]) -> list[Commit]:
    """Return the commits that chain onto ``log`` one after the other; the others end as conflicts."""
    accepted: list[Commit] = []
    head = log.head
    for commit in commits:
        if commit.expected == head:
            accepted.append(commit)
            head = commit.head
        elif commit.creates:
            commit.fail(SessionExists(commit.session_id))
        else:
            commit.fail(HeadConflict(commit.session_id, expected=commit.expected, found=head))
    return accepted


def _settle(commits: Iterable[Commit], failure: StoreFailed | None) -> None:
    """End the commits that were written: well, or with the failure of the flush."""
    for commit in commits:
        if commit.fate is not Fate.LOCKED and commit.error is None:
            commit.fate, commit.error = Fate.DONE, failure


def _out_of_descriptors(failure: StoreFailed) -> bool:
    cause = failure.__cause__
    return isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE)


def _unexpected(error: OSError, root: Path) -> StoreFailed:
    failure = store_failed(error, root, "the system refused")
    failure.__cause__ = error
    return failure
