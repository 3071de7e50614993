"""What an audit returns: a report for each session, and the findings in it."""

from collections.abc import Sequence
from typing import Final

import msgspec

from ..errors import Damage
from ..scanner import Verdict

FINDINGS_MAX: Final = 100
"""A report lists this many findings of meaning; one more then says how many there are beyond them."""


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, repr_omit_defaults=True):
    """One fault: of which session, what kind, in which record, in words.

    ``seq`` is the record's 0-based position, ``line`` its 1-based line, ``offset`` the byte at which that line starts;
    ``None`` where there is no such byte, because the log could not be read at all.
    """

    session_id: str
    damage: Damage
    seq: int
    line: int
    offset: int | None = None
    reason: str


class Report(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """What a check of one session found: the state of its chain, and every fault, that of the chain first.

    A log that cannot be read has no findings: its verdict is ``unreadable``, with the reason.
    """

    session_id: str
    verdict: Verdict
    findings: Sequence[Finding] = ()
    remarks: Sequence[str] = ()
    """What is no fault and worth knowing: others may write to the log."""

    @property
    def ok(self) -> bool:
        """True if the log was read and nothing was found. A torn tail alone is no finding."""
        return self.verdict.ok and not self.findings


class Findings:
    """The findings of one session, bounded in number."""

    def __init__(self, session_id: str) -> None:
        self._session_id = session_id
        self._listed: list[Finding] = []
        self._first_left_out: Finding | None = None
        self._left_out_count = 0

    def add(self, damage: Damage, reason: str, *, seq: int, offset: int | None) -> None:
        """List a fault of the record at ``seq``, or only count it."""
        finding = self._finding(damage, reason, seq=seq, offset=offset)
        if len(self._listed) < FINDINGS_MAX:
            self._listed.append(finding)
        else:
            self._first_left_out = self._first_left_out or finding
            self._left_out_count += 1

    def report(self, verdict: Verdict, *, provenance: Sequence[str] = (), remarks: Sequence[str] = ()) -> Report:
        """Return the report: what broke the chain, what is wrong with where the session comes from, then the rest."""
        findings = []
        if not verdict.ok and verdict.damage is not None and verdict.seq is not None:
            findings.append(self._finding(verdict.damage, verdict.reason or "", seq=verdict.seq, offset=verdict.offset))
        findings += [self._finding(Damage.PROVENANCE, reason, seq=0, offset=0) for reason in provenance]
        findings += self._listed
        if self._first_left_out is not None:
            reason = f"{self._left_out_count} more findings from here on are not listed"
            findings.append(msgspec.structs.replace(self._first_left_out, reason=reason))
        return Report(session_id=self._session_id, verdict=verdict, findings=tuple(findings), remarks=tuple(remarks))

    def _finding(self, damage: Damage, reason: str, *, seq: int, offset: int | None) -> Finding:
        return Finding(session_id=self._session_id, damage=damage, seq=seq, line=seq + 1, offset=offset, reason=reason)
