"""`loops` draws what was recorded: every loop and every spawned session once, at a price nobody guessed."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from sessionlog import FileStore
from sessionlog.cli.loop_sums import model_name, sum_loop
from sessionlog.cli.loop_tree import BRANCH_CHARS_MAX
from sessionlog.cli.loops import NAME_CHARS_MAX
from sessionlog.loops import (
    AgentEnd,
    AgentEvent,
    AgentStart,
    AssistantMessage,
    Branch,
    Compaction,
    ContinuationKind,
    Default,
    Initial,
    LoopConfigSnapshot,
    LoopRecord,
    LoopStatus,
    MessageEnd,
    ParallelLoopEnd,
    ParallelLoopStart,
    Rerun,
    SessionRecorder,
    Text,
    ToolExecutionEnd,
    ToolResult,
    Turn,
    TurnEnd,
    TurnId,
    TurnStart,
    Usage,
    UserMessage,
)

from .conftest import Cli, environment
from .test_output import ACTING, FORBIDDEN, MARKUP, on_terminal

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def record(cli: Cli, *events: AgentEvent, flush: bool = False) -> None:
    """Record the events into the store of ``cli``, as a runtime does."""

    async def run() -> None:
        async with FileStore(cli.store) as store:
            recorder = SessionRecorder(store=store)
            for event in events:
                await recorder.record(event)
            if flush:
                await recorder.record_flush()

    anyio.run(run)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def start(
    loop_id: str,
    seconds: float,
    parent: str | None = None,
    *,
    kind: ContinuationKind | None = None,
    model: str | None = "beam-1",
    **members: Any,
) -> AgentStart:
    members = {"agent_id": "keeper", "session_id": loop_id.partition(".")[0], **members}
    return AgentStart(
        loop_id=loop_id,
        parent_loop_id=parent,
        continuation_kind=kind or Initial(),
        timestamp=at(seconds),
        config_snapshot=None if model is None else LoopConfigSnapshot(model, "coast"),
        **members,
    )


def end(loop_id: str, seconds: float, usage: Usage | None = None, **members: Any) -> AgentEnd:
    return AgentEnd(loop_id=loop_id, timestamp=at(seconds), usage=usage or Usage(), **members)


def turn(
    loop_id: str, seconds: float, index: int = 0, usage: Usage | None = None, model: str = "beam-1"
) -> list[AgentEvent]:
    message = AssistantMessage([Text("Lamp 3.")], model=model, provider="coast")
    return [
        TurnStart(loop_id=loop_id, turn_index=index, timestamp=at(seconds)),
        MessageEnd(loop_id=loop_id, message=UserMessage([Text("Which lamps are out?")])),
        TurnEnd(loop_id=loop_id, message=message, usage=usage or Usage(), timestamp=at(seconds + 1.5)),
    ]


def ran(loop_id: str, child: str, call_id: str = "call-1", tool: str = "inspect") -> ToolExecutionEnd:
    result = ToolResult([Text("ok")], child_loop_id=child)
    return ToolExecutionEnd(loop_id=loop_id, tool_call_id=call_id, tool_name=tool, result=result)


def group(session_id: str, selected: str, *loop_ids: str, evaluation: Usage | None = None) -> list[AgentEvent]:
    """A parallel group's start and end; the branches go between them."""
    return [
        ParallelLoopStart(session_id=session_id, loop_ids=loop_ids, timestamp=at(10)),
        ParallelLoopEnd(
            session_id=session_id,
            selected_loop_id=selected,
            selected_config_index=loop_ids.index(selected),
            evaluation_usage=evaluation or Usage(),
            timestamp=at(20),
        ),
    ]


