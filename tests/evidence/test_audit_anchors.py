"""Auditing against anchors: what an attacker who knows the format, and computes every hash anew, cannot hide."""

import shutil
from collections.abc import Callable
from pathlib import Path

import anyio
import msgspec
import pytest
from keeper import Keeper

from forging import chained, forged_log
from sessionlog import FileStore, audit_session
from sessionlog.evidence import (
    AnchorAudit,
    AnchorFault,
    AuditState,
    InvalidEvidence,
    PrivateKey,
    ReceiptEntry,
    ReceiptKind,
    SessionState,
    sign_checkpoint,
)
from sessionlog.evidence.checkpoints import parse_checkpoint

DAY_S = 86_400
REPLY = b'{"kind":"user_input","ts":%d,"item":{"type":"message","role":"user","content":[{"type":"text","text":"%s"}]}}'


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    keeper = Keeper(tmp_path)
    keeper.write("one", "a", "b", "c", "d")
    keeper.write("two", "e", "f")
    return keeper


def faults(audit: AnchorAudit) -> set[tuple[AnchorFault, str | None]]:
    return {(one.fault, one.session_id) for one in audit.findings}


def forged(keeper: Keeper) -> bytes:
    return REPLY % (keeper.now_ms, b"forged")


Edit = Callable[[list[bytes], bytes], list[bytes]]
EDITS: dict[str, Edit] = {
    "edit": lambda entries, _: [*entries[:2], entries[2].replace(b'"b"', b'"x"'), *entries[3:]],
    "remove from the middle": lambda entries, _: [*entries[:2], *entries[3:]],
    "insert": lambda entries, forged: [*entries[:2], forged, *entries[2:]],
    "reorder": lambda entries, _: [*entries[:2], entries[3], entries[2], *entries[4:]],
    "duplicate": lambda entries, _: [*entries[:3], *entries[2:]],
    "cut the tail": lambda entries, _: entries[:-1],
    "cut and append": lambda entries, forged: [*entries[:-1], forged],
    "rewrite from the start": lambda entries, forged: [
        entries[0].replace(b'"config":{}', b'"config":{"top_k":1}'),
        forged,
    ],
    "append": lambda entries, forged: [*entries, forged],
}


@pytest.mark.parametrize("is_final", [False, True], ids=["live", "final"])
@pytest.mark.parametrize("edit", EDITS)
def test_nine_edits(keeper: Keeper, edit: str, is_final: bool) -> None:
    """All hashes right: an audit of the chain alone passes each; the anchors show each, but an append to a live one."""
    keeper.add_witness()
    since = keeper.anchor_witnessed(finalize=["one"] if is_final else [])
    path = keeper.log("one")
    path.write_bytes(forged_log(*EDITS[edit](list(chained(path.read_bytes())), forged(keeper))))

    async def chain_alone() -> bool:
        async with FileStore(keeper.store) as store:
            return (await audit_session(store, "one")).ok

    assert anyio.run(chain_alone)
    audit = keeper.audit(since=since, max_age_s=DAY_S)
    if edit == "append" and not is_final:
        assert (audit.state, audit.unanchored_records) == (AuditState.PROVED, 1)
        return
    assert audit.state is AuditState.DISPROVED
    assert {one.session_id for one in audit.findings} == {"one"}
    told = {
        "cut the tail": AnchorFault.CUT,
        "append": AnchorFault.APPENDED,
        "remove from the middle": AnchorFault.CUT,
        "rewrite from the start": AnchorFault.CUT,
    }
    assert audit.findings[0].fault is told.get(edit, AnchorFault.REWRITTEN)


def test_an_honest_store_is_proved_or_consistent(keeper: Keeper) -> None:
    """Proved only with an earlier checkpoint, a greatest age and a witness; what is missing is said."""
    keeper.anchor()
    audit = keeper.audit()
    assert (audit.state, audit.findings, len(audit.missing)) == (AuditState.CONSISTENT, [], 3)
    assert (audit.anchors, audit.sessions, audit.deleted, audit.unanchored_records) == (1, 2, 0, 0)
    assert len(keeper.audit(since=keeper.checkpoint(), max_age_s=DAY_S).missing) == 1
    keeper.write("one", "more")
    keeper.write("three", "new", "session")
    keeper.delete("two")
    keeper.anchor()
    keeper.write("one", "and", "more")
    audit = keeper.audit(since=audit.note, max_age_s=DAY_S)
    assert audit.findings == []
    assert (audit.anchors, audit.deleted, audit.unanchored_records, audit.unanchored_sessions) == (2, 1, 2, 1)


