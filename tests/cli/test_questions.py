"""search, stats, log, diff, export, completion: what they print, what they refuse, and that nothing in them acts."""

import os
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pexpect
import pytest

from sessionlog.cli.text import compact, duration

from .conftest import Cli, assistant, call, environment, message, user
from .test_output import ACTING, FORBIDDEN, MARKUP, on_terminal

USAGE = {
    "kind": "llm_usage",
    "history_len": 1,
    "input_total_tokens": 1000,
    "cache_read_tokens": 600,
    "cache_write_tokens": 300,
    "output_tokens": 50,
}


def result(call_id: str, text: str, **more: object) -> dict[str, object]:
    item = {"type": "tool_result", "call_id": call_id, "summary": text, **more}
    return {"kind": "tool_results", "ts": 1_700_000_002_500, "items": [item]}


@pytest.fixture
def busy(run: Cli) -> Cli:
    """A session ``busy`` with a turn, calls, a failure, usage; and ``hostile``, the same of hostile text."""
    for name, text in (("busy", "Mend the tests\nplease"), ("hostile", ACTING + MARKUP)):
        run.append(
            name,
            {"kind": "config_changed", "config": {"model": text}},
            user(text),
            {"kind": "assistant_items", "items": [{"type": "reasoning", "text": text}]},
            assistant(text, call("c1"), {**call("c2"), "name": text if name == "hostile" else "Read"}, call("c3")),
            result("c1", "one\ntwo"),
            result("c2", text, is_error=True, content=text * 2),
            USAGE,
            {"kind": "extension", "domain": text, "payload": {text: text}},
            {"kind": text, text: text},
            {"kind": "hook_injected_items", "items": [message("system", text)]},
            {"kind": "run_outcome", "outcome": "error", "message": text, "interrupted": True},
        )
    return run


def hashes(run: Cli, session: str) -> list[str]:
    return [one["hash"] for one in run("show", session, "--json").objects]


# --- Nothing acts


@pytest.fixture
def rates(tmp_path: Path) -> str:
    path = tmp_path / "rates.toml"
    path.write_text('[models."Mend the tests\\nplease"]\ninput = 10\noutput = 20\n')
    return str(path)


