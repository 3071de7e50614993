"""The questions, one a file. Each module has a ``QUESTION``."""

from importlib import import_module
from typing import Final

from ..harness import Question

NAMES: Final = (
    "append_os",
    "append_disk",
    "append_batch",
    "two_processes",
    "growing_log",
    "head",
    "tail",
    "reading_on",
    "read",
    "verify",
    "whole_store",
    "fork",
    "listing",
    "catalog",
    "follow",
    "importing",
    "folder",
    "loops",
    "memory",
    "import_time",
)


def load(skipped: dict[str, str]) -> list[Question]:
    """Return the questions; one whose part of the library is not there goes into ``skipped``."""
    found: list[Question] = []
    for name in NAMES:
        try:
            found.append(import_module(f"{__name__}.{name}").QUESTION)
        except ImportError as error:
            skipped[f"question {name}"] = f"it cannot be imported: {error}"
    return found
