"""Each command does what its help says, for people and, with ``--json``, for programs."""

import os
from pathlib import Path

from sessionlog.cli.text import utc

from .conftest import Cli, user


def test_list_of_an_empty_store_says_so_on_stderr(run: Cli, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    ran = run("--store", str(tmp_path / "none"), "list")
    assert (ran.status, ran.stdout) == (0, "")
    assert "no session" in ran.stderr


def test_show_prints_a_line_a_record(run: Cli) -> None:
    """Position, short hash, time, kind, words: in a pipe neither wrapped nor cropped to 80 columns."""
    long_words = "word " * 20
    hashes = run.append("alpha-1", user(long_words))
    ran = run("show", "alpha-1")
    assert ran.status == 0
    assert [line.split()[0] for line in ran.lines] == ["0", "1", "2", "3", "4"]
    assert ran.lines[2].endswith("assistant_items  On it. | -> Bash ls")
    assert ran.lines[4].endswith(f"{hashes[0][:8]}  2023-11-14 22:13:20  user_input       {long_words.strip()}")


def test_show_full_prints_everything_indented_below_its_record(run: Cli) -> None:
    """Lines of a text cannot pose as records: records start at the left edge, texts do not."""
    run.append("alpha-2", user("one\n   0  deadbeef  a record?\nthree\r\nfour"))
    lines = run("show", "alpha-2", "--full").lines
    assert "      three" in lines
    assert "      four" in lines
    assert [line for line in lines if "deadbeef" in line] == ["         0  deadbeef  a record?"]


def test_show_json_gives_the_records_members(run: Cli) -> None:
    objects = run("show", "alpha-1", "--json").objects
    assert [one["seq"] for one in objects] == [0, 1, 2, 3]
    assert list(objects[1]) == ["hash", "prev_hash", "seq", "kind", "ts", "item"]
    assert [one["prev_hash"] for one in objects[1:]] == [one["hash"] for one in objects[:-1]]


def test_tail_shows_the_last_records(run: Cli) -> None:
    assert [line.split()[0] for line in run("tail", "alpha-1").lines] == ["0", "1", "2", "3"]
    assert [line.split()[0] for line in run("tail", "alpha-1", "-n", "2").lines] == ["2", "3"]
    assert [line.split()[0] for line in run("tail", "alpha-1", "-n", "4").lines] == ["0", "1", "2", "3"]
    assert run("tail", "alpha-1", "-n", "0").lines == []
    assert [one["seq"] for one in run("tail", "alpha-1", "-n", "1", "--json").objects] == [3]


def test_restore_tells_the_state_and_the_calls_without_result(run: Cli) -> None:
    ran = run("restore", "alpha-1")
    assert ran.status == 0
    assert "turns           1" in ran.lines
    assert "history         3 items" in ran.lines
    assert "1 tool call without a result: answer before you resume" in ran.lines
    assert ran.lines[-1] == "  -> Bash ls"


def test_restore_json_is_the_whole_state_in_one_object(run: Cli) -> None:
    [state] = run("restore", "alpha-1", "--json").objects
    assert state["session_id"] == "alpha-1"
    assert state["head"]["seq"] == 3
    assert [item["type"] for item in state["history"]] == ["message", "message", "tool_call"]
    assert [one["call_id"] for one in state["dangling_tool_calls"]] == ["c1"]


def test_verify_and_audit_report_every_session(run: Cli) -> None:
    for command in ("verify", "audit"):
        ran = run(command)
        assert ran.status == 0
        assert ran.lines[-1] == "2 sessions: 2 valid"
        reports = run(command, "--json").objects
        assert {report["session_id"] for report in reports} == {"alpha-1", "alpha-2"}
        assert {report["state"] for report in reports} == {"valid"}
        assert run(command, "alpha-2", "alpha-1", "alpha-2").lines[-1] == "2 sessions: 2 valid"


def test_verify_agrees_with_show_about_the_head(run: Cli) -> None:
    [report] = run("verify", "alpha-1", "--json").objects
    assert report["head_hash"] == run("show", "alpha-1", "--json").objects[-1]["hash"]
    assert (report["records"], report["findings"]) == (4, [])


def test_fork_prints_the_new_id_and_names_its_source(run: Cli) -> None:
    at_hash = run("show", "alpha-1", "--json").objects[1]["hash"]
    ran = run("fork", "alpha-1", "--at", at_hash[:10])
    assert ran.status == 0
    [new_id] = ran.lines
    [state] = run("restore", new_id, "--json").objects
    assert state["forked_from"] == {"session_id": "alpha-1", "at_hash": at_hash}
    assert len(state["history"]) == 1
    assert run("audit").status == 0


def test_fork_json_is_one_object(run: Cli) -> None:
    at_hash = run("show", "alpha-1", "--json").objects[2]["hash"]
    [made] = run("fork", "alpha-1", "--at", at_hash, "--json").objects
    assert made["forked_from"] == {"session_id": "alpha-1", "at_hash": at_hash}
    assert run("verify", made["session_id"]).status == 0


def test_graph_draws_forks_below_their_source(run: Cli) -> None:
    hashes = [one["hash"] for one in run("show", "alpha-1", "--json").objects]
    first, second = (run("fork", "alpha-1", "--at", at).stdout.strip() for at in (hashes[1], hashes[2]))
    grandchild = run("fork", first, "--at", run("show", first, "--json").objects[0]["hash"]).stdout.strip()
    lines = run("graph").lines
    at = lines.index("alpha-1  4 records  Fix the parser")
    assert lines[at + 1 : at + 4] == [
        f"├─ {first}  fork at 1, 1 record",
        f"│  └─ {grandchild}  fork at 0, 1 record",
        f"└─ {second}  fork at 2, 1 record",
    ]
    assert "alpha-2  2 records  Another thing" in lines


def test_graph_json_links_each_session_to_its_parent(run: Cli) -> None:
    at_hash = run("show", "alpha-1", "--json").objects[1]["hash"]
    new_id = run("fork", "alpha-1", "--at", at_hash).stdout.strip()
    by_id = {one["session_id"]: one for one in run("graph", "--json").objects}
    assert by_id["alpha-1"]["parent"] is None
    assert by_id[new_id] == {
        "session_id": new_id,
        "records": 1,
        "relation": "forked_from",
        "parent": "alpha-1",
        "parent_in_store": True,
        "at_hash": at_hash,
        "at_seq": 1,
        "fault": None,
    }


def test_graph_names_a_source_that_is_gone(run: Cli) -> None:
    at_hash = run("show", "alpha-1", "--json").objects[1]["hash"]
    new_id = run("fork", "alpha-1", "--at", at_hash).stdout.strip()
    run.log("alpha-1").unlink()
    lines = run("graph").lines
    assert lines[-2:] == ["alpha-1  (not in this store)", f"└─ {new_id}  fork at {at_hash[:8]}, 1 record"]
    assert run("audit").status == 1


def test_abbreviations_of_ids_and_hashes_work_where_only_one_begins_so(run: Cli) -> None:
    run.append("beta", user("Hello"))
    assert run("show", "be").stdout == run("show", "beta").stdout
    assert run("verify", "be", "alpha-1").status == 0


def test_an_id_is_found_though_others_begin_with_it(run: Cli) -> None:
    run.append("alpha", user("Short"))
    assert run("restore", "alpha", "--json").objects[0]["session_id"] == "alpha"


def test_store_and_json_are_taken_before_and_after_the_command(run: Cli, tmp_path: Path) -> None:
    """The store that is named last, next to the command, counts."""
    elsewhere = ("--store", str(tmp_path / "elsewhere"))
    after = run(*elsewhere, "list", "--store", str(run.store), "--json")
    before = run("--json", "list")
    assert after.stdout == before.stdout
    assert run(*elsewhere, "list").status == 2


def test_the_store_may_come_from_the_environment(run: Cli) -> None:
    command = run.command[:3]
    plain = Cli(run.store)
    plain.command = command
    ran = plain.process("list", env=dict(os.environ, SESSIONLOG_STORE=str(run.store)))
    assert ran.status == 0
    assert "alpha-1" in ran.stdout


def test_times_that_no_calendar_reaches_are_numbers() -> None:
    assert utc(1_700_000_000_000) == "2023-11-14 22:13:20"
    assert utc(2**63) == f"{2**63} ms"
    assert utc(-(2**63)) == f"{-(2**63)} ms"
