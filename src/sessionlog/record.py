"""Records: the lines of a log, at their fixed offsets (FORMAT section 2).

    {"hash":"<64 hex>","prev_hash":"<64 hex>","seq":<n>,"kind":"<kind>","ts":<ms>, ... }LF
    0        9          75                                                            ^ LF is the commit mark

``hash`` is BLAKE3 in derive_key mode over the slice from byte 75 to the closing brace, both included. A record *is* its
bytes: :class:`HashedEntry` keeps its line and decodes the entry on demand, and nothing here re-serialises what it was
given. ``hash``, ``prev_hash`` and ``seq`` come from the offsets, never from parsed JSON.
"""

import re
from typing import Final

import msgspec
from blake3 import blake3

from .entries import LogEntry, decode_entry
from .errors import CorruptLog, Damage
from .ids import EntryHash, Head

HASH_CONTEXT: Final = "sessionlog v1 record"
HASHED_FROM: Final = 75
HASH_AT: Final = slice(9, 73)
LINE_BYTES_MAX: Final = 64 * 1024 * 1024
ENVELOPE_BYTES_MAX: Final = 200
"""No envelope, from the opening brace to the quote that opens the kind, is longer than this."""

_hasher = blake3(derive_key_context=HASH_CONTEXT)
new_hasher: Final = _hasher.copy
"""Returns a BLAKE3 hasher, in derive_key mode with the context of a record, that has hashed nothing yet."""

ENVELOPE: Final = re.compile(
    rb'\{"hash":"([0-9a-f]{64})","prev_hash":(?:null|"([0-9a-f]{64})"),"seq":(0|[1-9][0-9]{0,18}),"kind":"'
)
_LOOSE_ENVELOPE: Final = re.compile(
    rb'\{"hash":"([^"]*)","prev_hash":(?:null|"([^"]*)"),"seq":(-?[0-9]+),"kind":"', re.DOTALL
)
_RESERIALISED: Final = (
    "the line holds a record's members but not its bytes: a tool such as jq wrote the file anew, "
    "which loses the bytes that were hashed; take the original file"
)


class HashedEntry(msgspec.Struct, eq=False, gc=False):
    """One record: ``hash``, ``prev_hash`` (``None`` for the first), ``seq``, and ``line``, its bytes without the LF.

    Two are equal when their bytes are. Made by :func:`sessionlog.link`, by a store's reads, or by
    :func:`parse_record`; all of these have computed the hash, and nothing here checks it again.
    """

    line: bytes
    hash: EntryHash
    prev_hash: str | None
    seq: int
    _entry: LogEntry | None = None

    @property
    def entry(self) -> LogEntry:
        """What the record says, decoded on first use and kept.

        Raises :class:`CorruptLog` when the bytes, though their hash is right, do not decode.
        """
        if self._entry is None:
            try:
                self._entry = decode_entry(self.line)
            except (ValueError, RecursionError) as error:
                raise CorruptLog(
                    f"the entry does not decode: {error}", damage=Damage.ENTRY, seq=self.seq, offset=None
                ) from error
        return self._entry

    @property
    def head(self) -> Head:
        """The head of a log that ends with this record."""
        return Head(self.seq, self.hash)

    def __eq__(self, other: object) -> bool:
        """Compare the bytes."""
        return self.line == other.line if isinstance(other, HashedEntry) else NotImplemented

    def __hash__(self) -> int:
        """Hash by the record's own hash."""
        return hash(self.hash)

    def __repr__(self) -> str:
        """Show position, kind, hash and size, and nothing of what the entry says."""
        envelope = ENVELOPE.match(self.line)
        after = b"" if envelope is None else self.line[envelope.end() :][:40]
        kind = after.partition(b'"')[0].decode("utf-8", "replace")
        return f"HashedEntry(seq={self.seq}, kind={kind!r}, hash={self.hash!r}, {len(self.line)} bytes)"


class Position(msgspec.Struct, frozen=True, gc=False):
    """A record of a log and where its line ends: reading goes on from here, at the cost of what is new.

    Keep one beside whatever is folded from a log, and give it to ``read(after=…)`` or ``follow(after=…)``. It is good
    for as long as the log holds the record: a log that was cut or made anew since raises :class:`EntryNotFound`. Edits
    before the record are not noticed; only a check of the whole log finds those.
    """

    seq: int
    """The record's 0-based position."""
    hash: str
    """The record's hash."""
    end: int
    """How many bytes the lines up to this record have, its own included, each with its LF."""

    @property
    def head(self) -> Head:
        """The head of a log that ends with this record."""
        return Head(self.seq, self.hash)

    @classmethod
    def after(cls, record: HashedEntry, before: "Position | None" = None) -> "Position":
        """Return the position of ``record``, which follows the one at ``before`` (``None``: it is the first of a log).

        Raises ``ValueError`` if it does not chain onto that one.
        """
        seq, prev_hash, end = (-1, None, 0) if before is None else (before.seq, before.hash, before.end)
        if record.seq != seq + 1 or record.prev_hash != prev_hash:
            raise ValueError(f"{record!r} does not follow {'the start of a log' if before is None else before}")
        return cls(record.seq, record.hash, end + len(record.line) + 1)


