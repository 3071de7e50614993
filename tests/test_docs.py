"""README.md, CHANGELOG.md and docs/ say what is so: their code runs, their links resolve, their lists are whole.

Each page runs from top to bottom in one empty folder:

- a `python` block is executed, all blocks of a page in one namespace; a `text` block right after it is what it prints;
- in a `console` block, each line behind `$ ` is run by a shell, one shell a block; the lines below it are what it
  prints, on standard output and standard error together, and are not looked at where there are none. A command exits
  with status 0, unless the next one is `echo $?`. A line `...` is any lines, `...` in a line any characters;
- `sh` is set-up, which .ci/run runs; `json` and any other `text` is there to be read.

A page that begins with `<!-- needs: MODULE, from the extra EXTRA -->` is skipped where that module is not installed.
"""

import code
import contextlib
import io
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import click
import pytest

from sessionlog import Damage, SessionLogError
from sessionlog.cli.app import cli
from sessionlog.entries import FORMAT, INTEGER_MAX, INTEGER_MIN, KINDS, NESTING_DEPTH_MAX
from sessionlog.record import HASH_CONTEXT, LINE_BYTES_MAX

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = [README, *sorted(path for path in DOCS.rglob("*.md") if path.name != "api.md")]
LINKING_PAGES = [*PAGES, DOCS / "api.md", ROOT / "CHANGELOG.md"]
LANGUAGES = {"python", "console", "sh", "json", "text"}
COMMAND_TIMEOUT_S = 600

BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NEEDS = re.compile(r"<!-- needs: ([\w.]+), from the extra ([\w-]+) -->")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)

# b3sum's --derive-key on standard input, for machines without b3sum: shares no code with sessionlog.
B3SUM = """#!{python}
import sys
from blake3 import blake3
option, context = sys.argv[1:]
assert option == "--derive-key"
print(blake3(sys.stdin.buffer.read(), derive_key_context=context).hexdigest() + "  -")
"""


class Block(NamedTuple):
    """A fenced block: its language, the number of its first line in the page, and its text."""

    language: str
    line: int
    text: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = BLOCK.finditer(text)
    return [Block(match[1], text.count("\n", 0, match.start(2)) + 1, match[2]) for match in found]


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture
def page_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty folder, as a reader with the commands on the path does."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "b3sum").write_text(B3SUM.format(python=sys.executable))
    (tools / "b3sum").chmod(0o755)
    folder = tmp_path / "page"
    folder.mkdir()
    monkeypatch.chdir(folder)
    path = [
        str(Path(sys.executable).parent),
        os.environ.get("PATH", os.defpath),
        str(tools),
    ]  # a real b3sum comes first
    monkeypatch.setenv("PATH", os.pathsep.join(path))
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    for name in ("SESSIONLOG_STORE", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_page_runs(page: Path, page_folder: Path) -> None:
    """Every block of the page does what the page says."""
    needs = NEEDS.match(page.read_text(encoding="utf-8"))
    if needs:
        pytest.importorskip(needs[1], reason=f"{page_id(page)} needs pip install 'sessionlog[{needs[2]}]'")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    printed: str | None = None
    for language, line, text in blocks(page):
        where = f"{page_id(page)}:{line}"
        assert language in LANGUAGES, f"{where}: a block in {language or 'no language'!r}"
        if language == "text" and printed is not None:
            assert_output(text, printed, where)
        printed = None
        if language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile("\n" * (line - 1) + text, str(page), "exec"), namespace)
            printed = out.getvalue()
        elif language == "console":
            run_console(text, where)


def test_the_tutorial_can_be_pasted(page_folder: Path) -> None:
    """Its Python snippets work in one interactive Python, line by line, with the commands run where they stand."""
    python = code.InteractiveConsole({"__name__": "__console__"})
    output = ""
    for language, line, text in blocks(DOCS / "tutorial.md"):
        where = f"tutorial.md:{line}"
        if language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
                waits = [python.push(pasted) for pasted in [*text.split("\n"), ""]]
            output = out.getvalue()
            assert not waits[-1], f"{where}: Python waits for more"
            assert "Error" not in output, f"{where}: {output}"
        elif language == "text":
            assert output == text, where
        elif language == "console":
            run_console(text, where)


