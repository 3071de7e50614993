"""Proofs: what each shows to somebody who has neither the store nor its anchors, and everything that must not pass."""

import contextlib
from pathlib import Path

import anyio
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keeper import Keeper

from forging import chained, forged_line, forged_log
from sessionlog import FileStore, parse_record
from sessionlog.evidence import (
    CheckedProof,
    InvalidEvidence,
    Proof,
    ProofKind,
    Proved,
    SessionState,
    TriePath,
    check_proof,
    parse_policy,
    parse_proof,
    parse_tlog_proof,
    prove_absent,
    prove_complete,
    prove_receipt,
    prove_record,
)
from sessionlog.evidence.anchor_catalog import read_secret
from sessionlog.evidence.anchor_files import EvidenceDirectory
from sessionlog.evidence.nonces import nonce, nonces


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    keeper = Keeper(tmp_path)
    keeper.add_witness()
    keeper.write("one", "a", "b", "c", "d", "e")
    keeper.write("two", "secret of two")
    keeper.write("three", "x")
    keeper.anchor_witnessed()
    return keeper


def prove(keeper: Keeper, session_id: str, seq: int | None = None) -> Proved:
    async def run() -> Proved:
        async with FileStore(keeper.store) as store:
            if seq is None:
                return await prove_complete(store, keeper.anchors, session_id)
            return await prove_record(store, keeper.anchors, session_id, seq)

    return anyio.run(run)


def check(keeper: Keeper, proved: Proved, records: bytes | None = None) -> CheckedProof:
    return check_proof(proved.proof, parse_policy(keeper.policy()), proved.records if records is None else records)


def with_extra(proof: bytes, **changes: object) -> bytes:
    """Return a proof file with something else in what it says below the anchor entry."""
    outer = parse_tlog_proof(proof)
    inner = msgspec.structs.replace(parse_proof(outer.extra or b""), **changes)
    return msgspec.structs.replace(outer, extra=inner.encode()).encode()


@pytest.mark.parametrize("seq", range(6))
def test_a_record(keeper: Keeper, seq: int) -> None:
    """Every record is proved at its position, in 1 to 4 kB; no other line passes for it, nor at another position."""
    proved = prove(keeper, "one", seq)
    assert 1000 < len(proved.proof) < 4000
    checked = check(keeper, proved)
    assert (checked.kind, checked.session_id, checked.seq) == (ProofKind.RECORD, "one", seq)
    assert checked.statement is not None
    assert (checked.statement.records, checked.statement.state) == (6, SessionState.LIVE)
    assert checked.checkpoint.checkpoint.size == 1
    assert [one.key.name for one in checked.checkpoint.cosignatures] == ["example.com/witness"]
    lines = keeper.log("one").read_bytes().splitlines()
    assert proved.records == lines[seq] + b"\n"
    record = parse_record(lines[seq])
    forged = forged_line(None if record.prev_hash is None else record.prev_hash.encode(), seq, b'{"kind":"x","ts":1}')
    for other in (*(line for line in lines if line != lines[seq]), forged, b"", proved.records * 2):
        with pytest.raises(InvalidEvidence):
            check(keeper, proved, other)
    with pytest.raises(InvalidEvidence, match="travel beside"):
        check_proof(proved.proof, parse_policy(keeper.policy()))


def test_a_proof_gives_nothing_else_away(keeper: Keeper) -> None:
    """Neither a neighbour's hash, nor its nonce, nor the secret, nor another session's id stands in a proof."""
    proof = parse_tlog_proof(prove(keeper, "one", 2).proof)
    shown = proof.extra or b""
    secret = read_secret(EvidenceDirectory(keeper.anchors), "one")
    assert secret is not None
    told = parse_proof(shown)
    assert told.nonce == nonce(secret, 2)
    for seq, line in enumerate(keeper.log("one").read_bytes().splitlines()):
        record_hash = parse_record(line).hash
        assert bytes.fromhex(record_hash) not in told.hashes
        assert record_hash.encode() not in shown
        assert seq == 2 or nonce(secret, seq) not in (told.nonce, *told.hashes)
    said = shown + (told.statement or b"") + told.entry
    assert b"two" not in said
    assert b"three" not in said


