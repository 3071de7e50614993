"""``delete`` on the command line: what goes, what is left, who is asked."""

import os
import shutil
import time
from pathlib import Path

import anyio
import pytest

from sessionlog import (
    FileStore,
    Head,
    LabelsChanged,
    RequestConfig,
    SessionId,
    SessionStart,
    UserInput,
    build_chain,
    delete,
    link,
    parse_record,
    user_message,
)
from sessionlog.catalog.access import FILE_NAME

from .conftest import Cli
from .terminal import PROGRAM, Terminal

SECRET = "the password is swordfish"


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Two sessions: in one a secret was said, and a trace and a file that a repair set aside lie beside it."""
    cli = Cli(tmp_path / "store")
    entry = '{"kind":"user_input","item":{"type":"message","role":"user","content":[{"type":"text","text":"%s"}]}}\n'
    assert cli("append", "gone", "--create", stdin=entry % SECRET).status == 0
    assert cli("append", "kept", "--create", stdin=entry % "nothing special").status == 0
    (cli.store / "gone.trace.jsonl").write_text(f'{{"said":"{SECRET}"}}\n')
    (cli.store / "gone.torn-900").write_text(SECRET)
    return cli


def everything_below(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_nothing_of_a_deleted_session_is_in_any_file_of_the_store(cli: Cli) -> None:
    """Its words were in the log, the trace, what a repair set aside, and the catalog."""
    assert cli("delete", "gone", "--dry-run").status == 0  # makes the catalog
    assert (cli.store / FILE_NAME).exists()
    [told] = cli("delete", "gone", "--yes", "--reason", "asked to", "--by", "me", "--json").objects
    assert (told["session_id"], told["deleted"], told["records"]) == ("gone", True, 2)
    assert (told["receipt"]["reason"], told["receipt"]["by"], told["receipt"]["state"]) == ("asked to", "me", "done")
    found = everything_below(cli.store)
    assert SECRET.encode() not in found
    assert b"swordfish" not in found
    assert sorted(path.name for path in cli.store.glob("*.jsonl")) == ["kept.jsonl", "sessionlog-receipts.jsonl"]
    assert cli("verify").status == 0
    assert cli("audit").status == 0
    assert "asked to" in cli("show", "sessionlog-receipts", "--full").stdout


def test_a_dry_run_tells_and_changes_nothing(cli: Cli) -> None:
    before = {path.name: path.read_bytes() for path in cli.store.glob("*.jsonl")}
    ran = cli("delete", "gone", "--dry-run")
    assert ran.status == 0
    assert "gone" in ran.lines[1]
    assert SECRET in ran.lines[1]
    assert "nothing was deleted: 1 session would be" in ran.stderr
    assert cli("delete", "gone", "--dry-run", "--json").objects[0]["deleted"] is False
    assert {path.name: path.read_bytes() for path in cli.store.glob("*.jsonl")} == before


def test_without_yes_and_nobody_to_ask_nothing_is_deleted(cli: Cli) -> None:
    cli("delete", "gone").assert_refused("--yes")
    cli("delete", "gone", "--json").assert_refused("--yes")
    assert (cli.store / "gone.jsonl").exists()


@pytest.mark.parametrize(("answer", "status"), [("y\r", 0), ("YES\r", 0), ("\r", 2), ("no\r", 2), ("\x04", 2)])
def test_on_a_terminal_it_asks(cli: Cli, answer: str, status: int) -> None:
    with Terminal([PROGRAM, "delete", "gone", "--store", str(cli.store)]) as terminal:
        terminal.wait_for("[y/N]")
        terminal.send(answer)
        ended = terminal.finish()
    assert ended.status == status
    assert (cli.store / "gone.jsonl").exists() is bool(status)


def test_a_held_session_stays_and_the_others_go(cli: Cli) -> None:
    assert cli("label", "gone", "hold=case 7").status == 0
    ran = cli("delete", "gone", "kept", "--yes")
    assert ran.status == 2
    assert "session gone may not be deleted: it has the label hold=case 7" in ran.stderr
    assert "deleted 1 session;" in ran.stdout
    assert (cli.store / "gone.jsonl").exists()
    assert not (cli.store / "kept.jsonl").exists()
    assert "gone" in cli("search", "swordfish").stdout  # the catalog took it in again


def test_the_receipts_are_not_deleted(cli: Cli) -> None:
    assert cli("delete", "kept", "--yes").status == 0
    ran = cli("delete", "sessionlog-receipts", "--yes")
    assert (ran.status, "receipts" in ran.stderr) == (2, True)
    assert (cli.store / "sessionlog-receipts.jsonl").exists()


def test_the_receipts_are_counted_as_no_conversation(cli: Cli) -> None:
    """They are in no list, sum or graph, but shown and checked as any session."""
    assert cli("delete", "gone", "--yes").status == 0
    for command in ("list", "stats", "graph"):
        assert [one["session_id"] for one in cli(command, "--json").objects] == ["kept"]
        assert "sessionlog-receipts" not in cli(command).stdout
    assert [one["session_id"] for one in cli("stats", "sessionlog-receipts", "--json").objects] == [
        "sessionlog-receipts"
    ]
    assert cli("show", "sessionlog-receipts").status == 0
    for command in ("verify", "audit"):
        assert "sessionlog-receipts" in {one.get("session_id") for one in cli(command, "--json").objects}


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_deletion_that_was_interrupted_is_finished_by_the_same_command(cli: Cli, form: list[str]) -> None:
    """The log was gone already, and no receipt said so: without this nothing could be done about it."""

    class Interrupted(Exception):
        pass

    class Dies(FileStore):
        async def delete_session(self, session_id: str, expected: Head | None) -> None:
            await super().delete_session(session_id, expected)
            raise Interrupted

    async def die() -> None:
        async with Dies(cli.store) as store:
            with pytest.raises(Interrupted):
                await delete(store, "gone")

    anyio.run(die)
    assert cli("delete", "gone", "--dry-run").status == 2
    assert '"done"' not in cli("show", "sessionlog-receipts", "--full").stdout
    ran = cli("delete", "gone", *form)  # was asked for before: nothing goes that is there
    assert ran.status == 0
    assert "interrupted" in ran.stdout or ran.objects[0]["receipt"]["state"] == "done"
    assert '"done"' in cli("show", "sessionlog-receipts", "--full").stdout
    assert cli("delete", "gone", "--yes").status == 2


def test_a_damaged_session_is_told_and_the_others_go(cli: Cli) -> None:
    path = cli.store / "gone.jsonl"
    path.write_bytes(path.read_bytes().replace(b"swordfish", b"swordfisH"))
    ran = cli("delete", "gone", "kept", "--yes")
    assert ran.status == 1
    assert "gone" in ran.stderr
    assert not (cli.store / "kept.jsonl").exists()


def test_old_sessions_are_deleted_by_the_time_of_the_conversation(cli: Cli) -> None:
    """Not by that of the file; a held one stays."""
    now = time.time_ns() // 1_000_000
    day = 86_400_000
    for name, days in (("old", 200), ("older", 300), ("held", 300), ("young", 100)):
        entry = f'{{"kind":"turn_end","turn_count":1,"ts":{now - days * day}}}\n'
        path = cli.store / f"{name}.jsonl"
        assert cli("append", name, "--create", stdin=entry).status == 0
        path.unlink()
        _write(path, name, now - days * day)
    _hold(cli.store / "held.jsonl", now - 300 * day)
    ran = cli("delete", "--older-than", "190d", "--dry-run", "--json")
    assert [one["session_id"] for one in ran.objects] == ["older", "old"]
    assert cli("delete", "--older-than", "190d", "--yes").status == 0
    left = {path.stem for path in cli.store.glob("*.jsonl")}
    assert {"held", "young", "kept"} <= left
    assert not {"old", "older"} & left
    ran = cli("delete", "--older-than", "190d", "--yes")
    assert (ran.status, "no session is that old" in ran.stderr) == (0, True)


def _write(path: Path, name: str, ts: int) -> None:
    start = SessionStart(ts=ts, format="sessionlog/1", session_id=SessionId(name), config=RequestConfig(), history=[])
    chain = build_chain([start, UserInput(ts=ts, item=user_message("hello"))])
    path.write_bytes(b"".join(record.line + b"\n" for record in chain))
    os.chmod(path, 0o600)


def _hold(path: Path, ts: int) -> None:
    last = parse_record(path.read_bytes().splitlines()[-1])
    record = link(last.head, LabelsChanged(ts=ts, labels={"hold": "yes"}))
    with path.open("ab") as file:
        file.write(record.line + b"\n")


@pytest.mark.parametrize("age", ["", "7", "d", "1.5d", "-3d", "7 days", "\u0667d"])
def test_an_age_that_is_none_is_refused(cli: Cli, age: str) -> None:
    cli("delete", "--older-than", age, "--yes").assert_refused("is no age")
    cli("delete", "--yes").assert_refused("--older-than")


def test_an_import_does_not_bring_it_back_unless_told(cli: Cli, tmp_path: Path) -> None:
    copy = tmp_path / "copies" / "gone.jsonl"
    copy.parent.mkdir()
    shutil.copy(cli.store / "gone.jsonl", copy)
    assert cli("delete", "gone", "--yes").status == 0
    ran = cli("import", str(copy))
    assert (ran.status, "passed over: deleted from this store" in ran.stdout) == (0, True)
    assert cli("import", str(copy), "--json").objects[0]["deleted"] == ["gone"]
    assert not (cli.store / "gone.jsonl").exists()
    assert cli("import", "--again", str(copy)).status == 0
    assert (cli.store / "gone.jsonl").exists()
