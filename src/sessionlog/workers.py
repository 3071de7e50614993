"""Worker processes: a pool in which each process runs one call at a time, on an event loop of its own.

- A call is a coroutine function of a module, so that another process finds it. What it is given, tells and returns is
  pickled. It tells what it has to say meanwhile by ``tell``, its first argument.
- A worker that ends before its call is done, such as one that was killed for want of memory, is :class:`WorkerDied`.
  The next call gets a new worker.
- The pool's end is a cancellation: each worker's call is cancelled, so that an append under way is wholly in or wholly
  out. A worker that does not end in time is killed. It ends in the same way when this process is killed, for it sees
  its standard input end. Signals from the terminal do not reach it.
- What a worker logs below ``sessionlog`` is logged here.

Programs need no ``if __name__ == "__main__"``: a worker does not import the main module.
"""

import logging
import math
import os
import pickle
import signal
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, BinaryIO, Concatenate, Final, ParamSpec, Self, TypeAlias, TypeVar, cast

import anyio
import anyio.abc
import anyio.to_thread
from anyio.abc import TaskGroup
from anyio.streams.buffered import BufferedByteReceiveStream

from .errors import WorkerDied

P = ParamSpec("P")
T = TypeVar("T")
Tell: TypeAlias = Callable[[Any], None]

GRACE_S: Final = 5.0
"""A worker that is to end is killed after so long, by default."""
_GONE: Final = (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError)
_SIZE: Final = struct.Struct("<Q")
"""A frame is the size of what follows, then a pickled pair."""


