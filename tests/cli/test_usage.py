"""``stats --by``: what all sessions used, added up by day, week, month, project, model or label."""

from pathlib import Path

import pytest

from .conftest import Cli, user

DAY_MS = 86_400_000
NOON = 1_767_268_800_000  # 2026-01-01 12:00 UTC, a Thursday


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Two sessions: one used tokens on three days and has two labels, the other on one of these days and has none."""
    cli = Cli(tmp_path / "store")
    for name, days in (("one", (0, 1, 40)), ("two", (1,))):
        cli.append(name, user("Hello"))
        for day in days:
            cli.append(
                name,
                {
                    "kind": "llm_usage",
                    "ts": NOON + day * DAY_MS,
                    "history_len": 1,
                    "input_total_tokens": 1000,
                    "cache_read_tokens": 400,
                    "cache_write_tokens": 0,
                    "output_tokens": 10,
                },
            )
    assert cli("label", "one", "team=a", "case=7").status == 0
    return cli


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("day", {"2026-01-01": (1, 1), "2026-01-02": (2, 2), "2026-02-10": (1, 1)}),
        ("week", {"2026-W01": (2, 3), "2026-W07": (1, 1)}),
        ("month", {"2026-01": (2, 3), "2026-02": (1, 1)}),
        ("project", {None: (2, 4)}),
        ("model", {None: (2, 4)}),
        ("label", {None: (1, 1), "case=7": (1, 3), "team=a": (1, 3)}),
    ],
)
def test_tokens_are_added_up(cli: Cli, by: str, expected: dict[str | None, tuple[int, int]]) -> None:
    ran = cli("stats", "--by", by, "--json")
    assert (ran.status, ran.stderr) == (0, "")
    found = {row[by]: (row["sessions"], row["tokens"]["requests"]) for row in ran.objects}
    assert found == expected
    assert all(row["tokens"]["input_total"] == 1000 * row["tokens"]["requests"] for row in ran.objects)


def test_the_table_ends_with_the_sum_of_all_days(cli: Cli) -> None:
    ran = cli("stats", "--by", "day")
    assert ran.lines[0].split() == ["SESSIONS", "REQUESTS", "IN", "CACHED", "OUT", "DAY"]
    assert ran.lines[-1].split() == ["4", "4.0k", "1.6k", "40", "all"]
    assert len(ran.lines) == 5
    assert "all" not in cli("stats", "--by", "label").stdout  # a session with two labels stands under both


def test_days_can_be_chosen(cli: Cli) -> None:
    ran = cli("stats", "--by", "day", "--since", "2026-01-02", "--until", "2026-01-31", "--json")
    assert [row["day"] for row in ran.objects] == ["2026-01-02"]
    assert "no tokens were used" in cli("stats", "--by", "day", "--since", "2027-01-01").stderr


def test_rates_give_the_cost_and_tell_what_it_lacks(cli: Cli, tmp_path: Path) -> None:
    rates = tmp_path / "rates.toml"
    rates.write_text('[models."beam-1"]\ninput = 3.0\n')
    ran = cli("stats", "--by", "month", "--rates", str(rates))
    assert "COST" in ran.lines[0]
    assert ran.lines[1].split()[5] == "?"
    assert "tokens of no model are not in the cost" in ran.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--since", "7d"), "go with --by"),
        (("one", "--by", "day"), "name none"),
        (("--by", "day", "--plot", "x.svg"), "no --plot"),
        (("--by", "hour"), "'hour' is not one of"),
    ],
)
def test_what_does_not_go_together_is_refused(cli: Cli, options: tuple[str, ...], reason: str) -> None:
    cli("stats", *options).assert_refused(reason)


def test_a_damaged_session_is_told_and_the_others_are_counted(cli: Cli) -> None:
    path = cli.log("two")
    path.write_bytes(path.read_bytes().replace(b"Hello", b"HellO"))
    ran = cli("stats", "--by", "day", "--json")
    assert ran.status == 1
    assert "two" in ran.stderr
    assert [row["day"] for row in ran.objects] == ["2026-01-01", "2026-01-02", "2026-02-10"]
