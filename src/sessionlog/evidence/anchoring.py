"""Anchoring: one run takes in what changed in a store, and signs the catalog that comes of it.

Nothing of it is on the append path. A run reads what is new of each session that changed, verified, up to where the log
is on the medium; writes the statements that changed, then the entries; then signs (:mod:`.signing`). A session that is
damaged, shorter or gone keeps its old statement and is named; the others are anchored.
"""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import aclosing

import anyio.to_thread
import msgspec

from ..errors import SessionLogError, SessionNotFound
from ..ids import SessionId, now_ms
from ..receipts import RECEIPTS_SESSION, Receipt, Receipts
from ..record import Position
from ..store import Store, check_session_id
from ..stores.file.system import System
from .anchor_catalog import catalog_root, load_catalog, read_secret, save_cache, secret_name, statements_name
from .anchor_files import EvidenceDirectory
from .anchor_log import AnchorLog
from .errors import InvalidEvidence
from .key_files import KeyFiles, default_keys
from .keys import Signer
from .log_entries import AnchorEntry, ReceiptEntry, ReceiptKind, receipt_text
from .nonces import new_secret
from .recovering import recover_anchors
from .session_trees import READ_FAULTS, Kept, SessionChanged, flushed_end, read_session
from .signing import SignedLog
from .sinks import AnySink
from .statements import SessionState, SessionStatement


