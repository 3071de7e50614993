"""Wrong use and missing things: status 2, one line that says what to do, nothing written, never a traceback."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionlog.cli.app import tell

from .conftest import Cli, user

HASH = "0" * 64
BAD_IDS = {
    "climbing": "../x",
    "empty": "",
    "too_long": "a" * 129,
    "nul": "a\0b",
    "non_ascii": "séance",
    "line_feed": "alpha-1\n",
    "escape": "\x1b[31m",
    "surrogate": "\udce9",
    "dash_first": "_x",
}
WITH_ID = {
    "show": ("show", "{}"),
    "tail": ("tail", "{}"),
    "restore": ("restore", "{}"),
    "verify": ("verify", "{}"),
    "audit": ("audit", "{}"),
    "fork": ("fork", "{}", "--at", HASH),
    "append": ("append", "{}"),
    "repair": ("repair", "{}", "--yes"),
    "delete": ("delete", "{}", "--yes"),
    "append_create": ("append", "{}", "--create"),
}


@pytest.mark.parametrize("command", WITH_ID.values(), ids=WITH_ID)
@pytest.mark.parametrize("bad_id", BAD_IDS.values(), ids=BAD_IDS)
def test_what_is_no_id_is_refused(run: Cli, command: tuple[str, ...], bad_id: str) -> None:
    before = sorted(run.store.iterdir())
    ran = run(*(word.format(bad_id) for word in command), "--json", stdin='{"kind":"turn_end","turn_count":1}\n')
    ran.assert_refused("session id")
    assert ran.stdout == ""
    assert sorted(run.store.iterdir()) == before


@pytest.mark.parametrize("command", [WITH_ID[name] for name in WITH_ID if name != "append_create"])
def test_an_unknown_id_is_told(run: Cli, command: tuple[str, ...]) -> None:
    run(*(word.format("nowhere") for word in command)).assert_refused("there is no session nowhere")


@pytest.mark.parametrize("command", [WITH_ID[name] for name in WITH_ID if name != "append_create"])
def test_an_ambiguous_beginning_lists_the_candidates(run: Cli, command: tuple[str, ...]) -> None:
    run(*(word.format("alpha") for word in command)).assert_refused("alpha-1, alpha-2", "give more of it")


def test_many_candidates_are_counted_not_listed(run: Cli) -> None:
    for number in range(6):
        run.append(f"many-{number}", user("x"))
    run("show", "many").assert_refused("the beginning of 6 sessions", "and 1 more")


@pytest.mark.parametrize("at_hash", ["", "xyz", "ABCDEF", "0" * 65, "../x", "\0"])
def test_what_is_no_hash_is_refused(run: Cli, at_hash: str) -> None:
    run("fork", "alpha-1", "--at", at_hash).assert_refused("is no hash")


@pytest.mark.parametrize("at_hash", [HASH, "00000000000"])
def test_a_hash_that_the_session_does_not_hold_is_told(run: Cli, at_hash: str) -> None:
    run("fork", "alpha-1", "--at", at_hash).assert_refused("holds no record", "sessionlog show alpha-1")


def test_an_ambiguous_hash_lists_the_candidates(run: Cli) -> None:
    """Among so many hashes two begin with the same letter; a digit alone would be a record's number."""
    run.append("alpha-1", *(user(str(number)) for number in range(200)))
    hashes = [one["hash"] for one in run("show", "alpha-1", "--json").objects]
    digits = [hash_[0] for hash_ in hashes]
    digit = next(digit for digit in digits if digit.isalpha() and digits.count(digit) > 1)
    run("fork", "alpha-1", "--at", digit).assert_refused(
        f"{digit} is the beginning of", "records", hashes[digits.index(digit)][:8]
    )


NO_ID = {name: (name,) for name in ("list", "graph", "verify", "audit")}
EVERYTHING = {**NO_ID, **{name: tuple(w.format("alpha-1") for w in WITH_ID[name]) for name in WITH_ID}}


@pytest.mark.parametrize("command", [EVERYTHING[name] for name in EVERYTHING if name != "append_create"])
def test_a_store_that_is_not_there_is_told_and_not_made(empty: Cli, command: tuple[str, ...]) -> None:
    empty(*command).assert_refused("there is no store at", "--store DIR")
    assert not empty.store.exists()


@pytest.mark.parametrize("command", EVERYTHING.values(), ids=EVERYTHING)
def test_a_file_in_the_stores_place_is_told(tmp_path: Path, command: tuple[str, ...]) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    Cli(path)(*command, stdin="").assert_refused("is no directory, so no store")
    assert path.read_text() == "mine"


def test_a_store_below_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    cli = Cli(tmp_path / "file" / "store")
    cli("list").assert_refused()
    cli("append", "new", "--create").assert_refused()


