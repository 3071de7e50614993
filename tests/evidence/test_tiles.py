"""Tiles and proof files: the published example, every size's tiles, and flipped bytes."""

import pytest
from evidence_vectors import CHECKPOINT, COSIGNED, ENTRIES, LOG, PROOF_OF_3, TREE, WITNESS
from hypothesis import given, settings
from hypothesis import strategies as st

from sessionlog.evidence import (
    InvalidEvidence,
    Tile,
    TiledNodes,
    TlogProof,
    Tree,
    consistency_proof,
    encode_entry_tile,
    inclusion_proof,
    leaf_hash,
    open_checkpoint,
    parse_entry_tile,
    parse_hash_tile,
    parse_tlog_proof,
    root,
    tiles_of,
    verify_inclusion,
)
from sessionlog.evidence.tiles import ENTRY_BYTES_MAX
from sessionlog.evidence.tlog_proof import TLOG_PROOF_BYTES_MAX


def test_paths_are_spelt_as_published() -> None:
    """Groups of three digits, all but the last with an x; a partial tile's width stands behind ``.p``."""
    assert Tile(0, 1234067).path == "tile/0/x001/x234/067"
    assert Tile("entries", 0, 7).path == "tile/entries/000.p/7"
    assert Tile(1, 1000, 1).path == "tile/1/x001/000.p/1"
    assert [tile.path for tile in tiles_of(256)] == ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]
    assert [tile.path for tile in tiles_of(7)] == ["tile/entries/000.p/7", "tile/0/000.p/7"]


def test_the_example_log() -> None:
    """The entries of the published log, as a tile."""
    data = encode_entry_tile(ENTRIES)
    assert data.startswith(bytes.fromhex("0007656e7472792030000765"))
    assert parse_entry_tile(data, Tile("entries", 0, 7)) == ENTRIES


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 66_000), st.integers(0, 66_000), st.data())
def test_a_log_is_read_from_its_tiles(size: int, since: int, data: st.DataObject) -> None:
    """Root and proofs from the tiles are those of the tree; written by increments, no tile is missing."""
    size, since = max(size, since), min(size, since)
    tree = _TREE
    written: dict[str, bytes] = {}
    for before, after in ((0, since), (since, size)):
        written |= {tile.path: _hashes(tree, tile) for tile in tiles_of(after, since=before)}
    nodes = TiledNodes(size, lambda tile: written[tile.path])
    assert root(size, nodes) == tree.root(size)
    if size:
        index = data.draw(st.integers(0, size - 1))
        assert inclusion_proof(index, size, nodes) == inclusion_proof(index, size, tree.node)
    assert consistency_proof(since, size, nodes) == consistency_proof(since, size, tree.node)


def test_every_flipped_byte_of_a_tile_is_found() -> None:
    """A changed hash makes another root; a changed entry another leaf, or a tile that does not parse."""
    tile = Tile(0, 0, 7)
    hashes = b"".join(map(leaf_hash, ENTRIES))
    for at in range(len(hashes)):
        changed = hashes[:at] + bytes([hashes[at] ^ 1]) + hashes[at + 1 :]
        assert root(7, TiledNodes(7, lambda _, data=changed: data)) != CHECKPOINT.root  # type: ignore[misc]
    entries = encode_entry_tile(ENTRIES)
    for at in range(len(entries)):
        changed = entries[:at] + bytes([entries[at] ^ 1]) + entries[at + 1 :]
        try:
            found = parse_entry_tile(changed, Tile("entries", 0, 7))
        except InvalidEvidence:
            continue
        assert Tree(map(leaf_hash, found)).root() != CHECKPOINT.root
    for data in (hashes[:-1], hashes + b"x", b""):
        with pytest.raises(InvalidEvidence):
            parse_hash_tile(data, tile)


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x00\x01", b"\x00\x01a\x00\x01b", b"\x00\x01a\x00"])
def test_misshapen_entry_tiles_are_refused(data: bytes) -> None:
    """Exactly as many whole entries as the tile is wide."""
    with pytest.raises(InvalidEvidence):
        parse_entry_tile(data, Tile("entries", 0, 1))


