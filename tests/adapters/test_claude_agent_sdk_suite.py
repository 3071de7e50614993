"""The suites of the Claude Agent SDK: the contracts of its session stores, and what it tests with the one in memory."""

import inspect
import itertools
import re
import tempfile
from pathlib import Path

import anyio
import pytest

from . import suites

pytest.importorskip("claude_agent_sdk", reason="needs the Claude Agent SDK: pip install 'sessionlog[claude-agent-sdk]'")

from claude_agent_sdk.testing import run_session_store_conformance

from sessionlog.adapters.claude_agent_sdk import SessionlogSessionStore

CONTRACTS = 14
SUITE = (
    "tests/test_session_helpers_store.py",
    "tests/test_session_import.py",
    "tests/test_session_resume.py",
    "tests/test_session_store_anyio.py",
    "tests/test_session_store_conformance.py",
    "tests/test_session_summary.py",
    "tests/test_transcript_mirror.py",
)

# Put in the place of InMemorySessionStore before the suite imports it, with its helpers for tests.
PLUGIN = """
import tempfile
from pathlib import Path

import claude_agent_sdk
from claude_agent_sdk._internal import session_store
from sessionlog.adapters.claude_agent_sdk import SessionlogSessionStore
from sessionlog.blocking import run


class InMemorySessionStore(SessionlogSessionStore):
    def __init__(self):
        self._root = Path(tempfile.mkdtemp())
        super().__init__(self._root)

    def get_entries(self, key):
        return run(self.load, key) or []

    @property
    def size(self):
        ids = [path.stem for path in self._root.glob("*.jsonl")]
        return sum("_" not in id and id != "sessionlog-receipts" for id in ids)


claude_agent_sdk.InMemorySessionStore = InMemorySessionStore
session_store.InMemorySessionStore = InMemorySessionStore
"""

BEATS = "counts beats of the event loop until the store has answered, and ours answers from a thread"
TIMES = "sets the times that InMemorySessionStore keeps"
CLEARS = "empties InMemorySessionStore by a helper of its own"
HELPERS, RESUME, CONFORMANCE, SUMMARY, MIRROR = (SUITE[place] for place in (0, 2, 4, 5, 6))
ON_BOTH_LOOPS = {
    f"{HELPERS}::TestListSessionsFromStore::test_load_concurrency_is_bounded": BEATS,
    f"{RESUME}::TestHappyPath::test_continue_picks_most_recent": TIMES,
    f"{RESUME}::TestHappyPath::test_continue_skips_sidechain_sessions": TIMES,
    f"{RESUME}::TestHappyPath::test_continue_tie_break_is_deterministic": TIMES,
    f"{RESUME}::TestTimeoutsAndErrors::test_cancelled_after_mkdtemp_cleans_temp_dir": BEATS,
    f"{CONFORMANCE}::TestInMemorySessionStore::test_clear_helper": CLEARS,
    f"{SUMMARY}::TestListSessionsFromStoreFastPath::test_gap_fill_bounded_concurrency": BEATS,
}
DESELECTED = {f"{test}[{loop}]": reason for test, reason in ON_BOTH_LOOPS.items() for loop in ("asyncio", "trio")} | {
    f"{MIRROR}::TestReceiveLoopFramePeeling::test_eager_flush_mode_appends_per_frame_before_result": BEATS
}


def test_the_contracts_hold() -> None:
    """All contracts of the SDK's conformance suite hold on both event loops, those of the optional methods too."""
    contracts = re.findall(r"# (\d+)\. ", inspect.getsource(run_session_store_conformance))
    with tempfile.TemporaryDirectory() as root:
        numbers = itertools.count()
        for backend in ("asyncio", "trio"):
            anyio.run(
                run_session_store_conformance,
                lambda: SessionlogSessionStore(Path(root, f"store-{next(numbers)}")),
                backend=backend,
            )
    suites.report("claude_agent_sdk", "run_session_store_conformance", passed=len(contracts), deselected={})
    assert len(contracts) == CONTRACTS


def test_the_in_memory_stores_tests_pass(tmp_path: Path) -> None:
    """What the SDK tests with its own store holds with ours in its place, but for what looks into it."""
    counts = suites.run(SUITE, PLUGIN, tmp_path, deselected=DESELECTED)
    suites.report(
        "claude_agent_sdk", "tests of session stores, resume and mirror", passed=counts[0], deselected=DESELECTED
    )
    assert counts == (354, len(DESELECTED))