@pytest.fixture
def lighthouse(empty: Cli) -> Cli:
    """Two sessions: one with every way to go on and a parallel group, and the one that a tool of it ran."""
    main = "lighthouse.main"
    begun, ended = group(
        "lighthouse", "lighthouse.b.0", "lighthouse.a.0", "lighthouse.b.0", evaluation=Usage(input=70, output=1)
    )
    record(
        empty,
        start(f"{main}.0", 0),
        *turn(f"{main}.0", 1),
        start("gallery.main.0", 2, f"{main}.0", agent_id="inspector", model="beam-2"),
        *turn("gallery.main.0", 2, model="beam-2"),
        end("gallery.main.0", 3, Usage(input=4000, output=90)),
        ran(f"{main}.0", "gallery.main.0"),
        end(f"{main}.0", 5, Usage(input=800, output=120, cache_read=1200)),
        start(f"{main}.1", 6, f"{main}.0", kind=Default()),
        *turn(f"{main}.1", 6),
        *turn(f"{main}.1", 8, 1),
        end(f"{main}.1", 9, Usage(input=1000, output=10)),
        begun,
        start("lighthouse.a.0", 10, f"{main}.1", kind=Branch("calm")),
        start("lighthouse.b.0", 11, f"{main}.1", kind=Branch("storm"), model="beam-2"),
        end("lighthouse.a.0", 12, Usage(input=10, output=1)),
        end("lighthouse.b.0", 13, Usage(input=20, output=2)),
        ended,
        start(f"{main}.2", 30, "lighthouse.b.0", kind=Rerun("again")),
        end(f"{main}.2", 31, rejection="no\nlamps"),
        start(f"{main}.3", 32, f"{main}.2", kind=Compaction(), model=None),
        *turn(f"{main}.3", 33, usage=Usage(input=5, output=5)),
        flush=True,
    )
    return empty


RATES = {
    "currency": "EUR",
    "models": {
        "beam-1": {"input": 1000, "output": 10_000, "cache_read": 100},
        "beam-2": {"input": 2000, "output": 20_000},
    },
}


@pytest.fixture
def rates(tmp_path: Path) -> str:
    path = tmp_path / "rates.json"
    path.write_text(json.dumps(RATES))
    return str(path)


DRAWN = """\
TURNS      IN     OUT  SESSION AND LOOPS
    4    3.1k     139  lighthouse  agent keeper, 6 loops
    1    2.0k     120  ├─ main.0  completed  beam-1  Which lamps are out?
    1    4.0k      90  │  └─ gallery  by inspect, agent inspector, 1 loop
    1    4.0k      90  │     └─ main.0  completed  beam-2  Which lamps are out?
    2    1.0k      10  ├─ main.1  continues, completed  beam-1  Which lamps are out?
    0      70       1  ├─ parallel group of 2
    0      10       1  │  ├─ a.0  branch "calm", completed  beam-1
    0      20       2  │  └─ b.0  branch "storm", completed, selected  beam-2
    0       0       0  ├─ main.2  rerun "again", rejected  beam-1  no lamps
    1       5       5  └─ main.3  compaction, aborted  beam-1  Which lamps are out?
    5    7.1k     229  all 2 sessions
"""


def test_the_tree_is_drawn_with_what_it_took(lighthouse: Cli) -> None:
    """Status, model, turns, tokens; the selected branch; the spawned session below the loop that ran it."""
    ran = lighthouse.process("loops", "light")
    assert (ran.status, ran.stderr) == (0, "")
    assert ran.stdout == DRAWN
    assert all(len(line.removesuffix("  Which lamps are out?")) <= 80 for line in ran.lines)  # a terminal crops


def test_a_spawned_session_says_who_ran_it(lighthouse: Cli) -> None:
    ran = lighthouse("loops", "gallery")
    assert ran.lines[1:] == [
        "    1    4.0k      90  gallery  by inspect in lighthouse.main.0, agent inspector, 1 loop",
        "    1    4.0k      90  └─ main.0  completed  beam-2  Which lamps are out?",
    ]


