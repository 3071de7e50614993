"""List prices: what providers ask for a model's tokens, from the package ``genai-prices`` (``sessionlog[prices]``).

    rates = list_prices(["claude-opus-4-6", "openai/gpt-5.5"])
    cost = price(row.usage, rates)

The prices are those that the installed version of the package came with: nothing is ever fetched, and ``source`` names
the version. They are a price list, not a bill:

- A price counts from the day (UTC) that the package gives for it; one that depends on the hour is that of noon.
- One that depends on the length of a request is that of a short one, and a write to a cache is one for 5 minutes:
  logs do not add up tokens by either.
- Tokens from or into a cache cost what input costs where the package has no other price, as it counts them itself.
- Discounts, batches, priority, subscriptions, taxes, and searches that a provider runs are left out.

A model is found by its name, which may have its provider's before it (``openai/gpt-5.5``). Loading the package takes
half a second, so what it says of a model is kept in a file of the user's cache folder, and asked again of another
version only.
"""

import importlib.util
import logging
import os
import tempfile
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from ..user_folders import cache_folder
from .rates import UNKNOWN, ModelRates, RatesError

if TYPE_CHECKING:
    from decimal import Decimal

    from genai_prices.types import ModelInfo, ModelPrice, TieredPrices

logger: Final = logging.getLogger(__name__)

MODEL_CHARS_MAX: Final = 200
"""No model has a longer name."""
KEPT_MODELS_MAX: Final = 1000
"""The most models that are kept in the file; logs may name any number of them."""
FILE_NAME: Final = "prices.json"
_FORMAT: Final = 1
"""The version of this module's rules, and of its file."""
_PACKAGE: Final = "genai-prices"
_MODULE: Final = "genai_prices"
_BY_PREFIX: Final = "litellm"
"""The package's word for names with their provider's before them; it takes plain names as well."""


class DatedRates(msgspec.Struct, frozen=True):
    """What a model's tokens cost from ``day`` on (UTC; empty: since ever)."""

    day: str
    rates: ModelRates


class ListPrices(msgspec.Struct, frozen=True):
    """The list prices of some models: of each from the earliest day to the latest, and none of one without a price."""

    source: str
    models: Mapping[str, Sequence[DatedRates]]
    currency: str = "USD"

    def of(self, model: str, day: str) -> ModelRates:
        """Return what the tokens of ``model`` cost on ``day``."""
        dated = self.models.get(model, ())
        at = bisect_right(dated, day, key=lambda one: one.day)
        return dated[at - 1].rates if at else UNKNOWN


class _Kept(msgspec.Struct, frozen=True):
    format: int
    prices: ListPrices


def has_list_prices() -> bool:
    """Tell whether ``genai-prices`` is installed."""
    return importlib.util.find_spec(_MODULE) is not None


def list_prices(models: Iterable[str], *, kept: Path | None = None) -> ListPrices:
    """Return the list prices of ``models``; blocks, for half a second if one of them is not in ``kept`` yet.

    Args:
        models: The models, as logs name them.
        kept: The file that keeps what the package says, by default ``prices.json`` in the user's cache folder. A file
            that cannot be read or written costs time, no more; whoever can write it can misstate prices.

    Raises:
        RatesError: ``genai-prices`` is not installed.
    """
    if not has_list_prices():
        raise RatesError(f"list prices need {_PACKAGE}: pip install 'sessionlog[prices]'")
    wanted = {model for model in models if len(model) <= MODEL_CHARS_MAX}
    source = f"{_PACKAGE} {_version()}"
    kept = kept or cache_folder() / FILE_NAME
    known = _read(kept, source)
    missing = wanted - known.keys()
    if missing:
        found = {model: _look_up(model) for model in sorted(missing)}
        known = {**{model: known[model] for model in wanted & known.keys()}, **found, **known}
        _write(kept, ListPrices(source, dict(islice(known.items(), KEPT_MODELS_MAX))))
    return ListPrices(source, {model: known[model] for model in wanted})


def _version() -> str:
    """Return the version of the package, without the 50 ms that :mod:`importlib.metadata` takes to load, if it can."""
    spec = importlib.util.find_spec(_MODULE)
    if spec is not None and spec.origin is not None:
        for folder in Path(spec.origin).parent.parent.glob(f"{_MODULE}-*.dist-info"):
            return folder.name.removeprefix(f"{_MODULE}-").removesuffix(".dist-info")
    from importlib.metadata import version  # noqa: PLC0415

    return version(_PACKAGE)


def _look_up(model: str) -> Sequence[DatedRates]:
    """Return the prices of a model by day; empty where the package does not know it."""
    from genai_prices import Usage, calc_price  # noqa: PLC0415 - an extra, and slow to load
    from genai_prices.types import StartDateConstraint  # noqa: PLC0415

    try:
        info: ModelInfo = calc_price(Usage(input_tokens=0), model, provider_id=_BY_PREFIX).model
    except LookupError:
        return []
    days = set()
    if isinstance(info.prices, list):
        limits = (one.constraint for one in info.prices)
        days = {limit.start_date for limit in limits if isinstance(limit, StartDateConstraint)}
    return [
        DatedRates("" if day == date.min else day.isoformat(), _rates(info.get_prices(_noon(day))))
        for day in sorted({date.min, *days})
    ]


def _noon(day: date) -> datetime:
    return datetime.combine(day, time(12), UTC)


def _rates(price: "ModelPrice") -> ModelRates:
    price_in = _rate(price.input_mtok)
    cached, written = _rate(price.cache_read_mtok), _rate(price.cache_write_mtok)
    return ModelRates(
        input=price_in,
        output=_rate(price.output_mtok),
        cache_read=price_in if cached is None else cached,
        cache_write=price_in if written is None else written,
    )


def _rate(price: "Decimal | TieredPrices | None") -> float | None:
    from genai_prices.types import TieredPrices  # noqa: PLC0415

    if price is None:
        return None
    return float(price.base if isinstance(price, TieredPrices) else price)


def _read(kept: Path, source: str) -> Mapping[str, Sequence[DatedRates]]:
    """Return what is kept of this version of the package."""
    try:
        found = msgspec.json.decode(kept.read_bytes(), type=_Kept)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        logger.info("%s is not used: %s", kept, error)
        return {}
    return found.prices.models if (found.format, found.prices.source) == (_FORMAT, source) else {}


def _write(kept: Path, prices: ListPrices) -> None:
    """Replace the file as a whole: of two processes, the later one's is there."""
    try:
        kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=kept.name, dir=kept.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(_Kept(_FORMAT, prices)))
            Path(name).replace(kept)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
    except (OSError, ValueError) as error:
        logger.info("%s is not written: %s", kept, error)
