"""Runs the tests of the adapters, each in an environment of its own that holds the framework which it adapts.

    python3 .ci/frameworks.py [NAME...]      all frameworks, or these

For each framework, one after the other: make an environment, install the package with the framework's extra, the tested
version of the framework and its published suite; check the adapter's types against the framework's; run the adapter's
tests and its page in docs/. A suite that is no part of an installed package is taken from the framework's source
distribution. At the end stands the table of suites: what passed, and what was deselected and why.

A framework that cannot be downloaded is skipped, by name, and so is one whose turn comes after LIMIT_S; everything else
that goes wrong is a failure. Needs a package index that pip can reach.
"""

import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 1200
"""No framework is begun after that time, so that .ci/run ends in its own."""
TOOLS = ("hypothesis", "mypy", "pytest", "pytest-xdist", "trio")
"""Taken from requirements-dev.txt, in the versions that stand there."""
NO_NETWORK = re.compile(r"ConnectionError|ConnectTimeout|ReadTimeout|name resolution|Network is unreachable|ProxyError")


class Framework(NamedTuple):
    """A framework: the versions that are tested, with what its suite needs, and where that suite is."""

    extra: str
    requirements: tuple[str, ...]
    source: str | None = None
    """The requirement whose source distribution holds the suite; ``None``: the suite is installed."""


FRAMEWORKS = {
    "claude_agent_sdk": Framework("claude-agent-sdk", ("claude-agent-sdk==0.2.187",), "claude-agent-sdk==0.2.187"),
    "eventsourcing": Framework("eventsourcing", ("eventsourcing[crypto]==9.5.6",)),
    "langgraph": Framework(
        "langgraph",
        ("langgraph-checkpoint==4.3.2", "langgraph-checkpoint-conformance==0.0.2", "langgraph==1.2.22"),
    ),
    "openai_agents": Framework(
        "openai-agents", ("openai-agents==0.24.0", "pytest-asyncio", "inline-snapshot"), "openai-agents==0.24.0"
    ),
    "pydantic_ai": Framework("pydantic-ai", ("pydantic-ai-slim==2.68.0",)),
    "strands": Framework(
        "strands", ("strands-agents==1.62.0", "pytest-asyncio", "moto", "boto3"), "strands-agents==1.62.0"
    ),
}


class Skipped(Exception):
    """The framework cannot be had."""


class Failed(Exception):
    """A step failed."""


def main(names: list[str]) -> int:
    """Run the frameworks; return the exit status."""
    unknown = set(names) - set(FRAMEWORKS)
    if unknown:
        sys.exit(f"no such framework: {', '.join(sorted(unknown))}; there are: {', '.join(FRAMEWORKS)}")
    outcomes: dict[str, str] = {}
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="frameworks-") as scratch:
        report = Path(scratch) / "suites.jsonl"
        report.touch()
        for name in names or list(FRAMEWORKS):
            started = time.monotonic()
            try:
                if started - begun > LIMIT_S:
                    raise Skipped(f"{LIMIT_S} s are over: run .ci/frameworks.py {name}")
                run_framework(name, Path(scratch) / name, report)
                outcomes[name] = "passed"
            except Skipped as skipped:
                outcomes[name] = f"SKIPPED: {skipped}"
            except Failed as failed:
                outcomes[name] = f"FAILED: {failed}"
            print(f"--- {name}: {outcomes[name]} ({time.monotonic() - started:.0f} s)", flush=True)
        print_suites(report)
    for name, outcome in outcomes.items():
        print(f"frameworks: {name}: {outcome}")
    return any(outcome.startswith("FAILED") for outcome in outcomes.values())


def run_framework(name: str, scratch: Path, report: Path) -> None:
    """Install the framework ``name`` and run everything about it. Raises :class:`Skipped`, :class:`Failed`."""
    framework = FRAMEWORKS[name]
    print(f"--- {name}", flush=True)
    venv.create(scratch / "venv", with_pip=True)
    python = str(scratch / "venv" / "bin" / "python")
    package = f"{ROOT}[cli,{framework.extra}]"
    pip(python, "install", package, *framework.requirements, *tool_pins())
    installed = subprocess.run([python, "-m", "pip", "freeze"], capture_output=True, text=True, check=True).stdout
    wanted = {re.split(r"[\[=<>]", requirement)[0] for requirement in framework.requirements}
    print("installed:", *(line for line in installed.split() if line.partition("==")[0] in wanted), flush=True)

    environ = dict(os.environ, SESSIONLOG_SUITE_REPORT=str(report))
    environ["PATH"] = os.pathsep.join([str(Path(python).parent), environ.get("PATH", os.defpath)])
    if framework.source is not None:
        environ["SESSIONLOG_SUITE_SOURCE"] = str(fetch_source(python, framework.source, scratch))
    results = scratch / "results.xml"
    modules = sorted(map(str, (ROOT / "src" / "sessionlog" / "adapters").glob(f"{name}*.py")))
    tests = sorted(map(str, (ROOT / "tests" / "adapters").glob(f"test_{name}*.py")))
    page = f"tests/test_docs.py::test_page_runs[docs/{framework.extra}.md]"
    mypy = ("mypy", "--strict", "--config-file=", "--follow-imports=silent", "--cache-dir", str(scratch / "mypy"))
    pytest = ("pytest", "-o", "addopts=", "-q", "-ra", "-W", "default", f"--junitxml={results}")
    failed = []
    for command in ((*mypy, *modules), (*pytest, *tests, page)):
        status = subprocess.run([python, "-m", *command], cwd=ROOT, env=environ, check=False).returncode
        if status:
            failed.append(f"{command[0]} ended with status {status}")
    if results.exists() and re.search(r'skipped="[1-9]', results.read_text()):
        failed.append("a test was skipped, and none may be")
    if failed:
        raise Failed(", ".join(failed))


def pip(python: str, *arguments: str) -> None:
    """Run pip. Raises :class:`Skipped` if it finds no network, else :class:`Failed` if it fails."""
    done = subprocess.run(
        [python, "-m", "pip", *arguments, "-q"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        last = done.stdout.strip()[-2000:]
        if NO_NETWORK.search(done.stdout):
            raise Skipped(f"pip {arguments[0]} cannot reach a package index:\n{last}")
        raise Failed(f"pip {' '.join(arguments)}:\n{last}")


def fetch_source(python: str, requirement: str, scratch: Path) -> Path:
    """Download and unpack a source distribution; return its folder."""
    folder = scratch / "source"
    pip(python, "download", "--no-binary", ":all:", "--no-deps", "--dest", str(folder), requirement)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    archive.unlink()
    (unpacked,) = folder.iterdir()
    return unpacked


def tool_pins() -> list[str]:
    """Return the tools as requirements-dev.txt pins them."""
    pins = dict(re.findall(r"^([\w-]+)==(\S+)", (ROOT / "requirements-dev.txt").read_text(), re.MULTILINE))
    return [f"{tool}=={pins[tool]}" for tool in TOOLS]


def print_suites(report: Path) -> None:
    """Print the table of the suites that ran."""
    print("\nframework         suite                                             passed  deselected")
    for line in report.read_text().splitlines():
        suite = json.loads(line)
        reasons = suite["deselected"]
        print(f"{suite['framework']:<17} {suite['suite']:<49} {suite['passed']:>6}  {len(reasons):>10}")
        for reason in sorted(set(reasons.values())):
            print(f"    {sum(one == reason for one in reasons.values())} deselected: {reason}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
