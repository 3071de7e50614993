"""What every test has at hand: both event loops, the folder of shared data, reproducible Hypothesis runs."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

# The same examples on every run, and no verdict by the clock: a slow machine must not fail a test.
# `--hypothesis-profile=default` searches at random instead.
settings.register_profile("ci", derandomize=True, deadline=None, database=None)
settings.load_profile("ci")


@pytest.fixture(
    scope="module",
    params=[pytest.param(("asyncio", {}), id="asyncio"), pytest.param(("trio", {}), id="trio")],
)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    """Run a test that is marked ``anyio`` on both event loops."""
    backend: tuple[str, dict[str, object]] = request.param
    return backend


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep what the user's cache folder is for out of the developer's own."""
    with pytest.MonkeyPatch.context() as environment:
        folder = tmp_path_factory.mktemp("cache")
        environment.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def shared() -> Path:
    """Find the folder of shared data: ``$SESSIONLOG_SHARED``, or ``shared`` beside the project's root."""
    path = Path(os.environ.get("SESSIONLOG_SHARED") or ROOT.parent / "shared")
    if not path.is_dir():
        pytest.skip(f"no shared data: {path} is no folder (set SESSIONLOG_SHARED)")
    return path
