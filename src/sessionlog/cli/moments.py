"""Times as people give them: a day, a moment, or how long ago."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import click

from .text import safe

AnyCommand = TypeVar("AnyCommand", bound=Callable[..., Any])

_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}\Z")
_AGO: Final = re.compile(r"([0-9]{1,5})([hdwy])\Z", re.ASCII)
_HOURS: Final = {"h": 1, "d": 24, "w": 7 * 24, "y": 365 * 24}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def since_option(command: AnyCommand) -> AnyCommand:
    """Add ``--since``, in unix milliseconds."""
    help_ = "Only from this day or moment on (UTC), or so long ago: 7d, 12h, 2w."
    return click.option("--since", type=Moment(end=False), metavar="TIME", help=help_)(command)


def until_option(command: AnyCommand) -> AnyCommand:
    """Add ``--until``, in unix milliseconds."""
    help_ = "Only up to this day, or before this moment."
    return click.option("--until", type=Moment(end=True), metavar="TIME", help=help_)(command)


class Age(click.ParamType[int]):
    """How long ago: a number and ``h``, ``d``, ``w`` or ``y``; as milliseconds."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return milliseconds."""
        found = _AGO.match(value)
        if found is None:
            self.fail(f"{safe(value)!r} is no age: write a number and h, d, w or y, such as 190d", param, ctx)
        return int(found[1]) * _HOURS[found[2]] * 3_600_000


class Moment(click.ParamType[int]):
    """A day or a moment in ISO 8601, UTC where no offset says otherwise, or ``7d`` ago, as unix milliseconds."""

    name = "moment"

    def __init__(self, *, end: bool, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Take the end of a day that is given alone if ``end``, else its beginning."""
        self._end = end
        self._now = now

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return unix milliseconds."""
        ago = _AGO.match(value)
        if ago is not None:
            moment = self._now() - timedelta(hours=int(ago[1]) * _HOURS[ago[2]])
        else:
            moment = self._iso(value, param, ctx)
        return (moment - _EPOCH) // timedelta(milliseconds=1)

    def _iso(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{safe(value)!r} is no time: write 2026-01-31, 2026-01-31T12:00:00Z, or 7d", param, ctx)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment + timedelta(days=1) if self._end and _DAY.match(value) else moment
