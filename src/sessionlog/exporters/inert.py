"""Text as Markdown that shows it and does nothing else, by CommonMark, GFM, and what github.com adds to them.

Punctuation that could be markup is escaped. A word that becomes something else after that (an address, a mention, a
reference to an issue or a commit, an emoji's name, a formula) becomes a code span: those are looked for in the text
that was parsed, where an escape is gone, but never in code. Code goes into a fence longer than any in it, and its
language is one of a list: with others, GitHub draws a diagram or a formula.

The grammars: https://spec.commonmark.org/0.31.2/, https://github.github.com/gfm/, and GitHub's page "Autolinked
references and URLs".
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

HARD_BREAK: Final = "\\"
"""At the end of a line that another one follows; at the end of a paragraph it would be shown."""
_LANGUAGES: Final = (
    "asm awk bash bat c clojure cmake console cpp cs csharp css csv dart diff docker dockerfile elixir erlang "
    "fish fsharp go graphql groovy h haskell hcl hpp html http ini java javascript js json json5 jsonc jsonl jsx "
    "julia kotlin less log lua make makefile markdown md nix objc ocaml patch perl php plaintext powershell "
    "properties proto protobuf ps1 pycon py python python3 r rb regex rs rst ruby rust sass scala scss sh shell "
    "sql svelte swift terraform text toml ts tsx txt typescript vim vue xml yaml yml zig zsh"
)
LANGUAGES: Final = frozenset(_LANGUAGES.split())
"""The languages that a fence may name: they are highlighted, and nothing more."""
_INLINE: Final = re.compile(r"[\\`*_\[<>&|~#]")
_AT_START: Final = re.compile(r"([+=:-])|([0-9]{1,9})([.)])")
_WORD: Final = re.compile(r"[^ ]+")
_BECOMES_MORE: Final = re.compile(
    r"""
      :// | www\.                        # an address
    | @                                  # a mention, a mail address
    | \#[0-9] | \bgh-[0-9]               # an issue
    | \b(?:ghsa|cve)-                    # an advisory
    | (?<![0-9a-z_])[0-9a-f]{7,40}(?![0-9a-z_])   # a commit
    | :[a-z0-9_+-]+:                     # an emoji
    | \$                                 # a formula
    | \[![a-z]                           # an alert
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_FENCE_OPENS: Final = re.compile(r" {0,3}(`{3,}|~{3,})([^`]*)\Z")
_TICKS: Final = re.compile(r"`+")


def prose(text: str) -> str:
    """Return ``text`` on one line so that Markdown shows it as it is."""
    return _escape(" ".join(text.split()))


def quote(text: str) -> Iterator[str]:
    """Yield ``text`` as a block quote: its fenced code as code, everything else as it is."""
    for is_code, lines, language in _blocks(text.expandtabs(4).splitlines()):
        if is_code:
            yield from (f"> {one}".rstrip(" ") for one in fenced(lines, language))
            continue
        prose_lines = [_prose_line(line) for line in lines]
        for line, following in zip(prose_lines, [*prose_lines[1:], ""], strict=False):
            yield f"> {line}{HARD_BREAK if line and following else ''}".rstrip(" ")


def fenced(lines: Iterable[str], language: str = "") -> Iterator[str]:
    """Yield ``lines`` in a fence that is longer than any run of backticks in them."""
    held = list(lines)
    longest = max((len(run) for line in held for run in _TICKS.findall(line)), default=0)
    fence = "`" * max(3, longest + 1)
    yield fence + language
    yield from held
    yield fence


def _blocks(lines: Iterable[str]) -> Iterator[tuple[bool, list[str], str]]:
    """Yield what is in a fence and what is not, each with its lines; a fence that is never closed goes to the end.

    If a fence says more than a language of the list, its first line and its last are shown as well.
    """
    held: list[str] = []
    fence, language, is_shown = "", "", False
    for line in lines:
        opens = _FENCE_OPENS.match(line)
        stripped = line.strip(" ")
        if fence and len(stripped) >= len(fence) and set(stripped) == {fence[0]}:
            yield True, [*held, line] if is_shown else held, language
            held, fence = [], ""
        elif not fence and opens is not None:
            yield False, held, ""
            fence, info = opens[1], opens[2].strip(" ").lower()
            is_shown = info != "" and info not in LANGUAGES
            held, language = [line] if is_shown else [], "" if is_shown else info
        else:
            held.append(line)
    yield bool(fence), held, language


def _prose_line(line: str) -> str:
    """Return a line so that it is shown with its leading spaces, which would make it code."""
    text = line.strip(" ")
    return "&nbsp;" * (len(line) - len(line.lstrip(" "))) + _escape(text) if text else ""


def _escape(text: str) -> str:
    escaped = _WORD.sub(lambda word: _escape_word(word[0]), text)
    return _AT_START.sub(_escape_start, escaped, count=1) if _AT_START.match(escaped) else escaped


def _escape_word(word: str) -> str:
    return _code_span(word) if _BECOMES_MORE.search(word) else _INLINE.sub(r"\\\g<0>", word)


def _escape_start(match: re.Match[str]) -> str:
    return f"\\{match[1]}" if match[1] else f"{match[2]}\\{match[3]}"


def _code_span(word: str) -> str:
    """Return ``word`` as code, between backticks as many as no run in it has (CommonMark 0.31.2, section 6.1)."""
    runs = {len(run) for run in _TICKS.findall(word)}
    ticks = "`" * next(count for count in range(1, len(word) + 2) if count not in runs)
    space = " " if word.startswith("`") or word.endswith("`") else ""
    return f"{ticks}{space}{word}{space}{ticks}"
