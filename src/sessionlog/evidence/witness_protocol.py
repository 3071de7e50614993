"""What a log asks a witness, and what a witness answers (C2SP tlog-witness, ``add-checkpoint``).

    old <size that the witness cosigned last, 0 if none>
    <base64 of a hash>...              the consistency proof from there, none if old is 0
                                       (an empty line)
    <the checkpoint, whole>

The answer to a good request has status 200 and holds cosignature lines. Status 409 tells the witness's own size, so a
log that does not know it asks once more. All of it is pure; :mod:`.witness` answers, :mod:`.witness_client` asks.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from .errors import InvalidEvidence
from .merkle import PROOF_HASHES_MAX
from .notes import NOTE_BYTES_MAX
from .strict import HASH_BYTES, check_size, encode_base64, parse_base64, parse_decimal, parse_text, split_lines

REQUEST_BYTES_MAX: Final = NOTE_BYTES_MAX + 64 * (PROOF_HASHES_MAX + 2)
ANSWER_BYTES_MAX: Final = 64 * 1024
SIZE_TYPE: Final = "text/x.tlog.size"
TEXT_TYPE: Final = "text/plain; charset=utf-8"
_STATUS_CHARS: Final = 3


class AddCheckpoint(msgspec.Struct, frozen=True):
    """A request to cosign a checkpoint; nothing of it is verified."""

    old: int
    proof: Sequence[bytes]
    checkpoint: bytes

    def encode(self) -> bytes:
        """Return the request's bytes; the inverse of :func:`parse_add_checkpoint`."""
        lines = [f"old {self.old}", *map(encode_base64, self.proof), ""]
        return "".join(f"{line}\n" for line in lines).encode() + self.checkpoint


def parse_add_checkpoint(data: bytes) -> AddCheckpoint:
    """Split a request into its parts, none of them verified. Raises :class:`InvalidEvidence`."""
    check_size(data, REQUEST_BYTES_MAX, "the request")
    head, gap, checkpoint = data.partition(b"\n\n")
    if not gap:
        raise InvalidEvidence("not a request to cosign: no empty line stands before a checkpoint")
    first, *hashes = split_lines(parse_text(head + b"\n", "the request"), "the request")
    if not first.startswith("old "):
        raise InvalidEvidence("not a request to cosign: its first line is not 'old' and a size")
    if len(hashes) > PROOF_HASHES_MAX:
        raise InvalidEvidence(f"the request holds {len(hashes)} hashes: no tree is so high")
    return AddCheckpoint(
        parse_decimal(first.removeprefix("old "), "the old size"),
        [parse_base64(line, "a hash of the request", size=HASH_BYTES) for line in hashes],
        checkpoint,
    )


class WitnessAnswer(msgspec.Struct, frozen=True):
    """An answer: an HTTP status, and a body of ``content_type``."""

    status: int
    body: bytes
    content_type: str = TEXT_TYPE

    def encode(self) -> bytes:
        """Return the status on a line of its own, and the body: the answer where there is no HTTP, as over ssh."""
        return b"%d\n" % self.status + self.body


def parse_answer(data: bytes) -> WitnessAnswer:
    """Return the answer that ``data`` encodes. Raises :class:`InvalidEvidence`."""
    check_size(data, ANSWER_BYTES_MAX, "the answer of the witness")
    status, line_feed, body = data.partition(b"\n")
    if not line_feed or len(status) != _STATUS_CHARS or not status.isdigit():
        raise InvalidEvidence("the answer of the witness does not begin with a status on a line of its own")
    return WitnessAnswer(int(status), body)


__all__ = [
    "ANSWER_BYTES_MAX",
    "REQUEST_BYTES_MAX",
    "SIZE_TYPE",
    "AddCheckpoint",
    "WitnessAnswer",
    "parse_add_checkpoint",
    "parse_answer",
]
