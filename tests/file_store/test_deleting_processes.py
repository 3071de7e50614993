"""Deletions with receipts, appends, creations and imports of one id by several processes at once."""

import subprocess
import sys
from pathlib import Path

import anyio

from sessionlog import (
    RECEIPTS_SESSION,
    Deletions,
    Extension,
    FileStore,
    ReceiptState,
    SessionStartState,
    create_session_with_id,
    verify_session,
)

SCRIPT = """
import sys
import anyio
from pathlib import Path
from sessionlog import (
    FileStore, HeadConflict, SessionExists, SessionNotFound, SessionStartState, create_session_with_id, delete,
    open_session,
)
from sessionlog.importers import import_file

ROUNDS = 12

async def write(store, name):
    for number in range(ROUNDS):
        while True:
            try:
                log = await open_session(store, "raced")
                await log.save_extension("test", f"{name}{number}")
            except HeadConflict:
                continue
            except SessionNotFound:
                try:
                    await create_session_with_id(store, "raced", SessionStartState())
                except (SessionExists, HeadConflict):
                    pass
                continue
            break

async def remove(store, name):
    for _ in range(ROUNDS):
        try:
            await delete(store, "raced", by=name)
        except (HeadConflict, SessionNotFound):
            pass

async def imports(store, path):
    for _ in range(ROUNDS):
        while True:
            try:
                await import_file(store, Path(path))
            except HeadConflict:  # another import has brought some of it meanwhile
                continue
            break

async def main():
    verb, root, argument = sys.argv[1:]
    async with FileStore(root, "os", lock_wait_s=60) as store:
        print("begun", flush=True)
        sys.stdin.readline()
        await {"write": write, "remove": remove, "import": imports}[verb](store, argument)

anyio.run(main)
"""


def race(root: Path, *processes: tuple[str, str]) -> None:
    """Run the processes from one moment on, to their ends."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, verb, str(root), argument], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for verb, argument in processes
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in started:
        process.communicate()
        assert process.returncode == 0


def test_processes_that_write_and_delete_one_id_lose_nothing(tmp_path: Path) -> None:
    """Each acknowledged append is in exactly one log: one that a receipt tells of, or the one that is there."""
    race(tmp_path, ("write", "a"), ("write", "b"), ("remove", "c"), ("remove", "d"))
    anyio.run(_check_sum, tmp_path, 24)


async def _check_sum(root: Path, acknowledged: int) -> None:
    async with FileStore(root) as store:
        receipts = await Deletions(store).receipts()
        assert receipts.open == {}
        assert (await verify_session(store, RECEIPTS_SESSION)).ok
        deleted = 0
        heads: dict[str, int] = {}
        for record in await store.read_all(RECEIPTS_SESSION):
            if isinstance(record.entry, Extension):
                note = record.entry.payload
                if note["state"] == ReceiptState.BEGUN:
                    heads[note["nonce"]] = note["head"]["seq"]
                elif note["state"] == ReceiptState.DONE:
                    deleted += heads[note["nonce"]]
        left = len(await store.read_all("raced")) - 1 if await store.exists("raced") else 0
        assert deleted + left == acknowledged


def test_processes_that_import_a_session_do_not_bring_back_what_another_one_deletes(tmp_path: Path) -> None:
    transcript = tmp_path / "raced.jsonl"
    root = tmp_path / "store"
    anyio.run(_make_log, tmp_path / "made", transcript)
    imports = ("import", str(transcript))
    race(root, imports, imports, ("remove", "d"))
    race(root, ("remove", "d"), imports, imports)
    anyio.run(_check_gone, root)


async def _make_log(root: Path, path: Path) -> None:
    async with FileStore(root, "os") as store:
        log = await create_session_with_id(store, "raced", SessionStartState())
        await log.save_extension("test", "x")
    path.write_bytes((root / "raced.jsonl").read_bytes())


async def _check_gone(root: Path) -> None:
    async with FileStore(root) as store:
        receipts = await Deletions(store).receipts()
        assert receipts.open == {}
        assert list(receipts.done) == ["raced"]
        assert not await store.exists("raced")
        assert not list(root.glob("raced.*"))
