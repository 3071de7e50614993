"""Session statements: what the catalog says of one session, and how that may change from one anchor to the next.

    sessionlog/session/1
    <session id>
    <generation: 0, and one more each time that the id is used again after a deletion>
    <number of records>
    <root of the session's tree, 64 hex digits>
    live | final | deleted <index of the receipt in the anchor log>

Each line ends in LF. No record's hash stands here: the last leaf of the tree is the head, behind its nonce.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from ..ids import is_session_id
from .errors import InvalidEvidence
from .log_entries import ReceiptEntry
from .strict import check_size, parse_decimal, parse_hash_hex, parse_text, shown, split_lines

STATEMENTS_BYTES_MAX: Final = 256 * 1024 * 1024
"""The statements of one anchor: more than a million sessions."""
_HEADER: Final = "sessionlog/session/1"
_LINES: Final = 6


class SessionState(StrEnum):
    """What may still come of a session."""

    LIVE = "live"
    FINAL = "final"
    DELETED = "deleted"


class SessionStatement(msgspec.Struct, frozen=True, kw_only=True):
    """What the catalog says of a session."""

    session_id: str
    generation: int
    records: int
    root: bytes
    state: SessionState
    receipt: int | None = None
    """The index of the entry that says why the session was deleted; ``None`` in every other state."""

    def encode(self) -> bytes:
        """Return the statement's bytes; the inverse of :func:`parse_statements`."""
        state = f"{self.state} {self.receipt}" if self.state is SessionState.DELETED else self.state.value
        lines = (_HEADER, self.session_id, str(self.generation), str(self.records), self.root.hex(), state)
        return "".join(f"{line}\n" for line in lines).encode()


def parse_statement(data: bytes) -> SessionStatement:
    """Return the one statement in ``data``. Raises :class:`InvalidEvidence`."""
    statements = parse_statements(data)
    if len(statements) != 1:
        raise InvalidEvidence(f"{len(statements)} statements stand where one should")
    return statements[0]


def parse_statements(data: bytes) -> list[SessionStatement]:
    """Return the statements in ``data``, each about another session. Raises :class:`InvalidEvidence`."""
    check_size(data, STATEMENTS_BYTES_MAX, "the statements of an anchor")
    lines = split_lines(parse_text(data, "the statements"), "the statements")
    if len(lines) % _LINES:
        raise InvalidEvidence("the last statement is not whole")
    statements = [_parse(lines[at : at + _LINES]) for at in range(0, len(lines), _LINES)]
    if len({one.session_id for one in statements}) != len(statements):
        raise InvalidEvidence("two statements of one anchor are about one session")
    return statements


def _parse(lines: list[str]) -> SessionStatement:
    header, session_id, generation, records, root, last = lines
    if header != _HEADER or not is_session_id(session_id):
        raise InvalidEvidence(f"not a session statement: {shown(header)}, {shown(session_id)}")
    word, space, index = last.partition(" ")
    if word not in tuple(SessionState) or (word == SessionState.DELETED) is not bool(space):
        raise InvalidEvidence(f"not a state of a session: {shown(last)}")
    count = parse_decimal(records, "the number of records")
    if count == 0:
        raise InvalidEvidence("a statement is about one record at least")
    return SessionStatement(
        session_id=session_id,
        generation=parse_decimal(generation, "the generation"),
        records=count,
        root=parse_hash_hex(root, "the root of a session"),
        state=SessionState(word),
        receipt=parse_decimal(index, "the index of the receipt") if space else None,
    )


def check_changes(
    before: Mapping[str, SessionStatement], changes: Iterable[SessionStatement], receipts: Mapping[int, ReceiptEntry]
) -> list[str]:
    """Return what is wrong with the changes of one anchor; nothing, if each is allowed.

    absent -> live or final; live -> live or final, with no fewer records; live or final -> deleted, by a receipt of
    this anchor that names the session, its records and its root; deleted -> live or final, in the next generation.
    Each receipt serves one deletion.

    Args:
        before: The statements as of the anchor before, by session id.
        changes: The statements of this anchor.
        receipts: The receipts between the two anchors, by their index.
    """
    faults: list[str] = []
    used: set[int] = set()
    for after in changes:
        fault = _change_fault(before.get(after.session_id), after, receipts)
        if fault is None and after.receipt is not None:
            used.add(after.receipt)
        elif fault is not None:
            faults.append(f"session {after.session_id}: {fault}")
    faults += [
        f"session {receipt.session_id}: the receipt at entry {index} tells of a deletion that no statement shows"
        for index, receipt in receipts.items()
        if index not in used
    ]
    return faults


def _change_fault(
    before: SessionStatement | None, after: SessionStatement, receipts: Mapping[int, ReceiptEntry]
) -> str | None:
    if after.state is SessionState.DELETED:
        return _deletion_fault(before, after, receipts)
    if before is None:
        return None if after.generation == 0 else f"it begins with generation {after.generation}, not 0"
    if before.state is SessionState.DELETED:
        if after.generation == before.generation + 1:
            return None
        return f"after its deletion, generation {before.generation} is followed by {after.generation}"
    if after.generation != before.generation:
        return f"generation {before.generation} became {after.generation} without a deletion"
    if before.state is SessionState.FINAL:
        return "its statement changed after it was final"
    if after.records < before.records:
        return f"it went from {before.records} records back to {after.records}"
    if after.records == before.records:
        if after.root != before.root:
            return f"its {after.records} records are not the ones that were anchored before: it was rewritten"
        if after.state is before.state:
            return "its statement was made again and says nothing new"
    return None


def _deletion_fault(
    before: SessionStatement | None, after: SessionStatement, receipts: Mapping[int, ReceiptEntry]
) -> str | None:
    if before is None or before.state is SessionState.DELETED:
        return "it is said to be deleted, but was not there"
    same = (before.generation, before.records, before.root)
    if (after.generation, after.records, after.root) != same:
        return "the statement of its deletion is about other records than were anchored before"
    receipt = None if after.receipt is None else receipts.get(after.receipt)
    if receipt is None:
        return f"it was removed, and entry {after.receipt} is no receipt of this anchor"
    if (receipt.session_id, receipt.records, receipt.root) != (after.session_id, after.records, after.root):
        return f"it was removed, and the receipt at entry {after.receipt} names another session, or other records"
    return None


__all__ = [
    "STATEMENTS_BYTES_MAX",
    "SessionState",
    "SessionStatement",
    "check_changes",
    "parse_statement",
    "parse_statements",
]