def run_console(text: str, where: str) -> None:
    steps = list(console_steps(text))
    commands = [command for command, _ in steps]
    results = run_shell(commands, where)
    for (command, expected), (output, status), following in zip(steps, results, [*commands[1:], ""], strict=True):
        assert status == 0 or following == "echo $?", f"{where}: {command}: exit status {status}\n{output}"
        if expected:
            assert_output(expected, output, f"{where}: {command}")


def console_steps(text: str) -> Iterator[tuple[str, str]]:
    """Yield each command with the output that the page shows for it."""
    assert text.startswith("$ "), f"a console block starts with a command, not with {text[:40]!r}"
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        match = re.match(r"((?:.*\\\n)*.*)\n?", part)
        assert match is not None
        yield match[1], part[match.end() :]


def run_shell(commands: list[str], where: str) -> list[tuple[str, int]]:
    """Run the commands in one shell; return what each printed, and its exit status."""
    mark = 'status=$?; printf "\\036%d\\036" "$status"; (exit "$status")'
    done = subprocess.run(
        ["sh", "-c", "".join(f"{command}\n{mark}\n" for command in commands)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
        timeout=COMMAND_TIMEOUT_S,
    )
    parts = done.stdout.split("\036")
    assert len(parts) == 2 * len(commands) + 1, f"{where}: the shell stopped early:\n{done.stdout}"
    return [(output, int(status)) for output, status in zip(parts[0:-1:2], parts[1::2], strict=True)]


def assert_output(expected: str, output: str, where: str) -> None:
    lines = [line_pattern(line) + "\n" for line in expected.rstrip("\n").split("\n")]
    pattern = "".join(r"(?:.*\n)*?" if line == ".*\n" else line for line in lines)
    shown = "\n".join(line.rstrip() for line in output.rstrip("\n").split("\n")) + "\n"
    assert re.fullmatch(pattern, shown), f"{where}: the page shows\n{expected}\nand it printed\n{shown}"


def line_pattern(line: str) -> str:
    """Return the pattern of a line: `...` is anything, and columns may stand further apart or closer."""
    return re.sub(r"(?:\\ ){2,}", " +", re.escape(line.rstrip()).replace(r"\.\.\.", ".*"))


@pytest.mark.parametrize(
    ("expected", "output", "agrees"),
    [
        ("one\ntwo\n", "one\ntwo\n", True),
        ("one\n", "one\ntwo\n", False),
        ("one\n...\n", "one\ntwo\nthree\n", True),
        ("...\nthree\n", "three\n", True),
        ("hash ... ok\n", "hash 0123 ok\n", True),
        ("hash ... ok\n", "hash 0123 bad\n", False),
        ("a.b\n", "axb\n", False),
        ("a  b\n", "a     b\n", True),
        ("a b\n", "a  b\n", False),
    ],
)
def test_output_is_compared(expected: str, output: str, agrees: bool) -> None:
    """Pages are compared line by line; only `...` is a wildcard."""
    with contextlib.nullcontext() if agrees else pytest.raises(AssertionError):
        assert_output(expected, output, "here")


@pytest.mark.parametrize("page", LINKING_PAGES, ids=page_id)
def test_links_resolve(page: Path) -> None:
    """Every relative link leads to a file that is there, and to a heading that it has."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page_id(page)}: {link}"
        if fragment:
            assert fragment in anchors(target), f"{page_id(page)}: {link}"


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as Markdown renderers make them."""
    found: dict[str, int] = {}
    result = set()
    for heading in HEADING.findall(BLOCK.sub("", page.read_text(encoding="utf-8"))):
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = found.get(anchor, 0)
        found[anchor] = number + 1
        result.add(f"{anchor}-{number}" if number else anchor)
    return result


def test_index_lists_every_page() -> None:
    """docs/index.md links to every page beside it."""
    linked = set(LINK.findall((DOCS / "index.md").read_text(encoding="utf-8")))
    assert {page.name for page in DOCS.glob("*.md")} - {"index.md"} <= linked


def command_names(group: click.Group, prefix: str = "") -> Iterator[str]:
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from command_names(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}"


def test_every_command_is_documented() -> None:
    """The README's screen lists every command, and one more page or the README shows each in use."""
    readme = README.read_text(encoding="utf-8")
    everything = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for name in command_names(cli):
        use = rf"sessionlog(?: --\S+(?: \S+)?)* {name}\b"
        assert re.search(use, readme), f"README.md does not list: sessionlog {name}"
        assert len(re.findall(use, everything)) > 1, f"no page shows: sessionlog {name}"


def test_every_error_is_documented() -> None:
    """docs/architecture.md names every error class."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    assert [error.__name__ for error in SessionLogError.__subclasses__() if f"`{error.__name__}`" not in text] == []


def test_architecture_names_what_is_there() -> None:
    """The places where docs/architecture.md says that promises are kept are modules, classes and functions."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    table = text.partition("| promise | kept in |")[2].partition("\n\n")[0]
    places = re.findall(r"\| (`[^|]+?)(?::| \|)", table)
    names = [name for place in places for name in re.findall(r"`([\w./]+)`", place)]
    assert len(names) >= 12
    for name in names:
        path, _, member = name.removesuffix(".py").partition(".")
        source = ROOT / "src" / "sessionlog" / f"{path}.py"
        assert source.is_file(), name
        assert not member or re.search(rf"^(?:class|def) {member}\b", source.read_text(), re.MULTILINE), name


def test_every_damage_is_documented() -> None:
    """docs/audit-a-directory.md explains every code of a finding, and no other."""
    text = (DOCS / "audit-a-directory.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == {damage.value for damage in Damage}


def test_format_page_agrees_with_the_code() -> None:
    """docs/format.md lists every entry kind, and the constants of the code."""
    text = (DOCS / "format.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == KINDS - {"cache_locked"}
    assert "`cache_locked`" in text
    assert INTEGER_MIN == -(2**63)
    assert INTEGER_MAX == 2**64 - 1
    for said in (
        f"{LINE_BYTES_MAX // 2**20} MiB",
        f"deeper than {NESTING_DEPTH_MAX}",
        "-2^63 to 2^64 - 1",
        f"`{HASH_CONTEXT}`",
        f'`"format":"{FORMAT}"`',
    ):
        assert said in text, said


def test_format_page_holds_the_golden_vectors() -> None:
    """The golden records on docs/format.md are those of the tests, byte for byte."""
    golden = (ROOT / "tests" / "golden" / "golden-v1.jsonl").read_bytes()
    text = (DOCS / "format.md").read_bytes()
    assert b"```json\n" + golden + b"```\n" in text


def test_the_picture_is_built_from_the_demo_and_fetches_nothing() -> None:
    """docs/demo.svg shows the demo's own screen; the script still builds it; it names no font file and no address."""
    build = runpy.run_path(str(DOCS / "build_demo_picture.py"))
    for picture in (build["picture"](build["screen"]()), (DOCS / "demo.svg").read_text(encoding="utf-8")):
        words = " ".join("".join(ET.fromstring(picture).itertext()).split())
        assert "1. Import a transcript" in words.replace("\xa0", " ")
        assert "BROKEN" in words
        assert set(re.findall(r"\w+://[^\"]*", picture)) == {"http://www.w3.org/2000/svg"}
        assert "@font-face" not in picture


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("demo", "python3 -m venv .venv && .venv/bin/pip install -q '.[cli]' && .venv/bin/sessionlog demo"),
        ("test", ".venv/bin/pip install -q -r requirements-dev.txt && .venv/bin/python -m pytest"),
    ],
)
def test_set_up_is_one_line_each(name: str, command: str) -> None:
    """The README's two set-up commands stand where .ci/run takes them from."""
    assert f"<!-- ci:{name} -->\n```sh\n{command}\n```\n" in README.read_text(encoding="utf-8")
