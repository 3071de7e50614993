"""The contract of :class:`sessionlog.Store` as checks: does a store keep every promise that it makes?

Each ``check_*`` is an async function of a :data:`MakeStore`; it returns when the promise in its docstring was kept, and
raises ``AssertionError``, saying what was expected and found, when not. Use any test runner, on asyncio or trio::

    @pytest.mark.anyio
    @pytest.mark.parametrize("check", checks_for(Capabilities(persistent=True)), ids=lambda check: check.__name__)
    async def test_conformance(check, tmp_path):
        await check(lambda: MyStore(tmp_path))

``make_store`` makes a store in one place, which is empty when a check begins. A store may bound its lines to a few MiB
there (``line_bytes_max``), so that the checks at the limit stay quick. What not every store can do is declared
in :class:`Capabilities`, never guessed.

No check depends on time: none sleeps, and waiting for what must happen ends after a minute or more, only
to fail.
"""

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias

import msgspec

from ._cancelling import (
    check_asyncio_task_cancel,
    check_asyncio_task_cancel_beside_others,
    check_asyncio_task_cancel_of_session_log,
    check_asyncio_timeout,
    check_asyncio_timeout_beside_others,
    check_asyncio_timeout_ends_with_block,
    check_cancelled_append,
    check_cancelled_append_beside_others,
    check_cancelled_batch,
    check_cancelled_create,
    check_cancelled_follow,
    check_cancelled_reads,
    check_session_log_head_after_cancel,
)
from ._closing import (
    check_close_settles_appends,
    check_close_waits_for_commits,
    check_closed_store_refuses,
    check_left_store_refuses,
    check_reopened_store_has_all,
)
from ._damage import (
    check_changed_record_is_not_served,
    check_damaged_end_refuses_appends,
    check_empty_log_has_no_head,
    check_moved_records_are_not_served,
    check_torn_tail_is_no_error,
)
from ._kit import EditBytes, MakeStore
from ._racing import (
    check_failure_stays_alone,
    check_follow_across_handles,
    check_handles_race,
    check_handles_see_each_other,
    check_many_sessions_at_once,
    check_one_creator,
    check_one_winner,
    check_racing_writers,
    check_shared_session_log,
)
from ._reading import (
    check_batch_is_read_whole,
    check_follow_each_position,
    check_follow_ends_by_cancellation,
    check_follow_ends_with_store,
    check_read_after_each_position,
    check_read_during_appends,
    check_read_stopped_early,
    check_several_followers,
)
from ._writing import (
    check_append_chains_on,
    check_append_makes_session,
    check_append_to_missing_session,
    check_broken_batch_writes_nothing,
    check_bytes_are_kept,
    check_create_existing_writes_nothing,
    check_create_session,
    check_empty_append_is_refused,
    check_foreign_first_record_writes_nothing,
    check_gap_writes_nothing,
    check_invalid_ids_are_refused,
    check_large_records,
    check_line_limit,
    check_list_order,
    check_missing_session_is_told,
    check_order_of_one_task,
    check_second_first_record_writes_nothing,
    check_stale_head_writes_nothing,
    check_trace_leaves_log_alone,
    check_valid_ids_are_distinct,
)

Check: TypeAlias = Callable[[MakeStore], Coroutine[Any, Any, None]]
"""A check: awaited with a :data:`MakeStore`, it returns or raises ``AssertionError``."""

EditingCheck: TypeAlias = Callable[[MakeStore, EditBytes], Coroutine[Any, Any, None]]
"""A check that changes bytes behind the store's back."""


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a store can do beyond the contract that binds every store; its author declares it."""

    persistent: bool = False
    """A store made after another one of the same place was closed holds what that one wrote."""

    several_handles: bool = False
    """Several stores of the same place may be open at once, and see each other's appends."""

    edit_bytes: EditBytes | None = None
    """Puts other bytes in the place of a session's log while no store is open, for stores that keep log bytes as such
    (FORMAT section 2); asks for ``persistent`` too."""


CHECKS: Final[tuple[Check, ...]] = (
    check_create_session,
    check_create_existing_writes_nothing,
    check_append_makes_session,
    check_append_chains_on,
    check_bytes_are_kept,
    check_stale_head_writes_nothing,
    check_gap_writes_nothing,
    check_second_first_record_writes_nothing,
    check_broken_batch_writes_nothing,
    check_foreign_first_record_writes_nothing,
    check_empty_append_is_refused,
    check_append_to_missing_session,
    check_missing_session_is_told,
    check_invalid_ids_are_refused,
    check_valid_ids_are_distinct,
    check_line_limit,
    check_large_records,
    check_list_order,
    check_trace_leaves_log_alone,
    check_order_of_one_task,
    check_read_after_each_position,
    check_read_stopped_early,
    check_read_during_appends,
    check_batch_is_read_whole,
    check_follow_each_position,
    check_several_followers,
    check_follow_ends_by_cancellation,
    check_follow_ends_with_store,
    check_one_winner,
    check_one_creator,
    check_racing_writers,
    check_many_sessions_at_once,
    check_failure_stays_alone,
    check_shared_session_log,
    check_cancelled_append,
    check_cancelled_batch,
    check_cancelled_append_beside_others,
    check_cancelled_create,
    check_cancelled_reads,
    check_cancelled_follow,
    check_session_log_head_after_cancel,
    check_asyncio_task_cancel,
    check_asyncio_task_cancel_beside_others,
    check_asyncio_task_cancel_of_session_log,
    check_asyncio_timeout,
    check_asyncio_timeout_beside_others,
    check_asyncio_timeout_ends_with_block,
    check_closed_store_refuses,
    check_left_store_refuses,
    check_close_settles_appends,
)
"""What binds every store."""

