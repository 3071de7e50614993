"""Auditing a store against its anchors, with the auditor's own policy and the checkpoint he saw last.

Every entry of the anchor log and every statement beside it is replayed: the tree up to the checkpoint, each change of
a statement by the rules of :mod:`.statements`, the catalog at every anchor. Then each session's log is read, verified,
and its tree compared with every statement that was ever made about it. What is not anchored yet is counted apart.

What this cannot show: that everything was recorded, that entries are true, what happened to records younger than the
last anchor, a session made and removed between two anchors, and, for a session that was deleted since, whether its
records were rewritten between two anchors before that.
"""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from enum import StrEnum
from itertools import chain

import anyio.to_thread
import msgspec

from ..errors import CorruptLog, SessionLogError, SessionNotFound
from ..ids import now_ms
from ..record import HashedEntry
from ..store import Store
from .anchor_catalog import read_secret, read_statements
from .anchor_files import EvidenceDirectory
from .anchor_log import AnchorLog
from .checkpoints import Checkpoint, OpenedCheckpoint
from .errors import InvalidEvidence
from .log_entries import AnchorEntry, ReceiptEntry, ReceiptKind, parse_log_entry
from .merkle import Frontier, leaf_hash
from .nonces import nonces, record_leaf
from .notes import NOTE_BYTES_MAX
from .policy import Policy
from .session_trees import READ_FAULTS
from .signing import CLOCK_DIFFERENCE_S_MAX
from .statements import SessionState, SessionStatement, check_changes
from .strict import NUMBER_MAX
from .trie import Trie, trie_leaf


class AuditState(StrEnum):
    """The verdict. ``CONSISTENT``: nothing speaks against it, and something was missing to prove it."""

    PROVED = "proved"
    DISPROVED = "disproved"
    CONSISTENT = "consistent"


class AnchorFault(StrEnum):
    """What is wrong, in one word."""

    CHECKPOINT = "checkpoint"
    HISTORY = "history"
    STATEMENT = "statement"
    REMOVED = "removed"
    CUT = "cut"
    REWRITTEN = "rewritten"
    DAMAGED = "damaged"
    APPENDED = "appended"
    SECRET = "secret"  # noqa: S105 - the word for a lost secret, not one
    LOSS = "loss"
    STALE = "stale"


class AnchorFinding(msgspec.Struct, frozen=True):
    """One fault: what kind, about which session if it is about one, and why."""

    fault: AnchorFault
    reason: str
    session_id: str | None = None


class AnchorAudit(msgspec.Struct, frozen=True, kw_only=True):
    """What an audit against anchors found."""

    state: AuditState
    findings: Sequence[AnchorFinding]
    missing: Sequence[str]
    """What keeps a verdict without findings from being ``proved``."""
    checkpoint: Checkpoint | None
    """The checkpoint that was audited; ``None`` if there is none that the policy accepts."""
    note: bytes
    """Its bytes: keep them for the next audit, as ``since``."""
    witnesses: Mapping[str, int]
    """The witnesses that cosigned it, and the latest POSIX second at which each did."""
    anchors: int = 0
    """How many anchors were replayed."""
    sessions: int = 0
    """How many sessions were read and compared."""
    deleted: int = 0
    """How many are deleted by a receipt: their records could not be compared any more."""
    unanchored_records: int = 0
    """Records that stand in the store and are not anchored yet."""
    unanchored_sessions: int = 0
    """Sessions that have such records."""


async def audit_anchors(
    store: Store,
    anchors: str | os.PathLike[str],
    policy: Policy,
    *,
    since: bytes | None = None,
    max_age_s: int | None = None,
    accepted: Collection[int] = (),
    clock: Callable[[], int] = now_ms,
) -> AnchorAudit:
    """Replay the anchors and compare the store with them. Changes nothing.

    Args:
        store: The store.
        anchors: The directory of its anchors, with the folder ``blind``, or a copy.
        policy: The auditor's own, not the one that lies beside the anchors.
        since: The checkpoint that the auditor saw last, as a note: the log must extend it.
        max_age_s: Unanchored records older than this, in seconds, disprove, and so does a cosignature that is older.
        accepted: The indexes of receipts of accepted losses that the auditor accepts, too.
        clock: The time in unix ms, for tests.

    Raises:
        InvalidEvidence: There are no anchors, or ``since`` is not a checkpoint that the policy's log signed.
        StoreFailed: The store cannot be listed, or a file cannot be read.
    """
    directory = EvidenceDirectory(anchors)
    note = await anyio.to_thread.run_sync(directory.read, "checkpoint", NOTE_BYTES_MAX)
    if note is None:
        raise InvalidEvidence(f"there is no checkpoint in {directory.root}: are these the anchors?")
    seen = None if since is None else policy.open(since).checkpoint
    audit = _Audit(store, directory, accepted, now=clock(), max_age_s=max_age_s)
    opened: OpenedCheckpoint | None = None
    try:
        opened = policy.check(note)
    except InvalidEvidence as error:
        audit.find(AnchorFault.CHECKPOINT, error.reason)
    else:
        replay = await anyio.to_thread.run_sync(_replayed, audit, directory, opened.checkpoint, seen)
        if replay is not None:
            await audit.compare(replay)
    witnesses: dict[str, int] = {}
    for one in () if opened is None else opened.cosignatures:
        witnesses[one.key.name] = max(one.time_s, witnesses.get(one.key.name, 0))
    audit.check_age(witnesses)
    missing = _missing(seen=seen is not None, max_age=max_age_s is not None, witnessed=bool(witnesses))
    state = AuditState.CONSISTENT if missing else AuditState.PROVED
    return AnchorAudit(
        state=AuditState.DISPROVED if audit.findings else state,
        findings=audit.findings,
        missing=missing,
        checkpoint=None if opened is None else opened.checkpoint,
        note=note,
        witnesses=witnesses,
        anchors=audit.anchors,
        sessions=audit.sessions,
        deleted=audit.deleted,
        unanchored_records=audit.unanchored_records,
        unanchored_sessions=audit.unanchored_sessions,
    )