def test_rates_give_each_row_its_cost(lighthouse: Cli, rates: str) -> None:
    """The evaluation of a group names no model: it is in no cost, and told."""
    ran = lighthouse.process("loops", "lighthouse", "--rates", rates)
    assert ran.status == 0
    costs = {line[34:].lstrip("├└│─ ").split("  ")[0]: line[23:32].strip() for line in ran.lines}
    assert costs["SESSION AND LOOPS"] == "EUR COST"
    assert costs["gallery"] == "9.8000"
    assert costs["parallel group of 2"] == "?"
    assert costs["a.0"] == "0.0200"
    assert costs["b.0"] == "0.0800"
    assert costs["main.3"] == "0.0550"
    assert costs["all 2 sessions"] == ">13.1750"
    assert ran.lines[2][23:].startswith("   2.1200  ├─ main.0")
    assert ran.stderr == (
        "sessionlog: 70 input and 1 output tokens of no model are not in the cost: the log names none\n"
    )


def test_a_model_without_rates_is_told_and_not_priced(lighthouse: Cli, tmp_path: Path) -> None:
    path = tmp_path / "rates.toml"
    path.write_text('currency = "USD"\n[models."beam-1"]\ninput = 1000\noutput = 10000\n')
    ran = lighthouse("loops", "lighthouse", "--rates", str(path))
    assert ran.lines[3].split()[3] == "?"
    assert ran.lines[2].split()[3] == ">2.0000"
    assert (
        "1,200 cache_read tokens of model beam-1 are not in the cost: the rates file has no cache_read price"
        in ran.stderr
    )
    assert "output tokens of model beam-2 are not in the cost: the rates file has no input and output" in ran.stderr


@pytest.mark.parametrize("text", ["", "{", "[models.x]\ninput = -1", "[models.x]\nprice = 1", "{}"])
def test_a_file_without_rates_is_refused(lighthouse: Cli, tmp_path: Path, text: str) -> None:
    path = tmp_path / "rates"
    path.write_text(text)
    ran = lighthouse("loops", "lighthouse", "--rates", str(path))
    ran.assert_refused("rates holds no rates")
    assert ran.stdout == ""


def test_a_file_of_rates_that_is_not_there_is_told(lighthouse: Cli) -> None:
    lighthouse("loops", "lighthouse", "--rates", "nowhere.toml").assert_refused("nowhere.toml: No such file")


def test_full_draws_the_turns(lighthouse: Cli) -> None:
    lines = lighthouse("loops", "gallery", "--full").lines
    margin = " " * 23
    assert lines[2].endswith("└─ gallery.main.0  completed  beam-2  Which lamps are out?")
    assert lines[3:] == [
        f"{margin}   │  from 2026-03-01 12:00:02, 1.0 s, agent inspector, provider coast",
        f"{margin}   └─ turn 0  user, 1.5 s, 0 in, 0 out",
        f"{margin}         user: Which lamps are out?",
        f"{margin}         Lamp 3.",
    ]
    assert "  by inspect (call-1), agent inspector" in lighthouse("loops", "lighthouse", "--full").stdout


# --- As data


def test_json_gives_a_session_a_line_with_its_loops(lighthouse: Cli, rates: str) -> None:
    root, child = lighthouse("loops", "lighthouse", "--json", "--rates", rates).objects
    assert (root["session_id"], child["session_id"]) == ("lighthouse", "gallery")
    assert child["parent_spawn_ref"]["parent_loop_id"] == "lighthouse.main.0"
    by_id = {loop["loop_id"].partition(".")[2]: loop for loop in root["loops"]}
    assert [(name, loop["depth"]) for name, loop in by_id.items()] == [
        ("main.0", 0),
        ("main.1", 1),
        ("a.0", 2),
        ("b.0", 2),
        ("main.2", 3),
        ("main.3", 4),
    ]
    assert by_id["b.0"]["parallel_group"]["is_selected"] is True
    assert by_id["a.0"]["parallel_group"]["is_selected"] is False
    assert by_id["main.0"]["child_loop_refs"][0]["child_session_id"] == "gallery"
    assert by_id["main.0"]["tokens"] == {
        "requests": 1,
        "input_total": 2000,
        "cache_read": 1200,
        "cache_write": 0,
        "output": 120,
    }
    assert by_id["main.0"]["cost"] == {
        "currency": "EUR",
        "source": "the rates file",
        "amount": 2.12,
        "complete": True,
        "gaps": [],
    }
    assert by_id["main.1"]["turn_count"] == 2
    assert by_id["main.2"]["rejection"] == "no\nlamps"
    assert root["turn_count"] == 4
    assert root["cost"]["gaps"] == [
        {"model": None, "what": "input", "tokens": 70},
        {"model": None, "what": "output", "tokens": 1},
    ]
    assert not {"messages", "turns", "events"} & by_id["main.0"].keys()


