"""The words of a log for the index, in blocks of records, and the trigrams that a search asks it for.

What people, models and tools said; not what a runtime or an importer noted beside it. The index answers where a text
*may* stand: a trigram (three characters, case folded by SQLite) of every place of the text must be in the block.

A block is as many records as hold about :data:`BLOCK_CHARS` characters. Text repeats its trigrams, so the index of one
is half as large as that of its records, and a search reads it in one piece.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from ..queries.texts import Texts
from ..record import HashedEntry

BLOCK_CHARS: Final = 16 * 1024
TRIGRAM_CHARS: Final = 3
TRIGRAMS_MAX: Final = 16
"""More do not narrow a search any further to speak of."""
_FOLDED_ELSEWHERE: Final = frozenset("\u0130\u0131\u017f\u212a\u1e9e\u03c2")
"""Letters whose case Python and SQLite fold differently: a search for them looks at everything."""


class Block(NamedTuple):
    """Records of a log, from ``seq`` to ``last_seq``, and what is said in them.

    The first one's line begins at byte ``start``, behind the record with ``prev_hash``. ``calls`` are the tools of the
    calls that wait for their results there. ``fresh`` says that the texts before the block were not known when its
    words were taken, so that it may repeat some.
    """

    seq: int
    last_seq: int
    start: int
    prev_hash: str | None
    calls: Mapping[str, str]
    fresh: bool
    words: str


class Blocks:
    """Cuts what is said in a log, given record by record in order, into blocks."""

    def __init__(self, chars: int | None = BLOCK_CHARS) -> None:
        """Begin, at any record; ``None``: only :meth:`finish` ends a block."""
        self.blocks: list[Block] = []
        self.chars: int = 0
        """How many characters the finished blocks hold."""
        self._block_chars = chars
        self._texts = Texts()
        self._fresh = True
        self._words: list[str] = []
        self._size = 0
        self._first: tuple[HashedEntry, int, Mapping[str, str]] | None = None
        self._last_seq = 0

    @property
    def is_between(self) -> bool:
        """Whether the next record with words begins a block."""
        return self._first is None

    def take(self, record: HashedEntry, start: int, calls: Mapping[str, str]) -> None:
        """Add a record, whose line begins at byte ``start``, while ``calls`` wait for results."""
        words = "\n".join([piece.text for piece in self._texts.pieces(record.entry) if piece.place != "other"])
        if not words:
            return
        if self._first is None:
            self._first = record, start, calls
        self._words.append(words)
        self._last_seq = record.seq
        self._size += len(words)
        if self._block_chars is not None and self._size >= self._block_chars:
            self.finish()

    def finish(self) -> None:
        """End the block that is begun."""
        if self._first is None:
            return
        record, start, calls = self._first
        words = "\n".join(self._words)
        self.blocks.append(Block(record.seq, self._last_seq, start, record.prev_hash, calls, self._fresh, words))
        self.chars += self._size
        self._first, self._words, self._size, self._fresh = None, [], 0, False


def trigrams_of(text: str) -> list[str] | None:
    """Return trigrams that every block with ``text`` has; ``None`` where the index cannot narrow the search."""
    if not _FOLDED_ELSEWHERE.isdisjoint(text):
        return None
    found = dict.fromkeys(text[at : at + TRIGRAM_CHARS] for at in range(len(text) - TRIGRAM_CHARS + 1))
    usable = [one for one in found if "\0" not in one and "\n" not in one]
    step = max(1, len(usable) // TRIGRAMS_MAX)
    return usable[::step][:TRIGRAMS_MAX] or None
