"""Where sessions come from: what a session claims about its source, and what the source proves (FORMAT section 7).

A claim is small, and so is the evidence for it, however long source and fork are: states are compared by their hashes,
taken while the source is read. So one pass over a source answers for everything that was made from it.
"""

from typing import Literal, NamedTuple, TypeAlias

import msgspec
from blake3 import blake3

from ..entries import SessionOrigin, SessionStart
from ..errors import CorruptLog
from ..record import HashedEntry
from ..scanner import Verdict
from ..state import RestoredState

Origin: TypeAlias = Literal["forked_from", "compacted_from"]


class Fingerprint(NamedTuple):
    """What a fork takes over from a state, in a few bytes."""

    system_prompt: str
    config: str
    history: str
    history_count: int


class Claim(NamedTuple):
    """A session says that it was made from a record of another; a fork says too with which state it started."""

    member: Origin
    source_id: str
    at_hash: str
    state: Fingerprint | None


class Evidence:
    """What one pass over a source proves: which of the claimed records it holds, and the states as of them."""

    def __init__(self) -> None:
        self._state_wanted: dict[str, bool] = {}
        self.restart()

    def want(self, at_hash: str, *, state: bool) -> None:
        """Look out for the record ``at_hash`` and, if ``state``, for the state as of it. Before the pass only."""
        self._state_wanted[at_hash] = state or self._state_wanted.get(at_hash, False)
        self.restart()

    def restart(self) -> None:
        """Be ready for a pass from the source's first record on."""
        self._held: set[str] = set()
        self._states: dict[str, Fingerprint] = {}
        self._states_left = sum(self._state_wanted.values())
        self._running = RunningState() if self._states_left else None
        self._fold_fault = ""
        self.verdict: Verdict | None = None
        """The outcome of the pass; ``None`` before its end."""

    def take(self, record: HashedEntry) -> None:
        """Take the source's next record."""
        if self._running is not None:
            try:
                self._running.apply(record)
            except CorruptLog as error:
                self._fold_fault = f"record {record.seq} cannot be folded: {error.reason}"
                self._running = None
        if record.hash not in self._state_wanted:
            return
        self._held.add(record.hash)
        if self._running is not None and self._state_wanted[record.hash]:
            self._states[record.hash] = self._running.fingerprint()
            self._states_left -= 1
            if not self._states_left:
                self._running = None

    def covers(self, claim: Claim) -> bool:
        """Tell whether the pass was made, and looked out for what ``claim`` needs."""
        wanted = self._state_wanted.get(claim.at_hash)
        return self.verdict is not None and wanted is not None and wanted >= (claim.state is not None)

    def lacks(self, claim: Claim) -> bool:
        """Tell whether the source is whole and does not hold the record of ``claim``, which must be covered."""
        return self.verdict is not None and self.verdict.ok and claim.at_hash not in self._held

    def fault(self, claim: Claim) -> str | None:
        """Say why the source does not bear out ``claim``, which must be covered; ``None``: it does."""
        source_id, verdict = claim.source_id, self.verdict
        if verdict is not None and not verdict.ok:
            return f"its source {source_id} is broken at record {verdict.seq}: {verdict.reason}"
        if claim.at_hash not in self._held:
            return f"its source {source_id} holds no record {shown(claim.at_hash)}"
        if claim.state is None:
            return None
        state = self._states.get(claim.at_hash)
        if state is None:
            return f"its source {source_id} gives no state to compare: {self._fold_fault}"
        differing = [
            name
            for name in ("system_prompt", "config", "history")
            if getattr(state, name) != getattr(claim.state, name)
        ]
        if not differing:
            return None
        return (
            f"{' and '.join(differing)} at its start are not those of {source_id} after record {claim.at_hash[:12]} "
            f"({claim.state.history_count} history items here, {state.history_count} there)"
        )


class RunningState:
    """The fold of a log, of whose history it keeps a hash only: it does not grow with the log."""

    def __init__(self) -> None:
        self._state = RestoredState()
        self._history = blake3()
        self._history_count = 0

    def apply(self, record: HashedEntry) -> None:
        """Fold one more record in. Raises :class:`CorruptLog` if it does not decode."""
        if isinstance(record.entry, SessionStart):
            self._history, self._history_count = blake3(), 0
        self._state.apply(record)
        for item in self._state.history:
            self._history.update(msgspec.json.encode(item) + b"\n")
        self._history_count += len(self._state.history)
        self._state.history.clear()
        self._state.usage_history.clear()
        self._state.extensions.clear()

    def fingerprint(self) -> Fingerprint:
        """Return the state as of now."""
        return Fingerprint(
            system_prompt=blake3(msgspec.json.encode(self._state.system_prompt)).hexdigest(),
            config=blake3(msgspec.json.encode(self._state.config)).hexdigest(),
            history=self._history.hexdigest(),
            history_count=self._history_count,
        )


def may_claim(line: bytes) -> bool:
    """Tell, without decoding it, whether the first record of a session could claim anything: few do."""
    return b'_from"' in line or b"\\u" in line  # a member's name may be written with escapes


def claims(first: HashedEntry) -> list[Claim]:
    """Return what the first record of a session, which must decode, claims about its source; nothing from most."""
    start = first.entry
    if not isinstance(start, SessionStart):
        return []
    made: list[Claim] = []
    if start.forked_from is not None:
        state = RunningState()
        state.apply(first)
        made.append(Claim("forked_from", start.forked_from.session_id, start.forked_from.at_hash, state.fingerprint()))
    if start.compacted_from is not None:
        made.append(Claim("compacted_from", start.compacted_from.session_id, start.compacted_from.at_hash, None))
    return made


class Origins(msgspec.Struct):
    """The members of a ``session_start`` that name a source, and no others: quick to look up in an unchecked line."""

    forked_from: SessionOrigin | None = None
    compacted_from: SessionOrigin | None = None


def shown(value: object) -> str:
    """Return ``value`` for a message: printable, and short."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
