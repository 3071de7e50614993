"""Statements, entries of the anchor log and nonces: spelling, allowed changes, and what a prefix gives away."""

import hashlib
from collections.abc import Sequence

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from sessionlog.evidence import (
    AnchorEntry,
    InvalidEvidence,
    ReceiptEntry,
    ReceiptKind,
    SessionState,
    SessionStatement,
    check_changes,
    parse_log_entry,
    parse_statement,
    parse_statements,
)
from sessionlog.evidence.log_entries import RECEIPT_TEXT_CHARS_MAX, receipt_text
from sessionlog.evidence.nonces import nonce, nonces, prefix_nonces, prefix_secrets

ROOT_A, ROOT_B = hashlib.sha256(b"a").digest(), hashlib.sha256(b"b").digest()
LIVE, FINAL, DELETED = SessionState.LIVE, SessionState.FINAL, SessionState.DELETED


def statement(
    records: int = 4,
    state: SessionState = LIVE,
    *,
    session_id: str = "s",
    root: bytes = ROOT_A,
    generation: int = 0,
    receipt: int | None = None,
) -> SessionStatement:
    return SessionStatement(
        session_id=session_id, generation=generation, records=records, root=root, state=state, receipt=receipt
    )


def receipt(records: int = 4, *, session_id: str = "s", root: bytes = ROOT_A) -> ReceiptEntry:
    return ReceiptEntry(time_ms=1, kind=ReceiptKind.DELETE, session_id=session_id, records=records, root=root)


def test_spelling_of_statements() -> None:
    """Six lines, as the format says, and back."""
    final = statement(12, FINAL)
    gone = statement(3, DELETED, session_id="t", generation=2, root=ROOT_B, receipt=7)
    assert final.encode() == f"sessionlog/session/1\ns\n0\n12\n{ROOT_A.hex()}\nfinal\n".encode()
    assert gone.encode() == f"sessionlog/session/1\nt\n2\n3\n{ROOT_B.hex()}\ndeleted 7\n".encode()
    assert parse_statements(final.encode() + gone.encode()) == [final, gone]
    assert parse_statements(b"") == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("session/1", "session/2"),
        ("\ns\n", "\n-s\n"),
        ("\ns\n", "\n../s\n"),
        ("\n0\n", "\n00\n"),
        ("\n4\n", "\n0\n"),
        ("\n4\n", "\n4 \n"),
        ("\n4\n", "\n4\n\n"),
        (ROOT_A.hex(), ROOT_A.hex().upper()),
        (ROOT_A.hex(), ROOT_A.hex()[:-2]),
        ("live\n", "live"),
        ("live", "live 7"),
        ("live", "deleted"),
        ("live", "deleted "),
        ("live", "deleted 07"),
        ("live", "gone"),
        ("live\n", "live\r\n"),
        ("\ns\n", "\ns\x00\n"),
    ],
)
def test_misspelt_statements_are_refused(old: str, new: str) -> None:
    """One spelling, so one hash."""
    with pytest.raises(InvalidEvidence):
        parse_statement(statement().encode().replace(old.encode(), new.encode()))


def test_one_statement_for_a_session() -> None:
    """Two in one anchor are refused, and where one is asked for, two are."""
    with pytest.raises(InvalidEvidence):
        parse_statements(statement(4).encode() + statement(5).encode())
    with pytest.raises(InvalidEvidence):
        parse_statement(statement().encode() + statement(session_id="t").encode())


@pytest.mark.parametrize(
    ("before", "after", "receipts"),
    [
        (None, statement(), {}),
        (None, statement(state=FINAL), {}),
        (statement(4), statement(5, root=ROOT_B), {}),
        (statement(4), statement(4, FINAL), {}),
        (statement(4), statement(5, FINAL, root=ROOT_B), {}),
        (statement(4), statement(4, DELETED, receipt=7), {7: receipt()}),
        (statement(4, FINAL), statement(4, DELETED, receipt=7), {7: receipt()}),
        (statement(4, DELETED, receipt=1), statement(1, generation=1, root=ROOT_B), {}),
        (statement(4, DELETED, receipt=1), statement(1, FINAL, generation=1, root=ROOT_B), {}),
    ],
)
def test_allowed_changes(
    before: SessionStatement | None, after: SessionStatement, receipts: dict[int, ReceiptEntry]
) -> None:
    """What the rules allow passes."""
    assert check_changes({} if before is None else {"s": before}, [after], receipts) == []


@pytest.mark.parametrize(
    ("before", "after", "receipts", "reason"),
    [
        (None, statement(generation=1), {}, "begins with generation"),
        (None, statement(4, DELETED, receipt=7), {7: receipt()}, "was not there"),
        (statement(10, root=ROOT_B), statement(6), {}, "from 10 records back to 6"),
        (statement(4), statement(4, root=ROOT_B), {}, "rewritten"),
        (statement(4), statement(4), {}, "nothing new"),
        (statement(4), statement(5, generation=1), {}, "without a deletion"),
        (statement(4, FINAL), statement(5, FINAL), {}, "after it was final"),
        (statement(4, FINAL), statement(4, LIVE), {}, "after it was final"),
        (statement(4), statement(4, DELETED, receipt=7), {}, "is no receipt"),
        (statement(4), statement(4, DELETED, receipt=7), {8: receipt()}, "is no receipt"),
        (statement(4), statement(4, DELETED, receipt=7), {7: receipt(3)}, "other records"),
        (statement(4), statement(4, DELETED, receipt=7), {7: receipt(session_id="t")}, "names another session"),
        (statement(4), statement(4, DELETED, receipt=7), {7: receipt(root=ROOT_B)}, "other records"),
        (statement(4), statement(3, DELETED, receipt=7), {7: receipt(3)}, "other records"),
        (statement(4, DELETED, receipt=1), statement(4), {}, "followed by 0"),
        (statement(4, DELETED, receipt=1), statement(4, generation=2), {}, "followed by 2"),
        (statement(4, DELETED, receipt=1), statement(4, DELETED, receipt=7), {7: receipt()}, "was not there"),
        (statement(4), statement(5, root=ROOT_B), {7: receipt()}, "no statement shows"),
    ],
)
def test_forbidden_changes(
    before: SessionStatement | None, after: SessionStatement, receipts: dict[int, ReceiptEntry], reason: str
) -> None:
    """What the rules do not allow is named."""
    faults = check_changes({} if before is None else {"s": before}, [after], receipts)
    assert any(reason in fault and "session s" in fault for fault in faults), faults


