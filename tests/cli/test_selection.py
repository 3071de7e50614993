"""Which records `show` and `tail` show, what an event reads as, and how a record is named to `fork`."""

import json
import signal
from typing import Any

import pytest

from sessionlog.cli.event_words import describe_event
from sessionlog.cli.selection import KINDS, Seqs
from sessionlog.loops import (
    AgentEnd,
    AgentEvent,
    AgentStart,
    AssistantMessage,
    CompactionEnded,
    CompactionStarted,
    Default,
    EventsFiltered,
    InputRejected,
    LoopConfigSnapshot,
    MessageEnd,
    MessageUpdate,
    ParallelLoopEnd,
    ParallelLoopStart,
    ProgressMessage,
    PrunApplied,
    RevertApplied,
    SessionFlushed,
    SessionFormed,
    SessionScope,
    SpawnLinked,
    Text,
    TextDelta,
    Thinking,
    ToolCallContent,
    ToolExecutionEnd,
    ToolExecutionStart,
    ToolExecutionUpdate,
    ToolResult,
    TurnEnd,
    TurnId,
    TurnRequest,
    TurnStart,
    TurnTrigger,
    Usage,
    UserMessage,
    encode_event,
)
from sessionlog.loops.events import EVENT_TYPES

from .conftest import Cli, assistant, call, user
from .test_loops import at


@pytest.fixture
def mixed(empty: Cli) -> Cli:
    """A session ``mixed``: a start, then ten times a message, an answer and a record of a kind of its own."""
    empty.append(
        "mixed",
        *(one for n in range(10) for one in (user(f"ask {n}"), assistant(f"say {n}"), {"kind": "my_kind", "n": n})),
    )
    return empty


def seqs(cli: Cli, *args: str) -> list[int]:
    ran = cli(*args, "--json")
    assert ran.status == 0, ran
    return [one["seq"] for one in ran.objects]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("7", [7]),
        ("0", [0]),
        ("3..5", [3, 4, 5]),
        ("29..", [29, 30]),
        ("..1", [0, 1]),
        ("29..99", [29, 30]),
        ("30..30", [30]),
        ("99..", []),
    ],
)
def test_positions_are_chosen_with_both_ends(mixed: Cli, text: str, want: list[int]) -> None:
    assert seqs(mixed, "show", "mixed", "--seq", text) == want
    assert seqs(mixed, "tail", "mixed", "-n", "100", "--seq", text) == want


@pytest.mark.parametrize(
    ("text", "words"), [("..", "write 5"), ("x", "write 5"), ("", "write 5"), ("-1", "write 5"), ("9..3", "smaller")]
)
def test_positions_that_make_no_sense_are_refused(mixed: Cli, text: str, words: str) -> None:
    mixed("show", "mixed", f"--seq={text}").assert_refused(words)


def test_kinds_are_chosen_also_those_of_others(mixed: Cli) -> None:
    assert seqs(mixed, "show", "mixed", "--kind", "user_input") == list(range(1, 31, 3))
    assert seqs(mixed, "show", "mixed", "--kind", "my_kind", "--kind", "session_start") == [0, *range(3, 31, 3)]
    assert seqs(mixed, "show", "mixed", "--not-kind", "my_kind", "--not-kind", "user_input") == [0, *range(2, 31, 3)]
    assert seqs(mixed, "show", "mixed", "--kind", "my_kind", "--seq", "..9") == [3, 6, 9]
    ran = mixed("show", "mixed", "--kind", "locked")
    assert (ran.status, ran.stdout, ran.stderr) == (0, "", "no record is selected\n")


def test_a_kind_that_is_misspelled_is_told_with_those_that_are(mixed: Cli) -> None:
    for command in (("show", "mixed"), ("tail", "mixed")):
        for option in ("--kind", "--not-kind"):
            mixed(*command, option, "user_inptu").assert_refused("user_inptu", "user_input", "my_kind")
    assert set(KINDS) >= {"session_start", "agent_event", "extension"}


def test_tail_counts_what_is_left(mixed: Cli) -> None:
    assert seqs(mixed, "tail", "mixed", "-n", "2", "--kind", "user_input") == [25, 28]
    assert seqs(mixed, "tail", "mixed", "-n", "3", "--not-kind", "my_kind", "--seq", "..20") == [17, 19, 20]
    assert seqs(mixed, "tail", "mixed", "-n", "0", "--kind", "user_input") == []
    assert seqs(mixed, "tail", "mixed", "-n", "99", "--kind", "user_input") == list(range(1, 31, 3))


def test_tail_reads_the_end_alone(mixed: Cli) -> None:
    """What stands before the last records is not looked at; where they are asked for, damage there is told."""
    path = mixed.store / "mixed.jsonl"
    path.write_bytes(path.read_bytes().replace(b"ask 5", b"ASK 5"))
    for count in (0, 1, 10, 14):
        assert seqs(mixed, "tail", "mixed", "-n", str(count)) == list(range(31 - count, 31))
    for count in (15, 30, 31, 99):
        assert mixed("tail", "mixed", "-n", str(count)).status == 1


