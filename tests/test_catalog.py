"""The catalog says what a fold of every log from its start says, after every change, and reads only what is new."""

import os
import sqlite3
import stat
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessionlog import (
    Extension,
    FileStore,
    HashedEntry,
    MemoryStore,
    Position,
    RequestConfig,
    SessionStartState,
    StoreFailed,
    create_session_with_id,
    fork_at,
    open_session,
    tool_call,
    tool_result,
    user_message,
)
from sessionlog.catalog import Catalog, SessionRow
from sessionlog.catalog.rows import RowFold
from sessionlog.catalog.texts import trigrams_of

pytestmark = pytest.mark.anyio
WORDS = ("refund", "harvest", "lamp", "ünïcode", "a%b_c")


async def folded(store: FileStore | MemoryStore) -> dict[str, SessionRow]:
    """Fold every log from its start."""
    rows: dict[str, SessionRow] = {}
    for session_id in await store.list_sessions():
        fold = RowFold.begin(session_id)
        for record in await store.read_all(session_id):
            fold.take(record)
        rows[session_id] = fold.row()
    return rows


async def say(store: FileStore | MemoryStore, session_id: str, words: str, ts: int) -> None:
    """Add a turn to a session, making it if need be."""
    clock = iter(range(ts, ts + 100)).__next__
    if await store.exists(session_id):
        log = await open_session(store, session_id, clock=clock)
    else:
        state = SessionStartState("p", RequestConfig(model=f"model-{len(words)}"))
        log = await create_session_with_id(store, session_id, state, clock=clock)
    await log.save_delta([user_message(words), tool_call("c", "Bash", "{}"), tool_result("c", f"{words} out")])
    await log.save_usage(1, 100, 10, 5, 7)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["say", "say", "label", "fork", "delete", "replace", "note", "reopen"]),
        st.sampled_from(["s1", "s2", "s3"]),
        st.sampled_from(WORDS),
    ),
    max_size=12,
)


@settings(max_examples=30, deadline=None)
@given(STEPS)
def test_the_catalog_equals_a_fold_from_scratch(steps: list[tuple[str, str, str]]) -> None:
    """After every step, whoever made it; also where the catalog is opened anew, and by two catalogs on one file."""

    async def run(folder: Path) -> None:
        path = folder / "catalog.sqlite3"
        async with FileStore(folder / "store", "os") as store, Catalog(store, path) as other:
            catalog = Catalog(store, path)
            for number, (step, session_id, words) in enumerate(steps):
                await act(store, step, session_id, words, 1_700_000_000_000 + number * 10_000_000)
                if step == "reopen":
                    await catalog.aclose()
                    catalog = Catalog(store, path)
                await (catalog if number % 2 else other).refresh()
                await catalog.refresh()
                expected = await folded(store)
                for one in (catalog, other):
                    page = await one.sessions()
                    assert {row.session_id: row for row in page.rows} == expected
                await check_words(store, catalog)
            await catalog.aclose()

    import tempfile  # noqa: PLC0415 - Hypothesis draws many examples, each in a folder of its own

    with tempfile.TemporaryDirectory() as folder:
        anyio.run(run, Path(folder))


async def act(store: FileStore, step: str, session_id: str, words: str, ts: int) -> None:
    there = await store.exists(session_id)
    match step:
        case "say":
            await say(store, session_id, words, ts)
        case "label" if there:
            await (await open_session(store, session_id, clock=lambda: ts)).set_labels({"team": words}, title=words)
        case "fork" if there:
            head = await store.read_head(session_id)
            await fork_at(store, session_id, head.hash if head else "", clock=lambda: ts)
        case "delete" | "replace" if there:
            await store.delete_session(session_id, await store.read_head(session_id))
            if step == "replace":
                await say(store, session_id, words, ts)
        case "note" if there:
            note = {"format": "codex", "cwd": f"/home/{words}", "version": "1.0"}
            await (await open_session(store, session_id)).append(Extension(ts=ts, domain="import", payload=note))


async def check_words(store: FileStore, catalog: Catalog) -> None:
    """Whatever holds a word is among its candidates, and each of these is read back from the log."""
    for word in WORDS:
        candidates = await catalog.candidates(word)
        assert candidates is not None
        named = {(one.session_id, seq) for one in candidates for seq in range(one.seq, one.last_seq + 1)}
        for session_id in await store.list_sessions():
            for record in await store.read_all(session_id):
                if word in record.line.decode() and b'"kind":"user_input"' in record.line:
                    assert (session_id, record.seq) in named
        for one in candidates:
            found = await catalog.read(one)
            assert [record.seq for record in found] == list(range(one.seq, one.last_seq + 1))
            assert any(word in record.line.decode() for record in found)


class Counting(MemoryStore):
    """Counts the records that are read."""

    read_count = 0

    async def read(self, session_id: str, *, after: int | Position | None = None) -> AsyncGenerator[HashedEntry, None]:
        async with aclosing(super().read(session_id, after=after)) as records:
            async for record in records:
                self.read_count += 1
                yield record


async def test_a_refresh_reads_what_is_new() -> None:
    """Of a session of many records, and of many sessions, a new record costs itself."""
    store = Counting()
    for number in range(20):
        await say(store, f"s{number}", "harvest", 1)
    async with Catalog(store) as catalog:
        assert (await catalog.refresh()).read == 20
        store.read_count = 0
        await say(store, "s3", "lamp", 5)
        assert (await catalog.refresh()).read == 1
        assert store.read_count == 4
        store.read_count = 0
        assert (await catalog.refresh()).read == 0
        assert store.read_count == 0


