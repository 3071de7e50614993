"""The Merkle tree against RFC 6962's own definition, published roots, and proofs with something wrong in them."""

import plain_merkle as plain
import pytest
from evidence_vectors import ENTRIES, TREE
from hypothesis import given
from hypothesis import strategies as st

from sessionlog.evidence import (
    Frontier,
    InvalidEvidence,
    Tree,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)
from sessionlog.evidence.merkle import EMPTY_ROOT

CT_LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
CT_ROOTS = {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}
ROOTS = {
    1: "773885a613489e24ce2cf76199d6a423f042e4bbf12d7eecee912ef276c65701",
    3: "94fbd0dd836f50301692e6d0eade728ee19ec52bfff1606ed807c8575d5aaa19",
    4: "9799f307517ef517c2205df9b67762bf34756b20099fb7dfcce76bcebd273b2e",
    5: "7caa345dbd892a66454d6c6512ea3c3ea3f0d3ec21be3fc2e2375705fd38f672",
    7: "98c97f0ba3175cd08b031dd084b9dc4e649b64d1a28e6ea694646503173ab587",
}
entries_lists = st.lists(st.binary(max_size=3), min_size=1, max_size=40)


@pytest.mark.parametrize("size", CT_ROOTS)
def test_ct_roots(size: int) -> None:
    """Certificate Transparency's shared roots come out."""
    assert Tree(map(leaf_hash, CT_LEAVES[:size])).root().hex() == CT_ROOTS[size]


def test_published_roots_and_proofs() -> None:
    """The roots and proofs of the seven-entry example come out."""
    assert {size: TREE.root(size).hex() for size in ROOTS} == ROOTS
    assert [one.hex()[:8] for one in inclusion_proof(3, 7, TREE.node)] == ["57c79f4f", "5a47662f", "94afb8a2"]
    assert [one.hex()[:8] for one in inclusion_proof(6, 7, TREE.node)] == ["dd0379d8", "9799f307"]
    expected = {
        5: ["485335db", "9ff537b6", "be15781b", "9799f307"],
        4: ["94afb8a2"],
        3: ["57c79f4f", "61ca1139", "5a47662f", "94afb8a2"],
    }
    assert {old: [one.hex()[:8] for one in consistency_proof(old, 7, TREE.node)] for old in expected} == expected


@given(entries_lists)
def test_roots_are_those_of_the_definition(entries: list[bytes]) -> None:
    """The tree, the frontier and RFC 6962's recursion agree at every size."""
    tree, frontier = Tree(), Frontier()
    assert tree.root() == frontier.root() == plain.mth([]) == EMPTY_ROOT
    for size, entry in enumerate(entries, start=1):
        tree.push(leaf_hash(entry))
        frontier.push(leaf_hash(entry))
        frontier = Frontier(frontier.size, frontier.stack)
        assert tree.root() == frontier.root() == plain.mth(entries[:size])
    assert all(tree.root(size) == plain.mth(entries[:size]) for size in range(len(entries) + 1))


@given(entries_lists, st.data())
def test_inclusion(entries: list[bytes], data: st.DataObject) -> None:
    """A proof is the definition's and verifies; a change of any part of it, or of what it is about, is refused."""
    entries = [b"%d %s" % one for one in enumerate(entries)]
    size = len(entries)
    index = data.draw(st.integers(0, size - 1))
    tree = Tree(map(leaf_hash, entries))
    proof, root, leaf = inclusion_proof(index, size, tree.node), tree.root(), leaf_hash(entries[index])
    assert proof == plain.path(index, entries)
    verify_inclusion(leaf, index, size, proof, root)
    for wrong in (*_changed(proof), [*proof, root], proof[:-1] if proof else [root]):
        with pytest.raises(InvalidEvidence):
            verify_inclusion(leaf, index, size, wrong, root)
    with pytest.raises(InvalidEvidence):
        verify_inclusion(_flip(leaf), index, size, proof, root)
    with pytest.raises(InvalidEvidence):
        verify_inclusion(leaf, index, size, proof, _flip(root))
    for other in {index - 1, index + 1, index + size} - {-1}:
        with pytest.raises(InvalidEvidence):
            verify_inclusion(leaf, other, size, proof, root)


