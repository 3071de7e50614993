"""Domains: an application's own records in a log, and what they mean.

An application keeps its records as ``extension`` entries of one domain, beside whatever else the log holds. A
:class:`Domain` says what they add up to: a fold, which must be pure. :class:`DomainLog` keeps that fold up to date.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from ..entries import Extension
from ..ids import EntryHash
from ..record import ENVELOPE, HashedEntry

StateT = TypeVar("StateT")
_KIND = b'extension"'


class DomainRecord(msgspec.Struct, frozen=True):
    """One record of a domain: its payload, and where it stands in the log."""

    payload: Any
    ts: int
    seq: int
    hash: EntryHash


@dataclass(frozen=True)
class Domain(Generic[StateT]):
    """What the records of one domain add up to.

    ``begin`` returns the state before the first record, a new one at each call. ``apply`` folds one record in and
    returns the new state; it may be the old one, changed in place. Neither does anything else: the same records must
    always give the same state.
    """

    name: str
    begin: Callable[[], StateT]
    apply: Callable[[StateT, DomainRecord], StateT]
    opening: Callable[[StateT], Iterable[Any]] | None = None
    """Returns the payloads that a new log begins with to have this state: what a fork or a compaction takes along."""

    def fold(self, state: StateT, record: HashedEntry) -> StateT:
        """Fold a record of a log in, if it is one of this domain."""
        envelope = ENVELOPE.match(record.line)
        if envelope is None or not record.line.startswith(_KIND, envelope.end()):
            return state
        entry = record.entry
        if not isinstance(entry, Extension) or entry.domain != self.name:
            return state
        return self.apply(state, DomainRecord(entry.payload, entry.ts, record.seq, record.hash))

    def entries(self, payloads: Iterable[Any], *, ts: int) -> list[Extension]:
        """Return the entries of new records."""
        return [Extension(ts=ts, domain=self.name, payload=payload) for payload in payloads]


class DomainFolds:
    """Folds several domains over one log, to tell what a new log takes along of each."""

    def __init__(self, domains: Sequence[Domain[Any]]) -> None:
        """Begin before the first record. Raises ``ValueError`` for a domain without ``opening``."""
        for domain in domains:
            if domain.opening is None:
                raise ValueError(f"domain {domain.name!r} does not say what a new log begins with: give it an opening")
        self._domains = domains
        self._states = [domain.begin() for domain in domains]

    def take(self, record: HashedEntry) -> None:
        """Fold one more record in."""
        self._states = [domain.fold(state, record) for domain, state in zip(self._domains, self._states, strict=True)]

    def opening(self, *, ts: int) -> Iterator[Extension]:
        """Yield the entries that a new log begins with."""
        for domain, state in zip(self._domains, self._states, strict=True):
            if domain.opening is not None:
                yield from domain.entries(domain.opening(state), ts=ts)
