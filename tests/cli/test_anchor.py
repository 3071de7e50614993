"""``sessionlog keys``, ``anchor`` and ``finalize``: what they say, and their exit status."""

import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Cli


class Anchoring:
    """The commands with their directories named."""

    def __init__(self, run: Cli, folder: Path) -> None:
        self.run = run
        self.keys = ("--keys", str(folder / "keys"))
        self.both = (*self.keys, "--anchors", str(folder / "anchors"))


@pytest.fixture
def anchoring(run: Cli, tmp_path: Path) -> Anchoring:
    anchoring = Anchoring(run, tmp_path)
    assert run("keys", "init", "example.com/store", *anchoring.keys).status == 0
    return anchoring


def test_anchor_says_what_it_did(anchoring: Anchoring) -> None:
    """A line or an object for a run; nothing new is no new entry."""
    [first] = anchoring.run("anchor", *anchoring.both, "--json").objects
    assert (first["size"], first["changed"], first["faults"], first["pending"]) == (1, first["sessions"], {}, False)
    ran = anchoring.run("anchor", *anchoring.both)
    assert ran.status == 0
    assert ran.lines == [f"1 entry, root {first['root']}: 0 sessions changed, 0 records read"]


def test_a_session_that_was_cut_is_named(anchoring: Anchoring) -> None:
    """Status 1, and the line says which session and why."""
    anchoring.run("anchor", *anchoring.both)
    path = anchoring.run.log("alpha-1")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    ran = anchoring.run("anchor", *anchoring.both)
    assert ran.status == 1
    assert "not anchored: alpha-1: " in ran.stderr


def test_finalize(anchoring: Anchoring) -> None:
    """By a short id; an append afterwards is named by the next run."""
    assert anchoring.run("finalize", "alpha-1", *anchoring.both).status == 0
    assert anchoring.run("append", "alpha-1", stdin='{"kind":"turn_end","turn_count":2}\n').status == 0
    ran = anchoring.run("anchor", *anchoring.both)
    assert ran.status == 1
    assert "after it was final" in ran.stderr


def test_a_sink_that_fails_is_status_3(anchoring: Anchoring) -> None:
    """The checkpoint is signed, and the next run sends it."""
    ran = anchoring.run("anchor", *anchoring.both, "--sink", "exec:false")
    assert ran.status == 3
    assert "ended with status 1" in ran.stderr


def test_anchors_that_were_restored_are_refused(anchoring: Anchoring, tmp_path: Path) -> None:
    """Nothing is signed, status 2, and the line says what to look for."""
    anchoring.run("anchor", *anchoring.both)
    subprocess.run(["rm", "-r", str(tmp_path / "anchors")], check=True)
    anchoring.run("anchor", *anchoring.both).assert_refused("do not reach", "restore them")


def test_wrong_use(anchoring: Anchoring, tmp_path: Path) -> None:
    """One line each, status 2."""
    run, inside = anchoring.run, str(anchoring.run.store / "in")
    run("anchor", *anchoring.keys).assert_refused("--anchors")
    run("anchor", *anchoring.keys, "--anchors", inside).assert_refused("out of the store")
    run("keys", "init", "example.com/x", "--keys", inside).assert_refused("out of the store")
    run("keys", "init", "example.com/x", *anchoring.keys).assert_refused("a key already")
    run("keys", "init", "no name", "--keys", str(tmp_path / "k")).assert_refused("not a name")
    run("keys", "vkey", "--keys", str(tmp_path / "none")).assert_refused("keys init")
    run("anchor", *anchoring.both, "--every", "1").assert_refused("60s")
    run("anchor", *anchoring.both, "--sink", "ftp:x").assert_refused("dir:PATH")
    run("anchor", *anchoring.both, "--accept-loss", "alpha-1").assert_refused("--reason")
    run("finalize", "nobody", *anchoring.both).assert_refused("nobody")


def test_a_witness_that_differs_is_told_of(anchoring: Anchoring, tmp_path: Path) -> None:
    """What it refuses is a note and status 3; another history is status 2, and nothing was signed."""
    made = anchoring.run("witness", "init", "example.com/w", "--dir", str(tmp_path / "w"))
    assert made.status == 0
    command = f"{sys.executable} -m sessionlog witness add-checkpoint --dir {tmp_path / 'w'}"
    ran = anchoring.run("anchor", *anchoring.both, "--sink", f"witness:exec:{command}")
    assert ran.status == 3
    assert "refused with status 404" in ran.stderr
    (tmp_path / "w" / "logs").write_text(anchoring.run("keys", "vkey", *anchoring.keys).stdout)
    policy = tmp_path / "anchors" / "policy"
    policy.write_text(policy.read_text().replace("quorum none", f"witness w {made.lines[0]}\nquorum w"))
    assert anchoring.run("anchor", *anchoring.both, "--sink", f"witness:exec:{command}").status == 0
    subprocess.run(["rm", "-r", str(tmp_path / "anchors"), str(tmp_path / "keys" / "last")], check=True)
    ran = anchoring.run("anchor", *anchoring.both, "--sink", f"witness:exec:{command}")
    ran.assert_refused("has cosigned 1 entries, the anchors have 0")


def test_witness_wrong_use(anchoring: Anchoring, tmp_path: Path) -> None:
    """One line each, status 2."""
    run, there = anchoring.run, str(tmp_path / "w")
    run("witness", "serve", "--dir", there).assert_refused("witness init")
    run("witness", "init", "no name", "--dir", there).assert_refused("not a name")
    assert run("witness", "init", "example.com/w", "--dir", there).status == 0
    run("witness", "init", "example.com/w", "--dir", there).assert_refused("a key already")
    run("witness", "serve", "--dir", there, "--listen", "8080").assert_refused("HOST:PORT")
    run("witness", "serve", "--dir", there, "--listen", "nowhere.invalid:1").assert_refused()
    run("witness", "add-checkpoint").assert_refused("--dir")
    run("anchor", *anchoring.both, "--sink", "witness:ftp://x").assert_refused("https://HOST")
