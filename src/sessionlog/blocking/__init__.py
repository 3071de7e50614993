"""The synchronous face: the same stores, sessions and verbs for code without an event loop, and for many threads.

Everything runs on one event loop, on a thread that the first call starts. A call returns when it is done, with the
result or the error of its async form; threads may share stores and sessions, and their appends join the same flushes.

Ctrl-C in the middle of a call waits until it is known what became of it, then raises ``KeyboardInterrupt``: a commit
that had begun is in, and anything else has not happened. A process that forks gets an event loop of its own, and opens
the store anew on first use. Code that runs on an event loop itself uses the async functions instead, or calls these
from another thread; a notebook, whose cells wait anyway, calls them as they are.
"""

from .portal import arun, run
from .sessions import (
    DomainLog,
    SessionLog,
    audit_session,
    audit_store,
    compact,
    create_compacted_session,
    create_session,
    create_session_with_id,
    delete,
    fork,
    fork_at,
    open_or_create_session,
    open_session,
    restore,
    settle_deletion,
    verify_session,
    verify_store,
)
from .store import Store, open_store

__all__ = [
    "DomainLog",
    "SessionLog",
    "Store",
    "arun",
    "audit_session",
    "audit_store",
    "compact",
    "create_compacted_session",
    "create_session",
    "create_session_with_id",
    "delete",
    "fork",
    "fork_at",
    "open_or_create_session",
    "open_session",
    "open_store",
    "restore",
    "run",
    "settle_deletion",
    "verify_session",
    "verify_store",
]
