"""Which format a transcript is of, and importing any: a file tells by its first lines.

The first line that only one format has decides: one that is imported, or a foreign one, which is refused by its name.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from ..ids import now_ms
from ..store import Store
from .claude_code.transcript import ClaudeCode
from .codex import Codex
from .contained import contained
from .deleted import Deleted
from .each import import_below
from .engine import NO_OBJECT_REASON, import_transcript
from .foreign import PHI_CORE, WHOLE_BYTES_MAX, foreign_document, foreign_name
from .lines import Bad, ByteFile, Found, Pieces, Tail
from .logs import TRACE_REASON, import_log, is_log, is_trace
from .pi import Pi
from .protocol import Format
from .report import ImportFailed, ImportReport, ImportSummary, NotUnderstood
from .source import close, open_regular

FORMATS: Final[tuple[Format, ...]] = (ClaudeCode(), Codex(), Pi())
"""The formats that this package imports."""
_SIGNS: Final = {
    "claude-code": "uuid, sessionId and isSidechain",
    "codex": "timestamp, payload and one of its types",
    "pi": "a session header, or one of its entries",
}
"""What the recognisers ask for, for people whose file none of them knew."""
LOOKED_AT_MAX: Final = 50
"""How many JSON objects are looked at before a file is no transcript."""


async def import_file(
    store: Store,
    path: Path,
    *,
    formats: Sequence[Format] = FORMATS,
    growing: bool | None = None,
    progress: Callable[[int], None] | None = None,
    deleted: Deleted | None = None,
    clock: Callable[[], int] = now_ms,
) -> ImportReport:
    """Import one transcript, or what is new in it since the last time, in whichever of ``formats`` it is.

    A log of sessionlog itself is copied as it is (:func:`import_log`); the trace beside a log is passed over.

    ``growing`` says whether the file is still being written: what may go on at its very end then waits. By default that
    is so if the file ends in the middle of a line. ``progress`` is called with the number of bytes done since its last
    call; the numbers add up to the file's size. ``deleted`` knows which sessions were deleted from ``store``: they are
    passed over, unless it was made with ``again=True``. ``clock`` gives the time of the import, in unix ms.

    Raises :class:`ImportFailed` when the file cannot be read or is of none of ``formats``, and whatever the store
    raises. What was committed until then stays, and importing again goes on from there. A file that holds nothing whole
    yet is reported, with what waits in it.
    """
    if is_trace(path):
        return ImportReport(path=path, bytes_read=0, unchanged=True, passed_over=TRACE_REASON)
    if await is_log(path):
        return await import_log(store, path, progress=progress, deleted=deleted)
    found = await _look(store, path, formats)
    if isinstance(found, ImportReport):
        if progress is not None and found.bytes_read:
            progress(found.bytes_read)
        return found
    return await import_transcript(store, path, found, growing=growing, progress=progress, deleted=deleted, clock=clock)


async def import_paths(
    store: Store,
    paths: Iterable[Path],
    *,
    formats: Sequence[Format] = FORMATS,
    growing: bool | None = None,
    progress: Callable[[int], None] | None = None,
    on_file: Callable[[ImportReport | ImportFailed], None] | None = None,
    again: bool = False,
    jobs: int = 1,
    clock: Callable[[], int] = now_ms,
) -> ImportSummary:
    """Import files and folders, of mixed formats too, as :func:`find_transcripts` finds them.

    ``on_file`` is called after each file, in their order; ``again`` brings back what was deleted from ``store``; with
    ``jobs``, up to so many processes work at the same time, as in :func:`import_each`; the others are those of
    :func:`import_file`. A file that cannot be imported does not stop the others: its :class:`ImportFailed` is in the
    summary. What the store raises does stop.
    """
    import_one = partial(import_file, formats=formats, growing=growing, clock=clock)
    return await import_below(
        store, paths, import_one, formats=formats, on_file=on_file, again=again, jobs=jobs, progress=progress
    )


async def recognise(store: Store, path: Path, *, formats: Sequence[Format] = FORMATS) -> Format | None:
    """Return the format of the transcript at ``path``; ``None`` for a file that holds nothing whole yet.

    Raises :class:`ImportFailed` when it cannot be read, or is of none of ``formats``. ``store`` gives the length of the
    longest line.
    """
    found = await _look(store, path, formats)
    return None if isinstance(found, ImportReport) else found


async def _look(store: Store, path: Path, formats: Sequence[Format]) -> Format | ImportReport:
    path, file = await open_regular(path)
    try:
        with contained(path):
            found = await _look_at_lines(store, path, file, formats)
            if isinstance(found, str):
                await file.seek(0)
                data = await file.read(WHOLE_BYTES_MAX + 1)
                name = foreign_document(data) if len(data) <= WHOLE_BYTES_MAX else None
                raise ImportFailed(path, found if name is None else _refusal(name))
            return found
    finally:
        await close(file)


async def _look_at_lines(
    store: Store, path: Path, file: ByteFile, formats: Sequence[Format]
) -> Format | ImportReport | str:
    """Return the format by the first line that tells it; a report of a file that is empty so far; or what it is not."""
    objects, bad, size = 0, False, 0
    waiting: list[NotUnderstood] = []

    def count(chunk: bytes) -> None:
        nonlocal size
        size += len(chunk)

    async for piece in Pieces(file, line_bytes_max=store.line_bytes_max, on_chunk=count):
        match piece:
            case Found():
                objects += 1
                known = next((one for one in formats if one.recognises(piece.value)), None)
                if known is not None:
                    return known
                foreign = foreign_name(piece.value)
                if foreign is not None:
                    raise ImportFailed(path, _refusal(foreign))
            case Bad():
                bad = True
            case Tail():
                waiting.append(NotUnderstood(piece.line, f"an unfinished line of {piece.size} bytes: it waits"))
        if objects == LOOKED_AT_MAX:
            break
    if objects:
        # no count of this file's objects: a watch repeats a reason only when it changes, and this file may grow
        wanted = _wanted(formats)
        return f"it is no transcript of a known format: none of its first {LOOKED_AT_MAX} JSON objects is {wanted}"
    if bad:
        return NO_OBJECT_REASON
    return ImportReport(path=path, bytes_read=size, waiting=waiting, unchanged=True)


def _refusal(name: str) -> str:
    if name == PHI_CORE:
        return f"this is {name}: import it with `sessionlog import phi-core`"
    return f"this looks like {name}, which sessionlog does not import yet: nothing of it was imported"


def _wanted(formats: Sequence[Format]) -> str:
    """Say what was looked for."""
    signs = [f"{one.name} ({_SIGNS[one.name]})" if one.name in _SIGNS else one.name for one in formats]
    return f"a line of {', '.join(signs)}"
