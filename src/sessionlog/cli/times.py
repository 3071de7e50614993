"""Ages on the command line: ``12h``, ``7d``, ``26w``, ``2y``."""

import re
from typing import Final

import click

_AGE: Final = re.compile(r"([0-9]{1,6})([hdwy])\Z", re.ASCII)
_HOURS: Final = {"h": 1, "d": 24, "w": 7 * 24, "y": 365 * 24}
_HOUR_MS: Final = 3_600_000


class Age(click.ParamType[int]):
    """How long ago: a number and ``h``, ``d``, ``w`` or ``y``; in milliseconds."""

    name = "age"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return milliseconds."""
        if isinstance(value, int):
            return value
        found = _AGE.match(value)
        if found is None:
            self.fail(f"{value!a} is no age: write a number and h, d, w or y, such as 190d", param, ctx)
        return int(found[1]) * _HOURS[found[2]] * _HOUR_MS
