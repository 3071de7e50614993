"""`search` on a terminal: each match is seen, with the words around it."""

from importlib.resources import as_file, files

import pytest

from .conftest import Cli, user
from .terminal import look

WORDS = " ".join(f"word{number}" for number in range(100, 300))


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("at", [0, 12, 15, 20, 100, 199])
def test_a_match_is_seen_wherever_it_stands_in_its_line(run: Cli, columns: int, at: int) -> None:
    """A line that is wider than the terminal is shown around its first match, from a whole word on."""
    word = f"word{100 + at}"
    run.append("long", user(WORDS.replace(word, "needle")))
    seen = look("search", "needle", store=run.store, columns=columns)
    seen.assert_sound()
    line = seen.lines[1]
    assert "needle" in line
    assert "\x1b[1;31mneedle" in seen.output
    assert len(line) > columns - 20
    before, after = line.split("needle")
    assert before.endswith(f"word{99 + at} ") if at else before.endswith("1: ")
    assert after.startswith(f" word{101 + at}") if at < 199 else after == ""
    assert before.removeprefix("         1: ").lstrip("…").split(" ")[0][:4] in ("word", "")


def test_a_match_is_seen_in_a_line_that_is_little_wider_than_the_terminal(run: Cli) -> None:
    run.append("wider", user("word " * 25 + "needle end"))
    assert look("search", "needle", store=run.store).lines[1].endswith(" word needle end")
    assert run("search", "needle").lines[1].endswith("1: " + "word " * 25 + "needle end")


def test_a_match_among_wide_characters_is_seen(run: Cli) -> None:
    run.append("wide", user("漢" * 70 + "needle" + "字" * 70))
    seen = look("search", "needle", store=run.store)
    seen.assert_sound()
    assert "needle" in seen.lines[1]


def test_a_session_is_named_in_short_and_its_record_by_position_and_hash(run: Cli) -> None:
    session_id = "0190163d-8694-739b-aea5-966c26f8ad91"
    hash_ = run.append(session_id, user("the needle"))[0]
    assert look("search", "needle", store=run.store).lines[0] == (
        f"0190163d  1  {hash_[:8]}  2023-11-14 22:13:20  user"
    )
    assert run("search", "needle").lines[0].startswith(f"{session_id}  1  ")
    assert run("fork", "0190163d", "--at", "1").status == 0


def test_what_the_catalog_looks_up_is_what_a_scan_finds(empty: Cli) -> None:
    """Over the demo's sessions, forks and sub-agents, in each place."""
    with as_file(files("sessionlog.cli") / "demo_data") as data:
        assert empty("import", str(data)).status == 0
    hits = 0
    for text in ("the", "test", "parse", "no such words anywhere"):
        for places in ((), ("--in", "tools"), ("--in", "user"), ("--in", "assistant", "--in", "system")):
            looked_up = empty("search", text, *places, "--json")
            scanned = empty("search", text, *places, "--json", "--verify")
            assert looked_up.status == scanned.status == 0
            assert sorted(looked_up.stdout.splitlines()) == sorted(scanned.stdout.splitlines())
            hits += len(looked_up.objects)
    assert hits > 10


def test_a_damaged_session_is_told_although_nothing_of_it_is_looked_up(run: Cli) -> None:
    path = run.log("alpha-2")
    path.write_bytes(path.read_bytes().replace(b"Another", b"AnotheR"))
    ran = run("search", "parser")
    assert ran.status == 1
    assert "alpha-1" in ran.stdout
    assert "alpha-2" in ran.stderr
    assert run("search", "parser", "alpha-1").status == 0
