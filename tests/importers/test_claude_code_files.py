"""Files and folders, good and bad, and the transcript that ships with the package."""

import os
from pathlib import Path

import pytest
from foreign import SID, Transcript, check_store

import sessionlog
from sessionlog import Extension, MemoryStore, SessionId, restore
from sessionlog.importers.claude_code import SPAWN_DOMAIN, ImportFailed, find_transcripts, import_file, import_paths

pytestmark = pytest.mark.anyio
DEMO = Path(sessionlog.__file__).parent / "cli" / "demo_data"


async def test_a_folder_is_searched_and_sub_agents_come_with_their_parent(tmp_path: Path) -> None:
    """Folders to any depth, a conversation before its sub-agents, each once; a file alone brings its sub-agents."""
    main = Transcript().write(tmp_path, "b.jsonl")
    folder = tmp_path / "b" / "subagents" / "deep"
    folder.mkdir(parents=True)
    agent = Transcript().write(folder, "agent-1.jsonl")
    (folder / "agent-1.meta.json").write_text("{}")
    other = Transcript().write(tmp_path / "b", "z.jsonl")
    assert await find_transcripts([tmp_path, main]) == [main, agent, other]
    assert await find_transcripts([main]) == [main, agent]
    assert await find_transcripts([agent]) == [agent]


async def test_one_bad_file_does_not_stop_the_others(tmp_path: Path) -> None:
    """Missing, binary, a FIFO, a link to itself: one clear error each, with the path; the rest is imported."""
    script = Transcript()
    script.user("hi")
    good = script.write(tmp_path, "z.jsonl")
    binary = tmp_path / "a.jsonl"
    binary.write_bytes(bytes(range(256)) * 40)
    fifo = tmp_path / "f.jsonl"
    os.mkfifo(fifo)
    missing = tmp_path / "gone.jsonl"
    loop = tmp_path / "l.jsonl"
    loop.symlink_to(loop)
    impossible = Path("a\0b")
    told: list[object] = []
    summary = await import_paths(MemoryStore(), [missing, impossible, tmp_path], on_file=told.append)
    assert [one.path for one in summary.reports] == [good]
    assert {one.path: one.reason for one in summary.failures} == {
        missing: "it cannot be read: No such file or directory",
        binary: "no line of it holds a JSON object: is it a transcript?",
        fifo: "it is no regular file",
        loop: "it cannot be read: Too many levels of symbolic links",
        impossible: "it cannot be read: embedded null byte",
    }
    assert len(told) == 6


async def test_a_folder_is_no_transcript(tmp_path: Path) -> None:
    """import_file wants a file."""
    with pytest.raises(ImportFailed, match="it is a folder"):
        await import_file(MemoryStore(), tmp_path)


@pytest.mark.parametrize("data", [b"", b"\n", b'{"type":"summary","summary":"s","leafUuid":"x"}\n', b'{"type":'])
async def test_a_file_without_messages_makes_no_session(tmp_path: Path, data: bytes) -> None:
    """Its lines wait, and are reported as waiting."""
    path = tmp_path / "t.jsonl"
    path.write_bytes(data)
    store = MemoryStore()
    report = await import_file(store, path)
    assert (report.unchanged, report.session_id, len(report.waiting)) == (True, None, len(data) > 1)
    assert await store.list_sessions() == []


@pytest.mark.parametrize(
    ("stem", "session", "expected"),
    [
        pytest.param("t", "abc", "abc", id="what the lines say"),
        pytest.param(f"{SID[:-1]}f", "abc", f"{SID[:-1]}f", id="the file's UUID"),
        pytest.param("t", "../a b", "a-b", id="what may not be in an id"),
        pytest.param("t", "x" * 300, "x" * 71, id="too long"),
        pytest.param("my file", None, "my-file", id="the file's name"),
    ],
)
async def test_the_session_has_the_transcripts_id(
    tmp_path: Path, stem: str, session: str | None, expected: str
) -> None:
    """Its own id where that can name a session, else one that is made of it, always the same."""
    script = Transcript()
    script.user("hi", sessionId=session)
    report = await import_file(MemoryStore(), script.write(tmp_path, f"{stem}.jsonl"))
    assert report.session_id is not None
    assert report.session_id.strip("s-").startswith(expected)


async def test_progress_adds_up_to_the_size(tmp_path: Path) -> None:
    """Also for a file that is known already, and for one with an unfinished line."""
    script = Transcript()
    for number in range(3000):
        script.user(f"message {number} " + "x" * 100)
    path = script.write(tmp_path)
    path.write_bytes(path.read_bytes() + b'{"unfinished')
    store = MemoryStore()
    for _ in range(2):
        steps: list[int] = []
        await import_file(store, path, progress=steps.append)
        assert sum(steps) == path.stat().st_size
        assert min(steps) > 0
        assert len(steps) > 3


async def test_the_demo_transcript_shows_everything() -> None:
    """A fork, a compaction, a sub-agent that its call is linked to, a failed tool; nothing that is not understood."""
    store = MemoryStore()
    summary = await import_paths(store, [DEMO])
    assert [[one.role for one in report.sessions] for report in summary.reports] == [
        ["main", "fork", "compaction"],
        ["agent"],
    ]
    assert all(report.not_understood == report.waiting == [] for report in summary.reports)
    main = summary.reports[0].session_id
    assert main is not None
    state = await restore(store, main)
    assert not state.dangling_tool_calls
    assert any(getattr(item, "is_error", False) for item in state.history)
    links = [one.payload["session_id"] for one in state.extensions if one.domain == SPAWN_DOMAIN]
    assert links == [summary.reports[1].session_id]
    note = (await store.read_all(SessionId(links[0])))[1].entry
    assert isinstance(note, Extension)
    assert note.payload["agent"]["agentType"] == "Explore"
    await check_store(store)
    assert all(report.unchanged for report in (await import_paths(store, [DEMO])).reports)


async def test_the_demo_names_nobody() -> None:
    """Invented from the first line to the last: no home but the invented one."""
    text = "".join(path.read_text() for path in DEMO.rglob("*.json*"))
    assert text.count("/home/") == text.count("/home/dev/orchard")
    assert SID not in text
