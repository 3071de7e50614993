"""The contract of :class:`sessionlog.Store` as checks: does a store keep every promise that it makes?

Each ``check_*`` is an async function of a :data:`MakeStore`; it returns when the promise in its docstring was kept, and
raises ``AssertionError``, saying what was expected and found, when not. Use any test runner, on asyncio or trio::

    @pytest.mark.anyio
    @pytest.mark.parametrize("check", checks_for(CAPABILITIES), ids=lambda check: check.__name__)
    async def test_conformance(check, tmp_path):
        await check(lambda: MyStore(tmp_path))

``make_store`` makes a store in one place, which is empty when a check begins. A store may bound its lines to a few MiB
there (``line_bytes_max``), so that the checks at the limit stay quick. What not every store can do, and the seams by
which a test damages a log, holds a lock or counts what is read, are declared in :class:`Capabilities`, never guessed;
:func:`unchecked` lists what a run without them says nothing about.

No check depends on time: none sleeps, and waiting for what must happen ends after a minute or more, only
to fail.
"""

import functools
import warnings
from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple, TypeAlias

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
from ._capabilities import (
    NEEDS_PERSISTENT,
    Capabilities,
    EmptyLog,
    HoldLock,
    ReadCost,
    ReplaceLines,
    Unchecked,
    UncheckedPromises,
    WriteTail,
)
from ._closing import (
    check_close_settles_appends,
    check_close_waits_for_commits,
    check_closed_store_refuses,
    check_left_store_refuses,
    check_reopened_store_has_all,
)
from ._costs import check_cost_of_append, check_cost_of_head, check_streams_hold_little
from ._damage import (
    check_changed_record_is_not_served,
    check_damaged_end_refuses_appends,
    check_empty_log_has_no_head,
    check_foreign_log_is_not_served,
    check_moved_records_are_not_served,
    check_raw_bytes_of_damage,
    check_torn_tail_is_no_error,
)
from ._deleting import (
    check_cancelled_delete,
    check_delete_across_handles,
    check_delete_is_conditional,
    check_delete_races_appends,
    check_delete_removes_session,
    check_deleted_session_is_told,
    check_follower_of_deleted_session_is_told,
    check_reader_of_deleted_session_is_told,
)
from ._kit import MakeStore
from ._locking import check_freed_lock_is_waited_for, check_locked_session_is_told
from ._positions import (
    check_cost_of_position,
    check_damage_behind_position_is_not_served,
    check_damaged_tail_is_not_served,
    check_follow_after_position,
    check_foreign_position_is_refused,
    check_position_of_last_record,
    check_read_after_position,
    check_read_tail,
    check_replaced_log_is_noticed,
    check_stamps_tell_changes,
)
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

SeamCheck: TypeAlias = Callable[..., Coroutine[Any, Any, None]]
"""A check that takes a seam of :class:`Capabilities` behind the :data:`MakeStore`."""

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
    check_position_of_last_record,
    check_read_after_position,
    check_follow_after_position,
    check_foreign_position_is_refused,
    check_read_tail,
    check_stamps_tell_changes,
    check_read_stopped_early,
    check_read_during_appends,
    check_batch_is_read_whole,
    check_follow_each_position,
    check_several_followers,
    check_follow_ends_by_cancellation,
    check_follow_ends_with_store,
    check_delete_removes_session,
    check_delete_is_conditional,
    check_deleted_session_is_told,
    check_follower_of_deleted_session_is_told,
    check_reader_of_deleted_session_is_told,
    check_delete_races_appends,
    check_cancelled_delete,
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
    check_streams_hold_little,
)
"""What binds every store."""


class _Group(NamedTuple):
    """The checks that need one capability."""

    capability: str
    promise: str
    checks: tuple[SeamCheck, ...]
    binds_every_store: bool = False


_GROUPS: Final = (
    _Group(
        "persistent",
        "what was acknowledged is there when the store is opened again",
        (check_reopened_store_has_all, check_close_waits_for_commits),
    ),
    _Group(
        "several_handles",
        "append is conditional and atomic against other handles, and reads see what they append",
        (check_handles_see_each_other, check_handles_race, check_follow_across_handles, check_delete_across_handles),
    ),
    _Group(
        "replace_lines",
        "reads verify: damage raises CorruptLog instead of being served, and no append goes behind it",
        (
            check_changed_record_is_not_served,
            check_moved_records_are_not_served,
            check_foreign_log_is_not_served,
            check_damaged_end_refuses_appends,
            check_raw_bytes_of_damage,
            check_replaced_log_is_noticed,
            check_damage_behind_position_is_not_served,
            check_damaged_tail_is_not_served,
        ),
        binds_every_store=True,
    ),
    _Group(
        "write_tail",
        "bytes of an unfinished record are no part of the log and no error",
        (check_torn_tail_is_no_error,),
    ),
    _Group(
        "empty_log",
        "a session without records is there, has no head, and takes its first record",
        (check_empty_log_has_no_head,),
    ),
    _Group(
        "read_cost",
        "the cost of read_head, of append and of reading on from a position does not grow with the log",
        (check_cost_of_head, check_cost_of_append, check_cost_of_position),
        binds_every_store=True,
    ),
    _Group(
        "hold_lock",
        "a lock that stays taken raises SessionLocked, and nothing is written; one that is soon free is waited for",
        (check_locked_session_is_told, check_freed_lock_is_waited_for),
        binds_every_store=True,
    ),
)

