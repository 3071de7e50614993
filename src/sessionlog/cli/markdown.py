"""Markdown for a terminal, lightly: headings, emphasis, code, lists, quotes and tables look like what they are.

Every word stays. What would hide text or act on a terminal is not Markdown here: HTML, links, images, entities and
backslashes stand as they were written. CommonMark, with GitHub's tables; parsed by markdown-it-py, which rich is built
on.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import zip_longest
from typing import TYPE_CHECKING, Final, NamedTuple

from .output import Segment

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

CHARS_MAX: Final = 20_000
"""Longer text is not parsed, and stands as it was written: the parser's time may grow with the square of it."""
NESTING_MAX: Final = 20
"""Text with more lists and quotes inside each other stands as it was written, too: the parser would leave some out."""
_CODE: Final = "cyan"
_INLINE_STYLES: Final = {"strong": "bold", "em": "italic", "s": "strike"}
_AS_TEXT: Final = ("reference", "lheading", "newline", "escape", "entity", "autolink", "link", "image")
"""Rules that would take something away from the text."""


class Line(NamedTuple):
    """A line to print; where it is wrapped, it goes on below the end of ``lead``."""

    lead: str
    segments: Sequence[Segment]


def markdown_lines(text: str) -> Iterator[Line]:
    """Yield the lines that show ``text``. Nothing is escaped here."""
    tokens = _parser().parse(text) if len(text) <= CHARS_MAX else []
    if not tokens or any(token.level >= NESTING_MAX - 1 for token in tokens):
        yield from (Line("", [line]) for line in text.split("\n"))
        return
    walk = _Walk()
    for token in tokens:
        yield from walk.take(token)


@cache
def _parser() -> "MarkdownIt":
    from markdown_it import MarkdownIt  # noqa: PLC0415 - only a terminal pays for it

    return (
        MarkdownIt("commonmark", {"html": False, "maxNesting": NESTING_MAX})
        .enable(["table", "strikethrough"])
        .disable(list(_AS_TEXT))
    )


@dataclass
class _Lead:
    """What a list or a quote puts before its lines: ``now`` before the next one, ``later`` before those behind it."""

    now: str
    later: str


@dataclass
class _Table:
    """The rows of a table, and the lines of the source that it is in."""

    span: Sequence[int]
    rows: list[list[str]] = field(default_factory=list)


class _Walk:
    """Goes over the blocks of one text."""

    def __init__(self) -> None:
        self._leads: list[_Lead] = []
        self._heading = ""
        self._table: _Table | None = None
        self._end = 0
        """The line of the source behind the last block."""

    def take(self, token: "Token") -> Iterator[Line]:
        """Yield the lines of the block that ``token`` is, or ends."""
        match token.type:
            case "list_item_open":
                marker = f"{token.info}{token.markup} "
                self._leads.append(_Lead(marker, " " * len(marker)))
            case "blockquote_open":
                self._leads.append(_Lead("│ ", "│ "))
            case "list_item_close" | "blockquote_close":
                lead = self._leads[-1]
                if lead.now != lead.later:  # an empty item
                    yield self._line([])
                self._leads.pop()
            case "table_open":
                self._table = _Table(token.map or ())
            case _ if self._table is not None:
                yield from self._take_cell(token, self._table)
            case _:
                yield from self._take_leaf(token)

    def _take_leaf(self, token: "Token") -> Iterator[Line]:
        match token.type:
            case "heading_open":
                self._heading = f"{token.markup} "
            case "inline":
                yield from self._block(token.map, _inline_lines(token.children or [], self._heading))
                self._heading = ""
            case "fence" | "code_block":
                yield from self._block(token.map, _code_lines(token), indent="  ")
            case "hr":
                yield from self._block(token.map, [["───"]])
            case _:
                pass

    def _take_cell(self, token: "Token", table: _Table) -> Iterator[Line]:
        match token.type:
            case "tr_open":
                table.rows.append([])
            case "inline":
                table.rows[-1].append(token.content)
            case "table_close":
                self._table = None
                yield from self._block(table.span, _table_lines(table.rows))
            case _:
                pass

    def _block(
        self, span: Sequence[int] | None, lines: Iterable[Sequence[Segment]], *, indent: str = ""
    ) -> Iterator[Line]:
        """Yield the lines of a block, behind a blank one if one is there in the source."""
        first, end = span or (self._end, self._end)
        if 0 < self._end < first:
            yield Line("".join(lead.later for lead in self._leads), [])
        self._end = end
        for segments in lines:
            yield self._line(segments, indent)

    def _line(self, segments: Sequence[Segment], indent: str = "") -> Line:
        line = Line("".join(lead.now for lead in self._leads) + indent, segments)
        for lead in self._leads:
            lead.now = lead.later
        return line


def _inline_lines(tokens: Iterable["Token"], heading: str) -> Iterator[list[Segment]]:
    """Yield the styled lines of a paragraph or of a ``heading``, which begins with its mark."""
    styles = ["bold"] if heading else []
    line: list[Segment] = [(heading, "dim")] if heading else []
    for token in tokens:
        name = token.type.removesuffix("_open").removesuffix("_close")
        if name in _INLINE_STYLES:
            if token.nesting > 0:
                styles.append(_INLINE_STYLES[name])
            else:
                styles.pop()
            continue
        is_code = token.type == "code_inline"
        text = f"{token.markup}{token.content}{token.markup}" if is_code else token.content
        first, *others = text.split("\n")
        style = " ".join([*styles, *([_CODE] if is_code else [])])
        line.append((first, style))
        for other in others:
            yield line
            line = [(other, style)]
    yield line


def _code_lines(token: "Token") -> Iterator[list[Segment]]:
    """Yield the lines of code, behind what its fence says of it: nothing is hidden there."""
    if token.info.strip():
        yield [(token.info.strip(), "dim italic")]
    for line in token.content.removesuffix("\n").split("\n"):
        yield [(line, _CODE)]


def _table_lines(rows: Sequence[Sequence[str]]) -> Iterator[list[Segment]]:
    """Yield the rows of a table, its columns below each other and the first row in bold."""
    widths = [max(map(len, column)) for column in zip_longest(*rows, fillvalue="")]
    for at, row in enumerate(rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        yield [("  ".join(cells).rstrip(), "" if at else "bold")]
        if not at:
            yield [("  ".join("─" * width for width in widths), "dim")]
