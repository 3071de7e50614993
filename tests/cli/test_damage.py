"""Damaged logs: ``verify`` names the record, readers stop in front of it; a torn tail is no damage."""

import os
from pathlib import Path

import pytest

from sessionlog.record import hash_payload, record_line

from .conftest import Cli, user

READERS = {
    "show": ("show", "alpha-1"),
    "show --full": ("show", "alpha-1", "--full"),
    "tail": ("tail", "alpha-1"),
    "restore": ("restore", "alpha-1"),
    "fork": ("fork", "alpha-1", "--at", "0" * 64),
}


def flip(path: Path, *, line: int) -> None:
    """Change one letter in the given 0-based line."""
    lines = path.read_bytes().split(b"\n")
    lines[line] = lines[line].replace(b'"ts":1', b'"ts":2')
    path.write_bytes(b"\n".join(lines))


@pytest.fixture
def broken(run: Cli) -> Cli:
    """``alpha-1`` with one byte of its record 1 changed."""
    flip(run.log("alpha-1"), line=1)
    return run


@pytest.fixture
def torn(run: Cli) -> Cli:
    """``alpha-1`` with an unfinished record at its end."""
    with run.log("alpha-1").open("ab") as file:
        file.write(b'{"hash":"0123')
    return run


@pytest.mark.parametrize("command", ["verify", "audit"])
def test_a_changed_byte_is_named_with_its_record(broken: Cli, command: str) -> None:
    ran = broken(command)
    assert ran.status == 1
    assert ran.stderr == ""
    at = next(index for index, line in enumerate(ran.lines) if line.startswith("BROKEN "))
    head = broken.log("alpha-1").read_text()[9:17]
    assert ran.lines[at] == f"BROKEN           1  {head}  alpha-1"
    assert ran.lines[at + 1].startswith("           record 1 (line 2, byte ")
    assert "hash: the bytes hash to" in ran.lines[at + 1]
    assert ran.lines[-1] == "2 sessions: 1 broken, 1 valid"
    [report] = broken(command, "alpha-1", "--json").objects
    assert report["state"] == "broken"
    assert (report["findings"][0]["seq"], report["findings"][0]["damage"]) == (1, "hash")


def test_a_sound_session_beside_it_is_still_good(broken: Cli) -> None:
    assert broken("verify", "alpha-2").status == 0


@pytest.mark.parametrize("command", READERS.values(), ids=READERS)
@pytest.mark.parametrize("option", [(), ("--json",)], ids=["text", "json"])
def test_readers_stop_in_front_of_the_damage(broken: Cli, command: tuple[str, ...], option: tuple[str, ...]) -> None:
    ran = broken(*command, *option)
    assert ran.status == 1
    ran.assert_one_line("alpha-1 is damaged or was changed at record 1 (line 2, byte ", "sessionlog audit")
    assert "Fix the parser" not in ran.stdout


def test_append_refuses_a_log_whose_end_is_damaged(run: Cli) -> None:
    path = run.log("alpha-1")
    before = path.read_bytes()[:-3] + b"!!\n"
    path.write_bytes(before)
    ran = run("append", "alpha-1", stdin='{"kind":"turn_end","turn_count":1}\n')
    assert ran.status == 1
    ran.assert_one_line("damaged")
    assert path.read_bytes() == before


def test_list_and_graph_show_the_damaged_beside_the_sound(run: Cli) -> None:
    """The whole list is there, the damaged session marked, the reason on standard error."""
    path = run.log("alpha-1")
    path.write_bytes(b"x" + path.read_bytes()[1:])
    for command in ("list", "graph"):
        ran = run(command)
        assert ran.status == 1
        assert len([line for line in ran.lines if "alpha-" in line]) == 2
        assert "damaged" in next(line for line in ran.lines if "alpha-1" in line)
        ran.assert_one_line("alpha-1")
        rows = {row["session_id"]: row["fault"] for row in run(command, "--json").objects}
        assert rows["alpha-1"]
        assert rows["alpha-2"] is None


@pytest.mark.parametrize("command", ["verify", "audit"])
def test_a_torn_tail_is_told_and_is_not_broken(torn: Cli, command: str) -> None:
    ran = torn(command)
    assert (ran.status, ran.stderr) == (0, "")
    assert any(line.startswith("torn tail        4  ") for line in ran.lines)
    assert any("13 bytes after the last LF" in line for line in ran.lines)
    assert ran.lines[-1] == "2 sessions: 1 torn tail, 1 valid"
    [report] = torn(command, "alpha-1", "--json").objects
    assert (report["state"], report["torn_bytes"], report["findings"]) == ("torn_tail", 13, [])


def test_readers_see_a_torn_log_up_to_its_last_whole_record(torn: Cli) -> None:
    for command in (("show", "alpha-1"), ("tail", "alpha-1"), ("restore", "alpha-1"), ("list",), ("graph",)):
        ran = torn(*command)
        assert (ran.status, ran.stderr) == (0, ""), ran
    assert len(torn("show", "alpha-1").lines) == 4


def test_the_next_append_repairs_a_torn_tail(torn: Cli) -> None:
    assert torn("append", "alpha-1", stdin='{"kind":"turn_end","turn_count":2}\n').status == 0
    [report] = torn("audit", "alpha-1", "--json").objects
    assert (report["state"], report["records"]) == ("valid", 5)


def test_an_empty_file_is_a_log_without_records(run: Cli) -> None:
    run.log("nothing").touch(mode=0o600)
    assert run("show", "nothing").stdout == ""
    assert run("tail", "nothing").status == 0
    assert run("restore", "nothing", "--json").objects[0]["head"] is None
    assert "no record yet" in run("restore", "nothing").stdout
    assert run("verify", "nothing").status == 0
    assert run("graph").status == 0


