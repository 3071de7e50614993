"""Importing what running agents write, as it grows: which file is due when, and each import of it.

A :class:`Watch` finds the transcripts at its paths, imports them, and imports a file again when it has changed. It is
told of changes by :meth:`Watch.notice`, from whichever source of file events the caller has, and looks for itself every
few seconds for what was missed. It keeps nothing that a kill could lose: what is imported, the store says.

- One import at a time. A file that has not changed since (inode, size, times) is not read.
- An import reads the whole file, so a file rests after it: for :attr:`Pace.share` times as long as the import took,
  times the number of files that wait. However fast however many agents write, watching then costs about one part in
  ``share`` of one processor, and what it pays with is delay: two seconds for most files, half a minute for 30 MB.
- Files are imported as *growing* until nobody has written for :attr:`Pace.quiet_s`; then once more as they are, for
  what waited at their ends.
- A conflict with another writer, such as a second watch on the same folder and store, is no error: the import is made
  again later, and finds what is left.
"""

import errno
import math
import os
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import anyio
import anyio.to_thread
import msgspec

from ..errors import CorruptLog, HeadConflict, SessionExists, SessionLocked
from ..ids import SessionId, now_ms
from ..store import Store
from .deleted import Deleted
from .paths import find_transcripts
from .protocol import Format
from .recognise import FORMATS, import_file
from .report import ImportFailed, ImportReport


class Pace(NamedTuple):
    """How often to read; seconds, but for ``share``."""

    share: float = 60
    """A file rests so many times as long as its last import took."""
    pause_s: float = 2.0
    """It rests so long at least."""
    quiet_s: float = 300.0
    """A file that was not written to for so long does not grow any more."""
    look_s: float = 10.0
    """So often, at least, the folders are looked through for files that no event told of."""
    new_s: float = 0.5
    """So long lies, at least, between two looks, also when there is something new."""


PACE: Final = Pace()
LOOK_SHARE: Final = 100
"""The folders rest so many times as long as the last look through them took."""


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """An import that added something, or that found the file rewritten.

    ``replaced`` is the session that the same path held before, if it is another one now: it stays as it was.
    ``shrank_from`` is the size in bytes at the import before, if that was larger.
    """

    report: ImportReport
    replaced: SessionId | None = None
    shrank_from: int | None = None


class CaughtUp(msgspec.Struct, frozen=True):
    """Everything that was there at first is imported; ``file_count`` files are watched."""

    file_count: int


class NotImported(msgspec.Struct, frozen=True):
    """A file that cannot be imported for now. Told once, until the reason is another one or the import succeeds."""

    path: Path
    error: ImportFailed | CorruptLog


Outcome: TypeAlias = Imported | NotImported | CaughtUp
"""What a watch tells."""


class Stamp(NamedTuple):
    """What shows that a file was written to or replaced, or that its permissions changed."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class Agenda:
    """Which file is to be imported when. Times are seconds of one clock; nothing is read here."""

    def __init__(self, pace: Pace = PACE) -> None:
        """Begin with no files."""
        self._pace = pace
        self._due: dict[Path, float] = {}
        self._heap: list[tuple[float, int, Path]] = []
        self._pushed = 0
        self._stamps: dict[Path, Stamp] = {}
        self._rests: dict[Path, float] = {}

    def __contains__(self, path: Path) -> bool:
        """Tell whether the file was imported, or waits for it."""
        return path in self._stamps or path in self._due

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self._stamps.keys() | self._due.keys())

    def see(self, path: Path, stamp: Stamp) -> None:
        """Take in how a file is now: if it is not as it was imported, it is due when it has rested."""
        if stamp != self._stamps.get(path):
            self._set(path, self._rests.get(path, -math.inf))

    def take(self, now: float) -> Path | None:
        """Return the file that is due for longest, which waits no more; ``None`` if none is."""
        if self.next_at() > now:
            return None
        _, _, path = heappop(self._heap)
        del self._due[path]
        return path

    def next_at(self) -> float:
        """Return when the next file is due; infinity for never."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heappop(self._heap)  # it is due earlier, or gone
        return self._heap[0][0] if self._heap else math.inf

    def done(
        self, path: Path, stamp: Stamp, *, began: float, ended: float, settles_at: float | None = None, again: bool
    ) -> None:
        """Let a file rest that was imported as ``stamp`` says. It is due at ``settles_at`` if it does not change.

        ``again``: it is due when it has rested, whether it changes or not.
        """
        waiting = 1 + sum(due <= ended for due in self._due.values())
        self._stamps[path] = stamp
        self._rests[path] = ended + max(self._pace.pause_s, (ended - began) * self._pace.share * waiting)
        if again:
            self._set(path, self._rests[path])
        elif settles_at is not None:
            self._set(path, max(settles_at, self._rests[path]))

    def forget(self, path: Path) -> None:
        """Drop a file that is gone."""
        self._stamps.pop(path, None)
        self._rests.pop(path, None)
        self._due.pop(path, None)

    def _set(self, path: Path, due: float) -> None:
        if due < self._due.get(path, math.inf):
            self._due[path] = due
            self._pushed += 1
            heappush(self._heap, (due, self._pushed, path))


@dataclass
class _Known:
    """What is remembered of a file between its imports, for the messages alone."""

    size: int = 0
    session_id: SessionId | None = None
    deleted: frozenset[SessionId] = frozenset()
    told: str | None = field(default=None)


