"""Cosignatures on a checkpoint that is cosigned again and again: which are kept."""

from collections.abc import Collection, Iterable
from typing import Final

from .errors import InvalidEvidence
from .keys import VerifierKey
from .notes import Note, NoteSignature, open_note, parse_note

_TIME_BYTES: Final = 8


def add_cosignatures(note: bytes, answer: Iterable[NoteSignature], witnesses: Collection[VerifierKey]) -> Note:
    """Return the checkpoint with the cosignatures of an answer, where they are good ones of ``witnesses``.

    Of several by one witness the earliest and the latest stay: one says since when the checkpoint exists, the other how
    fresh it is. Lines of other keys are left out.

    Raises:
        InvalidEvidence: None of them is of these witnesses, or one is wrong.
    """
    parsed = parse_note(note)
    keys = {(key.name, key.key_id) for key in witnesses}
    new = [one for one in answer if (one.name, one.key_id) in keys]
    if not new:
        raise InvalidEvidence("the answer holds no cosignature of a witness that the policy names")
    open_note(Note(parsed.text, new).encode(), witnesses)
    kept: dict[tuple[str, bytes], list[NoteSignature]] = {}
    for one in (*parsed.signatures, *new):
        if (one.name, one.key_id) in keys:
            kept.setdefault((one.name, one.key_id), []).append(one)
    chosen = [one for one in parsed.signatures if (one.name, one.key_id) not in keys]
    for times in kept.values():
        first, last = min(times, key=_time), max(times, key=_time)
        chosen += [first] if first == last else [first, last]
    return Note(parsed.text, chosen)


def _time(cosignature: NoteSignature) -> int:
    return int.from_bytes(cosignature.signature[:_TIME_BYTES], "big")


__all__ = ["add_cosignatures"]
