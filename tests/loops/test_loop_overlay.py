"""Compaction blocks: how they are made, recorded and loaded; the originals stay."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loops_factories import (
    START,
    answer,
    assert_log_says_the_same,
    at,
    end,
    said,
    start,
    tool_answer,
    tree,
    turn_end,
    turn_start,
    user,
)

from sessionlog.loops import (
    AgentEvent,
    AgentMessage,
    CompactedSection,
    CompactionBlock,
    CompactionBlockAdded,
    ExtensionMessage,
    Image,
    LoopRecord,
    SessionRecorder,
    Text,
    ToolResultMessage,
    TurnId,
    TurnRange,
    UserMessage,
    load_context,
    make_block,
)
from sessionlog.loops.overlay import shorten_tool_output, turn_messages, whole_messages

SUMMARY = [user("they listed files")]


def run(loop_id: str, turns: int, seconds: float = 0, parent: str | None = None, **ending: object) -> list[AgentEvent]:
    """Return a loop of so many turns, each with a question, an answer and a tool's output."""
    events: list[AgentEvent] = [start(loop_id, seconds=seconds, parent_loop_id=parent)]
    for n in range(turns):
        outputs = [tool_answer(f"t{n}", f"output {n} of {loop_id}")]
        events += [
            turn_start(loop_id, n, seconds),
            said(loop_id, user(f"question {n}")),
            turn_end(loop_id, f"answer {n}", tool_results=outputs),
        ]
    return [*events, end(loop_id, seconds + 1, **ending)]


def texts(messages: list[AgentMessage]) -> list[str]:
    return [
        "".join(part.text for part in message.content if isinstance(part, Text))
        for message in messages
        if not isinstance(message, ExtensionMessage)
    ]


def block(loop: LoopRecord, first: int, recent: int, chars: int = 8) -> CompactionBlock:
    return make_block(
        loop, first_turns=first, recent_turns=recent, summary=SUMMARY, created_at=at(50), tool_output_chars_max=chars
    )


def test_a_block_covers_first_middle_and_recent_turns() -> None:
    """By index, both ends included."""
    made = block(tree(*run("s.c.0", 6)).loops[0], 1, 2)
    assert made.keep_first == TurnRange(0, 0)
    assert made.keep_compacted is not None
    assert made.keep_recent is not None
    assert (made.keep_compacted.range, list(made.keep_compacted.messages)) == (TurnRange(1, 3), SUMMARY)
    assert made.keep_recent.range == TurnRange(4, 5)
    assert made.created_at == at(50)
    assert 4 in made.keep_recent.range
    assert 6 not in made.keep_recent.range


def test_the_newest_loop_is_loaded_by_its_sections() -> None:
    """First turns verbatim, the middle summarised, recent turns with shortened tool output."""
    session = tree(*run("s.c.0", 5))
    loop = session.loops[0]
    loop.compaction_block = block(loop, 1, 1)
    assert texts(load_context(session, "s.c.0")) == [
        "question 0",
        "answer 0",
        "output 0 of s.c.0",
        "they listed files",
        "question 4",
        "answer 4",
        "output 4… [9 characters left out]",
    ]


def test_older_loops_are_loaded_by_their_summary_only() -> None:
    """The newest comes whole where it has no block."""
    session = tree(*run("s.c.0", 3), *run("s.c.1", 1, 5, parent="s.c.0"))
    session.loops[0].compaction_block = block(session.loops[0], 1, 1)
    assert texts(load_context(session, "s.c.1")) == [
        "they listed files",
        "question 0",
        "answer 0",
        "output 0 of s.c.1",
    ]
    session.loops[0].compaction_block = CompactionBlock(keep_first=TurnRange(0, 0), created_at=START)
    assert len(load_context(session, "s.c.1")) == 3


def test_only_the_chain_is_loaded() -> None:
    """Loops beside it are another story."""
    session = tree(
        *run("s.c.0", 1), *run("s.c.1", 1, 5, parent="s.c.0"), *run("s.c.2", 1, 6, parent="s.c.0"), *run("s.c.3", 1, 7)
    )
    assert [text for text in texts(load_context(session, "s.c.2")) if "output" in text] == [
        "output 0 of s.c.0",
        "output 0 of s.c.2",
    ]
    assert load_context(session, "nowhere") == []


def test_the_originals_stay() -> None:
    """Loading through a block, or making one, changes no message."""
    events = run("s.c.0", 4)
    session, untouched = tree(*events), tree(*events)
    session.loops[0].compaction_block = block(session.loops[0], 1, 1)
    load_context(session, "s.c.0")
    session.loops[0].compaction_block = None
    assert session == untouched


def test_turns_after_the_block_are_not_lost() -> None:
    """A loop that goes on after it was compacted is loaded with what came since."""
    events = run("s.c.0", 3)[:-1]
    made = block(tree(*events).loops[0], 1, 1)
    more = [turn_start("s.c.0", 3), said("s.c.0", user("question 3")), turn_end("s.c.0", "answer 3")]
    session = tree(*events, CompactionBlockAdded(loop_id="s.c.0", block=made), *more)
    assert texts(load_context(session, "s.c.0"))[-3:] == ["output 2… [9 characters left out]", "question 3", "answer 3"]


