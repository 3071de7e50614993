"""Golden files: what version 1 of the format is, and what is found in every kind of damaged log."""

import shutil
import subprocess
from pathlib import Path

import anyio
import pytest

from forging import SESSION, START, USER, chained
from raw_store import RawStore
from sessionlog import (
    Damage,
    Extension,
    LogState,
    RequestConfig,
    SessionId,
    SessionStart,
    UserInput,
    audit_session,
    build_chain,
    collect_state,
    compute_hash,
    parse_record,
    user_message,
    verify_session,
)

GOLDEN = Path(__file__).parent / "golden"
SESSION_ID = SessionId(SESSION)
ENTRIES = (
    SessionStart(
        ts=1700000000000,
        format="sessionlog/1",
        session_id=SESSION_ID,
        system_prompt="You are helpful.",
        config=RequestConfig(max_tokens=1024),
        history=[],
    ),
    UserInput(ts=1700000001000, item=user_message("héllo \u2028 😀")),
)
HASHES = (
    "cb0c56b821fba9e89b97fd8f795d85dc7352595e42e2027d4da35866ff8b7853",
    "cc3a59967b631ec1c5316d167a04583beca4a8578034001fc75fce0362a844a7",
)
LINE_BYTES_MAX = 4096
"""For the file with a line that is too long; the lines of all others are shorter."""

VALID = {
    "golden-v1": (2, LogState.VALID),
    "valid-every-kind": (16, LogState.VALID),
    "valid-empty": (0, LogState.VALID),
    "torn-half-a-record": (2, LogState.TORN_TAIL),
    "torn-only-the-lf": (2, LogState.TORN_TAIL),
    "torn-nul-bytes": (3, LogState.TORN_TAIL),
    "torn-first-record": (0, LogState.TORN_TAIL),
}
BROKEN = {
    "blank-line": (Damage.BLANK_LINE, 1),
    "byte-order-mark": (Damage.BYTE_ORDER_MARK, 0),
    "crlf": (Damage.CARRIAGE_RETURN, 0),
    "crlf-in-the-middle": (Damage.CARRIAGE_RETURN, 1),
    "first-record-no-format": (Damage.FIRST_RECORD, 0),
    "first-record-other-kind": (Damage.FIRST_RECORD, 0),
    "hash-edited": (Damage.HASH, 1),
    "hash-edited-first": (Damage.HASH, 0),
    "hash-glued": (Damage.HASH, 1),
    "hex-63-digits": (Damage.HEX, 1),
    "hex-65-digits": (Damage.HEX, 1),
    "hex-no-digit": (Damage.HEX, 1),
    "hex-prev-upper-case": (Damage.HEX, 1),
    "hex-upper-case": (Damage.HEX, 1),
    "line-too-long": (Damage.LINE_TOO_LONG, 2),
    "link-edited-and-rehashed": (Damage.LINK, 2),
    "link-first-has-prev": (Damage.LINK, 0),
    "link-null": (Damage.LINK, 1),
    "lone-lf": (Damage.BLANK_LINE, 0),
    "nul-before-record": (Damage.NUL_BYTES, 1),
    "nul-line": (Damage.NUL_BYTES, 1),
    "reserialised-by-jq-c": (Damage.HASH, 1),
    "reserialised-by-jq-cs": (Damage.RESERIALISED, 0),
    "reserialised-with-spaces": (Damage.RESERIALISED, 0),
    "seq-leading-zero": (Damage.SEQ, 1),
    "seq-removed": (Damage.SEQ, 1),
    "seq-repeated": (Damage.SEQ, 2),
    "seq-starts-late": (Damage.SEQ, 0),
    "seq-swapped": (Damage.SEQ, 1),
    "seq-wrong": (Damage.SEQ, 1),
    "shape-array": (Damage.SHAPE, 0),
    "shape-no-closing-brace": (Damage.SHAPE, 1),
    "shape-not-json": (Damage.SHAPE, 1),
    "shape-other-json": (Damage.SHAPE, 1),
    "unknown-format": (Damage.UNKNOWN_FORMAT, 0),
    "unknown-format-other-hash": (Damage.UNKNOWN_FORMAT, 0),
    "wrong-session": (Damage.WRONG_SESSION, 0),
}
MEANINGLESS = {
    "duplicate-member-nested": (Damage.DUPLICATE_MEMBER, 1),
    "duplicate-member-seq": (Damage.DUPLICATE_MEMBER, 1),
    "encoding-in-unknown-member": (Damage.ENCODING, 1),
    "encoding-invalid-utf8": (Damage.ENCODING, 1),
    "entry-missing-member": (Damage.ENTRY, 1),
    "entry-unknown-kind-bad-ts": (Damage.ENTRY, 1),
    "entry-wrong-type": (Damage.ENTRY, 1),
    "envelope-no-ts": (Damage.ENVELOPE, 1),
    "envelope-ts-not-second": (Damage.ENVELOPE, 1),
    "first-record-twice": (Damage.FIRST_RECORD, 1),
    "json-control-character": (Damage.JSON, 1),
    "json-nan": (Damage.JSON, 1),
    "json-trailing-comma": (Damage.JSON, 1),
    "json-two-values": (Damage.JSON, 1),
    "limit-depth-65": (Damage.LIMIT, 1),
    "limit-float": (Damage.LIMIT, 1),
    "limit-integer": (Damage.LIMIT, 1),
    "limit-lone-surrogate": (Damage.LIMIT, 1),
    "limit-negative-integer": (Damage.LIMIT, 1),
    "provenance-bad-source-id": (Damage.PROVENANCE, 0),
    "provenance-source-missing": (Damage.PROVENANCE, 0),
}
IN_A_TEST_OF_ITS_OWN = {"provenance-two-sources"}