@given(entries_lists, st.data())
def test_consistency(entries: list[bytes], data: st.DataObject) -> None:
    """A proof is the definition's and verifies; a change of any part of it, or of either root, is refused."""
    new = len(entries)
    old = data.draw(st.integers(0, new))
    tree = Tree(map(leaf_hash, entries))
    proof, old_root, new_root = consistency_proof(old, new, tree.node), tree.root(old), tree.root()
    assert proof == plain.proof(old, entries)
    verify_consistency(old, new, proof, old_root, new_root)
    for wrong in (*_changed(proof), [*proof, new_root], *([proof[:-1]] if proof else [])):
        with pytest.raises(InvalidEvidence):
            verify_consistency(old, new, wrong, old_root, new_root)
    with pytest.raises(InvalidEvidence):
        verify_consistency(old, new, proof, _flip(old_root), new_root)
    if old:
        with pytest.raises(InvalidEvidence):
            verify_consistency(old, new, proof, old_root, _flip(new_root))


@given(entries_lists, st.data())
def test_a_rewritten_history_has_no_consistency_proof(entries: list[bytes], data: st.DataObject) -> None:
    """A log whose past was changed cannot be passed off as an extension by the proof that it would give."""
    new = len(entries)
    old = data.draw(st.integers(1, new))
    changed = data.draw(st.integers(0, old - 1))
    honest = Tree(map(leaf_hash, entries))
    forged = Tree(leaf_hash(entry + b"!" * (n == changed)) for n, entry in enumerate(entries))
    for source in (honest, forged):
        with pytest.raises(InvalidEvidence):
            verify_consistency(old, new, consistency_proof(old, new, source.node), honest.root(old), forged.root())


def test_an_inner_node_is_no_leaf() -> None:
    """The two hashes below a node, taken for an entry, are not included: leaves and nodes hash apart."""
    pair = leaf_hash(ENTRIES[0]) + leaf_hash(ENTRIES[1])
    assert leaf_hash(pair) != node_hash(pair[:32], pair[32:])
    with pytest.raises(InvalidEvidence):
        verify_inclusion(leaf_hash(pair), 0, 4, inclusion_proof(0, 7, TREE.node)[1:], TREE.root())


def test_what_no_tree_has_is_refused() -> None:
    """Sizes, indexes and hash lengths out of range are refused, with bounded work."""
    root = TREE.root()
    for index, size in ((7, 7), (-1, 7), (0, 0), (0, 2**63)):
        with pytest.raises(InvalidEvidence):
            verify_inclusion(root, index, size, [], root)
    for old, new in ((8, 7), (-1, 7), (0, 2**63)):
        with pytest.raises(InvalidEvidence):
            verify_consistency(old, new, [], root, root)
    with pytest.raises(InvalidEvidence):
        verify_inclusion(root, 0, 7, [b"short"] * 3, root)
    with pytest.raises(InvalidEvidence):
        verify_inclusion(root, 0, 2**63 - 1, [root] * 1000, root)
    with pytest.raises(InvalidEvidence):
        Frontier(7, [root])
    with pytest.raises(ValueError, match="no leaf"):
        inclusion_proof(7, 7, TREE.node)
    with pytest.raises(ValueError, match="does not extend"):
        consistency_proof(8, 7, TREE.node)


def _flip(hash_: bytes) -> bytes:
    return bytes([hash_[0] ^ 1]) + hash_[1:]


def _changed(proof: list[bytes]) -> list[list[bytes]]:
    return [[*proof[:n], _flip(proof[n]), *proof[n + 1 :]] for n in range(len(proof))]
