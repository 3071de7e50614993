"""Anchoring: what a run signs, whom it names, when it stops, and what a kill at any system call leaves."""

import contextlib
import errno
import shutil
import stat
import sys
from pathlib import Path

import msgspec
import plain_merkle as plain
import pytest
from blake3 import blake3
from keeper import ORIGIN, Keeper

from sessionlog import SessionNotFound, StoreFailed, parse_record
from sessionlog.evidence import (
    AnchoringStopped,
    DirectorySink,
    InvalidEvidence,
    KeyType,
    PrivateKey,
    ProgramSink,
    SessionState,
    make_keys,
    open_checkpoint,
    parse_sink,
    parse_statements,
    read_vkey,
)
from sessionlog.evidence.anchor_catalog import load_catalog
from sessionlog.evidence.anchor_files import EvidenceDirectory
from sessionlog.evidence.anchor_log import AnchorLog
from sessionlog.evidence.merkle import Tree, leaf_hash
from sessionlog.testing.faults import Fail, Fault, FaultySystem


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    keeper = Keeper(tmp_path)
    keeper.write("one", "a", "b")
    keeper.write("two", "c")
    return keeper


def statements(keeper: Keeper) -> dict[str, tuple[int, int, str]]:
    """Read what the newest catalog says of each session."""
    directory = EvidenceDirectory(keeper.anchors)
    size = int(checkpoint_lines(keeper.anchors / "checkpoint")[1])
    found, _ = load_catalog(directory, AnchorLog(directory, size))
    return {name: (one.generation, one.records, one.state.value) for name, one in found.items()}


def checkpoint_lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_a_run_signs_what_the_store_holds(keeper: Keeper) -> None:
    """The checkpoint is the key's; the statement's root is the plain tree over nonces and record hashes."""
    done = keeper.anchor()
    assert (done.size, done.sessions, done.changed, done.records, done.faults) == (1, 2, 2, 5, {})
    assert not done.pending
    opened = open_checkpoint((keeper.anchors / "checkpoint").read_bytes(), [read_vkey(keeper.keys)])
    assert (opened.checkpoint.origin, opened.checkpoint.size, opened.checkpoint.root) == (ORIGIN, 1, done.root)
    statement = parse_statements((keeper.anchors / "catalog" / "0").read_bytes())[0]
    assert (statement.session_id, statement.records, statement.state) == ("one", 3, SessionState.LIVE)
    secret = bytes.fromhex((keeper.anchors / "blind" / "one").read_text())
    leaves = []
    for line in keeper.log("one").read_bytes().splitlines():
        record = parse_record(line)
        node = secret
        for level in range(62, -1, -1):
            node = blake3(bytes([record.seq >> level & 1]), key=node).digest()
        leaves.append(node + bytes.fromhex(record.hash))
    assert statement.root == plain.mth(leaves)


def test_a_run_takes_in_what_is_new_and_nothing_else(keeper: Keeper) -> None:
    """An unchanged store gets no entry; a changed session one statement, whether or not the cache is there."""
    first = keeper.anchor()
    assert keeper.anchor().size == 1
    keeper.write("two", "d")
    second = keeper.anchor()
    assert (second.size, second.changed, second.records) == (2, 1, 1)
    (keeper.anchors / "cache").unlink()
    again = keeper.anchor()
    assert (again.size, again.changed, again.root) == (2, 0, second.root)
    (keeper.anchors / "cache").write_bytes(b"\x93anything")
    keeper.write("two", "e")
    assert keeper.anchor().changed == 1
    assert statements(keeper) == {"one": (0, 3, "live"), "two": (0, 4, "live")}
    assert first.root != second.root


def test_a_cache_that_was_changed_is_not_believed(keeper: Keeper) -> None:
    """Whole as a file, but with another edge of a session's tree: that session is read anew."""
    done = keeper.anchor()
    cache = keeper.anchors / "cache"
    size, encoded, kept = msgspec.msgpack.decode(cache.read_bytes())
    for stack in ([], [b"short"], [bytes(32), bytes(32)]):
        changed = {name: ["another stamp", position, stack] for name, (_, position, _) in kept.items()}
        cache.write_bytes(msgspec.msgpack.encode([size, encoded, changed]))
        again = keeper.anchor()
        assert (again.faults, again.root) == ({}, done.root)


