"""Opening a store by its name, as the option ``--store`` of the command line takes it.

``logs`` is the directory of that name, as is every text without a scheme; so is ``file:logs``, also where the name has
a colon in it, and ``file:///srv/logs``, a URL (RFC 8089). ``memory:`` is a new store in memory.
"""

import os
import re
from typing import Final
from urllib.parse import unquote

from ..errors import UnknownStore
from ..store import Store
from .file import Durability, FileStore
from .memory import MemoryStore

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):", re.ASCII)


def open_store(where: str | os.PathLike[str], *, durability: Durability = "disk") -> Store:
    """Return the store that ``where`` names: a directory, or text with a scheme. Nothing is touched before it is used.

    Use it as an async context manager, or ``aclose`` it.

    Args:
        where: ``"logs"`` or a path, ``"file:logs"``, ``"file:///srv/logs"`` (percent-encoded), or ``"memory:"``.
        durability: What a returned append survives, for stores on disk: ``"disk"`` power loss, ``"os"`` a killed
            process.

    Raises:
        UnknownStore: The scheme is not known, or what follows it cannot be. The text says what to do.
        StoreFailed: This system cannot have such a store.
    """
    text = os.fspath(where)
    scheme = _SCHEME.match(text) if isinstance(where, str) else None
    if scheme is None:
        return FileStore(_path(text, text), durability)
    rest = text[scheme.end() :]
    match scheme[1].lower():
        case "file":
            return FileStore(_path(text, _file_path(text, rest)), durability)
        case "memory":
            if rest:
                raise UnknownStore(text, "a store in memory has no name: write 'memory:'")
            return MemoryStore()
        case other:
            raise UnknownStore(
                text, f"there is no scheme {other!r}, only 'file' and 'memory'; for a directory write 'file:{text}'"
            )


def _file_path(text: str, rest: str) -> str:
    """Return the path in a ``file:`` name, which is a URL if an authority follows (RFC 8089)."""
    if not rest.startswith("//"):
        return rest
    host, slash, path = rest[2:].partition("/")
    if host not in ("", "localhost") or not slash:
        raise UnknownStore(text, "a file URL names no other host: write 'file:///' and an absolute path")
    return unquote(slash + path)


def _path(text: str, path: str) -> str:
    if not path or "\0" in path:
        raise UnknownStore(text, "give the path of a directory")
    return path


__all__ = ["open_store"]
