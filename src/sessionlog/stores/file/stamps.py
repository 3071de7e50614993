"""Change tokens: telling from a file's status alone that it is what it was.

A write changes the size or the times. Two writes within one tick of the file system's clock can leave both as they
were, and a file made where another was deleted mostly gets its inode number. So the status of a file that was changed
a moment ago proves nothing: it is unsettled, as an entry of Git's index is that is as young as the index itself
(Documentation/technical/racy-git.txt). ``ctime`` counts beside ``mtime``, for programs set that at will.
"""

import os
import time
from typing import Final

SETTLING_S: Final = 2.0
"""After so long, a change shows in the times: no file system in use counts in coarser steps."""


def stamp(status: os.stat_result) -> str:
    """Return a token of what is seen of a file; another one after a change, if the status is settled."""
    where = f"{status.st_dev:x}-{status.st_ino:x}-{status.st_size:x}"
    return f"{where}-{status.st_mtime_ns:x}-{status.st_ctime_ns:x}"


def is_settled(status: os.stat_result) -> bool:
    """Tell whether the last change is so long ago that the next one will show. False for times in the future."""
    return time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > SETTLING_S * 1e9


__all__ = ["SETTLING_S", "is_settled", "stamp"]
