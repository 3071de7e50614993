"""The catalog trie: one leaf for each session ever anchored, found by its id, with proofs that one is there or is not.

A binary trie over SHA-256(session id), bits from the top, of which only the branches stand:

    leaf   = SHA-256(03 || SHA-256(session id) || SHA-256(statement))
    branch = SHA-256(02 || bit index, 2 bytes || left || right)     an empty trie is 32 zero bytes

Whoever verifies takes the turn at each branch from the session's id, never from the proof. So under one root there is
one way for an id, and at its end the id's own leaf, or another's: not both, and never two leaves for one session,
unless SHA-256 collides.

A leaf shows the hash of an id and of a statement only. A proof of absence, which shows the leaf that stands in the
session's place, so gives away neither the id nor the length of another session.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from .errors import InvalidEvidence
from .strict import HASH_BYTES

EMPTY_CATALOG: Final = bytes(HASH_BYTES)
TRIE_BITS: Final = 256


class TrieLeaf(msgspec.Struct, frozen=True, order=True):
    """A session in the catalog: the hashes of its id and of its statement."""

    key: bytes
    statement_hash: bytes

    def hash(self) -> bytes:
        """Return the leaf's hash."""
        return hashlib.sha256(b"\x03" + self.key + self.statement_hash).digest()


class TrieStep(msgspec.Struct, frozen=True):
    """A branch on the way to a leaf: which bit it tells apart, and what stands on its other side."""

    bit: int
    sibling: bytes


class TriePath(msgspec.Struct, frozen=True):
    """Where the way of a session's id ends: at ``leaf`` (``None``: the catalog is empty), the steps from there up."""

    leaf: TrieLeaf | None
    steps: Sequence[TrieStep]


def trie_key(session_id: str) -> bytes:
    """Return the key of a session."""
    return hashlib.sha256(session_id.encode()).digest()


def trie_leaf(session_id: str, statement: bytes) -> TrieLeaf:
    """Return the leaf of a session whose statement is ``statement``."""
    return TrieLeaf(trie_key(session_id), hashlib.sha256(statement).digest())


class _Branch:
    """A branch: the bit that its two sides differ in, and its hash once that was asked for."""

    __slots__ = ("bit", "hashed", "sides")

    def __init__(self, bit: int, left: "_Node", right: "_Node") -> None:
        self.bit = bit
        self.sides: list[_Node] = [left, right]
        self.hashed: bytes | None = None

    def hash(self) -> bytes:
        if self.hashed is None:
            self.hashed = branch_hash(self.bit, self.sides[0].hash(), self.sides[1].hash())
        return self.hashed


_Node: TypeAlias = TrieLeaf | _Branch


class Trie:
    """The catalog as a whole. A session that is put costs about log2(n) hashes at the next root."""

    def __init__(self, leaves: Iterable[TrieLeaf] = ()) -> None:
        """Begin with ``leaves``, in any order; of those with one key the last counts."""
        ordered = sorted({leaf.key: leaf for leaf in leaves}.values())
        self._top: _Node | None = _build(ordered, 0, len(ordered)) if ordered else None

    @classmethod
    def of(cls, statements: Mapping[str, bytes]) -> "Trie":
        """Return the trie of sessions, each id with its statement."""
        return cls(trie_leaf(session_id, statement) for session_id, statement in statements.items())

    def root(self) -> bytes:
        """Return the root."""
        return EMPTY_CATALOG if self._top is None else self._top.hash()

    def put(self, leaf: TrieLeaf) -> None:
        """Add a leaf, or replace the one with its key."""
        found = self._way(leaf.key)[0]
        if found is None:
            self._top = leaf
            return
        bit = _first_difference(found.key, leaf.key)
        above: _Branch | None = None
        node = self._top
        while isinstance(node, _Branch) and node.bit < bit:
            node.hashed = None
            above, node = node, node.sides[bit_of(leaf.key, node.bit)]
        new: _Node = leaf
        if bit < TRIE_BITS and node is not None:
            new = _Branch(bit, node, leaf) if bit_of(leaf.key, bit) else _Branch(bit, leaf, node)
        if above is None:
            self._top = new
        else:
            above.sides[bit_of(leaf.key, above.bit)] = new

    def path(self, session_id: str) -> TriePath:
        """Return where the way of ``session_id`` ends: :func:`verify_path` takes it."""
        key = trie_key(session_id)
        leaf, branches = self._way(key)
        steps = [TrieStep(one.bit, one.sides[1 - bit_of(key, one.bit)].hash()) for one in branches]
        return TriePath(leaf, steps[::-1])

    def _way(self, key: bytes) -> tuple[TrieLeaf | None, list[_Branch]]:
        """Return the leaf to which the bits of ``key`` lead, and the branches on the way."""
        branches: list[_Branch] = []
        node = self._top
        while isinstance(node, _Branch):
            branches.append(node)
            node = node.sides[bit_of(key, node.bit)]
        return node, branches


