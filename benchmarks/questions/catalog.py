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
from .folder import bytes_of
from .listing import bare_list

NAME = "catalog"
BUILDS_MAX: Final = 3
LIST: Final = "sessionlog, list --limit 50"
STATS: Final = "sessionlog, stats"
BY_DAY: Final = "sessionlog, stats --by day"
GRAPH: Final = "sessionlog, graph"
RARE: Final = "quokkafruit"


async def cases(bench: Bench) -> list[Case]:
    count = bench.plan.small_sessions
    small = await bench.shop.small_sessions(count)
    imported = await _imported(bench.shop.folder, bench.plan.folder_bytes)
    searched = await _imported(bench.shop.folder, bench.plan.searched_bytes)
    async with FileStore(searched, "os") as store:
        log = await create_session_with_id(store, SessionId("rare"), SessionStartState())
        await log.save_delta([user_message(f"nobody but this one asks for a {RARE}")])
    size, searched_size = bytes_of(imported), bytes_of(searched)
    await _refresh(small)
    await _refresh(searched)
    asking = [
        _ask(small, LIST, lambda catalog: catalog.sessions(limit=50)),
        _ask(small, STATS, lambda catalog: catalog.total()),
        _ask(small, BY_DAY, lambda catalog: catalog.usage("day")),
        _ask(small, GRAPH, lambda catalog: catalog.links()),
        bare_list(small, count),
    ]
    searching = installed([_search(searched), _grep(searched) if shutil.which("grep") else None])
    built = f"build the catalog of {size / 1e6:,.0f} MB"
    return [
        Case(f"{NAME}/ask", f"ask a current catalog of {count:,} sessions", "ms", "less", asking),
        Case(f"{NAME}/search", f"search {searched_size / 1e6:,.0f} MB for a rare word", "ms", "less", searching),
        Case(f"{NAME}/build", built, "MB/s", "more", [_build(imported, size)], BUILDS_MAX),
        Case(f"{NAME}/size", "the catalog's bytes, of its store's", "%", "less", [_share(imported, size)], 1),
    ]


async def _imported(folder: Path, size: int) -> Path:
    """Return the store of a folder of transcripts of ``size`` bytes."""
    root, _ = await write_folder(folder, size)
    store = root.with_name(root.name + "-catalogued")
    if not store.exists():
        child = Child("folder", "import", str(root), str(store))
        child.go()
        child.result()
    return store


async def _refresh(root: Path) -> None:
    async with FileStore(root, "os") as store, _catalog(store, root) as catalog:
        await catalog.refresh()


def _catalog(store: FileStore, root: Path) -> Catalog:
    return Catalog(store, root.with_name(root.name + ".sqlite3"))


def _ask(root: Path, name: str, ask: Callable[[Catalog], Awaitable[object]]) -> Contender:
    async def measure(_folder: Path) -> float:
        async with FileStore(root, "os") as store, _catalog(store, root) as catalog:
            await catalog.session("")  # opens the file
            watch = Stopwatch()
            await catalog.refresh()
            await ask(catalog)
            return watch.seconds * 1000

    return Contender(name, "ours", measure)


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
