"""Raw traces beside the logs: one JSON value a line, for debugging. Unchained, unflushed, never read by the store."""

from collections import OrderedDict
from typing import Any, Final

import msgspec

from ...errors import SessionNotFound
from .layout import Layout, store_failed
from .spans import write_all
from .system import System

OPEN_TRACES_MAX: Final = 16

_encode = msgspec.json.Encoder().encode


class Traces:
    """The traces that are open, a bounded number."""

    def __init__(self, layout: Layout, system: System) -> None:
        """Open nothing yet."""
        self._layout = layout
        self._system = system
        self._open: OrderedDict[str, int] = OrderedDict()

    def append(self, session_id: str, value: Any) -> bool:
        """Add a line; False, with nothing done, if the trace is to be opened and a writer has the log's lock.

        A line that a crash left unfinished is ended first, so that nothing is glued to it.
        """
        path = self._layout.trace_path(session_id)
        fd = self._open.pop(session_id, None)
        try:
            start = b""
            if fd is not None and self._system.fstat(fd).st_nlink != 1:
                self._layout.close(fd)  # removed, or reachable by another name now: look again what is there
                fd = None
            if fd is None:
                opened = self._open_beside_log(session_id)
                if opened is None:
                    return False
                fd, start = opened
            self._open[session_id] = fd
            write_all(self._system, fd, start + _encode(value) + b"\n")
        except OSError as error:
            self._close(session_id)
            raise store_failed(error, path, "cannot append to the trace") from error
        return True

    def forget(self, session_id: str) -> None:
        """Close the trace of a session that is deleted."""
        self._close(session_id)

    def close(self) -> None:
        """Close all."""
        for session_id in list(self._open):
            self._close(session_id)

    def _open_beside_log(self, session_id: str) -> tuple[int, bytes] | None:
        """Open the trace of a session that is there; ``None`` while a writer has the log's lock.

        Under the shared lock, so that no deletion comes in between, behind which the trace would be left alone. Raises
        :class:`SessionNotFound`.
        """
        log = self._layout.open_to_read(session_id)
        try:
            if not self._system.try_share(log):
                return None
            if self._system.fstat(log).st_nlink == 0:
                raise SessionNotFound(session_id)
            return self._open_trace(session_id)
        finally:
            self._layout.close(log)

    def _open_trace(self, session_id: str) -> tuple[int, bytes]:
        while len(self._open) >= OPEN_TRACES_MAX:
            self._layout.close(self._open.popitem(last=False)[1])
        fd = self._layout.open_trace(session_id)
        try:
            self._system.fchmod(fd, 0o600)
            size = self._system.fstat(fd).st_size
            unfinished = size > 0 and self._system.pread(fd, 1, size - 1) != b"\n"
        except OSError:
            self._layout.close(fd)
            raise
        return fd, b"\n" if unfinished else b""

    def _close(self, session_id: str) -> None:
        fd = self._open.pop(session_id, None)
        if fd is not None:
            self._layout.close(fd)
