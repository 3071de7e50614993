"""pi sessions (``~/.pi/agent/sessions/--<folder>--/<time>_<uuid>.jsonl``) as sessions, of versions 1 to 3.

Lines of version 1 follow each other; later ones name the line before them, so that a file is a tree. Where it branches,
the branch that came first stays in its session, and each later one is a session forked there; the last line of the file
tells which one is live. A compaction starts a session with the summary and the messages that were kept.

Read in this order: :mod:`.shapes`, :mod:`.convert`, :mod:`.transcript`.
"""

from .convert import DOMAIN
from .transcript import Pi

__all__ = ["DOMAIN", "Pi"]
