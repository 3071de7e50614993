"""One file's import fails alone: whatever goes wrong with it becomes :class:`ImportFailed`, and the others go on.

What the store raises, and cancellation, are not the file's and pass. The exceptions are what a store raises for what it
was given, an entry or an id that cannot be, and a log that cannot be read before anything was written: the other files
go to other logs. An exception that nobody foresaw is a bug here: the
file is named, and its traceback is logged at debug level by the logger ``sessionlog.importers``.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ..errors import CorruptLog, InvalidEntry, InvalidSessionId, SessionLogError, StoreFailed
from ..ids import SessionId
from .report import ImportFailed
from .source import os_reason

_REASON_CHARS_MAX: Final = 300
_log = logging.getLogger("sessionlog.importers")


@contextmanager
def contained(path: Path) -> Iterator[None]:
    """Raise :class:`ImportFailed` for ``path`` instead of what the block raises, unless that is the store's."""
    try:
        yield
    except (InvalidEntry, InvalidSessionId) as error:
        raise ImportFailed(path, f"it cannot be stored: {error}") from error
    except SessionLogError:
        raise
    except OSError as error:
        raise ImportFailed(path, os_reason(error)) from error
    except Exception as error:
        _log.debug("%s cannot be imported", path, exc_info=True)
        what = f"{type(error).__name__}: {error}"[:_REASON_CHARS_MAX]
        raise ImportFailed(path, f"a bug in sessionlog stops its import ({what}): please report it") from error


@contextmanager
def reading_log(path: Path, session_id: SessionId) -> Iterator[None]:
    """Raise :class:`ImportFailed` for ``path`` if the log in the store that it goes on in cannot be read."""
    try:
        yield
    except (CorruptLog, StoreFailed) as error:
        raise ImportFailed(path, f"the log of session {session_id} in the store cannot be read: {error}") from error
