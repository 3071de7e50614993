"""Proof files: one entry's inclusion proof and the checkpoint that it leads to (C2SP tlog-proof).

c2sp.org/tlog-proof@v1
extra <base64>                 optional: what the application needs to make the entry again; not authenticated
index <decimal>
<base64 of a hash>...          the leaf's sibling first

<the checkpoint, whole>
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from .errors import InvalidEvidence
from .merkle import PROOF_HASHES_MAX
from .strict import HASH_BYTES, check_size, encode_base64, parse_base64, parse_decimal, parse_text, split_lines

TLOG_PROOF_BYTES_MAX: Final = 2 * 1024 * 1024
_HEADER: Final = "c2sp.org/tlog-proof@v1"


class TlogProof(msgspec.Struct, frozen=True):
    """A proof file as it was parsed; nothing of it is verified."""

    index: int
    hashes: Sequence[bytes]
    checkpoint: bytes
    extra: bytes | None = None

    def encode(self) -> bytes:
        """Return the file's bytes; the inverse of :func:`parse_tlog_proof`."""
        lines = [_HEADER]
        if self.extra is not None:
            lines.append(f"extra {encode_base64(self.extra)}")
        lines += [f"index {self.index}", *map(encode_base64, self.hashes), ""]
        return "".join(f"{line}\n" for line in lines).encode() + self.checkpoint


def parse_tlog_proof(data: bytes) -> TlogProof:
    """Split a proof file into its parts, none of them verified. Raises :class:`InvalidEvidence`."""
    check_size(data, TLOG_PROOF_BYTES_MAX, "the proof")
    head, gap, checkpoint = data.partition(b"\n\n")
    if not gap:
        raise InvalidEvidence("not a proof file: no empty line stands before a checkpoint")
    lines = split_lines(parse_text(head + b"\n", "the proof"), "the proof")
    if lines[0] != _HEADER:
        raise InvalidEvidence(f"not a proof file: its first line is not {_HEADER}")
    rest = lines[1:]
    extra = None
    if rest and rest[0].startswith("extra "):
        extra = parse_base64(rest.pop(0).removeprefix("extra "), "the extra data of the proof")
    if not rest or not rest[0].startswith("index "):
        raise InvalidEvidence("the proof does not say which entry it is of: no line 'index'")
    if len(rest) - 1 > PROOF_HASHES_MAX:
        raise InvalidEvidence(f"the proof holds {len(rest) - 1} hashes: no tree is so high")
    index = parse_decimal(rest[0].removeprefix("index "), "the index of the proof")
    hashes = [parse_base64(line, "a hash of the proof", size=HASH_BYTES) for line in rest[1:]]
    return TlogProof(index, hashes, checkpoint, extra)


__all__ = ["TLOG_PROOF_BYTES_MAX", "TlogProof", "parse_tlog_proof"]
