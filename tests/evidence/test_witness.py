"""Our own witness: what it answers, that it never cosigns two histories, and what a kill leaves of it."""

import contextlib
import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from evidence_vectors import CHECKPOINT, ENTRIES, LOG, ORIGIN, SIGNED, TREE
from hypothesis import given, settings
from hypothesis import strategies as st

from sessionlog.evidence import (
    AddCheckpoint,
    Checkpoint,
    CheckpointWitness,
    InvalidEvidence,
    KeyType,
    Note,
    PrivateKey,
    Tree,
    WitnessAnswer,
    WitnessServer,
    consistency_proof,
    leaf_hash,
    make_witness,
    open_checkpoint,
    parse_add_checkpoint,
    parse_answer,
    parse_note,
    sign,
    sign_checkpoint,
)
from sessionlog.evidence import witness_server as serving
from sessionlog.evidence.anchor_files import EvidenceDirectory
from sessionlog.evidence.witness_protocol import REQUEST_BYTES_MAX
from sessionlog.testing.faults import Cut, Fail, Fault, FaultySystem, Kill

NOW_S = 1_790_000_000
OTHER = Tree(leaf_hash(b"other %d" % n) for n in range(9))


def make(folder: Path) -> Path:
    make_witness(folder, "example.com/witness")
    (folder / "logs").write_text(f"# who may ask\n\n{LOG.key}\n")
    return folder


def opened(folder: Path, **options: object) -> CheckpointWitness:
    return CheckpointWitness(folder, clock=lambda: NOW_S * 1000, **options)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make(tmp_path / "witness")


def request(
    old: int, size: int, tree: Tree = TREE, *, proof_from: int | None = None, signer: PrivateKey = LOG
) -> bytes:
    """A request whose proof is that from ``old``, unless it is told to be another one."""
    note = sign_checkpoint(Checkpoint(signer.key.name, size, tree.root(size)), signer)
    start = min(old, size) if proof_from is None else proof_from
    return AddCheckpoint(old, consistency_proof(start, size, tree.node), note).encode()


def test_it_cosigns_what_extends_the_last(folder: Path) -> None:
    """The cosignature is its key's over the checkpoint, at its time; the state is the checkpoint, cosigned."""
    witness = opened(folder)
    for old, size in ((0, 3), (3, 3), (3, 5), (5, 7)):
        answer = witness.add_checkpoint(request(old, size))
        assert answer.status == 200, answer
        note = sign_checkpoint(Checkpoint(ORIGIN, size, TREE.root(size)), LOG)
        checkpoint = open_checkpoint(note + answer.body, [LOG.key], [witness.key])
        assert [(one.key, one.time_s) for one in checkpoint.cosignatures] == [(witness.key, NOW_S)]
        kept = witness.newest(hashlib.sha256(ORIGIN.encode()).hexdigest())
        assert kept == note + answer.body
    assert witness.newest("0" * 64) is None
    assert witness.newest("../witness.key") is None


EMPTY = Checkpoint(ORIGIN, 0, hashlib.sha256(b"").digest())
ROWS: dict[str, tuple[bytes, int, bytes]] = {
    "malformed": (b"hello", 400, b"not a request"),
    "no old": (b"new 5\n\n" + SIGNED, 400, b"'old'"),
    "leading zero": (b"old 05\n\n" + SIGNED, 400, b"decimal"),
    "64 hashes": (b"old 5\n" + b"A" * 43 + b"=\n" * 64 + b"\n" + SIGNED, 400, b""),
    "not signed": (b"old 5\n\n" + CHECKPOINT.text(), 400, b"note"),
    "not a checkpoint": (AddCheckpoint(5, [], Note(b"text\n", [sign(b"text\n", LOG)]).encode()).encode(), 400, b""),
    "unknown origin": (request(5, 7, signer=PrivateKey.generate("example.com/other")), 404, b"not cosign that log"),
    "unknown key": (request(5, 7, signer=PrivateKey.generate(ORIGIN)), 403, b"no signature of a trusted key"),
    "bad signature": (request(5, 7).replace(b"store\n7\n", b"store\n8\n"), 403, b"wrong"),
    "old is greater": (request(8, 7), 400, b"greater"),
    "behind": (request(3, 7), 409, b"5\n"),
    "never seen": (request(0, 7), 409, b"5\n"),
    "rollback": (request(4, 4), 409, b"5\n"),
    "ahead": (request(6, 7), 409, b"5\n"),
    "wrong proof": (request(5, 7, proof_from=4), 422, b"proof"),
    "no proof": (AddCheckpoint(5, [], SIGNED).encode(), 422, b"too short"),
    "another history": (request(5, 7, OTHER), 422, b"two histories"),
    "another root": (request(5, 5, OTHER), 422, b"not the same history"),
    "a proof from itself": (request(5, 5, proof_from=3), 422, b"must be empty"),
}


