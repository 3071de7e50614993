"""Proofs about one session, as files of a few kB that need neither the store nor the anchors to be checked.

A proof is a tlog-proof (:mod:`.tlog_proof`) of an entry of the anchor log. Its ``extra`` holds the levels below, as
LF-ended lines of a name and values; hashes are in base64, and paths go from the leaf up::

    sessionlog/proof/1 record        or complete, absent, receipt
    entry <bytes of the entry>       an anchor, the last entry of the log; of a receipt, that receipt
    statement <bytes>                what the catalog says of the session
    session <id>                     absent: the session that is not there
    leaf <key> <statement hash>      absent: what stands in its place; none in an empty catalog
    branch <bit> <sibling>           the way up the catalog
    seq <position>                   record: which one
    nonce <nonce>                    record: of its leaf
    hash <sibling>                   record: the way up the session's tree
    secret <node>                    complete: what the nonces of exactly these records come from

The records travel apart, as they stand in the log: one line, or all of them.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from ..chain import LogScanner
from ..errors import CorruptLog
from ..ids import is_session_id
from ..record import LINE_BYTES_MAX, parse_record
from .checkpoints import OpenedCheckpoint
from .errors import InvalidEvidence
from .log_entries import AnchorEntry, ReceiptEntry, parse_log_entry
from .merkle import Frontier, leaf_hash, root_from_inclusion, verify_inclusion
from .nonces import prefix_nonces, record_leaf
from .policy import Policy
from .statements import SessionStatement, parse_statement
from .strict import HASH_BYTES, encode_base64, parse_base64, parse_decimal, parse_text, shown, split_lines
from .tlog_proof import parse_tlog_proof
from .trie import TrieLeaf, TriePath, TrieStep, trie_leaf, verify_path

_HEADER: Final = "sessionlog/proof/1"
_LINES_MAX: Final = 512


class ProofKind(StrEnum):
    """What a proof is about."""

    RECORD = "record"
    COMPLETE = "complete"
    ABSENT = "absent"
    RECEIPT = "receipt"


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in a proof's ``extra``; nothing of it is verified."""

    kind: ProofKind
    entry: bytes
    statement: bytes | None = None
    session_id: str | None = None
    path: TriePath = TriePath(None, ())
    seq: int | None = None
    nonce: bytes | None = None
    hashes: Sequence[bytes] = ()
    secrets: Sequence[bytes] = ()

    def encode(self) -> bytes:
        """Return the lines; :func:`parse_proof` is the inverse."""
        lines = [f"{_HEADER} {self.kind}", f"entry {encode_base64(self.entry)}"]
        if self.statement is not None:
            lines.append(f"statement {encode_base64(self.statement)}")
        if self.session_id is not None:
            lines.append(f"session {self.session_id}")
        if self.kind is ProofKind.ABSENT and self.path.leaf is not None:
            leaf = self.path.leaf
            lines.append(f"leaf {encode_base64(leaf.key)} {encode_base64(leaf.statement_hash)}")
        lines += [f"branch {step.bit} {encode_base64(step.sibling)}" for step in self.path.steps]
        if self.seq is not None and self.nonce is not None:
            lines += [f"seq {self.seq}", f"nonce {encode_base64(self.nonce)}"]
        lines += [f"hash {encode_base64(one)}" for one in self.hashes]
        lines += [f"secret {encode_base64(one)}" for one in self.secrets]
        return "".join(f"{line}\n" for line in lines).encode()


class CheckedProof(msgspec.Struct, frozen=True, kw_only=True):
    """What a proof proves: about which session, as of which checkpoint."""

    kind: ProofKind
    session_id: str
    seq: int | None
    """The position of the record; ``None`` in other proofs."""
    statement: SessionStatement | None
    """What the catalog said of the session; ``None`` if it was absent, or in a proof of a receipt."""
    receipt: ReceiptEntry | None
    """The receipt; ``None`` in other proofs."""
    time_ms: int
    """When the entry was made, on the keeper's word."""
    checkpoint: OpenedCheckpoint
    """The checkpoint, and the cosignatures, which alone prove times: the earliest of them, that it existed by then."""


def check_proof(data: bytes, policy: Policy, records: bytes | None = None) -> CheckedProof:
    """Check a proof file under the policy of whoever checks it.

    Args:
        data: The proof file.
        policy: The checker's own: which log, and whose cosignatures.
        records: For a proof of a record its line, for one of a whole session all lines, as they stand in the log.

    Raises:
        InvalidEvidence: It is malformed, or does not prove what it claims; the message says where it fails.
    """
    outer = parse_tlog_proof(data)
    opened = policy.check(outer.checkpoint)
    checkpoint = opened.checkpoint
    proof = parse_proof(outer.extra or b"")
    verify_inclusion(leaf_hash(proof.entry), outer.index, checkpoint.size, outer.hashes, checkpoint.root)
    entry = parse_log_entry(proof.entry)
    if isinstance(entry, ReceiptEntry):
        if proof.kind is not ProofKind.RECEIPT:
            raise InvalidEvidence("the entry of the proof is a receipt, not an anchor")
        return _checked(proof, entry, opened, entry.session_id, None)
    if proof.kind is ProofKind.RECEIPT:
        raise InvalidEvidence("the entry of the proof is an anchor, not a receipt")
    if outer.index != checkpoint.size - 1:
        raise InvalidEvidence("the anchor of the proof is not the last entry, so not the newest catalog")
    if proof.kind is ProofKind.ABSENT:
        session_id = proof.session_id or ""
        if verify_path(session_id, proof.path, entry.catalog) is not None:
            raise InvalidEvidence(f"the session {session_id} is in the catalog: it is not absent")
        return _checked(proof, entry, opened, session_id, None)
    statement = parse_statement(proof.statement or b"")
    leaf = trie_leaf(statement.session_id, proof.statement or b"")
    verify_path(statement.session_id, TriePath(leaf, proof.path.steps), entry.catalog)
    if records is None:
        raise InvalidEvidence("the records that the proof is about are not there: they travel beside it")
    if proof.kind is ProofKind.RECORD:
        _check_record(proof, statement, records)
    else:
        _check_all(proof, statement, records)
    return _checked(proof, entry, opened, statement.session_id, statement)


