"""The way to a catalog's file: where it is, and one call on it at a time, in a thread.

The file is opened at the first call. One that turns out to be damaged is made anew, an empty catalog.
"""

import hashlib
import logging
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import anyio
import anyio.to_thread

from ..errors import StoreFailed
from ..store import Store
from ..stores.file import FileStore
from ..stores.memory import MemoryStore
from ..user_folders import cache_folder
from .database import Database, is_refusal

T = TypeVar("T")
logger: Final = logging.getLogger("sessionlog.catalog")

FILE_NAME: Final = "catalog.sqlite3"
IN_MEMORY: Final = ":memory:"
"""In the place of a path: no file is written, and every log is read anew."""


class Remade(StoreFailed):
    """The file was damaged, and is an empty catalog now."""


class Access:
    """Opens the catalog's file of one store, and runs calls on it."""

    def __init__(self, store: Store, path: str | os.PathLike[str] | None) -> None:
        """Use ``path``, by default the store's own place; nothing is opened before the first call."""
        self.path: Final = _default_path(store) if path is None else None if path == IN_MEMORY else Path(path)
        self._store = store
        self._database: Database | None = None
        self._limiter = anyio.CapacityLimiter(1)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to look at: the file was neither opened nor is it there."""
        return self.path is not None and self._database is None and not self.path.exists()

    def take_rebuilt(self) -> str | None:
        """Return why the file was made anew since this was asked last, if it was."""
        database = self._database
        if database is None:
            return None
        rebuilt, database.rebuilt = database.rebuilt, None
        return rebuilt

    async def call(self, call: Callable[[Database], T]) -> T:
        """Run ``call`` on the database, in a thread.

        Raises :class:`Remade` if the file is damaged, and was made anew; :class:`StoreFailed` if it cannot be used.
        """
        return await anyio.to_thread.run_sync(self._call_blocking, call, limiter=self._limiter)

    async def aclose(self) -> None:
        """Close the file."""
        if self._database is not None:
            database, self._database = self._database, None
            await anyio.to_thread.run_sync(database.close, limiter=self._limiter)

    def _call_blocking(self, call: Callable[[Database], T]) -> T:
        try:
            database = self._open()
            try:
                return call(database)
            except sqlite3.Error as error:
                if is_refusal(error):
                    raise
                reason = str(error)
            except (AttributeError, OverflowError, TypeError, ValueError) as error:
                reason = f"its content makes no sense: {error}"
            logger.info("%s: made anew: %s", self.path, reason)
            database.remake(reason)
            raise Remade(reason, path=self.path)
        except (OSError, sqlite3.Error) as error:
            raise StoreFailed(f"the catalog cannot be used: {error}", path=self.path) from error

    def _open(self) -> Database:
        """Return the database. Where the store's directory is not there yet, it is in memory."""
        path = self.path
        if path is not None and path.parent == getattr(self._store, "root", None) and not path.parent.exists():
            path = None
        if self._database is not None and self._database.path != path:
            self._database.close()
            self._database = None
        if self._database is None:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._database = Database(path)
            if self._database.rebuilt is not None:
                logger.info("%s: made anew: %s", path, self._database.rebuilt)
        return self._database


def _default_path(store: Store) -> Path | None:
    if isinstance(store, MemoryStore):
        return None
    name = repr(store)
    if isinstance(store, FileStore):
        if os.access(store.root, os.W_OK | os.X_OK) or not store.root.exists():
            return store.root / FILE_NAME
        name = f"file:{store.root}"
    return cache_folder() / f"{hashlib.blake2b(name.encode(), digest_size=16).hexdigest()}.sqlite3"
