"""`sql`: any question to the catalog, and no change to anything."""

import csv
import signal
from pathlib import Path

import pytest

from .conftest import Cli, user


def test_a_query_is_answered_as_a_table_as_csv_and_as_json(run: Cli) -> None:
    query = "SELECT session_id, first_words, NULL AS missing, x'00ff' AS bytes FROM sessions ORDER BY 1"
    ran = run("sql", query)
    assert (ran.status, ran.stderr) == (0, "")
    assert ran.lines[0].split() == ["session_id", "first_words", "missing", "bytes"]
    assert ran.lines[1].split() == ["alpha-1", "Fix", "the", "parser", "00ff"]
    assert list(csv.reader(run("sql", query, "--csv").lines))[2] == ["alpha-2", "Another thing", "", "00ff"]
    assert run("sql", query, "--json").objects[0] == {
        "session_id": "alpha-1",
        "first_words": "Fix the parser",
        "missing": None,
        "bytes": "00ff",
    }


def test_without_a_query_the_tables_are_shown(run: Cli) -> None:
    tables = {row["name"]: row["columns"] for row in run("sql", "--json").objects}
    assert {"sessions", "usage", "labels"} <= tables.keys()
    assert "first_words" in tables["sessions"]


def test_what_is_new_is_there(run: Cli) -> None:
    query = "SELECT records FROM sessions WHERE session_id = 'alpha-2'"
    assert run("sql", query, "--json").objects == [{"records": 2}]
    run.append("alpha-2", user("More"))
    assert run("sql", query, "--json").objects == [{"records": 3}]


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM sessions",
        "INSERT INTO labels VALUES (1, 'a', 'b')",
        "DROP TABLE sessions",
        "CREATE TEMP TABLE t (a)",
        "ATTACH 'other.db' AS other",
        "VACUUM INTO 'other.db'",
        "PRAGMA query_only = OFF",
        "PRAGMA writable_schema = ON",
        "SELECT load_extension('x')",
        "SELECT 1; DELETE FROM sessions",
        "WITH a AS (SELECT 1) UPDATE sessions SET title = 'x'",
        "BEGIN",
        "",
        "nonsense",
        "SELECT \0",
    ],
)
def test_nothing_can_be_changed(run: Cli, query: str, tmp_path: Path) -> None:
    before = run("sql", "SELECT * FROM sessions", "--json").stdout
    run("sql", query).assert_refused("query")
    assert run("sql", "SELECT * FROM sessions", "--json").stdout == before
    assert not (tmp_path / "other.db").exists()


def test_ctrl_c_ends_a_query_that_never_does(run: Cli) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    process = run.start("sql", endless)
    assert process.stdout is not None
    assert process.stdout.readline() == b"i\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=600)
    assert process.returncode == 130


def test_a_text_of_a_log_does_not_act_on_a_terminal(run: Cli) -> None:
    run.append("evil", user("a\x1b[2Jb"))
    for option in ((), ("--csv",), ("--json",)):
        assert "\x1b" not in run("sql", "SELECT first_words FROM sessions", *option).stdout
