"""Signed notes (C2SP signed-note) and cosignatures (C2SP tlog-cosignature).

    note = <text, ends in LF> LF <signature line>...
    line = "— " <name> " " base64(<4-byte key id> || <signature>) LF

A log's signature is 64 bytes over the text. A cosignature is an 8-byte time and 64 bytes over
``cosignature/v1 LF time <POSIX seconds> LF`` and the text.

:func:`open_note` is the only way from bytes to text that may be believed: signatures of unknown keys are ignored, a bad
one of a known key spoils the note, and at least one must be good.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from .errors import InvalidEvidence
from .keys import SIGNATURE_BYTES, KeyType, Signer, VerifierKey, check_key_name, check_time
from .strict import NUMBER_MAX, check_size, encode_base64, parse_base64, parse_text, shown, split_lines

NOTE_BYTES_MAX: Final = 1024 * 1024
SIGNATURES_MAX: Final = 100
_PREFIX: Final = "— "
_KEY_ID_BYTES: Final = 4
_TIME_BYTES: Final = 8


class NoteSignature(msgspec.Struct, frozen=True):
    """A signature line; nothing of it is verified."""

    name: str
    key_id: bytes
    signature: bytes

    def line(self) -> str:
        """Return the line, LF included."""
        return f"{_PREFIX}{self.name} {encode_base64(self.key_id + self.signature)}\n"


class Note(msgspec.Struct, frozen=True):
    """A note as it was parsed; nothing of it is verified."""

    text: bytes
    signatures: Sequence[NoteSignature]

    def encode(self) -> bytes:
        """Return the note's bytes; the inverse of :func:`parse_note`."""
        return self.text + b"\n" + "".join(one.line() for one in self.signatures).encode()


class Cosignature(msgspec.Struct, frozen=True):
    """A witness's good signature: whose, and at which POSIX second."""

    key: VerifierKey
    time_s: int


class OpenedNote(msgspec.Struct, frozen=True):
    """A note of which at least one signature is good: its text, and whose signatures are."""

    text: bytes
    signed_by: Sequence[VerifierKey]
    cosignatures: Sequence[Cosignature]


def parse_note(data: bytes) -> Note:
    """Split a note into its text and its signatures, none of them verified. Raises :class:`InvalidEvidence`."""
    check_size(data, NOTE_BYTES_MAX, "the note")
    parse_text(data, "the note")
    text, gap, lines = data.rpartition(b"\n\n")
    if not gap:
        raise InvalidEvidence("not a signed note: no empty line stands before signatures")
    return Note(text + b"\n", parse_signatures(lines.decode()))


def parse_signatures(lines: str) -> list[NoteSignature]:
    """Return the signatures in ``lines``, at least one. Raises :class:`InvalidEvidence`."""
    signatures = split_lines(lines, "the note")
    if not signatures:
        raise InvalidEvidence("the note is not signed")
    if len(signatures) > SIGNATURES_MAX:
        raise InvalidEvidence(f"the note has {len(signatures)} signatures, more than the {SIGNATURES_MAX} allowed")
    return [_parse_signature(line) for line in signatures]


def _parse_signature(line: str) -> NoteSignature:
    name, space, encoded = line.removeprefix(_PREFIX).partition(" ")
    if not line.startswith(_PREFIX) or not space:
        raise InvalidEvidence(f"not a signature line: {shown(line)}")
    blob = parse_base64(encoded, "a signature")
    if len(blob) <= _KEY_ID_BYTES:
        raise InvalidEvidence(f"a signature line holds no signature: {shown(line)}")
    return NoteSignature(check_key_name(name), blob[:_KEY_ID_BYTES], blob[_KEY_ID_BYTES:])


def open_note(data: bytes, keys: Iterable[VerifierKey]) -> OpenedNote:
    """Verify a note with the ``keys`` that are trusted. Raises :class:`InvalidEvidence`; see the module."""
    note = parse_note(data)
    known = {(key.name, key.key_id): key for key in keys}
    signed_by: list[VerifierKey] = []
    cosignatures: list[Cosignature] = []
    for one in note.signatures:
        key = known.get((one.name, one.key_id))
        if key is None:
            continue
        time_s = _verified(key, note.text, one.signature)
        if key not in signed_by:
            signed_by.append(key)
        if time_s is not None:
            cosignatures.append(Cosignature(key, time_s))
    if not signed_by:
        raise InvalidEvidence("the note bears no signature of a trusted key")
    return OpenedNote(note.text, signed_by, cosignatures)


def _verified(key: VerifierKey, text: bytes, signature: bytes) -> int | None:
    """Return the time of a cosignature, ``None`` for a log's signature. Raises InvalidEvidence if it is not good."""
    time_s = None
    message = text
    if key.type is KeyType.COSIGNATURE and len(signature) == _TIME_BYTES + SIGNATURE_BYTES:
        time_s = int.from_bytes(signature[:_TIME_BYTES], "big")
        signature = signature[_TIME_BYTES:]
        message = _cosigned(text, time_s)
    elif key.type is KeyType.COSIGNATURE:
        signature = b""
    if len(signature) != SIGNATURE_BYTES or (time_s or 0) > NUMBER_MAX or not key.is_signed(message, signature):
        raise InvalidEvidence(f"the signature of the trusted key {key.name} is wrong: the note was changed or forged")
    return time_s


def sign(text: bytes, signer: Signer) -> NoteSignature:
    """Return the signature of a log over ``text``. Raises :class:`InvalidEvidence` if that cannot be a note's text."""
    _check_signable(text)
    return NoteSignature(signer.key.name, signer.key.key_id, _signed(signer, text))


def cosign(text: bytes, signer: Signer, time_s: int) -> NoteSignature:
    """Return the cosignature of a witness over ``text`` at POSIX second ``time_s``. Raises as :func:`sign`."""
    _check_signable(text)
    signature = _signed(signer, _cosigned(text, check_time(time_s)))
    return NoteSignature(signer.key.name, signer.key.key_id, time_s.to_bytes(_TIME_BYTES, "big") + signature)


def _signed(signer: Signer, message: bytes) -> bytes:
    """Return the signature, which is checked: a program that keeps the key may give anything."""
    signature = signer.sign(message)
    if len(signature) != SIGNATURE_BYTES or not signer.key.is_signed(message, signature):
        raise InvalidEvidence(f"the signer did not return a good signature of {signer.key.name}")
    return signature


def _cosigned(text: bytes, time_s: int) -> bytes:
    return b"cosignature/v1\ntime %d\n" % time_s + text


def _check_signable(text: bytes) -> None:
    check_size(text, NOTE_BYTES_MAX // 2, "the text of a note")
    parse_text(text, "the text of a note")
    if not text.endswith(b"\n"):
        raise InvalidEvidence("the text of a note must end in a line feed")


__all__ = [
    "NOTE_BYTES_MAX",
    "SIGNATURES_MAX",
    "Cosignature",
    "Note",
    "NoteSignature",
    "OpenedNote",
    "cosign",
    "open_note",
    "parse_note",
    "parse_signatures",
    "sign",
]
