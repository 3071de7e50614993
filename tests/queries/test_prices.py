"""List prices: those of the day, from the installed package alone, looked up once for each version of it."""

import subprocess
import sys
from pathlib import Path

import pytest

from sessionlog.queries import DatedRates, DayUsage, ListPrices, ModelRates, Tokens, list_prices, price
from sessionlog.queries.prices import KEPT_MODELS_MAX, MODEL_CHARS_MAX

genai_prices = pytest.importorskip("genai_prices", reason="list prices need pip install 'sessionlog[prices]'")

HAIKU = "claude-3-5-haiku-20241022"
MILLION = 1_000_000
CHECKED = """
import sys
def forbid(event, args):
    if event.startswith(("socket.", "urllib.", "_thread.start_new_thread")):
        raise AssertionError((event, args))
sys.addaudithook(forbid)
import pathlib, threading
from sessionlog.queries import list_prices
prices = list_prices(sys.argv[2:], kept=pathlib.Path(sys.argv[1]))
assert threading.active_count() == 1
print(sum(map(bool, prices.models.values())), "genai_prices" in sys.modules)
"""


def looked_up(kept: Path, *models: str) -> list[str]:
    """Look models up in a process that may open no socket and start no thread; how many are known, was it loaded."""
    ran = subprocess.run(
        [sys.executable, "-c", CHECKED, str(kept), *models], capture_output=True, text=True, check=True
    )
    return ran.stdout.split()


def test_each_kind_of_tokens_has_its_price(tmp_path: Path) -> None:
    prices = list_prices([HAIKU], kept=tmp_path / "prices.json")
    used = DayUsage("2025-01-01", HAIKU, Tokens(1, 3 * MILLION, MILLION, MILLION, MILLION))
    cost = price([used], prices)
    assert cost.amount == pytest.approx(0.8 + 0.08 + 1 + 4)
    assert (cost.currency, cost.source, cost.gaps) == ("USD", f"genai-prices {genai_prices.__version__}", [])


def test_a_price_is_that_of_the_day(tmp_path: Path) -> None:
    """That of o3 changed on 2025-06-10."""
    prices = list_prices(["o3"], kept=tmp_path / "prices.json")
    assert [prices.of("o3", day).input for day in ("", "2025-06-09", "2025-06-10", "2026-01-01")] == [10, 10, 2, 2]


def test_prices_begin_on_their_days() -> None:
    old, new = ModelRates(input=1), ModelRates(input=2)
    prices = ListPrices("a list", {"m": [DatedRates("", old), DatedRates("2026-01-02", new)]})
    assert [prices.of("m", day) for day in ("0000-00-00", "2026-01-01", "2026-01-02")] == [old, old, new]
    assert prices.of("other", "2026-01-01") == ModelRates()


def test_a_model_may_have_its_providers_name_before_it_and_an_unknown_one_has_no_price(tmp_path: Path) -> None:
    long = "claude-3-5-haiku".ljust(MODEL_CHARS_MAX + 1, "x")
    prices = list_prices([f"anthropic/{HAIKU}", "beam-1", "", "/", long], kept=tmp_path / "prices.json")
    assert prices.of(f"anthropic/{HAIKU}", "2025-01-01").input == 0.8
    assert prices.of(long[:-1], "2025-01-01") == prices.of(long, "2025-01-01") == ModelRates()
    cost = price([DayUsage("2025-01-01", "beam-1", Tokens(1, 5))], prices)
    assert (cost.amount, cost.gaps) == (0, [("beam-1", "input", 5)])


def test_nothing_is_fetched_and_the_package_is_loaded_once(tmp_path: Path) -> None:
    kept = tmp_path / "folder" / "prices.json"
    assert looked_up(kept, HAIKU, "beam-1") == ["1", "True"]
    assert looked_up(kept, HAIKU, "beam-1") == ["1", "False"]
    assert kept.stat().st_mode & 0o777 == 0o600
    assert looked_up(kept, "o3") == ["1", "True"]
    assert looked_up(kept, HAIKU, "o3") == ["2", "False"]


@pytest.mark.parametrize("damage", [b"", b"{", b'{"format":0}', b"\xff"])
def test_a_kept_file_that_is_damaged_or_of_another_version_is_replaced(tmp_path: Path, damage: bytes) -> None:
    kept = tmp_path / "prices.json"
    kept.write_bytes(damage)
    assert list_prices([HAIKU], kept=kept).of(HAIKU, "2025-01-01").input == 0.8
    kept.write_bytes(kept.read_bytes().replace(b"genai-prices ", b"genai-prices 0.").replace(b"0.8", b"0.9"))
    assert list_prices([HAIKU], kept=kept).of(HAIKU, "2025-01-01").input == 0.8


def test_a_file_that_cannot_be_written_costs_time_alone(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert list_prices([HAIKU], kept=tmp_path / "file" / "prices.json").of(HAIKU, "2025-01-01").input == 0.8


def test_the_file_keeps_a_bounded_number_of_models(tmp_path: Path) -> None:
    kept = tmp_path / "prices.json"
    models = [f"beam-{number}" for number in range(KEPT_MODELS_MAX + 1)]
    list_prices(models, kept=kept)
    assert kept.read_bytes().count(b'"beam-') == KEPT_MODELS_MAX
