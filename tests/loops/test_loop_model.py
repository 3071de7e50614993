"""The model: lookups, chains, usage, and how the small types are written."""

import copy
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from loops_factories import START, answer, at, end, group_start, start, tree, user

from sessionlog.loops import (
    CostConfig,
    FirstLoop,
    Initial,
    LoopRecord,
    LoopStatus,
    ParallelGroupRecord,
    Session,
    SessionScope,
    StopReason,
    Turn,
    TurnId,
    TurnTrigger,
    Usage,
    config_segment_of,
    session_from_json,
    session_id_of,
    session_to_json,
)


def loop(loop_id: str, parent: str | None = None, seconds: float = 0) -> LoopRecord:
    return LoopRecord(loop_id=loop_id, session_id="s", parent_loop_id=parent, started_at=at(seconds))


def session(*loops: LoopRecord) -> Session:
    return Session(
        session_id="s", created_at=START, last_active_at=START, formation=FirstLoop(START), loops=list(loops)
    )


def turn(index: int) -> Turn:
    return Turn(turn_id=TurnId("s.c.0", index), output_message=answer("x"), started_at=at(0), ended_at=at(index))


# loop ids


@pytest.mark.parametrize(
    ("loop_id", "session_id", "segment"),
    [
        ("s.c.0", "s", "c"),
        ("s.a.b.12", "s", "a.b"),
        ("s.c", "s", None),
        ("main", "main", None),
        ("", "", None),
        (".c.0", "", "c"),
        ("s..0", "s", ""),
    ],
)
def test_loop_ids_are_read(loop_id: str, session_id: str, segment: str | None) -> None:
    """The session stands before the first dot, the configuration between the first and the last."""
    assert (session_id_of(loop_id), config_segment_of(loop_id)) == (session_id, segment)


# usage


def test_usage_adds_up() -> None:
    """Member by member; the empty one is the zero."""
    one, two = Usage(1, 2, 3, 4, 5, 6), Usage(10, 20, 30, 40, 50, 60)
    assert one + two == sum([one, two], Usage()) == Usage(11, 22, 33, 44, 55, 66)
    with pytest.raises(TypeError):
        _ = one + 1


@pytest.mark.parametrize(("usage", "rate"), [(Usage(), 0.0), (Usage(input=1, cache_read=2, cache_write=1), 0.5)])
def test_cache_hit_rate(usage: Usage, rate: float) -> None:
    """What the cache served, of the whole prompt; nothing of nothing."""
    assert usage.cache_hit_rate == rate


def test_cost_is_by_the_million() -> None:
    """Each kind at its own rate; reasoning is a part of the output and is not paid for twice."""
    usage = Usage(input=1_000_000, output=500_000, reasoning=400_000, cache_read=2_000_000, cache_write=250_000)
    rates = CostConfig(
        input_per_million=3, output_per_million=10, cache_read_per_million=0.5, cache_write_per_million=4
    )
    assert usage.estimated_cost(rates) == pytest.approx(3 + 5 + 1 + 1)
    assert usage.estimated_cost(CostConfig()) == 0


# small types


def test_a_turn_trigger_is_read_under_its_old_name() -> None:
    """``FollowUp`` is now a continuation, and written so."""
    assert TurnTrigger("FollowUp") is TurnTrigger.CONTINUATION
    assert msgspec.json.decode(b'"FollowUp"', type=TurnTrigger) is TurnTrigger.CONTINUATION
    assert msgspec.json.encode(TurnTrigger.CONTINUATION) == b'"continuation"'
    with pytest.raises(ValueError, match="Nonsense"):
        TurnTrigger("Nonsense")


def test_enums_are_written_in_snake_case() -> None:
    """All of their values are."""
    values = [member.value for kind in (LoopStatus, TurnTrigger, SessionScope, StopReason) for member in kind]
    assert all(value.replace("_", "").isalpha() and value == value.lower() for value in values)
    assert [status.is_open for status in LoopStatus] == [True, True, False, False, False]


