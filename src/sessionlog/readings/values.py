"""Values that several frameworks write in the same way."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..items import ContentPart, ImagePart, RefusalPart, TextPart

_COUNT_MAX = 2**53 - 1
_TEXTS = ("text", "input_text", "output_text", "summary_text", "reasoning_text")


class Usage(NamedTuple):
    """What one model request cost, in tokens; ``input_total`` is the whole prompt, what was read from a cache too."""

    model: str | None
    input_total: int
    cache_read: int
    cache_write: int
    output: int


def dicts(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects in a list; none for what is no list."""
    for one in value if isinstance(value, list) else ():
        if isinstance(one, dict):
            yield one


def whole(kept: Any) -> dict[str, Any]:
    """Return an object that a record holds, also one that is kept as JSON text; an empty one for any other value."""
    if isinstance(kept, dict) and kept.keys() == {"json"} and isinstance(kept["json"], str):
        try:
            value = json.loads(kept["json"])
        except (ValueError, RecursionError):
            return {}
        return _sayable(value) if isinstance(value, dict) else {}
    return kept if isinstance(kept, dict) else {}


def _sayable(value: dict[str, Any]) -> dict[str, Any]:
    """Replace what no log could say, such as half of a surrogate pair."""
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode()
    sayable: dict[str, Any] = json.loads(text)
    return sayable


def content_parts(content: Any) -> list[ContentPart]:
    """Return the parts of a message's content: a text, or a list of texts and blocks."""
    parts: list[ContentPart] = []
    for part in content if isinstance(content, list) else [content]:
        match part:
            case str(text) if text:
                parts.append(TextPart(text))
            case {"type": str(kind), "text": str(text)} if kind in _TEXTS:
                parts.append(TextPart(text))
            case {"type": "refusal", "refusal": str(text)}:
                parts.append(RefusalPart(text))
            case {"type": "input_image" | "image_url", "image_url": str(url) | {"url": str(url)}}:
                parts.append(ImagePart(url=url))
            case _:
                pass
    return parts


def text_of(content: Any) -> str:
    """Return the text of what a tool answered, or its JSON."""
    if isinstance(content, str):
        return content
    texts = [part.text for part in content_parts(content) if isinstance(part, TextPart)]
    return "\n".join(texts) if texts else json_text(content)


def json_text(value: Any) -> str:
    """Return a value as JSON text."""
    return json.dumps(value, ensure_ascii=False, default=repr)


def word(value: Any) -> str:
    """Return a text, or the empty one for any other value."""
    return value if isinstance(value, str) else ""


def count_of(value: Any) -> int:
    """Return a number of tokens, or 0 for any other value."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _COUNT_MAX else 0
