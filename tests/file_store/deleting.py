"""What the tests of deletion share, and what they run in processes of its own.

deleting.py disk|os FOLDER        delete in processes that are killed at each system call in turn
deleting.py receipt FOLDER        the same, with a receipt
deleting.py append FOLDER NAME    append until the session is gone; note what was acknowledged
"""

import itertools
import os
import signal
import sys
from pathlib import Path

import anyio

from sessionlog import (
    Durability,
    Extension,
    FileStore,
    HashedEntry,
    Head,
    HeadConflict,
    RequestConfig,
    SessionId,
    SessionNotFound,
    SessionStart,
    build_chain,
    delete,
    link,
)
from sessionlog.testing.faults import Fault, FaultySystem, Kill

ID = SessionId("deleted")
OTHER = SessionId("deleted-not")


def new_log(text: str = "", count: int = 3, session_id: str = ID) -> list[HashedEntry]:
    start = SessionStart(
        ts=0,
        format="sessionlog/1",
        session_id=session_id,
        system_prompt=text,
        config=RequestConfig(),
        history=[],
    )
    rest = [Extension(ts=n, domain="test", payload="first" if n < count - 2 else "last") for n in range(count - 1)]
    return build_chain([start, *rest])


def chain_onto(head: Head, count: int, text: str = "") -> list[HashedEntry]:
    records: list[HashedEntry] = []
    for number in range(count):
        last = records[-1].head if records else head
        records.append(link(last, Extension(ts=0, domain="test", payload=f"{text}{number}")))
    return records


async def prepare(root: Path) -> list[HashedEntry]:
    """Make the session with all that may lie beside its log, and another one whose name begins as its does."""
    log = new_log()
    async with FileStore(root, "os") as store:
        await store.create_session(ID, log)
        await store.create_session(OTHER, new_log(session_id=OTHER))
        await store.append_trace(ID, {"a": "trace"})
        await store.append_trace(OTHER, {"a": "trace"})
    for name in (f"{ID}.torn-100", f"{ID}.torn-100-2", f"{ID}.repairing", f"{OTHER}.torn-7", f"{ID}.torn-notes"):
        (root / name).write_bytes(b"bytes")
    (root / f"{ID}.torn-notes").rename(root / "notes")
    return log


async def expect_whole_or_gone(root: Path, log: list[HashedEntry]) -> bool:
    """Return whether the session is gone; if not it must be whole. Either way, the store must go on."""
    async with FileStore(root, "os") as store:
        assert await store.read_all(OTHER) == new_log(session_id=OTHER)
        if await store.exists(ID):
            assert await store.read_all(ID) == log
            return False
        return True


async def _delete(root: Path, durability: Durability, fault: Fault) -> None:
    log = await prepare(root)
    async with FileStore(root, durability, system=FaultySystem(fault)) as store:
        await store.delete_session(ID, log[-1].head)


async def _delete_with_receipt(root: Path, durability: Durability, fault: Fault) -> None:
    await prepare(root)
    async with FileStore(root, durability, system=FaultySystem(fault)) as store:
        await delete(store, ID, reason="a test")


def delete_killed(durability: Durability, folder: Path, *, receipt: bool = False) -> None:
    """Delete in a child for each call before or behind which it can be killed."""
    for when in ("before", "after"):
        for at in itertools.count(1):
            child = os.fork()  # this process runs no event loop and no thread
            if child == 0:
                status = 1
                try:
                    fault = Fault(at=at, action=Kill("before" if when == "before" else "after"))
                    anyio.run(
                        _delete_with_receipt if receipt else _delete, folder / f"{when}-{at:03}", durability, fault
                    )
                    status = 0
                finally:
                    os._exit(status)
            _, status = os.waitpid(child, 0)
            if status == 0:
                break  # there is no such call any more
            assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, f"call {at} ended otherwise: {status}"


async def append(root: Path, name: str) -> None:
    """Append behind whatever the head is, until the session is gone."""
    with (root / f"{name}.acknowledged").open("a") as noted:
        async with FileStore(root) as store:
            print("begun", flush=True)
            for number in itertools.count():
                try:
                    head = await store.read_head(ID)
                    assert head is not None, "a session with records has a head"
                    record = link(head, Extension(ts=0, domain=name, payload=number))
                    await store.append(ID, record)
                except HeadConflict:
                    continue
                except SessionNotFound:
                    return
                noted.write(f"{record.seq}\n")
                noted.flush()


if __name__ == "__main__":
    if sys.argv[1] == "append":
        anyio.run(append, Path(sys.argv[2]), sys.argv[3])
    elif sys.argv[1] == "receipt":
        delete_killed("disk", Path(sys.argv[2]), receipt=True)
    else:
        delete_killed("os" if sys.argv[1] == "os" else "disk", Path(sys.argv[2]))
