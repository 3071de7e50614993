"""``sessionlog prove`` and ``check-proof``: files for somebody else, and what he is told."""

from pathlib import Path

import pytest

from .conftest import Cli


class Proving:
    """A store that is anchored, and the options of both sides."""

    def __init__(self, run: Cli, folder: Path) -> None:
        self.run, self.folder = run, folder
        both = ("--keys", str(folder / "keys"), "--anchors", str(folder / "anchors"))
        vkey = run("keys", "init", "example.com/store", *both[:2]).stdout.strip()
        assert run("anchor", *both).status == 0
        (folder / "policy").write_text(f"log {vkey}\nquorum none\n")
        self.anchors, self.policy = both[2:], ("--policy", str(folder / "policy"))
        self.output = ("--output", str(folder / "out"))
        self.proof, self.records = folder / "out.tlog-proof", folder / "out.jsonl"

    def prove(self, *args: str) -> None:
        ran = self.run("prove", *args, *self.anchors, *self.output)
        assert ran.status == 0, ran
        assert ran.lines[0] == f"{self.proof}: {self.proof.stat().st_size:,} bytes"

    def check(self) -> tuple[int, str]:
        ran = self.run("check-proof", str(self.proof), *self.policy)
        return ran.status, ran.stdout


@pytest.fixture
def proving(run: Cli, tmp_path: Path) -> Proving:
    return Proving(run, tmp_path)


def test_a_record(proving: Proving) -> None:
    """Proved with its record, and not with another."""
    proving.prove("alpha-1", "1")
    status, told = proving.check()
    assert status == 0
    assert told.startswith("PROVED: this is record 1 of 4 of session alpha-1 (live, generation 0), as of 1 entry of ")
    lines = proving.run.log("alpha-1").read_bytes().splitlines(keepends=True)
    assert proving.records.read_bytes() == lines[1]
    proving.records.write_bytes(lines[2])
    status, told = proving.check()
    assert (status, told.startswith("NOT PROVED: ")) == (1, True)


def test_other_proofs(proving: Proving) -> None:
    """A whole session; an absent one; and files that are there are not written over."""
    proving.prove("alpha-1", "--complete")
    assert "these 4 records are all of session alpha-1" in proving.check()[1]
    ran = proving.run("prove", "--absent", "nobody", *proving.anchors, *proving.output)
    ran.assert_refused("File exists")
    proving.proof.unlink()
    proving.prove("--absent", "nobody")
    assert "there is no session nobody, and there was none" in proving.check()[1]
    [told] = proving.run("check-proof", str(proving.proof), *proving.policy, "--json").objects
    assert (told["proved"], told["kind"], told["session_id"], told["size"]) == (True, "absent", "nobody", 1)


def test_wrong_use(proving: Proving) -> None:
    """One line each, status 2."""
    run, rest = proving.run, (*proving.anchors, *proving.output)
    for args in ((), ("alpha-1",), ("--complete",), ("alpha-1", "1", "--complete"), ("alpha-1", "--absent", "x")):
        run("prove", *args, *rest).assert_refused("say what to prove")
    run("prove", "alpha-1", "9", *rest).assert_refused("record 9 is not anchored")
    run("prove", "--receipt", "0", *rest).assert_refused("not a receipt")
    run("prove", "--absent", "alpha-1", *rest).assert_refused("is in the catalog")
    run("check-proof", str(proving.proof), *proving.policy).assert_refused("out.tlog-proof")
