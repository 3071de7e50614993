"""``demo``: every step on the transcript that ships with the package, in a store that goes or stays."""

import os
import re
from pathlib import Path

from .conftest import Cli, environment


def demo(cli: Cli) -> Cli:
    """The command line without a store of its own."""
    plain = Cli(cli.store)
    plain.command = cli.command[:3]
    return plain


def test_it_goes_all_the_way_and_names_the_changed_record(empty: Cli, tmp_path: Path) -> None:
    """Numbered steps, each with a sentence and a command; nothing is left behind; it ends with what to try."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    ran = demo(empty).process("demo", env=environment(TMPDIR=str(scratch)))
    assert (ran.status, ran.stderr) == (0, "")
    titles = [one for one in ran.lines if re.match(r"[0-9]+\. ", one)]
    assert [int(title.split(".")[0]) for title in titles] == list(range(1, 11))
    words = ("Import", "List", "Show", "Verify", "Go on", "Resume", "Fork", "Compact", "See", "Tamper")
    assert [title.split(". ")[1].startswith(word) for title, word in zip(titles, words, strict=True)] == [True] * 10
    assert sum(one.startswith("BROKEN ") for one in ran.lines) == 1
    assert re.search(r"record [0-9]+ \(line [0-9]+, byte [0-9]+\): hash: ", ran.stdout)
    assert "1 tool call without a result" in ran.stdout
    assert ran.lines.index("Try next") < len(ran.lines) - 2
    assert os.listdir(scratch) == []
    assert not empty.store.exists()


def test_it_has_every_kind_of_derived_session(empty: Cli) -> None:
    """An abandoned attempt, a sub-agent, a compaction; and a fork and a compaction made live."""
    assert empty("demo").status == 0
    relations = sorted(str(one["relation"]) for one in empty("graph", "--json").objects)
    assert relations == ["None", "compacted_from", "compacted_from", "forked_from", "forked_from", "spawned_by"]


def test_the_store_that_is_named_stays_and_passes_an_audit(empty: Cli) -> None:
    first = empty("demo")
    assert f"export SESSIONLOG_STORE={empty.store}" in first.stdout
    assert empty("audit").status == 0
    count = len(empty("list", "--json").objects)
    again = empty("demo")
    assert again.status == 0
    assert "nothing new" in again.stdout
    assert len(empty("list", "--json").objects) == count + 2
    assert empty("audit").status == 0


def test_the_store_of_the_environment_is_left_alone(empty: Cli) -> None:
    assert demo(empty).process("demo", env=environment(SESSIONLOG_STORE=str(empty.store))).status == 0
    assert not empty.store.exists()


def test_json_prints_an_object_a_line(empty: Cli) -> None:
    ran = demo(empty).process("demo", "--json")
    assert (ran.status, ran.stderr) == (0, "")
    assert [one["step"] for one in ran.objects if "step" in one] == list(range(1, 11))
    assert ran.objects[-1]["state"] == "broken"


def test_the_commands_that_it_shows_work(empty: Cli) -> None:
    """Each of them, as it stands there, on the store that stays."""
    lines = empty("demo").lines
    commands = [one.strip()[2:].split(" | ")[0] for one in lines if one.startswith("  $ sessionlog ")]
    assert len(commands) == 8
    for command in commands:
        args = command.split()[1:]
        if "import" not in args and "copy" not in args:
            assert empty(*args).status == 0, command