@pytest.mark.parametrize("option", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize(
    "command",
    [
        ("search", "red"),
        ("search", "m[a-z]rkup", "--regex", "-C", "3"),
        ("stats", "hostile", "--rates", "rates.toml"),
        ("stats", "--rates", "rates.toml"),
        ("log", "hostile"),
        ("log", "hostile", "--full"),
        ("diff", "hostile", "busy"),
        ("export", "hostile", "--format", "markdown"),
        ("export", "hostile", "--format", "openai"),
        ("export", "hostile", "--format", "anthropic"),
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("rates")
def test_nothing_from_a_log_acts_in_answers(busy: Cli, command: tuple[str, ...], option: tuple[str, ...]) -> None:
    ran = busy(*command, *option)
    if "markdown" not in command or not option:  # which is not JSON
        assert ran.status == 0
        assert "red" in ran.stdout
    for one in FORBIDDEN:
        assert one not in ran.stdout.replace("\n", "")
        assert one not in ran.stderr.replace("\n", "")


@pytest.mark.parametrize("command", [("search", "red"), ("stats",), ("log", "hostile"), ("diff", "hostile", "busy")])
def test_a_terminal_of_80_columns_is_enough(busy: Cli, command: tuple[str, ...]) -> None:
    status, text = on_terminal(busy, *command)
    assert status == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n")
    assert not any(one in plain.replace("\n", "") for one in FORBIDDEN)
    assert all(len(line) <= 80 for line in plain.splitlines()), plain


def test_exported_files_are_inert_and_raw_lines_refuse_a_terminal(busy: Cli, tmp_path: Path) -> None:
    """What is written to a file may be shown with cat; only the log's own bytes stay as they are."""
    for format_ in ("markdown", "openai", "anthropic"):
        assert busy("export", "hostile", "--format", format_, "--output", "out").status == 0
        text = (tmp_path / "out").read_text()
        assert not any(one in text.replace("\n", "") for one in FORBIDDEN)
    status, text = on_terminal(busy, "export", "hostile", "--format", "jsonl")
    assert status == 2
    assert "--output FILE" in text
    assert "\x1b" not in text


# --- search


def test_search_shows_where_and_what(busy: Cli) -> None:
    """A line for the record, with who said it, and the lines around each match below it."""
    ran = busy("search", "PLEASE", "--in", "user")
    at = hashes(busy, "busy")[2]
    assert ran.lines == [
        f"busy  2  {at[:8]}  2023-11-14 22:13:20  user",
        "       1- Mend the tests",
        "       2: please",
    ]
    assert busy("search", "please", "--in", "user", "-C", "0").lines[1:] == ["       2: please"]
    assert busy("fork", "busy", "--at", at[:8]).status == 0


def test_search_in_named_sessions_and_by_tool_and_time(busy: Cli) -> None:
    [hit] = busy("search", "two", "alpha-1", "busy", "--tool", "Bash", "--json").objects
    assert (hit["session_id"], hit["role"], hit["tool"], hit["kind"]) == ("busy", "tool", "Bash", "tool_results")
    assert hit["lines"][-1] == {"number": 2, "text": "two", "matches": [[0, 3]]}
    day = ("search", "two", "busy", "--json", "--in", "tools", "--since", "2023-11-14", "--until")
    assert len(busy(*day, "2023-11-14").objects) == 1
    assert busy(*day, "2023-11-14T22:13:22Z").objects == []
    assert busy(*day, "2023-11-14T22:13:22.501+00:00").objects != []


def test_search_finds_each_text_once(run: Cli) -> None:
    """Said by a person or a model, by default; told by events and held by forks too, it is found where it was said."""
    said = {"type": "message", "role": "user", "content": [{"type": "text", "text": "the needle"}]}
    message = {"role": "user", "content": [{"type": "text", "text": "the needle"}]}
    run.append(
        "main",
        {"kind": "user_input", "ts": 1, "item": said},
        {"kind": "agent_event", "ts": 2, "event": {"type": "MessageEnd", "loop_id": "l", "message": message}},
        {"kind": "agent_event", "ts": 3, "event": {"type": "AgentEnd", "loop_id": "l", "messages": [message]}},
        {"kind": "extension", "ts": 4, "domain": "import", "payload": {"cwd": "/needle"}},
        {"kind": "extension", "ts": 4, "domain": "mine", "payload": {"note": "a needle of mine"}},
        {"kind": "tool_results", "ts": 5, "items": [{"type": "tool_result", "call_id": "c", "summary": "needle out"}]},
    )
    forked = run("fork", "main", "--at", "6").lines[0]
    found = [(one["session_id"], one["seq"]) for one in run("search", "needle", "--json").objects]
    assert found == [("main", 1)]
    everywhere = [(one["session_id"], one["seq"]) for one in run("search", "needle", "--in", "all", "--json").objects]
    assert everywhere == [("main", 1), ("main", 5), ("main", 6)]
    assert [one["seq"] for one in run("search", "needle", "--in", "tools", "--json").objects] == [6]
    alone = [(one["session_id"], one["seq"]) for one in run("search", "needle", forked, "--json").objects]
    assert alone == [(forked, 0)]


def test_search_reads_a_log_of_events(run: Cli) -> None:
    """A recorder's log holds what was said in its events alone, and each of it once."""
    message = {"role": "assistant", "content": [{"type": "text", "text": "the needle"}]}
    events = [
        {"type": "MessageEnd", "loop_id": "l", "message": message},
        {"type": "TurnEnd", "loop_id": "l", "message": message},
        {"type": "AgentEnd", "loop_id": "l", "messages": [message]},
    ]
    run.append("recorded", *({"kind": "agent_event", "ts": 1, "event": event} for event in events))
    [hit] = run("search", "needle", "recorded", "--json").objects
    assert (hit["seq"], hit["role"]) == (1, "assistant")


def test_search_that_finds_nothing_says_so(busy: Cli) -> None:
    ran = busy("search", "no such words")
    assert (ran.status, ran.stdout, ran.stderr) == (0, "", "nothing found\n")


def test_search_cuts_a_long_line_around_its_match(run: Cli) -> None:
    run.append("long", user("a" * 5000 + "needle" + "b" * 5000))
    line = run("search", "needle").lines[1]
    assert "…" + "a" * 40 + "needle" + "b" * 10 in line
    assert len(line) < 200


@pytest.mark.parametrize("expression", [r"x.{0,1000}y.{0,500}z", "."], ids=["costly", "many matches"])
def test_ctrl_c_ends_a_long_search(run: Cli, expression: str) -> None:
    """On a terminal: a text that takes minutes, or has millions of matches; the prompt is back at once."""
    run.append("long", user("xwyaab" * 1_000_000))
    terminal = pexpect.spawn(
        run.command[0], [*run.command[1:], "search", expression, "long", "--regex"], env=environment(TERM="xterm")
    )
    terminal.expect("searching")  # the bar: it is at work
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert (terminal.exitstatus, terminal.signalstatus) == (130, None)
    assert b"Traceback" not in terminal.before


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("search", "(", "--regex"), "( cannot be searched for: RE2 refuses it: missing )"),
        (("search", "a(?=b)", "--regex"), "lookaround is not supported"),
        (("search", r"(a)\1", "--regex"), "back references are not supported"),
        (("search", r"\p{L}{900}", "--regex"), "too costly"),
        (("search", ""), "give a TEXT"),
        (("search", "x", "--since", "yesterday"), "2026-01-31"),
        (("search", "x", "nobody"), "nobody"),
        (("search", "x", "--in", "robot"), "robot"),
    ],
)
def test_search_refuses_in_one_line(run: Cli, args: tuple[str, ...], words: str) -> None:
    run(*args).assert_refused(words)


