"""Deletion with receipts: what was deleted, when, by whom and why stays in the store (:mod:`..receipts`).

First the receipt ``begun`` is written. Then the log is removed, if its head is still the one in the receipt. Then
``done`` is written. If somebody appended meanwhile, nothing is removed and ``void`` is written: an acknowledged append
is in what was deleted, or the deletion conflicts. A deletion that was interrupted in between stays open. Whoever
deletes or creates that id next settles it, against exactly the head in the receipt:

the log is gone                             done
another log is there, by its first record   done: the deleted one was removed, and the id used again
its head is the receipt's                   it is removed now: done
its head is another                         void

Any number of processes may settle one deletion at the same time: the first one ends it.
"""

import secrets
from collections.abc import Callable
from contextlib import aclosing
from typing import Final, NamedTuple

import msgspec

from ..entries import LabelsChanged, SessionStart
from ..errors import HeadConflict, SessionContended, SessionHeld, SessionNotFound
from ..ids import EntryHash, Head, SessionId, now_ms
from ..receipts import (
    RECEIPT_DOMAIN,
    RECEIPTS_SESSION,
    Receipt,
    ReceiptNote,
    Receipts,
    ReceiptState,
    open_count,
)
from ..record import ENVELOPE
from ..state import merge_labels
from ..store import Store, check_session_id
from .domain_log import DomainLog
from .domains import Domain, DomainRecord
from .kept_fold import CHANGE_ATTEMPTS_MAX
from .log import Clock
from .start import SessionStartState

HOLD_LABEL: Final = "hold"
"""A session with this label, whatever its value, is not deleted."""

_LABELLING: Final = (b'session_start"', b'labels_changed"')


def _apply(receipts: Receipts, record: DomainRecord) -> Receipts:
    receipts.take(record.payload, ts=record.ts, seq=record.seq)
    return receipts


_RECEIPTS: Final = Domain(RECEIPT_DOMAIN, Receipts, _apply)


class _Found(NamedTuple):
    """Which log is to be deleted."""

    head: Head | None
    first_hash: EntryHash | None