def test_json_full_gives_every_member(lighthouse: Cli) -> None:
    root, _ = lighthouse("loops", "lighthouse", "--json", "--full").objects
    loop = root["loops"][0]
    assert loop["turns"][0]["input_messages"][0]["content"][0]["text"] == "Which lamps are out?"
    assert loop["events"][0]["event"]["type"] == "AgentStart"
    assert loop["cost"] is None


def test_sums_are_those_of_the_rows(lighthouse: Cli) -> None:
    """A session's numbers are its loops' and its groups' added up, each once."""
    root, _ = lighthouse("loops", "lighthouse", "--json").objects
    evaluation = {"input_total": 70, "output": 1, "cache_read": 0, "cache_write": 0, "requests": 0}
    for name, extra in evaluation.items():
        assert root["tokens"][name] == sum(loop["tokens"][name] for loop in root["loops"]) + extra


# --- Nothing to draw, and what is not there


def test_a_session_without_agent_events_says_so(run: Cli, rates: str) -> None:
    ran = run("loops", "alpha-1", "--rates", rates)
    assert (ran.status, ran.stdout) == (0, "")
    assert ran.stderr == "alpha-1 has no loops: no agent event in its log starts one\n"


def test_json_of_a_session_without_agent_events_has_no_loops(run: Cli) -> None:
    ran = run("loops", "alpha-1", "--json")
    (one,) = ran.objects
    assert (ran.status, ran.stderr) == (0, "")
    assert (one["session_id"], one["loops"], one["turn_count"]) == ("alpha-1", [], 0)


@pytest.mark.parametrize(
    ("session", "words"),
    [
        ("nowhere", "there is no session nowhere"),
        ("alpha", "alpha-1, alpha-2"),
        ("../x", "session id"),
        ("", "session id"),
        ("\x1b[31m", "session id"),
    ],
)
def test_a_wrong_id_is_told(run: Cli, session: str, words: str) -> None:
    ran = run("loops", session, "--json")
    ran.assert_refused(words)
    assert ran.stdout == ""


def test_a_store_that_is_not_there_is_told_and_not_made(empty: Cli) -> None:
    empty("loops", "alpha-1").assert_refused("there is no store at", "--store DIR")
    assert not empty.store.exists()


def test_a_spawned_session_that_is_not_in_the_store_is_named(lighthouse: Cli) -> None:
    lighthouse.log("gallery").unlink()
    ran = lighthouse("loops", "lighthouse")
    assert ran.status == 0
    assert ran.lines[3].strip() == "│  └─ gallery  by inspect, not in this store"
    assert len(lighthouse("loops", "lighthouse", "--json").objects) == 1


def test_a_spawned_session_that_is_damaged_is_told_and_the_rest_is_drawn(lighthouse: Cli) -> None:
    data = lighthouse.log("gallery").read_bytes()
    lighthouse.log("gallery").write_bytes(data.replace(b"beam-2", b"beam-9"))
    ran = lighthouse("loops", "lighthouse")
    assert ran.status == 1
    assert ran.lines[3].strip() == "│  └─ gallery  by inspect, not read"
    assert len(ran.lines) == 10
    ran.assert_one_line("gallery", "the sessions that tool calls ran are left out")


