"""``import PATH``: formats are recognised, or forced; the tools' own folders; a table of what was done."""

import json
from pathlib import Path

import pytest

from .conftest import Cli, json_lines, user

CODEX = "019d7d08-46c9-7f73-affe-4e6ca9852d56"
PI = "738aa34c-0000-4000-8000-000000000000"
STAMP = "2026-01-01T00:00:00.000Z"


def rollout() -> str:
    content = [{"type": "input_text", "text": "Ask codex."}]
    message = {"type": "message", "role": "user", "content": content}
    return json_lines(
        {"timestamp": STAMP, "type": kind, "payload": payload}
        for kind, payload in (("session_meta", {"id": CODEX}), ("response_item", message))
    )


def session() -> str:
    message = {"role": "user", "content": "Ask pi."}
    return json_lines(
        (
            {"type": "session", "version": 3, "id": PI, "timestamp": STAMP},
            {"type": "message", "id": "a", "parentId": None, "timestamp": STAMP, "message": message},
        )
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a rollout and a pi session."""
    path = tmp_path / "mixed"
    path.mkdir()
    (path / "a.jsonl").write_text(rollout())
    (path / "b.jsonl").write_text(session())
    return path


def table(lines: list[str]) -> dict[str, list[int]]:
    """The table at the end, by format: files, unchanged, failed, sessions, lines, records."""
    rows = [one.split() for one in lines[lines.index("") + 2 :] if one[12:].replace(",", "").replace(" ", "").isdigit()]
    return {row[0]: [int(cell.replace(",", "")) for cell in row[1:]] for row in rows}


def test_formats_are_recognised_and_a_table_sums_up(empty: Cli, folder: Path) -> None:
    ran = empty("import", str(folder))
    assert (ran.status, ran.stderr) == (0, "")
    assert table(ran.lines) == {"codex": [1, 0, 0, 1, 2, 6], "pi": [1, 0, 0, 1, 2, 6], "total": [2, 0, 0, 2, 4, 12]}
    assert {row["first_message"] for row in empty("list", "--json").objects} == {"Ask codex.", "Ask pi."}
    again = empty("import", str(folder))
    assert table(again.lines)["total"] == [2, 2, 0, 0, 0, 0]
    assert again.lines[0] == "", "files with nothing new are told in the table alone"
    assert [one["format"] for one in empty("import", str(folder), "--json").objects] == ["codex", "pi"]
    assert empty("audit").status == 0


def test_one_file_has_no_table(empty: Cli, folder: Path) -> None:
    ran = empty("import", str(folder / "a.jsonl"))
    assert ran.lines[0].startswith("a.jsonl: 2 lines, ")
    assert len(ran.lines) == 2


@pytest.mark.parametrize(("name", "file"), [("codex", "a.jsonl"), ("pi", "b.jsonl")])
def test_a_format_can_be_forced(empty: Cli, folder: Path, name: str, file: str) -> None:
    [report] = empty("import", name, str(folder / file), "--json").objects
    assert (report["format"], report["imported"]) == (name, 2)


def test_a_path_that_is_named_like_a_format(
    empty: Cli, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder.rename(tmp_path / "codex")
    assert len(empty("import", "./codex", "--json").objects) == 2
    empty("import", "codex").assert_refused("Missing argument")


def test_bad_files_are_told_and_the_rest_is_imported(empty: Cli, folder: Path) -> None:
    (folder / "binary.jsonl").write_bytes(bytes(range(256)))
    (folder / "data.jsonl").write_text('{"rows":1}\n')
    (folder / "empty.jsonl").touch()
    ran = empty("import", str(folder), str(folder / "gone"))
    assert ran.status == 2
    assert [one.startswith("sessionlog: ") for one in ran.stderr.splitlines()] == [True] * 3
    assert "no transcript of a known format" in ran.stderr
    assert "empty.jsonl: nothing to import" in ran.lines
    rows = table(ran.lines)
    assert (rows["-"], rows["total"][:4]) == ([3, 0, 3, 0, 0, 0], [6, 1, 3, 2])


@pytest.mark.parametrize("args", [("--all",), ("{}", "--all"), ("--all", "{}")])
def test_all_takes_the_tools_folders(
    empty: Cli, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...]
) -> None:
    """Those that are there; the others are told."""
    monkeypatch.setenv("HOME", str(tmp_path))
    sessions = tmp_path / ".pi" / "agent" / "sessions" / "--srv-app--"
    sessions.mkdir(parents=True)
    (folder / "b.jsonl").rename(sessions / "b.jsonl")
    ran = empty("import", *(one.format(folder) for one in args), "--json")
    assert ran.status == 0
    assert {one["format"] for one in ran.objects} == ({"pi"} if len(args) == 1 else {"pi", "codex"})
    assert [one.split()[1] for one in ran.stderr.splitlines()] == ["~/.claude/projects", "~/.codex/sessions"]


def test_all_without_any_folder_is_refused(empty: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    ran = empty("import", "--all")
    assert ran.status == 2
    assert ran.stderr.splitlines()[-1].startswith("sessionlog: none of the tools' folders is there")


def test_a_real_folder_imports_whole(empty: Cli, shared: Path) -> None:
    """All of it, with nothing for an audit to find; a second time adds nothing."""
    for name in ("codex", "pi"):
        assert empty("import", str(shared / "data" / name)).status == 0
    assert empty("audit").status == 0
    for report in empty("import", str(shared / "data" / "codex"), "--json").objects:
        assert report["unchanged"], json.dumps(report)


def test_an_older_copy_is_told(empty: Cli, tmp_path: Path) -> None:
    """A beginning of what is imported says so, in words and in JSON."""
    whole, copy = tmp_path / "whole.jsonl", tmp_path / "copy.jsonl"
    whole.write_text(rollout())
    copy.write_text(rollout().splitlines(keepends=True)[0])
    empty("import", str(whole))
    assert empty("import", str(copy)).lines == ["copy.jsonl: an older copy: nothing new"]
    (report,) = empty("import", str(copy), "--json").objects
    assert (report["older_copy"], report["unchanged"], report["records_added"]) == (True, True, 0)


def test_a_folder_of_logs_moves_to_another_store(empty: Cli, folder: Path, tmp_path: Path) -> None:
    """Byte for byte; a trace beside a log is passed over by name; a fork is refused, and both heads are told."""
    empty("import", str(folder))
    (empty.store / f"{PI}.trace.jsonl").write_text('{"delta":"x"}\n')
    other = Cli(tmp_path / "other")
    ran = other("import", str(empty.store))
    assert f"{PI}.trace.jsonl: passed over: it is the raw trace of the log beside it" in ran.lines
    assert table(ran.lines)["sessionlog"][:4] == [2, 0, 0, 2]
    assert other.log(PI).read_bytes() == empty.log(PI).read_bytes()
    for store, text in ((empty, "here"), (other, "there")):
        store.append(PI, user(text))
    refused = other("import", str(empty.log(PI)))
    assert refused.status == 2
    assert "differs from record" in refused.stderr
