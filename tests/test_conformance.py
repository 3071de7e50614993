"""The shipped stores keep the whole contract, and every check of it can fail."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

import broken_deletes
import broken_positions
import broken_reads
import broken_stores
from right_store import Place, SharedMemoryStore
from sessionlog import Durability, FileStore, MemoryStore, SessionId
from sessionlog.stores.file.system import System
from sessionlog.testing.conformance import (
    ALL_CHECKS,
    CHECKS,
    Capabilities,
    Check,
    UncheckedPromises,
    checks_for,
    unchecked,
)
from sessionlog.testing.conformance import _kit as kit

pytestmark = pytest.mark.anyio

LINE_BYTES_MAX = 3 * 1024 * 1024
"""Longer than what the file store writes on the event loop, and than the chunks in which it reads."""
BREAKS = broken_stores.BREAKS | broken_reads.BREAKS | broken_positions.BREAKS | broken_deletes.BREAKS


def name_of(check: Callable[..., object]) -> str:
    return check.__name__.removeprefix("check_")


NAMES = [name_of(check) for check in ALL_CHECKS]


def by_name(capabilities: Capabilities) -> dict[str, Check]:
    """Return the checks of a store that declares everything."""
    assert unchecked(capabilities) == ()
    return {name_of(check): check for check in checks_for(capabilities)}


class CountingSystem(System):
    """Counts the bytes that are read."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes_read = 0

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        data = super().pread(fd, size, offset)
        self.bytes_read += len(data)
        return data


def file_store_capabilities(root: Path, system: CountingSystem) -> Capabilities:
    def log_path(session_id: SessionId) -> Path:
        return root / f"{session_id}.jsonl"

    async def replace_lines(session_id: SessionId, lines: Sequence[bytes]) -> None:
        log_path(session_id).write_bytes(b"".join(line + b"\n" for line in lines))

    async def write_tail(session_id: SessionId, tail: bytes) -> None:
        with log_path(session_id).open("ab") as log:
            log.write(tail)

    async def empty_log(session_id: SessionId) -> None:
        log_path(session_id).write_bytes(b"")

    @asynccontextmanager
    async def hold_lock(session_id: SessionId) -> AsyncGenerator[None, None]:
        with log_path(session_id).open("rb") as log:
            assert system.try_lock(log.fileno())
            yield

    return Capabilities(
        persistent=True,
        several_handles=True,
        replace_lines=replace_lines,
        write_tail=write_tail,
        empty_log=empty_log,
        hold_lock=hold_lock,
        read_cost=lambda: system.bytes_read,
    )


@pytest.mark.parametrize("check", CHECKS, ids=name_of)
async def test_memory_store(check: Check) -> None:
    """The memory store keeps what binds every store."""
    await check(partial(MemoryStore, line_bytes_max=LINE_BYTES_MAX))


@pytest.mark.parametrize("durability", ["disk", "os"])
@pytest.mark.parametrize("name", NAMES)
async def test_file_store(name: str, durability: Durability, tmp_path: Path) -> None:
    """The file store keeps the whole contract, with either durability."""
    root = tmp_path / "sessions"
    system = CountingSystem()
    make_store = partial(FileStore, root, durability, line_bytes_max=LINE_BYTES_MAX, system=system)
    if name == "locked_session_is_told":
        make_store = partial(make_store, lock_wait_s=0.01)
    await by_name(file_store_capabilities(root, system))[name](make_store)


@pytest.mark.parametrize("name", NAMES)
async def test_right_store_passes(name: str) -> None:
    """The store that the broken ones are made from passes every check, so what these fail is what they break."""
    place = Place()
    await by_name(place.capabilities)[name](partial(SharedMemoryStore, place))


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
        await by_name(place.capabilities)[name](partial(broken, place))


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
    """What is not declared is not checked; a seam that reaches behind a closed store asks for one that persists."""
    place = Place()
    assert [name_of(check) for check in checks_for(place.capabilities)] == NAMES
    with pytest.warns(UncheckedPromises):
        assert checks_for(Capabilities()) == CHECKS
    with pytest.warns(UncheckedPromises):
        assert "reopened_store_has_all" in map(name_of, checks_for(Capabilities(persistent=True)))
    for seam in ("replace_lines", "write_tail", "empty_log", "read_cost"):
        with pytest.raises(ValueError, match=rf"{seam} .* persistent"):
            checks_for(Capabilities(**{seam: getattr(place, seam)}))


def test_run_without_seams_says_what_it_did_not_check() -> None:
    """Without a way to damage records, a pass says nothing of read verification: a warning and a list say so."""
    with pytest.warns(UncheckedPromises, match="NOT CHECKED: reads verify.*declare replace_lines"):
        checks_for(Capabilities(persistent=True, several_handles=True))
    left_out = {name for one in unchecked(Capabilities()) for name in one.checks}
    assert left_out == {check.__name__ for check in ALL_CHECKS} - {check.__name__ for check in CHECKS}
    assert {one.capability for one in unchecked(Capabilities())} == set(Capabilities.__struct_fields__)
    assert {one.capability for one in unchecked(Capabilities()) if one.binds_every_store} == {
        "replace_lines",
        "read_cost",
        "hold_lock",
    }