def _missing(*, seen: bool, max_age: bool, witnessed: bool) -> list[str]:
    missing = []
    if not seen:
        missing.append("no checkpoint of an earlier audit was given: a rollback to before it would not show")
    if not max_age:
        missing.append("no greatest age was given: records could be left out for any time")
    if not witnessed:
        missing.append("no witness cosigned the checkpoint: its age, and that all see the same, is the keeper's word")
    return missing


class _Replay(msgspec.Struct):
    """What the anchors add up to: the newest statements, and every root that was said of a session's generation."""

    statements: dict[str, SessionStatement]
    roots: dict[str, dict[int, bytes]]


def _replayed(
    audit: "_Audit", directory: EvidenceDirectory, checkpoint: Checkpoint, seen: Checkpoint | None
) -> _Replay | None:
    """Replay the anchor log; ``None``, with a finding, if it is not what was signed."""
    if seen is not None and seen.origin != checkpoint.origin:
        audit.find(AnchorFault.HISTORY, f"this is the log {checkpoint.origin}, the auditor saw {seen.origin}")
        return None
    if seen is not None and seen.size > checkpoint.size:
        reason = f"rolled back: the auditor saw {seen.size} entries, the anchors have {checkpoint.size}"
        audit.find(AnchorFault.HISTORY, reason)
        return None
    replay = _Replay({}, {})
    try:
        _check_tree(AnchorLog(directory, checkpoint.size), checkpoint, seen)
        _replay(audit, directory, checkpoint.size, replay)
    except InvalidEvidence as error:
        audit.find(AnchorFault.HISTORY, error.reason)
        return None
    return replay


def _check_tree(log: AnchorLog, checkpoint: Checkpoint, seen: Checkpoint | None) -> None:
    frontier = Frontier()
    for size, entry in enumerate(chain(log.entries(), [None])):
        if seen is not None and seen.size == size and frontier.root() != seen.root:
            raise InvalidEvidence(f"the first {size} entries are not the ones that the auditor saw: another history")
        if entry is not None:
            frontier.push(leaf_hash(entry))
    if frontier.root() != checkpoint.root:
        raise InvalidEvidence("the entries of the anchor log are not the ones that were signed")
    if log.root() != checkpoint.root:
        raise InvalidEvidence("the tiles of hashes are not those of the log that was signed")


def _replay(audit: "_Audit", directory: EvidenceDirectory, size: int, replay: _Replay) -> None:
    trie = Trie()
    time_ms = 0
    receipts: dict[int, ReceiptEntry] = {}
    entry: AnchorEntry | ReceiptEntry | None = None
    for index, data in enumerate(AnchorLog(directory, size).entries()):
        entry = parse_log_entry(data)
        if entry.time_ms < time_ms:
            audit.find(AnchorFault.STATEMENT, f"entry {index} is older than the one before it")
        time_ms = entry.time_ms
        if isinstance(entry, ReceiptEntry):
            receipts[index] = entry
            audit.check_receipt(index, entry)
            continue
        changes = read_statements(directory, index)
        for fault in check_changes(replay.statements, changes, receipts):
            audit.find(AnchorFault.STATEMENT, f"at the anchor of entry {index}, {fault}")
        for change in changes:
            _take(replay, change)
            trie.put(trie_leaf(change.session_id, change.encode()))
        if trie.root() != entry.catalog or len(replay.statements) != entry.sessions:
            raise InvalidEvidence(f"the statements at entry {index} do not make the catalog that was anchored there")
        receipts = {}
        audit.anchors += 1
    if size and not isinstance(entry, AnchorEntry):
        raise InvalidEvidence("the last entry of the anchor log is not an anchor")


def _take(replay: _Replay, change: SessionStatement) -> None:
    before = replay.statements.get(change.session_id)
    if before is None or before.generation != change.generation:
        replay.roots[change.session_id] = {}
    replay.statements[change.session_id] = change
    replay.roots[change.session_id].setdefault(change.records, change.root)


