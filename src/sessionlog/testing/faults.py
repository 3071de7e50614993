"""Faults under the file store: the N-th system call fails, is cut short, or kills the process.

The file store makes every system call through its ``System``. Give it a :class:`FaultySystem` instead and it meets
one :class:`Fault` or more at calls counted from 1, over all calls or over those of one kind::

    system = FaultySystem(Fault(at=2, kind="flush", action=Fail(errno.EIO)))
    async with FileStore(root, system=system) as store:
        ...
    assert system.fired

So a test runs a scenario with ``at=1``, ``at=2`` and so on until nothing fires any more, and looks after each run
with an ordinary store at what is left.
"""

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias, TypeVar

import msgspec

from ..stores.file.system import System

Kind: TypeAlias = Literal[
    "open",
    "close",
    "fstat",
    "list_names",
    "lstat",
    "fchmod",
    "mkdir",
    "pread",
    "pread_cached",
    "write",
    "ftruncate",
    "rename",
    "unlink",
    "try_lock",
    "try_share",
    "unlock",
    "flush",
    "flush_directory",
    "flush_file_system",
]
"""The methods of ``System``: each call of one is a call of that kind."""

_T = TypeVar("_T")


class Fail(msgspec.Struct, frozen=True):
    """The call raises ``OSError(errno)`` and does nothing; but a ``close`` closes all the same, as Linux has it."""

    errno: int


class Kill(msgspec.Struct, frozen=True):
    """The process gets SIGKILL, before the call or after it."""

    when: Literal["before", "after"] = "before"


class Cut(msgspec.Struct, frozen=True):
    """A ``write`` or ``pread`` takes or gives ``size`` bytes at most, at least one; ``then`` is what follows.

    With ``None`` the call returns so many, and the next ones are whole. With :class:`Fail` it returns so many, and
    the next call of its kind fails. With :class:`Kill` the process dies with so many bytes written.
    """

    size: int
    then: Fail | Kill | None = None


