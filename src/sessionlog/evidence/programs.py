"""Running a program that the keeper named: bytes in on its standard input, a bounded answer out, in a bounded time."""

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Sequence

from ..errors import StoreFailed


def run_program(words: Sequence[str], data: bytes, *, timeout_s: float, output_bytes_max: int, what: str) -> bytes:
    """Run ``words`` without a shell; return what it printed. Its standard error is this process's.

    Raises:
        StoreFailed: It cannot be run, fails, takes longer, or prints more; then it was killed, its children included.
    """
    with tempfile.TemporaryFile() as stdin:
        stdin.write(data)
        stdin.seek(0)
        try:
            process = subprocess.Popen(words, stdin=stdin, stdout=subprocess.PIPE, start_new_session=True)  # noqa: S603
        except (OSError, ValueError) as error:
            raise StoreFailed(f"{what} {words[0]} cannot be run: {error}") from error
    timed_out = threading.Event()

    def kill() -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)

    def end() -> None:
        timed_out.set()
        kill()

    timer = threading.Timer(timeout_s, end)
    timer.start()
    try:
        with process.stdout or contextlib.nullcontext() as stdout:
            output = b"" if stdout is None else stdout.read(output_bytes_max + 1)
        if len(output) > output_bytes_max:
            kill()
        status = process.wait()
    finally:
        timer.cancel()
        if process.poll() is None:  # this thread was interrupted
            kill()
            process.wait()
    if timed_out.is_set():
        raise StoreFailed(f"{what} {words[0]} took longer than {timeout_s:g} s")
    if len(output) > output_bytes_max:
        raise StoreFailed(f"{what} {words[0]} printed more than {output_bytes_max} bytes")
    if status != 0:
        raise StoreFailed(f"{what} {words[0]} ended with status {status}")
    return output


__all__ = ["run_program"]