def test_a_damaged_log_does_not_stop_the_others(busy: Cli) -> None:
    data = busy.log("alpha-1").read_bytes()
    busy.log("alpha-1").write_bytes(data.replace(b"On it.", b"On 1t."))
    ran = busy("search", "thing")
    assert ran.status == 1
    assert "Another thing" in ran.stdout
    assert "alpha-1" in ran.stderr
    ran = busy("stats", "--json")
    assert ran.status == 1
    assert {one["session_id"]: one["records"] for one in ran.objects}["alpha-1"] == 2


# --- stats


def test_stats_of_one_session(busy: Cli, rates: str) -> None:
    ran = busy("stats", "busy", "--rates", rates)
    assert ran.status == 0
    text = "\n".join(ran.lines)
    for part in (
        "turns           1 (inputs of the user: no turn end is logged)",
        "tool calls      3, 1 failed, 1 without a result",
        "tokens in       1,000 in 1 request",
        "  cached        600 read from a cache, 300 written to one",
        "tokens out      50",
        "cost            at least 0.0020 USD",
        "assistant_items                 2",
        "Bash                            2        0         2.5 s",
        "Read                            1        1         2.5 s",
    ):
        assert part in text
    assert ran.stderr == (
        "sessionlog: 600 cache_read and 300 cache_write tokens of model Mend the tests please are not in the cost: "
        "the rates file has no cache_read and cache_write price for it\n"
    )


def test_stats_json_has_everything(busy: Cli, rates: str) -> None:
    [one] = busy("stats", "busy", "--json", "--rates", rates).objects
    assert one["kinds"]["tool_results"] == 2
    assert (one["turns"], one["turns_ended"], one["dangling_calls"]) == (1, 0, 1)
    assert one["tokens"] == {
        "requests": 1,
        "input_total": 1000,
        "cache_read": 600,
        "cache_write": 300,
        "output": 50,
    }
    assert one["tools"]["Bash"] == {"calls": 2, "failures": 0, "timed": 1, "time_ms": 2500}
    assert one["cost"]["amount"] == pytest.approx((100 * 10 + 50 * 20) / 1e6)
    assert (one["cost"]["complete"], [gap["what"] for gap in one["cost"]["gaps"]]) == (
        False,
        ["cache_read", "cache_write"],
    )


