"""The catalog of the store that a command works on, brought up to date under a bar."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from .. import Store, StoreFailed
from .base import EXIT_FINDINGS, EXIT_GOOD, EXIT_WRONG_USE, App, cores

if TYPE_CHECKING:
    from ..catalog import Catalog


@asynccontextmanager
async def open_catalog(app: App, store: Store, *, verify: bool = False) -> "AsyncIterator[Catalog]":
    """Open the catalog of ``store``, and take in what is new; ``verify`` folds every log anew.

    Where it cannot be kept, that is told, and all logs are read into one in memory.
    """
    from ..catalog import IN_MEMORY, Catalog  # noqa: PLC0415 - SQLite is not loaded for commands that need none

    async with Catalog(store) as catalog:
        try:
            await _refresh(app, catalog, verify=verify)
        except StoreFailed as error:
            if error.path is None or error.path != catalog.path:
                raise
            await app.out.note(f"sessionlog: {error}; all logs are read instead")
        else:
            yield catalog
            return
    async with Catalog(store, IN_MEMORY) as catalog:
        await _refresh(app, catalog, verify=False)
        yield catalog


async def _refresh(app: App, catalog: "Catalog", *, verify: bool) -> None:
    with ExitStack() as stack:
        advance: Callable[[int], None] | None = None
        told = 0

        def tell(done: int, total: int) -> None:
            nonlocal advance, told
            if advance is None:
                advance = stack.enter_context(app.out.progress("reading", total))
            advance(done - told)
            told = done

        done = await catalog.refresh(tell, jobs=cores(), verify=verify)
    if done.rebuilt is not None:
        await app.out.note(f"sessionlog: the catalog {catalog.path} was made anew: {done.rebuilt}")


async def tell_catalog_faults(app: App, faults: Iterable[tuple[str, str | None]]) -> int:
    """Print why logs could not be read to their ends; return the exit status: a damaged log weighs most.

    Args:
        app: The command.
        faults: The state of each session (``SessionState``), and what is wrong with it.
    """
    states = set()
    for state, fault in faults:
        if fault is not None:
            states.add(state)
            await app.out.note(f"sessionlog: {fault}")
    return EXIT_FINDINGS if "broken" in states else EXIT_WRONG_USE if states else EXIT_GOOD