def test_records_have_the_obvious_defaults() -> None:
    """What is not said is empty, zero or None."""
    record = loop("s.c.0")
    assert (record.agent_id, record.continuation_kind, record.status) == ("", Initial(), LoopStatus.RUNNING)
    assert (record.messages, record.turns, record.events, record.usage) == ([], [], [], Usage())
    assert (record.children_loop_ids, record.child_loop_refs, record.compaction_block) == ([], [], None)
    assert loop("s.c.1").messages is not record.messages
    assert session().scope is SessionScope.EPHEMERAL


def test_a_turn_tells_its_length() -> None:
    """End less start."""
    assert turn(3).duration == timedelta(seconds=3)


# lookups


def test_loops_are_found_by_id() -> None:
    """Also those that were put into the list behind the session's back."""
    tree_ = session(loop("a"))
    first = tree_.get_loop("a")
    assert first is tree_.loops[0]
    assert tree_.get_loop("b") is None
    tree_.loops.append(loop("b"))
    assert tree_.get_loop("b") is tree_.loops[1]
    del tree_.loops[0]
    assert tree_.get_loop("a") is None
    tree_.add_loop(loop("c", seconds=-1))
    assert [item.loop_id for item in tree_.loops] == ["c", "b"]
    assert tree_.get_loop("c") is tree_.loops[0]


def test_turns_are_found_by_index() -> None:
    """By the index that they carry, not by their place: a dropped turn leaves none."""
    record = loop("s.c.0")
    record.turns += [turn(0), turn(2)]
    assert [record.get_turn(index) for index in (0, 1, 2, -1)] == [record.turns[0], None, record.turns[1], None]
    assert record.turn_count == 2
    record.turns.append(turn(3))
    assert record.get_turn(3) is record.turns[2]


def test_roots_have_no_parent_here() -> None:
    """None at all, or one of another session."""
    tree_ = session(loop("a"), loop("b", "a"), loop("c", "k.c.0"))
    assert [item.loop_id for item in tree_.root_loops()] == ["a", "c"]


def test_children_come_by_their_start() -> None:
    """Only those of this session; none of a loop that is not there."""
    tree_ = tree(
        start("s.c.0"),
        start("s.c.2", seconds=2, parent_loop_id="s.c.0"),
        start("s.c.1", seconds=1, parent_loop_id="s.c.0"),
    )
    assert [item.loop_id for item in tree_.children_of("s.c.0")] == ["s.c.1", "s.c.2"]
    tree_.loops[0].children_loop_ids += ["elsewhere", "s.c.1"]
    assert [item.loop_id for item in tree_.children_of("s.c.0")] == ["s.c.1", "s.c.2"]
    assert tree_.children_of("nowhere") == []


def test_siblings_are_the_whole_group() -> None:
    """With the loop itself; without those that are not there; none for a loop without a group."""
    group = ParallelGroupRecord(["a", "b", "gone"], "a", 0, Usage(), is_selected=True)
    tree_ = session(loop("a", seconds=1), loop("b"), loop("c"))
    tree_.loops[0].parallel_group = group
    assert [item.loop_id for item in tree_.parallel_siblings("a")] == ["b", "a"]
    assert tree_.parallel_siblings("c") == tree_.parallel_siblings("nowhere") == []


def test_a_chain_leads_from_the_root_to_the_loop() -> None:
    """By parents, past branches that were not taken."""
    tree_ = session(loop("a"), loop("b", "a"), loop("other", "a"), loop("c", "b"))
    assert tree_.loop_chain_to("c") == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("parents", "target", "chain"),
    [
        ({"a": "gone"}, "a", ["a"]),
        ({"a": "a"}, "a", ["a"]),
        ({"a": "b", "b": "a"}, "a", ["b", "a"]),
        ({"a": "b", "b": "c", "c": "b"}, "a", ["c", "b", "a"]),
        ({"a": None}, "nowhere", []),
    ],
)
def test_a_chain_ends(parents: dict[str, str | None], target: str, chain: list[str]) -> None:
    """Where a parent is missing, and where a cycle closes."""
    assert session(*(loop(name, parent) for name, parent in parents.items())).loop_chain_to(target) == chain


