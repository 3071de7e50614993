"""Importing one transcript: read it, see what the store has of it already, plan, and write what is new.

The file is read in passes, none of which keeps it: up to its first message, to know which session it is; the index; the
digest of what earlier imports said they read; and the one that writes. Which store session continues this file is not
guessed: the source that its log names (so many bytes with this BLAKE3) must be the beginning of this file. Another
file with the same session id, or a file that was rewritten, becomes ``<id>-2``, and so on.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from blake3 import blake3

from ...ids import SessionId, now_ms
from ...store import Store
from .index import Index, NotUnderstood
from .ledger import FORMAT, ImportNote, Ledger, Source, read_ledger
from .lines import ByteFile, Found, Pieces
from .report import ImportedSession, ImportFailed, ImportReport
from .shapes import Line, line_ms, parse_line
from .source import Meter, agent_meta, digests, open_regular, os_reason, transcript_id
from .tree import Plan, PlannedSession, derived_id, plan
from .usage import Due, added_tokens, usage_due
from .writer import Piece, Writer

LISTED_MAX: Final = 50_000
"""A note lists no more than this many pieces that were not understood, and says how many there are beside."""


async def import_file(
    store: Store,
    path: Path,
    *,
    growing: bool | None = None,
    progress: Callable[[int], None] | None = None,
    clock: Callable[[], int] = now_ms,
) -> ImportReport:
    """Import one Claude Code transcript, or what is new in it since the last time.

    ``growing`` says that the file is still being written: the token usage of its last message then waits until that
    message is over. By default that is so if the file ends in the middle of a line. ``progress`` is called with the
    number of bytes done since its last call; the numbers add up to the file's size. ``clock`` gives the time of the
    import, in unix ms.

    Raises :class:`ImportFailed` when the file cannot be read or holds no JSON object, and whatever the store raises.
    What was committed until then stays, and importing again goes on from there.
    """
    path, file = await open_regular(path)
    try:
        return await _Import(store, path, file, growing=growing, progress=progress, clock=clock).run()
    except OSError as error:
        raise ImportFailed(path, os_reason(error)) from error
    finally:
        await file.close()


class _Import:
    """One import of one open file."""

    def __init__(
        self,
        store: Store,
        path: Path,
        file: ByteFile,
        *,
        growing: bool | None,
        progress: Callable[[int], None] | None,
        clock: Callable[[], int],
    ) -> None:
        self._store = store
        self._path = path
        self._file = file
        self._growing = growing
        self._clock = clock
        self._meter = Meter(progress)
        self._index = Index()
        self._agent_meta: Any = None

    async def run(self) -> ImportReport:
        first = await self._first_message()
        size = await self._read_index()
        if self._index.object_count == 0 and self._index.not_understood:
            raise ImportFailed(self._path, "no line of it holds a JSON object: is it a transcript?")
        if first is None:
            self._meter.finish(size)
            return self._report_nothing(size)
        agent_file = bool(first.is_sidechain and first.agent_id)
        transcript = transcript_id(self._path, first, agent_file=agent_file)
        wanted = derived_id(transcript, "agent", first.agent_id or "") if agent_file else transcript
        base, ledgers, source = await self._find_base(wanted, size)
        if agent_file:
            self._agent_meta = await agent_meta(self._path)
        result = await self._plan(base, ledgers, agent_file=agent_file, transcript=transcript)
        growing = self._index.unfinished if self._growing is None else self._growing
        due = usage_due(result, file_is_growing=growing)
        imported_before = len(_settled(ledgers) - self._index.left_out)  # the writer adds to the ledgers
        writer: Writer | None = None
        if self._has_news(result, ledgers, due, source):
            writer = await self._write(result, ledgers, due, source)
        self._meter.finish(size)
        return self._report(result, writer, size, imported_before=imported_before)

    def _report_nothing(self, size: int) -> ImportReport:
        """Report a file in which nobody has said anything yet: its lines wait."""
        lines = sorted(self._index.other_lines.values())
        waiting = [NotUnderstood(line, "it waits for the first message of the file") for line in lines]
        return ImportReport(
            path=self._path,
            bytes_read=size,
            not_understood=self._index.not_understood,
            waiting=waiting + self._index.waiting,
            unchanged=True,
        )

    async def _first_message(self) -> Line | None:
        """Return the first line that has a place in the conversation tree."""
        async for piece in Pieces(self._file, line_bytes_max=self._store.line_bytes_max):
            if isinstance(piece, Found):
                line = parse_line(piece.value)
                if line.uuid is not None:
                    return line
        return None

    async def _read_index(self) -> int:
        """Read the whole file into the index; return its size in bytes."""
        await self._file.seek(0)
        size = 0

        def count(chunk: bytes) -> None:
            nonlocal size
            size += len(chunk)
            self._meter.advance(len(chunk))

        limit = self._store.line_bytes_max
        async for piece in Pieces(self._file, line_bytes_max=limit, on_chunk=count):
            self._index.add(piece, line_bytes_max=limit)
        return size

    async def _find_base(self, wanted: SessionId, size: int) -> tuple[SessionId, dict[SessionId, Ledger], Source]:
        """Return the main session's id, what the store has of this file, and the source that new notes name."""
        candidates: list[Ledger] = []
        number, base = 1, wanted
        while (ledger := await read_ledger(self._store, base)) is not None:
            candidates.append(ledger)
            number += 1
            base = SessionId(f"{wanted}-{number}")
        consumed = self._index.consumed_bytes
        marks = {note.source.bytes for ledger in candidates if (note := ledger.last_note) is not None}
        found = await digests(self._file, {mark for mark in marks if mark <= consumed} | {consumed})
        path = str(self._path).encode(errors="surrogateescape").decode(errors="replace")
        source = Source(path=path, name=path.rpartition("/")[2], size=size, bytes=consumed, blake3=found[consumed])
        for ledger in candidates:
            note = ledger.last_note
            if note is not None and found.get(note.source.bytes) == note.source.blake3:
                ledgers = {ledger.session_id: ledger}
                for session_id in sorted(ledger.sessions):
                    derived = await read_ledger(self._store, session_id)
                    if derived is not None:
                        ledgers[session_id] = derived
                return ledger.session_id, ledgers, source
        return base, {}, source

    async def _plan(
        self, base: SessionId, ledgers: dict[SessionId, Ledger], *, agent_file: bool, transcript: SessionId
    ) -> Plan:
        """Plan; ids of new sessions that something else in the store has already are passed over."""
        settled = {ordinal: ledger.session_id for ledger in ledgers.values() for ordinal in ledger.ends}
        taken: set[SessionId] = set()
        while True:
            result = plan(self._index, base, settled, agent_file=agent_file, agents_base=transcript, taken=taken)
            new = {one.session_id for one in result.sessions} - ledgers.keys() - {base}
            foreign = {session_id for session_id in new if await self._store.exists(session_id)}
            if not foreign:
                return result
            taken |= foreign

    def _has_news(
        self, result: Plan, ledgers: dict[SessionId, Ledger], due: dict[SessionId, list[Due]], source: Source
    ) -> bool:
        main = ledgers.get(result.sessions[0].session_id)
        if main is None or main.last_note is None or main.last_note.source.bytes != source.bytes:
            return True
        settled = _settled(ledgers)
        left_out = self._index.left_out
        if any(
            not session.held and ordinal not in settled and ordinal not in left_out
            for ordinal, session in result.session_of.items()
        ):
            return True
        counted = {session_id: ledger.counted for session_id, ledger in ledgers.items()}
        return any(
            added_tokens(one.tokens, counted.get(session_id, {}).get(one.message_id)) is not None
            for session_id, dues in due.items()
            for one in dues
        )

    async def _write(
        self,
        result: Plan,
        ledgers: dict[SessionId, Ledger],
        due: dict[SessionId, list[Due]],
        source: Source,
    ) -> Writer:
        listed = ledgers[result.sessions[0].session_id].listed if ledgers else set()
        news = _capped([one for one in self._index.not_understood if one not in listed])
        everything = _capped(self._index.not_understood)
        new_sessions = [one.session_id for one in result.sessions[1:] if not one.held and one.session_id not in ledgers]
        first = self._index.first

        def opening_note(session: PlannedSession) -> ImportNote:
            is_main = session is result.sessions[0]
            return ImportNote(
                format=FORMAT,
                source=source,
                role=session.role,
                parent=session.spawned_by,
                cwd=None if first is None else first.cwd,
                version=None if first is None else first.version,
                agent=self._agent_meta,
                not_understood=news if is_main or session.session_id in ledgers else everything,
                sessions=new_sessions if is_main else [],
            )

        writer = Writer(self._store, result, ledgers, due, opening_note=opening_note, clock=self._clock)
        await self._file.seek(0)
        hasher = blake3()

        def count(chunk: bytes) -> None:
            hasher.update(chunk)
            self._meter.advance(len(chunk))

        ts = next((node.ts for node in self._index.nodes if node.ts is not None), 0)
        limit = self._store.line_bytes_max
        async for piece in Pieces(self._file, line_bytes_max=limit, end=source.bytes, on_chunk=count):
            if not isinstance(piece, Found):
                continue
            line = parse_line(piece.value)
            own = line_ms(line)
            ts = ts if own is None else own
            left_out = piece.ordinal in self._index.left_out
            await writer.take(Piece(piece.ordinal, line, piece.value, len(piece.raw), ts, left_out))
        if hasher.hexdigest() != source.blake3:
            raise ImportFailed(self._path, "it was rewritten while it was read: import it again")
        await writer.finish()
        return writer

    def _report(self, result: Plan, writer: Writer | None, size: int, *, imported_before: int) -> ImportReport:
        held = [ordinal for ordinal, session in result.session_of.items() if session.held]
        lines = {node.ordinal: node.line for node in self._index.nodes} | self._index.other_lines
        waiting = [NotUnderstood(lines[ordinal], "it waits for the summary of a compact boundary") for ordinal in held]
        nodes = [node for node in self._index.nodes if not result.session_of[node.ordinal].held]
        live = max((node.ordinal for node in nodes if node.speaks and not node.meta), default=None)
        main_id = result.sessions[0].session_id
        return ImportReport(
            path=self._path,
            bytes_read=size,
            session_id=main_id,
            live_session_id=main_id if live is None else result.session_of[live].session_id,
            sessions=[_session_report(one, writer) for one in result.sessions if not one.held],
            imported=self._index.object_count - len(self._index.left_out) - len(held),
            imported_before=imported_before,
            not_understood=self._index.not_understood,
            waiting=waiting + self._index.waiting,
            unchanged=writer is None,
        )


def _settled(ledgers: dict[SessionId, Ledger]) -> set[int]:
    """Return the ordinals of the source's objects that are in the store."""
    return {ordinal for ledger in ledgers.values() for ordinal in ledger.ends}


def _session_report(session: PlannedSession, writer: Writer | None) -> ImportedSession:
    written = None if writer is None else writer.sessions[session.session_id]
    return ImportedSession(
        session_id=session.session_id,
        role=session.role,
        made=written is not None and written.made,
        records_added=0 if written is None else written.records_added,
        source=session.spawned_by if session.source is None else session.source.session_id,
    )


def _capped(listed: list[NotUnderstood]) -> list[NotUnderstood]:
    if len(listed) <= LISTED_MAX:
        return listed
    rest = listed[LISTED_MAX:]
    return [*listed[:LISTED_MAX], NotUnderstood(rest[0].line, f"and {len(rest)} more from here on")]
