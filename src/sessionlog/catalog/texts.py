"""The words of a record for the index, and the trigrams that a search asks it for.

What people, models and tools said; not what a runtime or an importer noted beside it. The index answers where a text
*may* stand: a trigram (three characters, case folded by SQLite) of every place of the text must be in the record.
"""

from collections.abc import Iterator
from typing import Final

from ..entries import LogEntry
from ..queries.texts import Texts

TRIGRAM_CHARS: Final = 3
TRIGRAMS_MAX: Final = 16
"""More do not narrow a search any further to speak of."""
_FOLDED_ELSEWHERE: Final = frozenset("\u0130\u0131\u017f\u212a\u1e9e\u03c2")
"""Letters whose case Python and SQLite fold differently: a search for them looks at everything."""


def words_of(texts: Texts, entry: LogEntry) -> str:
    """Return what was said in ``entry``, piece by piece, on lines of their own; empty for what nobody said."""
    return "\n".join(_said(texts, entry))


def trigrams_of(text: str) -> list[str] | None:
    """Return trigrams that every record with ``text`` has; ``None`` where the index cannot narrow the search."""
    if not _FOLDED_ELSEWHERE.isdisjoint(text):
        return None
    found = dict.fromkeys(text[at : at + TRIGRAM_CHARS] for at in range(len(text) - TRIGRAM_CHARS + 1))
    usable = [one for one in found if "\0" not in one and "\n" not in one]
    step = max(1, len(usable) // TRIGRAMS_MAX)
    return usable[::step][:TRIGRAMS_MAX] or None


def _said(texts: Texts, entry: LogEntry) -> Iterator[str]:
    for piece in texts.pieces(entry):
        if piece.place != "other":
            yield piece.text
