"""Verifying and auditing: one pass over the bytes of a log, then where it comes from."""

from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import aclosing
from itertools import accumulate
from typing import Final

from ..errors import CorruptLog, Damage, EntryNotFound, InvalidSessionId, SessionNotFound, StoreFailed
from ..ids import SessionId
from ..receipts import RECEIPTS_SESSION, Receipts
from ..record import HashedEntry, parse_record
from ..scanner import LogScanner, LogState, Verdict
from ..store import Store
from ..stores.file import FileStore
from ..turns import Turns
from .chunks import CHUNK_SESSIONS, directory_of, in_chunks
from .meaning import Meaning
from .planning import Planned, evidence_wanted, families, sources_first, survey
from .provenance import Claim, Evidence, claims, may_claim
from .report import Findings, Report

MANY_SESSIONS: Final = 100
"""Fewer sessions are checked one after the other, by the event loop that asks."""


async def verify_session(store: Store, session_id: str) -> Report:
    """Check the bytes of one session's log.

    Raises :class:`SessionNotFound`, :class:`InvalidSessionId`, :class:`StoreFailed`, and :class:`EntryNotFound` if the
    session was deleted and made anew while it was read.
    """
    reading = await _read(store, session_id, meaning=False)
    return reading.findings.report(reading.verdict)


async def audit_session(store: Store, session_id: str) -> Report:
    """Check the bytes and the meaning of one session's log, and verify the source that it names.

    Raises as :func:`verify_session`, about the session itself. A source that is not there is a finding, or a remark if
    the store has a receipt of its deletion: then the origin cannot be checked, which neither proves nor disproves it.
    """
    return await _audit(store, session_id, known={}, deleted=_Deleted(store))


async def verify_store(store: Store, *, jobs: int = 1) -> AsyncGenerator[Report, None]:
    """Verify every session that the store lists, one report each, last activity first.

    A :class:`FileStore` of many sessions is read by up to ``jobs`` processes.
    The report of a log that cannot be read says so: its state is ``unreadable``. Whoever stops early closes the stream
    (``contextlib.aclosing``). Raises :class:`StoreFailed` if the store cannot be listed.
    """
    session_ids = await store.list_sessions()
    directory = directory_of(store)
    if directory is None or len(session_ids) < MANY_SESSIONS:
        for session_id in session_ids:
            yield await _reported(session_id, verify_session(store, session_id))
        return
    chunks = _parts(session_ids)
    async with aclosing(in_chunks(_verify_each, directory, chunks, jobs=jobs)) as results:
        async for reports in results:
            for report in reports:
                yield report


async def audit_store(store: Store, *, jobs: int = 1) -> AsyncGenerator[Report, None]:
    """Audit every session that the store lists, one report each, a source before what was made from it.

    Reads every log once, and before that the first record of each; holds some hundred bytes for each session that was
    made from another. ``jobs`` as for :func:`verify_store`; a session and what was made from it go to one process.
    Raises as that does.
    """
    session_ids = await store.list_sessions()
    directory = directory_of(store)
    if directory is None or len(session_ids) < MANY_SESSIONS:
        sources = await survey(store, session_ids)
        async with aclosing(_audits(store, Planned(list(sources_first(session_ids, sources)), sources))) as reports:
            async for report in reports:
                yield report
        return
    sources = {}
    async with aclosing(in_chunks(survey, directory, _parts(session_ids), jobs=jobs)) as parts:
        async for part in parts:
            sources.update(part)
    chunks = list(families(session_ids, sources))
    async with aclosing(in_chunks(_audit_each, directory, chunks, jobs=jobs)) as results:
        async for found in results:
            for report in found:
                yield report


async def _verify_each(store: Store, session_ids: Sequence[str]) -> list[Report]:
    return [await _reported(session_id, verify_session(store, session_id)) for session_id in session_ids]


async def _audit_each(store: Store, planned: Planned) -> list[Report]:
    return [report async for report in _audits(store, planned)]


async def _audits(store: Store, planned: Planned) -> AsyncGenerator[Report, None]:
    known, deleted = evidence_wanted(planned.sources), _Deleted(store)
    for session_id in planned.session_ids:
        yield await _reported(session_id, _audit(store, session_id, known=known, deleted=deleted))


def _parts(session_ids: Sequence[str]) -> list[Sequence[str]]:
    return [session_ids[start : start + CHUNK_SESSIONS] for start in range(0, len(session_ids), CHUNK_SESSIONS)]


class _Reading:
    """One pass over the bytes of one log, and what it found."""

    def __init__(self, session_id: str, *, line_bytes_max: int, meaning: bool, evidence: Evidence | None) -> None:
        self.scanner = LogScanner(session_id, line_bytes_max=line_bytes_max)
        self.verdict = self.scanner.verdict()
        self.findings = Findings(session_id)
        self.claims: list[Claim] = []
        self._meaning = Meaning() if meaning else None
        self._evidence = evidence

    def feed(self, data: bytes) -> None:
        """Check the next bytes. Raises :class:`CorruptLog` where the chain breaks."""
        seq, offset = self.scanner.seq, self.scanner.offset
        if self._evidence is not None:
            records: list[HashedEntry] = []
            try:
                self.scanner.feed_into(data, records)
            finally:
                for record in records:
                    self._evidence.take(record)
                self._take([record.line for record in records], seq, offset)
        elif self._meaning is not None:
            lines: list[bytes] = []
            try:
                self.scanner.feed_into(data, None, lines=lines)
            finally:
                self._take(lines, seq, offset)
        else:
            self.scanner.feed_into(data, None)

    def finish(self, fault: CorruptLog | None) -> None:
        """Settle the verdict, at the end of the log or at the ``fault`` that broke it."""
        self.verdict = self.scanner.verdict(fault)
        if self._evidence is not None:
            self._evidence.verdict = self.verdict

    def _take(self, lines: Sequence[bytes], seq: int, offset: int) -> None:
        """Look into the meaning of records, the first of which is at ``seq`` and starts at byte ``offset``."""
        if self._meaning is None or not lines:
            return
        faults = dict(self._meaning.faults(lines, seq))
        if faults:
            starts = accumulate((len(line) + 1 for line in lines), initial=offset)
            for at, start in zip(range(seq, seq + len(lines)), starts, strict=False):
                if at in faults:
                    self.findings.add(*faults[at], seq=at, offset=start)
        if seq == 0 and 0 not in faults and may_claim(lines[0]):
            self.claims = claims(parse_record(lines[0]))


