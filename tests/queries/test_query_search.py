"""Search finds what a person would find by reading, whatever the bytes look like, and names the record to fork at."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionlog import (
    AssistantItems,
    EntryHash,
    Extension,
    HashedEntry,
    LogEntry,
    MemoryStore,
    RequestConfig,
    SessionId,
    SessionStart,
    SessionStartState,
    ToolResults,
    UserInput,
    assistant_message,
    build_chain,
    create_session,
    fork_at,
    tool_call,
    tool_result,
    user_message,
)
from sessionlog.entries import FORMAT
from sessionlog.importers.claude_code import import_paths
from sessionlog.queries import Hit, Matcher, Query, QueryError, Texts, search_session
from strategies import chains

anyio_mark = pytest.mark.anyio
ID = SessionId("s")
START = SessionStart(ts=0, format=FORMAT, session_id=ID, config=RequestConfig(), history=[])


def find(entries: Sequence[LogEntry], query: Query, *, context: int = 0) -> list[Hit]:
    matcher = Matcher(query, context=context)
    return [hit for record in build_chain([START, *entries]) for hit in matcher.hits(ID, record)]


def texts(hits: Sequence[Hit]) -> list[str]:
    return [line.text for hit in hits for line in hit.lines]


def said(text: str, ts: int = 1) -> UserInput:
    return UserInput(ts=ts, item=user_message(text))


def test_case_does_not_count_unless_asked() -> None:
    entries = [said("Fix the PARSER"), said("parser")]
    assert texts(find(entries, Query(text="parser"))) == ["Fix the PARSER", "parser"]
    assert texts(find(entries, Query(text="parser", case=True))) == ["parser"]


def test_text_is_no_pattern_unless_asked() -> None:
    entries = [said("a.c (x)"), said("abc")]
    assert texts(find(entries, Query(text="a.c"))) == ["a.c (x)"]
    assert texts(find(entries, Query(text="a.c", regex=True))) == ["a.c (x)", "abc"]
    with pytest.raises(QueryError, match="missing"):
        Matcher(Query(text="(", regex=True))


def test_a_hit_has_its_spans_and_the_lines_around_it() -> None:
    [hit] = find([said("one\ntwo\nthree two two\nfour\nfive")], Query(text="two"), context=1)
    assert [(line.number, line.text, list(line.spans)) for line in hit.lines] == [
        (1, "one", []),
        (2, "two", [(0, 3)]),
        (3, "three two two", [(6, 9), (10, 13)]),
        (4, "four", []),
    ]


def test_text_inside_json_is_found_as_it_reads() -> None:
    r"""A line feed, a quote or a \u escape in a call's arguments does not hide a word."""
    entries: list[LogEntry] = [
        AssistantItems(
            ts=1, items=[tool_call("c", "Write", '{"text":"say \\"hi\\"\\nto \\u00e9ve","n":[1,{"deep":true}]}')]
        ),
        Extension(ts=1, domain="my", payload={"note": ["x", "hi there"]}),
    ]
    assert texts(find(entries, Query(text='say "hi"'))) == ['text: say "hi"']
    assert texts(find(entries, Query(text="ÉVE"))) == ["text: to éve"]
    assert texts(find(entries, Query(text="deep: true"))) == ["n[1].deep: true"]
    assert texts(find(entries, Query(text="hi there"))) == ["my.note[1]: hi there"]


def test_an_ascii_letter_that_was_escaped_is_found() -> None:
    entries = [AssistantItems(ts=1, items=[tool_call("c", "T", r'{"a":"\u0077ord"}')])]
    assert texts(find(entries, Query(text="word"))) == ["a: word"]


def test_letters_that_fold_to_ascii_are_found() -> None:
    """The Kelvin sign is a k, the long s an s, where case does not count."""
    assert len(find([said("20 \u212aelvin"), said("\u017fent")], Query(text="kelvin"))) == 1
    assert len(find([said("\u017fent")], Query(text="sent"))) == 1
    assert find([said("\u017fent")], Query(text="sent", case=True)) == []


