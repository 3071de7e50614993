"""Type-confused transcripts: whatever the lines hold, every object of a file is accounted for, or the file refused."""

import copy
import json
import tempfile
from pathlib import Path
from typing import Any

import anyio
import pytest
from foreign import Transcript
from hypothesis import given, settings
from hypothesis import strategies as st
from test_codex import Rollout
from test_pi import Session

from sessionlog import MemoryStore
from sessionlog.importers import ImportFailed, import_file
from sessionlog.importers.foreign import foreign_name

ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, -1, 2**70, 1e300, "", "x", [], {}, [[]], [{}], {"type": {}}, {"type": []}, [1, "a", None], "\ud800"]
)


def valid_lines() -> list[list[dict[str, Any]]]:
    claude = Transcript()
    claude.user("hi")
    claude.calls("c1", "m1")
    claude.result("c1", "out", structured={"stdout": "out", "agentId": "a1"})
    last = claude.says("done", "m2")
    claude.boundary(last)
    claude.summary()
    claude.progress()
    rollout = Rollout()
    rollout.turn("a", "1")
    rollout.event("token_count", info={"last_token_usage": {"input_tokens": 1, "output_tokens": 1}})
    rollout.add("compacted", {"message": "all of it", "replacement_history": []})
    session = Session()
    session.user("a")
    return [[json.loads(line) for line in made.lines] for made in (claude, rollout, session)]


LINES = valid_lines()


@st.composite
def confused(draw: st.DrawFn) -> list[Any]:
    """Lines of one format, some of whose members are of another type, gone, moved or doubled."""
    lines: list[Any] = copy.deepcopy(draw(st.sampled_from(LINES)))
    for _ in range(draw(st.integers(1, 6))):
        line = draw(st.sampled_from(lines))
        holder = line
        for _ in range(draw(st.integers(0, 3))):
            inner = [one for one in (holder.values() if isinstance(holder, dict) else holder) if one and _holds(one)]
            if not inner:
                break
            holder = draw(st.sampled_from(inner))
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        if not keys:
            continue
        key = draw(st.sampled_from(keys))
        match draw(st.sampled_from(["odd", "odd", "odd", "nest", "drop", "swap"])):
            case "odd":
                holder[key] = copy.deepcopy(draw(ODD))
            case "nest":
                holder[key] = {"type": holder[key]}
            case "drop":
                del holder[key]
            case _:
                other = draw(st.sampled_from(keys))
                holder[key], holder[other] = holder[other], holder[key]
    return draw(st.permutations(lines)) if draw(st.booleans()) else lines


def _holds(value: Any) -> bool:
    return isinstance(value, dict | list)


def check(lines: list[Any], cut: int) -> None:
    """Import the lines in two pieces, as a file that grows, and again; and whole."""
    data = [json.dumps(line).encode() + b"\n" for line in lines]

    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "2026-01-01T00-00-00-000Z_5e55105e-0000-4000-8000-000000000000.jsonl"
            store = MemoryStore()
            path.write_bytes(b"".join(data[:cut]))
            if await imported(store, path, growing=True):
                path.write_bytes(b"".join(data))
                if await imported(store, path, growing=None):
                    assert (await import_file(store, path)).unchanged
            whole = MemoryStore()
            path.write_bytes(b"".join(data))
            if await imported(whole, path, growing=None):
                assert (await import_file(whole, path)).unchanged

    anyio.run(run)


async def imported(store: MemoryStore, path: Path, *, growing: bool | None) -> bool:
    """Import; True if it was not refused. Every object is imported, listed, or waits."""
    try:
        report = await import_file(store, path, growing=growing)
    except ImportFailed as refused:
        if "a bug in sessionlog" in refused.reason:
            raise
        return False
    listed = {piece.line for piece in (*report.not_understood, *report.waiting)}
    count = len(path.read_bytes().splitlines())
    assert report.imported + len(listed) >= count, report
    return True


@settings(max_examples=150, deadline=None)
@given(confused(), st.integers(0, 8))
def test_confused_lines_cost_at_most_their_file(lines: list[Any], cut: int) -> None:
    check(lines, cut)


@pytest.mark.long
@settings(max_examples=6000, deadline=None)
@given(confused(), st.integers(0, 8))
def test_many_confused_lines_cost_at_most_their_file(lines: list[Any], cut: int) -> None:
    check(lines, cut)


@settings(max_examples=300)
@given(confused(), st.recursive(ODD, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8))
def test_no_signature_raises(lines: list[Any], other: Any) -> None:
    """Recognising is total: any JSON is of a format, of a foreign one, or of none."""
    for value in (*lines, other):
        foreign_name(value)
