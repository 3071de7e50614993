"""A witness: cosigns a checkpoint only if it extends the one that it cosigned before (C2SP tlog-witness).

    <witness>/witness.key     the private key, PKCS#8 PEM, 0600
    <witness>/witness.vkey    the public key, under the witness's name
    <witness>/logs            the keys of the logs that it cosigns, one vkey a line
    <witness>/state/<hex>     by the SHA-256 of an origin: the newest checkpoint that it cosigned, with the cosignature
    <witness>/lock

A checkpoint is on the medium before its cosignature leaves, and one request at a time looks and writes: so no kill and
no second process makes a witness cosign two histories. It trusts the first checkpoint that it sees of a log. Never
restore ``state`` from a backup: a witness that forgets cosigns a rollback.
"""

import hashlib
import os
from collections.abc import Callable
from typing import Final

from ..errors import StoreFailed
from ..ids import now_ms
from ..stores.file.system import System
from .anchor_files import EvidenceDirectory
from .checkpoints import Checkpoint, parse_checkpoint, parse_checkpoint_lines
from .errors import AnchoringStopped, InvalidEvidence
from .key_files import KeyFiles, KeyRole, make_key_pair
from .keys import KeyType, VerifierKey, parse_vkey
from .merkle import EMPTY_ROOT, verify_consistency
from .notes import NOTE_BYTES_MAX, Note, OpenedNote, cosign, open_note, parse_note
from .strict import parse_text, split_lines
from .witness_protocol import SIZE_TYPE, AddCheckpoint, WitnessAnswer, parse_add_checkpoint

LOGS_BYTES_MAX: Final = 1024 * 1024
LOCK_WAIT_S: Final = 5.0


def make_witness(witness: str | os.PathLike[str], name: str) -> VerifierKey:
    """Make the key of a new witness in the directory ``witness``, and return its public half.

    Raises as :func:`make_keys`. Then write the keys of the logs that it is to cosign into the file ``logs`` there.
    """
    return make_key_pair(witness, name, KeyRole.WITNESS)


class CheckpointWitness:
    """The witness in a directory. All calls block; any number of threads and processes may answer at once."""

    def __init__(
        self,
        witness: str | os.PathLike[str],
        *,
        clock: Callable[[], int] = now_ms,
        system: System | None = None,
        lock_wait_s: float = LOCK_WAIT_S,
    ) -> None:
        """Load the key.

        Args:
            witness: The directory, made by :func:`make_witness`.
            clock: The time in unix ms, for tests.
            system: The system calls, for tests.
            lock_wait_s: How long a request waits for another one to end.

        Raises:
            InvalidEvidence: There is no key, or it is malformed.
            StoreFailed: It cannot be read.
        """
        self._directory = EvidenceDirectory(witness, system)
        self._signer = KeyFiles(witness, system, KeyRole.WITNESS).signer()
        self._clock = clock
        self._lock_wait_s = lock_wait_s

    @property
    def key(self) -> VerifierKey:
        """The public half of the witness's key."""
        return self._signer.key

    def add_checkpoint(self, body: bytes) -> WitnessAnswer:
        """Answer a request to cosign. Raises nothing: what the disk refuses is status 500."""
        try:
            request = parse_add_checkpoint(body)
            note = parse_note(request.checkpoint)
            checkpoint = parse_checkpoint_lines(note.text)
        except InvalidEvidence as error:
            return _refusal(400, error.reason)
        try:
            keys = [key for key in self._logs() if key.name == checkpoint.origin]
            if not keys:
                return _refusal(404, "this witness does not cosign that log")
            try:
                opened = open_note(request.checkpoint, keys)
            except InvalidEvidence as error:
                return _refusal(403, error.reason)
            if request.old > checkpoint.size:
                return _refusal(400, f"the old size {request.old} is greater than the new one, {checkpoint.size}")
            with self._directory.locked(wait_s=self._lock_wait_s):
                return self._extend(request, note, checkpoint, opened)
        except AnchoringStopped:
            return _refusal(503, "the witness is busy: try again")
        except (StoreFailed, InvalidEvidence) as error:
            return _refusal(500, f"the state of the witness cannot be used: {error}")

    def _extend(self, request: AddCheckpoint, note: Note, checkpoint: Checkpoint, opened: OpenedNote) -> WitnessAnswer:
        """Compare with what was cosigned last, keep the checkpoint, and cosign it; the directory is locked."""
        last = self._last(checkpoint.origin)
        if request.old != last.size:
            return WitnessAnswer(409, b"%d\n" % last.size, SIZE_TYPE)
        try:
            if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
                raise InvalidEvidence("a log of size 0 has the root of an empty tree")
            verify_consistency(last.size, checkpoint.size, request.proof, last.root, checkpoint.root)
        except InvalidEvidence as error:
            return _refusal(422, error.reason)
        keys = {(key.name, key.key_id) for key in opened.signed_by}
        signed = [one for one in note.signatures if (one.name, one.key_id) in keys]
        cosignature = cosign(note.text, self._signer, self._clock() // 1000)
        kept = Note(note.text, [*signed, cosignature]).encode()
        self._directory.write({_state_name(checkpoint.origin): kept})
        return WitnessAnswer(200, cosignature.line().encode())

    def newest(self, origin_hash: str) -> bytes | None:
        """Return the newest checkpoint that was cosigned of the origin with this SHA-256, in hex; ``None`` if none was.

        Raises :class:`StoreFailed`.
        """
        if len(origin_hash) != 64 or not set(origin_hash) <= set("0123456789abcdef"):
            return None
        return self._directory.read(f"state/{origin_hash}", NOTE_BYTES_MAX)

    def _last(self, origin: str) -> Checkpoint:
        """Return the checkpoint that was cosigned last. Raises InvalidEvidence if it is not as it was written."""
        note = self._directory.read(_state_name(origin), NOTE_BYTES_MAX)
        if note is None:
            return Checkpoint(origin, 0, EMPTY_ROOT)
        checkpoint = parse_checkpoint(open_note(note, [self._signer.key]).text)
        if checkpoint.origin != origin:
            raise InvalidEvidence(f"{self._directory.path(_state_name(origin))} is about another log")
        return checkpoint

    def _logs(self) -> list[VerifierKey]:
        """Return the keys of the logs, read anew for each request: a log is added without a restart."""
        data = self._directory.read("logs", LOGS_BYTES_MAX)
        lines = split_lines(parse_text(data or b"", "the file 'logs'"), "the file 'logs'")
        keys = [parse_vkey(line) for line in lines if line and not line.startswith("#")]
        if any(key.type is not KeyType.LOG for key in keys):
            raise InvalidEvidence(f"{self._directory.path('logs')} holds a key that is not a log's, of type 01")
        return keys


def _state_name(origin: str) -> str:
    return f"state/{hashlib.sha256(origin.encode()).hexdigest()}"


def _refusal(status: int, reason: str) -> WitnessAnswer:
    return WitnessAnswer(status, f"{reason}\n".encode())


__all__ = ["LOCK_WAIT_S", "CheckpointWitness", "make_witness"]
