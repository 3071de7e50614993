"""Identity: which texts name a session, and what new ids look like."""

import anyio
import pytest
from hypothesis import given

from sessionlog import (
    InvalidSessionId,
    MemoryStore,
    SessionId,
    SessionStartState,
    create_session_with_id,
    new_session_id,
)
from sessionlog.ids import SESSION_ID_CHARS_MAX, Head, is_session_id
from strategies import session_ids

REFUSED = [
    *(
        "",
        "../x",
        "/etc/x",
        ".",
        "..",
        "a/b",
        "a\\b",
        "-a",
        "_a",
        "a.b",
        "a b",
        "a\0",
        "\0",
        "a\n",
        "\na",
        "a\r\n",
        "é",
    ),
    *("\u0430bc", "\uff41", "\u0661", "a\ud800", "a" * 129, "a:b", "~", "CON.jsonl", "a\u200b"),
]


@pytest.mark.parametrize("text", REFUSED)
def test_other_texts_are_refused(text: str) -> None:
    """Whatever could leave the store's directory, or name two sessions at once, is no id; no store takes it."""
    assert not is_session_id(text)

    async def create() -> None:
        async with MemoryStore() as store:
            with pytest.raises(InvalidSessionId) as refused:
                await store.exists(SessionId(text))
            assert refused.value.session_id == text
            assert str(refused.value).isascii()
            assert len(str(refused.value)) < 250

    anyio.run(create)


@pytest.mark.parametrize("length", [1, 2, SESSION_ID_CHARS_MAX])
def test_ids_up_to_the_limit_are_taken(length: int) -> None:
    """An id has 1 to 128 characters."""
    assert is_session_id("a" * length)
    assert not is_session_id("a" * (SESSION_ID_CHARS_MAX + 1))

    async def create() -> None:
        async with MemoryStore() as store:
            session_id = SessionId("a" * length)
            log = await create_session_with_id(store, session_id, SessionStartState())
            assert (await store.list_sessions(), log.session_id) == ([session_id], session_id)

    anyio.run(create)


@given(session_ids)
def test_ids_of_the_pattern_are_taken(session_id: str) -> None:
    """Every text of FORMAT section 1's pattern is an id."""
    assert is_session_id(session_id)


def test_no_id_is_no_text() -> None:
    """What is no string is refused as an id like any other, with the typed error."""

    async def read() -> None:
        async with MemoryStore() as store:
            with pytest.raises(InvalidSessionId):
                await store.read_head(None)  # type: ignore[arg-type]

    anyio.run(read)


def test_new_ids_are_version_7(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new id is a UUIDv7 of the millisecond it was made in: RFC 9562's own example, from its time and random bits."""
    random_bits = (0xCC3 << 62 | 0x18C4DC0C0C07398F).to_bytes(10, "big")
    monkeypatch.setattr("sessionlog.ids.now_ms", lambda: 0x017F22E279B0)
    monkeypatch.setattr("os.urandom", lambda _: random_bits)
    assert new_session_id() == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"
    monkeypatch.setattr("os.urandom", lambda size: b"\xff" * size)
    assert new_session_id() == "017f22e2-79b0-7fff-bfff-ffffffffffff"


def test_new_ids_sort_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids of later milliseconds are greater, and no two are the same."""
    times = iter(range(1_700_000_000_000, 1_700_000_000_100))
    monkeypatch.setattr("sessionlog.ids.now_ms", lambda: next(times))
    made = [new_session_id() for _ in range(100)]
    assert made == sorted(set(made))
    assert all(is_session_id(session_id) for session_id in made)


def test_heads_compare_by_position_and_hash() -> None:
    """Two heads are equal when position and hash are."""
    assert Head(1, "a") == Head(seq=1, hash="a") != Head(1, "b")
