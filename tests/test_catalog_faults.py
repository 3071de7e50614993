"""The catalog after a kill, beside another process, on a damaged file, on a full disk, and against an edited one."""

import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from sessionlog import FileStore, MemoryStore, StoreFailed, fork_at
from sessionlog.catalog import Catalog, SessionRow
from sessionlog.queries import Query
from test_catalog import folded, say

pytestmark = pytest.mark.anyio
USER = Query(text="harvest", places=frozenset({"user"}))

REFRESH = """
import os, signal, sqlite3, sys, anyio
from sessionlog import FileStore
from sessionlog.catalog import Catalog
from sessionlog.catalog.database import Database

root, kill_at = sys.argv[1], int(sys.argv[2])
done = 0

def count(statement):
    global done
    done += 1
    if done == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)

connect = Database._connect
def traced(self):
    connection = connect(self)
    connection.set_trace_callback(count)
    return connection
Database._connect = traced

async def main():
    async with FileStore(root, "os") as store, Catalog(store) as catalog:
        await catalog.refresh(jobs=2)
    print(done)

if __name__ == "__main__":
    anyio.run(main)
"""
"""Refreshes the catalog of a store; killed at the SQL statement of that number, if it is not 0."""


async def store_of(root: Path, sessions: int) -> None:
    async with FileStore(root, "os") as store:
        for number in range(sessions):
            await say(store, f"s{number:03d}", "harvest", 1_700_000_000_000 + number)


async def rows_of(catalog: Catalog) -> dict[str, SessionRow]:
    return {row.session_id: row for row in (await catalog.sessions()).rows}


async def check(root: Path) -> None:
    """A refresh brings the catalog to what a fold of each log says, and its index finds each text."""
    async with FileStore(root, "os") as store, Catalog(store) as catalog:
        await catalog.refresh()
        expected = await folded(store)
        assert await rows_of(catalog) == expected
        hits = [hit async for hit in catalog.search(USER)]
        assert {hit.session_id for hit in hits} == set(expected)


