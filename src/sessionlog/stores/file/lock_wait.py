"""Waiting for a log's lock that another process holds, within a budget."""

from typing import Final

import anyio

from ...errors import SessionLocked
from .layout import logger

_RETRY_FIRST_S: Final = 0.0005
_RETRY_MAX_S: Final = 0.02


class LockWait:
    """The waiting of one call; made when the lock was found taken for the first time."""

    def __init__(self, session_id: str, budget_s: float) -> None:
        """Wait for ``budget_s`` from now on."""
        self._session_id = session_id
        self._budget_s = budget_s
        self._deadline = anyio.current_time() + budget_s
        self._pause_s = _RETRY_FIRST_S
        logger.debug("session %s: locked by another writer, waiting", session_id)

    async def pause(self) -> None:
        """Return when the lock is to be tried again. Raises :class:`SessionLocked` once the budget is spent."""
        now = anyio.current_time()
        if now >= self._deadline:
            raise SessionLocked(self._session_id, waited_s=self._budget_s)
        await anyio.sleep(min(self._pause_s, self._deadline - now))
        self._pause_s = min(self._pause_s * 2, _RETRY_MAX_S)