class Watch:
    """Imports transcripts as they grow. Use it from one event loop."""

    def __init__(
        self,
        store: Store,
        paths: Iterable[Path],
        *,
        skip: Path | None = None,
        formats: Sequence[Format] = FORMATS,
        pace: Pace = PACE,
        again: bool = False,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        """Watch ``paths``, as :func:`find_transcripts` finds them, but nothing below ``skip``: the store's own files.

        ``again`` brings back what was deleted from ``store``. ``clock`` gives the time in unix ms, which the files' own
        times are compared with.
        """
        self._store = store
        self._paths = list(paths)
        self._skip = None if skip is None else Path(os.path.realpath(skip))
        self._formats = formats
        self._pace = pace
        self._deleted = Deleted(store, again=again)
        self._clock = clock
        self._agenda = Agenda(pace)
        self._known: dict[Path, _Known] = {}
        self._changed: set[Path] = set()
        self._wake = anyio.Event()
        self._looked_at = self._look_at = -math.inf
        self._look_took_s = 0.0

    def notice(self, paths: Iterable[Path]) -> None:
        """Take in that something happened at ``paths``: to files that are watched, or that something is new there."""
        news = [path for path in paths if not self._is_skipped(path)]
        if news:
            self._changed.update(news)
            self._wake.set()

    async def run(self) -> AsyncGenerator[Outcome, None]:
        """Import what is there, then what comes, until cancelled; yield what is worth telling.

        Raises what the store raises, but for conflicts, locks and damaged logs: :class:`~sessionlog.StoreFailed`, that
        is. Whenever it ends, what was committed stays, and another run goes on from there.
        """
        await self._look()
        caught_up = False
        while True:
            path = self._agenda.take(anyio.current_time())
            if path is not None:
                outcome = await self._import(path)
                if outcome is not None:
                    yield outcome
            elif not caught_up:
                caught_up = True
                yield CaughtUp(len(self._agenda))
            else:
                await self._wait()

    async def _wait(self) -> None:
        """Wait until a file may be due or a look is; take in what happened."""
        with anyio.CancelScope(deadline=min(self._agenda.next_at(), self._look_at)):
            await self._wake.wait()
        self._wake = anyio.Event()
        changed, self._changed = self._changed, set()
        known = [path for path in changed if path in self._agenda]
        await self._see(known)
        if len(known) < len(changed):
            rest = max(self._pace.new_s, self._look_took_s * LOOK_SHARE)
            self._look_at = min(self._look_at, self._looked_at + rest)
        if anyio.current_time() >= self._look_at:
            await self._look()

    async def _look(self) -> None:
        """Look through all paths for files that are new or have changed."""
        began = anyio.current_time()
        found = await find_transcripts(self._paths)
        await self._see(path for path in found if not self._is_skipped(path))
        self._looked_at = anyio.current_time()
        self._look_took_s = self._looked_at - began
        self._look_at = self._looked_at + max(self._pace.look_s, self._look_took_s * LOOK_SHARE)

    async def _see(self, paths: Iterable[Path]) -> None:
        for path, stamp in await anyio.to_thread.run_sync(_stamps, list(paths)):
            if stamp is not None:
                self._agenda.see(path, stamp)

    def _is_skipped(self, path: Path) -> bool:
        return self._skip is not None and path.is_relative_to(self._skip)

    async def _import(self, path: Path) -> Outcome | None:
        [(_, stamp)] = await anyio.to_thread.run_sync(_stamps, [path])  # before it is read: later changes show
        if stamp is None:
            self._agenda.forget(path)
            return None
        known = self._known.setdefault(path, _Known())
        growing, settles_at = self._age(stamp)
        outcome: Outcome | None = None
        again = False
        began = anyio.current_time()
        try:
            report = await import_file(
                self._store,
                path,
                formats=self._formats,
                growing=growing or None,
                deleted=self._deleted,
                clock=self._clock,
            )
            outcome = _told(report, known)
        except (HeadConflict, SessionExists, SessionLocked):
            again = True
        except (ImportFailed, CorruptLog) as error:
            if str(error) != known.told:
                known.told = str(error)
                outcome = NotImported(path, error)
        ended = anyio.current_time()
        self._agenda.done(path, stamp, began=began, ended=ended, settles_at=settles_at, again=again)
        await self._see([path])
        return outcome

    def _age(self, stamp: Stamp) -> tuple[bool, float | None]:
        """Return whether the file counts as growing, and if it does, until when, on the event loop's clock."""
        left_s = stamp.mtime_ns / 1e9 + self._pace.quiet_s - self._clock() / 1e3
        return (True, anyio.current_time() + min(left_s, self._pace.quiet_s)) if left_s > 0 else (False, None)


def _told(report: ImportReport, known: _Known) -> Imported | None:
    """Return what is to be told of an import, and remember what the next one is compared with."""
    replaced = known.session_id if report.session_id not in (None, known.session_id) else None
    shrank_from = known.size if report.bytes_read < known.size else None
    known.size, known.told = report.bytes_read, None
    known.session_id = report.session_id or known.session_id
    newly_deleted = frozenset(report.deleted) - known.deleted
    known.deleted = frozenset(report.deleted)
    if report.unchanged and replaced is None and shrank_from is None and not newly_deleted:
        return None
    return Imported(report=report, replaced=replaced, shrank_from=shrank_from)


def _stamps(paths: Sequence[Path]) -> list[tuple[Path, Stamp | None]]:
    """Return how the files are now; ``None`` for one that is not there."""
    return [(path, _stamp(path)) for path in paths]


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except ValueError:  # a NUL in the name: the import will tell
        return Stamp(0, 0, 0, 0)
    except OSError as error:
        return None if error.errno in (errno.ENOENT, errno.ENOTDIR) else Stamp(0, 0, 0, error.errno or 0)
    return Stamp(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