Action: TypeAlias = Fail | Kill | Cut
"""What happens at the call."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What happens at the ``at``-th call, counted from 1: of ``kind``, or of any kind.

    A :class:`Cut` is for the kinds ``write`` and ``pread``, and says which. ``lasting``: it happens at every such call
    from then on, as with a full disk.
    """

    at: int
    action: Action
    kind: Kind | None = None
    lasting: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot happen."""
        if self.at < 1:
            raise ValueError(f"calls are counted from 1, so at={self.at} never comes")
        if isinstance(self.action, Cut) and (self.action.size < 1 or self.kind not in ("write", "pread")):
            raise ValueError("only a write or a pread can be cut, and to no less than one byte: say which kind")


class Call(NamedTuple):
    """A call that was made: its kind, and the path or descriptor that it was made on."""

    kind: Kind
    on: str | int


class FaultySystem(System):
    """A ``System`` that counts its calls and meets ``faults``; with none it is the real one, counted."""

    def __init__(self, *faults: Fault) -> None:
        """Count from the first call on."""
        self.faults: tuple[Fault, ...] = faults
        self.calls: list[Call] = []
        self.fired: list[Call] = []
        """The calls that a fault met, in order."""
        self._counts: Counter[Kind | None] = Counter()
        self._following: dict[Kind, Fail] = {}
        self._lock = threading.Lock()  # the store calls from its event loop and from worker threads

    def count(self, kind: Kind | None = None) -> int:
        """Return how many calls there were: of ``kind``, or of any."""
        return self._counts[kind]

    def heal(self) -> None:
        """Meet no fault from here on, nor what was to follow one; counting goes on."""
        with self._lock:
            self.faults = ()
            self._following.clear()

    def open(self, path: str, flags: int, mode: int = 0o600) -> int:
        """Open, or the fault."""
        return self._run("open", path, lambda: super(FaultySystem, self).open(path, flags, mode))

    def close(self, fd: int) -> None:
        """Close, and then the fault."""
        self._run("close", fd, lambda: super(FaultySystem, self).close(fd))

    def fstat(self, fd: int) -> os.stat_result:
        """Status of an open file, or the fault."""
        return self._run("fstat", fd, lambda: super(FaultySystem, self).fstat(fd))

    def lstat(self, path: str) -> os.stat_result:
        """Status of what the path names, or the fault."""
        return self._run("lstat", path, lambda: super(FaultySystem, self).lstat(path))

    def fchmod(self, fd: int, mode: int) -> None:
        """Set the permissions, or the fault."""
        self._run("fchmod", fd, lambda: super(FaultySystem, self).fchmod(fd, mode))

    def mkdir(self, path: str, mode: int) -> None:
        """Make a directory, or the fault."""
        self._run("mkdir", path, lambda: super(FaultySystem, self).mkdir(path, mode))

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        """Read, or the fault."""

        def read(size_max: int | None) -> bytes:
            wanted = size if size_max is None else min(size, size_max)
            return super(FaultySystem, self).pread(fd, wanted, offset)

        return self._run_cuttable("pread", fd, read)

    def pread_cached(self, fd: int, size: int, offset: int) -> bytes | None:
        """Read what lies in memory, or the fault."""
        return self._run("pread_cached", fd, lambda: super(FaultySystem, self).pread_cached(fd, size, offset))

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Write, or the fault."""

        def write(size_max: int | None) -> int:
            return super(FaultySystem, self).write(fd, data if size_max is None else memoryview(data)[:size_max])

        return self._run_cuttable("write", fd, write)

    def ftruncate(self, fd: int, size: int) -> None:
        """Cut the file, or the fault."""
        self._run("ftruncate", fd, lambda: super(FaultySystem, self).ftruncate(fd, size))

    def rename(self, path: str, new_path: str) -> None:
        """Give a file another name, or the fault."""
        self._run("rename", path, lambda: super(FaultySystem, self).rename(path, new_path))

    def list_names(self, path: str) -> list[str]:
        """List a directory, or the fault."""
        return self._run("list_names", path, lambda: super(FaultySystem, self).list_names(path))

    def unlink(self, path: str) -> None:
        """Remove a name, or the fault."""
        self._run("unlink", path, lambda: super(FaultySystem, self).unlink(path))

    def try_lock(self, fd: int) -> bool:
        """Take the lock if it is free, or the fault."""
        return self._run("try_lock", fd, lambda: super(FaultySystem, self).try_lock(fd))

    def try_share(self, fd: int) -> bool:
        """Take the shared lock if it is free, or the fault."""
        return self._run("try_share", fd, lambda: super(FaultySystem, self).try_share(fd))

    def unlock(self, fd: int) -> None:
        """Let go of the lock, or the fault."""
        self._run("unlock", fd, lambda: super(FaultySystem, self).unlock(fd))

    def flush(self, fd: int) -> None:
        """Flush a file, or the fault."""
        self._run("flush", fd, lambda: super(FaultySystem, self).flush(fd))

    def flush_directory(self, path: str) -> None:
        """Flush a directory, or the fault."""
        self._run("flush_directory", path, lambda: super(FaultySystem, self).flush_directory(path))

    def flush_file_system(self, fd: int) -> bool:
        """Flush the file system, or the fault."""
        return self._run("flush_file_system", fd, lambda: super(FaultySystem, self).flush_file_system(fd))

    def _run(self, kind: Kind, on: str | int, run: Callable[[], _T]) -> _T:
        return self._run_cuttable(kind, on, lambda _size_max: run())

    def _run_cuttable(self, kind: Kind, on: str | int, run: Callable[[int | None], _T]) -> _T:
        action = self._meet(kind, on)
        if isinstance(action, Fail) and kind != "close":
            raise _error(action, kind)
        if isinstance(action, Kill) and action.when == "before":
            _kill()
        result = run(action.size if isinstance(action, Cut) else None)
        if isinstance(action, Fail):
            raise _error(action, kind)
        if isinstance(action, Kill) or (isinstance(action, Cut) and isinstance(action.then, Kill)):
            _kill()
        if isinstance(action, Cut) and isinstance(action.then, Fail):
            with self._lock:
                self._following[kind] = action.then
        return result

    def _meet(self, kind: Kind, on: str | int) -> Action | None:
        """Count a call; return what must happen to it."""
        call = Call(kind, on)
        with self._lock:
            self.calls.append(call)
            self._counts[None] += 1
            self._counts[kind] += 1
            action: Action | None = self._following.pop(kind, None)
            for fault in self.faults:
                action = action or self._due(fault, kind)
            if action is not None:
                self.fired.append(call)
        return action

    def _due(self, fault: Fault, kind: Kind) -> Action | None:
        if fault.kind not in (None, kind):
            return None
        number = self._counts[fault.kind]
        return fault.action if number == fault.at or (fault.lasting and number > fault.at) else None


def _error(action: Fail, kind: Kind) -> OSError:
    return OSError(action.errno, f"{os.strerror(action.errno)} (by FaultySystem, at {kind})")


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


__all__ = ["Action", "Call", "Cut", "Fail", "Fault", "FaultySystem", "Kill", "Kind"]
