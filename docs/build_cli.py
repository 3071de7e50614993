"""Builds the reference parts of docs/cli.md, the manual of the command line, from the parser itself.

    python docs/build_cli.py            write docs/cli.md
    python docs/build_cli.py --check    write nothing; exit 1 when docs/cli.md is out of date

Each command has a section: its name, and between two marks what the parser says of it (synopsis, text, arguments,
options, the examples of its help), which is built. What stands behind the second mark, an example that the tests run,
is written by hand and kept. A command without such an example is an error.
"""

import argparse
import difflib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from sessionlog.cli.app import cli

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "cli.md"
COMMAND = "python docs/build_cli.py"
BEGIN = "<!-- built from the parser -->"
END = "<!-- written by hand -->"
COMMON = {"--store", "--json", "--full-ids", "--debug", "--help"}
"""Options that every command has: told once, at the top of the page."""


def main() -> int:
    """Build the page, or check it; the result is the exit status."""
    parser = argparse.ArgumentParser(description="Build docs/cli.md from the parser.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the page is out of date")
    check: bool = parser.parse_args().check
    found = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    page = build(found)
    missing = without_example(page)
    if missing:
        print(f"docs/cli.md: no example that runs, in a console block, of: {', '.join(missing)}", file=sys.stderr)
    if not check:
        PAGE.write_text(page, encoding="utf-8")
        return 1 if missing else 0
    diff = list(
        difflib.unified_diff(found.splitlines(), page.splitlines(), "docs/cli.md", "built now", lineterm="", n=0)
    )
    if diff:
        print("\n".join(diff[:40]), f"docs/cli.md is out of date; run: {COMMAND}", sep="\n", file=sys.stderr)
    return 1 if diff or missing else 0


def build(found: str) -> str:
    """Return the page ``found``, its built parts anew and in the order of the commands' names."""
    top, kept = split(found)
    parts = [top.rstrip() or "# The command line", ""]
    for path, command in commands(cli):
        name = " ".join(path)
        written = kept.get(name, "").strip("\n")
        parts += [f"## {name}", "", BEGIN, "", *reference(path, command), END, ""]
        parts += [written, ""] if written else []
    return "\n".join(parts)


def split(page: str) -> tuple[str, dict[str, str]]:
    """Return what stands before the first section, and what is written by hand in each."""
    top, *sections = re.split(rf"^## (?=[^\n]+\n\n{re.escape(BEGIN)})", page, flags=re.MULTILINE)
    kept = {}
    for section in sections:
        name, _, rest = section.partition("\n")
        kept[name.strip()] = rest.partition(END)[2]
    return top, kept


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command below ``group`` that does something itself, by name."""
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            if command.invoke_without_command:
                yield (*path, name), command
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def reference(path: tuple[str, ...], command: click.Command) -> Iterator[str]:
    """Yield the lines that the parser says about one command."""
    context = click.Context(command, info_name=" ".join(("sessionlog", *path)))
    yield from ("```sh", " ".join([context.command_path, *command.collect_usage_pieces(context)]), "```", "")
    yield from (plain(inspect.cleandoc(command.help or "")), "")
    options = [one for one in command.params if isinstance(one, click.Option) and not COMMON & set(one.opts)]
    records = [record for one in options if (record := one.get_help_record(context)) is not None]
    if records:
        yield from ("| option | |", "| --- | --- |")
        for names, text in records:
            yield f"| `{names}` | {cell(text)} |"
        yield ""
    lines = (command.epilog or "").removeprefix("\b\nExample:\n").splitlines()
    yield from ("```sh", *(line.removeprefix("  ") for line in lines), "```", "")


def plain(text: str) -> str:
    r"""Return a help text without click's mark for paragraphs that stay as they are."""
    return text.replace("\b\n", "").replace("<", "&lt;")


def cell(text: str) -> str:
    """Return a text for a table."""
    return re.sub(r"([|<*_])", r"\\\1", " ".join(text.split()))


def without_example(page: str) -> list[str]:
    """Return the commands whose section has no console block that runs them; a group's example is for those in it."""
    _, kept = split(page)
    missing = []
    for path, _ in commands(cli):
        name = path[0]
        text = kept.get(" ".join(path), "") + kept.get(name, "")
        blocks = re.findall(r"^```console\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
        if not any(re.search(rf"sessionlog(?: --\S+(?: \S+)?)* {name}\b", block) for block in blocks):
            missing.append(name)
    return list(dict.fromkeys(missing))


if __name__ == "__main__":
    sys.exit(main())