class Anchored(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did."""

    size: int
    """How many entries the anchor log has."""
    root: bytes
    """The root of the anchor log."""
    sessions: int
    """How many sessions the catalog holds, the deleted ones included."""
    changed: int
    """How many statements this run changed; with none, there is no new entry."""
    records: int
    """How many records it read."""
    deleted: Sequence[str]
    """The sessions whose deletion, or accepted loss, it anchored."""
    faults: Mapping[str, str]
    """The sessions that it could not take in, and why; each keeps its old statement."""
    pending: bool
    """True if the newest checkpoint does not meet the quorum yet."""
    unsent: str | None
    """Why a sink did not take the checkpoint, or a witness did not cosign it; the next run tries again."""
    warnings: Sequence[str]
    """What else the keeper should look after, such as a clock that is wrong."""


async def anchor_store(
    store: Store,
    anchors: str | os.PathLike[str],
    *,
    keys: str | os.PathLike[str] | None = None,
    sinks: Sequence[AnySink] = (),
    finalize: Collection[str] = (),
    accept_loss: Mapping[str, str] | None = None,
    signer: Signer | None = None,
    recover_from: str | os.PathLike[str] | None = None,
    clock: Callable[[], int] = now_ms,
    system: System | None = None,
) -> Anchored:
    """Anchor what changed in ``store``, in the directory ``anchors``.

    Whatever interrupts a run, the next one goes on: before the checkpoint is signed nothing was said, and afterwards it
    is finished first. One bad session never stops the others: look at ``faults``.

    Args:
        store: The store.
        anchors: The directory of the anchors, better on another disk than the store. Back it up, the folder ``blind``
            included.
        keys: The directory of the key, made by :func:`make_keys`; by default :func:`default_keys`.
        sinks: Where checkpoints go, and who is to cosign them; see :func:`parse_sink`. Witnesses whose URL the
            policy in ``anchors`` names are asked, too.
        finalize: Sessions that get no more records. An audit disproves whatever is appended to one later.
        accept_loss: Sessions that are damaged, shorter or gone and will not come back, each with the reason. A receipt
            says so, which fails every audit whose auditor does not accept it, too; what is left of the session is
            anchored by the next run, in a new generation.
        signer: Signs in the place of the private key in ``keys``; see :func:`parse_signer`.
        recover_from: A ``dir:`` sink from which the anchors are restored first: they are lost, or from an old backup.
            It must have what the key signed last. The secrets of the nonces are in no sink: restore the folder
            ``blind`` from a backup, or accept the loss of the sessions that the run names.
        clock: The time in unix ms, for tests.
        system: The system calls, for tests.

    Raises:
        AnchoringStopped: To go on would sign two histories, or another run is at work; nothing was signed.
        InvalidEvidence: There is no key, or what lies in the directories is malformed or changed.
        StoreFailed: The store cannot be listed, or the disk refused; the next run goes on.
        SessionNotFound: A session to be finalized is not there.
    """
    directory = EvidenceDirectory(anchors, system)
    key_files = KeyFiles(default_keys() if keys is None else keys, system)
    with directory.locked():
        if recover_from is not None:
            await anyio.to_thread.run_sync(recover_anchors, directory, key_files, EvidenceDirectory(recover_from))
        signed = await anyio.to_thread.run_sync(SignedLog, directory, key_files, sinks, clock, signer)
        log = await anyio.to_thread.run_sync(signed.resume)
        await anyio.to_thread.run_sync(signed.cosign, log)
        await anyio.to_thread.run_sync(signed.publish, log)
        statements, kept = await anyio.to_thread.run_sync(load_catalog, directory, log)
        run = _Run(store, directory, statements, kept, finalize=finalize, accept_loss=accept_loss or {})
        await run.read()
        if run.changes or run.receipts:
            log = await anyio.to_thread.run_sync(run.write, log, clock())
            await anyio.to_thread.run_sync(signed.sign, log)
            await anyio.to_thread.run_sync(signed.cosign, log)
        newest = await anyio.to_thread.run_sync(signed.publish, log)
        unsent = list(signed.faults.values())
        try:
            if newest is not None:
                await anyio.to_thread.run_sync(signed.send, newest)
        except SessionLogError as error:
            unsent.append(str(error))
        if log.size:
            await anyio.to_thread.run_sync(run.clean_up, log.size)
        if newest is not None:
            await anyio.to_thread.run_sync(AnchorLog(directory, newest.checkpoint.size).prune)
    return Anchored(
        size=log.size,
        root=log.root(),
        sessions=len(run.statements),
        changed=len(run.changes),
        records=run.records,
        deleted=list(run.receipts),
        faults=run.faults,
        pending=log.size > (0 if newest is None else newest.checkpoint.size),
        unsent="; ".join(unsent) or None,
        warnings=sorted(signed.warnings),
    )


class _Run:
    """What one run reads and decides."""

    def __init__(
        self,
        store: Store,
        directory: EvidenceDirectory,
        statements: dict[str, SessionStatement],
        kept: dict[str, Kept],
        *,
        finalize: Collection[str],
        accept_loss: Mapping[str, str],
    ) -> None:
        self._store = store
        self._directory = directory
        self._finalize = {check_session_id(one) for one in finalize}
        self._accept_loss = {check_session_id(one): reason for one, reason in accept_loss.items()}
        self._before = statements
        self._kept = kept
        self._gone: Mapping[SessionId, Receipt] = {}
        self._secrets: dict[str, bytes] = {}
        self.statements: dict[str, SessionStatement] = dict(statements)
        self.changes: dict[str, SessionStatement] = {}
        self.receipts: dict[str, ReceiptEntry] = {}
        self.faults: dict[str, str] = {}
        self.records = 0

    async def read(self) -> None:
        """Read what changed; decide which statements change."""
        self._gone = await self._deletions()
        stamps = await self._store.stamps()
        for session_id in self._finalize:
            if session_id not in stamps:
                raise SessionNotFound(session_id)
            if session_id == RECEIPTS_SESSION:
                raise InvalidEvidence(f"{RECEIPTS_SESSION} holds the receipts of deletions and is never final")
        for session_id, stamp in sorted(stamps.items()):
            before = self._before.get(session_id)
            kept = self._kept.get(session_id)
            is_done = session_id not in self._finalize or (before is not None and before.state is SessionState.FINAL)
            if kept is not None and kept.stamp == stamp and is_done:
                continue
            try:
                await self._read_one(session_id, stamp, before, kept)
            except SessionChanged as error:
                self._missing(session_id, str(error))
            except READ_FAULTS as error:
                self._missing(session_id, str(error))
        for name, statement in self._before.items():
            if name not in stamps and statement.state is not SessionState.DELETED:
                self._missing(name, "its log is gone")

    async def _deletions(self) -> dict[SessionId, Receipt]:
        """Return the deletions that ended since the receipts were anchored last, by session.

        Read before the store is listed, so a deletion that is anchored with the receipts is seen in the list, too.
        Older ones are of sessions that were made anew since.
        """
        before = self._before.get(RECEIPTS_SESSION)
        anchored = 0 if before is None else before.records
        receipts = Receipts()
        known: dict[SessionId, Receipt] | None = None
        position: Position | None = None
        try:
            end = await flushed_end(self._store, RECEIPTS_SESSION)
            async with aclosing(self._store.read(RECEIPTS_SESSION)) as records:
                async for record in records:
                    position = Position.after(record, position)
                    if end is not None and position.end > end:
                        break
                    if record.seq == anchored:
                        known = dict(receipts.done)
                    receipts.take_record(record)
        except READ_FAULTS:
            return {}  # none, or damaged, which the run names: no deletion is anchored without them
        if known is None:
            return {}
        return {one: done for one, done in receipts.done.items() if known.get(one) != done}

    async def _read_one(self, session_id: str, stamp: str, before: SessionStatement | None, kept: Kept | None) -> None:
        generation = 0 if before is None else before.generation
        if before is not None and before.state is SessionState.DELETED:
            generation += 1
            before = kept = None
        secret = self._secret(session_id, is_new=before is None)
        found = await read_session(self._store, session_id, stamp, secret, kept=kept, before=before)
        if found is None:
            return
        self.records += found.records - (0 if kept is None else kept.records)
        is_final = before is not None and before.state is SessionState.FINAL
        if is_final and before is not None and found.records != before.records:
            raise SessionChanged(f"{found.records - before.records} records were appended after it was final")
        self._kept[session_id] = found
        statement = SessionStatement(
            session_id=session_id,
            generation=generation,
            records=found.records,
            root=found.root(),
            state=SessionState.FINAL if is_final or session_id in self._finalize else SessionState.LIVE,
        )
        if statement != before:
            self.changes[session_id] = statement

    def _secret(self, session_id: str, *, is_new: bool) -> bytes:
        if is_new:
            return self._secrets.setdefault(secret_name(session_id), new_secret())
        secret = read_secret(self._directory, session_id)
        if secret is None:
            path = self._directory.path(secret_name(session_id))
            raise SessionChanged(f"the secret of its nonces, {path}, is lost: restore it")
        return secret

    def _missing(self, session_id: str, reason: str) -> None:
        """Take a session out whose log does not go on: by its receipt, if there is one; else name it."""
        before, receipt = self._before.get(session_id), self._gone.get(SessionId(session_id))
        kept = self._kept.get(session_id)
        fits = (
            before is not None
            and before.state is not SessionState.DELETED
            and receipt is not None
            and receipt.head is not None
            and receipt.record_count >= before.records
            and (kept is None or receipt.head.seq != kept.position.seq or receipt.head.hash == kept.position.hash)
        )
        if fits and before is not None and receipt is not None:
            self._take_out(before, ReceiptKind.DELETE, by=receipt.by, reason=receipt.reason)
        elif before is not None and before.state is not SessionState.DELETED and session_id in self._accept_loss:
            self._take_out(before, ReceiptKind.ACCEPT_LOSS, by=None, reason=self._accept_loss[SessionId(session_id)])
        else:
            self.faults[session_id] = reason

    def _take_out(self, before: SessionStatement, kind: ReceiptKind, *, by: str | None, reason: str | None) -> None:
        self._kept.pop(before.session_id, None)
        self.receipts[before.session_id] = ReceiptEntry(
            time_ms=0,
            kind=kind,
            session_id=before.session_id,
            records=before.records,
            root=before.root,
            by=receipt_text(by),
            reason=receipt_text(reason),
        )

    def write(self, log: AnchorLog, time_ms: int) -> AnchorLog:
        """Write the statements and the entries; return the log that has them. Blocks."""
        entries: list[bytes] = []
        time_ms = max(time_ms, log.anchor().time_ms if log.size else 0)
        for session_id, receipt in self.receipts.items():
            self.changes[session_id] = msgspec.structs.replace(
                self._before[session_id], state=SessionState.DELETED, receipt=log.size + len(entries)
            )
            entries.append(msgspec.structs.replace(receipt, time_ms=time_ms).encode())
        self.statements |= self.changes
        anchor = AnchorEntry(time_ms=time_ms, sessions=len(self.statements), catalog=catalog_root(self.statements))
        entries.append(anchor.encode())
        self._directory.write({name: f"{secret.hex()}\n".encode() for name, secret in self._secrets.items()})
        statements = b"".join(one.encode() for one in self.changes.values())
        self._directory.write({statements_name(log.size + len(entries) - 1): statements})
        return log.grow(entries)

    def clean_up(self, size: int) -> None:
        """Keep the cache, and remove the secrets of sessions that were deleted. Blocks."""
        save_cache(self._directory, size, self.statements, self._kept)
        for name in self._directory.names("blind"):
            statement = self.statements.get(name)
            if statement is not None and statement.state is SessionState.DELETED:
                self._directory.remove(secret_name(name))
