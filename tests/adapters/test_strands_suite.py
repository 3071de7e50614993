"""The tests that Strands Agents has for its repository session manager, run over our repository."""

from pathlib import Path

import pytest

from . import suites

pytest.importorskip("strands", reason="needs Strands Agents: pip install 'sessionlog[strands]'")

SUITE = ("tests/strands/session/test_repository_session_manager.py",)

# Put in the place of the suite's own repository before the suite imports it.
PLUGIN = """
import sys
import tempfile

sys.path.insert(0, ".")
from sessionlog.adapters.strands import SessionlogRepository
from tests.fixtures import mock_session_repository


class MockedSessionRepository(SessionlogRepository):
    def __init__(self):
        super().__init__(tempfile.mkdtemp())


mock_session_repository.MockedSessionRepository = MockedSessionRepository
"""


def test_the_session_managers_tests_pass(tmp_path: Path) -> None:
    """What Strands checks of its session manager holds over ours, all of it."""
    counts = suites.run(SUITE, PLUGIN, tmp_path)
    suites.report("strands", "tests/strands/session: repository manager", passed=counts[0], deselected={})
    assert counts == (51, 0)
