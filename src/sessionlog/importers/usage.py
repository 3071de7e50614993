"""Token usage that is due: one ``llm_usage`` for each request to a model, however often the file repeats it.

Should a counted request go on after all, only what came on top is logged: the sum over ``llm_usage`` is right at all
times.
"""

from typing import Final, NamedTuple, TypeAlias

Tokens: TypeAlias = tuple[int, int, int, int]
"""Input in total (the whole prompt), of it read from cache, written to cache; output."""

TOKENS_END: Final = 2**53
"""No count of tokens reaches this; what does is no count."""


class Due(NamedTuple):
    """The usage of a request and when it is to be logged.

    ``at`` is an ordinal: right before that object's entries; behind them with a half more.
    """

    at: float
    message_id: str
    tokens: Tokens
    first: int
    """The ordinal of the first object that the request brought."""
    ts: int | None


def added_tokens(tokens: Tokens, counted: Tokens | None) -> Tokens | None:
    """Return what ``tokens`` has on top of what was ``counted`` for the message; ``None`` for nothing."""
    if counted is None:
        return tokens
    added = tuple(max(0, now - then) for now, then in zip(tokens, counted, strict=True))
    return (added[0], added[1], added[2], added[3]) if any(added) else None


def token_count(count: int | None) -> int:
    """Return ``count`` if it can be one, else 0."""
    return count if count is not None and 0 <= count < TOKENS_END else 0