def test_one_bad_session_stops_no_other(keeper: Keeper) -> None:
    """Cut, damaged and removed sessions keep their statements and are named; a good one is anchored."""
    for name in ("cut", "damaged", "removed"):
        keeper.write(name, "x", "y")
    keeper.anchor()
    before = statements(keeper)
    keeper.cut("cut", 1)
    damaged = keeper.log("damaged").read_bytes()
    keeper.log("damaged").write_bytes(damaged.replace(b'"y"', b'"z"'))
    keeper.log("removed").unlink()
    keeper.write("one", "more")
    done = keeper.anchor()
    assert set(done.faults) == {"cut", "damaged", "removed"}
    assert done.changed == 1
    assert statements(keeper) == before | {"one": (0, 4, "live")}
    (keeper.anchors / "cache").unlink()
    again = keeper.anchor()
    assert set(again.faults) == {"cut", "damaged", "removed"}
    assert "2 records, 3 were anchored" in again.faults["cut"]


def test_a_rewritten_session_is_named(keeper: Keeper) -> None:
    """A log made anew, with all hashes right, is not what was anchored: with the cache, and without it."""
    keeper.anchor()
    keeper.log("one").unlink()
    keeper.write("one", "A", "b", "c")
    assert set(keeper.anchor().faults) == {"one"}
    (keeper.anchors / "cache").unlink()
    assert "not the ones that were anchored" in keeper.anchor().faults["one"]


def test_a_final_session_stays_as_it_is(keeper: Keeper) -> None:
    """Finalized, also when nothing else changed; whatever is appended afterwards is named."""
    keeper.anchor()
    assert keeper.anchor(finalize=["one"]).changed == 1
    assert statements(keeper)["one"] == (0, 3, "final")
    assert keeper.anchor(finalize=["one"]).changed == 0
    keeper.write("one", "forged")
    done = keeper.anchor()
    assert "1 records were appended after it was final" in done.faults["one"]
    assert statements(keeper)["one"] == (0, 3, "final")
    with pytest.raises(SessionNotFound):
        keeper.anchor(finalize=["three"])


def test_a_deletion_with_a_receipt(keeper: Keeper) -> None:
    """The statement says so, the secret is gone, and the id may be used again in the next generation."""
    keeper.anchor()
    keeper.delete("one", reason="asked\nto", by="Ada")
    done = keeper.anchor()
    assert (list(done.deleted), done.faults, done.size) == (["one"], {}, 3)
    assert statements(keeper)["one"] == (0, 3, "deleted")
    assert not (keeper.anchors / "blind" / "one").exists()
    entries = list(AnchorLog(EvidenceDirectory(keeper.anchors), 3).entries())
    assert b"\nsession one\nrecords 3\n" in entries[1]
    assert entries[1].endswith(b"\nby Ada\nreason asked to\n")
    keeper.write("one", "again")
    assert keeper.anchor().faults == {}
    assert statements(keeper)["one"] == (1, 2, "live")
    keeper.log("one").unlink()
    assert "gone" in keeper.anchor().faults["one"]  # the old receipt does not serve again
    (keeper.anchors / "cache").unlink()
    assert "gone" in keeper.anchor().faults["one"]


def test_deleted_and_made_anew_between_two_runs(keeper: Keeper) -> None:
    """First the deletion is anchored, then the new session, one statement a run."""
    keeper.anchor()
    keeper.delete("one")
    keeper.write("one", "another", "and", "longer")
    assert list(keeper.anchor().deleted) == ["one"]
    assert keeper.anchor().faults == {}
    assert statements(keeper)["one"] == (1, 4, "live")


def test_restored_anchors_stop_the_run(keeper: Keeper) -> None:
    """The key knows that it signed more."""
    keeper.anchor()
    restore = keeper.keep("anchors")
    keeper.write("one", "x")
    keeper.anchor()
    restore()
    with pytest.raises(AnchoringStopped, match="do not reach"):
        keeper.anchor()
    shutil.rmtree(keeper.anchors)
    with pytest.raises(AnchoringStopped):
        keeper.anchor()


