"""`log` is for reading: what was said stands whole, what tools did in a few lines; nothing of it acts or is hidden."""

import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionlog.cli.conversation import RESULT_LINES, THINKING_CHARS
from sessionlog.cli.markdown import CHARS_MAX, NESTING_MAX, markdown_lines

from .conftest import Cli, assistant, call, message, user
from .terminal import look
from .test_output import FORBIDDEN
from .test_questions import busy, result  # noqa: F401 - a fixture

PLACE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  record (\d+)  [0-9a-f]{8}")


def reading(lines: list[str]) -> str:
    return PLACE.sub(r"TIME  record \1", "\n".join(lines))


def test_log_reads_as_a_conversation(busy: Cli) -> None:  # noqa: F811
    """Turns with the record to fork at, what was said as it was written, calls with their results below them."""
    busy.append("busy", user("Thanks"), assistant("Welcome."))
    assert (
        reading(busy("log", "busy").lines)
        == """session    busy
config     model Mend the tests please

Turn 1  TIME  record 2
user       Mend the tests
           please

assistant  (thinking) Mend the tests please

           Mend the tests
           please

           -> Bash ls
              2.5 s: one
              two
           -> Read ls
              failed after 2.5 s: Mend the tests
              please
           -> Bash ls
              no result

hook       Mend the tests
           please

run        error, interrupted: Mend the tests please

Turn 2  TIME  record 12
user       Thanks

assistant  Welcome."""
    )


SAID = """\
Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do **eiusmod tempor** incididunt ut labore.

# Two things
- Run `pytest -q` *often*, and read what it says before the next line is written
  1. nested
> a quote

```sh
ls -l
```

| name | size |
|---|---|
| parser.py | 12 |

<b>html</b> ![x](http://y) [link](http://z)"""
READ = """\
assistant  Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do
           eiusmod tempor incididunt ut labore.

           # Two things
           - Run `pytest -q` often, and read what it says before the next line
             is written
             1. nested
           │ a quote

             sh
             ls -l

           name       size
           ─────────  ────
           parser.py  12

           <b>html</b> ![x](http://y) [link](http://z)"""


def test_a_terminal_shows_what_markdown_means_and_wraps_at_words(run: Cli) -> None:
    run.append("marked", user(SAID), assistant(SAID))
    seen = look("log", "marked", store=run.store)
    seen.assert_sound()
    assert "\n".join(seen.lines).endswith(READ)
    assert "\x1b]8" not in seen.output
    assert "\x1b[1meiusmod tempor\x1b[0m" in seen.output
    assert "           | parser.py | 12 |" in seen.lines[: seen.lines.index("           | parser.py | 12 |") + 1]
    wide = look("log", "marked", store=run.store, columns=120)
    assert "sed do eiusmod tempor incididunt ut labore." in wide.line_with("assistant")


def test_what_a_person_said_stands_as_it_was_written(run: Cli) -> None:
    last = "_end_ of a line that is longer than the terminal is wide, with a few words"
    text = f"Traceback:\n    File *x*\n        1. **y**\n\n\n{last}"
    run.append("typed", user(text))
    seen = look("log", "typed", store=run.store)
    assert seen.lines[3:] == [
        "user       Traceback:",
        "               File *x*",
        "                   1. **y**",
        "",
        "",
        "           _end_ of a line that is longer than the terminal is wide, with a few",
        "           words",
    ]
    piped = run("log", "typed").lines
    assert piped[-1] == f"           {last}"


@pytest.mark.parametrize("count", [1, RESULT_LINES, RESULT_LINES + 1, RESULT_LINES + 2, 1234])
def test_results_are_folded_to_a_few_lines(run: Cli, count: int) -> None:
    """At least two are left out: a line that says "1 more" would not be shorter."""
    run.append("tools", user("x"), assistant("", call("c")), result("c", "\n".join(map(str, range(count)))))
    lines = [line.strip() for line in run("log", "tools").lines]
    shown = lines[lines.index("2.5 s: 0") :]
    if count <= RESULT_LINES + 1:
        assert shown == ["2.5 s: 0", *map(str, range(1, count))]
    else:
        assert shown == ["2.5 s: 0", *map(str, range(1, RESULT_LINES)), f"… {count - RESULT_LINES:,} more lines"]
    whole = [line.strip() for line in run("log", "tools", "--full").lines]
    assert whole[-count:] == ["2.5 s: 0", *map(str, range(1, count))]


