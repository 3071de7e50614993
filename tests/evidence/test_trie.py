"""The catalog trie: presence and absence, against a plain implementation, and what a forger might try."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionlog.evidence import InvalidEvidence, Trie, TrieLeaf, TriePath, TrieStep, trie_leaf, verify_path
from sessionlog.evidence.trie import EMPTY_CATALOG, branch_hash, trie_key

ids = st.text("abcdefgh", min_size=1, max_size=3)
catalogs = st.dictionaries(ids, st.binary(max_size=4), max_size=30)


def plain_root(leaves: dict[str, bytes]) -> bytes:
    """The definition, over keys as strings of bits: a common beginning makes no branch."""
    if not leaves:
        return bytes(32)
    if len(leaves) == 1:
        return next(iter(leaves.values()))
    depth = 0
    while len({bits[depth] for bits in leaves}) == 1:
        depth += 1
    halves = [{bits: leaf for bits, leaf in leaves.items() if bits[depth] == side} for side in "01"]
    sides = [plain_root(half) for half in halves]
    return hashlib.sha256(b"\x02" + depth.to_bytes(2, "big") + sides[0] + sides[1]).digest()


def plain_leaves(catalog: dict[str, bytes]) -> dict[str, bytes]:
    leaves = {}
    for name, statement in catalog.items():
        key = hashlib.sha256(name.encode()).digest()
        bits = f"{int.from_bytes(key, 'big'):0256b}"
        leaves[bits] = hashlib.sha256(b"\x03" + key + hashlib.sha256(statement).digest()).digest()
    return leaves


@given(catalogs)
def test_the_root_is_that_of_the_definition(catalog: dict[str, bytes]) -> None:
    """In whichever order the sessions come."""
    expected = plain_root(plain_leaves(catalog))
    assert Trie.of(catalog).root() == expected
    assert Trie.of(dict(reversed(catalog.items()))).root() == expected


@given(catalogs, ids)
def test_a_session_is_shown_to_be_there_or_not(catalog: dict[str, bytes], name: str) -> None:
    """The path of any id proves which statement it has, or that it has none."""
    trie = Trie.of(catalog)
    leaf = verify_path(name, trie.path(name), trie.root())
    assert leaf == (trie_leaf(name, catalog[name]) if name in catalog else None)


@given(catalogs.filter(lambda catalog: len(catalog) > 1), ids, st.data())
def test_nothing_else_passes(catalog: dict[str, bytes], name: str, data: st.DataObject) -> None:
    """A path with any part changed, left out, swapped or taken from another session is refused."""
    trie = Trie.of(catalog)
    path = trie.path(name)
    assert path.leaf is not None
    steps = list(path.steps)
    at = data.draw(st.integers(0, len(steps) - 1))
    step = steps[at]
    wrong = [
        TriePath(TrieLeaf(_flip(path.leaf.key), path.leaf.statement_hash), steps),
        TriePath(TrieLeaf(path.leaf.key, _flip(path.leaf.statement_hash)), steps),
        TriePath(path.leaf, [*steps[:at], TrieStep(step.bit, _flip(step.sibling)), *steps[at + 1 :]]),
        TriePath(path.leaf, [*steps[:at], TrieStep(step.bit ^ 1, step.sibling), *steps[at + 1 :]]),
        TriePath(path.leaf, [*steps[:at], *steps[at + 1 :]]),
        TriePath(path.leaf, [*steps[: at + 1], *steps[at:]]),
        TriePath(None, steps),
        TriePath(None, []),
    ]
    for other in wrong:
        with pytest.raises(InvalidEvidence):
            verify_path(name, other, trie.root())
    for other_name in catalog:
        if other_name != name and name in catalog:
            with pytest.raises(InvalidEvidence):  # absence cannot be shown by the leaf of another session
                assert verify_path(name, trie.path(other_name), trie.root()) is not None


def test_two_leaves_for_one_session_are_not_both_reachable() -> None:
    """A keeper who builds a tree with a second leaf can prove the one on the session's way, and never the other."""
    name = next(f"s{n}" for n in range(100) if trie_key(f"s{n}")[0] < 0x80)
    old, new = trie_leaf(name, b"old"), trie_leaf(name, b"new")
    forged = branch_hash(0, new.hash(), old.hash())
    assert verify_path(name, TriePath(new, [TrieStep(0, old.hash())]), forged) == new
    for leaf, sibling in ((old, new), (new, old)):
        steps = [TrieStep(0, sibling.hash())]
        if leaf is old:
            with pytest.raises(InvalidEvidence):
                verify_path(name, TriePath(leaf, steps), forged)


def test_a_hidden_session_is_not_shown_to_be_absent_by_a_leaf_off_its_way() -> None:
    """The leaf that shows absence must itself belong where it stands."""
    low, high = ([n for n in (f"s{i}" for i in range(100)) if trie_key(n)[0] >> 7 == side] for side in (0, 1))
    name, hidden = low[0], high[0]
    mine, stray = trie_leaf(name, b"mine"), trie_leaf(hidden, b"stray")
    forged = branch_hash(0, stray.hash(), mine.hash())  # each on the other's side
    with pytest.raises(InvalidEvidence):
        verify_path(name, TriePath(stray, [TrieStep(0, mine.hash())]), forged)


def test_branches_must_follow_each_other() -> None:
    """Bit indexes fall on the way up, each below 256."""
    leaf = trie_leaf("s", b"")
    for bits in ([256], [-1], [3, 3], [3, 4]):
        with pytest.raises(InvalidEvidence):
            verify_path("s", TriePath(leaf, [TrieStep(bit, bytes(32)) for bit in bits]), bytes(32))


def test_the_empty_catalog() -> None:
    """It has a root of zeros, under which every session is absent, and no other root shows that."""
    trie = Trie([])
    assert trie.root() == EMPTY_CATALOG
    assert verify_path("s", trie.path("s"), EMPTY_CATALOG) is None
    with pytest.raises(InvalidEvidence):
        verify_path("s", trie.path("s"), _flip(EMPTY_CATALOG))


def test_a_proof_of_absence_names_no_other_session() -> None:
    """What it shows of the session in whose place the id would stand are hashes."""
    trie = Trie.of({"secret-project": b"statement of secret-project"})
    leaf = trie.path("other").leaf
    assert leaf is not None
    assert {len(leaf.key), len(leaf.statement_hash)} == {32}


@given(catalogs, catalogs)
def test_sessions_are_put_one_by_one(catalog: dict[str, bytes], changes: dict[str, bytes]) -> None:
    """Whatever is put, in whichever order, root and paths are those of a trie that is made at once."""
    trie = Trie.of(catalog)
    trie.root()
    for name, statement in changes.items():
        trie.put(trie_leaf(name, statement))
        catalog = catalog | {name: statement}
        assert trie.root() == Trie.of(catalog).root()
    for name in (*catalog, "not there"):
        assert verify_path(name, trie.path(name), trie.root()) == verify_path(
            name, Trie.of(catalog).path(name), trie.root()
        )


def _flip(hash_: bytes) -> bytes:
    return bytes([hash_[0] ^ 1]) + hash_[1:]