def test_entries_have_a_limit() -> None:
    """65,535 bytes fit, one more does not."""
    assert len(parse_entry_tile(encode_entry_tile([bytes(ENTRY_BYTES_MAX)]), Tile("entries", 0, 1))[0]) == 65_535
    with pytest.raises(ValueError, match="65535"):
        encode_entry_tile([bytes(ENTRY_BYTES_MAX + 1)])


def test_a_tile_that_is_not_there_is_told() -> None:
    """Nodes beyond the log's size are refused, not made up."""
    nodes = TiledNodes(7, lambda tile: bytes(32 * tile.width))
    for level, index in ((0, 7), (3, 0), (8, 0), (0, 256), (2, 1)):
        with pytest.raises(InvalidEvidence):
            nodes(level, index)


def test_the_published_proof() -> None:
    """It reads, verifies, and is made again byte for byte."""
    proof = parse_tlog_proof(PROOF_OF_3)
    checkpoint = open_checkpoint(proof.checkpoint, [LOG.key], [WITNESS.key]).checkpoint
    verify_inclusion(leaf_hash(ENTRIES[3]), proof.index, checkpoint.size, proof.hashes, checkpoint.root)
    assert proof.encode() == PROOF_OF_3
    assert TlogProof(3, inclusion_proof(3, 7, TREE.node), COSIGNED).encode() == PROOF_OF_3
    with_extra = TlogProof(3, [], COSIGNED, b"\x00anything")
    assert parse_tlog_proof(with_extra.encode()) == with_extra


def test_every_flipped_byte_of_a_proof_is_refused() -> None:
    """No byte of a proof file can be changed, the witness's name and key id aside: then it counts as not cosigned."""
    for at in range(len(PROOF_OF_3)):
        changed = PROOF_OF_3[:at] + bytes([PROOF_OF_3[at] ^ 1]) + PROOF_OF_3[at + 1 :]
        try:
            proof = parse_tlog_proof(changed)
            opened = open_checkpoint(proof.checkpoint, [LOG.key], [WITNESS.key])
            size, root_ = opened.checkpoint.size, opened.checkpoint.root
            verify_inclusion(leaf_hash(ENTRIES[3]), proof.index, size, proof.hashes, root_)
        except InvalidEvidence:
            continue
        assert not opened.cosignatures


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        PROOF_OF_3.replace(b"@v1", b"@v2"),
        PROOF_OF_3.replace(b"index 3\n", b""),
        PROOF_OF_3.replace(b"index 3\n", b"index 03\n"),
        PROOF_OF_3.replace(b"index 3\n", b"index 3\nindex 3\n"),
        PROOF_OF_3.replace(b"index 3\n", b"index 3\nextra AAAA\n"),
        PROOF_OF_3.replace(b"index 3\n", b"extra AAA\nindex 3\n"),
        PROOF_OF_3.replace(b"index 3\n", b"index 3\n" + b"V8efTzGuApxdS9MLBzwnyU35NDiytGl+Hh7vW8A5SkE=\n" * 61),
        PROOF_OF_3.replace(b"SkE=", b"SkF="),
        PROOF_OF_3.replace(b"\n", b"\r\n"),
        b" " * (TLOG_PROOF_BYTES_MAX + 1),
    ],
)
def test_misshapen_proofs_are_refused(data: bytes) -> None:
    """A proof file has one spelling, and a bounded size."""
    with pytest.raises(InvalidEvidence):
        parse_tlog_proof(data)


_LEAVES = [leaf_hash(b"%d" % n) for n in range(66_000)]
_TREE = Tree(_LEAVES)


def _hashes(tree: Tree, tile: Tile) -> bytes:
    if tile.level == "entries":
        return b""
    first = tile.index * 256
    return b"".join(tree.node(8 * tile.level, index) for index in range(first, first + tile.width))
