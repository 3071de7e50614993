"""``sql``: a query on the catalog, which it cannot change."""

import csv
import io
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import anyio
import anyio.to_thread
import click

from .base import App, common_options, example, runs
from .catalogs import open_catalog
from .output import Refused
from .text import one_line, safe

T = TypeVar("T")

_BATCH_ROWS: Final = 500
_CELL_CHARS_MAX: Final = 60
_READING: Final = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE})
_TABLES: Final = (
    "SELECT m.name AS name, group_concat(c.name, ', ') AS columns FROM sqlite_master m, pragma_table_info(m.name) c "
    "WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name NOT LIKE 'words_%' GROUP BY m.name"
)


@click.command(
    epilog=example(
        "sessionlog sql",
        "sessionlog sql 'SELECT project, count(*) FROM sessions GROUP BY project'",
        "sessionlog sql 'SELECT * FROM usage' --csv > usage.csv",
    )
)
@click.argument("query", required=False)
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values, the names of the columns first.")
@common_options
@runs
async def sql(app: App, query: str | None, *, as_csv: bool) -> None:
    """Ask the catalog in SQL.

    QUERY is one SELECT on the catalog's file, as SQLite has it, which is brought up to date first. It can change
    nothing and open no other file; Ctrl-C ends it. Without a QUERY, the tables and their columns are shown. The catalog
    is derived from the logs, and proves nothing. --csv and tables show control characters escaped, and blobs in
    hexadecimal.
    """
    if as_csv and app.out.json:
        raise Refused("give --csv or --json, not both")
    async with app.open_store() as store, open_catalog(app, store) as catalog:
        if catalog.path is None or not await anyio.Path(catalog.path).exists():
            raise Refused("the catalog is kept in no file here, so there is nothing to query")
        connection = _connect(catalog.path, is_own=query is None)
        await _print(app, connection, _TABLES if query is None else query, as_csv=as_csv)


def _connect(path: Path, *, is_own: bool) -> sqlite3.Connection:
    """Open the file so that nothing can change it; only a query of this module's ``is_own`` may ask for the schema."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)
    connection.execute("PRAGMA query_only = ON")
    if not is_own:
        connection.set_authorizer(_allow)
    return connection


def _allow(action: int, first: str | None, second: str | None, _database: str | None, _trigger: str | None) -> int:
    if action in _READING or (action == sqlite3.SQLITE_FUNCTION and second != "load_extension"):
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_PRAGMA and first == "data_version":  # the full-text index asks for it by itself
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


async def _print(app: App, connection: sqlite3.Connection, query: str, *, as_csv: bool) -> None:
    """Print the rows as they come, then close. Raises :class:`Refused` for what is no query that may be run."""
    cursor = connection.cursor()
    try:
        await _in_thread(connection, lambda: cursor.execute(query))
        names = [one[0] for one in cursor.description or ()]
        if not names:
            raise Refused("that is no query: give one SELECT")
        widths: list[int] = []
        if as_csv:
            await app.out.line(_csv_line(names))
        while rows := await _in_thread(connection, lambda: cursor.fetchmany(_BATCH_ROWS)):
            cells = [[_text(value) for value in row] for row in rows]
            if not widths and not as_csv and not app.out.json:
                widths = [max(map(len, column)) for column in zip(names, *_cut(cells), strict=True)]
                await app.out.row((_row_text(names, widths), "bold"), crop=True)
            for row, texts in zip(rows, cells, strict=True):
                if app.out.json:
                    await app.out.object(dict(zip(names, map(_value, row), strict=True)))
                elif as_csv:
                    await app.out.line(_csv_line(texts))
                else:
                    await app.out.row(_row_text(_cut([texts])[0], widths), crop=True)
        connection.close()
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        connection.close()
        raise Refused(f"the query cannot be run: {one_line(str(error), chars_max=300)}") from error


async def _in_thread(connection: sqlite3.Connection, call: Callable[[], T]) -> T:
    """Run a step of a query; cancelling interrupts it, and the thread lets go of the connection by itself."""
    try:
        return await anyio.to_thread.run_sync(call, abandon_on_cancel=True)
    except anyio.get_cancelled_exc_class():
        connection.interrupt()
        raise


def _value(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else value


def _text(value: object) -> str:
    return "" if value is None else safe(str(_value(value)))


def _cut(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[one_line(cell, chars_max=_CELL_CHARS_MAX) for cell in row] for row in rows]


def _row_text(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))


def _csv_line(cells: Sequence[str]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="").writerow(cells)
    return file.getvalue()
