"""Connections to the server, and its settings: those that would lose what was acknowledged are refused.

A pool for reads and appends. Each new connection looks at the server's settings anew, for it may be another server by
then: restarted, or a standby that was promoted.
"""

import asyncio
import contextlib
import datetime as dt
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import asyncpg

from ...errors import StoreFailed
from . import schema

SERVER_MIN: Final = 140000
"""PostgreSQL 14, as ``server_version_num`` counts."""
CONNECT_S: Final = 10.0
"""For so long a connection is tried."""
ANSWER_S: Final = 30.0
"""For so long a statement's answer is waited for, beside what it may wait for locks."""
_SCHEMA: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}", re.ASCII)
_MAKING: Final = 0x73657373696F6E6C
"""The advisory lock of whoever makes the tables: the text ``sessionl``."""

LOST: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleSessionTimeoutError,
    OSError,
    TimeoutError,
)
"""What says that the connection ended, or that nothing is known of the statement."""


class Backend(NamedTuple):
    """The server's process behind a connection: a process id may be used again, with another start."""

    pid: int
    started: dt.datetime


class Database:
    """The pool; made at the first use, on the event loop that uses it."""

    def __init__(self, dsn: str, schema_name: str, *, connections: int, lock_wait_s: float, make: bool) -> None:
        """Connect to nothing yet. Raises ``ValueError`` for a schema's name that would have to be quoted."""
        if not _SCHEMA.fullmatch(schema_name):
            raise ValueError(f"{schema_name!a} is no name of a schema: a-z, 0-9 and '_', up to 63, no digit first")
        self._dsn = dsn
        self.schema_name: Final = schema_name
        self.name: Final = server_name(dsn)
        self._connections = connections
        self._lock_wait_s = lock_wait_s
        self._make = make
        self._pool: asyncpg.Pool[Any] | None = None
        self._opening: asyncio.Lock | None = None
        self._backends: dict[int, Backend] = {}

    @property
    def _settings(self) -> dict[str, str]:
        return {
            "application_name": "sessionlog",
            "search_path": self.schema_name,
            "default_transaction_isolation": "read committed",  # a row that another one changed is looked at again
            "lock_timeout": str(max(1, round(self._lock_wait_s * 1000))),
            "statement_timeout": "0",  # a statement that the server cancels after its commit would tell a lie
            "jit": "off",
        }

    async def connect(self) -> "asyncpg.Connection[Any]":
        """Return a connection of its own, for who listens or settles."""
        try:
            return await asyncpg.connect(self._dsn, timeout=CONNECT_S, server_settings=self._settings)
        except (asyncpg.PostgresError, *LOST) as error:
            raise self.failure(error, "cannot connect") from error

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator["asyncpg.pool.PoolConnectionProxy[Any]", None]:
        """Lend a connection of the pool. Raises :class:`StoreFailed` if there is none to be had."""
        pool = self._pool or await self._open()
        try:
            lent = await pool.acquire(timeout=CONNECT_S + ANSWER_S)
        except (asyncpg.PostgresError, *LOST) as error:
            raise self.failure(error, "cannot connect") from error
        try:
            yield lent
        finally:
            with contextlib.suppress(asyncpg.PostgresError, *LOST):  # what was done on it has its outcome already
                await pool.release(lent)

    async def fetch(self, statement: str, *arguments: object) -> list["asyncpg.Record"]:
        """Return the rows of a statement that only reads; sent once more if the connection was lost meanwhile."""
        for attempt in range(2):
            try:
                async with self.connection() as lent:
                    rows: list[asyncpg.Record] = await lent.fetch(statement, *arguments, timeout=ANSWER_S)
                    return rows
            except LOST as error:
                if attempt or isinstance(error, TimeoutError):
                    raise self.failure(error, "no answer") from error
            except asyncpg.PostgresError as error:
                raise self.failure(error, "the server refused") from error
        raise AssertionError("the second attempt returns or raises")

    def backend(self, lent: "asyncpg.pool.PoolConnectionProxy[Any]") -> Backend:
        """Return which process of the server is behind a connection of the pool."""
        return self._backends[lent.get_server_pid()]

    async def aclose(self) -> None:
        """Close the pool; connections that do not answer are dropped."""
        if self._pool is not None:
            try:
                await asyncio.wait_for(self._pool.close(), CONNECT_S)
            except LOST:
                self._pool.terminate()

    def failure(self, error: BaseException, what: str, *, poisoned: bool = False) -> StoreFailed:
        """Return the typed error for one of the driver's. The password in the URL is in no text."""
        said = str(error) or type(error).__name__
        hint = ""
        if isinstance(error, asyncpg.InsufficientPrivilegeError):
            hint = ": this role lacks a grant, see the page on PostgreSQL"
        elif isinstance(error, asyncpg.ReadOnlySQLTransactionError):
            hint = ": this server is a standby, name the primary"
        return StoreFailed(f"{self.name}: {what}: {said}{hint}", poisoned=poisoned)

    async def _open(self) -> "asyncpg.Pool[Any]":
        if self._opening is None:
            self._opening = asyncio.Lock()
        async with self._opening:
            if self._pool is None:
                pool = asyncpg.create_pool(
                    self._dsn,
                    min_size=0,
                    max_size=self._connections,
                    timeout=CONNECT_S,
                    init=self._begin,
                    reset=_leave_as_it_is,
                    server_settings=self._settings,
                    max_inactive_connection_lifetime=300,
                )
                await pool
                self._pool = pool
        return self._pool

    async def _begin(self, connection: "asyncpg.Connection[Any]") -> None:
        """Look at the server behind a new connection, and make the tables if they are not there."""
        await check_settings(connection, self.name)
        await self._check_tables(connection)
        started = await connection.fetchval(schema.BACKEND)
        self._backends[connection.get_server_pid()] = Backend(connection.get_server_pid(), started)

    async def _check_tables(self, connection: "asyncpg.Connection[Any]") -> None:
        kinds = await _table_kinds(connection)
        if len(kinds) < len(schema.TABLE_NAMES):
            if not self._make:
                raise StoreFailed(f"{self.name}: there is no store in schema {self.schema_name}: make one first")
            await make_tables(connection, self.schema_name)
            kinds = await _table_kinds(connection)
        for table, kind in kinds.items():
            if kind != "p":
                raise StoreFailed(
                    f"{self.name}: table {table} is not logged, so a crash would empty it: ALTER TABLE … SET LOGGED"
                )


