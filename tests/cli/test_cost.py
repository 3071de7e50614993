"""What sessions cost by list prices: in `list`, `stats` and `stats --by`, and what has no price is told."""

import pytest

from .conftest import Cli, user

pytest.importorskip("genai_prices", reason="list prices need pip install 'sessionlog[prices]'")

T0 = 1_735_689_600_000  # 2025-01-01
HAIKU = "claude-3-5-haiku-20241022"
"""A million tokens in cost 0.80 USD, a million out 4.00 USD."""


def used(model: str) -> list[dict[str, object]]:
    counts = {"input_total_tokens": 1_000_000, "cache_read_tokens": 0, "cache_write_tokens": 0}
    return [
        {"kind": "config_changed", "ts": T0, "config": {"model": model}},
        {"kind": "llm_usage", "ts": T0, "history_len": 1, **counts, "output_tokens": 1_000_000},
    ]


@pytest.fixture
def store(empty: Cli) -> Cli:
    """A session whose model has a list price, and one whose model has none."""
    empty.append("priced", user("Peel the pears"), *used(HAIKU))
    empty.append("other", user("Pick the apples"), *used("fruit-1"))
    return empty


def test_list_shows_what_each_session_cost(store: Cli) -> None:
    ran = store("list")
    assert "USD" in ran.lines[0]
    cells = {line.split()[0]: line.split() for line in ran.lines[1:]}
    assert "4.80" in cells["priced"]
    assert "?" in cells["other"]
    assert "1 session used what" in ran.stderr
    assert "has no price for: fruit-1" in ran.stderr
    rows = {row["session_id"]: row for row in store("list", "--json").objects}
    assert rows["priced"]["cost"]["amount"] == pytest.approx(4.8)
    assert (rows["priced"]["cost"]["currency"], rows["priced"]["cost"]["complete"]) == ("USD", True)
    assert rows["other"]["cost"]["complete"] is False


def test_the_other_commands_give_the_same_amount(store: Cli) -> None:
    """With the model that has no price named."""
    for command in (["stats"], ["stats", "--by", "month"]):
        ran = store(*command)
        assert "4.80" in ran.stdout, command
        assert "fruit-1" in ran.stderr, command


def test_without_any_price_nothing_is_said(empty: Cli) -> None:
    """No cost is shown, so none is missing."""
    empty.append("other", user("Pick the apples"), *used("fruit-1"))
    for command in (["list"], ["stats"]):
        ran = empty(*command)
        assert (ran.status, ran.stderr) == (0, "")
        assert "USD" not in ran.stdout


def test_a_rates_file_takes_the_place_of_list_prices(store: Cli) -> None:
    (store.store.parent / "rates.toml").write_text('[models."fruit-1"]\ninput = 1.0\noutput = 1.0\n')
    ran = store("list", "--rates", str(store.store.parent / "rates.toml"))
    cells = {line.split()[0]: line.split() for line in ran.lines[1:]}
    assert "2.00" in cells["other"]
    assert "?" in cells["priced"]
