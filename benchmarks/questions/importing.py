"""How fast is a transcript of 30 MB imported?

Repeated from a real one of the shared data where that is there, else made up: the title says which. The floor reads the
lines, parses each with msgspec, hashes and writes it once; an import reads the file twice, for it has to know the whole
tree before it writes the first session.
"""

import os
from pathlib import Path

import msgspec
from blake3 import blake3

from sessionlog import Durability, FileStore
from sessionlog.importers.claude_code import import_file

from ..appending import PROMISE
from ..harness import Bench, Case, Contender, Question
from ..transcript import source_name, write_transcript
from ..work import Stopwatch

NAME = "import"
BARE = "bare loop: parse, hash, write each line"


async def cases(bench: Bench) -> list[Case]:
    path, size = await write_transcript(bench.shop.folder, bench.plan.transcript_bytes)
    title = f"import a Claude Code transcript of {size / 1e6:,.0f} MB ({source_name()})"
    contenders = [_import(path, size, "os"), _import(path, size, "disk"), _bare(path, size)]
    return [Case(NAME, title, "MB/s", "more", contenders)]


def _import(path: Path, size: int, durability: Durability) -> Contender:
    async def measure(folder: Path) -> float:
        async with FileStore(folder, durability) as store:
            watch = Stopwatch()
            await import_file(store, path)
            return watch.rate(size) / 1e6

    return Contender(f'sessionlog, "{durability}"', "ours", measure, PROMISE[durability])


def _bare(path: Path, size: int) -> Contender:
    async def measure(folder: Path) -> float:
        out = os.open(folder / "copy.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        watch = Stopwatch()
        with path.open("rb", buffering=2**20) as file:
            for line in file:
                msgspec.json.decode(line)
                blake3(line).hexdigest()
                os.write(out, line)
        rate = watch.rate(size)
        os.close(out)
        return rate / 1e6

    return Contender(BARE, "floor", measure, PROMISE["os"])


QUESTION = Question(NAME, "How fast is a long transcript imported?", cases)
