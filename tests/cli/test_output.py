"""What reaches a terminal or a pipe: nothing that acts, nothing cut where it should not be, no noise when it ends."""

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import termios
import unicodedata

import pytest

from sessionlog.cli.text import one_line, size

from .conftest import Cli, call, environment, json_lines, user

ACTING = (
    "\x1b[31mred\x1b]0;title\x07 \x9b2J \u202eevil\u202c \u2066x\u2069 \u200bhid\ufeffden \x00\x7f \U000e0041 \u2028 \r"
    "\U000e0148\u3164\u034f\u17b4"
)
MARKUP = "[bold red]markup[/] :smile: [link=http://x]y[/link]"
FORBIDDEN = [one for one in ACTING if unicodedata.category(one) in ("Cc", "Cf", "Zl", "Zp") or one in ACTING[-4:]]


@pytest.fixture
def hostile(run: Cli) -> Cli:
    """A session ``hostile`` that carries terminal codes wherever a log can carry text."""
    text = ACTING + MARKUP
    result = {"type": "tool_result", "call_id": text, "summary": text, "content": text, "is_error": True}
    run.append(
        "hostile",
        user(text),
        {
            "kind": "assistant_items",
            "items": [{**call(text), "name": text, "arguments": text}, {"type": "reasoning", "text": text}],
        },
        {"kind": "tool_results", "items": [result]},
        {
            "kind": "hook_injected_items",
            "items": [{"type": "message", "role": "system", "content": [{"type": "image", "url": text}]}],
        },
        {"kind": "run_outcome", "outcome": "error", "message": text, "interrupted": True},
        {"kind": "config_changed", "config": {"model": text, "stop_sequences": [text]}},
        {"kind": "extension", "domain": text, "payload": {text: text}},
        {"kind": "agent_event", "event": text},
        {"kind": text, text: text},
        {"kind": "assistant_items", "items": [call(text)]},
    )
    return run


READERS = {
    "show": ("show", "hostile"),
    "show --full": ("show", "hostile", "--full"),
    "tail": ("tail", "hostile"),
    "restore": ("restore", "hostile"),
    "list": ("list",),
    "graph": ("graph",),
    "verify": ("verify",),
    "audit": ("audit",),
}


@pytest.mark.parametrize("command", READERS.values(), ids=READERS)
@pytest.mark.parametrize("option", [(), ("--json",)], ids=["text", "json"])
def test_nothing_from_a_log_acts_on_a_terminal(hostile: Cli, command: tuple[str, ...], option: tuple[str, ...]) -> None:
    ran = hostile(*command, *option)
    assert ran.status == 0
    for one in FORBIDDEN:
        assert one not in ran.stdout.replace("\n", "")
        assert one not in ran.stderr.replace("\n", "")


def test_what_is_escaped_is_seen(hostile: Cli) -> None:
    line = hostile("show", "hostile").lines[1]
    assert r"\x1b[31mred\x1b]0;title\x07 \x9b2J \u202eevil" in line
    assert MARKUP in hostile("show", "hostile", "--full").stdout


def test_json_escapes_are_the_same_text_to_a_parser(hostile: Cli) -> None:
    record = hostile("show", "hostile", "--json").objects[1]
    assert record["item"]["content"][0]["text"] == ACTING + MARKUP


def test_one_line_cuts_and_says_so() -> None:
    assert one_line(" a\n\t b ", chars_max=3) == "a b"
    assert one_line("abcd", chars_max=3) == "ab…"
    assert one_line("x" * 100_000, chars_max=5) == "xxxx…"
    assert one_line("", chars_max=5) == ""


def test_sizes_read_well() -> None:
    assert [size(999), size(1000), size(999_949), size(10**12)] == ["999 B", "1.0 KB", "999.9 KB", "1.0 TB"]


# --- A terminal of 80 columns


def on_terminal(cli: Cli, *args: str, columns: int = 80, **env: str) -> tuple[int, str]:
    """Run with a terminal as standard output and standard error; return the exit status and what reached it."""
    main_fd, fd = pty.openpty()
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = environment(**{"TERM": "xterm-256color", **env})
    env.pop("COLUMNS", None)
    with subprocess.Popen([*cli.command, *args], stdin=subprocess.DEVNULL, stdout=fd, stderr=fd, env=env) as process:
        os.close(fd)
        chunks = []
        while chunk := read_terminal(main_fd):
            chunks.append(chunk)
    os.close(main_fd)
    return process.returncode, b"".join(chunks).decode().replace("\r\n", "\n")