def _checked(
    proof: Proof,
    entry: AnchorEntry | ReceiptEntry,
    opened: OpenedCheckpoint,
    session_id: str,
    statement: SessionStatement | None,
) -> CheckedProof:
    return CheckedProof(
        kind=proof.kind,
        session_id=session_id,
        seq=proof.seq,
        statement=statement,
        receipt=entry if isinstance(entry, ReceiptEntry) else None,
        time_ms=entry.time_ms,
        checkpoint=opened,
    )


def _check_record(proof: Proof, statement: SessionStatement, line: bytes) -> None:
    try:
        record = parse_record(line.removesuffix(b"\n"))
    except CorruptLog as error:
        raise InvalidEvidence(f"the record is no record: {error.reason}") from error
    if proof.seq != record.seq:
        raise InvalidEvidence(f"the proof is about record {proof.seq}, the record says {record.seq}")
    leaf = record_leaf(proof.nonce or b"", record.hash)
    if root_from_inclusion(leaf, record.seq, statement.records, proof.hashes) != statement.root:
        raise InvalidEvidence("the record is not the one that was anchored at its position")


def _check_all(proof: Proof, statement: SessionStatement, log: bytes) -> None:
    scanner, frontier = LogScanner(statement.session_id, line_bytes_max=LINE_BYTES_MAX), Frontier()
    try:
        records = scanner.feed(log)
    except CorruptLog as error:
        raise InvalidEvidence(f"the records are no log of the session: {error.reason}") from error
    if len(records) != statement.records or scanner.torn_bytes:
        raise InvalidEvidence(f"{len(records)} whole records are there, {statement.records} were anchored")
    for nonce, record in zip(prefix_nonces(proof.secrets, statement.records), records, strict=True):
        frontier.push(record_leaf(nonce, record.hash))
    if frontier.root() != statement.root:
        raise InvalidEvidence("the records are not the ones that were anchored")


def parse_proof(extra: bytes) -> Proof:
    """Return what a proof's ``extra`` holds. Raises :class:`InvalidEvidence`."""
    lines = split_lines(parse_text(extra, "the proof"), "the proof")
    if len(lines) > _LINES_MAX:
        raise InvalidEvidence(f"the proof has {len(lines)} lines, more than the {_LINES_MAX} allowed")
    header, _, kind = lines[0].partition(" ") if lines else ("", "", "")
    if header != _HEADER or kind not in tuple(ProofKind):
        raise InvalidEvidence(f"not a proof of sessionlog: {shown(lines[0]) if lines else 'it is empty'}")
    words = [line.split(" ") for line in lines[1:]]
    proof = _proof(ProofKind(kind), words)
    if proof.encode() != extra:
        raise InvalidEvidence("the lines of the proof are not the ones, or not in the order, that its kind has")
    return proof


def _proof(kind: ProofKind, lines: Sequence[Sequence[str]]) -> Proof:
    """Read the lines, in any order; which there must be, and how often, the encoding of the result tells."""
    entry = list(_values(lines, "entry"))
    if len(entry) != 1:
        raise InvalidEvidence("the proof must hold one entry")
    statement, nonce = list(_values(lines, "statement")), list(_values(lines, "nonce", HASH_BYTES))
    session = [words[1] for words in lines if words[0] == "session" and len(words) == 2]
    seq = [parse_decimal(words[1], "the position") for words in lines if words[0] == "seq" and len(words) == 2]
    leaf = [
        TrieLeaf(parse_base64(words[1], "a key", size=HASH_BYTES), parse_base64(words[2], "a hash", size=HASH_BYTES))
        for words in lines
        if words[0] == "leaf" and len(words) == 3
    ]
    steps = [
        TrieStep(parse_decimal(words[1], "a bit"), parse_base64(words[2], "a hash", size=HASH_BYTES))
        for words in lines
        if words[0] == "branch" and len(words) == 3
    ]
    is_about_record, is_absent = kind is ProofKind.RECORD, kind is ProofKind.ABSENT
    has_statement = kind in (ProofKind.RECORD, ProofKind.COMPLETE)
    needed = (len(statement), len(session), len(seq), len(nonce), len(leaf) <= is_absent)
    if needed != (has_statement, is_absent, is_about_record, is_about_record, True):
        raise InvalidEvidence(f"a proof of kind {kind} has other lines")
    if session and not is_session_id(session[0]):
        raise InvalidEvidence(f"the proof names no session: {shown(session[0])}")
    return Proof(
        kind=kind,
        entry=entry[0],
        statement=statement[0] if statement else None,
        session_id=session[0] if session else None,
        path=TriePath(leaf[0] if leaf else None, steps),
        seq=seq[0] if seq else None,
        nonce=nonce[0] if nonce else None,
        hashes=list(_values(lines, "hash", HASH_BYTES)) if is_about_record else (),
        secrets=list(_values(lines, "secret", HASH_BYTES)) if kind is ProofKind.COMPLETE else (),
    )


def _values(lines: Sequence[Sequence[str]], name: str, size: int | None = None) -> Iterable[bytes]:
    for words in lines:
        if words[0] == name and len(words) == 2:
            yield parse_base64(words[1], f"the line '{name}' of the proof", size=size)


__all__ = ["CheckedProof", "Proof", "ProofKind", "check_proof", "parse_proof"]
