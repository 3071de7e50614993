"""Anchoring with witnesses: what they find, what is kept of their answers, and what a hostile one can do."""

import contextlib
import http.server
import shlex
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from evidence_vectors import CHECKPOINT, SIGNED, TREE, WITNESS
from hypothesis import given, settings
from hypothesis import strategies as st
from keeper import Keeper

from sessionlog import StoreFailed
from sessionlog.evidence import (
    AnchoringStopped,
    CheckpointWitness,
    DirectorySink,
    InvalidEvidence,
    OpenedCheckpoint,
    WitnessAnswer,
    WitnessClient,
    WitnessServer,
    cosign,
    make_witness,
    open_checkpoint,
    parse_add_checkpoint,
    parse_sink,
    parse_witness,
    read_vkey,
)
from sessionlog.evidence import witness_client as asking
from sessionlog.evidence.cosigning import add_cosignatures
from sessionlog.evidence.witness_protocol import ANSWER_BYTES_MAX

DAY_MS = 24 * 60 * 60 * 1000


class Witnessed(Keeper):
    """A keeper with two witnesses of which one is enough, each asked in this process."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.requests: list[int] = []
        self.away: set[str] = set()
        self.ahead_ms = 0
        self.folders = [root / "w0", root / "w1"]
        lines = [f"log {read_vkey(self.keys)}"]
        for folder in self.folders:
            key = make_witness(folder, f"example.com/{folder.name}")
            (folder / "logs").write_text(f"{read_vkey(self.keys)}\n")
            lines.append(f"witness {folder.name} {key}")
        self.anchors.mkdir()
        lines += ["group g any w0 w1", "quorum g"]
        (self.anchors / "policy").write_text("".join(f"{line}\n" for line in lines))
        self.clients = [self.client(folder) for folder in self.folders]

    def client(self, folder: Path) -> WitnessClient:
        def send(request: bytes) -> WitnessAnswer:
            if folder.name in self.away:
                raise StoreFailed("away")
            self.requests.append(parse_add_checkpoint(request).old)
            return CheckpointWitness(folder, clock=lambda: self.now_ms + self.ahead_ms).add_checkpoint(request)

        return WitnessClient(folder.name, send)

    def policy(self) -> bytes:
        return (self.anchors / "policy").read_bytes()

    def newest(self, name: str = "checkpoint") -> OpenedCheckpoint:
        keys = [CheckpointWitness(folder).key for folder in self.folders]
        return open_checkpoint((self.anchors / name).read_bytes(), [read_vkey(self.keys)], keys)


@pytest.fixture
def keeper(tmp_path: Path) -> Witnessed:
    keeper = Witnessed(tmp_path)
    keeper.write("one", "a")
    return keeper


def test_witnesses_cosign_what_is_published(keeper: Witnessed) -> None:
    """Both cosign, an audit counts both; a run asks each for the old and the new checkpoint, with no guess too many."""
    done = keeper.anchor(sinks=keeper.clients)
    assert (done.pending, done.unsent, done.warnings) == (False, None, [])
    assert len(keeper.newest().cosignatures) == 2
    since = keeper.checkpoint()
    keeper.requests.clear()
    keeper.write("one", "b")
    keeper.anchor(sinks=keeper.clients)
    assert keeper.requests == [1] * 4
    audit = keeper.audit(since=since, max_age_s=60)
    assert (audit.state, sorted(audit.witnesses)) == ("proved", ["example.com/w0", "example.com/w1"])


def test_an_unchanged_store_stays_fresh(keeper: Witnessed) -> None:
    """A run without news has the checkpoint cosigned again; of each witness the first and the last are kept."""
    copy = keeper.root / "copy"
    times = []
    for _ in range(4):
        keeper.anchor(sinks=[*keeper.clients, DirectorySink(str(copy))])
        times.append(keeper.now_ms // 1000)
        keeper.now_ms += DAY_MS
    assert keeper.newest().checkpoint.size == 1
    found = [(one.key.name, one.time_s) for one in keeper.newest().cosignatures]
    assert sorted(found) == [(f"example.com/{name}", at) for name in ("w0", "w1") for at in (times[0], times[-1])]
    assert (copy / "checkpoint").read_bytes() == keeper.checkpoint() == (copy / "checkpoints" / "1").read_bytes()


def test_one_witness_away(keeper: Witnessed) -> None:
    """The quorum decides; the one that was away gets all of it when it is back."""
    keeper.away = {"w0"}
    done = keeper.anchor(sinks=keeper.clients)
    assert (done.pending, done.unsent) == (False, "away")
    keeper.away = {"w0", "w1"}
    keeper.write("one", "b")
    assert keeper.anchor(sinks=keeper.clients).pending
    keeper.write("one", "c")
    done = keeper.anchor(sinks=keeper.clients)  # appends go on, and a larger tree takes the place of a pending one
    assert (done.size, done.pending) == (3, True)
    assert keeper.newest().checkpoint.size == 1
    keeper.away = set()
    done = keeper.anchor(sinks=keeper.clients)
    assert (done.size, done.pending, done.unsent) == (3, False, None)
    assert {one.key.name for one in keeper.newest().cosignatures} == {"example.com/w0", "example.com/w1"}


def test_a_rollback_of_all_that_the_keeper_has(keeper: Witnessed) -> None:
    """Store, anchors and keys from one backup: the witness has more, and nothing new is signed."""
    keeper.anchor(sinks=keeper.clients)
    restore = keeper.keep("anchors", "keys", "store")
    keeper.write("one", "b")
    keeper.anchor(sinks=keeper.clients)
    restore()
    keeper.write("one", "another")
    with pytest.raises(AnchoringStopped, match="has cosigned 2 entries, the anchors have 1"):
        keeper.anchor(sinks=keeper.clients)
    assert not (keeper.anchors / "pending").exists()
    assert (keeper.keys / "last").read_text().splitlines()[0] == "1"


def test_a_rollback_to_before_the_first_anchor(keeper: Witnessed) -> None:
    """With nothing signed yet, an empty checkpoint finds out."""
    restore = keeper.keep("anchors", "keys")
    keeper.anchor(sinks=keeper.clients)
    restore()
    with pytest.raises(AnchoringStopped, match="has cosigned 1 entries, the anchors have 0"):
        keeper.anchor(sinks=keeper.clients)
    assert not (keeper.keys / "last").exists()


def test_a_cloned_machine(keeper: Witnessed) -> None:
    """Of two machines with one key, the one that comes second to the witness is stopped, also at the same size."""
    keeper.anchor(sinks=keeper.clients)
    restore = keeper.keep("anchors", "keys", "store")
    keeper.write("one", "here")
    keeper.anchor(sinks=keeper.clients)
    restore()
    keeper.write("one", "there")
    keeper.anchor()  # alone, it does not know: it is pending, and nobody has it
    with pytest.raises(AnchoringStopped, match="another history"):
        keeper.anchor(sinks=keeper.clients)


def test_a_stolen_key(keeper: Witnessed) -> None:
    """Who has the log's key signs what he likes; no witness cosigns it, and an audit asks for one."""
    keeper.anchor(sinks=keeper.clients)
    since = keeper.checkpoint()
    keeper.write("one", "b")
    keeper.anchor(sinks=keeper.clients)
    latest = keeper.checkpoint()
    thief = Keeper(keeper.root / "thief")
    (thief.keys / "log.key").write_bytes((keeper.keys / "log.key").read_bytes())
    (thief.keys / "log.vkey").write_bytes((keeper.keys / "log.vkey").read_bytes())
    thief.anchors.mkdir()
    (thief.anchors / "policy").write_bytes(keeper.policy())
    for texts in (["forged"], ["and", "more"], ["still"]):
        thief.write("one", *texts)
        thief.anchor()
    with pytest.raises(AnchoringStopped, match="another history"):
        thief.anchor(sinks=keeper.clients)
    (thief.anchors / "checkpoint").write_bytes((thief.anchors / "pending").read_bytes())
    thief.policy = keeper.policy  # type: ignore[method-assign]
    assert [one.fault for one in thief.audit().findings] == ["checkpoint"]
    # with cosignatures of the other history pasted in, it is no note at all
    cosignatures = latest.rpartition(b"\n\n")[2].split(b"\n", 1)[1]
    (thief.anchors / "checkpoint").write_bytes((thief.anchors / "checkpoint").read_bytes() + cosignatures)
    assert [one.fault for one in thief.audit(since=since).findings] == ["checkpoint"]


