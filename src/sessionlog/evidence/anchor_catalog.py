"""The catalog as the anchors keep it: the statements of every anchor, and what the next run need not read again.

The truth is the files ``catalog/<index>``, whose statements add up to a trie whose root the anchor at that index holds.
The file ``cache`` saves reading them all, and the sessions: it is used only if its statements have that root.
"""

from typing import Final

import msgspec

from .anchor_files import CACHE_BYTES_MAX, EvidenceDirectory
from .anchor_log import AnchorLog
from .errors import InvalidEvidence
from .log_entries import AnchorEntry, parse_log_entry
from .session_trees import Kept
from .statements import STATEMENTS_BYTES_MAX, SessionStatement, parse_statements
from .strict import HASH_BYTES, parse_hash_hex, parse_text
from .trie import Trie

_CACHE: Final = "cache"


class _Cache(msgspec.Struct, frozen=True, array_like=True):
    size: int
    statements: bytes
    kept: dict[str, Kept]


def statements_name(index: int) -> str:
    """Return the name of the file with the statements of the anchor at ``index``."""
    return f"catalog/{index}"


def read_statements(directory: EvidenceDirectory, index: int) -> list[SessionStatement]:
    """Return the statements that changed with the anchor at ``index``. Raises :class:`InvalidEvidence`."""
    data = directory.read(statements_name(index), STATEMENTS_BYTES_MAX)
    if data is None:
        raise InvalidEvidence(f"{directory.path(statements_name(index))} is missing")
    return parse_statements(data)


def secret_name(session_id: str) -> str:
    """Return the name of the file with the secret of a session's nonces."""
    return f"blind/{session_id}"


def read_secret(directory: EvidenceDirectory, session_id: str) -> bytes | None:
    """Return the secret of a session's nonces; ``None`` if it is missing or is no secret."""
    data = directory.read(secret_name(session_id), 2 * HASH_BYTES + 1)
    if data is None or not data.endswith(b"\n"):
        return None
    try:
        return parse_hash_hex(parse_text(data[:-1], "the secret"), "the secret")
    except InvalidEvidence:
        return None


def catalog_root(statements: dict[str, SessionStatement]) -> bytes:
    """Return the root of the catalog that these statements make."""
    return Trie.of({session_id: one.encode() for session_id, one in statements.items()}).root()


def load_catalog(directory: EvidenceDirectory, log: AnchorLog) -> tuple[dict[str, SessionStatement], dict[str, Kept]]:
    """Return the newest statements by session id, and what is kept of the sessions. Raises :class:`InvalidEvidence`."""
    if log.size == 0:
        return {}, {}
    root = log.anchor().catalog
    cached = _load_cache(directory, log.size)
    if cached is not None and catalog_root(cached[0]) == root:
        return cached
    statements: dict[str, SessionStatement] = {}
    for index, data in enumerate(log.entries()):
        if isinstance(parse_log_entry(data), AnchorEntry):
            statements |= {one.session_id: one for one in read_statements(directory, index)}
    if catalog_root(statements) != root:
        raise InvalidEvidence("the statements beside the anchors do not make the catalog that was anchored")
    return statements, {}


def _load_cache(directory: EvidenceDirectory, size: int) -> tuple[dict[str, SessionStatement], dict[str, Kept]] | None:
    data = directory.read(_CACHE, CACHE_BYTES_MAX)
    if data is None:
        return None
    try:
        cache = msgspec.msgpack.decode(data, type=_Cache)
        statements = parse_statements(cache.statements)
    except (msgspec.DecodeError, InvalidEvidence):
        return None
    return ({one.session_id: one for one in statements}, cache.kept) if cache.size == size else None


def save_cache(
    directory: EvidenceDirectory, size: int, statements: dict[str, SessionStatement], kept: dict[str, Kept]
) -> None:
    """Keep what the next run need not read again."""
    encoded = b"".join(one.encode() for one in statements.values())
    data = msgspec.msgpack.encode(_Cache(size, encoded, kept))
    directory.write({_CACHE: data}, durable=False)