def test_with_a_witness_it_is_proved(keeper: Keeper) -> None:
    """The witness's time is told; a cosignature that is too old disproves."""
    keeper.add_witness()
    since = keeper.anchor_witnessed()
    audit = keeper.audit(since=since, max_age_s=DAY_S)
    assert audit.state is AuditState.PROVED
    assert list(audit.witnesses) == ["example.com/witness"]
    keeper.now_ms += 2 * DAY_S * 1000
    assert faults(keeper.audit(since=since, max_age_s=DAY_S)) == {(AnchorFault.STALE, None)}


def test_records_that_stay_unanchored_too_long(keeper: Keeper) -> None:
    """Of an anchored session and of one that never was: each is named."""
    keeper.anchor()
    keeper.write("one", "late")
    keeper.write("three", "never")
    keeper.now_ms += 2 * DAY_S * 1000
    assert faults(keeper.audit(max_age_s=DAY_S)) == {(AnchorFault.STALE, "one"), (AnchorFault.STALE, "three")}
    assert keeper.audit().state is AuditState.CONSISTENT


def test_a_session_that_was_removed(keeper: Keeper) -> None:
    """Without a receipt, it is named; with one that is anchored, it is counted."""
    keeper.anchor()
    kept = keeper.log("two").read_bytes()
    keeper.log("two").unlink()
    assert faults(keeper.audit()) == {(AnchorFault.REMOVED, "two")}
    keeper.log("two").write_bytes(kept)
    keeper.delete("two")
    keeper.anchor()
    assert keeper.audit().findings == []


def test_damage_and_a_lost_secret(keeper: Keeper) -> None:
    """A log that does not verify, and one that cannot be compared, are each named."""
    keeper.anchor()
    path = keeper.log("one")
    path.write_bytes(path.read_bytes().replace(b'"b"', b'"x"'))
    (keeper.anchors / "blind" / "two").write_text("lost")
    assert faults(keeper.audit()) == {(AnchorFault.DAMAGED, "one"), (AnchorFault.SECRET, "two")}


def test_store_and_anchors_rolled_back_together(keeper: Keeper) -> None:
    """Only who saw more finds it: by the checkpoint of the last audit."""
    keeper.anchor()
    restore = keeper.keep("anchors", "keys", "store")
    keeper.write("one", "x")
    keeper.anchor()
    since = keeper.checkpoint()
    restore()
    assert keeper.audit().state is AuditState.CONSISTENT
    audit = keeper.audit(since=since)
    assert faults(audit) == {(AnchorFault.HISTORY, None)}
    assert "rolled back" in audit.findings[0].reason


def test_a_split_view(keeper: Keeper) -> None:
    """Two histories under one key: whoever saw the one refuses the other, at any size."""
    keeper.anchor()
    restore = keeper.keep("anchors", "keys", "store")
    keeper.write("one", "for you")
    keeper.anchor()
    since = keeper.checkpoint()
    restore()
    for text in ("for them", "and more"):
        keeper.write("one", text)
        keeper.anchor()
        audit = keeper.audit(since=since)
        assert faults(audit) == {(AnchorFault.HISTORY, None)}
        assert "another history" in audit.findings[0].reason


def test_a_stolen_log_key_without_a_witness(keeper: Keeper) -> None:
    """Whoever has the log's key signs what he likes, but the witness did not see it."""
    keeper.add_witness()
    keeper.anchor_witnessed()
    path = keeper.log("one")
    path.write_bytes(forged_log(*list(chained(path.read_bytes()))[:-1]))
    shutil.rmtree(keeper.anchors)
    (keeper.keys / "last").unlink()
    keeper.anchor()
    audit = keeper.audit()
    assert faults(audit) == {(AnchorFault.CHECKPOINT, None)}
    assert "quorum" in audit.findings[0].reason


