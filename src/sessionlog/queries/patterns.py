"""What a search looks for in a text: words as they are, or a regular expression.

Expressions come from users, so they run on RE2, whose time is linear in the text's length whatever the expression:
nothing backtracks. In return it has no lookaround and no back references. The syntax, and why:
https://github.com/google/re2/wiki/Syntax and https://swtch.com/~rsc/regexp/regexp1.html.
"""

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio
import anyio.lowlevel
import msgspec

if TYPE_CHECKING:
    import re2

MEMORY_MAX: Final = 8 * 1024 * 1024
"""The bytes that RE2 may use for one compiled expression; a larger one is refused."""
WORK_MAX: Final = 100_000_000
"""A text goes to a process of its own if its bytes times the expression's instructions exceed this: about 0.2 s."""
_CHECKPOINT_EVERY: Final = 64
_NO_UTF8: Final = "it holds a byte that is not UTF-8"
_ADVICE: Final = (
    (re.compile(r"operator: \(\?<?[=!]"), "lookaround is not supported: match the text around it as well"),
    (re.compile(r"escape sequence: \\[1-9]|operator: \(\?P\Z"), "back references are not supported"),
    (re.compile(r"repetition operator: .\+"), "nothing backtracks here: leave out the second +"),
    (re.compile(r"operator: \(\?>"), "nothing backtracks here: write (?: instead of (?>"),
    (re.compile(r"escape sequence: \\Z"), r"write \z for the end of the text"),
    (re.compile(r"escape sequence: \\[uUN]"), r"write the character itself, or \x{20AC}"),
    (re.compile(r"repetition size"), "1000 repetitions at most, nested ones multiplied"),
    (re.compile(r"too large"), "it is too costly: repeat fewer times, or name fewer characters"),
)
"""What to do about what RE2 says."""
_SERVE: Final = "from sessionlog.queries.patterns import _serve; _serve()"

Span = tuple[int, int]
"""Where a match begins and ends, in characters of the text."""


class QueryError(ValueError):
    """The pattern is no regular expression that RE2 can run; the text says why, and what to do."""


class Pattern(Protocol):
    """Finds matches in a text."""

    def spans(self, text: str) -> Iterator[Span]:
        """Yield where ``text`` matches, in order. A match is not empty and holds no line feed."""
        ...

    def work(self, text: str) -> int:
        """Return the most steps that looking at ``text`` can take, in units of an instruction for a byte."""
        ...


class Words:
    """A pattern that matches a text as it is."""

    def __init__(self, text: str, *, case: bool) -> None:
        """Look for ``text``; capitals and small letters count as different if ``case``."""
        self._pattern = re.compile(re.escape(text), 0 if case else re.IGNORECASE)
        self._is_one_line = bool(text) and "\n" not in text

    def spans(self, text: str) -> Iterator[Span]:
        """Yield where ``text`` holds the words."""
        return (match.span() for match in self._pattern.finditer(text)) if self._is_one_line else iter(())

    def work(self, text: str) -> int:
        """Return the text's length: words cost one step a character."""
        return len(text)


class Expression:
    r"""A regular expression, as RE2 has them; ``^`` and ``$`` match at each line, and no match holds a line feed.

    ``\w``, ``\d``, ``\s`` and ``\b`` know ASCII only; ``\p{L}`` is any letter.
    """

    def __init__(self, text: str, *, case: bool) -> None:
        """Compile ``text``; capitals and small letters count as different if ``case``. Raises :class:`QueryError`."""
        self.text = text
        self.case = case
        self._pattern = _compile(text, case=case)
        if self._pattern.fullmatch(b"") is not None:
            raise QueryError("it matches the empty text, so everywhere: ask for a character at least, x+ and not x*")

    def spans(self, text: str) -> Iterator[Span]:
        """Yield where ``text`` matches."""
        data = text.encode("utf-8", "replace")  # a lone surrogate counts as one character
        found = (match.span() for match in self._pattern.finditer(data))
        spans = found if len(data) == len(text) else _in_characters(data, found)
        return (span for span in spans if span[0] < span[1])

    def work(self, text: str) -> int:
        """Return the bound that RE2 gives: the length of the text times that of the compiled expression."""
        size: int = self._pattern.programsize
        return len(text) * size


def make_pattern(text: str, *, regex: bool, case: bool) -> Pattern:
    """Return the pattern for ``text``. Raises :class:`QueryError` if it is no expression, or RE2 is not installed."""
    return Expression(text, case=case) if regex else Words(text, case=case)


async def find_spans(pattern: Pattern, text: str) -> list[Span]:
    """Return all of ``pattern.spans(text)``; other tasks run meanwhile, and cancelling ends it at once.

    Work that could take longer than the event loop can wait goes to a process, which is killed if this is cancelled.
    """
    if isinstance(pattern, Expression) and pattern.work(text) > WORK_MAX:
        return await _find_apart(pattern, text)
    found: list[Span] = []
    for span in pattern.spans(text):
        found.append(span)
        if len(found) % _CHECKPOINT_EVERY == 0:
            await anyio.lowlevel.checkpoint()
    return found


def _compile(text: str, *, case: bool) -> "re2._Regexp":
    try:
        import re2  # noqa: PLC0415 - only expressions need the extra
    except ImportError as error:
        raise QueryError("regular expressions need google-re2: pip install 'sessionlog[cli]'") from error
    options = re2.Options()
    options.max_mem = MEMORY_MAX
    options.log_errors = False  # they would go to standard error
    options.never_nl = True
    options.case_sensitive = case
    try:
        return re2.compile(b"(?m)" + text.encode(), options)
    except UnicodeEncodeError as error:
        raise QueryError(_NO_UTF8) from error
    except re2.error as error:
        raise QueryError(_reason(error).replace("(?m)", "", 1)) from error


def _reason(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    reason = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    advice = [todo for pattern, todo in _ADVICE if pattern.search(reason)]
    return "; ".join((f"RE2 refuses it: {reason}", *advice))


def _in_characters(data: bytes, spans: Iterable[Span]) -> Iterator[Span]:
    """Turn offsets in UTF-8 into offsets in characters, in one pass."""
    at_byte = at = 0
    for start, end in spans:
        first = at + len(data[at_byte:start].decode("utf-8", "ignore"))
        at = first + len(data[start:end].decode("utf-8", "ignore"))
        at_byte = end
        yield first, at


async def _find_apart(pattern: Expression, text: str) -> list[Span]:
    request = msgspec.json.encode([pattern.text, pattern.case, text])
    done = await anyio.run_process(
        [sys.executable, "-P", "-c", _SERVE], input=request, stderr=subprocess.DEVNULL, check=True
    )
    return msgspec.json.decode(done.stdout, type=list[Span])


def _serve() -> None:
    """Answer one request on standard input: what ``_find_apart`` runs."""
    request: Any = msgspec.json.decode(sys.stdin.buffer.read())
    text, case, searched = request
    sys.stdout.buffer.write(msgspec.json.encode(list(Expression(text, case=case).spans(searched))))