def test_a_split_view(keeper: Witnessed) -> None:
    """Two histories for two auditors: one witness cosigns one of them only, whichever comes first."""
    keeper.anchor(sinks=keeper.clients)
    restore = keeper.keep("anchors", "keys", "store")
    views = []
    for text in ("for Ada", "for Bob"):
        restore()
        keeper.write("one", text)
        with contextlib.suppress(AnchoringStopped):
            keeper.anchor(sinks=[])
            keeper.anchor(sinks=keeper.clients)
        views.append(keeper.newest().checkpoint.size)
    assert views == [2, 1]


def test_clocks_that_differ_are_told_of(keeper: Witnessed) -> None:
    """By more than a day, in either direction."""
    for ahead_ms, count in ((DAY_MS - 1000, 0), (DAY_MS + 2000, 2), (-DAY_MS - 2000, 2)):
        keeper.ahead_ms = ahead_ms
        done = keeper.anchor(sinks=keeper.clients)
        assert len(done.warnings) == count, (ahead_ms, done.warnings)
        assert all("differ by 24 h" in warning for warning in done.warnings)


def test_a_cosignature_from_the_future_is_not_fresh(keeper: Witnessed) -> None:
    """A witness whose clock is ahead would make an old checkpoint look young for ever."""
    keeper.ahead_ms = 2 * DAY_MS
    keeper.anchor(sinks=keeper.clients)
    [finding] = keeper.audit(max_age_s=60).findings
    assert (finding.fault, "in the future" in finding.reason) == ("stale", True)
    keeper.now_ms += 2 * DAY_MS
    assert keeper.audit(max_age_s=60).findings == []


