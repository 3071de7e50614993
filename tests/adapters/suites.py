"""The frameworks' own suites: where they are, and what came of them. ``.ci/frameworks.py`` provides for both."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest

SUITE_TIMEOUT_S = 300


def source() -> Path:
    """Return the folder of the framework's source distribution, or skip the test."""
    folder = os.environ.get("SESSIONLOG_SUITE_SOURCE")
    if not folder:
        pytest.skip("the suite is in the framework's source distribution: run .ci/frameworks.py, which fetches it")
    return Path(folder)


def run(tests: Sequence[str], plugin: str, scratch: Path, *, deselected: Iterable[str] = ()) -> tuple[int, int]:
    """Run tests of the source distribution in a process of its own; return how many passed and were deselected.

    Args:
        tests: Their files.
        plugin: A pytest plugin, in Python, that puts ours in the place of theirs before the suite imports it.
        scratch: A folder for it.
        deselected: Tests that are not run, as ``file::test``.
    """
    (scratch / "in_place_of_theirs.py").write_text(plugin)
    options = [
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "in_place_of_theirs",
        *(f"--deselect={test}" for test in deselected),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=source(),
        env={**os.environ, "PYTHONPATH": str(scratch)},
        capture_output=True,
        text=True,
        check=False,
        timeout=SUITE_TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    counts = {word: int(count) for count, word in re.findall(r"(\d+) (\w+)", done.stdout.rstrip().splitlines()[-1])}
    return counts["passed"], counts.get("deselected", 0)


def report(framework: str, suite: str, *, passed: int, deselected: Mapping[str, str]) -> None:
    """Note what came of a suite, with the reason for each deselected test, for the table that is printed at the end."""
    path = os.environ.get("SESSIONLOG_SUITE_REPORT")
    if path:
        line = {"framework": framework, "suite": suite, "passed": passed, "deselected": dict(deselected)}
        with Path(path).open("a") as file:
            file.write(json.dumps(line) + "\n")