def test_a_damaged_session_is_told(lighthouse: Cli) -> None:
    data = lighthouse.log("lighthouse").read_bytes()
    lighthouse.log("lighthouse").write_bytes(data.replace(b"storm", b"steam"))
    ran = lighthouse("loops", "lighthouse")
    assert (ran.status, ran.stdout) == (1, "")
    ran.assert_one_line("sessionlog audit")


# --- Whatever a log says


def names(lines: Sequence[str]) -> list[str]:
    """The branches and the first word of each row."""
    return [re.sub(r"^([ │├└─…]*\S+).*", r"\1", line[23:]) for line in lines[1:]]


def test_sessions_that_run_each_other_are_drawn_once(empty: Cli) -> None:
    """A ran B twice, and B ran A: the circle ends."""
    record(
        empty,
        start("a.x.0", 0),
        start("b.x.0", 1, "a.x.0"),
        ran("b.x.0", "a.x.0", "c2"),
        ran("a.x.0", "b.x.0", "c1"),
        ran("a.x.0", "b.x.0", "c3"),
        ran("a.x.0", "a.x.0", "c4"),
        end("b.x.0", 2),
        end("a.x.0", 3),
    )
    lines = empty("loops", "a").lines
    assert names(lines) == ["a", "└─ x.0", "   ├─ b", "   │  └─ x.0", "   │     └─ a", "   ├─ b", "   └─ a", "all"]
    assert [line.rpartition(", ")[2] for line in lines[5:8]] == ["drawn above"] * 3
    assert len(empty("loops", "a", "--json").objects) == 2


def test_loops_that_continue_each_other_are_drawn_once(empty: Cli) -> None:
    """Parents in a circle, a loop that is its own parent, a parent that is nowhere."""
    record(
        empty,
        start("s.x.0", 0, "s.x.1", kind=Default()),
        start("s.x.1", 1, "s.x.0", kind=Default()),
        start("s.y.0", 2, "s.y.0", kind=Default()),
        start("s.z.0", 3, "s.gone.0", kind=Default()),
    )
    ran = empty("loops", "s")
    assert names(ran.lines) == ["s", "├─ z.0", "├─ x.0", "├─ x.1", "└─ y.0"]
    assert [line for line in ran.lines if "continues after gone.0, which is not here, running" in line]


def test_what_goes_on_in_several_ways_stands_below(empty: Cli) -> None:
    """One that goes on alone is a column; two are a fork; a branch that was not selected keeps its own."""
    begun, ended = group("s", "s.b.0", "s.a.0", "s.b.0")
    record(
        empty,
        start("s.x.0", 0),
        start("s.x.1", 1, "s.x.0", kind=Default()),
        start("s.x.2", 2, "s.x.1", kind=Branch("l")),
        start("s.x.3", 3, "s.x.1", kind=Branch("r")),
        start("s.x.4", 4, "s.x.3", kind=Default()),
        begun,
        start("s.a.0", 10, "s.x.4", kind=Branch("a")),
        start("s.b.0", 11, "s.x.4", kind=Branch("b")),
        ended,
        start("s.a.1", 12, "s.a.0", kind=Default()),
        start("s.b.1", 13, "s.b.0", kind=Default()),
    )
    assert names(empty("loops", "s").lines) == [
        "s",
        "├─ x.0",
        "└─ x.1",
        "   ├─ x.2",
        "   ├─ x.3",
        "   ├─ x.4",
        "   ├─ parallel",
        "   │  ├─ a.0",
        "   │  ├─ a.1",
        "   │  └─ b.0",
        "   └─ b.1",
    ]


def test_branches_that_have_not_ended_are_pending(empty: Cli) -> None:
    begun, _ = group("s", "s.a.0", "s.a.0", "s.b.0")
    record(empty, start("s.x.0", 0), begun, start("s.a.0", 11, "s.x.0", kind=Branch()))
    lines = empty("loops", "s").lines
    assert [line[23:] for line in lines[2:]] == [
        "├─ x.0  running  beam-1",
        "├─ a.0  branch, running  beam-1",
        "└─ b.0  pending",
    ]


