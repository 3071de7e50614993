"""A model of power loss: which files a crash may leave, given the calls that were made before it.

What was flushed is there. Of what was written since, any subset of pages may be there, at any of the sizes that the
file went through; a page that is missing inside the size reads as zeros. A name may be missing until its directory
was flushed, and one that was removed may be back until then. No file system here does the worst of this, and none
promises not to.
"""

import itertools
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sessionlog.stores.file.system import System

PAGE_BYTES = 4096


@dataclass
class ModelFile:
    """One file: what is durable, and what it went through since."""

    durable: bytes = b""
    name_durable: bool = False
    current: bytes = b""
    sizes: list[int] = field(default_factory=lambda: [0])

    def write(self, data: bytes) -> None:
        """Append."""
        self.current += data
        self.sizes.append(len(self.current))

    def truncate(self, size: int) -> None:
        """Cut."""
        self.current = self.current[:size]
        self.sizes.append(size)

    def flush(self, begun: "ModelFile") -> None:
        """End a flush: durable is what was there when it had ``begun``, and not what was written beside it."""
        self.durable = begun.current
        self.sizes = [len(begun.current), *self.sizes[len(begun.sizes) :]]

    def frozen(self) -> "ModelFile":
        """Return the file as it is now."""
        return ModelFile(self.durable, self.name_durable, self.current, list(self.sizes))

    def after_crash(self, size: int, lost_pages: frozenset[int]) -> bytes:
        """Return the content at ``size`` with ``lost_pages`` as they were at the last flush."""
        content = bytearray(self.current[:size].ljust(size, b"\0"))
        old = self.durable[:size].ljust(size, b"\0")
        for page in lost_pages:
            place = slice(page * PAGE_BYTES, (page + 1) * PAGE_BYTES)
            content[place] = old[place]
        return bytes(content)

    def dirty_pages(self, size: int) -> list[int]:
        """Return the pages, below ``size``, that differ from what is durable."""
        pages = range((size + PAGE_BYTES - 1) // PAGE_BYTES)
        return [
            page for page in pages if self.after_crash(size, frozenset([page])) != self.after_crash(size, frozenset())
        ]


@dataclass(frozen=True)
class CrashState:
    """What may be found after the power came back."""

    files: dict[str, bytes]
    has_hole: bool
    """A page inside the size of some file was lost, so that bytes behind it may be there without those before."""
    acknowledged: int
    """How many acknowledgements had been given."""


class Recorder(System):
    """Makes the calls, and keeps the model of every file below ``root`` along with them."""

    def __init__(self, root: Path) -> None:
        """Take over what is there as durable."""
        self.root = root
        self.files: dict[str, ModelFile] = {}
        self.acknowledged = 0
        self.moments: list[list[tuple[str, ModelFile]]] = []
        self.acknowledged_at: list[int] = []
        self._names: dict[int, str] = {}
        self._unlinked: set[str] = set()
        for path in sorted(root.iterdir()) if root.exists() else []:
            content = path.read_bytes()
            self.files[path.name] = ModelFile(content, name_durable=True, current=content, sizes=[len(content)])

    def acknowledge(self) -> None:
        """Note that the caller was told of one more success."""
        self.acknowledged += 1
        self._moment()

    def _moment(self) -> None:
        self.moments.append([(name, file.frozen()) for name, file in self.files.items()])
        self.acknowledged_at.append(self.acknowledged)

    def open(self, path: str, flags: int, mode: int = 0o600) -> int:
        fd = super().open(path, flags, mode)
        name = os.path.basename(path)
        self._names[fd] = name
        if name not in self.files or (name in self._unlinked and flags & os.O_CREAT):
            self._unlinked.discard(name)
            self.files[name] = ModelFile()
            self._moment()
        return fd

    def write(self, fd: int, data: bytes | memoryview) -> int:
        written = super().write(fd, data)
        self.files[self._names[fd]].write(bytes(data[:written]))
        self._moment()
        return written

    def ftruncate(self, fd: int, size: int) -> None:
        super().ftruncate(fd, size)
        if self._names[fd] in self.files:  # else it has no name any more
            self.files[self._names[fd]].truncate(size)
            self._moment()

    def unlink(self, path: str) -> None:
        super().unlink(path)
        self._unlinked.add(os.path.basename(path))  # the name may be back until the directory is flushed
        self.files[os.path.basename(path)].name_durable = False
        self._moment()

    def flush(self, fd: int) -> None:
        file = self.files[self._names[fd]]
        begun = file.frozen()
        super().flush(fd)
        file.flush(begun)
        self._moment()

    def flush_directory(self, path: str) -> None:
        super().flush_directory(path)
        if Path(path) == self.root:
            self._flush_names()
        self._moment()

    def flush_file_system(self, fd: int) -> bool:
        begun = {name: file.frozen() for name, file in self.files.items()}
        done = super().flush_file_system(fd)
        if done:
            for name, before in begun.items():
                self.files[name].flush(before)
            self._flush_names()
            self._moment()
        return done

    def _flush_names(self) -> None:
        for name in self._unlinked:
            del self.files[name]
        self._unlinked.clear()
        for file in self.files.values():
            file.name_durable = True

    def crash_states(self, *, seed: int, states_max: int) -> Iterator[CrashState]:
        """Return what a crash may leave at every moment: all of it where it is little, else a sample by ``seed``."""
        chance = random.Random(seed)
        seen: set[tuple[tuple[str, bytes], ...]] = set()
        for moment, acknowledged in zip(self.moments, self.acknowledged_at, strict=True):
            choices = [list(_file_states(file, chance, states_max)) for _, file in moment]
            combined = itertools.islice(itertools.product(*choices), states_max) if choices else iter([()])
            for chosen in combined:
                files = {
                    name: content for (name, _), (content, _) in zip(moment, chosen, strict=True) if content is not None
                }
                key = (*sorted(files.items()), ("", str(acknowledged).encode()))
                if key not in seen:
                    seen.add(key)
                    yield CrashState(files, any(hole for _, hole in chosen), acknowledged)


def _file_states(file: ModelFile, chance: random.Random, states_max: int) -> Iterator[tuple[bytes | None, bool]]:
    """Return the contents that one file may have, and whether a page inside was lost; ``None``: it is not there."""
    if not file.name_durable:
        yield None, False
    for size in sorted({len(file.durable), *file.sizes}):
        dirty = file.dirty_pages(size)
        if 2 ** len(dirty) <= states_max:
            subsets = [set(lost) for count in range(len(dirty) + 1) for lost in itertools.combinations(dirty, count)]
        else:
            subsets = [set(), set(dirty)]
            subsets += [{page for page in dirty if chance.random() < 0.5} for _ in range(states_max)]
        for lost in subsets:
            yield file.after_crash(size, frozenset(lost)), bool(lost)
