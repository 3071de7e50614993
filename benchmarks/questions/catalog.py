"""What does a catalog cost: to build, to keep, to ask; and does a search in it beat grep?

Many small sessions are asked for as ``list --limit 50``, ``stats`` and ``graph`` ask, each time brought up to date
first. The floor is what any answer needs that trusts nothing but the files: to list, stat and sort them. A folder of
transcripts is imported for the catalog's size and the search; grep reads the logs from the page cache.
"""

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import anyio

from sessionlog import FileStore, SessionId, SessionStartState, create_session_with_id, user_message
from sessionlog.catalog import Catalog
from sessionlog.queries import Query

from ..children import Child
from ..folder import write_folder
from ..harness import Bench, Case, Contender, Question, installed
from ..work import Stopwatch
from .listing import bare_list

NAME = "catalog"
SESSIONS_MAX: Final = 20_000
RARE: Final = "quokkafruit"


async def cases(bench: Bench) -> list[Case]:
    count = min(SESSIONS_MAX, bench.plan.listed_sessions)
    small = bench.shop.folder / "catalogued"
    await _write(small, count)
    root, _ = await write_folder(bench.shop.folder, bench.plan.folder_bytes)
    imported = root.with_name(root.name + "-catalogued")
    child = Child("folder", "import", str(root), str(imported))
    child.go()
    child.result()
    async with FileStore(imported, "os") as store:
        log = await create_session_with_id(store, SessionId("rare"), SessionStartState())
        await log.save_delta([user_message(f"nobody but this one asks for a {RARE}")])
    size = _size(imported)
    await _refresh(small)
    await _refresh(imported)
    asking = [
        _ask(small, "list --limit 50", lambda catalog: catalog.sessions(limit=50)),
        _ask(small, "stats --by day", lambda catalog: catalog.usage("day")),
        _ask(small, "stats", lambda catalog: catalog.total()),
        _ask(small, "graph", lambda catalog: catalog.links()),
        bare_list(small, count),
    ]
    searching = installed([_search(imported), _grep(imported) if shutil.which("grep") else None])
    return [
        Case(f"{NAME}/ask", f"ask a current catalog of {count:,} sessions", "ms", "less", asking),
        Case(f"{NAME}/search", f"search {size / 1e6:,.0f} MB of logs for a rare word", "ms", "less", searching),
        Case(f"{NAME}/build", f"build the catalog of {size / 1e6:,.0f} MB", "MB/s", "more", [_build(imported, size)]),
        Case(f"{NAME}/size", "the catalog's bytes, of its store's", "%", "less", [_share(imported, size)], 1),
    ]


async def _write(root: Path, count: int) -> None:
    async with FileStore(root, "os") as store:
        for number in range(count):
            log = await create_session_with_id(store, SessionId(f"session-{number:07d}"), SessionStartState())
            await log.save_delta([user_message(f"What is the state of parcel {number}?")])
            await log.save_usage(1, 1000, 0, 0, 50)


async def _refresh(root: Path) -> None:
    async with FileStore(root, "os") as store, _catalog(store, root) as catalog:
        await catalog.refresh()


def _catalog(store: FileStore, root: Path) -> Catalog:
    return Catalog(store, root.with_name(root.name + ".sqlite3"))


def _size(root: Path) -> int:
    return sum(path.stat().st_size for path in root.glob("*.jsonl"))


def _ask(root: Path, name: str, ask: Callable[[Catalog], Awaitable[object]]) -> Contender:
    async def measure(_folder: Path) -> float:
        async with FileStore(root, "os") as store, _catalog(store, root) as catalog:
            await catalog.session("")  # opens the file
            watch = Stopwatch()
            await catalog.refresh()
            await ask(catalog)
            return watch.seconds * 1000

    return Contender(f"sessionlog, {name}", "ours", measure)


def _search(root: Path) -> Contender:
    query = Query(text=RARE, places=frozenset({"user", "assistant"}))

    async def measure(_folder: Path) -> float:
        async with FileStore(root, "os") as store, _catalog(store, root) as catalog:
            await catalog.session("")
            watch = Stopwatch()
            await catalog.refresh()
            found = [hit.session_id async for hit in catalog.search(query)]
            seconds = watch.seconds
        assert found == ["rare"]
        return seconds * 1000

    return Contender("sessionlog, from a current catalog", "ours", measure)


def _grep(root: Path) -> Contender:
    async def measure(_folder: Path) -> float:
        watch = Stopwatch()
        await anyio.run_process(["grep", "-rlF", "--include=*.jsonl", RARE, str(root)])
        return watch.seconds * 1000

    return Contender("grep -rlF", "peer", measure)


def _build(root: Path, size: int) -> Contender:
    async def measure(folder: Path) -> float:
        async with FileStore(root, "os") as store, Catalog(store, folder / "catalog") as catalog:
            watch = Stopwatch()
            await catalog.refresh()
            return size / 1e6 / watch.seconds

    return Contender("sessionlog, one process", "ours", measure)


def _share(root: Path, size: int) -> Contender:
    async def measure(folder: Path) -> float:
        async with FileStore(root, "os") as store, Catalog(store, folder / "catalog") as catalog:
            await catalog.refresh()
        return (folder / "catalog").stat().st_size / size * 100

    return Contender("sessionlog", "ours", measure)


QUESTION = Question(NAME, "What does a catalog cost to build, to keep and to ask?", cases)