@pytest.mark.parametrize("row", ROWS)
def test_it_refuses_as_the_protocol_says(folder: Path, row: str) -> None:
    """Each row of the protocol's table, its state left as it was; a 409 tells its size, as a type of its own."""
    witness = opened(folder)
    assert witness.add_checkpoint(request(0, 5)).status == 200
    before = {path: path.read_bytes() for path in (folder / "state").iterdir()}
    body, status, words = ROWS[row]
    answer = witness.add_checkpoint(body)
    assert (answer.status, words in answer.body) == (status, True), answer
    assert answer.content_type == ("text/x.tlog.size" if status == 409 else "text/plain; charset=utf-8")
    assert {path: path.read_bytes() for path in (folder / "state").iterdir()} == before


def test_an_empty_log(folder: Path) -> None:
    """Size 0 has one root only; nothing is proved from it."""
    witness = opened(folder)
    wrong = Note(text := f"{ORIGIN}\n0\n{'A' * 43}=\n".encode(), [sign(text, LOG)]).encode()
    assert witness.add_checkpoint(AddCheckpoint(0, [], wrong).encode()).status == 422
    assert witness.add_checkpoint(AddCheckpoint(0, [bytes(32)], SIGNED).encode()).status == 422
    assert witness.add_checkpoint(AddCheckpoint(0, [], sign_checkpoint(EMPTY, LOG)).encode()).status == 200
    assert witness.add_checkpoint(request(0, 7)).status == 200