def test_tail_follows_what_is_chosen(mixed: Cli) -> None:
    """Also a kind that has not come yet: it is told, and waited for."""
    kinds = ("--kind", "user_input", "--kind", "new_kind")
    with mixed.start("tail", "mixed", "-f", "-n", "1", *kinds, "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["seq"] == 28
        assert b"no record of kind new_kind" in process.stderr.readline()
        mixed.append("mixed", assistant("no"), {"kind": "new_kind"})
        assert json.loads(process.stdout.readline())["seq"] == 32
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130


def test_tail_that_follows_a_range_ends_with_it(mixed: Cli) -> None:
    ran = mixed.process("tail", "mixed", "-f", "--seq", "..3", "--json")
    assert [one["seq"] for one in ran.objects] == [0, 1, 2, 3]


def test_all_positions_are_all() -> None:
    assert (Seqs().after, Seqs(1).after, Seqs(5).after) == (None, 0, 4)


# --- Events in words


def answer(*content: Any, index: int | None = None) -> AssistantMessage:
    turn_id = None if index is None else TurnId("s.main.0", index)
    return AssistantMessage(list(content), turn_id=turn_id)


LOOP = "s.main.0"
CALL: dict[str, Any] = {"loop_id": LOOP, "tool_call_id": "c", "tool_name": "Bash"}
WORDS: list[tuple[AgentEvent, str]] = [
    (
        AgentStart(agent_id="keeper", session_id="s", loop_id=LOOP, timestamp=at(0)),
        "loop main.0 of agent keeper started",
    ),
    (
        AgentStart(
            agent_id="keeper",
            session_id="s",
            loop_id="s.main.1",
            parent_loop_id=LOOP,
            continuation_kind=Default(),
            config_snapshot=LoopConfigSnapshot("m"),
            timestamp=at(0),
        ),
        "loop main.1 of agent keeper started, continues main.0, model m",
    ),
    (
        AgentEnd(loop_id=LOOP, timestamp=at(1), usage=Usage(input=1000, cache_read=234, output=56)),
        "loop main.0 ended, 1,234 tokens in, 56 out",
    ),
    (AgentEnd(loop_id=LOOP, timestamp=at(1), rejection="no"), "loop main.0 ended, input rejected: no"),
    (TurnStart(loop_id=LOOP, turn_index=3, timestamp=at(1)), "turn 3 of main.0 started"),
    (
        TurnStart(loop_id=LOOP, turn_index=3, timestamp=at(1), triggered_by=TurnTrigger.BRANCH),
        "turn 3 of main.0 started (branch)",
    ),
    (TurnRequest(loop_id=LOOP, turn_index=3, payload={"a": 1}), "turn 3 of main.0 asks the model"),
    (
        TurnEnd(loop_id=LOOP, message=answer(Text("Done.\nAll."), index=3), usage=Usage(input=1234), timestamp=at(1)),
        "turn 3 of main.0 ended, 1,234 tokens in, 0 out: Done. All.",
    ),
    (TurnEnd(loop_id=LOOP, message=answer(), timestamp=at(1)), "turn of main.0 ended"),
    (MessageEnd(loop_id=LOOP, message=UserMessage([Text("Hi")])), "user: Hi"),
    (
        MessageEnd(loop_id=LOOP, message=answer(Thinking("hm"), ToolCallContent("c", "Bash", {"command": "ls"}))),
        "assistant: (thinking) hm -> Bash ls",
    ),
    (MessageUpdate(loop_id=LOOP, message=answer(), delta=TextDelta("He")), "assistant goes on: He"),
    (ToolExecutionStart(**CALL, args={"command": "ls -l"}), "tool Bash started: ls -l"),
    (
        ToolExecutionStart(**CALL, args={"command": "ls", "timeout": 5, "at": ["a"]}),
        'tool Bash started: command: ls, timeout: 5, at: ["a"]',
    ),
    (ToolExecutionStart(**CALL), "tool Bash started"),
    (ToolExecutionUpdate(**CALL, partial_result=ToolResult([Text("one")])), "tool Bash goes on: one"),
    (ToolExecutionEnd(**CALL, result=ToolResult([Text("one\ntwo")])), "tool Bash ended: one two"),
    (
        ToolExecutionEnd(**CALL, result=ToolResult([Text("x")]), is_error=True, child_loop_id="t.main.0"),
        "tool Bash failed, ran main.0: x",
    ),
    (ProgressMessage(**CALL, text="half"), "tool Bash: half"),
    (InputRejected(loop_id=LOOP, reason="rude"), "input rejected: rude"),
    (
        ParallelLoopStart(session_id="s", loop_ids=["s.a.0", "s.b.0"], timestamp=at(1)),
        "2 parallel loops started: a.0, b.0",
    ),
    (
        ParallelLoopEnd(session_id="s", selected_loop_id="s.b.0", evaluation_usage=Usage(input=7), timestamp=at(1)),
        "parallel loop b.0 selected, 7 tokens in, 0 out",
    ),
    (CompactionStarted(loop_id=LOOP, estimated_tokens=12_000), "compaction started at 12,000 tokens"),
    (
        CompactionEnded(loop_id=LOOP, estimated_tokens_before=12_000, estimated_tokens_after=900),
        "compaction ended, 12,000 tokens before, 900 after",
    ),
    (PrunApplied(loop_id=LOOP, messages_removed=1, tokens_removed=90), "1 message pruned, 90 tokens"),
    (RevertApplied(loop_id=LOOP, target=4, summary="back"), "reverted to 4: back"),
    (RevertApplied(loop_id=LOOP, applied=False, reason="gone"), "revert refused: gone"),
    (SessionFormed(session_id="s", scope=SessionScope.PERSISTENT), "session formed, persistent"),
    (
        SpawnLinked(
            parent_session_id="s",
            parent_loop_id=LOOP,
            child_session_id="t",
            child_loop_id="t.main.0",
            tool_call_id="c",
            tool_name="Task",
        ),
        "main.0 run by tool Task in main.0",
    ),
    (EventsFiltered(loop_id=LOOP, count=2), "2 events of main.0 not kept"),
    (SessionFlushed(session_id="s"), "open loops aborted"),
]


@pytest.mark.parametrize(
    ("event", "words"), WORDS, ids=[f"{n}-{type(one).__name__}" for n, (one, _) in enumerate(WORDS)]
)
def test_an_event_reads_as_what_it_says(event: AgentEvent, words: str) -> None:
    assert describe_event(encode_event(event)) == words


@pytest.mark.parametrize("data", [{"type": "Strange", "loop_id": "x", "n": 1}, {"type": "TurnEnd"}, [1], "text", None])
def test_what_is_no_known_event_stands_as_json(data: Any) -> None:
    assert describe_event(data) == json.dumps(data, separators=(",", ":"))


def test_no_known_event_is_shown_as_json() -> None:
    told = {type(event).__name__ for event, _ in WORDS}
    assert set(EVENT_TYPES) - told == {"MessageStart", "CompactionBlockAdded", "SessionImported", "LoopImported"}


def test_show_has_the_words_and_full_the_members_too(empty: Cli) -> None:
    event = encode_event(ToolExecutionStart(**CALL, args={"command": "ls -l"}))
    empty.append("s", {"kind": "agent_event", "event": event})
    assert empty("show", "s").lines[1].endswith("agent_event      tool Bash started: ls -l")
    full = empty("show", "s", "--full").lines
    assert "    tool Bash started: ls -l" in full
    assert '      "tool_name": "Bash",' in full


# --- fork --at, export --json


def test_a_fork_may_name_a_record_by_its_number(mixed: Cli) -> None:
    record = mixed("show", "mixed", "--json").objects[4]
    [made] = mixed("fork", "mixed", "--at", "4", "--json").objects
    assert made["forked_from"] == {"session_id": "mixed", "at_hash": record["hash"]}
    mixed("fork", "mixed", "--at", "31").assert_refused("no record 31", "ends with record 30")
    mixed("fork", "mixed", "--at", "x1").assert_refused("number", "hash")


def test_digits_are_a_number_up_to_seven_and_a_hash_from_eight_on(run: Cli) -> None:
    """A short hash has eight characters, so what `show` prints is never taken for a number."""
    hashes: list[str] = []
    while not hashes:  # about one hash in forty begins with eight digits
        hashes = [one for one in run.append("digits", *(user("try") for _ in range(100))) if one[:8].isdigit()]
    hash_ = hashes[0]
    [made] = run("fork", "digits", "--at", hash_[:8], "--json").objects
    assert made["forked_from"]["at_hash"] == hash_
    run("fork", "digits", "--at", "9999999").assert_refused("no record 9999999")


def test_markdown_is_not_json(run: Cli) -> None:
    ran = run("export", "alpha-1", "--format", "markdown", "--json")
    ran.assert_refused("--json", "jsonl")
    assert ran.stdout == ""
    for format_ in ("jsonl", "openai", "anthropic"):
        assert run("export", "alpha-1", "--format", format_, "--json").status == 0


def test_a_call_that_is_no_object_stands_as_it_is(run: Cli) -> None:
    for arguments, words in (("[1,2]", "[1,2]"), ("plain", "plain"), ('{"a":', '{"a":'), ("{}", "")):
        run.append("calls", assistant("x", {**call("c"), "arguments": arguments}))
        assert run("tail", "calls", "-n", "1").lines[0].endswith(f"x | -> Bash {words}".rstrip())