class Deletions:
    """Deletes sessions of one store, and reads its receipts. The receipts are folded once and then only read on."""

    def __init__(self, store: Store, *, clock: Clock = now_ms) -> None:
        """Work on ``store``; nothing is read yet. ``clock`` returns unix milliseconds."""
        self._store = store
        start = SessionStartState(title="Receipts of deletions")
        self._log = DomainLog(store, RECEIPTS_SESSION, _RECEIPTS, start=start, clock=clock)

    async def receipts(self) -> Receipts:
        """Return what the store's receipts say. Do not change it.

        Raises:
            CorruptLog: The session of the receipts is damaged; as for :class:`StoreFailed`.
        """
        return await self._log.read()

    async def delete(
        self, session_id: str, *, expected: Head | None = None, reason: str | None = None, by: str | None = None
    ) -> Receipt:
        """Delete a session, with its trace and what repairs set aside, and return the receipt.

        The whole log is read first, and must verify. An earlier deletion of the session that was interrupted is
        finished, and its receipt returned.

        Args:
            session_id: The session.
            expected: The head that it must have; ``None``: whichever it has.
            reason: Why it is deleted, for the receipt.
            by: Who deletes it, for the receipt.

        Raises:
            SessionHeld: It has the label ``hold``, or holds the receipts.
            SessionNotFound: It is not there.
            HeadConflict: Its head is not the expected one, or somebody appended meanwhile: nothing was deleted. A
                receipt that was begun is void.
            CorruptLog: The log is damaged; see ``sessionlog repair``.
            SessionLocked: Another writer held the log's lock. The deletion stays open: delete again to finish it. The
                same holds for :class:`StoreFailed`.
        """
        session_id = check_session_id(session_id)
        if session_id == RECEIPTS_SESSION:
            raise SessionHeld(session_id, "it holds the receipts of what was deleted from this store")
        for _ in range(CHANGE_ATTEMPTS_MAX):
            for settled in await self.settle(session_id):
                if settled.state is ReceiptState.DONE:
                    return settled
            earlier = (await self._log.read()).done.get(session_id)
            found = await self._examine(session_id)
            if expected not in (None, found.head):
                raise HeadConflict(session_id, expected=expected, found=found.head)
            begun = await self._begin(session_id, found, earlier=earlier, reason=reason, by=by)
            if begun is not None:
                return await self._carry_out(begun)
        raise SessionContended(session_id, attempts=CHANGE_ATTEMPTS_MAX)

    async def settle(self, session_id: str | None = None) -> list[Receipt]:
        """Finish the deletions that were interrupted, of one session or of all, and return their receipts.

        Raises as :meth:`delete`, where a deletion cannot be finished now: it stays open then.
        """
        receipts = await self._log.read()
        left = [one for one in receipts.open.values() if session_id in (None, one.session_id)]
        return [await self._finish(one) for one in left]

    async def _examine(self, session_id: SessionId) -> _Found:
        """Read and verify the log. Raises :class:`SessionHeld` if, as of its head, it has the label ``hold``."""
        head: Head | None = None
        first_hash: EntryHash | None = None
        labels: dict[str, str] = {}
        async with aclosing(self._store.read(session_id)) as records:
            async for record in records:
                first_hash = first_hash or record.hash
                head = record.head
                envelope = ENVELOPE.match(record.line)
                if envelope is not None and record.line.startswith(_LABELLING, envelope.end()):
                    entry = record.entry
                    if isinstance(entry, SessionStart | LabelsChanged):
                        labels = merge_labels(labels, entry.labels)
        if HOLD_LABEL in labels:
            raise SessionHeld(session_id, f"it has the label {HOLD_LABEL}={labels[HOLD_LABEL]}: take that away first")
        return _Found(head, first_hash)

    async def _begin(
        self, session_id: SessionId, found: _Found, *, earlier: Receipt | None, reason: str | None, by: str | None
    ) -> Receipt | None:
        """Write the receipt; ``None`` if another deletion of the session began after ``earlier``, its last one."""
        nonce = secrets.token_hex(16)

        def decide(receipts: Receipts) -> list[object]:
            if receipts.open_for(session_id) is not None or receipts.done.get(session_id) != earlier:
                return []
            note = ReceiptNote(
                kind="delete",
                state=ReceiptState.BEGUN,
                session_id=session_id,
                nonce=nonce,
                head=found.head,
                first_hash=found.first_hash,
                reason=reason,
                by=by,
                open=len(receipts.open) + 1,
            )
            return [msgspec.to_builtins(note)]

        return (await self._log.change(decide)).open.get(nonce)

    async def _carry_out(self, begun: Receipt) -> Receipt:
        receipt = await self._finish(begun)
        if receipt.state is ReceiptState.VOID:
            try:
                found = await self._store.read_head(begun.session_id)
            except SessionNotFound:
                found = None
            raise HeadConflict(begun.session_id, expected=begun.head, found=found)
        return receipt

    async def _finish(self, begun: Receipt) -> Receipt:
        """Remove the log of an open deletion if its head is the receipt's; write and return how it ended."""
        outcome = await self._remove(begun)
        receipts = await self._log.change(_closing(begun, outcome))
        done = receipts.done.get(begun.session_id)
        if done is not None and done.nonce == begun.nonce:
            return done
        return msgspec.structs.replace(begun, state=receipts.ended[begun.nonce])

    async def _remove(self, begun: Receipt) -> ReceiptState:
        try:
            await self._store.delete_session(begun.session_id, begun.head)
        except SessionNotFound:
            return ReceiptState.DONE
        except HeadConflict:
            return ReceiptState.VOID if await self._is_the_same(begun) else ReceiptState.DONE
        return ReceiptState.DONE

    async def _is_the_same(self, begun: Receipt) -> bool:
        """Tell whether the log begins as the one of the receipt did: it was not made anew meanwhile."""
        try:
            async with aclosing(self._store.read(begun.session_id)) as records:
                async for record in records:
                    return begun.first_hash in (None, record.hash)
        except SessionNotFound:
            pass
        return False


def _closing(begun: Receipt, outcome: ReceiptState) -> Callable[[Receipts], list[object]]:
    """Return the decision that ends a deletion, unless somebody else has ended it."""

    def decide(receipts: Receipts) -> list[object]:
        if begun.nonce in receipts.ended:
            return []
        note = ReceiptNote(
            kind="delete",
            state=outcome,
            session_id=begun.session_id,
            nonce=begun.nonce,
            open=len(receipts.open) - 1,
        )
        return [msgspec.to_builtins(note)]

    return decide


async def delete(
    store: Store,
    session_id: str,
    *,
    expected: Head | None = None,
    reason: str | None = None,
    by: str | None = None,
    clock: Clock = now_ms,
) -> Receipt:
    """Delete one session of ``store`` and return the receipt; see :meth:`Deletions.delete`, also for what it raises.

    To delete many, keep one :class:`Deletions`: it reads the receipts once.
    """
    return await Deletions(store, clock=clock).delete(session_id, expected=expected, reason=reason, by=by)


async def settle_deletion(store: Store, session_id: str, *, clock: Clock = now_ms) -> None:
    """Finish a deletion of ``session_id`` that was interrupted, before the id is used again.

    Costs one read of the last receipt where nothing is open. Raises as :meth:`Deletions.delete`.
    """
    if session_id == RECEIPTS_SESSION or not await store.exists(RECEIPTS_SESSION):
        return
    last = await store.read_tail(RECEIPTS_SESSION, 1)
    if not last or open_count(last[0]) != 0:
        await Deletions(store, clock=clock).settle(session_id)


__all__ = ["HOLD_LABEL", "Deletions", "delete", "settle_deletion"]
