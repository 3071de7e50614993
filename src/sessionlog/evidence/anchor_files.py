"""The directory of a store's anchors, and the one of its keys: durable writes, bounded reads, one writer at a time.

    <anchors>/policy               log vkey, witnesses, quorum
    <anchors>/checkpoint           the newest checkpoint that met the quorum
    <anchors>/pending              a newer one, signed, that did not meet it yet
    <anchors>/checkpoints/<size>   every one that met it
    <anchors>/tile/...             the hashes and entries of the anchor log
    <anchors>/catalog/<index>      the statements that changed with the anchor at that index
    <anchors>/blind/<session id>   the secret behind a session's nonces (0600)
    <anchors>/unsent               there until every sink took the newest checkpoint
    <anchors>/cache                what the next run need not read again; may be deleted
    <anchors>/lock

A file is written under another name, flushed, and renamed, so it is there whole or not at all.
"""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from ..errors import StoreFailed
from ..stores.file.system import System
from .errors import AnchoringStopped

CACHE_BYTES_MAX: Final = 4 * 1024 * 1024 * 1024
_WRITING: Final = ".writing"
_READ_BYTES: Final = 1024 * 1024
_LOCK_RETRY_S: Final = 0.005


class EvidenceDirectory:
    """A directory of files that are each replaced as a whole. All calls block."""

    def __init__(self, root: str | os.PathLike[str], system: System | None = None) -> None:
        """Keep files below ``root``, which the first write makes; nothing is touched before."""
        self.root: Path = Path(os.path.abspath(root))
        self._system = System() if system is None else system

    def path(self, name: str) -> str:
        """Return the path of a file."""
        return os.path.join(self.root, name)

    def read(self, name: str, bytes_max: int) -> bytes | None:
        """Return a file's bytes; ``None`` if it is not there. Raises :class:`StoreFailed`, also if it is longer."""
        path = self.path(name)
        try:
            fd = self._system.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _failed(error, path, "cannot open") from error
        try:
            return self._read_open(fd, path, bytes_max)
        except OSError as error:
            raise _failed(error, path, "cannot read") from error
        finally:
            with contextlib.suppress(OSError):
                self._system.close(fd)

    def _read_open(self, fd: int, path: str, bytes_max: int) -> bytes:
        parts: list[bytes] = []
        size = 0
        while part := self._system.pread(fd, min(_READ_BYTES, bytes_max + 1 - size), size):
            parts.append(part)
            size += len(part)
            if size > bytes_max:
                raise StoreFailed(f"is longer than {bytes_max} bytes", path=Path(path))
        return b"".join(parts)

    def write(self, files: Mapping[str, bytes], *, durable: bool = True) -> None:
        """Write files, each whole or not at all; on return they survive power loss. Raises :class:`StoreFailed`."""
        folders: set[str] = set()
        for name, data in files.items():
            path = self.path(name)
            self._make_folder(os.path.dirname(path), folders)
            try:
                self._write_one(path, data, durable=durable)
            except OSError as error:
                raise _failed(error, path, "cannot write") from error
            folders.add(os.path.dirname(path))
        for folder in sorted(folders) if durable else ():
            try:
                self._system.flush_directory(folder)
            except OSError as error:
                raise _failed(error, folder, "cannot flush the directory") from error

    def _write_one(self, path: str, data: bytes, *, durable: bool) -> None:
        fd = self._system.open(path + _WRITING, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        try:
            self._system.fchmod(fd, 0o600)
            view = memoryview(data)
            while view:
                view = view[self._system.write(fd, view) :]
            if durable:
                self._system.flush(fd)
        finally:
            self._system.close(fd)
        self._system.rename(path + _WRITING, path)

    def _make_folder(self, folder: str, made: set[str]) -> None:
        """Make a folder and those above it; add to ``made`` those whose entries are to be flushed."""
        missing: list[str] = []
        while not os.path.isdir(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        for path in reversed(missing):
            try:
                self._system.mkdir(path, 0o700)
            except FileExistsError:
                continue
            except OSError as error:
                raise _failed(error, path, "cannot make the directory") from error
            made.add(os.path.dirname(path))

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, sorted; none if it is not there."""
        path = self.path(folder)
        try:
            return sorted(name for name in self._system.list_names(path) if not name.endswith(_WRITING))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _failed(error, path, "cannot list") from error

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        path = self.path(name)
        try:
            self._system.unlink(path)
            self._system.flush_directory(os.path.dirname(path))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise _failed(error, path, "cannot remove") from error

    def remove_all(self, folder: str) -> None:
        """Remove the files in a folder."""
        path = self.path(folder)
        try:
            for name in self._system.list_names(path):
                self._system.unlink(os.path.join(path, name))
            self._system.flush_directory(path)
        except OSError as error:
            raise _failed(error, path, "cannot remove the files") from error

    @contextlib.contextmanager
    def locked(self, *, wait_s: float = 0) -> Iterator[None]:
        """Be the only one at work here while the block runs, or wait for that, ``wait_s`` seconds at most.

        Raises :class:`AnchoringStopped` if somebody else is at work.
        """
        path = self.path("lock")
        self._make_folder(str(self.root), set())
        try:
            fd = self._system.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise _failed(error, path, "cannot open") from error
        try:
            waited_until = time.monotonic() + wait_s
            while not self._system.try_lock(fd):
                if time.monotonic() >= waited_until:
                    raise AnchoringStopped(f"another run is at work on {self.root}: try again when it has ended")
                time.sleep(_LOCK_RETRY_S)
            yield
        except OSError as error:
            raise _failed(error, path, "cannot lock") from error
        finally:
            with contextlib.suppress(OSError):
                self._system.close(fd)


def _failed(error: OSError, path: str, what: str) -> StoreFailed:
    return StoreFailed(f"{what}: {error.strerror or error}", path=Path(path))