async def _leave_as_it_is(_: "asyncpg.pool.PoolConnectionProxy[Any]") -> None:
    """Reset nothing between two uses: nothing is left over, and ``RESET ALL`` would undo what was set at the start."""


async def make_tables(connection: "asyncpg.Connection[Any]", schema_name: str) -> None:
    """Make what is not there yet of the schema and its tables."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _MAKING)
        await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema_name}")
        await connection.execute(schema.TABLES)


async def check_settings(connection: "asyncpg.Connection[Any]", name: str) -> None:
    """Raise :class:`StoreFailed` if the server would lose what it has acknowledged; else see that it waits for it."""
    rows = await connection.fetch(
        "SELECT name, setting FROM pg_settings WHERE name = ANY($1)",
        ["server_version_num", "fsync", "full_page_writes", "synchronous_commit"],
    )
    settings = {row["name"]: row["setting"] for row in rows}
    if int(settings["server_version_num"]) < SERVER_MIN:
        raise StoreFailed(f"{name}: the server is older than PostgreSQL {SERVER_MIN // 10000}")
    for setting, harm in (
        ("fsync", "a power loss takes records that were acknowledged"),
        ("full_page_writes", "a power loss leaves pages half written"),
    ):
        if settings[setting] != "on":
            raise StoreFailed(f"{name}: the server runs with {setting} = {settings[setting]}: {harm}; set it to on")
    if settings["synchronous_commit"] not in ("on", "remote_apply"):  # the others acknowledge before it is kept
        await connection.execute("SET synchronous_commit = on")


async def _table_kinds(connection: "asyncpg.Connection[Any]") -> dict[str, str]:
    rows = await connection.fetch(
        "SELECT relname, relpersistence::text AS kind FROM pg_class "
        "WHERE relname = ANY($1) AND relnamespace = to_regnamespace($2)",
        schema.TABLE_NAMES,
        (await connection.fetchval("SELECT current_setting('search_path')")),
    )
    return {row["relname"]: row["kind"] for row in rows}


def server_name(dsn: str) -> str:
    """Return where ``dsn`` leads, without the user's name, the password and the options."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(dsn)
        where = parts.netloc.rpartition("@")[2]
        return f"postgresql://{where}{parts.path}"
    return "postgresql"


__all__ = ["ANSWER_S", "LOST", "Backend", "Database", "check_settings", "make_tables", "server_name"]
