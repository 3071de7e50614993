"""Nonces: they keep a proof of one record from giving away its neighbours.

A leaf of a session's tree holds a nonce before the record's hash. Without it, whoever has a proof of record n could
test guesses about record n+1, because its ``prev_hash`` is known and its leaf hash stands in the proof.

All nonces of a session come from one random secret, by a binary tree of keyed hashes (Goldreich, Goldwasser and Micali,
1986): a node's children are BLAKE3-keyed(node, 0x00) and BLAKE3-keyed(node, 0x01), 63 levels deep, and the nonce of
record ``seq`` is the node that the bits of ``seq`` lead to. A few inner nodes so give the nonces of the first n records
and of no later one: a proof of a whole session does not open what the session says afterwards.
"""

import secrets
from collections.abc import Iterator, Sequence
from typing import Final

from blake3 import blake3

from .errors import InvalidEvidence
from .merkle import leaf_hash
from .strict import HASH_BYTES, NUMBER_MAX

NONCE_LEVELS: Final = 63


def new_secret() -> bytes:
    """Return a fresh secret for one session, 32 bytes."""
    return secrets.token_bytes(HASH_BYTES)


def nonce(secret: bytes, seq: int) -> bytes:
    """Return the nonce of record ``seq``."""
    return next(nonces(secret, seq, seq + 1))


def nonces(secret: bytes, start: int, end: int) -> Iterator[bytes]:
    """Yield the nonces of the records from ``start`` up to ``end``, about two hashes each."""
    return _leaves(secret, NONCE_LEVELS, 0, start, end)


def prefix_secrets(secret: bytes, count: int) -> list[bytes]:
    """Return the nodes that give the nonces of the first ``count`` records, and of no other."""
    return [_descend(secret, NONCE_LEVELS, start, level) for start, level in _parts(count)]


def prefix_nonces(secrets_: Sequence[bytes], count: int) -> Iterator[bytes]:
    """Yield the nonces of the first ``count`` records from :func:`prefix_secrets`.

    Raises :class:`InvalidEvidence` if those are too few, too many or of another length.
    """
    parts = list(_parts(count))
    if len(parts) != len(secrets_) or any(len(one) != HASH_BYTES for one in secrets_):
        raise InvalidEvidence(f"the nonces of {count} records come from {len(parts)} secrets of {HASH_BYTES} bytes")
    for (start, level), secret in zip(parts, secrets_, strict=True):
        yield from _leaves(secret, level, start, start, start + (1 << level))


def record_leaf(nonce_: bytes, record_hash: str) -> bytes:
    """Return the leaf hash of a record in its session's tree."""
    return leaf_hash(nonce_ + bytes.fromhex(record_hash))


def _parts(count: int) -> Iterator[tuple[int, int]]:
    """Yield the perfect subtrees that cover the first ``count`` leaves: where each starts, and its level."""
    if not 0 <= count <= NUMBER_MAX:
        raise InvalidEvidence("a session has fewer than 2^63 records")
    start = 0
    while start < count:
        level = (count - start).bit_length() - 1
        yield start, level
        start += 1 << level


def _descend(secret: bytes, level: int, position: int, target: int) -> bytes:
    """Return the node at level ``target`` above leaf ``position``."""
    while level > target:
        level -= 1
        secret = _child(secret, position >> level & 1)
    return secret


def _leaves(secret: bytes, level: int, first: int, start: int, end: int) -> Iterator[bytes]:
    """Yield the leaves from ``start`` up to ``end`` below the node at ``level``, whose first leaf is ``first``."""
    waiting = [(secret, level, first)] if start < end else []
    while waiting:
        secret, level, first = waiting.pop()
        if level == 0:
            yield secret
            continue
        level -= 1
        middle = first + (1 << level)
        if end > middle:
            waiting.append((_child(secret, 1), level, middle))
        if start < middle:
            waiting.append((_child(secret, 0), level, first))


def _child(secret: bytes, side: int) -> bytes:
    return blake3(b"\x01" if side else b"\x00", key=secret).digest()


__all__ = [
    "NONCE_LEVELS",
    "new_secret",
    "nonce",
    "nonces",
    "prefix_nonces",
    "prefix_secrets",
    "record_leaf",
]
