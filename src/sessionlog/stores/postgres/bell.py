"""Waking followers: of this store at once, of others by the server's notifications.

A notification is a hint. It is sent after the commit, outside its transaction, because the server lets only one
transaction with notifications commit at a time; those that come meanwhile are sent together. One that is lost costs a
follower ``LOOK_EVERY_S``, never a record.
"""

import asyncio
import contextlib
from typing import Any, Final

import asyncpg

from ...errors import StoreFailed
from . import schema
from .database import LOST, Database

LOOK_EVERY_S: Final = 2.0
"""A follower that nobody wakes looks this often."""
RING_EVERY_S: Final = 0.02
RECONNECT_S: Final = 0.5
_FAULTS: Final = (asyncpg.PostgresError, StoreFailed, *LOST)


class Bell:
    """One connection that listens and notifies, made when the first follower waits or the first commit is in."""

    def __init__(self, database: Database) -> None:
        """Connect to nothing yet."""
        self._database = database
        self._channel = f"sessionlog_{database.schema_name}"[:63]
        self._grown: dict[str, asyncio.Event] = {}
        self._told: set[str] = set()
        self._told_some = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def grown(self, session_id: str) -> asyncio.Event:
        """Return what is set when the session changes; take it before looking, so that nothing falls in between."""
        self._start()
        return self._grown.setdefault(session_id, asyncio.Event())

    def ring(self, session_id: str) -> None:
        """Wake who waits for the session, here and elsewhere."""
        self._start()
        self._wake(session_id)
        self._told.add(session_id)
        self._told_some.set()

    async def aclose(self) -> None:
        """Wake everybody, and let go of the connection."""
        self._closed = True
        self._wake_all()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _start(self) -> None:
        if self._task is None and not self._closed:
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(*_FAULTS):
                connection = await self._connect()
                try:
                    await self._serve(connection)
                finally:
                    connection.terminate()
            await asyncio.sleep(RECONNECT_S)

    async def _connect(self) -> "asyncpg.Connection[Any]":
        """Connect; when cancelled, only once the connection is there and ended: the driver loses one halfway."""
        connecting = asyncio.ensure_future(self._database.connect())
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            await asyncio.wait([connecting])
            if connecting.exception() is None:
                connecting.result().terminate()
            raise

    async def _serve(self, connection: "asyncpg.Connection[Any]") -> None:
        await connection.execute("SET synchronous_commit = off")  # a notification need not survive anything
        await connection.add_listener(self._channel, lambda *said: self._wake(str(said[-1])))
        ended = asyncio.Event()
        connection.add_termination_listener(lambda _: ended.set())
        self._wake_all()  # what was said before cannot be known
        while not ended.is_set():
            waits = [asyncio.ensure_future(ended.wait()), asyncio.ensure_future(self._told_some.wait())]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
            self._told_some.clear()
            if self._told and not ended.is_set():
                told, self._told = self._told, set()
                await connection.execute(schema.NOTIFY, self._channel, list(told))
            await asyncio.sleep(RING_EVERY_S)

    def _wake(self, session_id: str) -> None:
        grown = self._grown.pop(session_id, None)
        if grown is not None:
            grown.set()

    def _wake_all(self) -> None:
        for session_id in tuple(self._grown):
            self._wake(session_id)


__all__ = ["LOOK_EVERY_S", "Bell"]
