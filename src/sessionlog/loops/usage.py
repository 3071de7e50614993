"""Token usage and what it costs.

a + b            member by member; Usage() is the zero, so sum(usages, Usage()) totals
cache_hit_rate   cache_read / (input + cache_read + cache_write)
"""

from typing import Final

import msgspec

TOKENS_PER_MILLION: Final = 1_000_000


class CostConfig(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a million tokens cost, in any one currency; a rate that is not given is zero."""

    input_per_million: float = 0.0
    output_per_million: float = 0.0
    cache_read_per_million: float = 0.0
    cache_write_per_million: float = 0.0


class Usage(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Tokens of one or more model requests.

    ``input`` leaves out what came from or went into the cache (``cache_read``, ``cache_write``). ``reasoning`` is a
    part of ``output``. ``total_tokens`` is what the provider reported, not a sum made here.
    """

    input: int = 0
    output: int = 0
    reasoning: int = 0
    cache_read: int = 0
    cache_write: int = 0
    total_tokens: int = 0

    def __add__(self, other: object) -> "Usage":
        """Add member by member."""
        if not isinstance(other, Usage):
            return NotImplemented
        return Usage(
            input=self.input + other.input,
            output=self.output + other.output,
            reasoning=self.reasoning + other.reasoning,
            cache_read=self.cache_read + other.cache_read,
            cache_write=self.cache_write + other.cache_write,
            total_tokens=self.total_tokens + other.total_tokens,
        )

    @property
    def cache_hit_rate(self) -> float:
        """The part of the prompt tokens that the cache served, 0.0 to 1.0; 0.0 where there were none."""
        prompt_tokens = self.input + self.cache_read + self.cache_write
        return self.cache_read / prompt_tokens if prompt_tokens else 0.0

    def estimated_cost(self, rates: CostConfig) -> float:
        """Return the cost in the currency of ``rates``; reasoning tokens are paid for as output, once."""
        return (
            self.input * rates.input_per_million
            + self.output * rates.output_per_million
            + self.cache_read * rates.cache_read_per_million
            + self.cache_write * rates.cache_write_per_million
        ) / TOKENS_PER_MILLION


__all__ = ["CostConfig", "Usage"]