def test_one_receipt_serves_one_deletion() -> None:
    """A second receipt for a session that is gone already tells of a deletion that nothing shows."""
    faults = check_changes({"s": statement(4)}, [statement(4, DELETED, receipt=7)], {7: receipt(), 8: receipt()})
    assert len(faults) == 1
    assert "entry 8" in faults[0]


def test_spelling_of_entries() -> None:
    """An anchor and a receipt, as the format says, and back."""
    anchor = AnchorEntry(time_ms=5, sessions=2, catalog=ROOT_A)
    assert anchor.encode() == f"sessionlog/anchor/1\ntime 5\nsessions 2\ncatalog {ROOT_A.hex()}\n".encode()
    assert parse_log_entry(anchor.encode()) == anchor
    entries = []
    for by, reason in ((None, None), ("Ada", None), (None, "asked to"), ("Ada", "asked to, by mail")):
        entry = ReceiptEntry(
            time_ms=6, kind=ReceiptKind.DELETE, session_id="s", records=4, root=ROOT_A, by=by, reason=reason
        )
        assert parse_log_entry(entry.encode()) == entry
        entries.append(entry)
    lines = entries[-1].encode().decode().splitlines()
    assert lines[:4] == ["sessionlog/receipt/1", "time 6", "kind delete", "session s"]
    assert lines[4:] == ["records 4", f"root {ROOT_A.hex()}", "by Ada", "reason asked to, by mail"]


def test_misspelt_entries_are_refused() -> None:
    """Lines left out, swapped, twice, or of another kind."""
    good = receipt().encode().decode()
    by = good + "by x\n"
    for text in (
        "",
        "\n",
        good[:-1],
        good.replace("time 1\n", ""),
        good.replace("time 1\n", "time 01\n"),
        good.replace("time 1\nkind delete\n", "kind delete\ntime 1\n"),
        good.replace("delete", "erase"),
        good.replace("session s", "session -"),
        good + "reason x\nby y\n",
        good + "more x\n",
        good + "by\n",
        by + "by x\n",
        good + "by  x\n",
        good + "by x \n",
        good + f"reason {'x' * (RECEIPT_TEXT_CHARS_MAX + 1)}\n",
        good.replace("receipt/1", "receipt/2"),
        good.replace("\n", "\r\n"),
    ):
        with pytest.raises(InvalidEvidence):
            parse_log_entry(text.encode())
    parse_log_entry(by.encode())
    parse_log_entry((good + f"reason {'x' * RECEIPT_TEXT_CHARS_MAX}\n").encode())
    with pytest.raises(InvalidEvidence):
        parse_log_entry(bytes(70_000))


@given(st.text(max_size=600))
def test_any_text_fits_into_a_receipt(text: str) -> None:
    """Whatever a reason says, the receipt holds a line of it that reads back."""
    entry = ReceiptEntry(
        time_ms=6, kind=ReceiptKind.DELETE, session_id="s", records=4, root=ROOT_A, reason=receipt_text(text)
    )
    assert parse_log_entry(entry.encode()) == entry


@given(st.integers(0, 70), st.integers(0, 10))
def test_a_prefix_gives_its_own_nonces_and_no_later_one(count: int, more: int) -> None:
    """The secrets of the first n records give their nonces; none of them is above a later record."""
    secret = bytes(range(32))
    of_all = list(nonces(secret, 0, count + more))
    assert of_all == [nonce(secret, seq) for seq in range(count + more)]
    prefix = prefix_secrets(secret, count)
    assert list(prefix_nonces(prefix, count)) == of_all[:count]
    assert len(prefix) == count.bit_count()
    assert secret not in prefix
    reachable = {one for part in prefix for one in _below(part)}
    assert not reachable & set(of_all[count:])


def test_nonces_are_as_published() -> None:
    """Fixed once and for all: proofs that are out there depend on them."""
    secret = bytes(range(32))
    assert [one.hex()[:16] for one in nonces(secret, 0, 3)] == NONCES
    assert nonce(secret, 2**62).hex()[:16] == NONCE_OF_2_62


def test_misshapen_prefixes_are_refused() -> None:
    """Too few secrets, too many, or one of another length."""
    prefix = prefix_secrets(bytes(32), 7)
    wrong: list[Sequence[bytes]] = [prefix[:-1], [*prefix, bytes(32)], [*prefix[:-1], b"short"], []]
    for secrets in wrong:
        with pytest.raises(InvalidEvidence):
            list(prefix_nonces(secrets, 7))


def _below(secret: bytes, levels: int = 7) -> set[bytes]:
    """Everything that one can compute from a node, some levels down."""
    found, edge = {secret}, {secret}
    for _ in range(levels):
        edge = {blake3(side, key=one).digest() for one in edge for side in (b"\x00", b"\x01")}
        found |= edge
    return found


NONCES = ["d0f15c138002384c", "264ed83a818a3d80", "36251bb5acfa81a7"]
NONCE_OF_2_62 = "abd3a8bb9c1b8bba"
