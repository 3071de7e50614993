"""``sessionlog audit-anchors``: its words, its objects and its exit status."""

from pathlib import Path

import pytest

from .conftest import Cli


@pytest.fixture
def auditor(run: Cli, tmp_path: Path) -> tuple[str, ...]:
    """Anchor the store; return the options of whoever checks it."""
    both = ("--keys", str(tmp_path / "keys"), "--anchors", str(tmp_path / "anchors"))
    vkey = run("keys", "init", "example.com/store", *both[:2]).stdout.strip()
    assert run("anchor", *both).status == 0
    (tmp_path / "policy").write_text(f"log {vkey}\nquorum none\n")
    return ("audit-anchors", *both[2:], "--policy", str(tmp_path / "policy"))


def test_consistent(run: Cli, auditor: tuple[str, ...], tmp_path: Path) -> None:
    """Status 3, what is missing, and a checkpoint to remember."""
    ran = run(*auditor, "--remember", str(tmp_path / "last"))
    assert ran.status == 3
    assert ran.lines[-1].startswith("CONSISTENT as of 1 entry: 1 anchor, ")
    [told] = run(*auditor, "--since", str(tmp_path / "last"), "--max-age", "26h", "--json").objects
    assert (told["state"], told["size"], told["findings"], len(told["missing"])) == ("consistent", 1, [], 1)


def test_disproved(run: Cli, auditor: tuple[str, ...], tmp_path: Path) -> None:
    """Status 1, the session and the reason in a line; nothing is remembered."""
    path = run.log("alpha-1")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    ran = run(*auditor, "--remember", str(tmp_path / "last"))
    assert ran.status == 1
    assert ran.lines[0].startswith("cut: session alpha-1: it holds 3 records, 4 were anchored")
    assert ran.lines[-1].startswith("DISPROVED")
    assert not (tmp_path / "last").exists()


def test_what_the_auditor_lacks(run: Cli, auditor: tuple[str, ...], tmp_path: Path) -> None:
    """Status 2, in one line."""
    run(*auditor[:3]).assert_refused("--policy")
    run(*auditor, "--since", str(tmp_path / "none")).assert_refused("none")
    run(*auditor, "--since", str(tmp_path / "policy")).assert_refused("note")
    run("audit-anchors", "--anchors", str(tmp_path / "none"), *auditor[3:]).assert_refused("no checkpoint")
    (tmp_path / "policy").write_text("log x\n")
    run(*auditor).assert_refused("policy, line 1")
