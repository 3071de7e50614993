"""Run a call on a store in a process of its own and print by how much its peak memory grew, in bytes."""

import resource
import sys
from contextlib import suppress
from pathlib import Path

import anyio

from sessionlog import (
    CorruptLog,
    FileStore,
    SessionId,
    audit_store,
    create_session_with_id,
    open_session,
    restore,
    verify_store,
)
from sessionlog.session import SessionStartState

TORN = SessionId("torn")


def peak_bytes() -> int:
    """Return this process's peak; on Linux ``ru_maxrss`` begins with that of the process that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


async def run(call: str, root: Path) -> None:
    async with FileStore(root, "os") as store:
        match call:
            case "read_all":
                assert len(await store.read_all(TORN)) == 1
            case "read":
                assert [record.seq async for record in store.read(TORN)] == [0]
            case "read_head":
                head = await store.read_head(TORN)
                assert head is not None
                assert head.seq == 0
            case "restore":
                await restore(store, TORN)
            case "follow":
                async for _ in store.follow(TORN):
                    break
            case "read_head of a line that is too long":
                with suppress(CorruptLog):
                    await store.read_head(TORN)
            case "audit of a line that is too long":
                assert [report.verdict.state async for report in audit_store(store)] == ["broken"]
            case "append":
                await (await open_session(store, TORN)).save_turn_end(1)
            case "verify":
                assert [report.verdict.state async for report in verify_store(store)] == ["torn_tail"]
            case "audit":
                assert [report.verdict.state async for report in audit_store(store)] == ["torn_tail"]
            case _:
                raise AssertionError(call)


async def warm_up(root: Path) -> None:
    """Load what a first call loads."""
    async with FileStore(root, "os") as store:
        await create_session_with_id(store, SessionId("one"), SessionStartState())
        async for _ in audit_store(store):
            pass
        await store.read_all(SessionId("one"))


def main(call: str, root: Path) -> None:
    anyio.run(warm_up, root / "small")
    before = peak_bytes()
    anyio.run(run, call, root / "large")
    print(peak_bytes() - before)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
