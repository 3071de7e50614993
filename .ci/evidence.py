"""Lets programs that are not ours read what sessionlog's evidence layer writes: Go, OpenSSL, b3sum, aics-tlog.

    python3 .ci/evidence.py

Installs what can be had: as root, with apt, Debian's golang-go and golang-golang-x-mod-dev, openssl and b3sum; with a
Python 3.12, the PyPI packages aics-tlog and aics-witness, in an environment of their own. Then runs
tests/evidence/test_foreign_tools.py and test_check_proof_script.py, and says which program was skipped, and why. A
program that is there and refuses our files is a failure. Needs the package itself, with its extra ``evidence``, in the
Python that runs this.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GO_MOD = Path("/usr/share/gocode/src/golang.org/x/mod")
AICS = ("aics-tlog", "aics-witness")
APT_TIMEOUT_S = 300
PIP_TIMEOUT_S = 180
TESTS_TIMEOUT_S = 300
TESTS = ("tests/evidence/test_foreign_tools.py", "tests/evidence/test_check_proof_script.py")


def main() -> int:
    """Install, run, tell; return the exit status."""
    skipped: list[str] = []
    for program, packages, is_there in (
        ("Go", ("golang-go", "golang-golang-x-mod-dev"), lambda: bool(shutil.which("go")) and GO_MOD.is_dir()),
        ("OpenSSL", ("openssl",), lambda: bool(shutil.which("openssl"))),
        ("b3sum", ("b3sum",), lambda: bool(shutil.which("b3sum"))),
    ):
        reason = None if is_there() else apt_install(packages)
        if not is_there():
            skipped.append(f"{program}: {reason or 'not there after apt had installed it'}")
    with tempfile.TemporaryDirectory(prefix="evidence-") as scratch:
        python, reason = aics_python(Path(scratch))
        environ = dict(os.environ)
        if python is None:
            skipped.append(f"aics-tlog, aics-witness: {reason}")
        else:
            environ["SESSIONLOG_AICS_PYTHON"] = python
        status = run_tests(environ)
    for one in skipped:
        print(f"evidence: SKIPPED: {one}")
    return status


def apt_install(packages: tuple[str, ...]) -> str | None:
    """Install Debian packages; return why that cannot be done."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "not there, and only root can install it"
    if shutil.which("apt-get") is None:
        return "not there, and there is no apt"
    environ = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    done = None
    for command in (("install",), ("update",), ("install",)):  # the lists may be as old as the image, or empty
        words = ["apt-get", "-q", "-y", *command]
        words += ["--no-install-recommends", *packages] if command == ("install",) else []
        try:
            done = subprocess.run(
                words, env=environ, capture_output=True, text=True, check=False, timeout=APT_TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            return f"apt-get {command[0]} took longer than {APT_TIMEOUT_S} s"
        if command == ("install",) and done.returncode == 0:
            return None
    return f"apt-get cannot install it: {last_line(done.stderr if done else '')}"


def aics_python(scratch: Path) -> tuple[str | None, str]:
    """Return a Python that has the packages, or why there is none."""
    reason = "they need a Python 3.12, and there is none"
    for base in python_3_12():
        if not subprocess.run([base, "-m", "venv", scratch / "venv"], capture_output=True, check=False).returncode:
            break
        reason = f"{base} cannot make an environment"
    else:
        return None, reason
    python = str(scratch / "venv" / "bin" / "python")
    try:
        done = subprocess.run(
            [python, "-m", "pip", "install", "-q", *AICS],
            capture_output=True,
            text=True,
            check=False,
            timeout=PIP_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return None, f"pip took longer than {PIP_TIMEOUT_S} s"
    return (python, "") if done.returncode == 0 else (None, f"pip cannot install them: {last_line(done.stderr)}")


def python_3_12() -> list[str]:
    """Return every Python 3.12 that is found: this one, the one on the path, and those that pyenv keeps."""
    found = [sys.executable] if sys.version_info[:2] == (3, 12) else []
    on_path = shutil.which("python3.12")
    if on_path is not None:
        kept = Path(on_path).parent.parent.glob("versions/3.12*/bin/python3.12")  # if that is pyenv's shim
        found += [*map(str, kept), on_path]
    return found


def run_tests(environ: dict[str, str]) -> int:
    """Run the tests of foreign programs; return the exit status."""
    started = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-o", "addopts=", "-q", "-rs", *TESTS]
    try:
        done = subprocess.run(command, cwd=ROOT, env=environ, check=False, timeout=TESTS_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        print(f"evidence: FAILED: the tests took longer than {TESTS_TIMEOUT_S} s")
        return 1
    print(f"evidence: the tests ended with status {done.returncode} in {time.monotonic() - started:.0f} s", flush=True)
    return done.returncode


def last_line(text: str) -> str:
    """Return the last line that says something."""
    lines = [line for line in text.splitlines() if re.search(r"\w", line)]
    return lines[-1] if lines else "it said nothing"


if __name__ == "__main__":
    sys.exit(main())
