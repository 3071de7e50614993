"""A tool call's arguments as people read them rather than as JSON: on one line, or whole."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from .text import one_line

_VALUE_CHARS_MAX: Final = 240


def arguments_line(arguments: Any) -> str:
    """Return the arguments of a call: the value of the only member, or ``name: value, name: value``.

    ``arguments`` is JSON text as a model wrote it, or the value that it stands for. Text that is not a JSON object is
    returned as it is. Nothing is escaped here.
    """
    value = _parsed(arguments) if isinstance(arguments, str) else arguments
    if not isinstance(value, Mapping):
        return "" if value is None else _word(value)
    if len(value) == 1:
        return _word(next(iter(value.values())))
    return ", ".join(f"{name}: {_word(one)}" for name, one in value.items())


def argument_lines(arguments: str) -> Iterator[str]:
    """Yield all of a call's ``arguments``: a line for each member, text of several lines below its name."""
    value = _parsed(arguments)
    if not isinstance(value, Mapping):
        yield from _lines(value)
        return
    for name, one in value.items():
        first, *others = _lines(one)
        if others:
            yield f"{name}:"
            yield from (f"  {line}" for line in (first, *others))
        else:
            yield f"{name}: {first}"


def _lines(value: Any) -> list[str]:
    return _text(value).replace("\r\n", "\n").expandtabs(4).split("\n")


def _parsed(text: str) -> Any:
    try:
        value = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, dict) else text


def _word(value: Any) -> str:
    return one_line(_text(value), chars_max=_VALUE_CHARS_MAX)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
