"""The command line (extra ``cli``): presentation over the public API, and nothing else.

``app`` parses, and maps every error to one line and an exit status; ``output`` is the one way to the terminal and
escapes whatever passes through; each family of commands has a module of its own. Only this file can be imported
without the extra.
"""

import importlib.util
import sys

_NEEDED = ("click", "rich")


def main() -> int:
    """Run the command line on ``sys.argv``; return the exit status (see :mod:`sessionlog.cli.app`)."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        what = " and ".join(missing)
        sys.stderr.write(f"sessionlog: the command line needs {what}: pip install 'sessionlog[cli]'\n")
        return 2
    try:
        from .app import run  # noqa: PLC0415 - not before it is known that click is there

        return run(sys.argv[1:])
    except KeyboardInterrupt:
        return 130