def run(root: Path, kill_at: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", REFRESH, str(root), str(kill_at)], stdout=subprocess.PIPE, text=True)


async def test_a_refresh_that_is_killed_leaves_a_catalog(tmp_path: Path) -> None:
    """Killed with SIGKILL at any statement, whether it makes the file or brings it up to date."""
    await store_of(tmp_path / "count", 4)
    counting = run(tmp_path / "count", 0)
    statements = int(counting.communicate()[0])
    points = range(3, statements, max(1, statements // 5))
    for number, kill_at in enumerate(points):
        root = tmp_path / f"killed-{number}"
        await store_of(root, 4)
        if number % 2:
            await check(root)
            await store_of(root, 5)
        killed = run(root, kill_at)
        killed.communicate()
        assert killed.returncode in (-signal.SIGKILL, 0)
        await check(root)


async def test_two_processes_bring_one_catalog_up_to_date(tmp_path: Path) -> None:
    """At once, with worker processes of their own: each session is taken in once."""
    await store_of(tmp_path, 60)
    both = [run(tmp_path, 0), run(tmp_path, 0)]
    for one in both:
        one.communicate()
        assert one.returncode == 0
    await check(tmp_path)


async def test_many_sessions_are_read_by_processes_in_bounded_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the pieces, the rows and the texts found are the same."""
    monkeypatch.setattr("sessionlog.catalog.reading.PIECE_CHARS", 60)
    monkeypatch.setattr("sessionlog.catalog.texts.BLOCK_CHARS", 40)
    monkeypatch.setattr("sessionlog.catalog.refreshing.CHUNK_SESSIONS", 3)
    root = tmp_path / "store"
    await store_of(root, 10)
    async with FileStore(root, "os") as store:
        for turn in range(20):
            await say(store, "s003", f"long harvest {turn}", 1_700_000_001_000 + 100 * turn)
        told: list[tuple[int, int]] = []
        async with Catalog(store) as catalog, Catalog(store, tmp_path / "other") as other:
            await catalog.refresh(lambda done, count: told.append((done, count)), jobs=2)
            await other.refresh()
            assert told[-1] == (10, 10)
            assert await rows_of(catalog) == await rows_of(other) == await folded(store)
            found = [[(hit.session_id, hit.record.hash) async for hit in one.search(USER)] for one in (catalog, other)]
            assert found[0] == found[1]
            assert len(found[0]) == 30


@settings(max_examples=15, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.lists(st.tuples(st.integers(0, 2**20), st.integers(1, 255)), min_size=1, max_size=20), st.booleans())
def test_flipped_bytes_break_nothing(flips: list[tuple[int, int]], cut: bool) -> None:
    """A damaged file raises nothing, and a refresh that verifies makes it right again, whatever the damage."""
    import tempfile  # noqa: PLC0415 - Hypothesis draws many examples, each in a folder of its own

    async def go(folder: Path) -> None:
        await store_of(folder, 3)
        await check(folder)
        path = folder / "catalog.sqlite3"
        data = bytearray(path.read_bytes())
        for at, bits in flips:
            data[at % len(data)] ^= bits
        path.write_bytes(data[: len(data) // 2] if cut else data)
        async with FileStore(folder, "os") as store, Catalog(store) as catalog:
            await catalog.refresh()
            await catalog.sessions()
            await catalog.usage("project")
            [hit async for hit in catalog.search(USER)]
            await catalog.refresh(verify=True)
            assert await rows_of(catalog) == await folded(store)

    with tempfile.TemporaryDirectory() as folder:
        anyio.run(go, Path(folder))


async def test_another_file_in_the_catalogs_place(tmp_path: Path) -> None:
    """A directory or a symbolic link is refused, a program's database is made anew; the store serves on."""
    await store_of(tmp_path, 2)
    path = tmp_path / "catalog.sqlite3"
    other = sqlite3.connect(path)
    other.execute("PRAGMA page_size = 512")
    other.execute("CREATE TABLE sessions (name TEXT)")
    other.commit()
    other.close()
    async with FileStore(tmp_path, "os") as store:
        async with Catalog(store) as catalog:
            assert (await catalog.refresh()).rebuilt == "it is a database of another program"
            assert len(await rows_of(catalog)) == 2
        for damage in ("directory", "link"):
            for suffix in ("", "-wal", "-shm"):
                Path(f"{path}{suffix}").unlink(missing_ok=True)
            path.mkdir() if damage == "directory" else path.symlink_to(tmp_path / "elsewhere")
            async with Catalog(store) as catalog:
                with pytest.raises(StoreFailed, match="no regular file"):
                    await catalog.refresh()
            path.rmdir() if damage == "directory" else path.unlink()


async def test_a_full_disk_leaves_the_catalog_as_it_was(tmp_path: Path) -> None:
    """By the limit of a file's size: what was written before is served, and what is missing comes later."""
    await store_of(tmp_path, 3)
    await check(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with FileStore(tmp_path, "os") as store, Catalog(store) as catalog:
        await catalog.refresh()
        for number in range(40):
            await say(store, f"n{number}", "harvest " + "x y z" * 2000, 5)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        try:
            with pytest.raises(StoreFailed, match="catalog cannot be used"):
                await catalog.refresh()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert set(await rows_of(catalog)) >= {"s000", "s001", "s002"}
    await check(tmp_path)


async def test_the_files_are_this_users_alone(tmp_path: Path) -> None:
    """Whatever the umask, and whatever they were before: the catalog, its -wal and its -shm."""
    await store_of(tmp_path, 1)
    mask = os.umask(0)
    try:
        path = tmp_path / "catalog.sqlite3"
        path.touch(0o666)
        async with FileStore(tmp_path, "os") as store, Catalog(store) as catalog:
            await catalog.refresh()
            for suffix in ("", "-wal", "-shm"):
                assert stat.S_IMODE(os.stat(f"{path}{suffix}").st_mode) == 0o600, suffix
    finally:
        os.umask(mask)


async def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    async with FileStore(tmp_path / "none", "os") as store, Catalog(store) as catalog:
        await catalog.refresh()
        assert not (tmp_path / "none").exists()
        await say(store, "s", "harvest", 1)
        assert (await catalog.refresh()).read == 1
    assert (tmp_path / "none" / "catalog.sqlite3").exists()


def tampered(kind: str, data: bytes, other: bytes) -> bytes:
    match kind:
        case "edit":
            return data.replace(b"harvest out", b"harvest oUt")
        case "cut":
            return data[: data[:-1].rindex(b"\n") + 1]
        case "torn":
            return data[:-5]
        case "another":
            return other
        case "garbage":
            return b"no log\n" * 20
        case _:
            return b""


@pytest.mark.parametrize("kind", ["edit", "cut", "torn", "another", "garbage", "empty"])
async def test_a_log_that_was_changed_by_others(tmp_path: Path, kind: str) -> None:
    """The catalog says what a fold from the start says; of an edit that nothing follows, once it verifies."""
    async with FileStore(tmp_path, "os") as store, Catalog(store) as catalog:
        await store_of(tmp_path, 1)
        for session_id in ("a", "b"):
            await say(store, session_id, "harvest", 1)
        await catalog.refresh()
        path = tmp_path / "a.jsonl"
        path.write_bytes(tampered(kind, path.read_bytes(), (tmp_path / "b.jsonl").read_bytes()))
        await catalog.refresh(verify=kind == "edit")
        rows = await rows_of(catalog)
        assert set(rows) == {"a", "b", "s000"}
        assert (rows["b"].state, rows["s000"].state) == ("valid", "valid")
        expected = {"edit": ("broken", 3), "cut": ("valid", 4), "torn": ("valid", 4), "empty": ("valid", 0)}
        assert (rows["a"].state, rows["a"].records) == expected.get(kind, ("broken", 0))
        assert (rows["a"].fault is None) == (rows["a"].state == "valid")


async def test_an_unreadable_log_says_so_and_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    for session_id in ("bad", "good"):
        await say(store, session_id, "harvest", 1)
    read = MemoryStore.read

    async def failing(self: MemoryStore, session_id: str, *, after: object = None) -> object:
        if session_id == "bad":
            raise StoreFailed("the disk is on fire")
        async for record in read(self, session_id, after=after):  # type: ignore[arg-type]
            yield record

    async with Catalog(store) as catalog:
        monkeypatch.setattr(MemoryStore, "read", failing)
        assert "fire" in (await catalog.refresh()).faults["bad"]
        rows = await rows_of(catalog)
        assert (rows["bad"].state, rows["good"].state) == ("unreadable", "valid")
        monkeypatch.undo()
        await catalog.refresh()
        assert await rows_of(catalog) == await folded(store)


async def test_an_edited_catalog_forges_no_text(tmp_path: Path) -> None:
    """It can hide and misstate; what a search shows is in a log, at the hash that is shown, or is not shown."""
    async with FileStore(tmp_path, "os") as store:
        await say(store, "s", "harvest", 1)
        await say(store, "t", "lamp", 1)
        async with Catalog(store) as catalog:
            await catalog.refresh()
        with sqlite3.connect(tmp_path / "catalog.sqlite3") as edited:
            edited.execute("UPDATE sessions SET title = 'forged', first_words = 'forged', turns = 99")
            edited.execute("INSERT INTO words (rowid, text) SELECT id, 'forged words' FROM blocks")
            edited.execute("UPDATE blocks SET prev_hash = zeroblob(32), seq = seq + 1 WHERE no = 1")
        edited.close()
        logs = {record.hash: record for one in ("s", "t") for record in await store.read_all(one)}
        faults: list[str] = []
        async with Catalog(store) as catalog:
            for word in ("forged", "harvest", "lamp"):
                query = Query(text=word, places=frozenset({"user", "tools"}))
                async for hit in catalog.search(query, on_fault=lambda one, _error: faults.append(one)):
                    assert logs[hit.record.hash].line == hit.record.line
                    assert all(word in line.text for line in hit.lines if line.spans)
                    assert word != "forged"
            assert faults
            assert {row.turns for row in (await rows_of(catalog)).values()} == {99}
            await catalog.refresh(verify=True)
            assert await rows_of(catalog) == await folded(store)


async def test_a_search_finds_what_a_scan_finds(tmp_path: Path) -> None:
    """The same hits in the same order, with the tools' names, and what a fork took over once."""
    async with FileStore(tmp_path, "os") as store, Catalog(store) as catalog:
        for number in range(4):
            await say(store, f"s{number}", "harvest", number)
            await catalog.refresh()
            await say(store, f"s{number}", "harvest", 1000 + number)
            await catalog.refresh()
        await fork_at(store, "s1", (await store.read_all("s1"))[-1].hash)
        await catalog.refresh()
        for places in ({"user"}, {"tools"}, {"assistant", "tools"}):
            query = Query(text="HARVEST", places=frozenset(places))  # type: ignore[arg-type]
            found = [(hit.session_id, hit.record.hash, hit.tool) async for hit in catalog.search(query)]
            assert found, places
            everywhere = Query(text="HARVEST", places=query.places | {"other"})
            scanned = [(hit.session_id, hit.record.hash, hit.tool) async for hit in catalog.search(everywhere)]
            assert found == scanned
        assert [row.session_id for row in (await catalog.sessions(text="arves", limit=2)).rows] == ["s3", "s2"]
        assert (await catalog.sessions(text="zebra")).rows == []
        assert len((await catalog.sessions(text="ha")).rows) == 4
        links = {link.session_id: link for link in await catalog.links()}
        assert [one.source_id for one in links.values() if one.kind == "fork"] == ["s1"]
        assert [row.kind for row in await catalog.children("s1")] == ["fork"]
        total, one = await catalog.total(), await catalog.stats("s0")
        assert (total.tool_use.calls, total.kinds["session_start"]) == (8, 5)
        assert one is not None
        assert (one.tools["Bash"].calls, one.tokens.requests) == (2, 2)


async def test_receipts_are_asked_for_by_their_kind(tmp_path: Path) -> None:
    from sessionlog import delete  # noqa: PLC0415

    async with FileStore(tmp_path, "os") as store, Catalog(store) as catalog:
        await say(store, "s", "harvest", 1)
        await say(store, "t", "harvest", 1)
        await catalog.refresh()
        await catalog.forget(["s"])
        await delete(store, "s", reason="harvest is over")
        await catalog.refresh()
        assert [row.session_id for row in (await catalog.sessions()).rows] == ["t"]
        assert [row.session_id for row in (await catalog.sessions(kind="receipts")).rows] == ["sessionlog-receipts"]
        assert [link.session_id for link in await catalog.links()] == ["t"]
        assert {hit.session_id async for hit in catalog.search(Query(text="harvest", places=frozenset({"user"})))} == {
            "t"
        }


async def test_forgetting_takes_out_the_words_of_one_session(tmp_path: Path) -> None:
    """The others' words stay; of the deleted session nothing is in the catalog's files, and nothing is read anew."""
    async with FileStore(tmp_path, "os") as store, Catalog(store) as catalog:
        for number in range(5):
            await say(store, f"s{number}", "harvest", number)
        await say(store, "secret", "xyzzyplugh quux", 9)
        await catalog.refresh()
        await say(store, "secret", "again wumpus", 99)
        await catalog.refresh()
        await catalog.forget(["secret"])
        for suffix in ("", "-wal"):
            data = (tmp_path / f"catalog.sqlite3{suffix}").read_bytes().lower()
            for trigram in (b"xyz", b"plu", b"quu", b"wum"):
                assert trigram not in data, (suffix, trigram)
        await store.delete_session("secret", await store.read_head("secret"))
        refreshed = await catalog.refresh()
        assert refreshed.gone == 0
        assert set(await rows_of(catalog)) == {f"s{number}" for number in range(5)}
        assert len([hit async for hit in catalog.search(USER)]) == 5


async def test_a_number_that_sqlite_cannot_hold(tmp_path: Path) -> None:
    """Logs may hold integers up to 2**64 - 1: they are given as the largest that is exact everywhere."""
    from sessionlog import open_session  # noqa: PLC0415

    async with FileStore(tmp_path, "os") as store, Catalog(store) as catalog:
        for session_id in ("s", "t"):
            await say(store, session_id, "harvest", 1)
            log = await open_session(store, session_id, clock=lambda: 2**64 - 1)
            await log.save_usage(1, 2**64 - 1, 2**64 - 1, 0, 2**64 - 1)
        await catalog.refresh()
        rows = await rows_of(catalog)
        assert [row.last_ts for row in rows.values()] == [2**53 - 1] * 2
        assert {row.session_id: row.head for row in rows.values()} == {
            session_id: row.head for session_id, row in (await folded(store)).items()
        }
        assert [row.name for row in await catalog.usage("week")]
        assert (await catalog.total()).tokens.output >= 2**53 - 1