def hash_payload(payload: bytes | memoryview) -> EntryHash:
    """Return the record hash of ``payload``, the line from byte 75 to its closing brace."""
    hasher = new_hasher()
    hasher.update(payload)
    # digest().hex() is a third faster than hexdigest(), and a call of the NewType would cost as much again
    return hasher.digest().hex()  # type: ignore[return-value]


def record_payload(prev_hash: str | None, seq: int, entry: bytes) -> bytes:
    """Return what is hashed: ``"prev_hash":…,"seq":…``, then the members of ``entry``, compact JSON with its braces."""
    prev = "null" if prev_hash is None else f'"{prev_hash}"'
    return f'"prev_hash":{prev},"seq":{seq},'.encode() + entry[1:]


def record_line(hash_: str, payload: bytes) -> bytes:
    """Return the whole line, without LF."""
    return f'{{"hash":"{hash_}",'.encode() + payload


def parse_record(line: bytes) -> HashedEntry:
    """Return the record in ``line`` (no LF), its shape and hash checked; the chain around it is not.

    Raises :class:`CorruptLog` that names what is wrong.
    """
    envelope = ENVELOPE.match(line)
    if envelope is None or not line.endswith(b"}"):
        raise _misshapen(line)
    if b"\n" in line:
        raise CorruptLog("a line feed stands inside the record", damage=Damage.SHAPE, seq=int(envelope[3]), offset=None)
    computed = hash_payload(memoryview(line)[HASHED_FROM:])
    seq = int(envelope[3])
    if computed.encode() != envelope[1]:
        raise CorruptLog(
            f"the bytes hash to {computed}, the line says {envelope[1].decode()}: its content was changed",
            damage=Damage.HASH,
            seq=seq,
            offset=None,
        )
    prev = envelope[2]
    return HashedEntry(line, hash=computed, prev_hash=None if prev is None else prev.decode(), seq=seq)


def shape_fault(line: bytes) -> tuple[Damage, str] | None:
    """Say what is wrong with the shape of ``line`` (no LF): its kind and words; ``None`` when the envelope is right.

    Only for lines that already failed; the good path never comes here.
    """
    if not line:
        return Damage.BLANK_LINE, "a blank line: every LF must end a record"
    if line.startswith(b"\xef\xbb\xbf"):
        return Damage.BYTE_ORDER_MARK, "a byte order mark stands before the record: the file was saved by an editor"
    if line.endswith(b"\r"):
        return Damage.CARRIAGE_RETURN, "the line ends in CR LF: the file was converted to Windows line ends"
    if not line.strip(b"\0"):
        return Damage.NUL_BYTES, "the line is all NUL bytes"
    if line.startswith(b"\0"):
        nuls = len(line) - len(line.lstrip(b"\0"))
        return Damage.NUL_BYTES, f"{nuls} NUL bytes stand before the record, as a power loss leaves them"
    if ENVELOPE.match(line):
        return None if line.endswith(b"}") else (Damage.SHAPE, "the line does not end in }")
    loose = _LOOSE_ENVELOPE.match(line)
    return _no_envelope(line) if loose is None else _envelope_fault(loose)


def _envelope_fault(loose: re.Match[bytes]) -> tuple[Damage, str]:
    for name, value in (("hash", loose[1]), ("prev_hash", loose[2])):
        if value is None:
            continue
        if len(value) != 64:
            return Damage.HEX, f"{name} has {len(value)} digits, not 64"
        if re.fullmatch(rb"[0-9a-fA-F]*", value) and not re.fullmatch(rb"[0-9a-f]*", value):
            return Damage.HEX, f"{name} is written in upper-case hex"
        if not re.fullmatch(rb"[0-9a-f]*", value):
            return Damage.HEX, f"{name} holds what is no hex digit"
    return Damage.SEQ, f"seq is written {loose[3][:24].decode()}, which is no plain decimal position"


def _no_envelope(line: bytes) -> tuple[Damage, str]:
    try:
        members = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    except (ValueError, RecursionError):
        return Damage.SHAPE, "the line does not start like a record"
    if {"hash", "prev_hash", "seq", "kind"} <= members.keys():
        return Damage.RESERIALISED, _RESERIALISED
    return Damage.SHAPE, "the line is JSON but no record: hash, prev_hash, seq and kind must come first"


def _misshapen(line: bytes) -> CorruptLog:
    damage, reason = shape_fault(line) or (Damage.SHAPE, "the line is no record")
    return CorruptLog(reason, damage=damage, seq=0, offset=None)


__all__ = [
    "ENVELOPE",
    "ENVELOPE_BYTES_MAX",
    "HASHED_FROM",
    "HASH_AT",
    "HASH_CONTEXT",
    "LINE_BYTES_MAX",
    "HashedEntry",
    "Position",
    "hash_payload",
    "parse_record",
    "record_line",
    "record_payload",
    "shape_fault",
]
