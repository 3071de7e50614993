"""The anchor log in its tiles: reading entries and hashes, and growing."""

from collections.abc import Iterator, Sequence
from typing import Final

from .anchor_files import EvidenceDirectory
from .errors import InvalidEvidence
from .log_entries import AnchorEntry, ReceiptEntry, parse_log_entry
from .merkle import Frontier, leaf_hash, node_hash, root
from .strict import HASH_BYTES
from .tiles import (
    ENTRY_TILE_BYTES_MAX,
    TILE_HEIGHT,
    TILE_WIDTH,
    Tile,
    TiledNodes,
    TileLevel,
    encode_entry_tile,
    parse_entry_tile,
    tiles_of,
)

_HASH_TILE_BYTES_MAX: Final = TILE_WIDTH * HASH_BYTES


class AnchorLog:
    """The first ``size`` entries of the log in a directory. All calls block.

    What it gives is as good as the files: :meth:`root` is to be compared with what was signed.
    """

    def __init__(self, directory: EvidenceDirectory, size: int) -> None:
        """Read below ``directory``; nothing is read yet."""
        self._directory = directory
        self.size: int = size
        self.nodes: TiledNodes = TiledNodes(size, self.read_tile)

    def read_tile(self, tile: Tile) -> bytes:
        """Return a tile's bytes. Raises :class:`InvalidEvidence` if it is not there."""
        bytes_max = ENTRY_TILE_BYTES_MAX if tile.level == "entries" else _HASH_TILE_BYTES_MAX
        data = self._directory.read(tile.path, bytes_max)
        if data is None:
            raise InvalidEvidence(f"{self._directory.path(tile.path)} is missing")
        return data

    def root(self, size: int | None = None) -> bytes:
        """Return the root of the first ``size`` entries, by default of all, from the tiles of hashes."""
        return root(self.size if size is None else size, self.nodes)

    def frontier(self) -> Frontier:
        """Return the right edge, for growing."""
        stack: list[bytes] = []
        start = 0
        while start < self.size:
            level = (self.size - start).bit_length() - 1
            stack.append(self.nodes(level, start >> level))
            start += 1 << level
        return Frontier(self.size, stack)

    def entries(self, start: int = 0) -> Iterator[bytes]:
        """Yield the entries from ``start`` on, one tile in memory. Raises :class:`InvalidEvidence`."""
        for index in range(start // TILE_WIDTH, -(-self.size // TILE_WIDTH)):
            first = index * TILE_WIDTH
            entries = self._entry_tile(index)
            yield from entries[max(0, start - first) :]

    def entry(self, index: int) -> AnchorEntry | ReceiptEntry:
        """Return one entry. Raises :class:`InvalidEvidence`, also if it is not the one whose hash is in the log."""
        tile, place = divmod(index, TILE_WIDTH)
        if not 0 <= index < self.size:
            raise InvalidEvidence(f"the anchor log of {self.size} entries has no entry {index}")
        data = self._entry_tile(tile)[place]
        if leaf_hash(data) != self.nodes(0, index):
            raise InvalidEvidence(f"entry {index} of the anchor log is not the one whose hash the log holds")
        return parse_log_entry(data)

    def anchor(self) -> AnchorEntry:
        """Return the newest anchor, which is the last entry. Raises :class:`InvalidEvidence`."""
        entry = self.entry(self.size - 1)
        if not isinstance(entry, AnchorEntry):
            raise InvalidEvidence("the last entry of the anchor log is not an anchor")
        return entry

    def _entry_tile(self, index: int) -> list[bytes]:
        tile = Tile("entries", index, min(TILE_WIDTH, self.size - index * TILE_WIDTH))
        return parse_entry_tile(self.read_tile(tile), tile)

    def grow(self, entries: Sequence[bytes]) -> "AnchorLog":
        """Write the tiles of a log that goes on with ``entries``; return that log, read back and compared.

        Nothing that a log of this size needs is changed. Raises :class:`InvalidEvidence` if the files do not read back
        as what was written, and :class:`StoreFailed`.
        """
        frontier = self.frontier()
        leaves = [leaf_hash(entry) for entry in entries]
        for leaf in leaves:
            frontier.push(leaf)
        grown = AnchorLog(self._directory, self.size + len(entries))
        for tile in tiles_of(grown.size, since=self.size):
            self._directory.write({tile.path: self._grown_tile(tile, grown, entries, leaves)})
        back = AnchorLog(self._directory, grown.size)
        if back.root() != frontier.root() or list(back.entries(self.size)) != list(entries):
            raise InvalidEvidence("the tiles of the anchor log do not read back as they were written")
        return back

    def prune(self) -> None:
        """Remove the partial tiles of which this log has the full one (C2SP tlog-tiles); every checkpoint needs those.

        Oldest first, so a run that is killed leaves the rest to the next one. Raises :class:`StoreFailed`.
        """
        levels: list[tuple[TileLevel, int]] = [("entries", self.size >> TILE_HEIGHT)]
        full = self.size >> TILE_HEIGHT
        while full:
            levels.append((len(levels) - 1, full))
            full >>= TILE_HEIGHT
        for level, count in levels:
            folders: list[str] = []
            for index in reversed(range(count)):
                folder = f"{Tile(level, index).path}.p"
                if not self._directory.names(folder):
                    break
                folders.append(folder)
            for folder in reversed(folders):
                self._directory.remove_all(folder)

    def _grown_tile(self, tile: Tile, grown: "AnchorLog", entries: Sequence[bytes], leaves: Sequence[bytes]) -> bytes:
        first, end = tile.index * TILE_WIDTH, tile.index * TILE_WIDTH + tile.width
        if tile.level == "entries":
            kept = self._entry_tile(tile.index) if first < self.size else []
            return encode_entry_tile([*kept, *entries[max(0, first - self.size) : end - self.size]])
        if tile.level == 0:
            known = [self.nodes(0, index) for index in range(first, min(end, self.size))]
            return b"".join([*known, *leaves[max(0, first - self.size) : end - self.size]])
        below = TILE_HEIGHT * tile.level - 1  # whose tiles are written by now
        return b"".join(
            node_hash(grown.nodes(below, 2 * index), grown.nodes(below, 2 * index + 1)) for index in range(first, end)
        )
