"""``loops`` on imported transcripts, and phi-core documents in and out."""

import json
from collections import Counter
from pathlib import Path

import pytest

from .conftest import Cli


def said(path: Path) -> Counter[str]:
    """Count a transcript's API messages and their tokens, each message once."""
    usage = {}
    for text in path.read_text().split("\n"):
        rest = text
        while rest:
            line, end = json.JSONDecoder().raw_decode(rest)
            rest = rest[end:].lstrip()
            if line["type"] == "assistant":
                usage[line["message"]["id"]] = line["message"]["usage"]
    prompt = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return Counter(
        turns=len(usage),
        input=sum(one.get(name) or 0 for one in usage.values() for name in prompt),
        output=sum(one["output_tokens"] for one in usage.values()),
    )


def drawn(cli: Cli, session_id: str) -> dict[str, Counter[str]]:
    """Return what ``loops --json`` adds up to for the session, and for each that its calls ran."""
    return {
        one["session_id"]: Counter(
            turns=one["turn_count"], input=one["tokens"]["input_total"], output=one["tokens"]["output"]
        )
        for one in cli("loops", session_id, "--json").objects
    }


def test_loops_of_every_real_transcript_add_up_to_what_it_says(empty: Cli, shared: Path) -> None:
    """Turns and tokens of all the sessions that a file makes, sub-agents' files included."""
    ran = empty("import", "claude-code", str(shared / "data" / "claude-code"), "--json")
    assert len(ran.objects) > 8
    for report in ran.objects:
        ids = [one["session_id"] for one in report["sessions"]]
        total = sum((drawn(empty, session_id)[session_id] for session_id in ids), Counter[str]())
        assert total == said(Path(report["path"])), report["path"]
        rows = empty("loops", ids[0])
        assert rows.status == 0
        assert "completed" in rows.stdout or "running" in rows.stdout
    agents = [one for one in ran.objects if one["sessions"][0]["role"] == "agent"]
    assert agents
    assert empty("audit").status == 0


def test_a_sub_agent_is_drawn_below_its_call(empty: Cli, shared: Path) -> None:
    folder = shared / "data" / "claude-code" / "with-subagents"
    reports = empty("import", "claude-code", str(folder), "--json").objects
    [compacted] = [one["session_id"] for one in reports[0]["sessions"] if one["role"] == "compaction"]
    assert f"  from {reports[0]['session_id']}.main.1, " in empty("loops", compacted, "--full").stdout
    sums = drawn(empty, compacted)
    assert [one.rpartition("-")[2] for one in sums][1:] == ["a881341"]


def test_a_phi_core_document_comes_out_as_it_went_in(empty: Cli, shared: Path, tmp_path: Path) -> None:
    """Export, import into another store, export again; importing once more is refused and changes nothing."""
    source = shared / "data" / "claude-code" / "short.jsonl"
    [report] = empty("import", "claude-code", str(source), "--json").objects
    session_id = report["session_id"]
    document = tmp_path / "saved" / "session.json"
    document.parent.mkdir()
    ran = empty("export", session_id, "--format", "phi-core", "--output", str(document))
    assert ran.status == 0
    assert empty("export", session_id, "--format", "phi-core").stdout == document.read_text()
    other = ("--store", str(tmp_path / "other"))
    ran = empty(*other, "import", "phi-core", str(document.parent))
    assert (ran.status, ran.stdout) == (0, f"session.json: 1 loop  {session_id}\n")
    assert empty(*other, "export", session_id, "--format", "phi-core").stdout == document.read_text()
    assert empty(*other, "loops", session_id).stdout == empty("loops", session_id).stdout
    again = empty(*other, "import", "phi-core", str(document))
    assert again.status == 2
    assert session_id in again.stderr


def test_what_is_no_document_is_told(empty: Cli, tmp_path: Path) -> None:
    """And does not stop the others."""
    bad, missing = tmp_path / "bad.json", tmp_path / "missing.json"
    bad.write_text("{}")
    ran = empty("import", "phi-core", str(bad), str(missing))
    assert (ran.status, ran.stdout) == (2, "")
    assert len(ran.stderr.splitlines()) == 2
    empty_folder = tmp_path / "folder"
    empty_folder.mkdir()
    ran = empty("import", "phi-core", str(empty_folder))
    assert ran.status == 2
    assert "no document" in ran.stderr


@pytest.mark.parametrize("domain", ["claude_code.spawn", "codex.spawn"])
def test_the_graph_takes_the_links_of_every_importer(empty: Cli, domain: str) -> None:
    for name in ("parent", "child"):
        empty("append", name, "--create")
    empty.append("parent", {"kind": "extension", "domain": domain, "payload": {"session_id": "child"}})
    relations = {one["session_id"]: (one["relation"], one["parent"]) for one in empty("graph", "--json").objects}
    assert relations == {"parent": (None, None), "child": ("spawned_by", "parent")}