def test_a_witness_that_the_policy_does_not_name(keeper: Witnessed) -> None:
    """Its cosignature is worth nothing here, and the run says so."""
    folder = keeper.root / "stranger"
    make_witness(folder, "example.com/stranger")
    (folder / "logs").write_text(f"{read_vkey(keeper.keys)}\n")
    done = keeper.anchor(sinks=[keeper.client(folder)])
    assert done.pending
    assert "no cosignature of a witness that the policy names" in (done.unsent or "")


def test_a_witness_that_does_not_know_the_log(keeper: Witnessed) -> None:
    """Its operator has to name the log; until then the quorum is without it."""
    (keeper.folders[0] / "logs").write_text("")
    done = keeper.anchor(sinks=keeper.clients)
    assert not done.pending
    assert "w0 refused with status 404" in (done.unsent or "")


def test_over_http_and_as_a_program(keeper: Witnessed) -> None:
    """By the URL in the policy, and by a program such as ssh."""
    with served(CheckpointWitness(keeper.folders[0], clock=lambda: keeper.now_ms)) as url:
        policy = keeper.policy().decode().replace("witness w1", "# ").replace(" w0 w1", " w0").replace("group", "# ")
        lines = [f"{line} {url}" if line.startswith("witness") else line for line in policy.splitlines()]
        (keeper.anchors / "policy").write_text("".join(f"{line}\n" for line in lines).replace("quorum g", "quorum w0"))
        assert not keeper.anchor().pending
    command = [sys.executable, "-m", "sessionlog", "witness", "add-checkpoint", "--dir", str(keeper.folders[0])]
    keeper.write("one", "b")
    done = keeper.anchor(sinks=[parse_sink(f"witness:exec:{shlex.join(command)}")])
    assert not done.pending  # by the program, though nothing listens at the URL any more
    assert "cannot be asked" in (done.unsent or "")


@contextlib.contextmanager
def served(witness: CheckpointWitness) -> Iterator[str]:
    with WitnessServer(witness) as server:
        thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
        thread.start()
        try:
            yield server.url
        finally:
            server.shutdown()
            thread.join()


def ask(send: Callable[[bytes], WitnessAnswer]) -> object:
    return WitnessClient("w", send).cosign(SIGNED, CHECKPOINT, TREE.node, guess=5)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (WitnessAnswer(409, b"8\n"), AnchoringStopped, "restored from an old backup"),
        (WitnessAnswer(409, b"5\n"), StoreFailed, "told another size 4 times"),
        (WitnessAnswer(409, b"conflict\n"), AnchoringStopped, "another history"),
        (WitnessAnswer(409, b"05\n"), AnchoringStopped, "another history"),
        (WitnessAnswer(422, b"\x1b[31m\n"), AnchoringStopped, "x1b"),
        (WitnessAnswer(403, b""), StoreFailed, "status 403"),
        (WitnessAnswer(500, b"x" * 60_000), StoreFailed, "status 500"),
        (WitnessAnswer(302, b""), StoreFailed, "status 302"),
        (WitnessAnswer(200, b""), InvalidEvidence, "not signed"),
        (WitnessAnswer(200, b"<html>"), InvalidEvidence, "line feed"),
    ],
)
def test_answers(answer: WitnessAnswer, error: type[Exception], words: str) -> None:
    """More than the log has, or another history, stops the run; whatever else is wrong does not."""
    with pytest.raises(error, match=words) as caught:
        ask(lambda _request: answer)
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


