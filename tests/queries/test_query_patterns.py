"""Expressions run on RE2: linear time, spans in characters, refusals that say what to do; costly ones run apart."""

import re
import subprocess
import sys

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionlog.queries import patterns
from sessionlog.queries.patterns import Expression, QueryError, Words, find_spans, make_pattern

COSTLY = r"x.{0,1000}y.{0,500}z"
"""13,507 instructions, of which a text of x and y keeps thousands busy."""


@pytest.mark.parametrize("text", [r"(a+)+$", r"(a|a)*$", r"(a*)*b", r"(.*,){12}P", r"(\w+\s?)+$", r"(x+x+)+y"])
def test_an_expression_that_backtracks_for_ages_ends_at_once(text: str) -> None:
    """With ``re`` each of these takes longer than the world lasts."""
    searched = "a" * 100_000 + "!"
    assert list(make_pattern(text + "Q", regex=True, case=True).spans(searched)) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (r"(?=a)b", "lookaround is not supported"),
        (r"(?!a)b", "lookaround is not supported"),
        (r"(?<=x)y", "lookaround is not supported"),
        (r"(?<!x)y", "lookaround is not supported"),
        (r"(a)\1", "back references are not supported"),
        (r"(?P<n>a)(?P=n)", "back references are not supported"),
        (r"a++", "leave out the second +"),
        (r"(?>a)", "write (?:"),
        (r"a\Z", r"write \z"),
        (r"\u0041", "write the character itself"),
        (r"a{1001}", "1000 repetitions at most"),
        (r"((a{100}){100}){100}", "1000 repetitions at most"),
        (r"\p{L}{900}", "too costly: repeat fewer times"),
        ("(", "missing ): ("),
        ("a)(b", "unexpected ): a)(b"),
        ("[b-a]", "invalid character class range"),
        ("a\udc80b", "not UTF-8"),
        ("x*", "x+ and not x*"),
        ("(?i)", "x+ and not x*"),
    ],
)
def test_a_refusal_says_what_to_do(text: str, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    """And RE2 prints nothing of its own."""
    with pytest.raises(QueryError, match=re.escape(words)) as refused:
        make_pattern(text, regex=True, case=False)
    assert "(?m)" not in str(refused.value)
    assert capfd.readouterr() == ("", "")


def test_spans_are_in_characters_and_stay_in_a_line() -> None:
    assert list(Expression("é.", case=False).spans("xÉyz\né\n😀éé")) == [(1, 3), (8, 10)]
    assert list(Expression(r"b\s?", case=True).spans("b\nb ")) == [(0, 1), (2, 4)]
    assert list(Expression(r"(?s)a.*z", case=True).spans("a\nz\naz")) == [(4, 6)]
    assert list(Expression(r"[^q]+$", case=True).spans("ab\ncdq\ne")) == [(0, 2), (7, 8)]
    assert list(Expression(r"^\w", case=True).spans("ab\ncd")) == [(0, 1), (3, 4)]
    assert set(Expression(r"\C", case=True).spans("é")) <= {(0, 1)}  # a byte of it
    assert list(Expression("b", case=True).spans("\ud800b")) == [(1, 2)]
    assert list(Words("b\na", case=True).spans("b\na")) == []


@pytest.mark.parametrize(
    ("text", "other"), [("É", "é"), ("k", "\u212a"), ("\u017f", "s"), ("ς", "Σ"), ("ẞ", "ß"), ("Д", "д")]
)
def test_case_counts_only_if_it_is_asked_for(text: str, other: str) -> None:
    for regex in (False, True):
        assert list(make_pattern(text, regex=regex, case=False).spans(other)) == [(0, 1)]
        assert list(make_pattern(text, regex=regex, case=True).spans(other)) == []


@given(st.text("aé😀b\n", max_size=30), st.sampled_from(["a", "é", "a+", "[^a\n]+", "a|é+", "^.", ".$", "😀?b", "a.b"]))
def test_what_both_engines_know_they_find_alike(text: str, expression: str) -> None:
    want, at = [], 0
    for line in text.split("\n"):
        want += [(at + one.start(), at + one.end()) for one in re.finditer(expression, line)]
        at += len(line) + 1
    assert list(Expression(expression, case=True).spans(text)) == want


@pytest.mark.anyio
async def test_costly_work_is_done_apart_and_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pattern = Expression("é.?b", case=False)
    text = "xx éab\nébÉb"
    here = await find_spans(pattern, text)
    assert here == [(3, 6), (7, 9), (9, 11)]
    monkeypatch.setattr(patterns, "WORK_MAX", pattern.work(text))
    assert await find_spans(pattern, text) == here
    monkeypatch.setattr(patterns, "WORK_MAX", pattern.work(text) - 1)
    monkeypatch.setattr(pattern, "spans", None)  # nothing is found in this process
    assert await find_spans(pattern, text) == here


@pytest.mark.anyio
async def test_cancelling_ends_costly_work() -> None:
    """Which would take hours: the process is killed, and has ended when the cancellation comes out."""
    text = "xwyaab" * 1_000_000
    pattern = Expression(COSTLY, case=True)
    assert pattern.work(text) > patterns.WORK_MAX
    async with anyio.create_task_group() as group:
        group.start_soon(find_spans, pattern, text)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()


@pytest.mark.anyio
async def test_other_tasks_run_between_matches() -> None:
    """Many matches are no reason to keep the event loop from its work."""
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(take_turns)
        found = await find_spans(Expression(".", case=True), "a" * 6_400)
        group.cancel_scope.cancel()
    assert len(found) == 6_400
    assert turns >= 90


def test_without_the_extra_it_is_said() -> None:
    code = (
        "import sys; sys.modules['re2'] = None\n"
        "from sessionlog.queries import Matcher, Query, QueryError\n"
        "Matcher(Query(text='x'))\n"
        "try: Matcher(Query(text='x', regex=True))\n"
        "except QueryError as error: print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "regular expressions need google-re2: pip install 'sessionlog[cli]'\n"