def test_a_statement_that_goes_4_10_6(keeper: Keeper) -> None:
    """Between two audits, with everything signed in order: the replay finds the step back."""
    keeper.anchor()
    since = keeper.checkpoint()
    four = keeper.statement("one")
    ten = msgspec.structs.replace(four, records=10, root=bytes(32))
    six = msgspec.structs.replace(four, records=6, root=bytes(32))
    for forged in (ten, six, four):
        keeper.forge_anchor([forged])
    audit = keeper.audit(since=since)
    assert audit.state is AuditState.DISPROVED
    reasons = [one.reason for one in audit.findings if one.fault is AnchorFault.STATEMENT]
    assert any("from 10 records back to 6" in reason for reason in reasons)


def test_forged_deletions(keeper: Keeper) -> None:
    """Deleted without a receipt, by the receipt of another, or by one that names other records."""
    keeper.anchor()
    one = keeper.statement("one")
    log_size = 1
    for receipt in (None, ("two", one.records), ("one", one.records - 1)):
        receipts = []
        if receipt is not None:
            kind = ReceiptKind.DELETE
            session_id, records = receipt
            receipts = [
                ReceiptEntry(time_ms=keeper.now_ms, kind=kind, session_id=session_id, records=records, root=one.root)
            ]
        restore = keeper.keep("anchors", "keys")
        gone = msgspec.structs.replace(one, state=SessionState.DELETED, receipt=log_size)
        keeper.forge_anchor([gone], receipts=receipts)
        assert (AnchorFault.STATEMENT, None) in faults(keeper.audit())
        restore()


def test_an_accepted_loss_fails_unless_the_auditor_accepts_it_too(keeper: Keeper) -> None:
    """The keeper cannot excuse himself."""
    keeper.anchor()
    two = keeper.statement("two")
    receipt = ReceiptEntry(
        time_ms=keeper.now_ms, kind=ReceiptKind.ACCEPT_LOSS, session_id="two", records=two.records, root=two.root
    )
    keeper.log("two").unlink()
    keeper.forge_anchor([msgspec.structs.replace(two, state=SessionState.DELETED, receipt=1)], receipts=[receipt])
    assert faults(keeper.audit()) == {(AnchorFault.LOSS, "two")}
    assert keeper.audit(accepted=[1]).findings == []


def test_a_wrong_count_of_sessions(keeper: Keeper) -> None:
    """What an anchor says of its own catalog is computed anew."""
    keeper.anchor()
    one = keeper.statement("one")
    keeper.forge_anchor([msgspec.structs.replace(one, state=SessionState.FINAL)], sessions=1)
    assert faults(keeper.audit()) == {(AnchorFault.HISTORY, None)}


def test_every_file_of_the_anchors_counts(keeper: Keeper) -> None:
    """A file that is missing, or of which a byte was flipped, is found; the cache, the lock and the copies aside."""
    keeper.anchor()
    keeper.write("one", "x")
    keeper.anchor()
    files = [
        path
        for path in sorted(keeper.anchors.rglob("*"))
        if path.is_file()
        and path.name not in ("cache", "lock", "policy")
        # tiles of the log as it was, and the older checkpoints, are there for others
        and "/checkpoints/" not in str(path)
        and not str(path).endswith(".p/1")
    ]
    assert len(files) == 7
    for path in files:
        kept = path.read_bytes()
        for at in range(0, len(kept), max(1, len(kept) // 25)):
            path.write_bytes(kept[:at] + bytes([kept[at] ^ 1]) + kept[at + 1 :])
            assert keeper.audit().state is AuditState.DISPROVED, (path, at)
        path.unlink()
        if path.name == "checkpoint":
            with pytest.raises(InvalidEvidence, match="no checkpoint"):
                keeper.audit()
        else:
            assert keeper.audit().state is AuditState.DISPROVED, path
        path.write_bytes(kept)
    assert keeper.audit().findings == []


def test_the_head_of_one_log_with_the_root_of_another(keeper: Keeper, tmp_path: Path) -> None:
    """A checkpoint that another log signed, or that names another log, is refused under the auditor's policy."""
    keeper.anchor()
    checkpoint = parse_checkpoint(keeper.checkpoint().rpartition(b"\n\n")[0] + b"\n")
    other = PrivateKey.generate("example.com/other")
    foreign = sign_checkpoint(msgspec.structs.replace(checkpoint, origin="example.com/other"), other)
    (keeper.anchors / "checkpoint").write_bytes(foreign)
    assert faults(keeper.audit()) == {(AnchorFault.CHECKPOINT, None)}
    with pytest.raises(InvalidEvidence):
        keeper.audit(since=foreign)