def test_thinking_is_folded_to_two_lines(run: Cli) -> None:
    thought = "word " * 200 + "end"
    run.append("deep", user("x"), {"kind": "assistant_items", "items": [{"type": "reasoning", "text": thought}]})
    lines = look("log", "deep", store=run.store).lines
    assert lines[-3].startswith("assistant  (thinking) word")
    assert lines[-1].endswith("…")
    assert len(" ".join(line[11:] for line in lines[-3:])) <= len("(thinking) ") + THINKING_CHARS
    assert run("log", "deep", "--full").lines[-1].endswith("word end")


def test_full_has_all_of_a_call(run: Cli) -> None:
    arguments = '{"path":"x.py","text":"one\\n  two","n":[1,2]}'
    run.append(
        "whole",
        user("x"),
        assistant("y", {**call("c"), "arguments": arguments}),
        result("c", "short", content="long\n1"),
    )
    lines = run("log", "whole", "--full").lines
    assert lines[lines.index("           -> Bash") + 1 :] == [
        "              path: x.py",
        "              text:",
        "                one",
        "                  two",
        "              n: [1,2]",
        "              2.5 s: long",
        "              1",
    ]
    assert [line for line in run("log", "whole").lines if "->" in line] == [
        "           -> Bash path: x.py, text: one two, n: [1,2]"
    ]


def test_a_system_prompt_is_folded(run: Cli) -> None:
    run.append("long", {"kind": "hook_injected_items", "items": [message("system", "\n".join(map(str, range(50))))]})
    assert "           … 46 more lines" in run("log", "long").lines
    assert "           49" in run("log", "long", "--full").lines


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("option", [(), ("--full",)], ids=["folded", "full"])
def test_nothing_hostile_acts_on_a_terminal(busy: Cli, columns: int, option: tuple[str, ...]) -> None:  # noqa: F811
    """Also as what the model said, in every kind of block."""
    evil = "".join(FORBIDDEN).replace("\n", "").replace("\r", "").replace("\t", "")
    blocks = (
        f"# {evil}",
        f"- {evil}",
        f"> {evil}",
        f"```{evil}\n{evil}\n```",
        f"|{evil}|\n|---|\n|{evil}|",
        f"`{evil}`",
    )
    busy.append("hostile", assistant("\n\n".join(blocks)), assistant(f"[x]({evil}) &#27;[31m <a href='{evil}'>"))
    seen = look("log", "hostile", *option, store=busy.store, columns=columns)
    seen.assert_sound()
    plain = re.sub(r"\x1b\[[0-9;]*m", "", seen.output).replace("\r\n", "\n")
    assert not [one for one in plain if one in FORBIDDEN and one != "\n"]
    assert "\x1b[31m" not in seen.output
    assert "&#27;[31m" in seen.text


@given(st.text("ab*_`~#>-+| \n1.)[]()!<&;\\:\t", max_size=60))
def test_markdown_hides_no_letter(text: str) -> None:
    """Whatever stands between the marks, each letter is shown, once and in its order."""
    shown = "".join(
        line.lead + "".join(s if isinstance(s, str) else s[0] for s in line.segments) for line in markdown_lines(text)
    )
    assert re.findall("[ab]", shown) == re.findall("[ab]", text)
    assert not any(unicodedata.category(one) == "Cc" and one != "\t" for one in shown)


@pytest.mark.parametrize("mark", ["> ", "- ", "1. "])
def test_text_too_deep_or_too_long_to_parse_stands_as_it_was_written(mark: str) -> None:
    deep = mark * NESTING_MAX + "end"
    assert [line.segments for line in markdown_lines(deep)] == [[deep]]
    assert [line.segments for line in markdown_lines(mark * 3 + "end")] != [[mark * 3 + "end"]]
    for length, parsed in ((CHARS_MAX, True), (CHARS_MAX + 1, False)):
        text = "**x**" + "y" * (length - 5)
        assert ([line.segments for line in markdown_lines(text)] == [[text]]) is not parsed


@pytest.mark.parametrize("count", [2, pytest.param(None, marks=pytest.mark.long)], ids=["small", "all"])
def test_real_sessions_fit(shared: Path, empty: Cli, count: int | None) -> None:
    """Real transcripts on 80 columns: no line is too wide, and none of it stops the printing."""
    assert empty("import", str(shared / "data")).status == 0
    sessions = sorted(empty("list", "--json").objects, key=lambda one: one["records"])
    for session in sessions[:count]:
        seen = look("log", session["session_id"], store=empty.store)
        assert seen.status == 0
        seen.assert_sound()