def test_a_group_whose_branches_begin_apart_counts_once(empty: Cli) -> None:
    begun, ended = group("s", "s.b.0", "s.a.0", "s.b.0", evaluation=Usage(input=7))
    record(
        empty,
        start("s.x.0", 0),
        begun,
        start("s.a.0", 10, "s.x.0", kind=Branch()),
        start("s.b.0", 11),
        ended,
    )
    ran = empty("loops", "s")
    groups = [line for line in ran.lines if "parallel group" in line]
    assert len(groups) == 2
    assert sorted(line[:23].split() for line in groups) == [[], ["0", "7", "0"]]
    assert len([line for line in groups if "b.0 selected" in line]) == 1
    assert ran.lines[1].split()[:3] == ["0", "7", "0"]


def test_a_long_conversation_is_a_column(empty: Cli) -> None:
    count = 300
    chain = [start(f"s.x.{n}", n, f"s.x.{n - 1}" if n else None, kind=Default()) for n in range(count)]
    record(empty, *chain)
    lines = empty("loops", "s").lines
    assert len(lines) == count + 2
    assert max(map(len, lines)) < 80


def test_deep_branches_stay_narrow(empty: Cli) -> None:
    """Each loop forks: the innermost levels are kept, and the rows do not grow."""
    count = 60
    events = [start("s.x.0", 0)]
    for n in range(1, count):
        events += [start(f"s.{kind}.{n}", n, f"s.x.{n - 1}", kind=Branch()) for kind in ("x", "y")]
    record(empty, *events)
    lines = empty("loops", "s").lines
    assert len(lines) == 2 * count + 1
    assert len({line.rpartition("─ ")[2] for line in lines[2:]}) == 2 * count - 1
    assert max(map(len, lines)) <= 23 + BRANCH_CHARS_MAX + 3 + len("y.59  branch, running  beam-1")
    assert [line for line in lines if "…" in line]


@pytest.fixture
def hostile(empty: Cli) -> Cli:
    """A session ``hostile`` that carries terminal codes, and names that pose as rows, wherever events carry text."""
    text = ACTING + MARKUP
    loop_id = f"hostile.{text}.0"
    begun, ended = group("hostile", f"hostile.{text}.1", f"hostile.{text}.1", f"hostile.{text}.2")
    record(
        empty,
        start(loop_id, 0, model=text, agent_id=text),
        *turn(loop_id, 1, model=text, usage=Usage(input=1)),
        ran(loop_id, f"{text}.x.0", text, text),
        ran(loop_id, "hostile.x.0", text, text),
        end(loop_id, 2, rejection=text),
        begun,
        start(f"hostile.{text}.1", 3, loop_id, kind=Rerun(text), model=text),
        start(f"hostile.{text}.2", 4, loop_id, kind=Branch(text), model=text),
        ended,
        start("hostile.x.1", 5, f"hostile.{text}.gone", kind=Default()),
        start("hostile.x.2  completed  a-model", 6),
        start("child.x.0", 7, loop_id),
    )
    return empty


@pytest.mark.parametrize("session", ["hostile", "child"])
@pytest.mark.parametrize("option", [(), ("--full",), ("--json",), ("--json", "--full")], ids=" ".join)
def test_nothing_from_a_log_acts_on_a_terminal(hostile: Cli, rates: str, session: str, option: tuple[str, ...]) -> None:
    ran = hostile("loops", session, "--rates", rates, *option)
    assert ran.status == 0
    assert len(ran.lines) > 2 or "--json" in option
    for one in FORBIDDEN:
        assert one not in ran.stdout.replace("\n", "")
        assert one not in ran.stderr.replace("\n", "")


def test_a_name_cannot_pose_as_something_else(hostile: Cli) -> None:
    """Names with spaces are quoted, and long ones cut; --full gives them whole."""
    ran = hostile("loops", "hostile")
    assert [line for line in ran.lines if '"x.2  completed  a-model"  running' in line]
    model = json.dumps(MARKUP)[1:-1]
    assert model not in "".join(line for line in ran.lines if "rerun" in line)
    assert model in "".join(line for line in hostile("loops", "hostile", "--full").lines if "rerun" in line)