def test_a_running_loop_is_loaded_by_its_turns() -> None:
    """Its messages are told only at its end."""
    session = tree(*run("s.c.0", 1)[:-1])
    assert texts(load_context(session, "s.c.0")) == ["question 0", "answer 0", "output 0 of s.c.0"]
    ended = tree(*run("s.c.0", 1, messages=[user("told"), ExtensionMessage("note")]))
    assert texts(load_context(ended, "s.c.0")) == ["told"]


def test_extension_messages_never_reach_the_model() -> None:
    """Wherever they stand."""
    session = tree(*run("s.c.0", 1, messages=[ExtensionMessage("note"), user("hi")]))
    assert load_context(session, "s.c.0") == [user("hi")]
    assert len(whole_messages(session.loops[0])) == 2


def test_where_nothing_is_left_between_the_summary_waits() -> None:
    """It is not loaded while the loop is the newest, and is when it is an older one."""
    session = tree(*run("s.c.0", 2), *run("s.c.1", 1, 5, parent="s.c.0"))
    session.loops[0].compaction_block = block(session.loops[0], 1, 5)
    assert "they listed files" not in texts(load_context(session, "s.c.0"))
    assert texts(load_context(session, "s.c.1"))[0] == "they listed files"


def test_a_section_without_its_turns_is_loaded_all_the_same() -> None:
    """A block that another program made of messages that are not here."""
    session = tree(start("s.c.0"), end("s.c.0"))
    session.loops[0].compaction_block = CompactionBlock(
        keep_recent=CompactedSection(TurnRange(3, 4), [user("recent")]),
        keep_compacted=CompactedSection(TurnRange(1, 2), SUMMARY),
        created_at=START,
    )
    assert texts(load_context(session, "s.c.0")) == ["they listed files", "recent"]


@given(st.integers(0, 7), st.integers(0, 7), st.integers(0, 6))
def test_any_counts_load_every_turn_once(first: int, recent: int, turns: int) -> None:
    """Verbatim, shortened or summarised, and in order."""
    session = tree(*run("s.c.0", turns))
    loop = session.loops[0]
    loop.compaction_block = block(loop, first, recent)
    shown = [text for text in texts(load_context(session, "s.c.0")) if text.startswith(("question", "they"))]
    front = min(first, turns)
    back = min(recent, turns - front)
    between = ["they listed files"] if turns > front + back or turns == 0 else []
    assert shown == [
        *(f"question {n}" for n in range(front)),
        *between,
        *(f"question {n}" for n in range(turns - back, turns)),
    ]


@pytest.mark.parametrize("counts", [(-1, 0, 0), (0, -1, 0), (0, 0, -1)])
def test_counts_below_zero_are_refused(counts: tuple[int, int, int]) -> None:
    """They would cover turns from the wrong end."""
    with pytest.raises(ValueError, match="count from 0"):
        block(tree(start("s.c.0")).loops[0], *counts)


def test_messages_are_grouped_by_their_turn_ids() -> None:
    """One without belongs to the turn before it, the first ones to the first turn."""
    mark = TurnId("s.c.0", 4)
    marked = UserMessage([Text("marked")], turn_id=mark)
    later = UserMessage([Text("later")], turn_id=TurnId("s.c.0", 5))
    loop = tree(*run("s.c.0", 2, messages=[user("before"), marked, answer("after"), later])).loops[0]
    assert turn_messages(loop) == [(4, [user("before"), marked, answer("after")]), (5, [later])]


def test_messages_without_any_turn_count_by_themselves() -> None:
    """As the seed counts them."""
    loop = tree(start("s.c.0"), end("s.c.0", messages=[user("a"), answer("b")])).loops[0]
    assert turn_messages(loop) == [(0, [user("a")]), (1, [answer("b")])]


@pytest.mark.parametrize(
    ("chars", "shown"),
    [
        (7, ["abcd", "efg"]),
        (6, ["abcd", "ef… [1 characters left out]"]),
        (4, ["abcd", "… [3 characters left out]"]),
        (3, ["abc… [1 characters left out]", "… [3 characters left out]"]),
        (0, ["… [4 characters left out]", "… [3 characters left out]"]),
    ],
)
def test_tool_output_is_shortened(chars: int, shown: list[str]) -> None:
    """Its texts together; at the limit nothing is lost. Nothing but tool output is touched."""
    message = ToolResultMessage("t", "ls", [Text("abcd"), Image("QQ==", "image/png"), Text("efg")])
    shortened = shorten_tool_output(message, chars)
    assert isinstance(shortened, ToolResultMessage)
    assert [part.text for part in shortened.content if isinstance(part, Text)] == shown
    assert shortened.content[1] == message.content[1]
    assert shorten_tool_output(user("abcdefgh"), 0) == user("abcdefgh")


@pytest.mark.anyio
async def test_a_block_is_an_entry_of_its_own() -> None:
    """Recorded on a running loop or an ended one; a later one takes its place; none is in the event stream."""
    recorder = SessionRecorder()
    *events, ending = run("s.c.0", 3)
    for event in events:
        await recorder.record(event)
    session = recorder.get_session("s")
    assert session is not None
    first, second = block(session.loops[0], 1, 1), block(session.loops[0], 0, 1)
    for made in (first, second):
        assert await recorder.record(CompactionBlockAdded(loop_id="s.c.0", block=made)) is not None
        await recorder.record(ending)
    assert session.loops[0].compaction_block == second
    assert not any(isinstance(item.event, CompactionBlockAdded) for item in session.loops[0].events)
    await assert_log_says_the_same(recorder)