async def _read(store: Store, session_id: str, *, meaning: bool, evidence: Evidence | None = None) -> _Reading:
    """Read the log to its end, or to where it is broken.

    A log is broken when it is found so twice in a row. While a writer cuts a failed write back, a reader can meet bytes
    that never stood together in the file: that happens once; what is really broken is broken again.
    """
    reading = await _look(store, session_id, meaning=meaning, evidence=evidence)
    if reading.verdict.ok:
        return reading
    return await _look(store, session_id, meaning=meaning, evidence=evidence)


async def _look(store: Store, session_id: str, *, meaning: bool, evidence: Evidence | None) -> _Reading:
    if evidence is not None:
        evidence.restart()
    reading = _Reading(session_id, line_bytes_max=store.line_bytes_max, meaning=meaning, evidence=evidence)
    try:
        data = store.read_now(session_id) if isinstance(store, FileStore) else None
        if data is None:
            await _stream(store, session_id, reading)
        elif data:
            reading.feed(data)
    except CorruptLog as fault:
        reading.finish(fault)
    else:
        reading.finish(None)
    return reading


async def _stream(store: Store, session_id: str, reading: _Reading) -> None:
    turns = Turns(reading.scanner, reading.feed)
    async with aclosing(store.read_raw(session_id)) as chunks:
        async for chunk in chunks:
            await turns.feed(chunk)


class _Deleted:
    """What the store's receipts say, read once, and only if a source is missing."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._receipts: Receipts | None = None

    async def remark(self, claim: Claim) -> str | None:
        """Say that the source of ``claim`` was deleted; ``None``: there is no receipt of that."""
        if self._receipts is None:
            self._receipts = receipts = Receipts()
            try:
                async with aclosing(self._store.read(RECEIPTS_SESSION)) as records:
                    async for record in records:
                        receipts.take_record(record)
            except (SessionNotFound, CorruptLog):
                pass  # what stands before the damage counts; its own audit tells of it
        receipt = self._receipts.done.get(SessionId(claim.source_id))
        if receipt is None:
            return None
        return (
            f"{claim.member}: its source {claim.source_id} was deleted (receipt: record {receipt.seq} of "
            f"{RECEIPTS_SESSION}), so where it comes from cannot be checked"
        )


async def _audit(store: Store, session_id: str, *, known: Mapping[str, Evidence], deleted: _Deleted) -> Report:
    """Audit one session. ``known`` holds what sources prove: what this one does is left there, for those after it."""
    reading = await _read(store, session_id, meaning=True, evidence=known.get(session_id))
    provenance: list[str] = []
    remarks: list[str] = list(store.remarks(session_id)) if isinstance(store, FileStore) else []
    if len(reading.claims) > 1:
        provenance.append("the session names both forked_from and compacted_from")
    for claim in reading.claims:
        fault, is_gone = await _follow(store, claim, known=known)
        remark = await deleted.remark(claim) if is_gone else None
        if remark is not None:
            remarks.append(remark)
        elif fault is not None:
            provenance.append(f"{claim.member}: {fault}")
    return reading.findings.report(reading.verdict, provenance=provenance, remarks=remarks)


async def _follow(store: Store, claim: Claim, *, known: Mapping[str, Evidence]) -> tuple[str | None, bool]:
    """Follow ``claim`` into its source, unless that was read for it already.

    Returns why the claim does not hold, and whether that may be because the source was deleted: it is not there, or is
    a whole log without that record, as the one is that was made under the same id later.
    """
    evidence = known.get(claim.source_id)
    if evidence is None or not evidence.covers(claim):
        evidence = Evidence()
        evidence.want(claim.at_hash, state=claim.state is not None)
        try:
            await _read(store, claim.source_id, meaning=False, evidence=evidence)
        except (SessionNotFound, InvalidSessionId) as error:
            return f"its source is missing: {error}", True
        except (StoreFailed, EntryNotFound) as error:
            raise StoreFailed(f"its source cannot be read: {error}") from error
    return evidence.fault(claim), evidence.lacks(claim)


async def _reported(session_id: str, check: Awaitable[Report]) -> Report:
    """Await ``check``; report a log that is gone, or that cannot be read."""
    try:
        return await check
    except SessionNotFound:
        reason = "the session was listed, but its log is not there any more"
        fault = CorruptLog(reason, damage=Damage.FILE, seq=0, offset=None, session_id=session_id)
        return Findings(session_id).report(LogScanner(session_id).verdict(fault))
    except EntryNotFound:
        reason = "the session was deleted and made anew while it was read: check it again"
        verdict = Verdict(state=LogState.UNREADABLE, record_count=0, valid_bytes=0, reason=reason)
        return Report(session_id=session_id, verdict=verdict)
    except StoreFailed as error:
        verdict = Verdict(state=LogState.UNREADABLE, record_count=0, valid_bytes=0, reason=str(error))
        return Report(session_id=session_id, verdict=verdict)
