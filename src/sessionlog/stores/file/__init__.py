"""The file store: one append-only JSON Lines file a session, conditional appends across tasks and processes.

``store`` is the face; ``group`` settles commits together, ``open_logs`` keeps files open and flushes them, ``log_file``
is one of them under its lock, ``repair`` mends torn tails, ``repairing`` what a person asks for, ``tail`` and
``reading`` read, ``layout`` names and opens, ``system`` is the seam to the operating system.
"""

from .damage import DamagedPart
from .repairing import REPAIR_DOMAIN, Repair
from .store import Durability, FileStore

__all__ = ["REPAIR_DOMAIN", "DamagedPart", "Durability", "FileStore", "Repair"]