def test_kind_role_tool_and_time_narrow() -> None:
    entries: list[LogEntry] = [
        said("word", ts=10),
        AssistantItems(ts=20, items=[assistant_message("word"), tool_call("c1", "Bash", '{"command":"word"}')]),
        ToolResults(ts=30, items=[tool_result("c1", "word")]),
        Extension(ts=40, domain="d", payload="word"),
    ]

    def kinds(**more: Any) -> list[tuple[str, str | None]]:
        return [(hit.role, hit.tool) for hit in find(entries, Query(text="word", **more))]

    assert kinds() == [("user", None), ("assistant", None), ("assistant", "Bash"), ("tool", "Bash"), ("", None)]
    assert kinds(kinds=frozenset({"tool_results"})) == [("tool", "Bash")]
    assert kinds(roles=frozenset({"user", "tool"})) == [("user", None), ("tool", "Bash")]
    assert kinds(tools=frozenset({"Bash"})) == [("assistant", "Bash"), ("tool", "Bash")]
    assert kinds(since_ms=20, until_ms=30) == [("assistant", None), ("assistant", "Bash")]


def test_a_result_is_known_by_its_tool_though_the_call_does_not_match() -> None:
    entries: list[LogEntry] = [
        AssistantItems(ts=1, items=[tool_call("c1", "Bash", "{}")]),
        ToolResults(ts=1, items=[tool_result("c1", "needle")]),
    ]
    [hit] = find(entries, Query(text="needle", tools=frozenset({"Bash"})))
    assert hit.tool == "Bash"


def test_payloads_that_look_like_an_envelope_do_not_lend_their_kind() -> None:
    entries: list[LogEntry] = [Extension(ts=1, domain="d", payload={"kind": "user_input", "ts": 5, "x": "needle"})]
    assert find(entries, Query(text="needle", kinds=frozenset({"user_input"}))) == []
    assert len(find(entries, Query(text="needle", kinds=frozenset({"extension"})))) == 1


@given(chains(), st.text(max_size=3) | st.sampled_from(["on", "text", "ab"]), st.booleans())
def test_no_match_is_skipped_unread(records: list[HashedEntry], text: str, case: bool) -> None:
    """Looking at the bytes first finds just what decoding every record finds."""
    pattern = re.compile(re.escape(text), 0 if case else re.IGNORECASE)
    pieces = Texts()
    want = [
        record.seq
        for record in records
        for piece in pieces.pieces(record.entry)
        if any(match.end() > match.start() for line in piece.text.split("\n") for match in pattern.finditer(line))
    ]
    matcher = Matcher(Query(text=text, case=case))
    assert [hit.record.seq for record in records for hit in matcher.hits(ID, record)] == want


@anyio_mark
async def test_the_hash_of_a_hit_is_where_to_fork() -> None:
    store = MemoryStore()
    log = await create_session(store, SessionStartState())
    await log.save_delta([user_message("first"), assistant_message("the needle"), user_message("last")])
    [hit] = [hit async for hit in search_session(store, log.session_id, Query(text="NEEDLE"))]
    forked = await fork_at(store, hit.session_id, EntryHash(hit.record.hash))
    [start] = [record.entry async for record in store.read(forked.session_id)]
    assert [item.text for item in start.history] == ["first", "the needle"]  # type: ignore[union-attr]


@anyio_mark
async def test_real_sessions_against_a_plain_search(shared: Path) -> None:
    """As many records as a search in the decoded text of all of them finds."""
    store = MemoryStore()
    await import_paths(store, [shared / "data" / "claude-code"])
    for word in ("error", "phoenix", "nothing-says-this"):
        want = have = 0
        for session_id in await store.list_sessions():
            pieces = Texts()
            for record in await store.read_all(session_id):
                want += sum(word in piece.text.lower() for piece in pieces.pieces(record.entry))
            have += len([hit async for hit in search_session(store, session_id, Query(text=word))])
        assert have == want
        assert (want > 0) is (word != "nothing-says-this")
