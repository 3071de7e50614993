"""The stores of histories over PostgreSQL: the one that ships, and those from which one guarantee was taken."""

from collections.abc import Callable, Sequence
from typing import Any

from sessionlog.errors import StoreFailed
from sessionlog.stores.postgres import PostgresStore, committing, database, schema


def make_store(where: dict[str, Any]) -> PostgresStore:
    if "broken" in where:
        BROKEN[where["broken"]]()
    return PostgresStore(where["dsn"], connections=4)


def no_condition() -> None:
    """Appends whatever the head is, over what is there."""
    schema.APPEND_WAITING = (  # type: ignore[misc]
        schema.APPEND_WAITING.replace("AND heads.hash = was", "").replace(
            "JOIN meant USING (session_id)\n)",
            "JOIN meant USING (session_id)\n    ON CONFLICT (log, seq) DO UPDATE SET line = excluded.line\n)",
        )
    )


def no_flush() -> None:
    """Acknowledges before the server has flushed."""
    check = database.check_settings

    async def lax(connection: Any, name: str) -> None:
        await check(connection, name)
        await connection.execute("SET synchronous_commit = off")

    database.check_settings = lax


def no_settling() -> None:
    """Takes a lost connection for a refusal."""

    async def believe(self: committing.Committer, commits: Sequence[object], backend: object, lost: object) -> Any:
        raise StoreFailed("the connection was lost")

    committing.Committer._find_out = believe  # type: ignore[method-assign]


BROKEN: dict[str, Callable[[], None]] = {
    "no_condition": no_condition,
    "no_flush": no_flush,
    "no_settling": no_settling,
}
