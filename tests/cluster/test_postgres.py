"""The PostgreSQL store keeps the whole contract, against a real server."""

import contextlib
import itertools
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from sessionlog import CorruptLog, SessionId
from sessionlog.record import parse_record
from sessionlog.testing.conformance import ALL_CHECKS, Capabilities, checks_for, unchecked

asyncpg = pytest.importorskip("asyncpg", reason="the driver asyncpg is not installed")
from sessionlog.stores.postgres import PostgresStore  # noqa: E402

if TYPE_CHECKING:
    from .postgres_server import PostgresServer

pytestmark = pytest.mark.anyio

LINE_BYTES_MAX = 2**20
_numbers = itertools.count()


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


class Place:
    """A schema of the server, and the seams by which the checks reach behind the stores of it."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.schema = f"place_{os.getpid()}_{next(_numbers)}"
        self.read = 0

    def make_store(self, **options: Any) -> PostgresStore:
        store = PostgresStore(self.dsn, schema=self.schema, line_bytes_max=LINE_BYTES_MAX, connections=4, **options)
        fetch = store._database.fetch

        async def counted(statement: str, *arguments: object) -> list[Any]:
            rows = await fetch(statement, *arguments)
            self.read += sum(len(value) if isinstance(value, bytes) else 8 for row in rows for value in row)
            return rows

        store._database.fetch = counted  # type: ignore[method-assign]
        return store

    def make_impatient_store(self) -> PostgresStore:
        return self.make_store(lock_wait_s=0.01)

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Any, None]:
        connection = await asyncpg.connect(self.dsn, server_settings={"search_path": self.schema})
        try:
            yield connection
        finally:
            await connection.close()

    async def replace_lines(self, session_id: SessionId, lines: Sequence[bytes]) -> None:
        async with self.connection() as db, db.transaction():
            log = await db.fetchval("SELECT log FROM heads WHERE session_id = $1", session_id)
            await db.execute("DELETE FROM records WHERE log = $1", log)
            end = 0
            for seq, line in enumerate(lines):
                end += len(line) + 1
                await db.execute("INSERT INTO records VALUES ($1, $2, $3, $4)", log, seq, end, line)
            head = None
            with contextlib.suppress(CorruptLog, IndexError):  # a line that is no record has no head
                head = parse_record(lines[-1]).head
            await db.execute(
                "UPDATE heads SET seq = $2, hash = $3, end_at = $4, changed = nextval('changes') WHERE log = $1",
                log,
                head and len(lines) - 1,
                head and head.hash,
                end,
            )

    async def empty_log(self, session_id: SessionId) -> None:
        await self.replace_lines(session_id, [])

    @asynccontextmanager
    async def hold_lock(self, session_id: SessionId) -> AsyncGenerator[None, None]:
        async with self.connection() as db, db.transaction():
            await db.execute("SELECT FROM heads WHERE session_id = $1 FOR UPDATE", session_id)
            yield

    def read_cost(self) -> int:
        return self.read

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            persistent=True,
            several_handles=True,
            replace_lines=self.replace_lines,
            empty_log=self.empty_log,
            read_cost=self.read_cost,
            hold_lock=self.hold_lock,
        )

    async def drop(self) -> None:
        async with self.connection() as db:
            await db.execute(f"DROP SCHEMA IF EXISTS {self.schema} CASCADE")


NAMES = [check.__name__ for check in checks_for(Place("").capabilities)]


@pytest.fixture
def place(postgres: "PostgresServer") -> Place:
    return Place(postgres.dsn)


@pytest.mark.parametrize("name", NAMES)
async def test_conformance(name: str, place: Place) -> None:
    """The store passes the check."""
    checks = {check.__name__: check for check in checks_for(place.capabilities)}
    make = place.make_impatient_store if name == "check_locked_session_is_told" else place.make_store
    await checks[name](make)
    await place.drop()


def test_nothing_else_is_unchecked() -> None:
    """Of all the checks only that of torn tails is left out: a table has none."""
    assert [one.capability for one in unchecked(Place("").capabilities)] == ["write_tail"]
    assert len(NAMES) == len(ALL_CHECKS) - 1
