"""Values that several frameworks write in the same way."""

import json
from collections.abc import Iterator
from typing import Any

from ..items import ContentPart, ImagePart, RefusalPart, TextPart

_TEXTS = ("text", "input_text", "output_text", "summary_text", "reasoning_text")


def dicts(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects in a list; none for what is no list."""
    for one in value if isinstance(value, list) else ():
        if isinstance(one, dict):
            yield one


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
