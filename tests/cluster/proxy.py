"""A TCP proxy between clients and a server that loses what passes it: it cuts connections when told to."""

import asyncio
from typing import Self


class Proxy:
    """Listens on 127.0.0.1 and passes everything on to ``port``, until it is told not to."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._links: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._drops_answers = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._link, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Cut every connection, on both sides."""
        for ends in tuple(self._links):
            for end in ends:
                end.transport.abort()

    def drop_next_answer(self) -> None:
        """From now on keep back what the server says; the first answer that is kept back cuts every connection."""
        self._drops_answers = True

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        ends = (writer, there_writer)
        self._links.add(ends)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, there_writer, answers=False))
                group.create_task(self._pass(there_reader, writer, answers=True))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._links.discard(ends)
            for end in ends:
                end.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        while data := await reader.read(65536):
            if answers and self._drops_answers:
                self._drops_answers = False
                self.cut()
                return
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError("one side has ended: so does the other")
