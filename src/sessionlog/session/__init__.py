"""Sessions: the verbs of a runtime, over any store.

Every verb that makes a session returns the :class:`SessionLog` that appends to it. A ``SessionLog`` knows the head
that it wrote last and appends behind that and nothing else, so a second writer is always noticed:
:class:`HeadConflict`, or, with ``on_conflict="fork"``, a fork from the last head that this writer knew. Forks and
compactions name their source (FORMAT section 7), so that an audit can follow them.
"""

from .deleting import HOLD_LABEL, Deletions, delete, settle_deletion
from .domain_log import DomainLog
from .domains import Domain, DomainRecord
from .log import Clock, OnConflict, SessionLog
from .restoring import restore, state_at
from .start import SessionStartState, start_state
from .verbs import (
    Summarize,
    compact,
    create_compacted_session,
    create_session,
    create_session_with_id,
    fork,
    fork_at,
    open_or_create_session,
    open_session,
)

__all__ = [
    "HOLD_LABEL",
    "Clock",
    "Deletions",
    "Domain",
    "DomainLog",
    "DomainRecord",
    "OnConflict",
    "SessionLog",
    "SessionStartState",
    "Summarize",
    "compact",
    "create_compacted_session",
    "create_session",
    "create_session_with_id",
    "delete",
    "fork",
    "fork_at",
    "open_or_create_session",
    "open_session",
    "restore",
    "settle_deletion",
    "start_state",
    "state_at",
]
