"""Importers: foreign transcript formats, turned into sessions of a store.

They all promise the same: streamed (no file is held in memory), idempotent (a second import adds nothing, a grown file
adds just what is new), complete (every line of the source is imported, or listed with the reason why not), and honest
about where a session came from: its second record is an ``extension`` entry of domain ``import``.

What all formats share: :mod:`.lines` (bytes into JSON objects), :mod:`.survey` (the first pass), :mod:`.plan` and
:mod:`.layout` (what goes where), :mod:`.usage`, :mod:`.ledger` (what the store has already), :mod:`.writer` (the second
pass), :mod:`.engine` (one import, from end to end), :mod:`.contained` (a file fails alone), :mod:`.each` (many files,
on all cores), :mod:`.watching` (files that grow). A format is one module or package against :mod:`.protocol`;
:mod:`.recognise` tells them apart. :mod:`.documents` are no transcripts: whole sessions of phi-core.
"""

from .deleted import Deleted
from .documents import DOCUMENT_BRACKETS_MAX, DOCUMENT_BYTES_MAX, ImportedDocument, find_documents, import_document
from .each import ImportOne, import_each
from .engine import import_transcript
from .layout import START, Layout
from .ledger import IMPORT_DOMAIN, ImportNote, Source
from .lines import Found
from .logs import LogForked, import_log
from .paths import find_transcripts
from .plan import Plan, PlannedSession, session_name
from .protocol import NOT_UNDERSTOOD, Format, Header, Kept, Transcript
from .recognise import FORMATS, import_file, import_paths, recognise
from .report import ImportedSession, ImportFailed, ImportReport, ImportSummary, NotUnderstood
from .told import Answered, TellsLoops, Told
from .usage import Due
from .watching import CaughtUp, Imported, NotImported, Outcome, Pace, Watch
from .writer import SPAWN_SUFFIX

__all__ = [
    "DOCUMENT_BRACKETS_MAX",
    "DOCUMENT_BYTES_MAX",
    "FORMATS",
    "IMPORT_DOMAIN",
    "NOT_UNDERSTOOD",
    "SPAWN_SUFFIX",
    "START",
    "Answered",
    "CaughtUp",
    "Deleted",
    "Due",
    "Format",
    "Found",
    "Header",
    "ImportFailed",
    "ImportNote",
    "ImportOne",
    "ImportReport",
    "ImportSummary",
    "Imported",
    "ImportedDocument",
    "ImportedSession",
    "Kept",
    "Layout",
    "LogForked",
    "NotImported",
    "NotUnderstood",
    "Outcome",
    "Pace",
    "Plan",
    "PlannedSession",
    "Source",
    "TellsLoops",
    "Told",
    "Transcript",
    "Watch",
    "find_documents",
    "find_transcripts",
    "import_document",
    "import_each",
    "import_file",
    "import_log",
    "import_paths",
    "import_transcript",
    "recognise",
    "session_name",
]
