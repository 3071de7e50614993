"""Claude Code transcripts (``~/.claude/projects/<folder>/<uuid>.jsonl`` and the files of sub-agents) as sessions.

The live branch of a conversation becomes the session, abandoned attempts become sessions forked where they part, a
compact boundary a session compacted from the one before, a sub-agent a session of its own. Every line of the file is
imported or listed with a reason; a second import adds nothing, a grown file just what is new, an interrupted import
goes on.

Read in this order: :mod:`.shapes` (objects into structs), :mod:`.index` (the first pass), :mod:`.tree` (which line goes
where), :mod:`.usage`, :mod:`.convert` (a line into entries), :mod:`.transcript`. What all formats share is in
:mod:`sessionlog.importers`. The format is not documented by its makers; what is said of it here was observed in real
files.
"""

from typing import Final

from ..ledger import IMPORT_DOMAIN, ImportNote, Source
from ..paths import find_transcripts
from ..report import ImportedSession, ImportFailed, ImportReport, ImportSummary, NotUnderstood
from ..writer import SPAWN_SUFFIX
from .convert import DOMAIN
from .importer import import_file, import_paths

__all__ = [
    "IMPORT_DOMAIN",
    "SPAWN_DOMAIN",
    "ImportFailed",
    "ImportNote",
    "ImportReport",
    "ImportSummary",
    "ImportedSession",
    "NotUnderstood",
    "Source",
    "find_transcripts",
    "import_file",
    "import_paths",
]

SPAWN_DOMAIN: Final = DOMAIN + SPAWN_SUFFIX
"""The domain of the ``extension`` entries that link a tool call to the session of the sub-agent that it spawned."""
