"""A store for synchronous code."""

import functools
import os
from types import TracebackType
from typing import Final, Self

from ..store import Store as AsyncStore
from ..stores.file import Durability
from ..stores.memory import MemoryStore
from ..stores.opening import open_store as open_async_store
from .face import Call, Face, Stream
from .portal import portal


class Store(Face[AsyncStore]):
    """A store whose methods return once they are done; for any number of threads. Use it as a context manager.

    The methods are those of :class:`sessionlog.Store`, parameters, results and errors alike; what that streams is a
    generator here. A process that was forked since opens the same store for itself at the first call, unless it is one
    in memory.
    """

    @property
    def line_bytes_max(self) -> int:
        """The longest record line, in bytes without LF, that this store takes and reads."""
        return self.asynchronous.line_bytes_max

    create_session: Final = Call(AsyncStore.create_session)
    append: Final = Call(AsyncStore.append)
    read_all: Final = Call(AsyncStore.read_all)
    read: Final = Stream(AsyncStore.read)
    follow: Final = Stream(AsyncStore.follow)
    read_position: Final = Call(AsyncStore.read_position)
    read_head: Final = Call(AsyncStore.read_head)
    read_head_hash: Final = Call(AsyncStore.read_head_hash)
    read_raw: Final = Stream(AsyncStore.read_raw)
    list_sessions: Final = Call(AsyncStore.list_sessions)
    exists: Final = Call(AsyncStore.exists)
    append_trace: Final = Call(AsyncStore.append_trace)
    read_tail: Final = Call(AsyncStore.read_tail)
    stamps: Final = Call(AsyncStore.stamps)
    delete_session: Final = Call(AsyncStore.delete_session)

    def close(self) -> None:
        """Wait for the commits that were accepted, and let go of everything. Further calls raise ``StoreFailed``."""
        portal().run(self.asynchronous.aclose)

    def __enter__(self) -> Self:
        """Return the store."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the store."""
        self.close()


def open_store(where: str | os.PathLike[str], *, durability: Durability = "disk") -> Store:
    """Return the store that ``where`` names, for synchronous code: see :func:`sessionlog.open_store`."""
    open_one = functools.partial(open_async_store, where, durability=durability)
    store = open_one()
    return Store(store, None if isinstance(store, MemoryStore) else open_one)
