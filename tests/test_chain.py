"""The chain: linking, and finding the first record that does not fit, whatever was done to the bytes."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forging import SESSION, START, TURN_END, USER, chained, forged_line, forged_lines, forged_log
from sessionlog import (
    CorruptLog,
    Damage,
    EntryHash,
    Extension,
    HashedEntry,
    Head,
    InvalidEntry,
    LogEntry,
    LogState,
    RequestConfig,
    SessionId,
    SessionStart,
    TurnEnd,
    UserInput,
    Verdict,
    build_chain,
    compute_hash,
    link,
    parse_record,
    user_message,
    verify_chain,
)
from sessionlog.binding import bound_session
from sessionlog.chain import BINDING_BYTES_MAX, LogScanner, link_all
from sessionlog.scanner import TOLD_BYTES_MAX
from strategies import chains, later_entries

SESSION_ID = SessionId(SESSION)
LINES = forged_lines(START, USER, TURN_END)
LOG = forged_log(START, USER, TURN_END)
STARTS = [0, len(LINES[0]) + 1, len(LINES[0]) + len(LINES[1]) + 2]
HEADS = [Head(seq, EntryHash(line[9:73].decode())) for seq, line in enumerate(LINES)]


def start(session_id: str = "s", format_: str = "sessionlog/1") -> SessionStart:
    return SessionStart(ts=1, format=format_, session_id=SessionId(session_id), config=RequestConfig(), history=[])


def scan(
    data: bytes,
    *,
    sizes: list[int] | None = None,
    line_bytes_max: int = 4096,
    session_id: SessionId | None = SESSION_ID,
) -> Verdict:
    """Feed ``data`` in chunks of ``sizes``, then the rest at once."""
    scanner = LogScanner(session_id, line_bytes_max=line_bytes_max)
    try:
        for size in sizes or []:
            scanner.feed_into(data[:size], None)
            data = data[size:]
        scanner.feed_into(data, None)
    except CorruptLog as fault:
        return scanner.verdict(fault)
    return scanner.verdict()


def broken(seq: int, damage: Damage, data: bytes = LOG) -> tuple[object, ...]:
    """Return what a verdict must say of a log that breaks at line ``seq``, the lines before it being good."""
    offset = sum(len(line) + 1 for line in data.split(b"\n")[:seq])
    return (LogState.BROKEN, seq, offset, HEADS[seq - 1] if seq else None, seq, seq + 1, offset, damage)


def facts(verdict: Verdict) -> tuple[object, ...]:
    assert (verdict.reason is None) is (verdict.state is LogState.VALID and verdict.record_count > 0)
    return (
        *(verdict.state, verdict.record_count, verdict.valid_bytes, verdict.head, verdict.seq, verdict.line),
        *(verdict.offset, verdict.damage),
    )


VALID = (LogState.VALID, 3, len(LOG), HEADS[2], None, None, None, None)


# --- linking


@given(chains())
def test_what_is_linked_verifies(records: list[HashedEntry]) -> None:
    """Each record of a built chain follows the one before, and the chain verifies."""
    head: Head | None = None
    for seq, record in enumerate(records):
        assert record.seq == seq
        assert record.prev_hash == (None if head is None else head.hash)
        assert record.hash == compute_hash(record.prev_hash, seq, record.entry)
        assert link(head, record.entry) == record
        head = record.head
    verdict = verify_chain(records)
    assert facts(verdict)[:4] == (LogState.VALID, len(records), sum(len(r.line) + 1 for r in records), head)
    assert verdict.ok


@given(chains(), st.lists(later_entries, max_size=3))
def test_chains_grow_at_their_head(records: list[HashedEntry], more: list[LogEntry]) -> None:
    """Linking further entries behind the head gives the chain of all of them."""
    assert records + link_all(records[-1].head, more) == build_chain([*(record.entry for record in records), *more])


def test_the_first_record_is_a_session_start_and_only_that() -> None:
    """Another entry first, or a second ``session_start``, is refused."""
    with pytest.raises(InvalidEntry, match="first"):
        link(None, TurnEnd(ts=1, turn_count=1))
    with pytest.raises(InvalidEntry, match="first"):
        link(HEADS[0], start())
    with pytest.raises(InvalidEntry, match="first"):
        build_chain([start(), start()])
    assert build_chain([]) == []


@pytest.mark.parametrize(
    ("session_id", "format_"),
    [*((text, "sessionlog/1") for text in ("", "../x", "a" * 129, "-a", "é", "a\n")), ("s", "sessionlog/2"), ("s", "")],
)
def test_a_start_must_bind_its_session(session_id: str, format_: str) -> None:
    """A ``session_start`` that names no session id, or another format, would never be read again: it is refused."""
    with pytest.raises(InvalidEntry, match="sessionlog/1"):
        link(None, start(session_id, format_))


def test_the_longest_binding_is_found_in_its_bound() -> None:
    """The first bytes of a log are enough to tell its session, however long its id and its time are."""
    for ts in (-(2**63), 2**64 - 1):
        entry = SessionStart(
            ts=ts, format="sessionlog/1", session_id=SessionId("a" * 128), config=RequestConfig(), history=[]
        )
        assert bound_session(link(None, entry).line[:BINDING_BYTES_MAX]) == ("sessionlog/1", "a" * 128)
    assert bound_session(LINES[0]) == ("sessionlog/1", SESSION)
    assert bound_session(LINES[1]) is None
    assert bound_session(b"") is None


def test_line_limit_when_writing() -> None:
    """A line may be as long as the limit, LF not counted, and not one byte longer."""
    longest = link(HEADS[0], UserInput(ts=1, item=user_message("x" * 100)))
    size = len(longest.line)
    assert link(HEADS[0], longest.entry, line_bytes_max=size) == longest
    with pytest.raises(InvalidEntry, match=f"{size} bytes"):
        link(HEADS[0], longest.entry, line_bytes_max=size - 1)


def test_the_default_line_limit_is_64_mib() -> None:
    """A line of 64 MiB is written and read; one byte more is refused by both."""
    overhead = len(link(HEADS[0], Extension(ts=1, domain="d", payload="")).line)
    payload = "x" * (64 * 2**20 - overhead)
    record = link(HEADS[0], Extension(ts=1, domain="d", payload=payload))
    assert len(record.line) == 64 * 2**20
    scanner = LogScanner(head=HEADS[0])
    scanner.feed_into(record.line + b"\n", None)
    assert scanner.head == record.head
    with pytest.raises(InvalidEntry):
        link(HEADS[0], Extension(ts=1, domain="d", payload=payload + "x"))
    with pytest.raises(CorruptLog) as error:
        LogScanner(head=HEADS[0]).feed_into(record.line + b"x\n", None)
    assert error.value.damage is Damage.LINE_TOO_LONG


# --- scanning


def test_a_line_feed_inside_a_line_is_no_record() -> None:
    """What is checked as one line is one: not two good ones with a line feed between, nor one that holds another."""
    lines = LOG.splitlines()
    with pytest.raises(CorruptLog, match="line feed") as error:
        LogScanner().check(lines[0] + b"\n" + lines[1])
    assert (error.value.damage, error.value.seq, error.value.offset) == (Damage.SHAPE, 0, 0)
    scanner = LogScanner()
    assert scanner.check(lines[0]).seq == 0
    assert scanner.check(lines[1]).seq == 1


def test_line_limit_when_reading() -> None:
    """A line as long as the limit is read; a longer one is broken, however it comes; without its LF it is a tail."""
    size = max(map(len, LINES))
    assert facts(scan(LOG, line_bytes_max=size)) == VALID
    longest = LINES.index(max(LINES, key=len))
    assert facts(scan(LOG, line_bytes_max=size - 1)) == broken(longest, Damage.LINE_TOO_LONG)
    torn = LOG[: STARTS[longest] + size]
    assert scan(torn, line_bytes_max=size).state is LogState.TORN_TAIL
    expected = scan(torn, line_bytes_max=size - 1)
    assert (expected.state, expected.torn_bytes) == (LogState.TORN_TAIL, size)
    assert scan(torn, sizes=[1] * len(torn), line_bytes_max=size - 1) == expected
    too_long = scan(torn + b"\n", line_bytes_max=size - 1)
    assert facts(too_long) == broken(longest, Damage.LINE_TOO_LONG)
    assert scan(torn + b"\n", sizes=[1] * len(torn), line_bytes_max=size - 1) == too_long


def test_a_torn_tail_at_every_byte() -> None:
    """Cut anywhere, a log has its whole records before the cut, and a torn tail that starts after the last LF."""
    for size in range(len(LOG) + 1):
        count = LOG[:size].count(b"\n")
        whole = LOG[:size].rfind(b"\n") + 1
        verdict = scan(LOG[:size])
        assert verdict.ok
        head = HEADS[count - 1] if count else None
        if size == whole:
            assert facts(verdict) == (LogState.VALID, count, whole, head, None, None, None, None)
            assert verdict.torn_bytes == 0
        else:
            assert facts(verdict) == (LogState.TORN_TAIL, count, whole, head, count, count + 1, whole, None)
            assert verdict.torn_bytes == size - whole


def test_a_torn_tail_is_kept_at_hand() -> None:
    """The scanner has the bytes of an unfinished record, from however many chunks."""
    scanner = LogScanner(SESSION_ID)
    for byte in LOG[:-10]:
        scanner.feed_into(bytes([byte]), None)
    assert scanner.torn == LOG[STARTS[2] : -10]
    assert scanner.torn_bytes == len(scanner.torn)
    assert [record.seq for record in scanner.feed(LOG[-10:])] == [2]
    assert (scanner.torn, scanner.torn_bytes) == (b"", 0)


@pytest.mark.parametrize("size", [TOLD_BYTES_MAX, TOLD_BYTES_MAX + 1, 3 * TOLD_BYTES_MAX])
@pytest.mark.parametrize("junk", [b"\0", b"x", b"[", b"{", b"\0\0\0x", b"\xef\xbb\xbf{", b"x\r"])
@pytest.mark.parametrize("end", [b"", b"\n", LINES[2] + b"\n"])
def test_what_cannot_become_a_record_is_not_held(junk: bytes, size: int, end: bytes) -> None:
    """Of a tail that no record begins like only the start is held, and the verdict is that of the whole."""
    data = LOG[: STARTS[2]] + (junk * size)[:size] + end
    whole = scan(data, line_bytes_max=2**20)
    assert scan(data, sizes=[1000] * (len(data) // 1000), line_bytes_max=2**20) == whole
    assert whole.record_count == 2
    assert whole.state is (LogState.BROKEN if end else LogState.TORN_TAIL)
    scanner = LogScanner()
    scanner.feed_into(data[: STARTS[2] + size], None)
    held = size if size <= TOLD_BYTES_MAX or junk == b"{" else TOLD_BYTES_MAX
    assert (len(scanner.torn), scanner.torn_bytes) == (held, size)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_whole_record_without_its_line_feed_is_named(count: int) -> None:
    """Verify tells the one who lost an LF by copying; whatever else stands there is an unfinished record."""
    data = b"".join(line + b"\n" for line in LINES[:count])[:-1]
    for sizes in ([], [1] * len(data), [100] * (len(data) // 100)):
        verdict = scan(data, sizes=sizes)
        assert (verdict.state, verdict.record_count) == (LogState.TORN_TAIL, count - 1)
        assert verdict.reason is not None
        assert "a whole record without its LF; append one to take it back" in verdict.reason
    last = LINES[count - 1]
    start = data[: -len(last)]
    for other in (last[:-1], last + b" ", last[:-1] + b"]", LINES[count % 3], forged_line(None, 7, TURN_END)):
        assert "whole record" not in str(scan(start + other).reason)
    assert "whole record" not in str(scan(LINES[0], session_id=SessionId("other")).reason)


def test_nul_bytes_after_the_log_are_told_apart() -> None:
    """A tail of NUL bytes, as a power loss leaves it, is named so."""
    verdict = scan(LOG + b"\0" * 100)
    assert (verdict.state, verdict.torn_bytes, verdict.offset) == (LogState.TORN_TAIL, 100, len(LOG))
    assert "NUL" in str(verdict.reason)
    assert "NUL" not in str(scan(LOG + b"\0{").reason)


def expected_damage(line: bytes, at: int, byte: int) -> Damage:
    """Say, by the layout alone, what is wrong once ``byte`` stands at ``at`` of ``line``."""
    if byte == 0x0A:
        if at == 0:
            return Damage.BLANK_LINE
        whole = re.match(rb'.{75}"prev_hash":(null|".{64}"),"seq":[0-9]+,"kind":"', line)
        assert whole is not None
        return Damage.HASH if at >= whole.end() and line[at - 1 : at] == b"}" else Damage.SHAPE
    changed = line[:at] + bytes([byte]) + line[at + 1 :]
    hashes = [range(9, 73)] if b'"prev_hash":null' in line else [range(9, 73), range(88, 152)]
    for digits in hashes:
        if at in digits:
            return Damage.HASH if byte in b"0123456789abcdef" else Damage.HEX
    seq_at = line.index(b'"seq":') + 6
    if at == seq_at:
        return Damage.HASH if byte in b"0123456789" else Damage.SHAPE
    if line[:at].endswith(b'"format":"sessionlog/') and byte in b"0123456789":
        return Damage.UNKNOWN_FORMAT  # as a newer format would look, whose hash nobody can judge here
    if at < seq_at + len(b'0,"kind":"') or changed[-1:] != b"}":
        return Damage.SHAPE
    return Damage.HASH


@pytest.mark.parametrize("change", [lambda byte: byte ^ 0x01, lambda byte: byte ^ 0x80, lambda _: 0x0A], ids=range(3))
def test_every_changed_byte_is_found(change: Callable[[int], int]) -> None:
    """A change of any single byte of a three-record log is found, and named by record, line, offset and kind."""
    for at in range(len(LOG)):
        byte = change(LOG[at])
        if byte == LOG[at]:
            continue
        data = LOG[:at] + bytes([byte]) + LOG[at + 1 :]
        seq = LOG[:at].count(b"\n")
        verdict = scan(data)
        if LOG[at] != 0x0A:
            expected = expected_damage(LINES[seq], at - STARTS[seq], byte)
            assert facts(verdict) == broken(seq, expected), (at, byte)
        elif at < len(LOG) - 1:  # two records have become one line
            assert facts(verdict) == broken(seq, Damage.HASH), (at, byte)
        else:
            assert facts(verdict)[:5] == (LogState.TORN_TAIL, 2, STARTS[2], HEADS[1], 2)


@pytest.mark.parametrize("bit", range(8))
def test_every_flipped_bit_is_found(bit: int) -> None:
    """No flip of a single bit leaves a log valid; the record that it is in is the one that is named."""
    for at in range(len(LOG)):
        data = LOG[:at] + bytes([LOG[at] ^ 1 << bit]) + LOG[at + 1 :]
        seq = LOG[:at].count(b"\n")
        verdict = scan(data)
        assert verdict.state is (LogState.TORN_TAIL if at == len(LOG) - 1 else LogState.BROKEN)
        assert (verdict.seq, verdict.offset, verdict.record_count) == (seq, STARTS[seq], seq)


@given(st.data())
def test_inserted_and_removed_bytes_are_found(data: st.DataObject) -> None:
    """Bytes put in or taken out anywhere break the log at their line, unless they stand behind its last LF."""
    at = data.draw(st.integers(0, len(LOG) - 1))
    extra = data.draw(st.binary(max_size=5))
    end = data.draw(st.integers(at, min(at + 5, len(LOG))))
    changed = LOG[:at] + extra + LOG[end:]
    verdict = scan(changed)
    if LOG.startswith(changed):
        assert verdict.ok
    elif changed != LOG:
        prefix = next((i for i, (one, two) in enumerate(zip(LOG, changed, strict=False)) if one != two), len(LOG))
        seq = LOG[:prefix].count(b"\n")
        assert verdict.state is not LogState.VALID
        assert verdict.record_count == seq
        assert verdict.valid_bytes == (STARTS[seq] if seq < 3 else len(LOG))


DAMAGED = [
    LOG,
    LOG[:-7],
    b"\n" + LOG,
    b"\xef\xbb\xbf" + LOG,
    LOG.replace(b"\n", b"\r\n"),
    LOG.replace(b"hall", b"hell").replace("héllo".encode(), b"hallo"),
    LOG + b"\0" * 10 + b"\n",
    LOG.replace(b'"turn_count":1', b'"turn_count":2'),
    LOG + b"x" * 600,
    b"",
]


@given(st.sampled_from(DAMAGED), st.lists(st.integers(0, 400), max_size=30))
def test_chunks_do_not_matter(data: bytes, sizes: list[int]) -> None:
    """Fed in chunks of any size, a scanner comes to the same verdict, word for word."""
    assert scan(data, sizes=sizes, line_bytes_max=500) == scan(data, line_bytes_max=500)


@given(chains(), st.lists(st.integers(0, 200), max_size=20))
def test_fed_records_come_back(records: list[HashedEntry], sizes: list[int]) -> None:
    """The scanner gives back the records that were written, each once, as soon as its LF is there."""
    data = b"".join(record.line + b"\n" for record in records)
    scanner = LogScanner()
    found: list[HashedEntry] = []
    done = 0
    for size in [*sizes, len(data)]:
        found += scanner.feed(data[done : done + size])
        done += size
        assert len(found) == data[:done].count(b"\n")
        assert scanner.head == (found[-1].head if found else None)
        assert scanner.offset == data[:done].rfind(b"\n") + 1
    assert found == records
    assert [(r.hash, r.prev_hash, r.seq) for r in found] == [(r.hash, r.prev_hash, r.seq) for r in records]


def test_records_before_a_fault_are_not_lost() -> None:
    """``feed_into`` hands over the good records of a chunk before it raises, and the counters stand behind them."""
    scanner = LogScanner(SESSION_ID)
    records: list[HashedEntry] = []
    with pytest.raises(CorruptLog) as error:
        scanner.feed_into(LOG[: STARTS[2]] + b"bad\n", records)
    assert [record.line for record in records] == LINES[:2]
    assert (scanner.head, scanner.offset, scanner.seq) == (HEADS[1], STARTS[2], 2)
    assert (error.value.seq, error.value.line, error.value.offset) == (2, 3, STARTS[2])
    assert error.value.session_id == SESSION_ID
    assert SESSION in str(error.value)
    assert f"byte {STARTS[2]}" in str(error.value)


def test_a_scanner_goes_on_from_a_head() -> None:
    """Started behind a trusted record, a scanner counts on from there."""
    scanner = LogScanner(SESSION_ID, head=HEADS[0], offset=STARTS[1])
    assert scanner.head == HEADS[0]
    assert [record.line for record in scanner.feed(LOG[STARTS[1] :])] == LINES[1:]
    assert (scanner.head, scanner.offset) == (HEADS[2], len(LOG))
    with pytest.raises(CorruptLog) as error:
        LogScanner(SESSION_ID, head=HEADS[0], offset=STARTS[1]).feed(LINES[2] + b"\n")
    assert (error.value.damage, error.value.seq, error.value.offset) == (Damage.SEQ, 1, STARTS[1])


def test_without_a_session_id_any_binding_will_do() -> None:
    """A scanner that is not told the session id takes that of the first record; the format it still checks."""
    assert facts(scan(LOG, session_id=None)) == VALID
    assert facts(scan(LOG, session_id=SessionId("other"))) == broken(0, Damage.WRONG_SESSION)
    other = forged_log(START.replace(b"sessionlog/1", b"sessionlog/0"))
    assert scan(other, session_id=None).damage is Damage.UNKNOWN_FORMAT


# --- chains of whole records

ENTRIES: list[LogEntry] = [start(), *(TurnEnd(ts=n, turn_count=n) for n in range(1, 6))]
RECORDS = build_chain(ENTRIES)


def verdict_of(records: list[HashedEntry]) -> tuple[LogState, int | None, Damage | None]:
    verdict = verify_chain(records)
    return verdict.state, verdict.seq, verdict.damage


def test_a_prefix_of_a_chain_is_valid() -> None:
    """A chain alone does not show that its end was cut off: every prefix verifies (FORMAT section 8)."""
    for count in range(len(RECORDS) + 1):
        verdict = verify_chain(RECORDS[:count])
        assert (verdict.state, verdict.record_count) == (LogState.VALID, count)
    assert "no record" in str(verify_chain([]).reason)


@pytest.mark.parametrize("at", range(5))
def test_removed_records_are_found(at: int) -> None:
    """A record missing anywhere but at the end is noticed at its place."""
    assert verdict_of(RECORDS[:at] + RECORDS[at + 1 :]) == (LogState.BROKEN, at, Damage.SEQ)


@pytest.mark.parametrize("at", range(5))
def test_swapped_records_are_found(at: int) -> None:
    """Two neighbours in the wrong order are noticed at the first of them."""
    swapped = [*RECORDS[:at], RECORDS[at + 1], RECORDS[at], *RECORDS[at + 2 :]]
    assert verdict_of(swapped) == (LogState.BROKEN, at, Damage.SEQ)


@pytest.mark.parametrize("at", range(1, 6))
def test_inserted_records_are_found(at: int) -> None:
    """A record put in, linked properly to the one before, breaks the next one; a copy breaks itself."""
    put_in = link(RECORDS[at - 1].head, TurnEnd(ts=0, turn_count=0))
    assert verdict_of([*RECORDS[:at], put_in, *RECORDS[at:]]) == (LogState.BROKEN, at + 1, Damage.SEQ)
    assert verdict_of([*RECORDS[:at], RECORDS[at - 1], *RECORDS[at:]]) == (LogState.BROKEN, at, Damage.SEQ)


@pytest.mark.parametrize("at", range(5))
def test_replaced_records_are_found(at: int) -> None:
    """A record exchanged for another with a right hash breaks the link of the next one."""
    head = RECORDS[at - 1].head if at else None
    entry: LogEntry = TurnEnd(ts=0, turn_count=0) if at else start("other")
    replaced = [*RECORDS[:at], link(head, entry), *RECORDS[at + 1 :]]
    assert verdict_of(replaced) == (LogState.BROKEN, at + 1, Damage.LINK)


def test_a_record_of_another_chain_is_found() -> None:
    """A record from the same place of another session does not fit."""
    other = build_chain([start("other"), *ENTRIES[1:]])
    assert verdict_of([*RECORDS[:2], other[2]]) == (LogState.BROKEN, 2, Damage.LINK)


def test_an_edit_with_every_hash_made_anew_is_not_found() -> None:
    """A log rewritten from the edit on chains again: that takes a head kept elsewhere (FORMAT section 8)."""
    rewritten = build_chain([*ENTRIES[:2], TurnEnd(ts=0, turn_count=99), *ENTRIES[3:]])
    assert verify_chain(rewritten).ok
    assert rewritten[-1].head != RECORDS[-1].head


def test_seq_is_compared_before_prev_hash() -> None:
    """A line whose hash is right and that stands elsewhere is told apart from one that continues another chain."""
    for line, damage in (
        (forged_line(LINES[0][9:73], 2, TURN_END), Damage.SEQ),
        (forged_line(b"0" * 64, 1, TURN_END), Damage.LINK),
        (forged_line(None, 1, TURN_END), Damage.LINK),
        (forged_line(None, 0, START), Damage.SEQ),
    ):
        assert facts(scan(LINES[0] + b"\n" + line + b"\n")) == broken(1, damage)


def test_the_independent_check_agrees_on_edits() -> None:
    """The ten-line checker of these tests finds an edit too, and passes what is whole."""
    assert list(chained(LOG)) == [START, USER, TURN_END]
    with pytest.raises(AssertionError):
        list(chained(LOG.replace(b'"turn_count":1', b'"turn_count":2')))
    assert parse_record(LINES[0]).entry.ts == 1700000000000
