"""``append``: any program logs through a pipe, each entry acknowledged by its hash."""

import json
import subprocess
import sys
from typing import Any

import pytest

from .conftest import Cli, json_lines, message, user

TURN = {"kind": "turn_end", "turn_count": 2}


def test_each_hash_comes_before_the_next_entry_is_given(run: Cli) -> None:
    """A program that waits for the acknowledgement of each entry gets it, with the pipe still open."""
    with run.start("append", "alpha-1") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(3):
            process.stdin.write(json_lines([user(f"message {number}")]).encode())
            process.stdin.flush()
            hash_ = process.stdout.readline().decode().strip()
            assert run("tail", "alpha-1", "-n", "1", "--json").objects[0]["hash"] == hash_
        process.stdin.close()
        assert process.wait() == 0


def test_json_tells_line_position_and_hash(run: Cli) -> None:
    ran = run("append", "alpha-2", "--json", stdin="\n" + json_lines([TURN]) + "\n\n" + json_lines([TURN]))
    records = run("show", "alpha-2", "--json").objects[2:]
    assert ran.objects == [
        {"line": 2, "seq": 2, "hash": records[0]["hash"]},
        {"line": 5, "seq": 3, "hash": records[1]["hash"]},
    ]


def test_many_entries_at_once_keep_their_order(run: Cli) -> None:
    entries = [user(f"message {number} {'x' * 2000}") for number in range(500)]
    ran = run.process("append", "bulk", "--create", stdin=json_lines(entries).encode())
    assert ran.status == 0
    records = run("show", "bulk", "--json").objects[1:]
    assert ran.lines == [record["hash"] for record in records]
    assert [record["item"] for record in records] == [entry["item"] for entry in entries]


def test_the_present_time_is_filled_in_and_a_given_one_kept(run: Cli) -> None:
    run("append", "alpha-2", stdin=json_lines([TURN, {**TURN, "ts": 5}]))
    filled, given = run("tail", "alpha-2", "-n", "2", "--json").objects
    assert filled["ts"] > 1_700_000_000_000
    assert given["ts"] == 5


def test_kinds_that_are_not_known_are_kept_whole(run: Cli) -> None:
    entry = {"kind": "metric.v2", "ts": 1, "value": [1, {"a": None}], "naïve": "ü 😀"}
    assert run("append", "alpha-2", stdin=json_lines([entry])).status == 0
    [record] = run("tail", "alpha-2", "-n", "1", "--json").objects
    assert {name: record[name] for name in entry} == entry


def test_a_record_of_another_log_is_taken_as_its_entry(run: Cli) -> None:
    record = run("show", "alpha-1", "--json").objects[1]
    assert run("append", "alpha-2", stdin=json_lines([record])).status == 0
    [copy] = run("tail", "alpha-2", "-n", "1", "--json").objects
    assert copy["item"] == record["item"]
    assert copy["hash"] != record["hash"]


def test_a_last_line_needs_no_line_feed(run: Cli) -> None:
    ran = run("append", "alpha-2", stdin=json.dumps(TURN))
    assert (ran.status, len(ran.lines)) == (0, 1)


def test_no_entry_is_no_error(run: Cli) -> None:
    assert run("append", "alpha-2", stdin="").status == 0
    assert run("append", "alpha-2", stdin="\n\n").status == 0
    assert run("verify", "alpha-2", "--json").objects[0]["records"] == 2


def test_create_makes_the_session_once(empty: Cli) -> None:
    """The first time it is made with an empty state, then it is appended to; its id is taken as it is, whole."""
    first = empty("append", "new-session", "--create", stdin=json_lines([TURN]))
    assert first.stderr == "made session new-session\n"
    again = empty("append", "new-session", "--create", stdin=json_lines([TURN]))
    assert (again.status, again.stderr) == (0, "")
    assert empty("append", "new", "--create").status == 0
    assert {row["session_id"]: row["records"] for row in empty("list", "--json").objects} == {
        "new-session": 3,
        "new": 1,
    }


def test_without_create_a_missing_session_is_refused_with_advice(run: Cli) -> None:
    run("append", "missing", stdin=json_lines([TURN])).assert_refused("there is no session missing", "--create")


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def extension(payload: str) -> bytes:
    return b'{"kind":"extension","ts":1,"domain":"d","payload":' + payload.encode() + b"}"


