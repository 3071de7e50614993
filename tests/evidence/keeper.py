"""A store with anchors and a key in one folder, driven from synchronous tests; and what a forger does to it."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio

from sessionlog import FileStore, SessionStartState, create_session_with_id, delete, now_ms, open_session, user_message
from sessionlog.evidence import (
    AnchorAudit,
    Anchored,
    AnchorEntry,
    AnySink,
    KeyType,
    PrivateKey,
    ReceiptEntry,
    SessionStatement,
    Signer,
    anchor_store,
    audit_anchors,
    cosign,
    make_keys,
    parse_policy,
    read_vkey,
)
from sessionlog.evidence.anchor_catalog import catalog_root, load_catalog, statements_name
from sessionlog.evidence.anchor_files import EvidenceDirectory
from sessionlog.evidence.key_files import KeyFiles
from sessionlog.evidence.signing import SignedLog
from sessionlog.stores.file.system import System

ORIGIN = "example.com/agents/store"


class Keeper:
    """Keeps a store and anchors it; the clock goes on by a second at each run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store, self.anchors, self.keys = root / "store", root / "anchors", root / "keys"
        self.now_ms = now_ms()
        self.witness: PrivateKey | None = None
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
        accept_loss: dict[str, str] | None = None,
        sinks: Sequence[AnySink] = (),
        system: System | None = None,
        store_system: System | None = None,
        signer: Signer | None = None,
        recover_from: Path | None = None,
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
                    accept_loss=accept_loss,
                    signer=signer,
                    recover_from=recover_from,
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

    def audit(self, **options: Any) -> AnchorAudit:
        """Audit as one who trusts this key, and the witness if there is one."""
        policy = parse_policy(self.policy())

        async def run() -> AnchorAudit:
            async with FileStore(self.store) as store:
                return await audit_anchors(store, self.anchors, policy, clock=lambda: self.now_ms, **options)

        return anyio.run(run)

    def policy(self) -> bytes:
        """Return the auditor's policy."""
        if self.witness is None:
            return f"log {read_vkey(self.keys)}\nquorum none\n".encode()
        return f"log {read_vkey(self.keys)}\nwitness w {self.witness.key}\nquorum w\n".encode()

    def add_witness(self) -> None:
        """Ask for a witness from here on; :meth:`anchor_witnessed` has it sign."""
        self.witness = PrivateKey.generate("example.com/witness", KeyType.COSIGNATURE)
        self.anchors.mkdir(exist_ok=True)
        (self.anchors / "policy").write_bytes(self.policy())

    def anchor_witnessed(self, *, finalize: Sequence[str] = ()) -> bytes:
        """Anchor, let the witness cosign what is pending, and publish it; return the checkpoint."""
        assert self.witness is not None
        self.anchor(finalize=finalize)
        pending = self.anchors / "pending"
        if pending.exists():
            note = pending.read_bytes()
            text = note.rpartition(b"\n\n")[0] + b"\n"
            pending.write_bytes(note + cosign(text, self.witness, self.now_ms // 1000).line().encode())
            self.anchor()
        return self.checkpoint()

    def checkpoint(self) -> bytes:
        return (self.anchors / "checkpoint").read_bytes()

    def forge_anchor(
        self, changes: Sequence[SessionStatement], *, receipts: Sequence[ReceiptEntry] = (), sessions: int | None = None
    ) -> None:
        """Sign, with the keeper's own key, an anchor that says whatever he likes."""
        directory = EvidenceDirectory(self.anchors)
        signed = SignedLog(directory, KeyFiles(self.keys), [])
        log = signed.resume()
        statements, _ = load_catalog(directory, log)
        for change in changes:
            statements[change.session_id] = change
        count = len(statements) if sessions is None else sessions
        anchor = AnchorEntry(time_ms=self.now_ms, sessions=count, catalog=catalog_root(statements))
        index = log.size + len(receipts)
        directory.write({statements_name(index): b"".join(one.encode() for one in changes)})
        log = log.grow([*(one.encode() for one in receipts), anchor.encode()])
        signed.sign(log)
        signed.publish(log)

    def statement(self, session_id: str) -> SessionStatement:
        """Return the newest statement about a session."""
        directory = EvidenceDirectory(self.anchors)
        log = SignedLog(directory, KeyFiles(self.keys), []).resume()
        return load_catalog(directory, log)[0][session_id]