def _read(name: str) -> bytes:
    return (GOLDEN / f"{name}.jsonl").read_bytes()


def _store(name: str) -> RawStore:
    store = RawStore(line_bytes_max=LINE_BYTES_MAX)
    store.put(SESSION, _read(name))
    return store


def _offset(name: str, seq: int) -> int:
    """Return the byte at which line ``seq`` starts, counted by hand."""
    return sum(len(line) + 1 for line in _read(name).split(b"\n")[:seq])


def test_vectors_are_those_of_the_format() -> None:
    """The two golden records are the bytes that FORMAT section 10 gives, with its hashes."""
    assert list(chained(_read("golden-v1"))) == [START, USER]
    assert tuple(line[9:73].decode() for line in _read("golden-v1").splitlines()) == HASHES


def test_golden_log_is_the_shared_one(shared: Path) -> None:
    """The golden log is, byte for byte, the one beside the normative format."""
    assert _read("golden-v1") == (shared / "golden-v1.jsonl").read_bytes()


def test_building_gives_the_golden_bytes() -> None:
    """Chaining the two entries makes the golden log, byte for byte."""
    records = build_chain(ENTRIES)
    assert b"".join(record.line + b"\n" for record in records) == _read("golden-v1")
    assert tuple(record.hash for record in records) == HASHES
    assert compute_hash(None, 0, ENTRIES[0]) == HASHES[0]
    assert compute_hash(records[0].hash, 1, ENTRIES[1]) == HASHES[1]


def test_parsing_gives_the_golden_entries() -> None:
    """The golden lines parse and decode to the two entries."""
    lines = _read("golden-v1").split(b"\n")[:-1]
    assert [parse_record(line).entry for line in lines] == list(ENTRIES)


@pytest.mark.parametrize("name", ["golden-v1", "valid-every-kind"])
def test_b3sum_agrees(name: str) -> None:
    """The one-liner of FORMAT section 2 gives every record's hash, where ``b3sum`` is at hand."""
    if (b3sum := shutil.which("b3sum")) is None:
        pytest.skip("b3sum is not installed; forging.chained checks the same with the blake3 package")
    for line in _read(name).splitlines():
        done = subprocess.run(
            [b3sum, "--derive-key", "sessionlog v1 record"], input=line[75:], capture_output=True, check=True
        )
        assert done.stdout[:64] == line[9:73]


def test_every_kind_folds() -> None:
    """The log with every kind in it, unknown ones too, decodes and folds to the state that it spells out."""
    state = collect_state(parse_record(line) for line in _read("valid-every-kind").splitlines())
    assert state.system_prompt == "You are helpful."
    assert state.config == RequestConfig(model="m2")
    assert [type(item).__name__ for item in state.history] == [
        *("Message", "Message", "Reasoning", "Message", "ToolCall", "ToolCall", "ToolResult", "Message")
    ]
    assert (state.turn_count, state.locked_prefix_len, state.last_run_interrupted) == (2, 4, True)
    assert [call.call_id for call in state.dangling_tool_calls] == ["c2"]
    assert [usage.input_total_tokens for usage in state.usage_history] == [900]
    assert [(extension.domain, extension.payload) for extension in state.extensions] == [
        ("app", {"z": [1, 2.5, None, True, -(2**63), 2**64 - 1], "a": {}})
    ]
    assert isinstance(state.extensions[0], Extension)


