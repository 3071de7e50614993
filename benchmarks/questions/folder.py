"""How fast is a folder of 100 MB of transcripts imported, searched and counted, and in how much memory?

The real transcripts of the shared data, of all formats, repeated as new sessions; made-up ones where those are not
there. Each figure is of a fresh process, from its first look at the folder on. Search reads every session for a word
that hardly occurs; statistics count every record. Their rates are in bytes of transcripts too, so that they compare.
"""

from pathlib import Path
from typing import cast

from ..appending import PROMISE
from ..children import Child
from ..folder import write_folder
from ..harness import Bench, Case, Contender, Promise, Question
from ..transcript import real_transcript

NAME = "folder"
PEAK_ROUNDS_MAX = 2
OPERATIONS = ("import", "search", "stats")


async def cases(bench: Bench) -> list[Case]:
    root, size = await write_folder(bench.shop.folder, bench.plan.folder_bytes)
    store = root.with_name(root.name + "-store")
    _run("import", root, store)
    source = "made up" if real_transcript() is None else "real ones, repeated"
    title = f"a folder of {size / 1e6:,.0f} MB of transcripts ({source})"
    rates = [_rate(operation, root, store, size) for operation in OPERATIONS]
    peaks = [_peak(operation, root, store) for operation in OPERATIONS]
    return [
        Case(f"{NAME}/rate", f"import, search and count {title}", "MB/s", "more", rates),
        Case(f"{NAME}/bytes", f"the store's bytes, {title}", "times theirs", "less", [_bytes(store, size)], 1),
        Case(f"{NAME}/memory", f"peak memory above the start, {title}", "MiB", "less", peaks, PEAK_ROUNDS_MAX),
    ]


def _rate(operation: str, root: Path, store: Path, size: int) -> Contender:
    async def measure(folder: Path) -> float:
        seconds, _ = _run(operation, root, folder / "store" if operation == "import" else store)
        return size / 1e6 / seconds

    return Contender(f"sessionlog {operation}", "ours", measure, PROMISE["os"] if operation == "import" else Promise())


def _bytes(store: Path, size: int) -> Contender:
    async def measure(_folder: Path) -> float:
        return bytes_of(store) / size

    return Contender("sessionlog", "ours", measure)


def bytes_of(store: Path) -> int:
    """Return the bytes of a store's logs."""
    return sum(path.stat().st_size for path in store.glob("*.jsonl"))


def _peak(operation: str, root: Path, store: Path) -> Contender:
    async def measure(folder: Path) -> float:
        _, peak = _run(operation, root, folder / "store" if operation == "import" else store)
        return max(0.01, peak)

    return Contender(f"sessionlog {operation}", "ours", measure)


def _run(operation: str, root: Path, store: Path) -> tuple[float, float]:
    """Return the seconds that it takes in a process of its own, and the peak of its memory in MiB."""
    child = Child("folder", operation, str(root), str(store))
    child.go()
    seconds, peak = cast(tuple[float, float], child.result())
    return seconds, peak


QUESTION = Question(NAME, "How fast is a folder of transcripts imported, searched and counted?", cases)
