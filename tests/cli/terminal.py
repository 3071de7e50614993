"""A real pseudo-terminal for tests, and what a person would see on it.

One run, from its start to its end::

    seen = look("list", store=run.store, columns=80)
    assert seen.status == 0
    assert seen.lines[0].startswith("SESSION")

A run with somebody at the keys::

    with Terminal([PROGRAM, "tail", "-f", "alpha-1"]) as terminal:
        terminal.wait_for("0003")  # until that text stands on the screen
        terminal.send(CTRL_C)
        seen = terminal.finish()
    assert seen.status == 130

The program is the installed ``sessionlog``; pexpect gives it the terminal, pyte draws what it writes. No test sleeps:
:meth:`Terminal.wait_for` reads until the text is there, and fails after ``TIMEOUT_S``.
"""

import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self

import pexpect
import pyte
from pyte import modes

from .conftest import environment

PROGRAM: Final = str(Path(sys.executable).with_name("sessionlog"))
CTRL_C: Final = "\x03"
CTRL_D: Final = "\x04"
CTRL_BACKSLASH: Final = "\x1c"
ROWS: Final = 24
TIMEOUT_S: Final = 600
"""No test waits so long: it is for a program that hangs."""
_READ_BYTES: Final = 65536


@dataclass(frozen=True)
class Seen:
    """What a run left on its terminal.

    ``lines`` is the whole of it, with what was scrolled off the top and without the blanks at the ends of lines and of
    the screen. ``wrapped`` are those that the terminal had to break, because they are wider than it is. ``output`` is
    every character that was written, escape sequences included: also what was erased again, as a progress bar is.
    ``status`` is the exit status; 128 and the number of a signal, if that ended the run.
    """

    status: int
    lines: list[str]
    wrapped: list[str]
    output: str
    cursor_hidden: bool

    @property
    def text(self) -> str:
        """The screen, as one text."""
        return "\n".join(self.lines)

    def line_with(self, text: str) -> str:
        """Return the first line that holds ``text``."""
        return next(line for line in self.lines if text in line)

    def assert_sound(self, *, lines_fit: bool = True) -> None:
        """No error of ours, no line wider than the terminal (if ``lines_fit``), and the terminal as it was before."""
        assert "internal error" not in self.output, self.text
        assert "Traceback" not in self.output, self.text
        assert not (lines_fit and self.wrapped), self.wrapped[:3]
        assert not self.cursor_hidden


class Terminal:
    """A program on a terminal of ``columns`` by ``rows``. A context manager: whatever happens, the program ends."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        columns: int = 80,
        rows: int = ROWS,
        before: Callable[[], None] | None = None,
        env: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Start ``command`` with ``env`` beside the usual environment; ``before`` runs in the new process first."""
        variables = environment(**{"TERM": "xterm-256color", "PAGER": "", **env})
        for name in {"COLUMNS", "LINES", "NO_COLOR", "LESS"} - env.keys():
            variables.pop(name, None)
        self._screen = _Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._output = bytearray()
        with warnings.catch_warnings():  # that a process with threads forks: the child does nothing but exec
            warnings.simplefilter("ignore", DeprecationWarning)
            self._child: Any = pexpect.spawn(
                command[0], list(command[1:]), dimensions=(rows, columns), env=variables, preexec_fn=before
            )
        self._child.delaybeforesend = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._child.close(force=True)

    @property
    def pid(self) -> int:
        """The process, to signal it."""
        pid: int = self._child.pid
        return pid

    @property
    def lines(self) -> list[str]:
        """What stands on the terminal now, and what was scrolled off it."""
        return self._screen.seen()

    def send(self, keys: str) -> None:
        """Press keys."""
        self._child.send(keys)

    def wait_for(self, text: str) -> None:
        """Read until ``text`` stands on the terminal. Fails when the program ends without it."""
        self.wait_for_count(text, 1)

    def wait_for_count(self, text: str, count: int) -> None:
        """Read until ``text`` stands in ``count`` lines of the terminal, as :meth:`wait_for`."""
        deadline = time.monotonic() + TIMEOUT_S
        while sum(text in line for line in self.lines) < count:
            assert time.monotonic() < deadline, f"{text!r} did not come: {self.lines}"
            assert self._read(deadline), f"the program ended without {text!r}: {self.lines}"

    def finish(self) -> Seen:
        """Wait until the program ends; return what it left."""
        deadline = time.monotonic() + TIMEOUT_S
        while self._read(deadline):
            assert time.monotonic() < deadline, f"it did not end: {self.lines}"
        self._child.wait()
        signal: int | None = self._child.signalstatus
        return Seen(
            status=self._child.exitstatus if signal is None else 128 + signal,
            lines=self.lines,
            wrapped=self._screen.wrapped,
            output=self._output.decode(errors="replace"),
            cursor_hidden=modes.DECTCEM not in self._screen.mode,
        )

    def _read(self, deadline: float) -> bool:
        """Draw what comes next; ``False`` at the end."""
        try:
            data: bytes = self._child.read_nonblocking(_READ_BYTES, timeout=max(0.0, deadline - time.monotonic()))
        except pexpect.EOF:
            return False
        except pexpect.TIMEOUT:
            return True
        self._output += data
        self._stream.feed(data)
        return True


def look(
    *args: str,
    store: Path | None = None,
    columns: int = 80,
    rows: int = ROWS,
    keys: str = "",
    before: Callable[[], None] | None = None,
    **env: str,
) -> Seen:
    """Run ``sessionlog`` with ``args`` on a terminal, and ``keys`` pressed at its start; return what it left."""
    if store is not None:
        env["SESSIONLOG_STORE"] = str(store)
    with Terminal([PROGRAM, *args], columns=columns, rows=rows, before=before, env=env) as terminal:
        if keys:
            terminal.send(keys)
        return terminal.finish()


def look_at_shell(
    *args: str, then: str, store: Path | None = None, columns: int = 80, rows: int = ROWS, **env: str
) -> Seen:
    """Run a line of bash on a terminal: ``sessionlog`` with ``args``, and ``then``, say ``| head -n 1`` or ``>&-``.

    The exit status is that of ``sessionlog``, also at the beginning of a pipeline.
    """
    if store is not None:
        env["SESSIONLOG_STORE"] = str(store)
    line = f"{' '.join(map(quote, [PROGRAM, *args]))} {then}; exit ${{PIPESTATUS[0]}}"
    with Terminal(["bash", "-c", line], columns=columns, rows=rows, env=env) as terminal:
        return terminal.finish()


class _Screen(pyte.Screen):
    """A screen that keeps what is scrolled off its top, and notes each line that was wider than it."""

    def __init__(self, columns: int, lines: int) -> None:
        self.wrapped: list[str] = []
        self._above: list[str] = []
        self._drawing = False
        super().__init__(columns, lines)

    def seen(self) -> list[str]:
        """Return what was scrolled off, and what stands on the screen but for blank lines at its end."""
        lines = [*self._above, *(self._row(y) for y in range(self.lines))]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def draw(self, data: str) -> None:
        """Draw text; what calls :meth:`index` meanwhile is a line that is too wide."""
        self._drawing = True
        super().draw(data)
        self._drawing = False

    def index(self) -> None:
        """Go down a line; at the bottom, keep the line that the screen loses."""
        if self._drawing:
            self.wrapped.append(self._row(self.cursor.y))
        if self.cursor.y == self.lines - 1:
            self._above.append(self._row(0))
        super().index()

    def _row(self, y: int) -> str:
        line = self.buffer[y]
        return "".join(line[x].data for x in range(self.columns)).rstrip()