@pytest.mark.parametrize(("name", "record_count", "state"), [(name, *rest) for name, rest in VALID.items()])
def test_nothing_is_found_in_valid_logs(name: str, record_count: int, state: LogState) -> None:
    """Verify and audit find nothing in a valid log, nor in one with a torn tail, which its state names."""
    for check in (verify_session, audit_session):
        report = anyio.run(check, _store(name), SESSION_ID)
        assert report.findings == ()
        assert report.ok
        assert (report.verdict.record_count, report.verdict.state) == (record_count, state)
        whole = _offset(name, record_count)
        assert report.verdict.valid_bytes == whole
        assert report.verdict.torn_bytes == len(_read(name)) - whole
        assert report.verdict.offset == (whole if state is LogState.TORN_TAIL else None)


@pytest.mark.parametrize(("name", "damage", "seq"), [(name, *rest) for name, rest in BROKEN.items()])
def test_broken_logs_are_named(name: str, damage: Damage, seq: int) -> None:
    """Verify and audit name the first bad record of a broken log: what is wrong, its position, line and offset."""
    for check in (verify_session, audit_session):
        report = anyio.run(check, _store(name), SESSION_ID)
        assert not report.ok
        assert len(report.findings) == 1
        finding, verdict = report.findings[0], report.verdict
        assert (finding.damage, finding.seq, finding.line) == (damage, seq, seq + 1)
        assert finding.offset == _offset(name, seq)
        assert finding.session_id == SESSION_ID
        assert (verdict.state, verdict.record_count, verdict.valid_bytes) == (LogState.BROKEN, seq, finding.offset)
        assert (verdict.damage, verdict.seq, verdict.line, verdict.offset, verdict.reason) == (
            *(finding.damage, finding.seq, finding.line, finding.offset, finding.reason),
        )


@pytest.mark.parametrize(("name", "damage", "seq"), [(name, *rest) for name, rest in MEANINGLESS.items()])
def test_wrong_meaning_is_named(name: str, damage: Damage, seq: int) -> None:
    """Audit names the record whose bytes chain and whose meaning is wrong; verify, which reads no JSON, passes it."""
    assert anyio.run(verify_session, _store(name), SESSION_ID).ok
    report = anyio.run(audit_session, _store(name), SESSION_ID)
    assert report.verdict.state is LogState.VALID
    assert [(finding.damage, finding.seq, finding.line, finding.offset) for finding in report.findings] == [
        (damage, seq, seq + 1, _offset(name, seq))
    ]
    assert not report.ok


def test_two_sources_are_one_too_many() -> None:
    """A session that names both kinds of source is told so, and each of them is followed."""
    report = anyio.run(audit_session, _store("provenance-two-sources"), SESSION_ID)
    assert [finding.damage for finding in report.findings] == [Damage.PROVENANCE] * 3
    assert "both" in report.findings[0].reason


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("byte-order-mark", "byte order mark"),
        ("crlf", "CR LF"),
        ("hex-63-digits", "63 digits"),
        ("hex-65-digits", "65 digits"),
        ("hex-upper-case", "upper-case"),
        ("reserialised-by-jq-c", "jq"),
        ("reserialised-by-jq-cs", "jq"),
        ("reserialised-with-spaces", "jq"),
        ("wrong-session", "another"),
        ("unknown-format", "sessionlog/2"),
        ("unknown-format-other-hash", "sessionlog/2"),
        ("seq-removed", "removed"),
        ("nul-before-record", "300 NUL"),
    ],
)
def test_reasons_say_what_happened(name: str, says: str) -> None:
    """The reason tells a reader what was done to the file, in words."""
    assert says in anyio.run(verify_session, _store(name), SESSION_ID).findings[0].reason


def test_each_kind_of_damage_has_a_golden_file() -> None:
    """Every file here is checked by a test, and every kind of damage that a file can show has one."""
    names = {path.stem for path in GOLDEN.glob("*.jsonl")}
    assert names == {*VALID, *BROKEN, *MEANINGLESS, *IN_A_TEST_OF_ITS_OWN}
    shown = {damage for damage, _ in (BROKEN | MEANINGLESS).values()}
    assert shown == set(Damage) - {Damage.FILE}
