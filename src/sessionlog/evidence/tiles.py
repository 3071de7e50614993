"""Tiles: a log's hashes and entries as static files of up to 256 each (C2SP tlog-tiles).

``tile/<L>/<N>[.p/<W>]`` holds the hashes of perfect subtrees of ``256^L`` leaves, 32 bytes each; level L+1 holds the
roots of full tiles of level L. ``tile/entries/<N>[.p/<W>]`` holds entries, each behind its length as 2 big-endian
bytes. ``W`` is the width of a partial tile, 1 to 255; a full one has none.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from .errors import InvalidEvidence
from .merkle import node_hash
from .strict import HASH_BYTES

TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 1 << TILE_HEIGHT
ENTRY_BYTES_MAX: Final = 65_535
TILE_LEVEL_MAX: Final = 7
"""A tree of fewer than 2^63 leaves has no tile above."""
ENTRY_TILE_BYTES_MAX: Final = TILE_WIDTH * (2 + ENTRY_BYTES_MAX)

TileLevel: TypeAlias = int | Literal["entries"]


class Tile(msgspec.Struct, frozen=True):
    """The place of a tile: level, index and width."""

    level: TileLevel
    index: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """Its path below the log's directory; 1234067 is spelt ``x001/x234/067``."""
        digits = f"{self.index:03d}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        *before, last = (digits[at : at + 3] for at in range(0, len(digits), 3))
        index = "".join(f"x{part}/" for part in before) + last
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{self.level}/{index}{partial}"


def tiles_of(size: int, *, since: int = 0) -> Iterator[Tile]:
    """Yield the tiles of a log of ``size`` entries that a log of ``since`` entries does not have."""
    for index in range(since // TILE_WIDTH, -(-size // TILE_WIDTH)):
        if size > since:
            yield Tile("entries", index, _width(size, index))
    level, new, old = 0, size, since
    while new > old:
        for index in range(old // TILE_WIDTH, -(-new // TILE_WIDTH)):
            yield Tile(level, index, _width(new, index))
        level, new, old = level + 1, new >> TILE_HEIGHT, old >> TILE_HEIGHT


def _width(count: int, index: int) -> int:
    return min(TILE_WIDTH, count - index * TILE_WIDTH)


def parse_hash_tile(data: bytes, tile: Tile) -> list[bytes]:
    """Return the hashes of a tile. Raises :class:`InvalidEvidence` if it holds another number of them."""
    if len(data) != tile.width * HASH_BYTES:
        raise InvalidEvidence(f"{tile.path} has {len(data)} bytes, not {tile.width * HASH_BYTES}")
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]


def encode_entry_tile(entries: Sequence[bytes]) -> bytes:
    """Return the bytes of a tile of entries. Raises ``ValueError`` for one that is too long."""
    if any(len(entry) > ENTRY_BYTES_MAX for entry in entries):
        raise ValueError(f"an entry of a log has at most {ENTRY_BYTES_MAX} bytes")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def parse_entry_tile(data: bytes, tile: Tile) -> list[bytes]:
    """Return the entries of a tile. Raises :class:`InvalidEvidence` unless they are as many as it is wide."""
    entries: list[bytes] = []
    at = 0
    while at < len(data) and len(entries) < tile.width:
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if len(data) - at < 2 or end > len(data):
            raise InvalidEvidence(f"{tile.path} ends inside an entry")
        entries.append(data[at + 2 : end])
        at = end
    if len(entries) != tile.width or at != len(data):
        raise InvalidEvidence(f"{tile.path} does not hold exactly {tile.width} entries")
    return entries


class TiledNodes:
    """Perfect subtrees of a log of ``size`` entries, read from its tiles; calling it is a ``NodeReader``.

    What it gives is as good as the tiles: compare the root that comes of it with a checkpoint's.
    """

    def __init__(self, size: int, read: Callable[[Tile], bytes]) -> None:
        """Read tiles with ``read``, each at most once."""
        self._size = size
        self._read = read
        self._tiles: dict[tuple[int, int], list[bytes]] = {}

    def __call__(self, level: int, index: int) -> bytes:
        """Return the hash of perfect subtree ``index`` at ``level``. Raises :class:`InvalidEvidence`."""
        tile_level, height = divmod(level, TILE_HEIGHT)
        first = index << height
        hashes = self._tile(tile_level, first // TILE_WIDTH)
        start = first % TILE_WIDTH
        nodes = hashes[start : start + (1 << height)]
        if len(nodes) != 1 << height:
            raise InvalidEvidence(f"the log of {self._size} entries has no whole subtree {index} at level {level}")
        while len(nodes) > 1:
            nodes = [node_hash(nodes[at], nodes[at + 1]) for at in range(0, len(nodes), 2)]
        return nodes[0]

    def _tile(self, level: int, index: int) -> list[bytes]:
        key = (level, index)
        if key not in self._tiles:
            tile = Tile(level, index, _width(self._size >> TILE_HEIGHT * level, index))
            if tile.width < 1:
                raise InvalidEvidence(f"the log of {self._size} entries has no {tile.path}")
            self._tiles[key] = parse_hash_tile(self._read(tile), tile)
        return self._tiles[key]


__all__ = [
    "ENTRY_BYTES_MAX",
    "ENTRY_TILE_BYTES_MAX",
    "TILE_HEIGHT",
    "TILE_LEVEL_MAX",
    "TILE_WIDTH",
    "Tile",
    "TiledNodes",
    "encode_entry_tile",
    "parse_entry_tile",
    "parse_hash_tile",
    "tiles_of",
]
