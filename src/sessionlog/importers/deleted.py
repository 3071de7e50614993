"""What was deleted from a store stays deleted: an import passes over a session that has a receipt of its deletion.

A session that is in the store counts as it is, whatever the receipts say: its id was used again.
"""

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..errors import HeadConflict, SessionNotFound
from ..ids import Head, SessionId
from ..session import Deletions
from ..store import Store
from .plan import Plan
from .report import ImportReport

DELETED_REASON: Final = "deleted from this store; --again imports it anew"


class Deleted:
    """Knows which sessions were deleted from one store. Keep one for many imports: it reads the receipts once."""

    def __init__(self, store: Store, *, again: bool = False) -> None:
        """Ask the receipts of ``store``; with ``again``, what was deleted is imported anew."""
        self._store = store
        self._again = again
        self._deletions = Deletions(store)

    async def settle(self, base: str) -> None:
        """Finish deletions that were interrupted, of ``base`` and of the sessions whose ids are derived from it.

        Raises as :meth:`Deletions.settle`.
        """
        for receipt in list((await self._deletions.receipts()).open.values()):
            if receipt.session_id == base or receipt.session_id.startswith(f"{base}-"):
                await self._deletions.settle(receipt.session_id)

    async def among(self, session_ids: Iterable[SessionId]) -> set[SessionId]:
        """Return which of ``session_ids`` were deleted and are to be passed over."""
        if self._again:
            return set()
        deleted = (await self._deletions.receipts()).done.keys() & set(session_ids)
        return {session_id for session_id in deleted if not await self._store.exists(session_id)}

    async def nonces(self, session_ids: Iterable[SessionId]) -> dict[SessionId, str]:
        """Return the receipts of the last deletions of ``session_ids``, by their nonces: to tell later ones from."""
        done = (await self._deletions.receipts()).done
        return {session_id: done[session_id].nonce for session_id in session_ids if session_id in done}

    async def undo(self, made: Mapping[SessionId, Head], before: Mapping[SessionId, str]) -> bool:
        """Remove the sessions just ``made`` that were deleted after the receipts ``before``: return whether there are.

        Somebody else had imported them, and deleted them, between this import's look at the store and its first commit.
        One that somebody appended to since stays: it is in use.
        """
        after = await self.nonces(made)
        late = [session_id for session_id, nonce in after.items() if before.get(session_id) != nonce]
        for session_id in late:
            with suppress(SessionNotFound, HeadConflict):
                await self._store.delete_session(session_id, made[session_id])
        return bool(late)


def report_deleted(path: Path, session_id: SessionId, *, format_name: str, size: int) -> ImportReport:
    """Report a file of ``size`` bytes whose session was deleted from the store."""
    return ImportReport(
        path=path,
        bytes_read=size,
        format=format_name,
        session_id=session_id,
        unchanged=True,
        passed_over=DELETED_REASON,
        deleted=[session_id],
    )


def take_out(plan: Plan, deleted: Collection[SessionId], known: Collection[SessionId]) -> set[SessionId]:
    """Hold the ``deleted`` sessions of ``plan`` back, and those that would come from them and are not ``known`` yet.

    Returns which.
    """
    gone = set(deleted)
    for session in plan.sessions:
        if session.source is not None and session.source.session_id in gone and session.session_id not in known:
            gone.add(session.session_id)
        session.held = session.held or session.session_id in gone
    for ordinal, session in plan.session_of.items():
        if session.session_id in gone:
            plan.waiting[ordinal] = DELETED_REASON
    while plan.live is not None and plan.live.session_id in gone:
        plan.live = plan.live.source
    return gone
