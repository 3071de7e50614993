"""Compaction blocks: what to load of a loop instead of all of it. The loop itself stays as it is.

A block covers turns by their 0-based index, both ends included: ``keep_first`` as they are, ``keep_compacted``
replaced by a summary, ``keep_recent`` replaced by the same turns with shortened tool output.
"""

from collections.abc import Sequence

import msgspec

from .kinds import Timestamp
from .messages import AgentMessage


class TurnRange(msgspec.Struct, frozen=True, gc=False):
    """Turns of one loop, from ``start_turn`` to ``end_turn``, both included."""

    start_turn: int
    end_turn: int

    def __contains__(self, turn_index: object) -> bool:
        """Tell whether the turn lies in the range."""
        return isinstance(turn_index, int) and self.start_turn <= turn_index <= self.end_turn


class CompactedSection(msgspec.Struct, frozen=True):
    """The messages to load in the place of the turns in ``range``."""

    range: TurnRange
    messages: Sequence[AgentMessage] = msgspec.field(default_factory=list)


class CompactionBlock(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An overlay on one loop: see the module.

    Only ``keep_compacted`` counts once the loop has a successor in the chain that is loaded.
    """

    keep_first: TurnRange | None = None
    keep_recent: CompactedSection | None = None
    keep_compacted: CompactedSection | None = None
    created_at: Timestamp


__all__ = ["CompactedSection", "CompactionBlock", "TurnRange"]
