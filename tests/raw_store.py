"""A store whose bytes a test chooses, to audit what no store would have written."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing

from sessionlog import MemoryStore, SessionId, SessionLogError

Chunk = bytes | SessionLogError


class RawStore(MemoryStore):
    """Serves the chunks that it was given, in as many looks as it was given; an error among them is raised."""

    def __init__(self, *, line_bytes_max: int = 64 * 1024 * 1024) -> None:
        super().__init__(line_bytes_max=line_bytes_max)
        self._looks: dict[str, list[list[Chunk]]] = {}
        self.opened: list[str] = []

    def put(self, session_id: str, *looks: Iterable[Chunk] | bytes) -> SessionId:
        """Serve each of ``looks`` once, the last of them for ever; bytes are a look of one chunk."""
        self._looks[session_id] = [[look] if isinstance(look, bytes) else list(look) for look in looks]
        return SessionId(session_id)

    async def list_sessions(self) -> list[SessionId]:
        return [*map(SessionId, self._looks), *await super().list_sessions()]

    async def read_raw(self, session_id: str) -> AsyncGenerator[bytes, None]:
        self.opened.append(session_id)
        looks = self._looks.get(session_id)
        if looks is None:
            async with aclosing(super().read_raw(session_id)) as chunks:
                async for stored in chunks:
                    yield stored
            return
        for chunk in looks.pop(0) if len(looks) > 1 else looks[0]:
            if isinstance(chunk, SessionLogError):
                raise chunk
            yield chunk
