"""Anchors from a sink, a key that a program keeps, and SIGKILL at any system call of a run."""

import os
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from keeper import ORIGIN, Keeper

from sessionlog import StoreFailed
from sessionlog.evidence import (
    AnchoringStopped,
    DirectorySink,
    InvalidEvidence,
    PrivateKey,
    ProgramSigner,
    Tree,
    leaf_hash,
    make_keys,
    open_checkpoint,
    parse_signer,
    read_vkey,
)
from sessionlog.evidence import program_signer as signing
from sessionlog.evidence.anchor_files import EvidenceDirectory
from sessionlog.evidence.anchor_log import AnchorLog
from sessionlog.testing.faults import Fault, FaultySystem, Kill


class Sunk(Keeper):
    """A keeper with a directory as a sink."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.copy = root / "copy"
        self.sinks = [DirectorySink(str(self.copy))]


@pytest.fixture
def keeper(tmp_path: Path) -> Sunk:
    keeper = Sunk(tmp_path)
    for name in ("one", "two", "three"):
        keeper.write(name, "a")
        keeper.anchor(sinks=keeper.sinks)
    return keeper


def test_lost_anchors(keeper: Sunk) -> None:
    """With the secrets from a backup all goes on, and an audit since before the loss finds nothing."""
    since = keeper.checkpoint()
    secrets = {path.name: path.read_bytes() for path in (keeper.anchors / "blind").iterdir()}
    policy = (keeper.anchors / "policy").read_bytes()
    shutil.rmtree(keeper.anchors)
    keeper.write("one", "b")
    with pytest.raises(AnchoringStopped):
        keeper.anchor(sinks=keeper.sinks)
    (keeper.anchors / "blind").mkdir(parents=True, exist_ok=True)
    for name, secret in secrets.items():
        (keeper.anchors / "blind" / name).write_bytes(secret)
    (keeper.anchors / "policy").unlink(missing_ok=True)
    done = keeper.anchor(sinks=keeper.sinks, recover_from=keeper.copy)
    assert (done.size, done.changed, done.faults, done.unsent) == (4, 1, {}, None)
    assert (keeper.anchors / "policy").read_bytes() == policy
    assert keeper.audit(since=since).findings == []


def test_lost_secrets(keeper: Sunk) -> None:
    """No sink has them: each session is named, and can begin anew by an accepted loss."""
    shutil.rmtree(keeper.anchors)
    done = keeper.anchor(sinks=keeper.sinks, recover_from=keeper.copy)
    assert all("the secret of its nonces" in reason for reason in done.faults.values())
    assert set(done.faults) == {"one", "two", "three"}
    losses = dict.fromkeys(done.faults, "the disk with the secrets is gone")
    assert keeper.anchor(sinks=keeper.sinks, accept_loss=losses).faults == {}
    done = keeper.anchor(sinks=keeper.sinks)
    assert (done.faults, done.changed) == ({}, 3)
    assert {one.fault.value for one in keeper.audit().findings} == {"loss"}


def test_anchors_and_keys_from_an_old_backup(keeper: Sunk) -> None:
    """The sink is ahead of both: recovered, they go on from what it has, and an audit since then finds nothing."""
    restore = keeper.keep("anchors", "keys")
    keeper.write("one", "b")
    keeper.anchor(sinks=keeper.sinks)
    since = keeper.checkpoint()
    restore()
    with pytest.raises(AnchoringStopped, match="a sink has a checkpoint of 4 entries"):
        keeper.anchor(sinks=keeper.sinks)
    keeper.write("two", "b")
    done = keeper.anchor(sinks=keeper.sinks, recover_from=keeper.copy)
    assert (done.size, done.faults) == (5, {})
    assert keeper.audit(since=since).findings == []


def test_a_sink_that_is_behind_or_another(keeper: Sunk) -> None:
    """Going on from it would sign a second history: nothing is changed."""
    restore = keeper.keep("copy")
    keeper.write("one", "b")
    keeper.anchor(sinks=keeper.sinks)
    restore()
    before = {path: path.read_bytes() for path in keeper.anchors.rglob("*") if path.is_file()}
    with pytest.raises(AnchoringStopped, match="has 4 entries, the sink only 3"):
        keeper.anchor(recover_from=keeper.copy)
    shutil.rmtree(keeper.copy)
    other = Sunk(keeper.root / "other")
    shutil.rmtree(other.keys)
    shutil.copytree(keeper.keys, other.keys)
    (other.keys / "last").unlink()
    for n in range(5):
        other.write("one", str(n))
        other.anchor(sinks=other.sinks)
    with pytest.raises(AnchoringStopped, match="another history"):
        keeper.anchor(recover_from=other.copy)
    with pytest.raises(AnchoringStopped, match="no checkpoint"):
        keeper.anchor(recover_from=keeper.root)
    assert {path: path.read_bytes() for path in keeper.anchors.rglob("*") if path.is_file()} == before


def test_a_sink_that_was_changed(keeper: Sunk) -> None:
    """Any byte of what is copied back, and any file that is gone, is refused."""
    shutil.rmtree(keeper.anchors)
    for name in ("checkpoint", "catalog/1", "tile/0/000.p/3", "tile/entries/000.p/3"):
        path = keeper.copy / name
        whole = path.read_bytes()
        for damaged in (whole[:50] + bytes([whole[50] ^ 1]) + whole[51:], whole[:-1], None):
            if damaged is None:
                path.unlink()
            else:
                path.write_bytes(damaged)
            with pytest.raises((InvalidEvidence, AnchoringStopped)):
                keeper.anchor(recover_from=keeper.copy)
            path.write_bytes(whole)
    assert not (keeper.anchors / "checkpoint").exists()


PROGRAM = """
import sys
from sessionlog.evidence import PrivateKey
with open(sys.argv[1], "rb") as file:
    key = PrivateKey.from_pem("x", file.read())