def _build(leaves: Sequence[TrieLeaf], start: int, end: int) -> _Node:
    """Return the trie of the sorted ``leaves`` from ``start`` up to ``end``; recursion is as deep as a key has bits."""
    if end - start == 1:
        return leaves[start]
    first, last = leaves[start].key, leaves[end - 1].key
    bit = _first_difference(first, last)
    low = TRIE_BITS - 1 - bit
    split = (int.from_bytes(last, "big") >> low << low).to_bytes(HASH_BYTES, "big")
    middle = bisect_left(leaves, split, start, end, key=lambda leaf: leaf.key)
    return _Branch(bit, _build(leaves, start, middle), _build(leaves, middle, end))


def _first_difference(one: bytes, other: bytes) -> int:
    """Return the first bit in which two keys differ; ``TRIE_BITS`` if they are equal."""
    return TRIE_BITS - (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_length()


def branch_hash(bit: int, left: bytes, right: bytes) -> bytes:
    """Return the hash of a branch."""
    return hashlib.sha256(b"\x02" + bit.to_bytes(2, "big") + left + right).digest()


def bit_of(key: bytes, bit: int) -> int:
    """Return bit ``bit`` of a key, 0 being the highest of its first byte."""
    return key[bit >> 3] >> (7 - (bit & 7)) & 1


def verify_path(session_id: str, path: TriePath, root: bytes) -> TrieLeaf | None:
    """Return the session's own leaf under ``root``; ``None`` if the path shows that there is none.

    Raises :class:`InvalidEvidence` if the path is misshapen or does not lead to ``root``.
    """
    key = trie_key(session_id)
    leaf = path.leaf
    if leaf is None:
        if path.steps or root != EMPTY_CATALOG:
            raise InvalidEvidence("the catalog is not empty, so its proof must lead to a leaf")
        return None
    bits = [step.bit for step in path.steps]
    if any(not 0 <= bit < TRIE_BITS for bit in bits) or sorted(set(bits), reverse=True) != bits:
        raise InvalidEvidence("the branches of a catalog proof do not follow each other")
    if any(len(part) != HASH_BYTES for part in (leaf.key, leaf.statement_hash, *(one.sibling for one in path.steps))):
        raise InvalidEvidence(f"a hash of the catalog has {HASH_BYTES} bytes")
    result = leaf.hash()
    for step in path.steps:
        turn = bit_of(key, step.bit)
        if bit_of(leaf.key, step.bit) != turn:
            raise InvalidEvidence("the leaf of the catalog proof does not stand on the session's way")
        result = branch_hash(step.bit, step.sibling, result) if turn else branch_hash(step.bit, result, step.sibling)
    if result != root:
        raise InvalidEvidence("the catalog proof does not lead to the root of the catalog")
    return leaf if leaf.key == key else None


__all__ = [
    "EMPTY_CATALOG",
    "TRIE_BITS",
    "Trie",
    "TrieLeaf",
    "TriePath",
    "TrieStep",
    "trie_key",
    "trie_leaf",
    "verify_path",
]
