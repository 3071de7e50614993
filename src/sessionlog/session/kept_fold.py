"""A fold over one log that is kept, with the position up to which it is folded: only what is new is read.

Reading on checks that the log still holds the record at the position. If not, the log was cut, or deleted and made
anew, and the fold starts from the beginning.
"""

from collections.abc import Callable, Iterable
from contextlib import aclosing
from typing import Final, Generic, TypeVar

from ..errors import EntryNotFound, SessionNotFound
from ..ids import Head
from ..record import HashedEntry, Position
from ..store import Store

StateT = TypeVar("StateT")

CHANGE_ATTEMPTS_MAX: Final = 1000
"""A change that other writers came before so many times is given up."""


class KeptFold(Generic[StateT]):
    """The state of one log as of :attr:`position`."""

    def __init__(self, begin: Callable[[], StateT], apply: Callable[[StateT, HashedEntry], StateT]) -> None:
        """Begin before the first record. ``apply`` may change the state that it is given, and returns the new one."""
        self._begin = begin
        self._apply = apply
        self.state: StateT = begin()
        self.position: Position | None = None

    @property
    def head(self) -> Head | None:
        """The last record that is folded in."""
        return None if self.position is None else self.position.head

    def reset(self) -> None:
        """Begin anew."""
        self.state = self._begin()
        self.position = None

    def take(self, records: Iterable[HashedEntry]) -> None:
        """Fold further records in. If ``apply`` raises, the fold begins anew."""
        for record in records:
            try:
                self.state = self._apply(self.state, record)
            except BaseException:
                self.reset()
                raise
            self.position = Position.after(record, self.position)

    async def catch_up(self, store: Store, session_id: str) -> None:
        """Fold in what the log holds by now, from its start if it is not the log that was folded.

        Raises :class:`SessionNotFound`, after which the fold is at its beginning, :class:`CorruptLog` and
        :class:`StoreFailed`.
        """
        try:
            found = await store.read_position(session_id)
            while found != self.position:
                if found is None:
                    self.reset()
                    return
                try:
                    async with aclosing(store.read(session_id, after=self.position)) as records:
                        async for record in records:
                            self.take((record,))
                    return
                except EntryNotFound:  # another log by now, maybe replaced under this very read
                    self.reset()
        except SessionNotFound:
            self.reset()
            raise
