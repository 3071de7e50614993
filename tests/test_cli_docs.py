"""docs/cli.md says what the parser says, and shows every command in use."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_the_page_agrees_with_the_parser() -> None:
    """Every command, option and example of the help stands there as it is; each command has an example that runs."""
    ran = subprocess.run(
        [sys.executable, ROOT / "docs" / "build_cli.py", "--check"], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
