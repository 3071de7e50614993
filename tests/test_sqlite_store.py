"""The SQLite store of docs/stores.md keeps the whole contract: nothing that SQLite can do is left unchecked."""

import re
import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from sqlite_store import SQLiteStore

from sessionlog import SessionId
from sessionlog.testing.conformance import ALL_CHECKS, Capabilities, checks_for, unchecked

pytestmark = pytest.mark.anyio

LINE_BYTES_MAX = 2**20
DOCS = Path(__file__).resolve().parent.parent / "docs"


class Place:
    """The database of one test, and the seams by which the checks reach behind the stores of it."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.steps = 0

    def make_store(self) -> SQLiteStore:
        store = SQLiteStore(self.path, line_bytes_max=LINE_BYTES_MAX)
        store._db.set_progress_handler(self._count_step, 1)
        return store

    def make_impatient_store(self) -> SQLiteStore:
        return SQLiteStore(self.path, line_bytes_max=LINE_BYTES_MAX, lock_wait_s=0.01)

    async def replace_lines(self, session_id: SessionId, lines: Sequence[bytes]) -> None:
        with closing(sqlite3.connect(self.path)) as db, db:
            ((log,),) = db.execute("SELECT log FROM sessions WHERE session_id = ?", [session_id])
            db.execute("DELETE FROM records WHERE log = ?", [log])
            end = 0
            for seq, line in enumerate(lines):
                end += len(line) + 1
                db.execute("INSERT INTO records VALUES (?, ?, ?, ?)", (log, seq, line, end))

    async def empty_log(self, session_id: SessionId) -> None:
        await self.replace_lines(session_id, [])

    @asynccontextmanager
    async def hold_lock(self, _: SessionId) -> AsyncGenerator[None, None]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            yield

    def read_cost(self) -> int:
        return self.steps

    def _count_step(self) -> None:
        self.steps += 1

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


NAMES = [check.__name__ for check in checks_for(Place(Path()).capabilities)]


@pytest.mark.parametrize("name", NAMES)
async def test_sqlite_store(name: str, tmp_path: Path) -> None:
    """The store passes the check."""
    place = Place(tmp_path / "sessions.db")
    checks = {check.__name__: check for check in checks_for(place.capabilities)}
    await checks[name](place.make_impatient_store if name == "check_locked_session_is_told" else place.make_store)


def test_nothing_else_is_unchecked() -> None:
    """Of all the checks only that of torn tails is left out: a table has none."""
    assert [one.capability for one in unchecked(Place(Path()).capabilities)] == ["write_tail"]
    assert len(NAMES) == len(ALL_CHECKS) - 1


def test_the_page_shows_the_store_as_it_is() -> None:
    """The parts that docs/stores.md explains stand in the store, word for word."""
    source = (DOCS / "sqlite_store.py").read_text(encoding="utf-8")
    page = (DOCS / "stores.md").read_text(encoding="utf-8")
    parts = re.findall(r"^```text\n( .*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(parts) >= 4
    for part in parts:
        assert part in source
    assert source.count("\n") < 300
