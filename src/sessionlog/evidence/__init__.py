"""Evidence: what a log said at a time, for others to check without trusting whoever keeps it.

:func:`anchor_store` signs what a store holds, again and again, as entries of one append-only log, the anchors.
:func:`audit_anchors` replays them and compares the store, with the auditor's own policy and last checkpoint.
:func:`prove_record` and its siblings write files of a few kB that :func:`check_proof` checks without store or anchors.

The formats, signed notes and checkpoints, the Merkle tree, tiles, policies and proof files, are those of C2SP and
RFC 6962, so that other tools read them too. All of that is pure: bytes in, bytes or :class:`InvalidEvidence` out.
Signatures need the extra ``sessionlog[evidence]``.
"""

from .anchoring import Anchored, anchor_store
from .audit_anchors import AnchorAudit, AnchorFault, AnchorFinding, AuditState, audit_anchors
from .checkpoints import Checkpoint, OpenedCheckpoint, open_checkpoint, parse_checkpoint, sign_checkpoint
from .errors import AnchoringStopped, InvalidEvidence
from .key_files import default_keys, make_keys, read_vkey
from .keys import KeyType, PrivateKey, Signer, VerifierKey, parse_vkey
from .log_entries import AnchorEntry, ReceiptEntry, ReceiptKind, parse_log_entry
from .merkle import (
    Frontier,
    NodeReader,
    Tree,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root,
    verify_consistency,
    verify_inclusion,
)
from .notes import Cosignature, Note, NoteSignature, OpenedNote, cosign, open_note, parse_note, sign
from .policy import Group, Policy, Witness, parse_policy
from .program_signer import ProgramSigner, parse_signer
from .proofs import CheckedProof, Proof, ProofKind, check_proof, parse_proof
from .proving import Proved, prove_absent, prove_complete, prove_receipt, prove_record
from .sinks import AnySink, DirectorySink, ProgramSink, Sink, parse_sink
from .statements import SessionState, SessionStatement, check_changes, parse_statement, parse_statements
from .tiles import Tile, TiledNodes, encode_entry_tile, parse_entry_tile, parse_hash_tile, tiles_of
from .tlog_proof import TlogProof, parse_tlog_proof
from .trie import Trie, TrieLeaf, TriePath, TrieStep, trie_leaf, verify_path
from .witness import CheckpointWitness, make_witness
from .witness_client import WitnessClient, parse_witness
from .witness_protocol import AddCheckpoint, WitnessAnswer, parse_add_checkpoint, parse_answer
from .witness_server import WitnessServer

__all__ = [
    "AddCheckpoint",
    "AnchorAudit",
    "AnchorEntry",
    "AnchorFault",
    "AnchorFinding",
    "Anchored",
    "AnchoringStopped",
    "AnySink",
    "AuditState",
    "CheckedProof",
    "Checkpoint",
    "CheckpointWitness",
    "Cosignature",
    "DirectorySink",
    "Frontier",
    "Group",
    "InvalidEvidence",
    "KeyType",
    "NodeReader",
    "Note",
    "NoteSignature",
    "OpenedCheckpoint",
    "OpenedNote",
    "Policy",
    "PrivateKey",
    "ProgramSigner",
    "ProgramSink",
    "Proof",
    "ProofKind",
    "Proved",
    "ReceiptEntry",
    "ReceiptKind",
    "SessionState",
    "SessionStatement",
    "Signer",
    "Sink",
    "Tile",
    "TiledNodes",
    "TlogProof",
    "Tree",
    "Trie",
    "TrieLeaf",
    "TriePath",
    "TrieStep",
    "VerifierKey",
    "Witness",
    "WitnessAnswer",
    "WitnessClient",
    "WitnessServer",
    "anchor_store",
    "audit_anchors",
    "check_changes",
    "check_proof",
    "consistency_proof",
    "cosign",
    "default_keys",
    "encode_entry_tile",
    "inclusion_proof",
    "leaf_hash",
    "make_keys",
    "make_witness",
    "node_hash",
    "open_checkpoint",
    "open_note",
    "parse_add_checkpoint",
    "parse_answer",
    "parse_checkpoint",
    "parse_entry_tile",
    "parse_hash_tile",
    "parse_log_entry",
    "parse_note",
    "parse_policy",
    "parse_proof",
    "parse_signer",
    "parse_sink",
    "parse_statement",
    "parse_statements",
    "parse_tlog_proof",
    "parse_vkey",
    "parse_witness",
    "prove_absent",
    "prove_complete",
    "prove_receipt",
    "prove_record",
    "read_vkey",
    "root",
    "sign",
    "sign_checkpoint",
    "tiles_of",
    "trie_leaf",
    "verify_consistency",
    "verify_inclusion",
    "verify_path",
]
