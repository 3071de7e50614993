"""The file store against its model: whatever is done to both, and whatever befalls the files, they agree."""

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from sessionlog import (
    FileStore,
    HashedEntry,
    Head,
    MemoryStore,
    RequestConfig,
    SessionId,
    SessionLogError,
    SessionOrigin,
    SessionStart,
    Store,
    UserInput,
    link,
    user_message,
)

TEXTS = st.text(max_size=40) | st.just("x" * 5000)


def start(session_id: str, origin: SessionOrigin | None = None) -> SessionStart:
    """Return a first entry."""
    return SessionStart(
        ts=0, format="sessionlog/1", session_id=session_id, config=RequestConfig(), history=[], forked_from=origin
    )


def chain(head: Head | None, texts: list[str]) -> list[HashedEntry]:
    """Return a record for each text, linked behind ``head``."""
    records = []
    for text in texts:
        records.append(link(head, UserInput(ts=0, item=user_message(text))))
        head = records[-1].head
    return records


class FileStoreMachine(RuleBasedStateMachine):
    """Does everything to a file store, a second one on the same directory, and a memory store."""

    sessions = Bundle("sessions")

    def __init__(self) -> None:
        """Begin with empty stores."""
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="sessionlog-"))
        self.runner = asyncio.Runner()
        self.model = MemoryStore()
        self.stores = [FileStore(self.root, "os"), FileStore(self.root, "disk")]
        self.made = 0
        self.followed: dict[str, list[bytes]] = {}

    def run(self, awaitable: Awaitable[object]) -> object:
        """Run on the machine's own event loop."""

        async def wait() -> object:
            return await awaitable

        return self.runner.run(wait())

    def both(self, which: int, call: Callable[[Store], Awaitable[object]]) -> None:
        """Do the same to a file store and the model; they return the same, or raise the same error."""

        def outcome(store: Store) -> object:
            try:
                return self.run(call(store))
            except SessionLogError as error:
                return type(error)

        assert outcome(self.stores[which]) == outcome(self.model)

    def head(self, session_id: str) -> Head | None:
        """Return the model's head."""
        head = self.run(self.model.read_head(session_id))
        assert head is None or isinstance(head, Head)
        return head

    def log_path(self, session_id: str) -> Path:
        """Return where the file is."""
        return self.root / f"{session_id}.jsonl"

    @initialize(target=sessions)
    def first(self) -> SessionId:
        """Begin with one session."""
        return SessionId(str(self.create(which=0)))

    @rule(target=sessions, which=st.integers(0, 1))
    def create(self, which: int) -> SessionId:
        """Make a session; making it again fails in both."""
        session_id = SessionId(f"s{self.made}")
        self.made += 1
        record = link(None, start(session_id))
        for _ in range(2):
            self.both(which, lambda store: store.create_session(session_id, [record]))
        return session_id

    @rule(session_id=sessions, which=st.integers(0, 1), text=TEXTS)
    def append(self, session_id: str, which: int, text: str) -> None:
        """Append one record."""
        (record,) = chain(self.head(session_id), [text])
        self.both(which, lambda store: store.append(session_id, record))

    @rule(session_id=sessions, which=st.integers(0, 1), texts=st.lists(TEXTS, min_size=2, max_size=6))
    def append_many(self, session_id: str, which: int, texts: list[str]) -> None:
        """Append several in one commit."""
        records = chain(self.head(session_id), texts)
        self.both(which, lambda store: store.append(session_id, *records))

    @rule(session_id=sessions, which=st.integers(0, 1), back=st.integers(1, 3))
    def stale_append(self, session_id: str, which: int, back: int) -> None:
        """Append behind an earlier record, or one that never was."""
        records = self.run(self.model.read_all(session_id))
        assert isinstance(records, list)
        head = records[-back].head if back <= len(records) else Head(7, records[0].hash)
        stale = chain(head, ["stale"])
        self.both(which, lambda store: store.append(session_id, *stale))

    @rule(target=sessions, session_id=sessions, which=st.integers(0, 1))
    def fork(self, session_id: str, which: int) -> SessionId:
        """Make a session that names another as its source."""
        head = self.head(session_id)
        assert head is not None
        fork_id = SessionId(f"s{self.made}")
        self.made += 1
        record = link(None, start(fork_id, SessionOrigin(session_id, head.hash)))
        self.both(which, lambda store: store.create_session(fork_id, [record]))
        return fork_id

    @rule(which=st.integers(0, 1))
    def reopen(self, which: int) -> None:
        """Close a store and open it again."""
        self.run(self.stores[which].aclose())
        self.stores[which] = FileStore(self.root, ("os", "disk")[which])

    @rule(session_id=sessions, junk=st.binary(min_size=1, max_size=50).filter(lambda junk: b"\n" not in junk))
    def tear_tail(self, session_id: str, junk: bytes) -> None:
        """Leave an unfinished record behind the last one, as a crash does."""
        with self.log_path(session_id).open("ab") as file:
            file.write(junk)

    @rule(session_id=sessions, acknowledged=st.integers(0, 4), batch=st.integers(1, 3))
    def kill(self, session_id: str, acknowledged: int, batch: int) -> None:
        """SIGKILL a writer process; what it acknowledged is there, and the model takes over what else got in."""
        receive, send = os.pipe()
        writer = os.fork()
        if writer == 0:
            with contextlib.suppress(BaseException):
                os.close(receive)
                asyncio.run(self._write_until_killed(session_id, batch, send))
            os._exit(1)
        os.close(send)
        told = b""
        while told.count(b"\n") < acknowledged and (more := os.read(receive, 4096)):
            told += more
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
        while more := os.read(receive, 4096):
            told += more
        os.close(receive)
        known = self.run(self.model.read_all(session_id))
        found = self.run(self.stores[0].read_all(session_id))
        assert isinstance(known, list)
        assert isinstance(found, list)
        assert found[: len(known)] == known
        if found[len(known) :]:
            self.run(self.model.append(session_id, *found[len(known) :]))
        hashes = {record.hash.encode() for record in found}
        assert set(told.split(b"\n")[:-1]) <= hashes

    async def _write_until_killed(self, session_id: str, batch: int, acknowledge: int) -> None:
        async with FileStore(self.root, "os") as store:
            head = await store.read_head(session_id)
            while True:
                records = chain(head, ["from a process that will be killed"] * batch)
                await store.append(session_id, *records)
                head = records[-1].head
                os.write(acknowledge, b"".join(record.hash.encode() + b"\n" for record in records))

    @rule(session_id=sessions, which=st.integers(0, 1), turns=st.integers(0, 6))
    def cancel(self, session_id: str, which: int, turns: int) -> None:
        """Cancel an append after some turns of the loop: it is wholly in, or wholly out."""
        records = chain(self.head(session_id), ["cancelled", "perhaps"])
        store = self.stores[which]

        async def cancelled() -> bool:
            returned = False

            async def append() -> None:
                nonlocal returned
                await store.append(session_id, *records)
                returned = True

            task = asyncio.ensure_future(append())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            return returned

        if self.run(cancelled()):
            self.run(self.model.append(session_id, *records))

    @rule(session_id=sessions, which=st.integers(0, 1), after=st.none() | st.integers(0, 5))
    def follow(self, session_id: str, which: int, after: int | None) -> None:
        """A follower gives what the model reads."""

        async def take() -> list[HashedEntry]:
            wanted = [record async for record in self.model.read(session_id, after=after)]
            found: list[HashedEntry] = []
            async with contextlib.aclosing(self.stores[which].follow(session_id, after=after)) as stream:
                while len(found) < len(wanted):
                    found.append(await anext(stream))
            assert found == wanted
            return found

        self.run(take())

    @invariant()
    def agree(self) -> None:
        """Both stores give what the model gives: sessions, heads, and every byte."""

        async def compare() -> None:
            ids = sorted(await self.model.list_sessions())
            for store in self.stores:
                assert sorted(await store.list_sessions()) == ids
                for session_id in ids:
                    assert await store.read_head(session_id) == await self.model.read_head(session_id)
                    assert await store.read_all(session_id) == await self.model.read_all(session_id)

        self.run(compare())

    def teardown(self) -> None:
        """Close and clean up."""
        for store in self.stores:
            self.run(store.aclose())
        self.runner.close()
        shutil.rmtree(self.root)


@pytest.mark.parametrize(
    ("examples", "steps"), [(25, 25), pytest.param(500, 60, marks=pytest.mark.long)], ids=["short", "long"]
)
def test_the_file_store_behaves_as_the_memory_store_does(examples: int, steps: int) -> None:
    """Under appends, forks, reopening, kills, torn tails, cancellation and a second store, both agree at every step."""
    run_state_machine_as_test(
        FileStoreMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