sys.stdout.buffer.write(key.sign(sys.stdin.buffer.read()))
"""


def test_a_program_as_signer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets the bytes and prints the signature; there is no private key here. What is no signature signs nothing."""
    keeper = Keeper(tmp_path)
    shutil.rmtree(keeper.keys)
    (tmp_path / "elsewhere.pem").write_bytes(PrivateKey.generate("x").to_pem())
    os.system(f"openssl pkey -in {tmp_path}/elsewhere.pem -pubout -out {tmp_path}/public.pem")
    vkey = make_keys(keeper.keys, ORIGIN, public_key=(tmp_path / "public.pem").read_bytes())
    assert not (keeper.keys / "log.key").exists()
    keeper.write("one", "a")
    with pytest.raises(InvalidEvidence, match=r"no log\.key"):
        keeper.anchor()
    signer = ProgramSigner([sys.executable, "-c", PROGRAM, str(tmp_path / "elsewhere.pem")], vkey)
    assert keeper.anchor(signer=signer).size == 1
    assert open_checkpoint(keeper.checkpoint(), [read_vkey(keeper.keys)]).checkpoint.size == 1
    keeper.write("one", "b")
    monkeypatch.setattr(signing, "SIGNER_TIMEOUT_S", 2.0)
    for script, words in (
        ("exit 1", "status 1"),
        ("sleep 600", "longer"),
        ("yes", "more than 64"),
        ("echo no", "good"),
    ):
        with pytest.raises((StoreFailed, InvalidEvidence), match=words):
            keeper.anchor(signer=parse_signer(f"exec:sh -c {shlex.quote(script)}", vkey))
    assert open_checkpoint(keeper.checkpoint(), [vkey]).checkpoint.size == 1
    monkeypatch.setattr(signing, "SIGNER_TIMEOUT_S", 60.0)
    assert keeper.anchor(signer=signer).size == 2  # what had been decided is signed now
    with pytest.raises(InvalidEvidence, match="not the one"):
        keeper.anchor(signer=PrivateKey.generate(ORIGIN))
    for bad in (b"", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"):
        with pytest.raises(InvalidEvidence, match="public key"):
            make_keys(tmp_path / "bad", ORIGIN, public_key=bad)
    for text in ("", "exec:", "sh"):
        with pytest.raises(ValueError, match="a signer is"):
            parse_signer(text, vkey)


@pytest.mark.parametrize("step", [17, pytest.param(1, marks=pytest.mark.long)])
def test_sigkill_at_any_system_call(keeper: Sunk, step: int) -> None:
    """Killed before any call of a run: the next run ends it, with one history, and an audit finds nothing."""
    since = keeper.checkpoint()
    keeper.write("one", "x")
    keeper.delete("two")
    restore = keeper.keep("anchors", "keys", "copy")
    killed = 0
    for at in range(1, 2000, step):
        restore()
        system = FaultySystem(Fault(at=at, action=Kill()))
        child = os.fork()
        if child == 0:
            try:
                keeper.anchor(sinks=[DirectorySink(str(keeper.copy), system)], system=system)
                os._exit(0)
            finally:
                os._exit(1)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        left: dict[int, bytes] = {}
        for path in (keeper.anchors / "pending", keeper.anchors / "checkpoint", keeper.copy / "checkpoint"):
            if path.exists():
                one = open_checkpoint(path.read_bytes(), [read_vkey(keeper.keys)]).checkpoint
                assert left.setdefault(one.size, one.root) == one.root
        done = keeper.anchor(sinks=keeper.sinks)
        assert (done.size, done.faults, done.pending, done.unsent) == (5, {}, False, None), at
        assert left.get(5, done.root) == done.root, "signed twice, differently"
        entries = list(AnchorLog(EvidenceDirectory(keeper.anchors), 5).entries())
        assert Tree(map(leaf_hash, entries)).root() == done.root
        if status == 0:
            break
        assert status == -9
        killed += 1
    assert killed > 80 // step
    assert keeper.audit(since=since).findings == []
