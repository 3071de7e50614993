"""Importing one transcript of any format: read it, see what the store has of it, plan, and write what is new.

The file is read in two passes, neither of which keeps it: the survey, and the one that writes, which commits nothing
that the survey did not read. Which store session continues this file is not guessed: by the marks in its notes
(:mod:`.marks`) one must be a beginning of the other. A beginning of what is imported is an older copy, and brings
nothing. Another file with the same session id, or a file that was rewritten, becomes ``<id>-2``, and so on.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from ..errors import SessionNotFound
from ..ids import SessionId, now_ms
from ..loops import SpawnLinked
from ..store import Store
from .bounds import PAST_BOUND_REASON, past_bound
from .contained import contained, reading_log
from .deleted import Deleted, report_deleted, take_out
from .ledger import ImportNote, Ledger, Source, read_ledger
from .lines import ByteFile, Found, Pieces
from .plan import Plan, PlannedSession
from .protocol import Format, Header
from .report import ImportedSession, ImportFailed, ImportReport, NotUnderstood
from .source import Meter, Recheck, close, digests, open_regular
from .spawned import find_spawn
from .survey import Survey
from .usage import Due, added_tokens
from .writer import Piece, Writer

LISTED_FREE_BYTES: Final = 64 * 1024
"""A log lists pieces that were not understood in so many bytes and one more for each of the source; then it counts."""
LISTED_BYTES: Final = 32
"""What a listed piece takes in a note, beside the reason."""

RUNS_MAX: Final = 100
"""An import begins anew when somebody else changes what it builds on, so many times at most."""
NO_OBJECT_REASON: Final = "no line of it holds a JSON object: is it a transcript?"


async def import_transcript(
    store: Store,
    path: Path,
    source_format: Format,
    *,
    growing: bool | None = None,
    progress: Callable[[int], None] | None = None,
    deleted: Deleted | None = None,
    clock: Callable[[], int] = now_ms,
) -> ImportReport:
    """Import one transcript of ``source_format``, or what is new in it since the last time.

    ``growing`` says whether the file is still being written: what may go on at its very end then waits. By default that
    is so if the file ends in the middle of a line. ``progress`` is called with the number of bytes done since its last
    call; the numbers add up to the file's size. ``deleted`` knows which sessions were deleted from ``store``: they are
    passed over, unless it was made with ``again=True``. ``clock`` gives the time of the import, in unix ms.

    Raises :class:`ImportFailed` when the file cannot be read or holds no JSON object, when the log in the store that it
    goes on in cannot be read, or when anything else goes wrong with it; and whatever else the store raises. What was
    committed until then stays, and importing again goes on from there.
    """
    deleted = deleted or Deleted(store)
    path, file = await open_regular(path)
    try:
        with contained(path):
            meter = Meter(progress)
            for _ in range(RUNS_MAX):
                run = _Import(
                    store, path, file, source_format, growing=growing, meter=meter, deleted=deleted, clock=clock
                )
                try:
                    return await run.run()
                except (_Outrun, SessionNotFound):  # a session was deleted meanwhile
                    meter.restart()
                    await file.seek(0)
            raise ImportFailed(path, f"what the store has of it changed {RUNS_MAX} times meanwhile: import it again")
    finally:
        await close(file)


class _Outrun(Exception):
    """Another import read more of the file, which has grown since our survey, or what another imported was deleted."""


class _Import:
    """One import of one open file."""

    def __init__(
        self,
        store: Store,
        path: Path,
        file: ByteFile,
        source_format: Format,
        *,
        growing: bool | None,
        meter: Meter,
        deleted: Deleted,
        clock: Callable[[], int],
    ) -> None:
        self._store = store
        self._path = path
        self._file = file
        self._format = source_format
        self._transcript = source_format.transcript(path)
        self._growing = growing
        self._clock = clock
        self._meter = meter
        self._deleted = deleted
        self._survey = Survey()
        self._gone: set[SessionId] = set()

    async def run(self) -> ImportReport:
        size = await self._read_survey()
        if self._survey.object_count == 0 and self._survey.not_understood:
            raise ImportFailed(self._path, NO_OBJECT_REASON)
        header = await self._transcript.header()
        if header is None:
            self._meter.finish(size)
            return self._report_nothing(size)
        await self._deleted.settle(header.session_id)
        base, ledgers = await self._find_base(header.session_id)
        if base not in ledgers and await self._deleted.among([base]):
            self._meter.finish(size)
            return report_deleted(self._path, base, format_name=self._format.name, size=size)
        source = self._source(size)
        result = await self._plan(base, ledgers)
        await self._take_out_deleted(result, ledgers)
        self._bound(result, ledgers, header)
        growing = self._growing if self._growing is not None else True if self._survey.unfinished else None
        if self._is_beginning(ledgers):
            if await self._has_grown(size):
                raise _Outrun
            if not self._news_of(result, ledgers):
                self._meter.finish(size)
                return self._report_copy(result, ledgers, size)
            growing = True  # an import of the longer file was broken off
        with reading_log(self._path, header.parent or base):
            receipts = await self._deleted.nonces(one.session_id for one in result.sessions)
        spawned = await find_spawn(self._store, header, ledgers.get(base))
        held = {one.session_id for one in result.sessions if one.held}
        usage = self._transcript.usage(result, growing=growing)
        due = {session_id: dues for session_id, dues in usage.items() if session_id not in held}
        imported_before = len(_settled(ledgers) - self._survey.left_out)  # the writer adds to the ledgers
        writer: Writer | None = None
        unended = not growing and any(ledger.early.turn_open for ledger in ledgers.values())
        has_news = spawned is not None or self._has_news(result, ledgers, due, source)
        if has_news or unended:
            writer = await self._write(
                header, result, ledgers, due, source, whole=not growing, spawned=spawned, has_news=has_news
            )
            if await self._deleted.undo(writer.heads_made(), receipts):
                raise _Outrun
            if not writer.records_added:
                writer = None  # the turn that the log left open is one that the whole file does not have
        self._meter.finish(size)
        return self._report(result, writer, size, imported_before=imported_before)

    def _report_nothing(self, size: int) -> ImportReport:
        """Report a file in which nobody has said anything yet: its lines wait."""
        lines = [line for ordinal, line in enumerate(self._survey.lines) if ordinal not in self._survey.left_out]
        waiting = [NotUnderstood(line, "it waits for the first message of the file") for line in lines]
        return ImportReport(
            path=self._path,
            bytes_read=size,
            format=self._format.name,
            not_understood=self._survey.not_understood,
            waiting=waiting + self._survey.waiting,
            unchanged=True,
        )

    def _source(self, size: int) -> Source:
        """Return what new notes say of this file."""
        path = str(self._path).encode(errors="surrogateescape").decode(errors="replace")
        survey = self._survey
        name = path.rpartition("/")[2]
        return Source(path=path, name=name, size=size, bytes=survey.consumed_bytes, blake3=survey.digest)

    def _is_beginning(self, ledgers: dict[SessionId, Ledger]) -> bool:
        """Tell whether more of the file that this one goes with was imported than this one has."""
        more = any(ordinal >= self._survey.object_count for ordinal in _marks(ledgers))
        return more or any(size > self._survey.consumed_bytes for size in _sizes(ledgers))

    async def _has_grown(self, size: int) -> bool:
        await self._file.seek(size)
        return bool(await self._file.read(1))

    def _pieces(self, *, end: int | None = None, on_chunk: Callable[[bytes], object] | None = None) -> Pieces:
        limit, keys = self._store.line_bytes_max, self._format.line_keys
        return Pieces(self._file, line_bytes_max=limit, line_keys=keys, end=end, on_chunk=on_chunk)

    async def _read_survey(self) -> int:
        """Read the whole file; return its size in bytes."""

        def count(chunk: bytes) -> None:
            self._survey.take(chunk)
            self._meter.advance(len(chunk))

        async for piece in self._pieces(on_chunk=count):
            self._survey.add(piece, self._transcript, line_bytes_max=self._store.line_bytes_max)
        return self._survey.prefixes.size

    async def _find_base(self, wanted: SessionId) -> tuple[SessionId, dict[SessionId, Ledger]]:
        """Return the main session's id and what the store has of this file: the first that goes with it, or nothing.

        With nothing, the id is the first one that was deleted, if any was, else the first that is free.
        """
        number, base = 1, wanted
        deleted: SessionId | None = None
        while True:
            ledger = await self._read_ledger(base)
            if ledger is None:
                if not await self._deleted.among([base]):
                    return deleted or base, {}
                deleted = deleted or base
                number += 1
                base = SessionId(f"{wanted}-{number}")
                continue
            unwritten = ledger.last_note is None and ledger.only_begun_ms is not None
            if unwritten and ledger.only_begun_ms == self._start_ms(wanted):
                return base, {base: ledger}
            ledgers = {base: ledger}
            if self._may_go_with(ledger):
                for session_id in sorted(ledger.sessions):
                    derived = await self._read_ledger(session_id)
                    if derived is not None:
                        ledgers[session_id] = derived
            if await self._goes_with(ledgers):
                return base, ledgers
            number += 1
            base = SessionId(f"{wanted}-{number}")

    async def _read_ledger(self, session_id: SessionId) -> Ledger | None:
        with reading_log(self._path, session_id):
            return await read_ledger(self._store, session_id, self._format.name)

    def _may_go_with(self, ledger: Ledger) -> bool:
        """Tell whether the first object of the file that ``ledger`` knows is the same: a cheap look."""
        first = min(ledger.marks, default=self._survey.object_count)
        return first >= self._survey.object_count or ledger.marks[first] == self._survey.marks[first]

    async def _goes_with(self, ledgers: dict[SessionId, Ledger]) -> bool:
        """Tell whether this file and the one that was imported are the same as far as both go."""
        survey = self._survey
        known = _marks(ledgers)
        common = max((ordinal for ordinal in known if ordinal < survey.object_count), default=None)
        if common is not None:
            return known[common] == survey.marks[common]
        sources = {size: digest for ledger in ledgers.values() for size, digest in ledger.sources.items()}
        if not sources:
            return False  # nobody imported it
        # Notes of earlier versions have no marks. They tell a beginning of the source where one was imported.
        most = max(sources)
        if most > survey.consumed_bytes:
            return sources.get(survey.consumed_bytes) == survey.digest
        return (await digests(self._file, {most})).get(most) == sources[most]

    def _start_ms(self, base: SessionId) -> int:
        """Return the time that this file's main session starts with."""
        first = self._transcript.plan(base, {}, set()).sessions[0].first
        return (None if first is None else first.ts) or 0

    async def _plan(self, base: SessionId, ledgers: dict[SessionId, Ledger]) -> Plan:
        """Plan; ids of new sessions that something else in the store has already are passed over."""
        settled = {ordinal: ledger.session_id for ledger in ledgers.values() for ordinal in ledger.ends}
        taken: set[SessionId] = set()
        while True:
            result = self._transcript.plan(base, settled, taken)
            new = {one.session_id for one in result.sessions} - ledgers.keys() - {base}
            foreign = {session_id for session_id in new if await self._store.exists(session_id)}
            if not foreign:
                return result
            taken |= foreign

    async def _take_out_deleted(self, result: Plan, ledgers: dict[SessionId, Ledger]) -> None:
        """Take the derived sessions out of the plan that were deleted from the store."""
        new = [one.session_id for one in result.sessions if one.session_id not in ledgers]
        deleted = await self._deleted.among(new)
        if deleted:
            self._gone = take_out(result, deleted, ledgers.keys())

    def _bound(self, result: Plan, ledgers: dict[SessionId, Ledger], header: Header) -> None:
        """Leave out the sessions that are past the bound of what a file may copy (:mod:`.bounds`)."""
        repeated = (self._source(0).path, header.cwd, header.version, header.agent, result.sessions[0].system_prompt)
        each_bytes = len(msgspec.json.encode(repeated))
        survey = self._survey
        refused = past_bound(result, survey.sizes, survey.ends, ledgers.keys(), each_bytes=each_bytes)
        if not refused:
            return
        for session in result.sessions:
            session.held = session.held or session.session_id in refused
        out = (ordinal for ordinal, session in result.session_of.items() if session.session_id in refused)
        survey.leave_out(out, PAST_BOUND_REASON)
        while result.live is not None and result.live.session_id in refused:
            result.live = result.live.source

    def _has_news(
        self, result: Plan, ledgers: dict[SessionId, Ledger], due: Mapping[SessionId, list[Due]], source: Source
    ) -> bool:
        main = ledgers.get(result.sessions[0].session_id)
        if main is None or max(main.sources, default=-1) < source.bytes or self._news_of(result, ledgers):
            return True
        counted = {session_id: ledger.counted for session_id, ledger in ledgers.items()}
        return any(
            added_tokens(one.tokens, counted.get(session_id, {}).get(one.message_id)) is not None
            for session_id, dues in due.items()
            for one in dues
        )

    def _news_of(self, result: Plan, ledgers: dict[SessionId, Ledger]) -> bool:
        """Tell whether an object that has a place is not in the store."""
        done = _settled(ledgers) | self._survey.left_out
        return any(ordinal not in result.waiting and ordinal not in done for ordinal in result.session_of)

    async def _write(
        self,
        header: Header,
        result: Plan,
        ledgers: dict[SessionId, Ledger],
        due: Mapping[SessionId, list[Due]],
        source: Source,
        *,
        whole: bool,
        spawned: SpawnLinked | None,
        has_news: bool,
    ) -> Writer:
        listed = ledgers[result.sessions[0].session_id].listed if ledgers else set()
        room = source.bytes + LISTED_FREE_BYTES - sum(map(_listed_bytes, listed))
        news = _capped([one for one in self._survey.not_understood if one not in listed], room)
        new_sessions = [one.session_id for one in result.sessions[1:] if not one.held and one.session_id not in ledgers]

        def opening_note(session: PlannedSession) -> ImportNote:
            is_main = session is result.sessions[0]
            return ImportNote(
                format=self._format.name,
                source=source,
                role=session.role,
                parent=header.parent if is_main else session.spawned_by,
                cwd=header.cwd,
                version=header.version,
                agent=header.agent,
                not_understood=news if is_main else None,
                sessions=new_sessions if is_main else [],
            )

        writer = Writer(
            self._store,
            (self._format, self._transcript),
            result,
            ledgers,
            due,
            opening_note=opening_note,
            marks=self._survey.marks,
            clock=self._clock,
            whole=whole,
            spawned=spawned,
            news=has_news,
        )
        await self._file.seek(0)
        recheck = Recheck(self._path, self._survey.prefixes, source.bytes)

        def count(chunk: bytes) -> None:
            recheck.take(chunk)
            self._meter.advance(len(chunk))

        ts = header.started_ms
        async for piece in self._pieces(end=source.bytes, on_chunk=count):
            if isinstance(piece, Found):
                own = self._transcript.time(piece)
                ts = ts if own is None else own
                await writer.take(Piece(piece, ts, piece.ordinal in self._survey.left_out))
        recheck.finish()
        await writer.finish()
        return writer

    def _report_copy(self, result: Plan, ledgers: dict[SessionId, Ledger], size: int) -> ImportReport:
        """Report a beginning of what is imported."""
        report = self._report(result, None, size, imported_before=len(_settled(ledgers) & result.session_of.keys()))
        sessions = [one for one in report.sessions if one.session_id in ledgers]
        return msgspec.structs.replace(report, sessions=sessions, older_copy=True)

    def _report(self, result: Plan, writer: Writer | None, size: int, *, imported_before: int) -> ImportReport:
        lines, held = self._survey.lines, result.waiting
        main_id = result.sessions[0].session_id
        return ImportReport(
            path=self._path,
            bytes_read=size,
            format=self._format.name,
            session_id=main_id,
            live_session_id=main_id if result.live is None else result.live.session_id,
            sessions=[_session_report(one, writer) for one in result.sessions if not one.held],
            imported=len(lines) - len(self._survey.left_out | held.keys()),
            imported_before=imported_before,
            not_understood=self._survey.not_understood,
            waiting=[
                NotUnderstood(lines[at], held[at])
                for at in sorted(held)
                if result.session_of[at].session_id not in self._gone
            ]
            + self._survey.waiting,
            unchanged=writer is None,
            deleted=sorted(self._gone),
        )