def test_a_whole_session(keeper: Keeper) -> None:
    """All of it, and that it is all: one record fewer, more, or another one is refused."""
    proved = prove(keeper, "one")
    assert proved.records == keeper.log("one").read_bytes()
    checked = check(keeper, proved)
    assert (checked.kind, checked.session_id, checked.seq) == (ProofKind.COMPLETE, "one", None)
    entries = list(chained(proved.records))
    more = b'{"kind":"turn_end","ts":1,"turn_count":1}'
    for other in (
        forged_log(*entries[:-1]),
        forged_log(*entries, more),
        forged_log(*entries[:-1], more),
        proved.records[:-1],
        proved.records + b"x",
        b"",
        keeper.log("two").read_bytes(),
    ):
        with pytest.raises(InvalidEvidence):
            check(keeper, proved, other)


def test_a_whole_session_does_not_open_what_comes_later(keeper: Keeper) -> None:
    """The nonces that it discloses end with it, and the session goes on under its proof."""
    proved = prove(keeper, "one")
    secret = read_secret(EvidenceDirectory(keeper.anchors), "one")
    assert secret is not None
    told = parse_proof(parse_tlog_proof(proved.proof).extra or b"")
    assert secret not in told.secrets
    assert not set(told.secrets) & set(nonces(secret, 6, 64))
    keeper.write("one", "later")
    keeper.anchor_witnessed()
    check(keeper, proved)
    assert prove(keeper, "one", 6).records


def test_an_absent_session(keeper: Keeper) -> None:
    """One that never was is proved absent; one that is, or was, cannot be."""
    checked = check(keeper, prove_absent(keeper.anchors, "nobody"))
    assert (checked.kind, checked.session_id, checked.statement) == (ProofKind.ABSENT, "nobody", None)
    with pytest.raises(InvalidEvidence, match="is in the catalog"):
        prove_absent(keeper.anchors, "one")
    absent = prove_absent(keeper.anchors, "nobody").proof
    with pytest.raises(InvalidEvidence):
        check(keeper, Proved(with_extra(absent, session_id="one")))
    keeper.delete("two", reason="asked to")
    keeper.anchor_witnessed()
    with pytest.raises(InvalidEvidence, match="prove its receipt, 1"):
        prove_absent(keeper.anchors, "two")


def test_a_receipt(keeper: Keeper) -> None:
    """What was deleted, by whom and why; an anchor is none."""
    keeper.delete("two", reason="asked to", by="Ada")
    keeper.anchor_witnessed()
    checked = check(keeper, prove_receipt(keeper.anchors, 1))
    assert checked.receipt is not None
    assert (checked.session_id, checked.receipt.by, checked.receipt.reason) == ("two", "Ada", "asked to")
    for index in (0, 2, 9, -1):
        with pytest.raises(InvalidEvidence):
            prove_receipt(keeper.anchors, index)
    with pytest.raises(InvalidEvidence, match="was deleted"):
        prove(keeper, "two", 0)


def test_a_proof_of_an_older_anchor_is_not_of_the_newest_catalog(keeper: Keeper) -> None:
    """The entry must be the last one: an older catalog cannot be passed off as the state of a newer checkpoint."""
    old = parse_tlog_proof(prove(keeper, "one", 2).proof)
    keeper.write("two", "more")
    keeper.anchor_witnessed()
    new = parse_tlog_proof(prove(keeper, "one", 2).proof)
    kept = parse_proof(old.extra or b"")
    moved = msgspec.structs.replace(parse_proof(new.extra or b""), entry=kept.entry)
    for mixed in (
        msgspec.structs.replace(new, extra=old.extra),
        msgspec.structs.replace(new, extra=old.extra, index=0, hashes=[]),
        msgspec.structs.replace(new, extra=moved.encode(), index=0),
        msgspec.structs.replace(old, checkpoint=new.checkpoint),
    ):
        with pytest.raises(InvalidEvidence):
            check(keeper, Proved(mixed.encode(), prove(keeper, "one", 2).records))


