"""Records: bytes at fixed offsets, hashed as they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forging import START, TURN_END, USER, chained, digest, forged_line, forged_lines
from sessionlog import CorruptLog, Damage, EntryHash, HashedEntry, Head, TurnEnd, build_chain, parse_record
from sessionlog.record import (
    ENVELOPE_BYTES_MAX,
    HASH_AT,
    HASH_CONTEXT,
    HASHED_FROM,
    LINE_BYTES_MAX,
    hash_payload,
    record_line,
    record_payload,
    shape_fault,
)
from strategies import chains

LINES = forged_lines(START, USER, TURN_END)
PREV = LINES[1][9:73].decode()


def test_the_constants_are_those_of_the_format() -> None:
    """Context, offsets and the longest line are FORMAT's."""
    assert (HASH_CONTEXT, HASHED_FROM, LINE_BYTES_MAX) == ("sessionlog v1 record", 75, 64 * 2**20)
    assert LINES[0][HASHED_FROM:].startswith(b'"prev_hash":')
    assert LINES[0][HASH_AT] == b"cb0c56b821fba9e89b97fd8f795d85dc7352595e42e2027d4da35866ff8b7853"


def test_the_longest_envelope_fits_its_bound() -> None:
    """No envelope up to the quote that opens the kind is longer than ``ENVELOPE_BYTES_MAX``."""
    line = record_line(EntryHash("0" * 64), record_payload(EntryHash("0" * 64), 10**19 - 1, b'{"kind":"k"}'))
    assert line.index(b'"k"') < ENVELOPE_BYTES_MAX


@pytest.mark.parametrize("line", LINES)
def test_parsing_takes_a_line_apart(line: bytes) -> None:
    """A parsed record has the hash, predecessor and position of its line, and is its line."""
    record = parse_record(line)
    seq = LINES.index(line)
    assert record.line == line
    assert (record.hash, record.seq) == (line[9:73].decode(), seq)
    assert record.prev_hash == (LINES[seq - 1][9:73].decode() if seq else None)
    assert record.head == Head(seq, EntryHash(line[9:73].decode()))


@given(chains())
def test_written_records_pass_an_independent_check(records: list[HashedEntry]) -> None:
    """Every record that the package writes has the bytes and hashes that a checker of ten lines expects."""
    data = b"".join(record.line + b"\n" for record in records)
    for record, entry in zip(records, chained(data), strict=True):
        assert entry.startswith(b'{"kind":"')
        assert parse_record(record.line) == record
        assert parse_record(record.line).entry == record.entry


@given(st.binary(max_size=300))
def test_the_payload_is_hashed_with_a_derived_key(payload: bytes) -> None:
    """The hash is BLAKE3's derive_key mode, whether it gets bytes or a view of them."""
    assert hash_payload(payload) == hash_payload(memoryview(payload)) == digest(payload).decode()


def test_payload_and_line_put_the_envelope_together() -> None:
    """The line is envelope and entry, with nothing in between."""
    payload = record_payload(EntryHash(PREV), 2, TURN_END)
    assert payload == b'"prev_hash":"%s","seq":2,%s' % (PREV.encode(), TURN_END[1:])
    assert record_line(hash_payload(payload), payload) == LINES[2]
    assert record_payload(None, 0, b"{}") == b'"prev_hash":null,"seq":0,}'