def test_restored_anchors_and_keys_are_found_by_a_sink(keeper: Keeper) -> None:
    """Everything that the keeper has rolled back at once: the sink has more."""
    sinks = [parse_sink(f"dir:{keeper.root / 'sink'}")]
    keeper.anchor(sinks=sinks)
    restore = keeper.keep("anchors", "keys", "store")
    keeper.write("one", "x")
    keeper.anchor(sinks=sinks)
    restore()
    with pytest.raises(AnchoringStopped, match="a sink has a checkpoint of 2 entries"):
        keeper.anchor(sinks=sinks)


def test_a_cloned_machine_is_stopped(keeper: Keeper) -> None:
    """Two machines with one key: the second to reach the sink is stopped, also at the same size."""
    sinks = [DirectorySink(str(keeper.root / "sink"))]
    keeper.anchor(sinks=sinks)
    restore = keeper.keep("anchors", "keys", "store")
    keeper.write("one", "on this machine")
    keeper.anchor(sinks=sinks)
    restore()
    keeper.write("one", "on the other")
    keeper.anchor()  # alone, it does not know
    with pytest.raises(AnchoringStopped, match="another history"):
        keeper.anchor(sinks=sinks)


def test_keys_restored_without_last_need_a_sink_that_agrees(keeper: Keeper) -> None:
    """The backup of a key is older than what it signed last: a sink with the same checkpoint settles it."""
    keeper.anchor()
    restore = keeper.keep("keys")
    keeper.write("one", "x")
    sinks = [DirectorySink(str(keeper.root / "sink"))]
    keeper.anchor(sinks=sinks)
    for lost in (False, True):
        restore()
        if lost:
            (keeper.keys / "last").unlink()
        with pytest.raises(AnchoringStopped, match="name a sink"):
            keeper.anchor()
        assert keeper.anchor(sinks=sinks).size == 2


def test_two_runs_at_once(keeper: Keeper) -> None:
    """The second says that another is at work, and does nothing."""
    keeper.anchor()
    with EvidenceDirectory(keeper.anchors).locked(), pytest.raises(AnchoringStopped, match="at work"):
        keeper.anchor()


def test_the_key_of_another_log_is_refused(keeper: Keeper) -> None:
    """Anchors belong to the key that is in their policy."""
    keeper.anchor()
    shutil.rmtree(keeper.keys)
    with pytest.raises(InvalidEvidence, match="sessionlog keys init"):
        keeper.anchor()
    make_keys(keeper.keys, ORIGIN)
    with pytest.raises(AnchoringStopped, match="another log"):
        keeper.anchor()


