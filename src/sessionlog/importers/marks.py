"""What tells the beginnings of a source apart: a digest of all objects up to each one, and one of all bytes up to each.

*Marks* are kept in the store. The mark of an object covers it and every object before it, so two sources with equal
marks at one object are equal up to there, and a copy of a transcript that was cut anywhere is recognised by its last
whole object. Twelve bytes an object are less than two hundredths of what its records take. Only objects count: line
ends and padding may differ.

*Prefixes* are kept while a file is imported. They show, before anything read a second time is committed, that it is
what was read the first time.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Final

from blake3 import blake3

MARK_BYTES: Final = 12
_MARK_CHARS: Final = MARK_BYTES // 3 * 4


class Marks:
    """The marks of a source's objects, by ordinal."""

    def __init__(self) -> None:
        self._last = bytes(MARK_BYTES)
        self._marks = bytearray()

    def __len__(self) -> int:
        """Return how many objects have a mark."""
        return len(self._marks) // MARK_BYTES

    def __getitem__(self, ordinal: int) -> bytes:
        """Return the mark of the object ``ordinal``."""
        return bytes(self._marks[ordinal * MARK_BYTES : (ordinal + 1) * MARK_BYTES])

    def add(self, raw: bytes) -> None:
        """Mark the next object, which stands in the source as ``raw``."""
        self._last = blake3(b"".join((self._last, raw))).digest(length=MARK_BYTES)
        self._marks += self._last

    def text(self, ordinals: Iterable[int]) -> str:
        """Return the marks of ``ordinals``, one after the other, as a note holds them."""
        return b64encode(b"".join(map(self.__getitem__, ordinals))).decode()


def read_marks(text: str) -> list[bytes]:
    """Return the marks that :meth:`Marks.text` wrote; none of a text that is something else."""
    try:
        data = b64decode(text, validate=True)
    except ValueError:
        return []
    return (
        [data[at : at + MARK_BYTES] for at in range(0, len(data), MARK_BYTES)] if len(text) % _MARK_CHARS == 0 else []
    )


class Prefixes:
    """The BLAKE3 of all bytes up to the end of each chunk, and up to the last byte that was consumed."""

    def __init__(self) -> None:
        self._hasher = blake3()
        self._chunk = b""
        self._start = 0
        self._settled = (blake3(), b"")
        self._at: dict[int, str] = {}

    @property
    def size(self) -> int:
        """How many bytes were taken."""
        return self._start + len(self._chunk)

    def take(self, chunk: bytes, *, consumed: int) -> None:
        """Take the next chunk; of those before, the first ``consumed`` bytes have been made use of."""
        self.settle(consumed)
        self._hasher.update(self._chunk)
        self._start += len(self._chunk)
        self._at[self._start] = self._hasher.hexdigest()
        self._chunk = chunk

    def settle(self, consumed: int) -> str:
        """Return the digest of the first ``consumed`` bytes, which end in the last chunk or where they ended before."""
        if consumed > self._start:
            self._settled = (self._hasher.copy(), self._chunk[: consumed - self._start])
        hasher = self._settled[0].copy()
        hasher.update(self._settled[1])
        return hasher.hexdigest()

    def at(self, size: int) -> str | None:
        """Return the digest of the first ``size`` bytes, if a chunk that another one follows ended there."""
        return self._at.get(size)