def read_terminal(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except OSError:  # EIO: the other side is closed
        return b""


def test_a_terminal_gets_colours_and_lines_that_fit(hostile: Cli) -> None:
    import re  # noqa: PLC0415

    for command in (("show", "hostile"), ("list",), ("restore", "hostile"), ("graph",)):
        status, text = on_terminal(hostile, *command)
        assert status == 0
        assert "\x1b[" in text
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n")
        assert not any(one in plain.replace("\n", "") for one in FORBIDDEN)
        assert all(len(line) <= 80 for line in plain.splitlines()), plain


def test_no_color_is_respected(run: Cli) -> None:
    _, text = on_terminal(run, "show", "alpha-1", NO_COLOR="1")
    assert "\x1b[36m" not in text
    _, text = on_terminal(run, "show", "alpha-1")
    assert "\x1b[36m" in text


def test_a_dumb_terminal_gets_plain_text(run: Cli) -> None:
    _, text = on_terminal(run, "show", "alpha-1", TERM="dumb")
    assert "\x1b" not in text


def test_json_on_a_terminal_is_json(run: Cli) -> None:
    _, text = on_terminal(run, "show", "alpha-1", "--json")
    assert [json.loads(line)["seq"] for line in text.splitlines()] == [0, 1, 2, 3]


def test_a_pipe_gets_no_colour(run: Cli) -> None:
    for command in (("list",), ("show", "alpha-1"), ("verify",), ("graph",)):
        ran = run.process(*command)
        assert "\x1b" not in ran.stdout + ran.stderr


def test_an_output_that_knows_ascii_only_gets_escapes(run: Cli) -> None:
    run.append("alpha-1", user("héllo 😀"))
    ran = run.process("tail", "alpha-1", "-n", "1", env=environment(PYTHONIOENCODING="ascii"))
    assert ran.status == 0
    assert r"h\xe9llo \U0001f600" in ran.stdout
    ran = run.process("tail", "alpha-1", "-n", "1", "--json", env=environment(PYTHONIOENCODING="ascii"))
    assert ran.objects[0]["item"]["content"][0]["text"] == "héllo 😀"
    at_hash = ran.objects[0]["hash"]
    new_id = run("fork", "alpha-1", "--at", at_hash).stdout.strip()
    ran = run.process("graph", env=environment(PYTHONIOENCODING="ascii"))
    assert f"`- {new_id}  fork at 4, 1 record" in ran.lines


# --- Endings


def test_a_reader_that_goes_away_is_no_error(run: Cli) -> None:
    """As with ``| head``: quiet, and the status that a shell gives to SIGPIPE."""
    run.append("long", *(user("x" * 1000) for _ in range(1000)))
    for option in ((), ("--json",), ("--full",)):
        with run.start("show", "long", *option) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            process.stdout.close()
            assert process.stderr.read() == b""
            assert process.wait() == 141


def test_follow_shows_what_comes_and_ends_on_interrupt(run: Cli) -> None:
    """The records that are there, then each one as it is appended by another process; Ctrl-C ends it without a word."""
    with run.start("tail", "alpha-1", "-f", "-n", "2", "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert [json.loads(process.stdout.readline())["seq"] for _ in range(2)] == [2, 3]
        for seq in (4, 5):
            run("append", "alpha-1", stdin='{"kind":"turn_end","turn_count":9}\n')
            assert json.loads(process.stdout.readline())["seq"] == seq
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == b""
        assert process.stderr.read() == b""
        assert process.wait() == 130


def test_follow_tells_when_the_log_is_damaged_under_it(run: Cli) -> None:
    with run.start("tail", "alpha-1", "-f", "-n", "1") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        with run.log("alpha-1").open("ab") as file:
            file.write(b"rubbish\n")
        assert b"damaged" in process.stderr.read()
        assert process.wait() == 1


def test_append_ends_on_interrupt_though_it_waits_for_input(run: Cli) -> None:
    with run.start("append", "alpha-1") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(json_lines([{"kind": "turn_end", "turn_count": 1}]).encode())
        process.stdin.flush()
        assert len(process.stdout.readline()) == 65
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b""
        assert process.wait() == 130


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_closed_standard_streams_are_no_traceback(run: Cli, closed: str) -> None:
    command = " ".join([*run.command, "append", "alpha-1"])
    ran = subprocess.run(
        ["sh", "-c", f'echo \'{{"kind":"turn_end","turn_count":1}}\' | {command} {closed}'],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert "Traceback" not in ran.stderr
    assert ran.returncode == {"<&-": 2, ">&-": 2, "2>&-": 0}[closed]
    assert run("audit", "alpha-1").status == 0
