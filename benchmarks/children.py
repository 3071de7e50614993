"""What runs in a process of its own: ``python -m benchmarks.children TASK ARGUMENT...``.

A child says ``ready`` once its imports and preparations are done, waits for a line on standard input, does its task and
prints one JSON value. ``time.monotonic_ns`` is one clock for all processes of a machine.
"""

import json
import os
import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final, cast

import anyio
import anyio.to_thread

from benchmarks.work import GENESIS, bare_check, bare_record, entries
from sessionlog import (
    Durability,
    Extension,
    FileStore,
    HeadConflict,
    SessionId,
    audit_session,
    audit_store,
    now_ms,
    open_session,
    verify_session,
    verify_store,
)

ROOT: Final = Path(__file__).resolve().parent.parent
LINE_BYTES: Final = 1024


class Child:
    """A child process that is ready."""

    def __init__(self, task: str, *arguments: str) -> None:
        """Start it, and wait until it is ready."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.children", task, *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        line = self._read()
        if line != "ready":
            raise RuntimeError(f"the child {task} said {line!r}")

    def go(self) -> None:
        """Let it begin."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def result(self) -> object:
        """Wait for its result."""
        line = self._read()
        self._process.communicate()
        if self._process.returncode != 0:
            raise RuntimeError(f"the child ended with status {self._process.returncode}")
        return json.loads(line)

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip("\n")


def seconds_of(children: Sequence[Child]) -> float:
    """Let all begin at once; return the seconds from the first one's beginning to the last one's end."""
    for child in children:
        child.go()
    spans = [cast(tuple[int, int], child.result()) for child in children]
    return (max(end for _, end in spans) - min(begin for begin, _ in spans)) / 1e9


