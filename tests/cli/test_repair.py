"""``sessionlog repair``: says what it would cut, and cuts only with ``--yes``."""

from .conftest import Cli
from .test_damage import flip


def damage(run: Cli) -> None:
    flip(run.log("alpha-1"), line=1)


def test_without_yes_nothing_is_changed(run: Cli) -> None:
    damage(run)
    before = {path.name: path.read_bytes() for path in run.store.iterdir()}
    ran = run("repair", "alpha-1")
    assert ran.status == 1
    assert ran.lines[0].startswith("bad      record 1 (line 2, byte ")
    assert ran.lines[1].startswith("kept     1 record, ")
    assert ran.lines[2].endswith(" bytes: 2 records whole by themselves")
    assert "--yes" in ran.stderr
    assert {path.name: path.read_bytes() for path in run.store.iterdir()} == before


def test_with_yes_the_log_is_repaired_and_says_so(run: Cli) -> None:
    damage(run)
    content = run.log("alpha-1").read_bytes()
    offset = content.index(b"\n") + 1
    [told] = run("repair", "alpha-1", "--json").objects
    assert (told["state"], told["seq"], told["offset"]) == ("damaged", 1, offset)
    ran = run("repair", "alpha-1", "--yes", "--json")
    [done] = ran.objects
    assert (ran.status, done["state"], done["file"]) == (0, "repaired", f"alpha-1.torn-{offset}")
    assert (run.store / done["file"]).read_bytes() == content[offset:]
    [report] = run("audit", "alpha-1", "--json").objects
    assert (report["state"], report["records"], report["head_hash"]) == ("valid", 2, done["head_hash"])
    assert "sessionlog/repair" in run("show", "alpha-1").stdout
    assert run("append", "alpha-1", stdin='{"kind":"turn_end","turn_count":2}\n').status == 0


def test_what_is_whole_is_nothing_to_repair(run: Cli) -> None:
    for yes in ((), ("--yes",)):
        ran = run("repair", "alpha-1", *yes)
        assert ran.status == 0
        assert ran.lines == ["alpha-1: nothing to repair, every record is whole and in its place"]
    assert run("repair", "alpha-1", "--json").objects == [{"session_id": "alpha-1", "state": "whole"}]


def test_a_bad_first_record_is_refused(run: Cli) -> None:
    flip(run.log("alpha-1"), line=0)
    before = run.log("alpha-1").read_bytes()
    ran = run("repair", "alpha-1")
    assert ran.status == 1
    assert "could keep nothing" in ran.stderr
    ran = run("repair", "alpha-1", "--yes")
    assert ran.status == 1
    ran.assert_one_line("begin a new session")
    assert run.log("alpha-1").read_bytes() == before
