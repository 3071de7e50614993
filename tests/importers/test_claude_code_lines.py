"""Bytes into JSON objects: whatever is in the file, each object once, and everything else named."""

import json
from pathlib import Path

import pytest
from foreign import SID
from hypothesis import given
from hypothesis import strategies as st

from sessionlog.importers.claude_code.lines import Bad, Found, Piece, Pieces, Tail, open_bytes

pytestmark = pytest.mark.anyio
LINE_MAX = 20_000
WHOLE = json.dumps({"type": "user", "uuid": "u", "sessionId": SID}).encode()


async def pieces(path: Path, data: bytes) -> list[Piece]:
    path.write_bytes(data)
    file = await open_bytes(path)
    try:
        return [piece async for piece in Pieces(file, line_bytes_max=LINE_MAX)]
    finally:
        await file.close()


def shown(found: list[Piece]) -> list[tuple[object, ...]]:
    """Return each piece as (kind, line, what)."""
    told: list[tuple[object, ...]] = []
    for piece in found:
        match piece:
            case Found():
                told.append(("found", piece.line, piece.value))
            case Bad():
                told.append(("bad", piece.line, piece.reason))
            case Tail():
                told.append(("tail", piece.line, piece.size))
    return told


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"", [], id="empty"),
        pytest.param(b"\n\n \n", [], id="blank lines"),
        pytest.param(b'{"a":1}\n{"a":2}', [("found", 1, {"a": 1}), ("found", 2, {"a": 2})], id="no final newline"),
        pytest.param(b'{"a":1}\r\n{"a":2}\r\n', [("found", 1, {"a": 1}), ("found", 2, {"a": 2})], id="CR LF"),
        pytest.param(b'\xef\xbb\xbf{"a":1}\n', [("found", 1, {"a": 1})], id="byte order mark"),
        pytest.param(b'{"a":1}\n\0\0\0\0', [("found", 1, {"a": 1})], id="NUL padding"),
        pytest.param(
            b'{"a":1}\n\0\0{"a":2}\n', [("found", 1, {"a": 1}), ("found", 2, {"a": 2})], id="NULs before a line"
        ),
        pytest.param(b'{"a":1}{"a":2} {"a":3}\n', [("found", 1, {"a": n}) for n in (1, 2, 3)], id="glued"),
        pytest.param(b'{"a":"\xe2\x80\xa8"}\n', [("found", 1, {"a": "\u2028"})], id="only LF ends a line"),
        pytest.param(b'{"a":1}\n{"a":', [("found", 1, {"a": 1}), ("tail", 2, 5)], id="unfinished line"),
        pytest.param(b'{"a":1}{"a":', [("found", 1, {"a": 1}), ("tail", 1, 5)], id="unfinished after a glued one"),
        pytest.param(b"12", [("tail", 1, 2)], id="an unfinished number"),
        pytest.param(b"12\n", [("bad", 1, "no JSON object (2 bytes left out)")], id="no object"),
        pytest.param(b'{"a":NaN}\n', [("bad", 1, "JSON is malformed: invalid character (byte 5)")], id="NaN"),
    ],
)
async def test_pieces(tmp_path: Path, data: bytes, expected: list[tuple[object, ...]]) -> None:
    """Real damage and real sloppiness are taken apart."""
    assert shown(await pieces(tmp_path / "f", data)) == expected


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        pytest.param(b'{"a":"\\ud800"}', "lone surrogate", id="lone surrogate"),
        pytest.param(b'{"a":"\\udc00x"}', "lone surrogate", id="low surrogate"),
        pytest.param(b'{"a":"\xff"}', "no UTF-8", id="no UTF-8"),
        pytest.param(b'{"a":1e999}', "out of range", id="number out of range"),
        pytest.param(b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", "nested too deep", id="too deep"),
        pytest.param(b'{"type":"user","x":"cut of', "no JSON", id="torn"),
        pytest.param(b"\x89PNG\r\x1a", "no JSON object", id="binary"),
        pytest.param(b'{"a":"' + b"x" * LINE_MAX + b'"}', f"more than {LINE_MAX}", id="too long"),
    ],
)
async def test_a_bad_line_costs_only_itself(tmp_path: Path, bad: bytes, reason: str) -> None:
    """The lines around a bad one are found, and the bad one is named."""
    found = await pieces(tmp_path / "f", WHOLE + b"\n" + bad + b"\n" + WHOLE + b"\n")
    assert [type(piece) for piece in found] == [Found, Bad, Found]
    assert isinstance(found[1], Bad)
    assert found[1].line == 2
    assert reason in found[1].reason
    assert isinstance(found[2], Found)
    assert (found[2].line, found[2].ordinal) == (3, 1)


async def test_a_torn_object_with_the_next_one_glued_to_it_costs_only_the_torn_one(tmp_path: Path) -> None:
    """A writer that appended to an unfinished line: the whole object is found behind the torn bytes."""
    torn = b'{"type":"user","message":{"role":"user","content":"cut'
    found = await pieces(tmp_path / "f", torn + WHOLE + b"\n")
    assert [type(piece) for piece in found] == [Bad, Found]
    assert isinstance(found[1], Found)
    assert found[1].raw == WHOLE


async def test_a_line_of_the_greatest_length_is_taken_and_one_byte_more_is_not(tmp_path: Path) -> None:
    """The limit is exact."""
    exact = b'{"a":"' + b"x" * (LINE_MAX - 8) + b'"}'
    assert [type(piece) for piece in await pieces(tmp_path / "f", exact + b"\n")] == [Found]
    longer = b'{"a":"' + b"x" * (LINE_MAX - 7) + b'"}'
    assert [type(piece) for piece in await pieces(tmp_path / "f", longer + b"\n")] == [Bad]


SNIPPETS = [
    b"\n", b"\n", WHOLE, b'{"a":1}', b"{", b'"}', b'{"a":"\xff"}', b"\0", b" ", b"\r\n", b"12", b"x", b'{"b":{"c":"t"',
    b'{"a":"\\ud800"}', b"}", b'{"a":NaN}',
]  # fmt: skip


@given(st.lists(st.sampled_from(SNIPPETS), max_size=12), st.data())
def test_what_was_found_is_found_again_when_the_file_has_grown(parts: list[bytes], data: st.DataObject) -> None:
    """Pieces of the first bytes are the first pieces of the whole; only the unfinished end may change."""
    whole = b"".join(parts)
    cut = data.draw(st.integers(0, len(whole)))
    early = [piece for piece in _split(whole[:cut], 1 + cut // 3) if not isinstance(piece, Tail)]
    late = _split(whole, 5)
    assert early == late[: len(early)]


@given(st.lists(st.sampled_from(SNIPPETS), max_size=12), st.integers(1, 40))
def test_the_chunks_do_not_matter(parts: list[bytes], size: int) -> None:
    """However the bytes come, the pieces are the same."""
    data = b"".join(parts)
    assert _split(data, size) == _split(data, len(data) + 1)


def _split(data: bytes, size: int) -> list[Piece]:
    from sessionlog.importers.claude_code.lines import _Splitter  # noqa: PLC0415

    splitter = _Splitter(LINE_MAX)
    found: list[Piece] = []
    for start in range(0, len(data), size):
        found.extend(splitter.feed(data[start : start + size]))
    found.extend(splitter.finish())
    return found
