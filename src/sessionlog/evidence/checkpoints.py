"""Checkpoints: what a log signs, its origin, size and root (C2SP tlog-checkpoint)."""

from collections.abc import Iterable, Sequence

import msgspec

from .errors import InvalidEvidence
from .keys import KeyType, Signer, VerifierKey, check_key_name
from .merkle import EMPTY_ROOT
from .notes import Cosignature, Note, open_note, sign
from .strict import HASH_BYTES, NUMBER_MAX, encode_base64, parse_base64, parse_decimal, parse_text, shown, split_lines


class Checkpoint(msgspec.Struct, frozen=True):
    """The state of a log: its name, the number of its entries, and the root of the tree over them."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> bytes:
        """Return the text that is signed; the inverse of :func:`parse_checkpoint`."""
        lines = (self.origin, str(self.size), encode_base64(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines).encode()


class OpenedCheckpoint(msgspec.Struct, frozen=True):
    """A checkpoint that its log signed, the witnesses' cosignatures on it, and its bytes."""

    checkpoint: Checkpoint
    key: VerifierKey
    cosignatures: Sequence[Cosignature]
    note: bytes


def parse_checkpoint(text: bytes) -> Checkpoint:
    """Return what a note's text says as a checkpoint. Raises :class:`InvalidEvidence`."""
    checkpoint = parse_checkpoint_lines(text)
    if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
        raise InvalidEvidence("a checkpoint of size 0 has the root of an empty tree")
    return checkpoint


def parse_checkpoint_lines(text: bytes) -> Checkpoint:
    """Return the lines of a checkpoint, whose size and root may contradict each other. Raises InvalidEvidence."""
    lines = split_lines(parse_text(text, "the checkpoint"), "the checkpoint")
    if len(lines) < 3 or not all(lines):
        raise InvalidEvidence("a checkpoint has an origin, a size and a root, a line each, and no empty line")
    origin, size, root, *extensions = lines
    return Checkpoint(
        check_key_name(origin),
        parse_decimal(size, "the size of a checkpoint"),
        parse_base64(root, "the root of a checkpoint", size=HASH_BYTES),
        tuple(extensions),
    )


def open_checkpoint(
    data: bytes, logs: Iterable[VerifierKey], witnesses: Iterable[VerifierKey] = ()
) -> OpenedCheckpoint:
    """Verify a checkpoint: one of the ``logs`` signed it under its own name. Raises :class:`InvalidEvidence`.

    A witness alone is not enough. Which witnesses are enough is for a policy to say.
    """
    logs = tuple(logs)
    opened = open_note(data, (*logs, *witnesses))
    checkpoint = parse_checkpoint(opened.text)
    for key in opened.signed_by:
        if key in logs and key.type is KeyType.LOG and key.name == checkpoint.origin:
            return OpenedCheckpoint(checkpoint, key, opened.cosignatures, data)
    raise InvalidEvidence(f"the log {shown(checkpoint.origin)} did not sign the checkpoint with a trusted key")


def sign_checkpoint(checkpoint: Checkpoint, signer: Signer) -> bytes:
    """Return the checkpoint as a note that its log signed. Raises :class:`InvalidEvidence`."""
    if signer.key.name != checkpoint.origin or signer.key.type is not KeyType.LOG:
        raise InvalidEvidence(f"the key {signer.key.name} cannot sign for the log {checkpoint.origin}")
    if len(checkpoint.root) != HASH_BYTES or not 0 <= checkpoint.size <= NUMBER_MAX:
        raise InvalidEvidence("a checkpoint has a root of 32 bytes and a size below 2^63")
    text = checkpoint.text()
    return Note(text, [sign(text, signer)]).encode()


__all__ = [
    "Checkpoint",
    "OpenedCheckpoint",
    "open_checkpoint",
    "parse_checkpoint",
    "parse_checkpoint_lines",
    "sign_checkpoint",
]