ALL_CHECKS: Final[tuple[SeamCheck, ...]] = (*CHECKS, *(check for group in _GROUPS for check in group.checks))
"""Every check there is."""


def checks_for(capabilities: Capabilities) -> tuple[Check, ...]:
    """Return the checks that a store with these ``capabilities`` must pass, each with its ``__name__`` and docstring.

    Warns with :class:`UncheckedPromises`, which names them, if promises that bind every store stay unchecked for want
    of a seam. Raises ``ValueError`` for capabilities that contradict each other.
    """
    for name in NEEDS_PERSISTENT:
        if getattr(capabilities, name) is not None and not capabilities.persistent:
            raise ValueError(f"{name} reaches behind a store that was closed: declare persistent too")
    lacking = [f"{one.promise} (declare {one.capability})" for one in unchecked(capabilities) if one.binds_every_store]
    if lacking:
        warnings.warn("NOT CHECKED: " + "; ".join(lacking), UncheckedPromises, stacklevel=2)
    checks = CHECKS
    for group in _GROUPS:
        seam = getattr(capabilities, group.capability)
        if seam:
            checks += group.checks if seam is True else tuple(_bound(check, seam) for check in group.checks)
    return checks


def unchecked(capabilities: Capabilities) -> tuple[Unchecked, ...]:
    """Return the promises that no check of :func:`checks_for` looks at, with the capability that each of them needs.

    Empty for a store that declares everything. Print it beside the result of a run.
    """
    return tuple(
        Unchecked(
            capability=group.capability,
            promise=group.promise,
            checks=tuple(check.__name__ for check in group.checks),
            binds_every_store=group.binds_every_store,
        )
        for group in _GROUPS
        if not getattr(capabilities, group.capability)
    )


def _bound(check: SeamCheck, seam: Callable[..., Any]) -> Check:
    @functools.wraps(check)
    async def bound(make_store: MakeStore) -> None:
        await check(make_store, seam)

    return bound


__all__ = [
    "ALL_CHECKS",
    "CHECKS",
    "Capabilities",
    "Check",
    "EmptyLog",
    "HoldLock",
    "MakeStore",
    "ReadCost",
    "ReplaceLines",
    "SeamCheck",
    "Unchecked",
    "UncheckedPromises",
    "WriteTail",
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
    "check_cancelled_delete",
    "check_cancelled_follow",
    "check_cancelled_reads",
    "check_changed_record_is_not_served",
    "check_close_settles_appends",
    "check_close_waits_for_commits",
    "check_closed_store_refuses",
    "check_cost_of_append",
    "check_cost_of_head",
    "check_cost_of_position",
    "check_create_existing_writes_nothing",
    "check_create_session",
    "check_damage_behind_position_is_not_served",
    "check_damaged_end_refuses_appends",
    "check_damaged_tail_is_not_served",
    "check_delete_across_handles",
    "check_delete_is_conditional",
    "check_delete_races_appends",
    "check_delete_removes_session",
    "check_deleted_session_is_told",
    "check_empty_append_is_refused",
    "check_empty_log_has_no_head",
    "check_failure_stays_alone",
    "check_follow_across_handles",
    "check_follow_after_position",
    "check_follow_each_position",
    "check_follow_ends_by_cancellation",
    "check_follow_ends_with_store",
    "check_follower_of_deleted_session_is_told",
    "check_foreign_first_record_writes_nothing",
    "check_foreign_log_is_not_served",
    "check_foreign_position_is_refused",
    "check_freed_lock_is_waited_for",
    "check_gap_writes_nothing",
    "check_handles_race",
    "check_handles_see_each_other",
    "check_invalid_ids_are_refused",
    "check_large_records",
    "check_left_store_refuses",
    "check_line_limit",
    "check_list_order",
    "check_locked_session_is_told",
    "check_many_sessions_at_once",
    "check_missing_session_is_told",
    "check_moved_records_are_not_served",
    "check_one_creator",
    "check_one_winner",
    "check_order_of_one_task",
    "check_position_of_last_record",
    "check_racing_writers",
    "check_raw_bytes_of_damage",
    "check_read_after_each_position",
    "check_read_after_position",
    "check_read_during_appends",
    "check_read_stopped_early",
    "check_read_tail",
    "check_reader_of_deleted_session_is_told",
    "check_reopened_store_has_all",
    "check_replaced_log_is_noticed",
    "check_second_first_record_writes_nothing",
    "check_session_log_head_after_cancel",
    "check_several_followers",
    "check_shared_session_log",
    "check_stale_head_writes_nothing",
    "check_stamps_tell_changes",
    "check_streams_hold_little",
    "check_torn_tail_is_no_error",
    "check_trace_leaves_log_alone",
    "check_valid_ids_are_distinct",
    "checks_for",
    "unchecked",
]
