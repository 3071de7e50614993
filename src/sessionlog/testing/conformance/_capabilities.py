"""What a store can do beyond what binds every store, and the seams by which its tests reach behind it."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, TypeAlias

import msgspec

from ...ids import SessionId

ReplaceLines: TypeAlias = Callable[[SessionId, Sequence[bytes]], Awaitable[None]]
"""Puts these lines, without LF and right or wrong, in the place of a session's records; no store is open meanwhile."""

WriteTail: TypeAlias = Callable[[SessionId, bytes], Awaitable[None]]
"""Puts bytes behind the last LF of a session's log, as a crash leaves them; no store is open meanwhile."""

EmptyLog: TypeAlias = Callable[[SessionId], Awaitable[None]]
"""Takes every record out of a session that stays there; no store is open meanwhile."""

HoldLock: TypeAlias = Callable[[SessionId], AbstractAsyncContextManager[None]]
"""Holds, for the length of an ``async with``, the lock that another process takes to append to the session."""

ReadCost: TypeAlias = Callable[[], int]
"""Returns what the stores of the place have read so far: bytes, rows or steps, counted and never timed."""


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a store can do beyond the contract that binds every store; its author declares it.

    A seam that is not given leaves promises unchecked: :func:`checks_for` warns of those that bind every store, and
    :func:`unchecked` lists all of them.
    """

    persistent: bool = False
    """A store made after another one of the same place was closed holds what that one wrote."""

    several_handles: bool = False
    """Several stores of the same place may be open at once, and see each other's appends."""

    replace_lines: ReplaceLines | None = None
    """Damages records behind the store's back. Needs ``persistent``."""

    write_tail: WriteTail | None = None
    """Leaves an unfinished record, for stores that keep a log as bytes (FORMAT section 1). Needs ``persistent``."""

    empty_log: EmptyLog | None = None
    """Leaves a session without records, for stores in which there can be one. Needs ``persistent``."""

    read_cost: ReadCost | None = None
    """Counts what is read. Needs ``persistent``."""

    hold_lock: HoldLock | None = None
    """Locks other writers out. ``check_locked_session_is_told`` waits for the store's whole budget: make it short."""


class Unchecked(msgspec.Struct, frozen=True, kw_only=True):
    """A capability that was not declared, and the promises that no check looks at without it."""

    capability: str
    promise: str
    checks: tuple[str, ...]
    """The names of the checks that were left out."""
    binds_every_store: bool
    """False for promises about what a store may be unable to do at all."""


class UncheckedPromises(UserWarning):
    """The checks were chosen without the seams that some promises of every store need: a pass says nothing of them."""


NEEDS_PERSISTENT: Final = ("replace_lines", "write_tail", "empty_log", "read_cost")