def test_keys_are_made_once_and_private(keeper: Keeper) -> None:
    """Nobody else reads them, and a second key is not written over the first."""
    assert stat.S_IMODE((keeper.keys / "log.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(keeper.keys.stat().st_mode) == 0o700
    with pytest.raises(AnchoringStopped, match="holds a key already"):
        make_keys(keeper.keys, ORIGIN)
    with pytest.raises(InvalidEvidence):
        make_keys(keeper.root / "other", "not a name")
    (keeper.keys / "log.key").write_bytes(PrivateKey.generate(ORIGIN).to_pem())
    with pytest.raises(InvalidEvidence, match="is not the one"):
        keeper.anchor()


def test_a_quorum_that_is_not_met_leaves_the_checkpoint_pending(keeper: Keeper) -> None:
    """Anchoring goes on; nothing is published, and a larger tree takes the place of a pending one."""
    witness = PrivateKey.generate("example.com/w", KeyType.COSIGNATURE).key
    keeper.anchors.mkdir()
    policy = f"log {read_vkey(keeper.keys)}\nwitness w {witness}\nquorum w\n"
    (keeper.anchors / "policy").write_text(policy)
    sink = keeper.root / "sink"
    for size in (1, 2):
        keeper.write("one", "more")
        done = keeper.anchor(sinks=[DirectorySink(str(sink))])
        assert (done.size, done.pending) == (size, True)
        assert checkpoint_lines(keeper.anchors / "pending")[1] == str(size)
    assert not sink.exists()
    assert not (keeper.anchors / "checkpoint").exists()


def test_sinks(keeper: Keeper) -> None:
    """A directory gets all that an audit needs but the secrets; a program gets the checkpoint; a failure is made up."""
    copy, mail = keeper.root / "copy", keeper.root / "mail"
    take = ProgramSink([sys.executable, "-c", f"import sys; open({str(mail)!r}, 'a').write(sys.stdin.read())"])
    keeper.anchor(sinks=[take])
    keeper.write("one", "x")
    done = keeper.anchor(sinks=[parse_sink("exec:false"), DirectorySink(str(copy)), take])
    assert done.unsent is not None
    assert "status 1" in done.unsent
    assert mail.read_text().count("\n2\n") == 1
    assert not (copy / "blind").exists()
    for name in ("checkpoint", "catalog/0", "catalog/1", "tile/entries/000.p/2", "tile/0/000.p/2"):
        assert (copy / name).read_bytes() == (keeper.anchors / name).read_bytes()
    assert keeper.anchor(sinks=[DirectorySink(str(copy))]).unsent is None
    for text in ("", "dir:", "exec:", "ftp:x"):
        with pytest.raises(ValueError, match="a sink is"):
            parse_sink(text)


def test_a_program_gets_a_checkpoint_once_unless_a_sink_fails(keeper: Keeper) -> None:
    """A run without news sends nothing; after a failure the next one sends again."""
    mail = keeper.root / "mail"
    take = ProgramSink([sys.executable, "-c", f"open({str(mail)!r}, 'a').write('x')"])
    for sinks, count in (([take], 1), ([take], 1)):
        keeper.anchor(sinks=sinks)
        assert mail.read_text() == "x" * count
    keeper.write("one", "x")
    assert keeper.anchor(sinks=[parse_sink("exec:false"), take]).unsent is not None
    assert keeper.anchor(sinks=[take]).unsent is None
    keeper.anchor(sinks=[take])
    assert mail.read_text() == "xxx"


def test_an_accepted_loss(keeper: Keeper) -> None:
    """A receipt says so, and an audit fails unless it is accepted there; what is left begins a new generation."""
    keeper.anchor()
    keeper.cut("one", 1)
    assert keeper.anchor(accept_loss={"two": "not lost"}).faults.keys() == {"one"}
    done = keeper.anchor(accept_loss={"one": "restored from a backup"})
    assert (done.faults, list(done.deleted)) == ({}, ["one"])
    assert statements(keeper)["one"] == (0, 3, "deleted")
    assert keeper.anchor().faults == {}
    assert statements(keeper)["one"] == (1, 2, "live")
    [finding] = keeper.audit().findings
    assert (finding.fault, finding.session_id) == ("loss", "one")
    assert keeper.audit(accepted=[1]).findings == []


def test_a_sink_is_never_written_over(keeper: Keeper) -> None:
    """Files there that differ are another history, and are left alone."""
    copy = keeper.root / "copy"
    (copy / "catalog").mkdir(parents=True)
    (copy / "catalog" / "0").write_bytes(b"something else")
    done = keeper.anchor(sinks=[DirectorySink(str(copy))])
    assert done.unsent is not None
    assert "differs" in done.unsent
    assert (copy / "catalog" / "0").read_bytes() == b"something else"


def test_records_that_cannot_be_flushed_are_not_anchored(keeper: Keeper) -> None:
    """A log whose flush fails is named; it is never signed for what the disk may not hold."""
    system = FaultySystem(Fault(at=1, kind="flush", action=Fail(errno.EIO)))
    done = keeper.anchor(store_system=system)
    assert list(done.faults) == ["one"]
    assert done.changed == 1
    assert statements(keeper) == {"two": (0, 2, "live")}


def test_a_torn_tail_is_not_anchored(keeper: Keeper) -> None:
    """What stands behind the last LF is no part of the log."""
    with keeper.log("one").open("ab") as log:
        log.write(b'{"hash":')
    assert keeper.anchor().faults == {}
    assert statements(keeper)["one"] == (0, 3, "live")


def test_a_wrong_clock_never_turns_back(keeper: Keeper) -> None:
    """An entry's time is the last one's if the clock says less."""
    keeper.anchor()
    keeper.now_ms -= 10_000_000
    keeper.write("one", "x")
    keeper.anchor()
    times = [entry.split(b"\n")[1] for entry in AnchorLog(EvidenceDirectory(keeper.anchors), 2).entries()]
    assert times[0] == times[1]


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.long)])
def test_a_kill_at_any_system_call(keeper: Keeper, tmp_path: Path, step: int) -> None:
    """Every call from the N-th on fails, for every N: what left is one history, and the next run ends it well."""
    sinks = [DirectorySink(str(tmp_path / "sink"))]
    keeper.anchor(sinks=sinks)
    keeper.write("one", "x")
    keeper.delete("two")
    restore = keeper.keep("anchors", "keys", "store", "sink")
    for at in range(1, 1000, step):
        restore()
        system = FaultySystem(Fault(at=at, action=Fail(errno.EIO), lasting=True))
        with contextlib.suppress(StoreFailed, AnchoringStopped, OSError):
            keeper.anchor(sinks=[DirectorySink(str(tmp_path / "sink"), system)], system=system)
        if not system.fired:
            break
        left: dict[int, str] = {}
        for path in (keeper.anchors / "pending", keeper.anchors / "checkpoint", tmp_path / "sink" / "checkpoint"):
            if path.exists():
                _, size, root = checkpoint_lines(path)[:3]
                assert left.setdefault(int(size), root) == root
        done = keeper.anchor(sinks=sinks)
        assert (done.faults, done.pending, done.unsent) == ({}, False, None), at
        _, size, root = checkpoint_lines(keeper.anchors / "checkpoint")[:3]
        assert left.get(int(size), root) == root, "signed twice, differently"
        assert max(left, default=0) <= int(size)
        assert statements(keeper) | {"two": (0, 2, "deleted")} == statements(keeper)
        log = AnchorLog(EvidenceDirectory(keeper.anchors), int(size))
        entries = list(log.entries())
        assert Tree(map(leaf_hash, entries)).root() == log.root() == done.root
    assert at > 60


