"""LangGraph's own conformance suite for checkpointers."""

import tempfile
from collections.abc import AsyncGenerator

import anyio
import pytest

from . import suites

pytest.importorskip("langgraph.graph", reason="needs LangGraph: pip install 'sessionlog[langgraph]'")
pytest.importorskip("langgraph.checkpoint.conformance", reason="needs langgraph-checkpoint-conformance")

from langgraph.checkpoint.conformance import checkpointer_test, validate

from sessionlog.adapters.langgraph import SessionlogSaver


def test_the_conformance_suite_passes() -> None:
    """Each of the suite's tests passes, in all of its capabilities; none is left out."""

    @checkpointer_test(name="SessionlogSaver")
    async def make_saver() -> AsyncGenerator[SessionlogSaver, None]:
        with tempfile.TemporaryDirectory() as root:
            yield SessionlogSaver(root)

    results = anyio.run(validate, make_saver).results
    assert {name: result.failures for name, result in results.items() if result.failures} == {}
    assert len(results) == 8
    assert all(result.detected and not result.tests_skipped for result in results.values())
    passed = sum(result.tests_passed for result in results.values())
    suites.report("langgraph", "langgraph-checkpoint-conformance: validate", passed=passed, deselected={})
    assert passed >= 81