@pytest.mark.parametrize(
    ("line", "damage", "seq"),
    [
        (b"", Damage.BLANK_LINE, 0),
        (b"\xef\xbb\xbf" + LINES[2], Damage.BYTE_ORDER_MARK, 0),
        (LINES[2] + b"\r", Damage.CARRIAGE_RETURN, 0),
        (b"\0\0", Damage.NUL_BYTES, 0),
        (b"\0" + LINES[2], Damage.NUL_BYTES, 0),
        (LINES[2] + b" ", Damage.SHAPE, 0),
        (LINES[2] + b"\n", Damage.SHAPE, 0),
        (LINES[2][:-1], Damage.SHAPE, 0),
        (b"{" + LINES[2], Damage.SHAPE, 0),
        (b"[" * 100_000, Damage.SHAPE, 0),
        (b"null", Damage.SHAPE, 0),
        (b'{"hash":"a","seq":1,"kind":"k"}', Damage.SHAPE, 0),
        (b'{"hash":"a","prev_hash":null,"kind":"k","seq":1}', Damage.RESERIALISED, 0),
        (LINES[2][:9] + LINES[2][9:73].upper() + LINES[2][73:], Damage.HEX, 0),
        (LINES[2].replace(b'"seq":2', b'"seq":02'), Damage.SEQ, 0),
        (LINES[2].replace(b'"seq":2', b'"seq":-2'), Damage.SEQ, 0),
        (LINES[2].replace(b'"seq":2', b'"seq":' + b"9" * 30), Damage.SEQ, 0),
        (LINES[2].replace(b'"turn_count":1', b'"turn_count":2'), Damage.HASH, 2),
        (LINES[2].replace(b'"seq":2', b'"seq":3'), Damage.HASH, 3),
        (forged_line(None, 4, b'{"kind":"turn_end",\n"ts":1}'), Damage.SHAPE, 4),
    ],
)
def test_parsing_refuses_what_is_no_record(line: bytes, damage: Damage, seq: int) -> None:
    """A line that is no record is refused, with what is wrong; so is one that could not be written as one line."""
    with pytest.raises(CorruptLog) as error:
        parse_record(line)
    assert (error.value.damage, error.value.seq, error.value.line, error.value.offset) == (damage, seq, seq + 1, None)
    assert error.value.reason in str(error.value)


def test_a_right_shape_has_no_fault() -> None:
    """The shape of a whole record has no fault; its hash is not looked at."""
    assert shape_fault(LINES[2]) is None
    assert shape_fault(LINES[2].replace(b'"turn_count":1', b'"turn_count":2')) is None


def test_the_entry_is_decoded_on_demand_and_kept() -> None:
    """Bytes that do not decode can be read and copied; only asking for the entry raises, and names the record."""
    record = parse_record(forged_line(EntryHash("0" * 64).encode(), 7, b'{"kind":"turn_end","ts":1}'))
    with pytest.raises(CorruptLog) as error:
        _ = record.entry
    assert (error.value.damage, error.value.seq, error.value.line) == (Damage.ENTRY, 7, 8)
    assert "turn_count" in error.value.reason
    good = parse_record(LINES[2])
    assert good.entry == TurnEnd(ts=1700000002000, turn_count=1)
    assert good.entry is good.entry


@pytest.mark.parametrize(
    "entry",
    [
        b'{"kind":"extension","ts":1,"domain":"\xff","payload":1}',
        b'{"kind":"extension","ts":1,"domain":"d","payload":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"kind":"turn_end","ts":1,}',
    ],
    ids=["not utf-8", "far too deep", "not json"],
)
def test_an_entry_that_does_not_decode_is_a_corrupt_log(entry: bytes) -> None:
    """Whatever keeps the entry from being decoded, the error is the typed one."""
    with pytest.raises(CorruptLog):
        _ = parse_record(forged_line(None, 0, entry)).entry


def test_position_and_hashes_come_from_the_offsets() -> None:
    """Duplicate members later in the line do not win over the envelope."""
    entry = TURN_END[:-1] + b',"seq":9,"hash":"x","prev_hash":"y"}'
    record = parse_record(forged_line(PREV.encode(), 2, entry))
    assert (record.seq, record.prev_hash) == (2, PREV)
    assert record.entry == TurnEnd(ts=1700000002000, turn_count=1)


def test_records_are_equal_when_their_bytes_are() -> None:
    """Equality and hash go by the bytes; other things are not equal."""
    one, same, other = parse_record(LINES[1]), parse_record(bytes(LINES[1])), parse_record(LINES[2])
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != LINES[1]
    assert len({one, same, other}) == 2


def test_a_record_shows_where_it_stands() -> None:
    """The representation has position, hash and the start of the entry, and is short for a long line."""
    text = repr(parse_record(LINES[1]))
    assert "seq=1" in text
    assert LINES[1][9:21].decode() in text
    assert "user_input" in text
    long = build_chain([parse_record(LINES[0]).entry])[0]
    assert len(repr(parse_record(forged_line(None, 0, b'{"kind":"new","ts":1,"x":"%s"}' % (b"x" * 9999))))) < 400
    assert "session_start" in repr(long)