async def test_sessions_are_asked_for_by_what_they_are(tmp_path: Path) -> None:
    """By time, project, model, label and kind, in pages."""
    async with FileStore(tmp_path / "store", "os") as store, Catalog(store) as catalog:
        assert catalog.path == tmp_path / "store" / "catalog.sqlite3"
        for number in range(7):
            await say(store, f"s{number}", WORDS[number % 2], number * 86_400_000)
        log = await open_session(store, "s1")
        await log.set_labels({"team": "x"})
        await log.save_extension("import", {"format": "codex", "cwd": "/srv/orchard"})
        await fork_at(store, "s2", (await open_session(store, "s2")).head_hash or "")
        await catalog.refresh()

        async def ids(**asked: object) -> list[str]:
            page = await catalog.sessions(**asked)  # type: ignore[arg-type]
            return [row.session_id for row in page.rows]

        assert await ids(label="team") == await ids(label="team=x") == await ids(project="orchard") == ["s1"]
        assert await ids(label="team=y") == await ids(project="chard") == []
        assert await ids(project="/srv/orchard") == ["s1"]
        assert set(await ids(model="model-7")) == {"s1", "s3", "s5"}
        assert await ids(since_ms=5 * 86_400_000, kind="main") == ["s6", "s5"]
        assert set(await ids(until_ms=86_400_000, kind="main")) >= {"s0"}
        assert len(await ids(kind="fork")) == 1
        pages, cursor = [], None
        while True:
            page = await catalog.sessions(limit=3, after=cursor, kind="main")
            pages.append([row.session_id for row in page.rows])
            cursor = page.cursor
            if cursor is None:
                break
        assert [one for page in pages for one in page] == await ids(kind="main")
        assert [len(page) for page in pages] == [3, 3, 1]
        with pytest.raises(ValueError, match="cursor"):
            await catalog.sessions(after="x")
        by_day = await catalog.usage("day")
        assert [row.name for row in by_day] == [f"1970-01-0{day}" for day in range(1, 8)]
        assert sum(tokens.output for row in by_day for tokens in row.models.values()) == 7 * 7
        assert [row.name for row in await catalog.usage("project")] == ["", "/srv/orchard"]


@pytest.mark.parametrize("damage", ["garbage", "foreign", "version", "cut"])
async def test_a_file_that_is_no_catalog_is_made_anew(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "c.sqlite3"
    async with FileStore(tmp_path / "store", "os") as store:
        await say(store, "s", "harvest", 1)
        async with Catalog(store, path) as catalog:
            assert (await catalog.refresh()).rebuilt is None
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        if damage == "garbage":
            path.write_bytes(b"no database" * 1000)
        elif damage == "cut":
            os.truncate(path, 5000)
        else:
            with sqlite3.connect(path) as other:
                other.execute("PRAGMA user_version = 99" if damage == "version" else "PRAGMA application_id = 7")
            other.close()
        async with Catalog(store, path) as catalog:
            refreshed = await catalog.refresh()
            assert refreshed.rebuilt is not None
            assert [row.session_id for row in (await catalog.sessions()).rows] == ["s"]


async def test_a_damaged_log_keeps_no_other_out(tmp_path: Path) -> None:
    """Its row is of what stands before the damage, with the reason."""
    async with FileStore(tmp_path, "os") as store, Catalog(store) as catalog:
        for name in ("bad", "good"):
            await say(store, name, "harvest", 1)
        line = (tmp_path / "bad.jsonl").read_bytes()
        (tmp_path / "bad.jsonl").write_bytes(line.replace(b"harvest out", b"harvest oUt"))
        refreshed = await catalog.refresh()
        assert list(refreshed.faults) == ["bad"]
        rows = {row.session_id: row for row in (await catalog.sessions()).rows}
        assert rows["good"].fault is None
        assert rows["bad"].fault is not None
        assert rows["bad"].records == 3


async def test_what_is_forgotten_is_in_no_file(tmp_path: Path) -> None:
    """Before a session is deleted, its words are taken out of the index, and the others come back."""
    async with FileStore(tmp_path, "os") as store:
        await say(store, "secret", "xyzzyplugh", 1)
        await say(store, "other", "harvest", 1)
        async with Catalog(store) as catalog:
            await catalog.refresh()
            await catalog.forget(["secret"])
            await store.delete_session("secret", await store.read_head("secret"))
            await catalog.refresh()
            assert await catalog.candidates("xyzzyplugh") == []
            assert len(await catalog.candidates("harvest") or []) == 1
            assert await catalog.session("secret") is None
        for file in tmp_path.iterdir():
            assert b"xyz" not in file.read_bytes().lower(), file


async def test_a_catalog_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    async with Catalog(MemoryStore(), tmp_path / "taken") as catalog:
        with pytest.raises(StoreFailed, match="catalog"):
            await catalog.refresh()


def test_short_and_odd_texts_are_not_narrowed() -> None:
    """Where the index could miss something, it says that only reading tells."""
    assert trigrams_of("ab") is None
    assert trigrams_of("stra\u1e9ee") is None
    assert trigrams_of("lamp") == ["lam", "amp"]
    assert len(trigrams_of("x" * 10 + "abcdefghijklmnopqrstuvwxyz" * 3) or []) == 16