@given(st.dictionaries(st.sampled_from("abcdef"), st.none() | st.sampled_from("abcdefgh")))
def test_any_parents_make_a_tree_that_can_be_walked(parents: dict[str, str | None]) -> None:
    """Each loop once, whatever cycles there are; each chain holds no loop twice."""
    tree_ = session()
    for name, parent in parents.items():
        tree_.add_loop(loop(name, parent))
    for name, parent in parents.items():
        above = None if parent is None else tree_.get_loop(parent)
        if above is not None:
            above.children_loop_ids.append(name)
    assert sorted(item.loop_id for _, item in tree_.walk()) == sorted(parents)
    for name in parents:
        chain = tree_.loop_chain_to(name)
        assert chain[-1] == name
        assert len(set(chain)) == len(chain)


def test_a_walk_goes_down_before_it_goes_on() -> None:
    """Depth first, siblings by their start."""
    tree_ = tree(
        start("s.c.0"),
        start("s.c.1", seconds=1, parent_loop_id="s.c.0"),
        start("s.c.2", seconds=2),
        start("s.c.3", seconds=3, parent_loop_id="s.c.1"),
        start("s.c.4", seconds=4, parent_loop_id="s.c.0"),
    )
    assert [(depth, item.loop_id[-1]) for depth, item in tree_.walk()] == [
        (0, "0"),
        (1, "1"),
        (2, "3"),
        (1, "4"),
        (0, "2"),
    ]


def test_usage_is_totalled_over_all_loops() -> None:
    """As their ends told it."""
    tree_ = tree(*(event for n in range(3) for event in (start(f"s.c.{n}"), end(f"s.c.{n}", usage=Usage(input=n + 1)))))
    assert tree_.total_usage() == Usage(input=6)
    assert session().total_usage() == Usage()


def test_lookups_do_not_slow_down_with_the_tree() -> None:
    """Finding loops compares no other loops: equality would cost as much as the whole tree."""

    class Unequal(LoopRecord):
        def __eq__(self, other: object) -> bool:
            raise AssertionError("compared")

        __hash__ = None  # type: ignore[assignment]

    tree_ = session()
    for number in range(100):
        tree_.add_loop(Unequal(loop_id=str(number), session_id="s", started_at=at(-number)))
    for number in range(100):
        found = tree_.get_loop(str(number))
        assert found is not None
        tree_.move_loop(found, at(number))
    assert [item.loop_id for item in tree_.loops] == [str(number) for number in range(100)]


def test_a_tree_can_be_copied_and_compared() -> None:
    """Equal trees are equal whether or not they were looked into; a copy has lookups of its own."""
    one, two = (tree(start("s.c.0"), group_start("s.c.1")) for _ in range(2))
    one.get_loop("s.c.0")
    assert one == two
    kept = copy.deepcopy(one)
    one.loops[0].messages.append(user("later"))
    assert kept == two != one
    assert kept.get_loop("s.c.0") is kept.loops[0]


def test_a_tree_is_plain_json() -> None:
    """Every member is there; timestamps are RFC 3339."""
    data = session_to_json(tree(start("s.c.0"), end("s.c.0", 1.5, messages=[user("hi")])))
    assert data["created_at"] == "2026-03-01T12:00:00Z"
    assert data["loops"][0]["ended_at"] == "2026-03-01T12:00:01.500000Z"
    assert data["loops"][0]["status"] == "completed"
    assert set(data["loops"][0]) == set(LoopRecord.__struct_fields__)
    assert data["loops"][0]["events"][1]["event"]["type"] == "AgentEnd"
    assert session_from_json(msgspec.json.decode(msgspec.json.encode(data))).loops[0].ended_at == at(1.5)
