"""Help: every command has it, with an example, within 80 columns."""

from collections.abc import Iterator

import click
import pytest

from sessionlog.cli.app import cli

from .conftest import Cli


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


@pytest.mark.parametrize("path", list(commands(cli)), ids=" ".join)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_explains_with_an_example(empty: Cli, path: tuple[str, ...], option: str) -> None:
    ran = empty(*path, option)
    assert (ran.status, ran.stderr) == (0, "")
    assert "Example:\n" in ran.stdout
    example = ran.stdout.split("Example:\n")[1]
    assert f"sessionlog {' '.join(path)}".strip() in example
    assert "--store DIR" in ran.stdout
    assert "--json" in ran.stdout
    assert all(len(line) <= 80 for line in ran.lines)


def test_every_command_is_listed_with_a_whole_sentence(empty: Cli) -> None:
    listed = empty("--help").stdout.split("Commands:\n")[1].split("\n\n")[0].splitlines()
    assert [line.split()[0] for line in listed] == sorted(cli.commands)
    assert all(line.endswith(".") and not line.endswith("...") for line in listed)


def test_no_arguments_print_the_help(empty: Cli) -> None:
    ran = empty.process()
    assert ran.status == 2 or "Commands:" in ran.stdout + ran.stderr


def test_the_version_is_printed(empty: Cli) -> None:
    assert empty("--version").stdout.startswith("sessionlog ")
