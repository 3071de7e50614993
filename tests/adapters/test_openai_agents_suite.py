"""The tests that the OpenAI Agents SDK has for its SQLite session, run over ours."""

from pathlib import Path

import pytest

from . import suites

pytest.importorskip("agents", reason="needs the OpenAI Agents SDK: pip install 'sessionlog[openai-agents]'")

SUITE = ("tests/memory/test_session.py", "tests/memory/test_session_limit.py")

# Put in the place of SQLiteSession before the suite imports it.
PLUGIN = """
import tempfile

import agents
from sessionlog.adapters.openai_agents import SessionlogSession


class SQLiteSession(SessionlogSession):
    def __init__(self, session_id, db_path=":memory:", **settings):
        root = tempfile.mkdtemp() if str(db_path) == ":memory:" else f"{db_path}.logs"
        super().__init__(session_id, root, **settings)


agents.SQLiteSession = SQLiteSession
"""

CONNECTIONS = "looks into the connections of SQLiteSession"
ROWS = "writes damaged rows into the tables of SQLiteSession"
LOCK = "looks into the file lock of SQLiteSession"
ROLLBACK = "fails a statement of SQLite and looks for its rollback"
DESELECTED = {
    "test_sqlite_session_close_closes_worker_thread_connections": CONNECTIONS,
    "test_sqlite_session_reaps_connections_from_exited_worker_threads": CONNECTIONS,
    "test_sqlite_session_closes_retired_connections_before_the_next_allocation": CONNECTIONS,
    "test_sqlite_session_keeps_connections_of_live_worker_threads": CONNECTIONS,
    "test_sqlite_session_pop_item_skips_corrupt_most_recent": ROWS,
    "test_sqlite_session_pop_item_returns_none_after_dropping_only_corrupt_rows": ROWS,
    "test_sqlite_session_get_items_limit_skips_corrupt_newest_rows": ROWS,
    "test_sqlite_session_get_items_session_settings_limit_skips_corrupt_rows": ROWS,
    "test_sqlite_session_file_lock_is_shared_across_instances": LOCK,
    "test_sqlite_session_failed_add_items_releases_write_lock": LOCK,
    "test_sqlite_session_failed_clear_session_rolls_back": ROLLBACK,
    "test_sqlite_session_failed_pop_item_releases_write_lock": ROLLBACK,
    "test_sqlite_session_rollback_failure_evicts_connection": CONNECTIONS,
    "test_sqlite_session_close_retries_quarantined_connection": CONNECTIONS,
    "test_sqlite_session_post_commit_cancellation_propagates_after_known_outcome[add]": CONNECTIONS,
    "test_sqlite_session_post_commit_cancellation_propagates_after_known_outcome[pop]": CONNECTIONS,
    "test_sqlite_session_post_commit_cancellation_propagates_after_known_outcome[clear]": CONNECTIONS,
}


def test_the_sqlite_sessions_tests_pass(tmp_path: Path) -> None:
    """What the SDK checks of its SQLite session holds for ours, but for the tests that look into SQLite."""
    counts = suites.run(SUITE, PLUGIN, tmp_path, deselected=[f"{SUITE[0]}::{test}" for test in DESELECTED])
    suites.report("openai_agents", "tests/memory: session and session_limit", passed=counts[0], deselected=DESELECTED)
    assert counts == (54, len(DESELECTED))
