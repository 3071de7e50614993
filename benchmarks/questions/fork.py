"""How long does it take to fork a long log at its middle?

The floor reads, hashes and decodes the first half and writes one record that holds its history.
"""

from pathlib import Path

import msgspec

from sessionlog import FileStore, SessionStart, UserInput, decode_entry, fork_at

from ..appending import PROMISE
from ..harness import Bench, Case, Contender, Question
from ..reading import BUFFER_BYTES
from ..work import GENESIS, Stopwatch, StoredLog, bare_check, bare_record, write_log

NAME = "fork"


async def cases(bench: Bench) -> list[Case]:
    log = await write_log(bench.shop.folder / "to-fork", bench.plan.stored_records)
    title = f"fork_at the middle of {log.records:,} records"
    return [Case(NAME, title, "ms", "less", [_fork(log), _bare(log)])]


def _fork(log: StoredLog) -> Contender:
    async def measure(_folder: Path) -> float:
        async with FileStore(log.store, "os") as store:
            records = await store.read_all(log.session_id)
            middle = records[len(records) // 2].hash
            del records
            watch = Stopwatch()
            forked = await fork_at(store, log.session_id, middle)
            seconds = watch.seconds
        (log.store / f"{forked.session_id}.jsonl").unlink()
        return seconds * 1000

    return Contender("sessionlog", "ours", measure, PROMISE["os"])


def _bare(log: StoredLog) -> Contender:
    async def measure(folder: Path) -> float:
        watch = Stopwatch()
        history = []
        with log.path.open("rb", buffering=BUFFER_BYTES) as file:
            for _, line in zip(range(log.records // 2), file, strict=False):
                bare_check(line)
                said = decode_entry(line)
                if isinstance(said, UserInput):
                    history.append(said.item)
        start = msgspec.structs.replace(_start(log), history=history)
        (folder / "fork.jsonl").write_bytes(bare_record(GENESIS, 0, start)[1])
        return watch.seconds * 1000

    return Contender("bare loop: hash, decode, encode, write", "floor", measure, PROMISE["os"])


def _start(log: StoredLog) -> SessionStart:
    with log.path.open("rb") as file:
        start = decode_entry(file.readline())
    assert isinstance(start, SessionStart)
    return start


QUESTION = Question(NAME, "How long does it take to fork a long log at its middle?", cases)
