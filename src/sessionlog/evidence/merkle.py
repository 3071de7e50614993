"""The Merkle tree of RFC 6962 section 2.1 with SHA-256: roots, inclusion and consistency proofs, incremental growth.

    leaf_hash(d)    = SHA-256(00 || d)           node_hash(l, r) = SHA-256(01 || l || r)
    root of 0       = SHA-256("")                root of n       = node_hash(root of the first k, root of the rest)
                                                 where k is the largest power of two below n

Every subtree that a proof needs covers a range that is cut into perfect subtrees: ``2^level`` leaves, from a multiple
of that on. So all of this works on a :data:`NodeReader`, which gives the hash of perfect subtree ``index`` at
``level``: :class:`Tree` keeps them in memory, tiles keep them in files.

    verify_inclusion(leaf, i, n, inclusion_proof(i, n, nodes), root(n, nodes))                  does not raise
    verify_consistency(m, n, consistency_proof(m, n, nodes), root(m, nodes), root(n, nodes))    does not raise

Verification follows RFC 9162 sections 2.1.3.2 and 2.1.4.2. A proof that is longer or shorter than the tree asks for is
refused.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

from .errors import InvalidEvidence
from .strict import HASH_BYTES, NUMBER_MAX

NodeReader: TypeAlias = Callable[[int, int], bytes]
"""Returns the hash of a perfect subtree by its level (0: the leaves) and its index among those of the level."""

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
PROOF_HASHES_MAX: Final = 63
"""No proof in a tree of fewer than 2^63 leaves is longer."""


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf that holds ``data``."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of the node above two others."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(size: int, nodes: NodeReader) -> bytes:
    """Return the root of the first ``size`` leaves."""
    return _range_hash(0, size, nodes) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, nodes: NodeReader) -> list[bytes]:
    """Return the siblings on the way from leaf ``index`` up to the root of ``size`` leaves.

    Raises ``ValueError`` unless 0 <= index < size.
    """
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    start, end = 0, size
    path: list[bytes] = []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range_hash(middle, end, nodes))
            end = middle
        else:
            path.append(_range_hash(start, middle, nodes))
            start = middle
    return path[::-1]


def consistency_proof(old: int, new: int, nodes: NodeReader) -> list[bytes]:
    """Return the proof that the tree of ``new`` leaves begins with the ``old`` ones; empty for 0 and for equal sizes.

    Raises ``ValueError`` unless 0 <= old <= new.
    """
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} leaves does not extend one of {old}")
    if old in (0, new):
        return []
    start, end = 0, new
    path: list[bytes] = []
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_range_hash(middle, end, nodes))
            end = middle
        else:
            path.append(_range_hash(start, middle, nodes))
            start = middle
    if start:
        path.append(_range_hash(start, end, nodes))
    return path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root_hash: bytes) -> None:
    """Check that the leaf hash ``leaf`` stands at ``index`` of the tree. Raises :class:`InvalidEvidence`."""
    if root_from_inclusion(leaf, index, size, proof) != root_hash:
        raise InvalidEvidence(f"the inclusion proof does not lead from leaf {index} to the root of {size} leaves")


def root_from_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Return the root to which an inclusion proof leads. Raises :class:`InvalidEvidence` if it is misshapen."""
    if not 0 <= index < size <= NUMBER_MAX:
        raise InvalidEvidence(f"there is no leaf {index} in a tree of {size}")
    _check_hashes([leaf, *proof])
    result = leaf
    for sibling, is_left in zip(proof, _sides(index, size - 1, len(proof)), strict=True):
        result = node_hash(sibling, result) if is_left else node_hash(result, sibling)
    return result


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Check that the tree of ``new`` leaves begins with that of ``old``. Raises :class:`InvalidEvidence`."""
    if not 0 <= old <= new <= NUMBER_MAX:
        raise InvalidEvidence(f"a tree of {new} leaves does not extend one of {old}")
    _check_hashes([*proof, old_root, new_root])
    if (old == 0 and old_root != EMPTY_ROOT) or (old == new and old_root != new_root):
        raise InvalidEvidence("the two roots differ: these are not the same history")
    if old in (0, new):
        if proof:
            raise InvalidEvidence(f"from {old} to {new} leaves the consistency proof must be empty")
        return
    hashes = list(proof)
    if old & (old - 1) == 0:  # the old tree is a perfect subtree of the new one, and its root is not sent
        hashes.insert(0, old_root)
    if not hashes:
        raise InvalidEvidence("the consistency proof is too short for the tree")
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    from_old = from_new = hashes[0]
    for sibling, is_left in zip(hashes[1:], _sides(node, last, len(hashes) - 1), strict=True):
        if is_left:
            from_old, from_new = node_hash(sibling, from_old), node_hash(sibling, from_new)
        else:
            from_new = node_hash(from_new, sibling)
    if from_old != old_root or from_new != new_root:
        raise InvalidEvidence(f"the tree of {new} leaves does not extend that of {old}: these are two histories")


class Frontier:
    """A tree of which only the right edge is kept, at most 63 hashes: it grows, and tells its root."""

    __slots__ = ("size", "stack")

    def __init__(self, size: int = 0, stack: Iterable[bytes] = ()) -> None:
        """Go on from a tree of ``size`` leaves; ``stack`` is what :attr:`stack` was then. Raises InvalidEvidence."""
        self.size: int = size
        self.stack: list[bytes] = list(stack)
        if len(self.stack) != size.bit_count():
            raise InvalidEvidence(f"a tree of {size} leaves has another edge than one of {len(self.stack)} hashes")
        _check_hashes(self.stack)

    def push(self, leaf: bytes) -> None:
        """Add the leaf hash ``leaf``."""
        index = self.size
        while index & 1:
            leaf = node_hash(self.stack.pop(), leaf)
            index >>= 1
        self.stack.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """Return the root of all leaves so far."""
        if not self.stack:
            return EMPTY_ROOT
        result = self.stack[-1]
        for left in reversed(self.stack[:-1]):
            result = node_hash(left, result)
        return result


class Tree:
    """A tree that keeps every perfect subtree, about two hashes for each leaf; :meth:`node` is a ``NodeReader``."""

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        """Begin with the leaf hashes ``leaves``."""
        self._levels: list[list[bytes]] = [[]]
        for leaf in leaves:
            self.push(leaf)

    @property
    def size(self) -> int:
        """How many leaves there are."""
        return len(self._levels[0])

    def push(self, leaf: bytes) -> None:
        """Add the leaf hash ``leaf``."""
        level = 0
        self._levels[0].append(leaf)
        while not len(self._levels[level]) & 1:
            below = self._levels[level]
            level += 1
            if level == len(self._levels):
                self._levels.append([])
            self._levels[level].append(node_hash(below[-2], below[-1]))

    def node(self, level: int, index: int) -> bytes:
        """Return the hash of a perfect subtree."""
        return self._levels[level][index]

    def root(self, size: int | None = None) -> bytes:
        """Return the root of the first ``size`` leaves, by default of all."""
        return root(self.size if size is None else size, self.node)


def _sides(node: int, last: int, count: int) -> list[bool]:
    """Return for each of ``count`` siblings, from ``node`` up to the root, whether it is the left one.

    ``last`` is the last node of the level. Raises :class:`InvalidEvidence` if the way has another length.
    """
    sides: list[bool] = []
    while last and len(sides) < count:
        is_left = bool(node & 1) or node == last
        while is_left and node and not node & 1:  # levels at which the node has no sibling
            node, last = node >> 1, last >> 1
        sides.append(is_left)
        node, last = node >> 1, last >> 1
    if last or len(sides) < count:
        raise InvalidEvidence(f"the proof is too {'short' if last else 'long'} for the tree")
    return sides


def _split(size: int) -> int:
    """Return the largest power of two below ``size``."""
    return 1 << (size - 1).bit_length() - 1


def _range_hash(start: int, end: int, nodes: NodeReader) -> bytes:
    """Return the root of the leaves from ``start`` up to ``end``, as if they were a tree.

    ``start`` is a multiple of the largest power of two in ``end - start``, so each part is a perfect subtree.
    """
    parts: list[bytes] = []
    while start < end:
        level = (end - start).bit_length() - 1
        parts.append(nodes(level, start >> level))
        start += 1 << level
    result = parts.pop()
    while parts:
        result = node_hash(parts.pop(), result)
    return result


def _check_hashes(hashes: Sequence[bytes]) -> None:
    if len(hashes) > PROOF_HASHES_MAX + 2:
        raise InvalidEvidence(f"a proof holds {len(hashes)} hashes: no tree is so high")
    if any(len(one) != HASH_BYTES for one in hashes):
        raise InvalidEvidence(f"a hash of a Merkle tree has {HASH_BYTES} bytes")
