"""The frameworks' own suites: where they are, and what came of them. ``.ci/frameworks.py`` provides for both."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest


def source() -> Path:
    """Return the folder of the framework's source distribution, or skip the test."""
    folder = os.environ.get("SESSIONLOG_SUITE_SOURCE")
    if not folder:
        pytest.skip("the suite is in the framework's source distribution: run .ci/frameworks.py, which fetches it")
    return Path(folder)


def report(framework: str, suite: str, *, passed: int, deselected: Mapping[str, str]) -> None:
    """Note what came of a suite, with the reason for each deselected test, for the table that is printed at the end."""
    path = os.environ.get("SESSIONLOG_SUITE_REPORT")
    if path:
        line = {"framework": framework, "suite": suite, "passed": passed, "deselected": dict(deselected)}
        with Path(path).open("a") as file:
            file.write(json.dumps(line) + "\n")