@pytest.mark.parametrize("store", ["", "a\0b"])
def test_what_is_no_path_is_refused(run: Cli, store: str) -> None:
    run("list", "--store", store).assert_refused("give the path of a directory")


@pytest.mark.parametrize(
    "args",
    [
        ("bogus",),
        ("show",),
        ("show", "alpha-1", "more"),
        ("show", "--wat", "alpha-1"),
        ("fork", "alpha-1"),
        ("fork", "alpha-1", "--at"),
        ("tail", "alpha-1", "-n", "x"),
        ("tail", "alpha-1", "-n", "-1"),
        ("import",),
        ("import", "bogus"),
        ("import", "claude-code"),
        ("list", "--store"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(run: Cli, args: tuple[str, ...]) -> None:
    ran = run(*args)
    assert ran.status == 2
    assert "Traceback" not in ran.stderr
    if args != ("import",):  # prints its help
        ran.assert_one_line()


def test_a_session_of_another_id_than_its_file_is_broken(run: Cli) -> None:
    run.log("alpha-1").rename(run.log("renamed"))
    ran = run("verify", "renamed")
    assert ran.status == 1
    assert "wrong_session" in ran.stdout


# --- A store that may be read and not written


def obey_permissions() -> None:
    """Give up root's right to ignore permissions, for the program that is started next (capabilities(7))."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        if prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP
            os._exit(77)


@pytest.fixture
def read_only(run: Cli) -> Iterator[Cli]:
    """A store that may be read and not written, also by root."""
    if os.geteuid() == 0:
        if sys.platform != "linux":
            pytest.skip("root may write anywhere here")
        run.preexec = obey_permissions
    for path in run.store.iterdir():
        path.chmod(0o400)
    run.store.chmod(0o500)
    yield run
    run.store.chmod(0o700)


READERS = [
    ("list",),
    ("show", "alpha-1"),
    ("tail", "alpha-1"),
    ("restore", "alpha-1"),
    ("verify",),
    ("audit",),
    ("graph",),
]


@pytest.mark.parametrize("command", READERS, ids=lambda command: command[0])
def test_readers_work_where_nothing_may_be_written(read_only: Cli, command: tuple[str, ...]) -> None:
    ran = read_only.process(*command)
    assert (ran.status, ran.stderr) == (0, "")


def test_writers_say_that_nothing_may_be_written(read_only: Cli) -> None:
    at_hash = read_only("show", "alpha-1", "--json").objects[1]["hash"]
    entry = b'{"kind":"turn_end","turn_count":2}\n'
    before = {path: path.read_bytes() for path in read_only.store.iterdir()}
    read_only.process("append", "alpha-1", stdin=entry).assert_refused("alpha-1.jsonl", "Permission denied")
    read_only.process("append", "new", "--create", stdin=entry).assert_refused("Permission denied")
    read_only.process("fork", "alpha-1", "--at", at_hash).assert_refused("Permission denied")
    assert {path: path.read_bytes() for path in read_only.store.iterdir()} == before


def test_a_store_that_may_not_be_read_is_told(read_only: Cli) -> None:
    read_only.store.chmod(0o000)
    read_only.process("list").assert_refused("Permission denied")
    read_only.process("show", "alpha-1").assert_refused("Permission denied")


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (PermissionError(13, "Permission denied", "x.jsonl"), 2, "x.jsonl: Permission denied"),
        (OSError(28, "No space left on device"), 2, "No space left on device"),
        (KeyError("\x1b"), 2, r"internal error, please report it: KeyError: '\x1b'"),
        (RuntimeError("a\n\x1bb"), 2, r"internal error, please report it: RuntimeError: a\x0a\x1bb"),
    ],
)
def test_errors_that_nobody_expected_are_one_line_too(
    error: Exception, status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tell(error) == status
    assert capsys.readouterr().err == f"sessionlog: {line}\n"


def test_the_extra_that_is_missing_is_told(tmp_path: Path) -> None:
    """Without click or rich, the command says what to install."""
    for name in ("click", "rich"):
        program = f"import sys; sys.modules[{name!r}] = None; from sessionlog.cli import main; sys.exit(main())"
        ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert ran.returncode == 2
        assert ran.stderr == f"sessionlog: the command line needs {name}: pip install 'sessionlog[cli]'\n"


@pytest.mark.parametrize(
    ("store", "said"),
    [("memory:", "a store in memory ends with the command"), ("s3://bucket/logs", "'file:s3://bucket/logs'")],
)
def test_a_store_that_the_command_line_cannot_open_is_told(empty: Cli, store: str, said: str) -> None:
    empty("--store", store, "list").assert_refused(said)


def test_a_store_can_be_named_with_a_scheme(run: Cli) -> None:
    """``--store`` takes what open_store does; the last one counts."""
    assert run("--store", f"file://{run.store}", "list").stdout == run("list").stdout
