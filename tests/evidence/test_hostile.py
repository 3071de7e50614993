"""Hostile bytes: every parser gives a value or raises InvalidEvidence, and nothing forged passes."""

from collections.abc import Callable

import pytest
from evidence_vectors import CHECKPOINT_TEXT, COSIGNED, ENTRIES, LOG, LOG_VKEY, PROOF_OF_3, WITNESS, WITNESS_VKEY
from hypothesis import given, settings
from hypothesis import strategies as st

from sessionlog.evidence import (
    InvalidEvidence,
    Tile,
    open_checkpoint,
    parse_add_checkpoint,
    parse_answer,
    parse_checkpoint,
    parse_entry_tile,
    parse_log_entry,
    parse_note,
    parse_policy,
    parse_statements,
    parse_tlog_proof,
    parse_vkey,
)

STATEMENT = f"sessionlog/session/1\ns\n0\n4\n{'ab' * 32}\ndeleted 7\n".encode()
ENTRY = f"sessionlog/receipt/1\ntime 1\nkind delete\nsession s\nrecords 4\nroot {'ab' * 32}\nby x\nreason y\n".encode()
POLICY = f"log {LOG_VKEY}\nwitness w {WITNESS_VKEY}\ngroup g any w\nquorum g\n".encode()
TILE = b"".join(len(entry).to_bytes(2, "big") + entry for entry in ENTRIES)

PARSERS: dict[str, tuple[Callable[[bytes], object], bytes]] = {
    "note": (parse_note, COSIGNED),
    "checkpoint": (parse_checkpoint, CHECKPOINT_TEXT.encode()),
    "proof": (parse_tlog_proof, PROOF_OF_3),
    "policy": (parse_policy, POLICY),
    "statements": (parse_statements, STATEMENT * 2),
    "entry": (parse_log_entry, ENTRY),
    "tile": (lambda data: parse_entry_tile(data, Tile("entries", 0, 7)), TILE),
    "request": (parse_add_checkpoint, b"old 5\n" + b"A" * 43 + b"=\n\n" + COSIGNED),
    "answer": (parse_answer, b"200\n" + COSIGNED.rpartition(b"\n\n")[2]),
    "vkey": (lambda data: parse_vkey(data.decode("utf-8", "surrogateescape")), LOG_VKEY.encode()),
}
spliced = st.sampled_from([b"", b"\n", b"\n\n", b"\x00", b"\r\n", b" ", b"\xff", "—".encode(), b"+", b"=", b"9" * 5000])


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=150)
@given(data=st.data())
def test_parsers_never_crash(name: str, data: st.DataObject) -> None:
    """Random bytes, and good ones cut, doubled and spliced, give a value or InvalidEvidence."""
    parse, good = PARSERS[name]
    source = data.draw(st.sampled_from(["random", "spliced"]))
    if source == "random":
        hostile = data.draw(st.binary(max_size=200))
    else:
        start, end = sorted(data.draw(st.lists(st.integers(0, len(good)), min_size=2, max_size=2)))
        hostile = good[:start] + data.draw(spliced) + good[data.draw(st.sampled_from([start, end])) :]
    reason = ""
    try:
        parse(hostile)
    except InvalidEvidence as refusal:
        reason = str(refusal)
    assert len(reason) < 500
    assert reason.isprintable()


@settings(max_examples=200)
@given(st.integers(0, len(COSIGNED)), st.integers(0, len(COSIGNED)), st.binary(max_size=5))
def test_no_spliced_checkpoint_says_anything_else(start: int, end: int, middle: bytes) -> None:
    """Whatever is cut out and put in, a checkpoint that opens says what the log signed."""
    hostile = COSIGNED[:start] + middle + COSIGNED[end:]
    try:
        opened = open_checkpoint(hostile, [LOG.key], [WITNESS.key])
    except InvalidEvidence:
        return
    assert opened.checkpoint.text().decode() == CHECKPOINT_TEXT