def test_parts_of_one_proof_in_another(keeper: Keeper) -> None:
    """Statement, way, nonce, position and kind belong together."""
    one, two = prove(keeper, "one", 2), prove(keeper, "two", 1)
    other = parse_proof(parse_tlog_proof(two.proof).extra or b"")
    changes: list[dict[str, object]] = [
        {"statement": other.statement},
        {"path": other.path},
        {"path": TriePath(None, ())},
        {"statement": other.statement, "path": other.path},
        {"nonce": other.nonce},
        {"seq": 3},
        {"hashes": other.hashes},
        {"entry": other.entry + b"x"},
    ]
    for change in changes:
        for records in (one.records, two.records):
            with pytest.raises(InvalidEvidence):
                check(keeper, Proved(with_extra(one.proof, **change), records))


def test_the_store_must_hold_what_was_anchored(keeper: Keeper) -> None:
    """No proof is made of a log that was cut or rewritten, or of a record that is not anchored yet."""
    keeper.write("one", "not anchored")
    with pytest.raises(InvalidEvidence, match="not anchored"):
        prove(keeper, "one", 6)
    keeper.cut("one", 3)
    path = keeper.log("two")
    path.write_bytes(forged_log(*[entry.replace(b"secret", b"public") for entry in chained(path.read_bytes())]))
    for session_id in ("one", "two"):
        for seq in (0, None):
            with pytest.raises(InvalidEvidence, match="audit the store"):
                prove(keeper, session_id, seq)
    with pytest.raises(InvalidEvidence, match="is not anchored"):
        prove(keeper, "nobody")


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", ["record", "complete", "absent"])
def test_every_flipped_byte_of_a_proof_is_refused(keeper: Keeper, kind: str, step: int) -> None:
    """And of the records beside it. A witness whose name was changed is not counted, so the quorum is not met."""
    proved = {
        "record": lambda: prove(keeper, "one", 2),
        "complete": lambda: prove(keeper, "two"),
        "absent": lambda: prove_absent(keeper.anchors, "nobody"),
    }[kind]()
    check(keeper, proved)
    for at in range(0, len(proved.proof), step):
        changed = proved.proof[:at] + bytes([proved.proof[at] ^ 1]) + proved.proof[at + 1 :]
        with pytest.raises(InvalidEvidence):
            check(keeper, Proved(changed, proved.records))
    outer = parse_tlog_proof(proved.proof)
    extra = outer.extra or b""
    for at in range(0, len(extra), step):
        inner = extra[:at] + bytes([extra[at] ^ 1]) + extra[at + 1 :]
        changed = msgspec.structs.replace(outer, extra=inner).encode()
        with pytest.raises(InvalidEvidence):
            check(keeper, Proved(changed, proved.records))
    for at in range(0, len(proved.records), step):
        lines = proved.records[:at] + bytes([proved.records[at] ^ 1]) + proved.records[at + 1 :]
        with pytest.raises(InvalidEvidence):
            check(keeper, proved, lines)


LINES = Proof(
    kind=ProofKind.RECORD, entry=b"entry", statement=b"statement", seq=1, nonce=bytes(32), hashes=[bytes(32)] * 2
).encode()


@settings(max_examples=150)
@given(st.data())
def test_hostile_lines(data: st.DataObject) -> None:
    """Lines left out, doubled, swapped and spliced are refused, or read back as exactly what they were."""
    lines = LINES.splitlines(keepends=True)
    order = data.draw(st.lists(st.integers(0, len(lines) - 1), max_size=len(lines) + 2))
    hostile = b"".join(lines[n] for n in order) + data.draw(
        st.sampled_from([b"", b"\n", b"seq 1\n", b"x", b"branch 1\n", b"leaf a b\n", b"hash\n", b"secret  \n"])
    )
    with contextlib.suppress(InvalidEvidence):
        assert parse_proof(hostile).encode() == hostile


def test_other_kinds_and_headers() -> None:
    """Nothing, another format, another kind, and too many lines."""
    for extra in (b"", b"\n", b"sessionlog/proof/2 record\n", b"sessionlog/proof/1 more\n", b"sessionlog/proof/1\n"):
        with pytest.raises(InvalidEvidence):
            parse_proof(extra)
    with pytest.raises(InvalidEvidence, match="lines"):
        parse_proof(LINES + b"hash x\n" * 600)
