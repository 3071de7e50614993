"""Where a user's files of this program belong (XDG Base Directory Specification)."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder for what can be made anew: ``$XDG_CACHE_HOME/sessionlog``, by default below ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sessionlog"
