"""Short ids: each finds its session, and only that one; the shortest that do so; for many sessions as for few."""

import sys
from random import Random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionlog import MemoryStore, SessionId, SessionStartState, create_session_with_id
from sessionlog.cli.lookup import find_session
from sessionlog.cli.short_ids import ShortIds, candidates

BASE = "8d924656-df80-5729-bdda-039c00a23def"

hex_names = st.text("01ab", min_size=1, max_size=10)
uuids = st.builds(
    lambda head, tail: f"{head:08x}-{tail:04x}-7{tail:03x}-8aaa-{tail:012x}",
    st.integers(0x0190163D, 0x01901640),
    st.integers(0, 40),
)
bases = st.one_of(uuids, hex_names, st.sampled_from(["alpha", "alpha-1", "team-fork", "x-agent", "2026-11-25-12"]))
tails = st.one_of(
    st.just(""),
    st.sampled_from(["-2", "-12", "-f", "-fork", "-fork-", "-a", "-agent-agent-x", "_"]),
    st.builds("-{}-{}".format, st.sampled_from(["agent", "fork", "compact"]), hex_names),
)
ids = st.builds("{}{}{}".format, bases, tails, tails).map(SessionId)
stores = st.lists(ids, min_size=1, max_size=30, unique=True)


def short_forms(*session_ids: str) -> list[str]:
    short = ShortIds(map(SessionId, session_ids))
    return [short(SessionId(one)) for one in session_ids]


@given(stores)
def test_a_short_form_finds_its_session(store: list[SessionId]) -> None:
    """First among its candidates, and all others were made from it."""
    short = ShortIds(store)
    for session_id in store:
        found = candidates(short(session_id), store)
        assert found[0] == session_id
        assert all(one.startswith(session_id) for one in found)


@given(stores, st.randoms(use_true_random=False))
def test_sessions_added_one_by_one_are_as_those_known_from_the_start(store: list[SessionId], random: Random) -> None:
    grown = ShortIds(store[: len(store) // 2])
    for session_id in random.sample(store, len(store)):
        grown.add(session_id)
    whole = ShortIds(store)
    assert [grown(session_id) for session_id in store] == [whole(session_id) for session_id in store]


@given(stores)
def test_no_two_sessions_have_the_same_short_form(store: list[SessionId]) -> None:
    short = ShortIds(store)
    assert len({short(session_id) for session_id in store}) == len(store)


@given(stores)
def test_a_short_form_is_never_longer_than_the_id(store: list[SessionId]) -> None:
    short = ShortIds(store)
    assert all(len(short(session_id)) <= len(session_id) for session_id in store)


@given(stores, ids, st.integers(1, 60))
def test_a_beginning_means_what_it_meant_without_short_forms(
    store: list[SessionId], session_id: SessionId, chars: int
) -> None:
    """Short forms are tried only where no id begins so."""
    beginning = session_id[:chars]
    literally = sorted(one for one in store if one.startswith(beginning))
    if literally:
        assert candidates(beginning, store) == literally


@given(st.sets(st.integers(0, 2**128 - 1), min_size=1, max_size=30))
def test_uuids_are_shortened_to_the_shortest_beginning_of_eight_or_more(numbers: set[int]) -> None:
    store = [str(UUID(int=number)) for number in numbers]
    for session_id, form in zip(store, short_forms(*store), strict=True):
        assert session_id.startswith(form)
        cut = form[:-2] if form[-2] == "-" else form[:-1]  # it does not end in a hyphen
        assert len(form) == 8 or sum(one.startswith(cut) for one in store) > 1


def test_derived_sessions_say_what_they_are() -> None:
    assert short_forms(
        BASE,
        f"{BASE}-agent-a3f19c07",
        f"{BASE}-agent-a3f2aaaa",
        f"{BASE}-agent-a3f19c07-compact-d46d6800",
        f"{BASE}-fork-9c2e11aa",
        f"{BASE}-2",
        f"{BASE}-2-agent-acompact-fffbd0",
    ) == [
        "8d924656",
        "8d924656-agent-a3f1",
        "8d924656-agent-a3f2",
        "8d924656-agent-a3f1-compact-d46d",
        "8d924656-fork-9c2e",
        "8d924656-2",
        "8d924656-2-agent-acom",
    ]


def test_ids_of_one_minute_are_shown_as_far_as_they_differ() -> None:
    assert short_forms(
        "0190163d-8694-739b-aea5-966c26f8ad91",
        "0190163d-8695-739b-aea5-966c26f8ad91",
        "0190163d-8695-7aaa-aea5-966c26f8ad91",
    ) == ["0190163d-8694", "0190163d-8695-73", "0190163d-8695-7a"]


def test_names_that_people_gave_stay_readable() -> None:
    assert short_forms("fix-the-parser", "fix-the-parser-again", "a-name-that-goes-on-and-on") == [
        "fix-the-parser",
        "fix-the-parser-again",
        "a-name-that-goes-on-a",
    ]


def test_an_id_that_the_store_does_not_hold_stays_whole() -> None:
    assert ShortIds([])(SessionId(BASE)) == BASE
    assert ShortIds([SessionId(f"{BASE}-agent-a3f19c07")])(SessionId(BASE)) == BASE


@pytest.mark.parametrize("shape", ["{0:08x}-0000", "alpha-{0}", BASE + "-agent-{0:08x}", "{0:08x}-agent-{0}-fork-{0}"])
def test_many_sessions_cost_no_more_each_than_few(shape: str) -> None:
    """Calls are counted, not seconds: twice the ids, twice the calls."""

    def work(count: int) -> int:
        calls = 0

        def note(_frame: object, event: str, _argument: object) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        store = [SessionId(shape.format(number)) for number in range(count)]
        sys.setprofile(note)
        short = ShortIds(store)
        for session_id in store:
            short(session_id)
        sys.setprofile(None)
        return calls

    assert work(2000) < 2.2 * work(1000)


@pytest.mark.anyio
async def test_every_command_finds_a_session_by_its_short_form() -> None:
    names = [SessionId(BASE), SessionId(f"{BASE}-agent-a3f19c07"), SessionId(f"{BASE}-agent-a3f2aaaa")]
    async with MemoryStore() as store:
        for name in names:
            await create_session_with_id(store, name, SessionStartState())
        short = ShortIds(names)
        assert [await find_session(store, short(name)) for name in names] == names
