"""Values that several formats write in the same way: times, JSON as text, images, the text of a tool's answer."""

from collections.abc import Callable, Container
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Generic, TypeVar

import msgspec

from ..items import ImagePart
from .lines import Found

T = TypeVar("T")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


class LastParsed(Generic[T]):
    """Parses the value of an object, and remembers the last: the engine asks several questions of each in turn."""

    def __init__(self, parse: Callable[[dict[str, Any]], T]) -> None:
        """Parse with ``parse``."""
        self._parse = parse
        self._last: tuple[Found, T] | None = None

    def __call__(self, found: Found) -> T:
        """Return what the object is parsed as."""
        if self._last is None or self._last[0] is not found:
            self._last = (found, self._parse(found.value))
        return self._last[1]


def is_word(value: object, words: Container[str]) -> bool:
    """Tell whether ``value`` is a text and one of ``words``; other JSON values are not even looked up."""
    return isinstance(value, str) and value in words


def stamp_ms(stamp: object) -> int | None:
    """Return a time, in ISO 8601 or unix milliseconds, as unix milliseconds; ``None`` for what is no time."""
    if isinstance(stamp, int | float):
        return int(stamp) if 0 <= stamp < 2**53 else None
    if not isinstance(stamp, str):
        return None
    try:
        moment = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MILLISECOND


def json_text(value: Any) -> str:
    """Return ``value`` as compact JSON text."""
    return msgspec.json.encode(value).decode()


def image_at(url: str) -> ImagePart:
    """Return the image at ``url``; of a ``data:`` URL in base64 (RFC 2397), its bytes."""
    head, comma, data = url.partition(",")
    if comma and head.startswith("data:") and head.endswith(";base64"):
        return ImagePart(data=data, media_type=head[len("data:") : -len(";base64")] or None)
    return ImagePart(url=url)


def plain_text(content: Any) -> tuple[str, bool]:
    """Return the text of a tool's answer, a string or a list of blocks, and whether that is all of it."""
    if content is None or isinstance(content, str):
        return content or "", True
    if not isinstance(content, list):
        return json_text(content), True
    texts = [
        part["text"]
        if isinstance(part, dict)
        and part.get("type") in ("text", "input_text", "output_text")
        and isinstance(part.get("text"), str)
        else None
        for part in content
    ]
    return "\n".join(text for text in texts if text is not None), None not in texts