def _settled(ledgers: dict[SessionId, Ledger]) -> set[int]:
    """Return the ordinals of the source's objects that are in the store."""
    return {ordinal for ledger in ledgers.values() for ordinal in ledger.ends}


def _marks(ledgers: dict[SessionId, Ledger]) -> dict[int, bytes]:
    """Return the marks of the source that the ledgers know."""
    return {ordinal: mark for ledger in ledgers.values() for ordinal, mark in ledger.marks.items()}


def _sizes(ledgers: dict[SessionId, Ledger]) -> set[int]:
    """Return how many bytes of the source were imported each time."""
    return {size for ledger in ledgers.values() for size in ledger.sources}


def _session_report(session: PlannedSession, writer: Writer | None) -> ImportedSession:
    written = None if writer is None else writer.sessions[session.session_id]
    return ImportedSession(
        session_id=session.session_id,
        role=session.role,
        made=written is not None and written.made,
        records_added=0 if written is None else written.records_added,
        source=session.spawned_by if session.source is None else session.source.session_id,
    )


def _capped(listed: list[NotUnderstood], room: int) -> list[NotUnderstood]:
    """Return as many of the pieces as ``room`` bytes hold, and how many there are beside."""
    for count, one in enumerate(listed):
        room -= _listed_bytes(one)
        if room < 0:
            rest = listed[count:]
            return [*listed[:count], NotUnderstood(rest[0].line, f"and {len(rest)} more from here on")]
    return listed


def _listed_bytes(one: NotUnderstood) -> int:
    """Return how many bytes a piece takes in a note, about."""
    return len(one.reason) + LISTED_BYTES