PERSISTENT_CHECKS: Final[tuple[Check, ...]] = (check_reopened_store_has_all, check_close_waits_for_commits)
"""What binds stores that are ``persistent``."""

SEVERAL_HANDLES_CHECKS: Final[tuple[Check, ...]] = (
    check_handles_see_each_other,
    check_handles_race,
    check_follow_across_handles,
)
"""What binds stores of which ``several_handles`` may be open."""

EDITING_CHECKS: Final[tuple[EditingCheck, ...]] = (
    check_changed_record_is_not_served,
    check_moved_records_are_not_served,
    check_damaged_end_refuses_appends,
    check_torn_tail_is_no_error,
    check_empty_log_has_no_head,
)
"""What binds stores whose bytes can be edited; each takes the :data:`EditBytes` behind the :data:`MakeStore`."""

ALL_CHECKS: Final[tuple[Check | EditingCheck, ...]] = (
    *CHECKS,
    *PERSISTENT_CHECKS,
    *SEVERAL_HANDLES_CHECKS,
    *EDITING_CHECKS,
)
"""Every check there is."""


def checks_for(capabilities: Capabilities) -> tuple[Check, ...]:
    """Return the checks that a store with these ``capabilities`` must pass, each with its ``__name__`` and docstring.

    Raises ``ValueError`` for capabilities that contradict each other.
    """
    edit_bytes = capabilities.edit_bytes
    if edit_bytes is not None and not capabilities.persistent:
        raise ValueError("edit_bytes changes what a closed store left: declare persistent too")
    checks = CHECKS
    if capabilities.persistent:
        checks += PERSISTENT_CHECKS
    if capabilities.several_handles:
        checks += SEVERAL_HANDLES_CHECKS
    if edit_bytes is not None:
        checks += tuple(_bound(check, edit_bytes) for check in EDITING_CHECKS)
    return checks


def _bound(check: EditingCheck, edit_bytes: EditBytes) -> Check:
    @functools.wraps(check)
    async def bound(make_store: MakeStore) -> None:
        await check(make_store, edit_bytes)

    return bound


__all__ = [
    "ALL_CHECKS",
    "CHECKS",
    "EDITING_CHECKS",
    "PERSISTENT_CHECKS",
    "SEVERAL_HANDLES_CHECKS",
    "Capabilities",
    "Check",
    "EditBytes",
    "EditingCheck",
    "MakeStore",
    "check_append_chains_on",
    "check_append_makes_session",
    "check_append_to_missing_session",
    "check_asyncio_task_cancel",
    "check_asyncio_task_cancel_beside_others",
    "check_asyncio_task_cancel_of_session_log",
    "check_asyncio_timeout",
    "check_asyncio_timeout_beside_others",
    "check_asyncio_timeout_ends_with_block",
    "check_batch_is_read_whole",
    "check_broken_batch_writes_nothing",
    "check_bytes_are_kept",
    "check_cancelled_append",
    "check_cancelled_append_beside_others",
    "check_cancelled_batch",
    "check_cancelled_create",
    "check_cancelled_follow",
    "check_cancelled_reads",
    "check_changed_record_is_not_served",
    "check_close_settles_appends",
    "check_close_waits_for_commits",
    "check_closed_store_refuses",
    "check_create_existing_writes_nothing",
    "check_create_session",
    "check_damaged_end_refuses_appends",
    "check_empty_append_is_refused",
    "check_empty_log_has_no_head",
    "check_failure_stays_alone",
    "check_follow_across_handles",
    "check_follow_each_position",
    "check_follow_ends_by_cancellation",
    "check_follow_ends_with_store",
    "check_foreign_first_record_writes_nothing",
    "check_gap_writes_nothing",
    "check_handles_race",
    "check_handles_see_each_other",
    "check_invalid_ids_are_refused",
    "check_large_records",
    "check_left_store_refuses",
    "check_line_limit",
    "check_list_order",
    "check_many_sessions_at_once",
    "check_missing_session_is_told",
    "check_moved_records_are_not_served",
    "check_one_creator",
    "check_one_winner",
    "check_order_of_one_task",
    "check_racing_writers",
    "check_read_after_each_position",
    "check_read_during_appends",
    "check_read_stopped_early",
    "check_reopened_store_has_all",
    "check_second_first_record_writes_nothing",
    "check_session_log_head_after_cancel",
    "check_several_followers",
    "check_shared_session_log",
    "check_stale_head_writes_nothing",
    "check_torn_tail_is_no_error",
    "check_trace_leaves_log_alone",
    "check_valid_ids_are_distinct",
    "checks_for",
]
