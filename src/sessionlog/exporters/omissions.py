"""What an export leaves out or says in another way, counted by reason."""

from collections import Counter
from collections.abc import Iterator


class Omissions:
    """Reasons and how often each was met, in the order in which they first were."""

    def __init__(self) -> None:
        """Begin with nothing left out."""
        self._counts: Counter[str] = Counter()

    def add(self, reason: str, count: int = 1) -> None:
        """Count ``reason``, which says what is left out of what, such as ``reasoning: left out``."""
        if count:
            self._counts[reason] += count

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Yield each reason with its count."""
        return iter(self._counts.items())

    def __len__(self) -> int:
        """Return the number of reasons."""
        return len(self._counts)