def test_a_damaged_state_cosigns_nothing(folder: Path) -> None:
    """It is not as the witness wrote it, so nobody knows what was cosigned: status 500, and nothing is written over."""
    witness = opened(folder)
    witness.add_checkpoint(request(0, 7))
    [state] = (folder / "state").iterdir()
    whole = state.read_bytes()
    for at in range(0, len(whole), 7):
        state.write_bytes(damaged := whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        answer = witness.add_checkpoint(request(7, 7))
        assert answer.status in (200, 500), answer
        assert state.read_bytes() == damaged or answer.status == 200
        if answer.status == 200:  # a byte of the log's own signature: what the witness cosigned is whole
            assert parse_note(damaged).text == CHECKPOINT.text()
    (folder / "logs").write_text("nonsense\n")
    assert witness.add_checkpoint(request(7, 7)).status == 500


def test_keys(folder: Path, tmp_path: Path) -> None:
    """A witness's key is of another type than a log's, and neither stands in for the other."""
    assert opened(folder).key.type is KeyType.COSIGNATURE
    (folder / "witness.vkey").write_text(f"{LOG.key}\n")
    with pytest.raises(InvalidEvidence, match="not the key of a witness"):
        opened(folder)
    with pytest.raises(InvalidEvidence, match="witness init"):
        opened(tmp_path / "none")
    (folder / "logs").write_text(f"{PrivateKey.generate(ORIGIN, KeyType.COSIGNATURE).key}\n")


def in_child(run: Callable[[], bytes]) -> tuple[int, bytes]:
    """Run in a child process; return its status, and what it answered before it ended."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, run())
            os._exit(0)
        finally:
            os._exit(9)
    os.close(writer)
    with os.fdopen(reader, "rb") as answers:
        answer = answers.read()
    return os.waitpid(child, 0)[1], answer


KILLS: dict[str, Callable[[int], Fault]] = {
    "before": lambda at: Fault(at=at, action=Kill()),
    "after": lambda at: Fault(at=at, action=Kill("after")),
    "in a write": lambda at: Fault(at=at, kind="write", action=Cut(50, then=Kill())),
}


@pytest.mark.parametrize("when", KILLS)
def test_killed_at_any_system_call(folder: Path, when: str) -> None:
    """With SIGKILL, before or after any call, or in a write: what was answered is kept; what is left is one history."""
    assert opened(folder).add_checkpoint(request(0, 3)).status == 200
    [state] = (folder / "state").iterdir()
    old = state.read_bytes()
    killed = 0
    for at in range(1, 100):
        state.write_bytes(old)

        def answer(at: int = at) -> bytes:
            return opened(folder, system=FaultySystem(KILLS[when](at))).add_checkpoint(request(3, 7)).body

        status, cosigned = in_child(answer)
        left = state.read_bytes()
        size = parse_note(left).text.splitlines()[1]
        assert (left == old) or size == b"7", at
        assert size == b"7" or not cosigned, "it answered, and does not know what"
        following = opened(folder).add_checkpoint(request(int(size), 7))
        assert following.status == 200, following
        if status == 0:
            break
        killed += 1
    assert killed > (0 if when == "in a write" else 10)


@pytest.mark.parametrize("kind", ["write", "flush", "rename", "flush_directory"])
def test_what_the_disk_refuses_is_not_cosigned(folder: Path, kind: str) -> None:
    """A state that is not on the medium has no cosignature."""
    fault = Fault(at=1, kind=kind, action=Fail(5))  # type: ignore[arg-type]
    answer = opened(folder, system=FaultySystem(fault)).add_checkpoint(request(0, 7))
    assert answer.status == 500
    assert "—".encode() not in answer.body


def test_many_processes_at_once(folder: Path) -> None:
    """Eight histories that extend one checkpoint, each from a process of its own: one is cosigned."""
    opened(folder).add_checkpoint(request(0, 3))
    bodies = []
    for n in range(8):
        tree = Tree([*(leaf_hash(entry) for entry in ENTRIES[:3]), leaf_hash(b"fork %d" % n)])
        bodies.append(request(3, 4, tree))
    children = []
    for body in bodies:
        child = os.fork()
        if child == 0:
            os._exit(opened(folder, lock_wait_s=60.0).add_checkpoint(body).status - 200)
        children.append(child)
    statuses = sorted(200 + os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)
    assert statuses == [200] + [409] * 7


def test_a_witness_that_is_busy_says_so(folder: Path) -> None:
    """Somebody else holds the lock for longer than a request waits."""
    with EvidenceDirectory(folder).locked():
        assert opened(folder, lock_wait_s=0.0).add_checkpoint(request(0, 3)).status == 503


spliced = st.sampled_from(
    [b"", b"\n", b"\n\n", b"\x00", b"\r\n", b" ", b"\xff", b"A" * 43 + b"=\n", b"old 0\n", SIGNED]
)


@settings(max_examples=100, deadline=None)
@given(start=st.integers(0, 700), end=st.integers(0, 700), middle=spliced | st.binary(max_size=30))
def test_hostile_requests(tmp_path_factory: pytest.TempPathFactory, start: int, end: int, middle: bytes) -> None:
    """Spliced requests get an answer; a cosigned one says what the log signed, and extends what was cosigned."""
    folder = tmp_path_factory.getbasetemp() / "hostile-witness"
    if not folder.exists():
        make(folder)
        opened(folder).add_checkpoint(request(0, 5))
    good = request(5, 7)
    body = good[:start] + middle + good[end:]
    answer = opened(folder).add_checkpoint(body)
    assert answer.status in (200, 400, 403, 404, 409, 422)
    assert len(answer.body) < 500
    if answer.status == 200:
        assert parse_note(parse_add_checkpoint(body).checkpoint).text == CHECKPOINT.text()
        [state] = (folder / "state").iterdir()
        state.unlink()
        opened(folder).add_checkpoint(request(0, 5))


def test_requests_and_answers_are_bounded() -> None:
    """At the limit they are parsed, above it refused."""
    with pytest.raises(InvalidEvidence, match="allowed"):
        parse_add_checkpoint(b"old 0\n\n" + b"x" * REQUEST_BYTES_MAX)
    assert parse_answer(WitnessAnswer(409, b"5\n").encode()).body == b"5\n"
    for bad in (b"", b"200", b"20\n", b"2000\n", b"abc\n", b"200\n" + b"x" * 64 * 1024):
        with pytest.raises(InvalidEvidence):
            parse_answer(bad)


@pytest.fixture
def server(folder: Path) -> Iterator[WitnessServer]:
    with WitnessServer(opened(folder)) as server:
        thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(url: str, body: bytes | None = None) -> tuple[int, str, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=30) as response:
            return response.status, response.headers["Content-Type"], response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read()


def test_over_http(server: WitnessServer) -> None:
    """Status, type and body are those of the protocol; the newest checkpoint can be read."""
    newest = f"{server.url}/{hashlib.sha256(ORIGIN.encode()).hexdigest()}/checkpoint"
    assert ask(newest)[0] == 404
    status, _, body = ask(f"{server.url}/add-checkpoint", request(0, 7))
    assert status == 200
    assert ask(f"{server.url}/add-checkpoint", request(0, 7)) == (409, "text/x.tlog.size", b"7\n")
    assert ask(newest) == (200, "text/plain; charset=utf-8", SIGNED + body)
    for path, sent, status in (("/", None, 404), ("/other", b"x", 404), ("/../witness.key", None, 404)):
        assert ask(server.url + path, sent)[0] == status


def raw(server: WitnessServer, data: bytes) -> bytes:
    with socket.create_connection(server.server_address[:2], timeout=30) as connection:  # type: ignore[arg-type]
        connection.sendall(data)
        with contextlib.suppress(ConnectionResetError):
            return b"".join(iter(lambda: connection.recv(65536), b""))
    return b""


def test_bad_http(server: WitnessServer) -> None:
    """What is no request is refused, and the next one is answered."""
    head = b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\n"
    assert b" 411 " in raw(server, head + b"\r\n")
    assert b" 411 " in raw(server, head + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert b" 411 " in raw(server, head + b"Content-Length: -5\r\n\r\n")
    assert b" 413 " in raw(server, head + b"Content-Length: %d\r\n\r\n" % (REQUEST_BYTES_MAX + 1))
    assert b" 400 " in raw(server, head + b"Content-Length: 5\r\n\r\nhello")
    for junk in (b"\x00\xff\r\n\r\n", b"GET\r\n\r\n", b"PUT / HTTP/1.1\r\n\r\n", b"GET / HTTP/9.9.9\r\n\r\n"):
        raw(server, junk)
    assert ask(f"{server.url}/add-checkpoint", request(0, 7))[0] == 200


def test_connections_are_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that sends nothing is hung up on; above the number that is served, the next one is closed unheard."""
    monkeypatch.setattr(serving, "CONNECTIONS_MAX", 2)
    monkeypatch.setattr(serving, "CONNECTION_S_MAX", 0.2)
    with WitnessServer(opened(folder)) as server:
        thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
        thread.start()
        address = server.server_address[:2]
        silent = [socket.create_connection(address, timeout=30) for _ in range(3)]  # type: ignore[arg-type]
        for one in silent:
            with contextlib.suppress(ConnectionResetError):
                assert one.recv(1) == b""
            one.close()
        until = time.monotonic() + 30
        while ask_quietly(server) != 200:
            assert time.monotonic() < until
        server.shutdown()
        thread.join()


def ask_quietly(server: WitnessServer) -> int:
    try:
        return ask(f"{server.url}/add-checkpoint", request(0, 7))[0]
    except OSError:
        return 0


def test_as_a_command(folder: Path) -> None:
    """Over standard input and output, as through ssh: the status on a line of its own."""
    command = [sys.executable, "-m", "sessionlog", "witness", "add-checkpoint", "--dir", str(folder)]
    ran = subprocess.run(command, input=request(0, 7), capture_output=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")
    answer = parse_answer(ran.stdout)
    assert answer.status == 200
    assert open_checkpoint(SIGNED + answer.body, [LOG.key], [opened(folder).key]).cosignatures
    again = subprocess.run(command, input=request(0, 7), capture_output=True, check=False)
    assert (again.returncode, again.stdout) == (0, b"409\n7\n")