GOOD = cosign(CHECKPOINT.text(), WITNESS, 1_790_000_000).line().encode()
spliced = st.sampled_from([b"", b"\n", b"\n\n", b"\x00", b"\xff", "—".encode(), b"+", b"=", b"9" * 5000])


@settings(max_examples=200, deadline=None)
@given(
    status=st.sampled_from([200, 200, 200, 409, 422, 500]),
    start=st.integers(0, len(GOOD)),
    end=st.integers(0, len(GOOD)),
    middle=spliced | st.binary(max_size=20),
)
def test_hostile_answers(status: int, start: int, end: int, middle: bytes) -> None:
    """A typed error, or a cosignature that is the witness's own over this checkpoint: never a crash, never a pass."""
    body = GOOD[:start] + middle + GOOD[end:]
    try:
        answer = WitnessClient("w", lambda _request: WitnessAnswer(status, body)).cosign(
            SIGNED, CHECKPOINT, TREE.node, guess=5
        )
        note = add_cosignatures(SIGNED, answer, [WITNESS.key])
    except (InvalidEvidence, StoreFailed, AnchoringStopped):
        return
    assert GOOD in body
    assert note.encode() == SIGNED + GOOD


def test_a_server_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no HTTP, an answer without end, or one that drips, is one fault after a bounded time."""
    monkeypatch.setattr(asking, "WITNESS_TIMEOUT_S", 0.5)
    done = threading.Event()

    class Hostile(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            with contextlib.suppress(OSError):
                match self.path:
                    case "/junk/add-checkpoint":
                        self.wfile.write(b"\x00\xff" * 100)
                    case "/long/add-checkpoint":
                        self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (ANSWER_BYTES_MAX + 1))
                    case "/headers/add-checkpoint":
                        self.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 10_000)
                    case _:
                        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                        while not done.wait(0.05):
                            self.wfile.write(b"x")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hostile) as server:
        thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
        thread.start()
        try:
            for path in ("junk", "long", "headers", "drip"):
                client = parse_witness(f"http://127.0.0.1:{server.server_address[1]}/{path}/")
                with pytest.raises((StoreFailed, InvalidEvidence)):
                    client.cosign(SIGNED, CHECKPOINT, TREE.node, guess=5)
        finally:
            done.set()
            server.shutdown()
            thread.join()
    with pytest.raises(StoreFailed, match="cannot be asked"):
        parse_witness(f"http://127.0.0.1:{server.server_address[1]}").cosign(SIGNED, CHECKPOINT, TREE.node, guess=5)


def test_programs_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that fails, never ends, or never stops talking, its children included."""
    monkeypatch.setattr(asking, "WITNESS_TIMEOUT_S", 2.0)
    for script, words in (
        ("exit 3", "status 3"),
        ("sleep 600 & exit 0", "longer than 2 s"),
        ("yes", "printed more than"),
        ("echo hello", "status on a line"),
    ):
        with pytest.raises((StoreFailed, InvalidEvidence), match=words):
            parse_witness(f"exec:sh -c '{script}'").cosign(SIGNED, CHECKPOINT, TREE.node, guess=5)
    with pytest.raises(StoreFailed, match="cannot be run"):
        parse_witness("exec:/no/such/program").cosign(SIGNED, CHECKPOINT, TREE.node, guess=5)


def test_names_of_witnesses() -> None:
    """A URL or a program, and nothing that a request could not be sent to."""
    for text in ("", "exec:", "ftp://x", "http://", "https://a?b", "http://a:99999", "http://u@h", "example.com"):
        with pytest.raises(ValueError, match=r"."):
            parse_sink(f"witness:{text}")
    sink = parse_sink("witness:https://example.com/w/")
    assert isinstance(sink, WitnessClient)