BAD_LINES: dict[str, tuple[bytes, str]] = {
    "no_json": (b"hello", "no JSON"),
    "cut": (b'{"kind":"turn_end"', "no JSON"),
    "two_objects": (b"{}{}", "no JSON"),
    "list": (b"[]", "an entry is an object"),
    "no_kind": (b'{"ts":1}', "an entry is an object"),
    "kind_is_no_text": (b'{"kind":7}', "an entry is an object"),
    "empty_kind": (b'{"kind":""}', "kind"),
    "missing_member": (b'{"kind":"turn_end"}', "turn_count"),
    "wrong_type": (b'{"kind":"turn_end","turn_count":"x"}', "turn_count"),
    "ts_is_text": (b'{"kind":"turn_end","ts":"now","turn_count":1}', "ts"),
    "ts_of_unknown_is_text": (b'{"kind":"mine","ts":"now"}', "ts"),
    "unknown_member": (b'{"kind":"turn_end","turn_count":1,"note":"x"}', "has no member 'note'"),
    "unknown_inner_member": (
        json.dumps({"kind": "user_input", "item": {**message("user", "hi"), "mood": "good"}}).encode(),
        "user_input.item has no member 'mood'",
    ),
    "session_start": (
        b'{"kind":"session_start","format":"sessionlog/1","session_id":"x","config":{},"history":[]}',
        "session_start is the first record",
    ),
    "duplicate_member": (b'{"kind":"turn_end","turn_count":1,"turn_count":2}', "'turn_count' is there twice"),
    "duplicate_inner_member": (extension('{"a":1,"a":2}'), "'a' is there twice"),
    "nan": (extension("NaN"), "NaN is no JSON"),
    "infinity": (extension("-Infinity"), "-Infinity is no JSON"),
    "too_large_number": (extension("1e999"), "1e999"),
    "too_many_digits": (extension("123456789012345678.5"), "would become 1.2345678901234568e+17"),
    "more_digits_than_kept": (extension("0.1000000000000000055511151231257827"), "would become 0.1,"),
    "too_small_number": (extension("[1e-400]"), "1e-400 would become 0.0"),
    "far_too_small_number": (extension("1e-99999999999999999999"), "would become 0.0"),
    "integer_past_64_bits": (extension(str(2**64)), "64 bits"),
    "lone_surrogate": (extension(r'"\ud800"'), "surrogate"),
    "too_deep": (extension(json.dumps(nested(64))), "nested deeper than 64"),
    "far_too_deep": (extension("[" * 100_000 + "]" * 100_000), "nested"),
    "no_utf8": (b'{"kind":"\xff"}', "is no UTF-8"),
    "byte_order_mark": (b"\xef\xbb\xbf{}", "no JSON"),
    "nul": (b"\0\0\0", "no JSON"),
    "terminal_codes": (extension("\x1b[2J"), "no JSON"),
}


def test_a_number_may_be_spelled_in_any_way_that_keeps_its_value(run: Cli) -> None:
    """1.50 is kept as 1.5, and 1e5 as 100000.0; an integer is no double, and keeps all its digits."""
    spelled = "[1.0,1e5,1.50,0.1,-0.0,1E+2,0.5e-3,5e-324,1.7976931348623157e308,9007199254740993,0e-400]"
    ran = run("append", "alpha-1", stdin=extension(spelled) + b"\n")
    assert ran.status == 0, ran
    [kept] = run("tail", "alpha-1", "-n", "1", "--json").objects
    assert kept["payload"] == json.loads(spelled)


@pytest.mark.parametrize(("line", "words"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_ends_it_and_what_came_before_stays(run: Cli, line: bytes, words: str) -> None:
    """Also when all of them came in one piece; nothing behind the bad line is appended."""
    good = json_lines([TURN]).encode()
    ran = run("append", "alpha-1", stdin=good + good + line + b"\n" + good)
    ran.assert_refused("line 3 of standard input: ", words, "the 2 entries before it stay")
    assert len(ran.lines) == 2
    assert "\x1b" not in ran.stderr
    [report] = run("audit", "alpha-1", "--json").objects
    assert (report["state"], report["records"]) == ("valid", 6)


def test_a_bad_first_line_appends_nothing(run: Cli) -> None:
    ran = run("append", "alpha-1", stdin="nothing\n")
    ran.assert_refused("line 1 of standard input", "nothing was appended")
    assert ran.stdout == ""


def test_nesting_of_64_is_kept(run: Cli) -> None:
    """The line's own object is the first level."""
    assert run("append", "alpha-2", stdin=extension(json.dumps(nested(63)))).status == 0
    assert run("audit", "alpha-2").status == 0
    assert len(run("tail", "alpha-2", "-n", "1", "--full").lines) > 60


def test_a_line_past_the_limit_is_refused_before_it_is_held(run: Cli) -> None:
    """A producer that never writes a line feed is stopped at 64 MiB."""
    program = (
        "import sys\nchunk = b'x' * 2**20\ntry:\n    while True: sys.stdout.buffer.write(chunk)\n"
        "except BrokenPipeError: sys.stderr.close()"
    )
    with (
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as producer,
        subprocess.Popen(
            [*run.command, "append", "alpha-1"], stdin=producer.stdout, stderr=subprocess.PIPE, text=True
        ) as process,
    ):
        assert producer.stdout is not None
        producer.stdout.close()
        _, stderr = process.communicate()
    assert process.returncode == 2
    assert "longer than" in stderr
    assert stderr.count("\n") == 1


def test_a_file_as_standard_input_works(run: Cli) -> None:
    """Files cannot be waited for; they need not be."""
    path = run.store.parent / "entries.jsonl"
    path.write_text(json_lines([TURN, TURN]))
    with path.open() as file:
        ran = subprocess.run(
            [*run.command, "append", "alpha-2"], stdin=file, capture_output=True, text=True, check=False
        )
    assert (ran.returncode, ran.stderr, len(ran.stdout.splitlines())) == (0, "", 2)


def test_two_writers_lose_nothing(run: Cli) -> None:
    """Both logs through pipes at the same time: one linear chain of all entries."""
    entries = [json_lines([user(f"{writer} {number}") for number in range(200)]) for writer in "ab"]
    processes = [run.start("append", "alpha-2") for _ in entries]
    for lines in zip(*(text.splitlines(keepends=True) for text in entries), strict=True):
        for process, line in zip(processes, lines, strict=True):
            assert process.stdin is not None
            process.stdin.write(line.encode())
            process.stdin.flush()
    for process in processes:
        stdout, stderr = process.communicate()
        assert (process.returncode, stderr) == (0, b"")
        assert len(stdout.splitlines()) == 200
    [report] = run("verify", "alpha-2", "--json").objects
    assert (report["state"], report["records"]) == ("valid", 402)