def test_the_log_grows_over_tiles(tmp_path: Path) -> None:
    """Past 256 and 512 entries, in steps of any size, tiles and root are those of the plain tree."""
    log = AnchorLog(EvidenceDirectory(tmp_path), 0)
    entries: list[bytes] = []
    for step in (1, 200, 54, 1, 1, 300, 3, 700):
        more = [b"entry %d" % n for n in range(len(entries), len(entries) + step)]
        entries += more
        log = log.grow(more)
        assert log.root() == Tree(map(leaf_hash, entries)).root()
        assert list(log.entries()) == entries
    assert list(log.entries(700)) == entries[700:]


def test_partial_tiles_go_when_the_full_one_is_there(tmp_path: Path) -> None:
    """As of the published checkpoint; the log reads as before, and a kill leaves the rest to the next run."""
    directory = EvidenceDirectory(tmp_path)
    log = AnchorLog(directory, 0)
    for size in (1, 100, 255, 256, 300, 511, 513, 515):
        log = log.grow([b"entry %d" % n for n in range(log.size, size)])

    def partial() -> set[str]:
        return {str(path.relative_to(tmp_path / "tile")) for path in tmp_path.rglob("*.p/*")}

    last = {f"{level}/002.p/{width}" for level in ("0", "entries") for width in (1, 3)} | {"1/000.p/1", "1/000.p/2"}
    second = {f"{level}/001.p/{width}" for level in ("0", "entries") for width in (44, 255)}
    AnchorLog(directory, 511).prune()
    assert partial() == last | second
    system = FaultySystem(Fault(at=2, kind="unlink", action=Fail(errno.EIO)))
    with pytest.raises(StoreFailed):
        AnchorLog(EvidenceDirectory(tmp_path, system), 515).prune()
    assert len(partial()) == len(last | second) - 1
    AnchorLog(directory, 515).prune()
    assert partial() == last
    for size in (513, 515):
        entries = [b"entry %d" % n for n in range(size)]
        again = AnchorLog(directory, size)
        assert list(again.entries()) == entries
        assert again.root() == Tree(map(leaf_hash, entries)).root()