def import_seconds(statement: str, times: int) -> float:
    """Return the median time that ``statement`` takes in a fresh interpreter."""
    code = f"import time; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
    found = sorted(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(times)
    )
    return found[len(found) // 2]


# The tasks.


def _start() -> int:
    """Say ready, wait, and return the time."""
    print("ready", flush=True)
    if not sys.stdin.readline():
        sys.exit(1)
    return time.monotonic_ns()


async def append(root: str, session: str, durability: str, count: str) -> object:
    """Append; after a conflict, behind the head that is there then."""
    session_id = SessionId(session)
    work = entries(int(count))
    async with FileStore(root, cast(Durability, durability)) as store:
        log = await open_session(store, session_id)
        begin = _start()
        for entry in work:
            while True:
                try:
                    await log.append(entry)
                    break
                except HeadConflict:
                    log = await open_session(store, session_id)
        return begin, time.monotonic_ns()


async def bare_append(path: str, durability: str, count: str) -> object:
    """Lock, read the last record's hash, encode, hash, write, unlock: the least that sharing a chain takes."""
    import fcntl  # noqa: PLC0415 - not on every platform

    work = entries(int(count))
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    begin = _start()
    for seq, entry in enumerate(work):
        fcntl.flock(file, fcntl.LOCK_EX)
        size = os.fstat(file).st_size
        last = os.pread(file, min(size, LINE_BYTES), max(0, size - LINE_BYTES))
        os.write(file, bare_record(last[9:73] or GENESIS, seq, entry)[1])
        fcntl.flock(file, fcntl.LOCK_UN)
        if durability == "disk":
            os.fdatasync(file)
    end = time.monotonic_ns()
    os.close(file)
    return begin, end


async def insert(path: str, session: str, synchronous: str, count: str) -> object:
    """Append to a table of sqlite3, which waits for the other writer by itself."""
    import msgspec  # noqa: PLC0415 - a dependency of the library, but not of every task

    work = entries(int(count))
    database = sqlite3.connect(path, isolation_level=None, timeout=60)
    database.execute(f"PRAGMA synchronous = {synchronous}")
    begin = _start()
    for entry in work:
        row = (session, msgspec.json.encode(entry))
        database.execute("INSERT INTO message (session, data) VALUES (?, ?)", row)
    end = time.monotonic_ns()
    database.close()
    return begin, end


async def tick(root: str, session: str, count: str, pause_s: str) -> object:
    """Append ``count`` records that say when they were appended, with pauses."""
    async with FileStore(root, "os") as store:
        log = await open_session(store, SessionId(session))
        _start()
        for _ in range(int(count)):
            await anyio.sleep(float(pause_s))
            await log.append(Extension(ts=now_ms(), domain="tick", payload=time.monotonic_ns()))
    return None


async def peak(operation: str, root: str, session: str) -> object:
    """Return the peak of resident memory above its start, in MiB, of an operation on a log."""
    run = _STREAMED[operation]
    await anyio.to_thread.run_sync(int)  # the first worker thread is no part of it
    _start()
    start = _resident_bytes()
    await run(Path(root), SessionId(session))
    return max(0, _peak_bytes() - start) / 2**20


async def folder(operation: str, root: str, store: str) -> object:
    """Import, search or count all; return the seconds, and the peak of memory as in :func:`peak`."""
    from sessionlog import importers, queries  # noqa: PLC0415 - the library alone does without

    await anyio.to_thread.run_sync(int)
    begin = _start()
    start = _resident_bytes()
    async with FileStore(store, "os") as file_store:
        if operation == "import":
            summary = await importers.import_paths(file_store, [Path(root)])
            assert not summary.failures
        for session_id in await file_store.list_sessions():
            if operation == "search":
                query = queries.Query(text="hardly ever")
                async with aclosing(queries.search_session(file_store, session_id, query)) as hits:
                    async for _ in hits:
                        pass
            elif operation == "stats":
                await queries.session_stats(file_store, session_id)
    return (time.monotonic_ns() - begin) / 1e9, max(0, _peak_bytes() - start) / 2**20


async def check(operation: str, root: str, jobs: str) -> object:
    """Verify or audit a whole store; return the seconds, those that its processes need to start among them."""
    checks = {"verify": verify_store, "audit": audit_store}
    begin = _start()
    count = 0
    async with FileStore(root) as store, aclosing(checks[operation](store, jobs=int(jobs))) as reports:
        async for report in reports:
            assert report.ok
            count += 1
    return (time.monotonic_ns() - begin) / 1e9, count


async def _verify(root: Path, session_id: str) -> None:
    async with FileStore(root) as store:
        assert (await verify_session(store, session_id)).ok


async def _audit(root: Path, session_id: str) -> None:
    async with FileStore(root) as store:
        assert (await audit_session(store, session_id)).ok


async def _read(root: Path, session_id: str) -> None:
    async with FileStore(root) as store, aclosing(store.read(session_id)) as records:
        async for record in records:
            record.entry  # noqa: B018 - decodes


async def _follow(root: Path, session_id: str) -> None:
    async with FileStore(root) as store:
        head = await store.read_head(session_id)
        async with aclosing(store.follow(session_id)) as records:
            async for record in records:
                if record.head == head:
                    return


async def _head(root: Path, session_id: str) -> None:
    async with FileStore(root) as store:
        await store.read_head(session_id)


async def _append(root: Path, session_id: str) -> None:
    async with FileStore(root) as store:
        await (await open_session(store, session_id)).append(entries(1)[0])


async def _read_raw(root: Path, session_id: str) -> None:
    async with FileStore(root) as store, aclosing(store.read_raw(session_id)) as chunks:
        async for _ in chunks:
            pass


async def _import(path: Path, _session_id: str) -> None:
    from sessionlog.importers.claude_code import import_file  # noqa: PLC0415 - the library alone does without

    async with FileStore(path.parent / f"imported-{os.getpid()}", "os") as store:
        await import_file(store, path)


async def _bare(root: Path, session_id: str) -> None:
    with (root / f"{session_id}.jsonl").open("rb", buffering=2**20) as file:
        for line in file:
            bare_check(line)


_STREAMED: Final[dict[str, Callable[[Path, SessionId], Awaitable[None]]]] = {
    "verify": _verify,
    "audit": _audit,
    "read": _read,
    "follow": _follow,
    "read_raw": _read_raw,
    "read_head": _head,
    "append": _append,
    "import": _import,
    "bare": _bare,
}


def _resident_bytes() -> int:
    """Return the memory that is resident now; where that is not told, the most that ever was."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        return _status_bytes("VmRSS")
    except OSError:
        return _peak_bytes()


def _peak_bytes() -> int:
    try:
        return _status_bytes("VmHWM")  # getrusage's outlives exec, and so holds the parent's too
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def _status_bytes(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {name} in /proc/self/status")


_TASKS: Final[dict[str, Callable[..., Awaitable[object]]]] = {
    "append": append,
    "bare_append": bare_append,
    "insert": insert,
    "tick": tick,
    "peak": peak,
    "folder": folder,
    "check": check,
}

if __name__ == "__main__":
    print(json.dumps(anyio.run(_TASKS[sys.argv[1]], *sys.argv[2:])))
