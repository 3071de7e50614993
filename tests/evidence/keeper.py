"""A store with anchors and a key in one folder, driven from synchronous tests; and what a forger does to it."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio

from sessionlog import FileStore, SessionStartState, create_session_with_id, delete, open_session, user_message
from sessionlog.evidence import Anchored, Sink, anchor_store, make_keys
from sessionlog.stores.file.system import System

ORIGIN = "example.com/agents/store"


class Keeper:
    """Keeps a store and anchors it; the clock goes on by a second at each run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store, self.anchors, self.keys = root / "store", root / "anchors", root / "keys"
        self.now_ms = 1_790_000_000_000
        make_keys(self.keys, ORIGIN)

    def log(self, session_id: str) -> Path:
        return self.store / f"{session_id}.jsonl"

    def write(self, session_id: str, *texts: str) -> None:
        """Append messages, making the session if it is not there."""

        async def write() -> None:
            async with FileStore(self.store) as store:
                if await store.exists(session_id):
                    log = await open_session(store, session_id)
                else:
                    log = await create_session_with_id(store, session_id, SessionStartState())
                for text in texts:
                    await log.save_delta([user_message(text)])

        anyio.run(write)

    def delete(self, session_id: str, **words: Any) -> None:
        async def run() -> None:
            async with FileStore(self.store) as store:
                await delete(store, session_id, **words)

        anyio.run(run)

    def anchor(
        self,
        *,
        finalize: Sequence[str] = (),
        sinks: Sequence[Sink] = (),
        system: System | None = None,
        store_system: System | None = None,
    ) -> Anchored:
        self.now_ms += 1000

        async def run() -> Anchored:
            async with FileStore(self.store, system=store_system) as store:
                return await anchor_store(
                    store,
                    self.anchors,
                    keys=self.keys,
                    sinks=sinks,
                    finalize=finalize,
                    clock=lambda: self.now_ms,
                    system=system,
                )

        return anyio.run(run)

    def keep(self, *names: str) -> Callable[[], None]:
        """Copy folders aside; the result puts them back, as a restored backup does."""
        aside = self.root / f"aside-{len(list(self.root.iterdir()))}"
        for name in names:
            shutil.copytree(self.root / name, aside / name)

        def restore() -> None:
            for name in names:
                shutil.rmtree(self.root / name)
                shutil.copytree(aside / name, self.root / name)

        return restore

    def cut(self, session_id: str, records: int) -> None:
        """Take the last records off a log."""
        path = self.log(session_id)
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-records]))
