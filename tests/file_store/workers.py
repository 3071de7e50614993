"""Programs that the process tests run: ``python workers.py JOB ARGUMENT...``, real writers to be raced and killed."""

import contextlib
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from sessionlog import (
    FileStore,
    HeadConflict,
    InvalidEntry,
    SessionExists,
    SessionId,
    SessionLog,
    SessionNotFound,
    SessionStartState,
    TurnEnd,
    create_session_with_id,
    open_session,
)


async def race(root: str, session_id: str, name: str, count: str) -> None:
    """Append ``count`` entries; on every conflict read the head again and retry."""
    conflicts = 0
    async with FileStore(root, "os") as store:
        log = await open_session(store, SessionId(session_id))
        print("ready", flush=True)
        await anyio.to_thread.run_sync(sys.stdin.readline)
        for number in range(int(count)):
            while True:
                try:
                    await log.save_extension("race", [name, number])
                    break
                except HeadConflict as conflict:
                    conflicts += 1
                    log = SessionLog(store, log.session_id, conflict.found)

    print(conflicts)


async def acknowledge(root: str, session_id: str, durability: str) -> None:
    """Append for ever, printing each record's position and hash once the append has returned."""
    async with FileStore(root, "disk" if durability == "disk" else "os") as store:
        try:
            log = await open_session(store, SessionId(session_id))
        except SessionNotFound:
            log = await create_session_with_id(store, SessionId(session_id), SessionStartState())
        if log.head is None:
            raise SystemExit("an empty log is left")
        number = log.head.seq
        while True:
            number += 1
            hash_ = await log.append(TurnEnd(ts=0, turn_count=number))
            sys.stdout.write(f"{number} {hash_}\n")
            sys.stdout.flush()


async def many_sessions(root: str, count: str, descriptors_max: str) -> None:
    """Keep ``count`` sessions open for append at once, under a limit of descriptors; print how many logs are open."""
    import resource  # noqa: PLC0415 - the limit must be set before the store asks for it

    resource.setrlimit(resource.RLIMIT_NOFILE, (int(descriptors_max), int(descriptors_max)))
    async with FileStore(root, "disk") as store:

        async def write(number: int) -> None:
            log = await create_session_with_id(store, SessionId(f"s{number}"), SessionStartState())
            for turn in range(3):
                await log.save_turn_end(turn)

        async with anyio.create_task_group() as group:
            for number in range(int(count)):
                group.start_soon(write, number)
        print(len(list(Path("/proc/self/fd").iterdir())))


async def visit(root: str, name: str, count: str) -> None:
    """Append twice to each of ``count`` sessions, whoever made them; print the hashes that were acknowledged."""
    async with FileStore(root, "disk") as store:

        async def write(session_id: str) -> None:
            for number in range(2):
                while True:
                    try:
                        log = await open_session(store, session_id)
                        print(await log.save_extension("visit", [name, number]))
                        break
                    except (SessionNotFound, HeadConflict, InvalidEntry):
                        with contextlib.suppress(SessionExists):
                            await create_session_with_id(store, session_id, SessionStartState())

        async with anyio.create_task_group() as group:
            for number in range(int(count)):
                group.start_soon(write, SessionId(f"s{number}"))


async def many_appends(root: str, count: str) -> None:
    """Append ``count`` times; print the resident memory in bytes after a quarter of them, and at the end."""

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    async with FileStore(root, "os") as store:
        log = await create_session_with_id(store, SessionId("long"), SessionStartState())
        for number in range(int(count)):
            if number == int(count) // 4:
                print(resident())
            await log.append(TurnEnd(ts=0, turn_count=number))
        print(resident())


async def start_as_nobody(root: str, session_id: str) -> None:
    """Make a session without the rights of root, or say which error that gave."""
    await anyio.to_thread.run_sync(int)  # whatever is imported on first use must be there before the rights go
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    try:
        async with FileStore(root, "disk") as store:
            await create_session_with_id(store, SessionId(session_id), SessionStartState())
    except Exception as error:  # noqa: BLE001 - the name is the answer
        print(type(error).__name__, error)
    else:
        print("made")


JOBS: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
    job.__name__: job for job in (race, acknowledge, many_sessions, many_appends, visit, start_as_nobody)
}

if __name__ == "__main__":
    job, backend, *arguments = sys.argv[1:]
    anyio.run(JOBS[job], *arguments, backend=backend)