class _Audit:
    """The findings so far, and the comparison of the logs."""

    def __init__(
        self, store: Store, directory: EvidenceDirectory, accepted: Collection[int], *, now: int, max_age_s: int | None
    ) -> None:
        self._store = store
        self._directory = directory
        self._accepted = accepted
        self._now_s = now // 1000
        self._max_age_s = max_age_s
        self.findings: list[AnchorFinding] = []
        self.anchors = self.sessions = self.deleted = self.unanchored_records = self.unanchored_sessions = 0

    def find(self, fault: AnchorFault, reason: str, session_id: str | None = None) -> None:
        self.findings.append(AnchorFinding(fault, reason, session_id))

    def check_receipt(self, index: int, receipt: ReceiptEntry) -> None:
        if receipt.kind is ReceiptKind.ACCEPT_LOSS and index not in self._accepted:
            reason = f"the keeper accepted the loss of {receipt.records} records by the receipt at entry {index}"
            self.find(AnchorFault.LOSS, reason, receipt.session_id)

    def check_age(self, witnesses: Mapping[str, int]) -> None:
        age_s = self._now_s - max(witnesses.values(), default=self._now_s)
        if self._max_age_s is not None and age_s > self._max_age_s:
            self.find(AnchorFault.STALE, f"the newest cosignature is {age_s} s old, more than {self._max_age_s}")
        if self._max_age_s is not None and -age_s > CLOCK_DIFFERENCE_S_MAX:
            self.find(AnchorFault.STALE, f"the newest cosignature is {-age_s} s in the future: its age is not known")

    async def compare(self, replay: _Replay) -> None:
        """Compare every session with what was anchored of it, and count what is not anchored."""
        in_store: set[str] = set(await self._store.list_sessions())
        for session_id, statement in sorted(replay.statements.items()):
            if statement.state is SessionState.DELETED:
                self.deleted += 1
                continue
            self.sessions += 1
            in_store.discard(session_id)
            try:
                await self._compare_one(session_id, statement, replay.roots[session_id])
            except SessionNotFound:
                reason = f"its log is gone, {statement.records} records were anchored, and no receipt is anchored yet"
                self.find(AnchorFault.REMOVED, reason, session_id)
            except CorruptLog as error:
                self.find(AnchorFault.DAMAGED, str(error), session_id)
            except SessionLogError as error:
                self.find(AnchorFault.DAMAGED, f"it cannot be read: {error}", session_id)
        for session_id in sorted(in_store):
            await self._count_new(session_id)

    async def _compare_one(self, session_id: str, statement: SessionStatement, roots: Mapping[int, bytes]) -> None:
        secret = read_secret(self._directory, session_id)
        if secret is None:
            reason = "the secret of its nonces is missing beside the anchors, so its records cannot be compared"
            self.find(AnchorFault.SECRET, reason, session_id)
            return
        frontier, ahead = Frontier(), nonces(secret, 0, NUMBER_MAX)
        unanchored = 0
        rewritten: int | None = None
        async with aclosing(self._store.read(session_id)) as records:
            async for record in records:
                if frontier.size == statement.records:
                    self._check_young(session_id, record, is_first=unanchored == 0)
                    unanchored += 1
                    continue
                frontier.push(record_leaf(next(ahead), record.hash))
                if rewritten is None and frontier.size in roots and frontier.root() != roots[frontier.size]:
                    rewritten = frontier.size
        if rewritten is not None:
            reason = f"its first {rewritten} records are not the ones that were anchored"
            self.find(AnchorFault.REWRITTEN, reason, session_id)
        elif frontier.size < statement.records:
            reason = f"it holds {frontier.size} records, {statement.records} were anchored: it was cut or rolled back"
            self.find(AnchorFault.CUT, reason, session_id)
        elif unanchored and statement.state is SessionState.FINAL:
            reason = f"{unanchored} records were appended after it was final"
            self.find(AnchorFault.APPENDED, reason, session_id)
        elif unanchored:
            self._count(unanchored)

    async def _count_new(self, session_id: str) -> None:
        """Count the records of a session that is not anchored at all."""
        count = 0
        try:
            async with aclosing(self._store.read(session_id)) as records:
                async for record in records:
                    self._check_young(session_id, record, is_first=count == 0)
                    count += 1
        except READ_FAULTS as error:
            self.find(AnchorFault.DAMAGED, f"it is not anchored, and cannot be read: {error}", session_id)
        if count:
            self._count(count)

    def _count(self, records: int) -> None:
        self.unanchored_records += records
        self.unanchored_sessions += 1

    def _check_young(self, session_id: str, record: HashedEntry, *, is_first: bool) -> None:
        """Find a record too old to be not anchored yet; the first one of a session is the oldest."""
        if not is_first or self._max_age_s is None:
            return
        age_s = self._now_s - record.entry.ts // 1000
        if age_s > self._max_age_s:
            reason = f"record {record.seq} is {age_s} s old and not anchored, more than {self._max_age_s}"
            self.find(AnchorFault.STALE, reason, session_id)


__all__ = ["AnchorAudit", "AnchorFault", "AnchorFinding", "AuditState", "audit_anchors"]
