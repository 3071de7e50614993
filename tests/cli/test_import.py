"""``import``: what became of a transcript, for people and programs; again, grown, or no transcript at all."""

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import Cli, json_lines

SESSION = "11111111-2222-4333-8444-555555555555"


def line(number: int, role: str, text: str) -> dict[str, Any]:
    """One line of a transcript, the parent of the next one."""
    return {
        "type": role,
        "uuid": f"00000000-0000-4000-8000-{number:012}",
        "parentUuid": f"00000000-0000-4000-8000-{number - 1:012}" if number else None,
        "sessionId": SESSION,
        "timestamp": f"2026-01-01T00:00:{number:02}.000Z",
        "isSidechain": False,
        "message": {"role": role, "content": text},
    }


def conversation(*texts: str) -> str:
    return json_lines(line(number, ("user", "assistant")[number % 2], text) for number, text in enumerate(texts))


@pytest.fixture
def transcript(tmp_path: Path) -> Path:
    """A transcript of two messages and a line that is no JSON."""
    path = tmp_path / "transcripts" / f"{SESSION}.jsonl"
    path.parent.mkdir()
    path.write_text("no json\n" + conversation("What is here?", "A test."))
    return path


def test_an_import_tells_what_it_made_and_what_it_did_not_understand(empty: Cli, transcript: Path) -> None:
    """It makes the store, too."""
    ran = empty("import", "claude-code", str(transcript))
    assert (ran.status, ran.stderr) == (0, "")
    assert ran.lines[0].startswith(f"{transcript.name}: 2 lines, ")
    assert ran.lines[1].split()[0] == "main"
    assert ran.lines[1].split()[-1] == SESSION
    assert "  1 piece not understood:" in ran.lines
    assert any(one.startswith("    line 1: ") for one in ran.lines)
    assert empty("list", "--json").objects[0]["first_message"] == "What is here?"
    assert empty("audit").status == 0


def test_json_gives_an_object_a_file(empty: Cli, transcript: Path) -> None:
    [report] = empty("import", "claude-code", str(transcript), "--json").objects
    assert (report["path"], report["session_id"], report["unchanged"]) == (str(transcript), SESSION, False)
    assert report["imported"] == 2
    assert report["records_added"] == sum(one["records_added"] for one in report["sessions"])
    assert [piece["line"] for piece in report["not_understood"]] == [1]


def test_importing_again_adds_nothing_and_a_grown_file_what_is_new(empty: Cli, transcript: Path) -> None:
    empty("import", "claude-code", str(transcript))
    before = empty.log(SESSION).read_bytes()
    again = empty("import", "claude-code", str(transcript))
    assert (again.status, again.lines[0]) == (0, f"{transcript.name}: nothing new")
    assert empty.log(SESSION).read_bytes() == before
    transcript.write_text("no json\n" + conversation("What is here?", "A test.", "More?"))
    [report] = empty("import", "claude-code", str(transcript), "--json").objects
    assert (report["imported"], report["imported_before"]) == (3, 2)
    assert empty.log(SESSION).read_bytes().startswith(before)


def test_a_folder_is_imported_with_everything_below_it(empty: Cli, transcript: Path) -> None:
    ran = empty.process("import", "claude-code", str(transcript.parent.parent), "--json")
    assert ran.status == 0
    assert [report["session_id"] for report in ran.objects if report["path"] == str(transcript)] == [SESSION]


def test_what_cannot_be_imported_is_told_and_the_rest_is_imported(empty: Cli, transcript: Path, tmp_path: Path) -> None:
    noise = tmp_path / "noise.jsonl"
    noise.write_text("nothing of it\nis a transcript\n")
    ran = empty("import", "claude-code", str(tmp_path / "missing.jsonl"), str(noise), str(transcript))
    assert ran.status == 2
    assert [one.startswith("sessionlog: ") for one in ran.stderr.splitlines()] == [True, True]
    assert "missing.jsonl" in ran.stderr
    assert "noise.jsonl" in ran.stderr
    assert empty("verify", SESSION).status == 0


def test_a_folder_without_transcripts_is_told(empty: Cli, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    empty("import", "claude-code", str(tmp_path / "bare")).assert_refused("there is no transcript")


def test_many_pieces_are_counted_and_listed_in_json(empty: Cli, transcript: Path) -> None:
    transcript.write_text("no json\n" * 20 + conversation("Hello"))
    assert "    ... 15 more: --json lists them all" in empty("import", "claude-code", str(transcript)).lines
    [report] = empty("import", "claude-code", str(transcript), "--json").objects
    assert len(report["not_understood"]) == 20


def test_names_of_files_do_not_act_on_a_terminal(empty: Cli, transcript: Path) -> None:
    odd = transcript.rename(transcript.parent / "\x1b[31m\udcff\u202e.jsonl")
    ran = empty.process("import", "claude-code", str(odd.parent))
    assert ran.status == 0
    assert r"\x1b[31m\udcff\u202e.jsonl: 2 lines" in ran.stdout
    [report] = empty.process("import", "claude-code", str(odd.parent), "--json").objects
    assert report["path"].endswith(r"\x1b[31m\udcff\u202e.jsonl")
    assert "\x1b" not in empty.process("show", SESSION, "--full").stdout


def test_real_transcripts_import_whole(empty: Cli, shared: Path) -> None:
    """All of them, with nothing for an audit to find; a second time adds nothing."""
    folder = str(shared / "data" / "claude-code")
    assert empty("import", "claude-code", folder).status == 0
    assert empty("audit").status == 0
    assert all(report["unchanged"] for report in empty("import", "claude-code", folder, "--json").objects)
    assert empty("list").status == 0
    assert empty("graph").status == 0
    for row in empty("list", "--json").objects:
        for command in ("show", "restore"):
            assert empty(command, row["session_id"]).status == 0
            objects = empty(command, row["session_id"], "--json").objects
            assert len(objects) == (row["records"] if command == "show" else 1)
    assert json.dumps(empty("graph", "--json").objects).count('"spawned_by"') >= 2
