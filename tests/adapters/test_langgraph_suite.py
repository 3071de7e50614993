"""LangGraph's own conformance suite for checkpointers."""

import tempfile
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest

from . import suites

NEEDS = "needs LangGraph and its suite: pip install 'sessionlog[langgraph]' langgraph-checkpoint-conformance"
pytest.importorskip("langgraph.checkpoint.base", reason=NEEDS)
conformance = pytest.importorskip("langgraph.checkpoint.conformance", reason=NEEDS)


def test_the_conformance_suite_passes() -> None:
    """Each of the suite's tests passes, in all of its capabilities; none is left out."""
    from sessionlog.adapters.langgraph import SessionlogSaver  # noqa: PLC0415

    @conformance.checkpointer_test(name="SessionlogSaver")  # type: ignore[untyped-decorator, unused-ignore]
    async def make_saver() -> AsyncGenerator[Any, None]:
        with tempfile.TemporaryDirectory() as root:
            yield SessionlogSaver(root)

    results = anyio.run(conformance.validate, make_saver).results
    assert {name: result.failures for name, result in results.items() if result.failures} == {}
    assert len(results) == 8
    assert all(result.detected and not result.tests_skipped for result in results.values())
    passed = sum(result.tests_passed for result in results.values())
    suites.report("langgraph", "langgraph-checkpoint-conformance: validate", passed=passed, deselected={})
    assert passed >= 81
