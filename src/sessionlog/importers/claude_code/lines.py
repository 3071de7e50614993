"""Claude Code's lines: :mod:`sessionlog.importers.lines`, told by which members a line is known behind torn bytes."""

from functools import partial
from typing import Final

from ..lines import Bad, Found, Piece, Splitter, Tail, open_bytes
from ..lines import Pieces as _Pieces

__all__ = ["LINE_KEYS", "Bad", "Found", "Piece", "Pieces", "Tail", "open_bytes"]

LINE_KEYS: Final = frozenset({"type", "uuid", "sessionId"})

Pieces: partial[_Pieces] = partial(_Pieces, line_keys=LINE_KEYS)
_Splitter = partial(Splitter, line_keys=LINE_KEYS)
