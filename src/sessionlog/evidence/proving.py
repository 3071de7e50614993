"""Making proofs about one session from a store and its anchors; :func:`.proofs.check_proof` checks them."""

import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import msgspec

from ..record import HashedEntry
from ..store import Store, check_session_id
from .anchor_catalog import load_catalog, read_secret
from .anchor_files import EvidenceDirectory
from .anchor_log import AnchorLog
from .checkpoints import parse_checkpoint
from .errors import InvalidEvidence
from .log_entries import ReceiptEntry
from .merkle import Tree, inclusion_proof
from .nonces import nonce, nonces, prefix_secrets, record_leaf
from .notes import NOTE_BYTES_MAX, parse_note
from .proofs import Proof, ProofKind
from .statements import SessionState, SessionStatement
from .strict import NUMBER_MAX
from .tlog_proof import TlogProof
from .trie import Trie, TriePath

_CHECKPOINT: Final = "checkpoint"


class Proved(msgspec.Struct, frozen=True):
    """A proof file, and the records that travel beside it: lines with their LFs, none in a proof without records."""

    proof: bytes
    records: bytes = b""


async def prove_record(store: Store, anchors: str | os.PathLike[str], session_id: str, seq: int) -> Proved:
    """Prove that a record stood at position ``seq`` of a session, as of the newest checkpoint.

    Discloses the record, its position, the session's id, generation and number of records, and one nonce; nothing of
    its other records, or of other sessions.

    Raises :class:`InvalidEvidence` if the record is not anchored, or the store does not hold what was anchored, and as
    ``store.read``.
    """
    anchored = _Anchored(anchors)
    statement, secret = anchored.session(session_id)
    if not 0 <= seq < statement.records:
        raise InvalidEvidence(f"record {seq} is not anchored: {statement.records} records of the session are")
    tree, found = Tree(), b""
    async for record, leaf in _leaves(store, statement, secret):
        tree.push(leaf)
        found = record.line if record.seq == seq else found
    _check_root(tree, statement)
    return Proved(
        anchored.proof(
            Proof(
                kind=ProofKind.RECORD,
                entry=anchored.anchor_bytes(),
                statement=statement.encode(),
                path=anchored.path(session_id),
                seq=seq,
                nonce=nonce(secret, seq),
                hashes=inclusion_proof(seq, statement.records, tree.node),
            )
        ),
        found + b"\n",
    )


async def prove_complete(store: Store, anchors: str | os.PathLike[str], session_id: str) -> Proved:
    """Prove that some records are all of a session, as of the newest checkpoint. Raises as :func:`prove_record`.

    Discloses them, and the nonces of these records; none of a record that comes later, and no other session.
    """
    anchored = _Anchored(anchors)
    statement, secret = anchored.session(session_id)
    leaves = [one async for one in _leaves(store, statement, secret)]
    _check_root(Tree(leaf for _, leaf in leaves), statement)
    proof = Proof(
        kind=ProofKind.COMPLETE,
        entry=anchored.anchor_bytes(),
        statement=statement.encode(),
        path=anchored.path(session_id),
        secrets=prefix_secrets(secret, statement.records),
    )
    return Proved(anchored.proof(proof), b"".join(record.line + b"\n" for record, _ in leaves))


def prove_absent(anchors: str | os.PathLike[str], session_id: str) -> Proved:
    """Prove that the catalog of the newest checkpoint holds no session of this id, and never did.

    Discloses two hashes of the session that stands in its place. Raises :class:`InvalidEvidence` if there is one, or
    was: prove its receipt then. Blocks.
    """
    anchored = _Anchored(anchors)
    statement = anchored.statements.get(check_session_id(session_id))
    if statement is not None:
        hint = "" if statement.receipt is None else f": it was deleted, prove its receipt, {statement.receipt}"
        raise InvalidEvidence(f"session {session_id} is in the catalog{hint}")
    path = anchored.trie.path(session_id)
    proof = Proof(kind=ProofKind.ABSENT, entry=anchored.anchor_bytes(), session_id=session_id, path=path)
    return Proved(anchored.proof(proof))


def prove_receipt(anchors: str | os.PathLike[str], index: int) -> Proved:
    """Prove that entry ``index`` of the anchor log, a receipt, is in it. Raises :class:`InvalidEvidence`. Blocks."""
    anchored = _Anchored(anchors)
    entry = anchored.log.entry(index)
    if not isinstance(entry, ReceiptEntry):
        raise InvalidEvidence(f"entry {index} of the anchor log is an anchor, not a receipt")
    return Proved(anchored.proof(Proof(kind=ProofKind.RECEIPT, entry=entry.encode()), index))


class _Anchored:
    """The newest checkpoint, and what it stands for. Whoever checks a proof verifies it; here it is only read."""

    def __init__(self, anchors: str | os.PathLike[str]) -> None:
        self._directory = EvidenceDirectory(anchors)
        note = self._directory.read(_CHECKPOINT, NOTE_BYTES_MAX)
        if note is None:
            raise InvalidEvidence(f"there is no checkpoint in {self._directory.root}: are these the anchors?")
        self._note = note
        checkpoint = parse_checkpoint(parse_note(note).text)
        self.log = AnchorLog(self._directory, checkpoint.size)
        if self.log.root() != checkpoint.root:
            raise InvalidEvidence("the anchors are not what their checkpoint says: audit them")
        self.statements, _ = load_catalog(self._directory, self.log)
        self.trie = Trie.of({name: one.encode() for name, one in self.statements.items()})

    def session(self, session_id: str) -> tuple[SessionStatement, bytes]:
        statement = self.statements.get(check_session_id(session_id))
        if statement is None:
            raise InvalidEvidence(f"session {session_id} is not anchored")
        if statement.state is SessionState.DELETED:
            raise InvalidEvidence(f"session {session_id} was deleted: prove its receipt, {statement.receipt}")
        secret = read_secret(self._directory, session_id)
        if secret is None:
            raise InvalidEvidence(f"the secret of the nonces of session {session_id} is lost: restore it")
        return statement, secret

    def anchor_bytes(self) -> bytes:
        return self.log.anchor().encode()

    def path(self, session_id: str) -> TriePath:
        return TriePath(None, self.trie.path(session_id).steps)

    def proof(self, proof: Proof, index: int | None = None) -> bytes:
        at = self.log.size - 1 if index is None else index
        hashes = inclusion_proof(at, self.log.size, self.log.nodes)
        return TlogProof(at, hashes, self._note, proof.encode()).encode()


async def _leaves(
    store: Store, statement: SessionStatement, secret: bytes
) -> AsyncGenerator[tuple[HashedEntry, bytes], None]:
    """Yield the records that were anchored, verified, with their leaves."""
    ahead = nonces(secret, 0, NUMBER_MAX)
    async with aclosing(store.read(statement.session_id)) as records:
        async for record in records:
            if record.seq == statement.records:
                return
            yield record, record_leaf(next(ahead), record.hash)


def _check_root(tree: Tree, statement: SessionStatement) -> None:
    if tree.size != statement.records or tree.root() != statement.root:
        raise InvalidEvidence(f"session {statement.session_id} is not what was anchored: audit the store")


__all__ = ["Proved", "prove_absent", "prove_complete", "prove_receipt", "prove_record"]