def test_stats_of_several_is_a_table_and_the_sum(busy: Cli) -> None:
    ran = busy("stats")
    assert ran.lines[0].split() == [
        *["RECORDS", "TURNS", "CALLS", "FAILED", "OPEN", "IN", "CACHED", "OUT", "TIME", "SESSION"]
    ]
    assert {line.split()[-1] for line in ran.lines[1:5]} == {"busy", "hostile", "alpha-1", "alpha-2"}
    assert "session         all 4" in ran.lines


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "models"), ("{", "truncated"), ('[models.m]\nprice = "1"', "price"), (None, "No such file")],
)
def test_bad_rates_are_refused_in_one_line(run: Cli, tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "bad.toml"
    if text is not None:
        path.write_text(text)
    run("stats", "--rates", str(path)).assert_refused("bad.toml", words)


@pytest.mark.parametrize("name", ["zero", "fifo", "link", "socket"])
def test_rates_that_are_no_regular_file_are_refused_at_once(run: Cli, tmp_path: Path, name: str) -> None:
    """Nothing waits for a writer, or reads a device to its end."""
    path = tmp_path / name
    match name:
        case "zero":
            path = Path("/dev/zero")
        case "fifo":
            os.mkfifo(path)
        case "link":
            path.symlink_to("/dev/zero")
        case _:
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(str(path))
    run("stats", "--rates", str(path)).assert_refused("no regular file" if name != "socket" else "socket")


def test_large_rates_are_refused_unread(run: Cli, tmp_path: Path) -> None:
    path = tmp_path / "sparse.toml"
    with path.open("wb") as file:
        file.truncate(3 * 2**30)
    run("stats", "--rates", str(path)).assert_refused("sparse.toml", "longer than 1,048,576 bytes")


@pytest.mark.parametrize(("name", "start"), [("p.svg", b"<?xml"), ("p.PNG", b"\x89PNG")])
def test_plots_are_drawn(busy: Cli, tmp_path: Path, name: str, start: bytes) -> None:
    ran = busy("stats", "--plot", name)
    assert (ran.status, ran.stderr) == (0, f"wrote {name}\n")
    data = (tmp_path / name).read_bytes()
    assert data.startswith(start)
    if name.endswith("svg"):
        tags = {element.tag.rpartition("}")[2] for element in ET.fromstring(data).iter()}
        assert not tags & {"script", "a", "image", "foreignObject"}
        busy("stats", "--plot", name)
        assert (tmp_path / name).read_bytes() == data


def test_plots_of_sessions_without_anything_to_plot(run: Cli) -> None:
    assert run("stats", "alpha-2", "--plot", "p.svg").status == 0


def test_a_plot_of_another_kind_is_refused(run: Cli) -> None:
    run("stats", "--plot", "plot.pdf").assert_refused("plot.pdf", ".svg")


def test_an_extra_that_is_not_there_is_named(run: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    run("stats", "--plot", "p.svg").assert_refused("matplotlib", "sessionlog[plot]")
    run("stats", "--parquet", "t.parquet").assert_refused("pyarrow", "sessionlog[parquet]")


def test_parquet_has_a_row_a_record(busy: Cli, tmp_path: Path) -> None:
    import pyarrow.parquet as pq  # noqa: PLC0415

    assert busy("stats", "busy", "--parquet", "t.parquet").stderr == "wrote t.parquet\n"
    assert pq.read_table(tmp_path / "t.parquet").column("hash").to_pylist() == hashes(busy, "busy")
    assert stat.S_IMODE((tmp_path / "t.parquet").stat().st_mode) == 0o600


# --- log


def test_log_json_gives_the_items_with_their_records(busy: Cli) -> None:
    objects = busy("log", "busy", "--json").objects
    assert [one["item"]["type"] for one in objects][:3] == ["message", "reasoning", "message"]
    assert (objects[0]["turn"], objects[0]["seq"], objects[0]["hash"]) == (1, 2, hashes(busy, "busy")[2])


def test_log_of_a_fork_does_not_repeat_its_source(busy: Cli) -> None:
    forked = busy("fork", "busy", "--at", hashes(busy, "busy")[4]).stdout.strip()
    busy.append(forked, result("c1", "late"))
    lines = busy("log", forked).lines
    assert any(line.startswith("fork of    busy at ") for line in lines)
    assert "           6 items taken over" in lines
    assert lines[-1] == "tool       <- late"


def test_log_shows_a_result_that_comes_much_later(run: Cli) -> None:
    """A call waits for its result, though not for ever: behind many others it is shown without."""
    run.append("late", user("x"), assistant("y", call("c1")), *(assistant(f"z{at}") for at in range(300)))
    run.append("late", result("c1", "at last"))
    lines = run("log", "late").lines
    assert "              no result" in lines
    assert lines[-1] == "tool       <- at last"


# --- diff


def test_diff_tells_where_and_what_afterwards(busy: Cli) -> None:
    at = hashes(busy, "busy")[2]
    forked = busy("fork", "busy", "--at", at).stdout.strip()
    busy.append(forked, user("Rather not"))
    ran = busy("diff", "busy", forked, "-n", "1")
    assert ran.status == 0
    assert ran.lines[0] == f"in common up to record 2 ({at[:8]}) of busy"
    at_busy, at_fork = ran.lines.index("busy"), ran.lines.index(forked)
    assert ran.lines[at_busy + 1].startswith("  8 items in 9 records, 3 tool calls (1 failed), 1,000 tokens in")
    assert ran.lines[at_busy + 2].endswith("(thinking) Mend the tests please")
    assert ran.lines[at_busy + 3] == "  ... 7 more"
    assert ran.lines[at_fork + 2].endswith("user: Rather not")
    [parting] = busy("diff", "busy", forked, "--json").objects
    assert parting["lineage"] == {"session_id": "busy", "seq": 2, "hash": at}
    assert [after["item_count"] for after in parting["after"]] == [8, 1]


def test_diff_of_strangers_and_of_the_same(run: Cli) -> None:
    run.append("copy", user("Another thing"))
    assert run("diff", "alpha-1", "alpha-2").lines[0].startswith("no origin in common")
    assert "nothing differs" in run("diff", "alpha-2", "copy").lines
    assert "nothing differs" in run("diff", "copy", "copy").lines


# --- export


def test_exported_lines_verify_in_another_store(busy: Cli, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    ran = busy("export", "hostile", "--format", "jsonl", "--output", "other/hostile.jsonl")
    assert (ran.status, ran.stdout) == (0, "")
    assert (tmp_path / "other/hostile.jsonl").read_bytes() == busy.log("hostile").read_bytes()
    assert Cli(tmp_path / "other")("audit").status == 0
    assert busy.process("export", "busy", "--format", "jsonl").stdout.encode() == busy.log("busy").read_bytes()


def test_export_prints_one_object_and_tells_what_is_left_out(busy: Cli) -> None:
    ran = busy("export", "busy", "--format", "anthropic")
    assert [one["role"] for one in ran.objects[0]["messages"]] == ["user", "assistant", "user"]
    assert "1 x tool call without a result: left out" in ran.stderr.splitlines()
    assert "1 x reasoning without a signature: left out" in ran.stderr.splitlines()


def test_a_file_is_replaced_whole_or_not_at_all(busy: Cli, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("before")
    data = busy.log("busy").read_bytes()
    busy.log("busy").write_bytes(data.replace(b"run_outcome", b"run_0utcome"))
    ran = busy("export", "busy", "--format", "jsonl", "--output", str(out))
    assert ran.status == 1
    assert out.read_text() == "before"
    busy.log("busy").write_bytes(data)
    link = tmp_path / "link"
    link.symlink_to(out)
    assert busy("export", "busy", "--format", "jsonl", "--output", str(link)).status == 0
    assert link.is_symlink()
    assert out.read_bytes() == data
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "out.jsonl", "store"]


@pytest.mark.parametrize(
    ("output", "words"), [("no/such/folder", "no directory"), ("/dev/null", "no regular file"), (".", "directory")]
)
def test_a_place_that_cannot_be_written_is_refused(run: Cli, output: str, words: str) -> None:
    run("export", "alpha-1", "--format", "jsonl", "--output", output).assert_refused(words)


# --- completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_script(run: Cli, shell: str) -> None:
    ran = run("completion", shell)
    assert ran.status == 0
    assert f"_SESSIONLOG_COMPLETE={shell}_complete" in ran.stdout
    assert run("completion", shell, "--json").objects[0]["script"].strip() == ran.stdout.strip()


def complete(run: Cli, *words: str, **env: str) -> list[str]:
    """Ask as bash does; the last of ``words`` is being typed."""
    asked = environment(
        _SESSIONLOG_COMPLETE="bash_complete",
        COMP_WORDS=" ".join(("sessionlog", *words)),
        COMP_CWORD=str(len(words)),
        **env,
    )
    command = [sys.executable, "-c", "import sys; sys.argv[0] = 'sessionlog'; from sessionlog.cli import main; main()"]
    ran = subprocess.run(command, env=asked, capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    return [line.split(",", 1)[1] for line in ran.stdout.splitlines() if line]


def test_commands_and_ids_are_completed(run: Cli) -> None:
    store = {"SESSIONLOG_STORE": str(run.store)}
    assert complete(run, "gr") == ["graph"]
    assert sorted(complete(run, "show", "al", **store)) == ["alpha-1", "alpha-2"]
    assert complete(run, "--store", str(run.store), "stats", "alpha-1", "alpha-2") == ["alpha-2"]
    assert complete(run, "diff", "alpha-1", "alpha-2", **store) == ["alpha-2"]
    assert complete(run, "show", "al", SESSIONLOG_STORE=str(run.store / "none")) == []
    assert not (run.store / "none").exists()


def test_the_bash_script_is_bash(run: Cli, tmp_path: Path) -> None:
    script = tmp_path / "complete.bash"
    script.write_text(run("completion", "bash").stdout)
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0


# --- small things


def test_listing_does_not_load_what_only_the_others_need(run: Cli) -> None:
    code = (
        "import sys; from sessionlog.cli.app import run; run(['list']); "
        "print([name for name in sys.modules if name.startswith("
        "('sessionlog.exporters', 'sessionlog.importers', 'matplotlib', 'pyarrow', 're2', 'rich'))])"
    )
    env = environment(SESSIONLOG_STORE=str(run.store))
    ran = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert ran.stdout.splitlines()[-1] == "[]", ran


def test_times_and_counts_read_well() -> None:
    assert [duration(ms) for ms in (0, 9_949, 9_950, 59_999, 60_000, 3_600_000, 172_800_000)] == [
        "0.0 s",
        "9.9 s",
        "9 s",
        "59 s",
        "1 min 0 s",
        "1 h 0 min",
        "2 d 0 h",
    ]
    assert [duration(ms, compact=True) for ms in (5_000, 185_000, 7_380_000)] == ["5.0s", "3m05s", "2h03m"]
    assert [compact(count) for count in (999, 1000, 999_949, 999_950, 10**13)] == [
        "999",
        "1.0k",
        "999.9k",
        "1.0M",
        "10.0T",
    ]


def test_the_largest_numbers_are_counted(run: Cli) -> None:
    """Sums past 64 bits and times that no calendar reaches are no error, in a table, as JSON, or as a plot."""
    top = 2**64 - 1
    tokens = {name: top for name in USAGE if name not in ("kind", "history_len")}
    extreme = ({**USAGE, **tokens, "ts": -(2**63)}, {**USAGE, **tokens, "ts": top})
    run.append("large", *extreme, {**user("word"), "ts": top}, {**USAGE, "output_tokens": -5, "ts": 0})
    assert run("stats", "large", "--plot", "p.png").status == 0
    assert run("stats", "--parquet", "t.parquet").status == 0
    [one] = run("stats", "large", "--json").objects
    assert one["tokens"]["input_total"] == 2 * top + 1000
    assert run("log", "large").status == run("diff", "large", "alpha-1").status == 0
    assert run("search", "word", "--since", "2023-01-01").status == 0


def test_many_sessions_and_tools_are_drawn(run: Cli, tmp_path: Path) -> None:
    """The largest have a line or a bar of their own; the rest is told, or one bar together."""
    calls = [{**call(f"c{at}"), "name": f"tool {at} $x^2$"} for at in range(15)]
    calls.insert(0, {**call("c15"), "name": "--><script>x</script>"})
    run.append("tools", user("x"), assistant("y", *calls), *(result(f"c{at}", "z") for at in range(16)))
    for at in range(10):
        run.append(f"session-{at}", user("x"), USAGE, USAGE)
    assert run("stats", "--plot", "p.svg").status == 0
    text = (tmp_path / "p.svg").read_text()
    for words in ("4 others", "and 2 more, not drawn", "session-9", "tool 10 $x^2$"):
        assert f"<!-- {words} -->" in text
    assert "<script" not in re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    assert "script" not in {element.tag.rpartition("}")[2] for element in ET.fromstring(text).iter()}
