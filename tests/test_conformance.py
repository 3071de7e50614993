"""The shipped stores keep the whole contract, and every check of it can fail."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from broken_stores import BREAKS, Place, SharedMemoryStore
from sessionlog import Durability, FileStore, MemoryStore
from sessionlog.testing.conformance import ALL_CHECKS, CHECKS, Capabilities, Check, EditBytes, checks_for
from sessionlog.testing.conformance import _kit as kit

pytestmark = pytest.mark.anyio

LINE_BYTES_MAX = 3 * 1024 * 1024
"""Longer than what the file store writes on the event loop, and than the chunks in which it reads."""


def name_of(check: Callable[..., object]) -> str:
    return check.__name__.removeprefix("check_")


NAMES = [name_of(check) for check in ALL_CHECKS]


def everything(edit_bytes: EditBytes) -> dict[str, Check]:
    """Return every check, by name, for a store that can do everything."""
    capabilities = Capabilities(persistent=True, several_handles=True, edit_bytes=edit_bytes)
    return {name_of(check): check for check in checks_for(capabilities)}


@pytest.mark.parametrize("check", checks_for(Capabilities()), ids=name_of)
async def test_memory_store(check: Check) -> None:
    """The memory store keeps what binds every store."""
    await check(partial(MemoryStore, line_bytes_max=LINE_BYTES_MAX))


@pytest.mark.parametrize("durability", ["disk", "os"])
@pytest.mark.parametrize("name", NAMES)
async def test_file_store(name: str, durability: Durability, tmp_path: Path) -> None:
    """The file store keeps the whole contract, with either durability."""
    root = tmp_path / "sessions"

    async def edit_bytes(session_id: str, data: bytes) -> None:
        (root / f"{session_id}.jsonl").write_bytes(data)

    await everything(edit_bytes)[name](partial(FileStore, root, durability, line_bytes_max=LINE_BYTES_MAX))


@pytest.mark.parametrize("name", NAMES)
async def test_right_store_passes(name: str) -> None:
    """The store that the broken ones are made from passes every check, so what these fail is what they break."""
    place = Place()
    await everything(place.edit_bytes)[name](partial(SharedMemoryStore, place))


@pytest.mark.parametrize(
    ("broken", "name"), [(broken, name) for broken, names in BREAKS.items() for name in sorted(names)]
)
async def test_broken_store_is_caught(
    broken: type[SharedMemoryStore],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    anyio_backend_name: str,
) -> None:
    """A store that breaks a promise fails the check of it, with a message that says what was found."""
    if name.startswith("asyncio") and anyio_backend_name != "asyncio":
        pytest.skip("a promise about asyncio's own cancellation")
    monkeypatch.setattr(kit, "PATIENCE_S", 0.2)  # what a broken store never does, it does not do in a minute either
    place = Place()
    with pytest.raises(AssertionError, match=r"expected .+, found "):
        await everything(place.edit_bytes)[name](partial(broken, place))


def test_every_check_can_fail() -> None:
    """For each check there is a broken store that it catches."""
    assert set().union(*BREAKS.values()) == set(NAMES)


def test_checks_are_documented() -> None:
    """Every check has a name of its own and says in one sentence what it promises."""
    assert len(set(NAMES)) == len(NAMES)
    for check in ALL_CHECKS:
        assert check.__name__.startswith("check_")
        assert check.__doc__ is not None
        assert check.__doc__.endswith(".")
        assert "\n" not in check.__doc__


def test_capabilities_choose_the_checks() -> None:
    """What is not declared is not checked; what needs another capability asks for it."""
    names = [name_of(check) for check in checks_for(Capabilities())]
    assert names == [name_of(check) for check in CHECKS]
    assert "reopened_store_has_all" in [name_of(check) for check in checks_for(Capabilities(persistent=True))]
    assert "handles_race" in [name_of(check) for check in checks_for(Capabilities(several_handles=True))]
    assert set(everything(Place().edit_bytes)) == set(NAMES)
    with pytest.raises(ValueError, match="persistent"):
        checks_for(Capabilities(edit_bytes=Place().edit_bytes))