@pytest.mark.parametrize("kind", ["symlink", "directory", "fifo", "dangling"])
def test_what_is_no_file_in_a_logs_place_is_refused(run: Cli, tmp_path: Path, kind: str) -> None:
    path = run.log("odd")
    match kind:
        case "symlink":
            path.symlink_to(run.log("alpha-1"))
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case _:
            path.symlink_to(tmp_path / "nowhere")
    for command in (
        ("show", "odd"),
        ("tail", "odd"),
        ("restore", "odd"),
        ("append", "odd"),
        ("append", "odd", "--create"),
    ):
        ran = run(*command, stdin='{"kind":"turn_end","turn_count":1}\n')
        assert ran.status in (1, 2), (command, ran)
        ran.assert_one_line("odd")
    assert run("verify", "odd").status == 1
    assert run("verify").status == 1
    assert run("list").status == 1


def test_a_valid_hash_over_nonsense_is_no_traceback(run: Cli) -> None:
    """Verify checks bytes and finds nothing; whoever reads what the record says is told, and audit too."""
    path = run.log("alpha-1")
    forge(path, b'"turn_count":1', b'"turn_count":"x"')
    assert run("verify", "alpha-1").status == 0
    assert run("audit", "alpha-1").status == 1
    for command in (("show", "alpha-1"), ("tail", "alpha-1"), ("restore", "alpha-1")):
        ran = run(*command)
        assert ran.status == 1
        ran.assert_one_line("does not decode")


def rehashed(line: bytes, old: bytes, new: bytes) -> bytes:
    """Return a record with ``old`` changed to ``new`` and the hash that fits, as somebody who forges a log would."""
    payload = line[75:].replace(old, new)
    assert payload != line[75:]
    return record_line(hash_payload(payload), payload)


def forge(path: Path, old: bytes, new: bytes) -> None:
    """Change the last record of a log."""
    *before, last, _ = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join((*before, rehashed(last, old, new), b"")))


def test_json_gives_the_hash_that_was_checked_not_one_that_the_line_claims(run: Cli) -> None:
    run.append("alpha-2", {"kind": "mine", "claim": 1})
    hash_ = "f" * 64
    forge(run.log("alpha-2"), b'"claim":1', f'"hash":"{hash_}","seq":99'.encode())
    [record] = run("tail", "alpha-2", "-n", "1", "--json").objects
    assert (record["seq"], record["hash"] == hash_) == (2, False)


@pytest.mark.parametrize("new", [b'"\xff\xfe"', b"1e999", b'"\\ud800"', b"{", b'"\x1b[2J"'])
def test_nonsense_under_a_right_hash_is_one_line_too(run: Cli, new: bytes) -> None:
    run.append("alpha-2", {"kind": "mine", "claim": 1})
    forge(run.log("alpha-2"), b'"claim":1', b'"claim":' + new)
    for option in ((), ("--full",), ("--json",)):
        ran = run("show", "alpha-2", *option)
        assert ran.status == 1
        ran.assert_one_line("record 2")


def test_origins_that_lead_in_a_circle_are_drawn_once(run: Cli) -> None:
    """A session that claims to come from itself ends no drawing and starts no endless one."""
    run("append", "loop", "--create")
    path = run.log("loop")
    claim = b'"history":[],"forked_from":{"session_id":"loop","at_hash":"' + b"0" * 64 + b'"}'
    forge(path, b'"history":[]', claim)
    ran = run("graph")
    assert ran.status == 0
    assert len([one for one in ran.lines if one.startswith("loop")]) == 1
    assert run("audit", "loop").status == 1


@pytest.mark.parametrize("claimed", [None, 1, [], {}, "nowhere", "\x1b", "alpha-2", "alpha-1"])
def test_links_to_sub_agents_are_claims_that_may_be_anything(run: Cli, claimed: object) -> None:
    run.append(
        "alpha-1",
        {"kind": "extension", "domain": "claude_code.spawn", "payload": {"session_id": claimed}},
        {"kind": "extension", "domain": "import", "payload": {"role": "agent", "parent": claimed}},
        {"kind": "extension", "domain": "import", "payload": claimed},
    )
    ran = run("graph")
    assert (ran.status, ran.stderr) == (0, "")
    assert len([one for one in ran.lines if "  Fix the parser" in one or "alpha-1" in one]) == 1
    assert len([one for one in ran.lines if "alpha-2" in one]) == 1


@pytest.mark.parametrize("number", [str(2**64), "9" * 5000, "-" + "9" * 30])
def test_numbers_past_every_limit_are_no_traceback(run: Cli, number: str) -> None:
    """A store never writes them; somebody who forges a log does."""
    run.append(
        "alpha-1",
        {
            "kind": "llm_usage",
            "history_len": 1,
            "input_total_tokens": 1,
            "cache_read_tokens": 77,
            "cache_write_tokens": 1,
            "output_tokens": 1,
        },
    )
    forge(run.log("alpha-1"), b'"cache_read_tokens":77', b'"cache_read_tokens":' + number.encode())
    forge(run.log("alpha-2"), b'"ts":1700000000000', b'"ts":' + number.encode())
    for session_id in ("alpha-1", "alpha-2"):
        for command in ("show", "restore", "tail", "audit"):
            for option in ((), ("--json",)):
                ran = run(command, session_id, *option)
                assert ran.status in (0, 1)
                assert "internal error" not in ran.stderr
    assert "internal error" not in run("graph").stderr + run("list").stderr


def test_one_bad_session_does_not_hide_the_rest(broken: Cli) -> None:
    broken.append("omega", user("still here"))
    assert [line for line in broken("verify").lines if "omega" in line]