@pytest.mark.parametrize("length", [NAME_CHARS_MAX, NAME_CHARS_MAX + 1])
def test_names_are_cut_where_the_limit_is(empty: Cli, length: int) -> None:
    name = "x" * (length - 2) + ".0"
    record(empty, start(f"s.{name}", 0, model=None))
    shown = name if length == NAME_CHARS_MAX else name[: NAME_CHARS_MAX - 1] + "…"
    assert empty("loops", "s").lines[2].endswith(f"└─ {shown}  running")
    assert empty("loops", "s", "--full").lines[2].endswith(f"└─ s.{name}  running")


def test_a_terminal_gets_colours_and_lines_that_fit(hostile: Cli, lighthouse: Cli, rates: str) -> None:
    for session in ("hostile", "lighthouse"):
        for option in ((), ("--full",), ("--rates", rates)):
            status, text = on_terminal(lighthouse, "loops", session, *option)
            assert status == 0
            assert "\x1b[" in text
            lines = ANSI.sub("", text).splitlines()
            drawn = [line for line in lines if not line.startswith("sessionlog: ")]
            assert len(drawn) > 5
            assert all(len(line) <= 80 for line in drawn), drawn


def test_an_output_that_knows_ascii_only_gets_plain_branches(lighthouse: Cli) -> None:
    ran = lighthouse.process("loops", "gallery", env=environment(PYTHONIOENCODING="ascii"))
    assert ran.lines[2].endswith("`- main.0  completed  beam-2  Which lamps are out?")


# --- Tokens and their models


def loop_of(usage: Usage, *turns: tuple[str, Usage], model: str | None = "m") -> LoopRecord:
    config = None if model is None else LoopConfigSnapshot(model)
    return LoopRecord(
        loop_id="s.x.0",
        session_id="s",
        started_at=NOON,
        status=LoopStatus.COMPLETED,
        config=config,
        usage=usage,
        turns=[
            Turn(
                turn_id=TurnId("s.x.0", index),
                usage=used,
                output_message=AssistantMessage([Text("x")], model=name, provider=""),
                started_at=NOON,
                ended_at=NOON,
            )
            for index, (name, used) in enumerate(turns)
        ],
    )


@pytest.mark.parametrize(
    ("loop", "by_model"),
    [
        (loop_of(Usage(input=5)), {"m": 5}),
        (loop_of(Usage(input=5), model=None), {None: 5}),
        (loop_of(Usage(input=5), model=""), {None: 5}),
        (loop_of(Usage(), ("a", Usage(input=1)), ("b", Usage(input=2))), {"a": 1, "b": 2}),
        (loop_of(Usage(), ("", Usage(input=1))), {"m": 1}),
        (loop_of(Usage(input=5), ("a", Usage(input=9))), {"a": 5}),
        (loop_of(Usage(input=3), ("a", Usage(input=1)), ("b", Usage(input=2))), {"a": 1, "b": 2}),
        (loop_of(Usage(input=5), ("a", Usage(input=1)), ("b", Usage(input=2))), {"a": 1, "b": 2, None: 2}),
        (loop_of(Usage(input=2), ("a", Usage(input=1)), ("b", Usage(input=2))), {None: 2}),
    ],
)
def test_tokens_go_to_the_model_that_the_log_names(loop: LoopRecord, by_model: dict[str | None, int]) -> None:
    """The loop's end says how many; its turns say whose; what they do not say is nobody's, never a guess."""
    assert {model: tokens.input_total for model, tokens in sum_loop(loop).by_model.items()} == by_model


def test_what_a_tool_made_up_is_no_model() -> None:
    """Nor is an empty name one; what a model is called stays."""
    assert [model_name(name) for name in ("<synthetic>", "", "beam-1", "<odd")] == [None, None, "beam-1", "<odd"]
