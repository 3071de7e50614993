"""``label`` on the command line."""

from pathlib import Path

import pytest

from .conftest import Cli


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    cli = Cli(tmp_path / "store")
    assert cli("append", "s", "--create").status == 0
    return cli


def test_labels_are_set_merged_and_removed(cli: Cli) -> None:
    """Each call is one record; what it does not name stays."""
    assert cli("label", "s", "team=billing", "case=7", "--title", "Refund twice").lines == [
        "title   Refund twice",
        "label   case=7",
        "label   team=billing",
    ]
    assert cli("label", "s", "case=8", "--remove", "team", "--json").objects == [
        {"session_id": "s", "title": "Refund twice", "labels": {"case": "8"}}
    ]
    assert cli("label", "s", "--title", "").lines == ["label   case=8"]
    kinds = [one["kind"] for one in cli("show", "s", "--json").objects]
    assert kinds == ["session_start", "labels_changed", "labels_changed", "labels_changed"]


def test_without_a_change_nothing_is_written(cli: Cli) -> None:
    before = cli("show", "s", "--json").stdout
    ran = cli("label", "s")
    assert (ran.status, ran.stdout) == (0, "")
    assert "no title and no labels" in ran.stderr
    assert cli("show", "s", "--json").stdout == before


@pytest.mark.parametrize("words", [["team"], ["=x"], ["a=1", "a=2"], ["a=1", "--remove", "a"], ["", "--title", "t"]])
def test_what_is_no_label_is_refused(cli: Cli, words: list[str]) -> None:
    before = cli("show", "s", "--json").stdout
    cli("label", "s", *words).assert_refused("label")
    assert cli("show", "s", "--json").stdout == before


def test_a_label_is_shown_as_text(cli: Cli) -> None:
    """What a log says never acts on a terminal."""
    cli("label", "s", "k=\x1b[31mred", "--title", "a\x07b")
    assert cli("label", "s").lines == ["title   a\\x07b", "label   k=\\x1b[31mred"]