class Workers:
    """Up to ``count`` processes, which are started as they are needed and end with the block (``async with``).

    A call that is cancelled has ``grace_s`` seconds to end by itself: none for calls that only read.
    """

    def __init__(self, count: int, *, grace_s: float = GRACE_S) -> None:
        """Start nothing yet."""
        self._free = anyio.Semaphore(count)
        self._grace_s = grace_s
        self._idle: list[_Worker] = []
        self._all: list[_Worker] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as group:
                for worker in self._all:
                    group.start_soon(worker.end)

    async def run(
        self,
        call: Callable[Concatenate[Tell, P], Awaitable[T]],
        tell: Tell,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Return what ``call`` returns in a worker, and call ``tell`` here with what it tells, in its order.

        Raises :class:`WorkerDied`, and what ``call`` raises. When cancelled, it cancels the call; the pool's end waits
        for that.
        """
        async with self._free:
            worker = self._idle.pop() if self._idle else await self._start()
            kind, value = await worker.run((call, args, kwargs), tell)
            self._idle.append(worker)
        if kind == "raised":
            raise value
        return cast("T", value)

    async def _start(self) -> "_Worker":
        with anyio.CancelScope(shield=True):  # a process that a cancelled task started would have no owner
            try:
                worker = _Worker(await _start_process(), self._grace_s)
            except OSError as error:
                raise WorkerDied(f"it cannot be started: {error}", started=False) from error
            self._all.append(worker)
        await worker.wait_started()
        return worker


@asynccontextmanager
async def together() -> AsyncIterator[TaskGroup]:
    """Run tasks as a task group does, but raise the first failure as it is, not in a group."""
    try:
        async with anyio.create_task_group() as tasks:
            yield tasks
    except ExceptionGroup as failures:
        raise failures.exceptions[0]  # noqa: B904 - it has a cause of its own


def ignore(_told: object) -> None:
    """Take in what a call tells that has nothing to tell."""


class _Worker:
    def __init__(self, process: anyio.abc.Process, grace_s: float) -> None:
        assert process.stdin is not None  # noqa: S101
        assert process.stdout is not None  # noqa: S101
        self._process = process
        self._grace_s = grace_s
        self._stdin = process.stdin
        self._frames = BufferedByteReceiveStream(process.stdout)

    async def wait_started(self) -> None:
        """Wait until it takes calls."""
        try:
            await self._receive()
        except _GONE as error:
            raise await self._died(started=False) from error

    async def run(self, request: object, tell: Tell) -> tuple[str, Any]:
        """Return what came of a call: what it ``returned`` or ``raised``."""
        frame = _frame(request, logging.getLogger(_LOGGER).getEffectiveLevel())
        try:
            await self._stdin.send(frame)
            while True:
                kind, value = await self._receive()
                if kind == "told":
                    tell(value)
                elif kind == "logged":
                    logging.getLogger(value.name).handle(value)
                else:
                    return kind, value
        except _GONE as error:
            raise await self._died(started=True) from error
        except BaseException:
            await self._close_stdin()
            raise

    async def end(self) -> None:
        """Cancel what it does, and wait until the process is gone."""
        await self._end(self._grace_s)

    async def _end(self, grace_s: float) -> None:
        with anyio.CancelScope(shield=True):
            await self._close_stdin()
            with suppress(*_GONE):
                await self._frames.aclose()
            with anyio.move_on_after(grace_s):
                await self._process.wait()
            if self._process.returncode is None:
                with suppress(ProcessLookupError):  # kill() of asyncio's would take the status of one that has ended
                    os.kill(self._process.pid, signal.SIGKILL)
            await self._process.aclose()

    async def _close_stdin(self) -> None:
        with anyio.CancelScope(shield=True), suppress(*_GONE):
            await self._stdin.aclose()

    async def _died(self, *, started: bool) -> WorkerDied:
        await self._end(GRACE_S)  # it ends by itself: its status tells how
        return WorkerDied(_ending(self._process.returncode), started=started)

    async def _receive(self) -> tuple[str, Any]:
        (size,) = _SIZE.unpack(await self._frames.receive_exactly(_SIZE.size))
        return cast("tuple[str, Any]", pickle.loads(await self._frames.receive_exactly(size)))  # noqa: S301 - our child


def _ending(status: int | None) -> str:
    """Say how a process ended."""
    if status is None or status >= 0:
        return f"it ended with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"{name} killed it" + (": the memory may be short" if name == "SIGKILL" else "")


async def _start_process() -> anyio.abc.Process:
    code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve()"
    return await anyio.open_process(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None, start_new_session=True
    )


# The other side, in the worker:

_LOGGER: Final = "sessionlog"


def serve() -> None:
    """Run the calls that come on standard input, until it ends; nothing else may use standard output."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    anyio.run(_serve, requests, answers)


async def _serve(requests: BinaryIO, answers: int) -> None:
    sender, receiver = anyio.create_memory_object_stream[tuple[Any, int]](math.inf)

    def send(*frame: object) -> None:
        try:
            _write(answers, _frame(*frame))
        except OSError:  # the other side has ended
            group.cancel_scope.cancel()

    async def receive() -> None:
        while True:
            request = await anyio.to_thread.run_sync(_read, requests, abandon_on_cancel=True)
            if request is None:
                group.cancel_scope.cancel()
                return
            await sender.send(request)

    async with sender, receiver, anyio.create_task_group() as group:
        group.start_soon(receive)
        send("started", None)
        async for (call, args, kwargs), level in receiver:
            _log_by(send, level)
            try:
                answer = "returned", await call(lambda value: send("told", value), *args, **kwargs)
            except Exception as error:  # noqa: BLE001 - it is raised on the other side
                answer = "raised", error
            send(*answer)


def _read(requests: BinaryIO) -> Any:
    """Return the next request; ``None`` at the end."""
    head = requests.read(_SIZE.size)
    if len(head) < _SIZE.size:
        return None
    data = requests.read(_SIZE.unpack(head)[0])
    try:
        return pickle.loads(data)  # noqa: S301 - from our own parent
    except EOFError:  # it ended in the middle
        return None


def _frame(*values: object) -> bytes:
    data = pickle.dumps(values, pickle.HIGHEST_PROTOCOL)
    return _SIZE.pack(len(data)) + data


def _write(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def _log_by(send: Callable[[str, logging.LogRecord], None], level: int) -> None:
    logger = logging.getLogger(_LOGGER)
    logger.setLevel(level)
    if not logger.handlers:
        logger.addHandler(_Sending(send))
        logger.propagate = False


class _Sending(logging.Handler):
    """Sends what is logged to the other side."""

    def __init__(self, send: Callable[[str, logging.LogRecord], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        record.msg, record.args = record.getMessage(), None
        if record.exc_info:
            record.exc_text, record.exc_info = logging.Formatter().formatException(record.exc_info), None
        self._send("logged", record)
