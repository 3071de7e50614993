"""GitHub's own parser makes nothing of a log's text but that text: no link, image, heading, HTML, mention, diagram."""

import random
import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from cmarkgfm import cmark

from sessionlog import (
    AssistantItems,
    ConfigChanged,
    HookInjectedItems,
    ImagePart,
    LogEntry,
    Message,
    RefusalPart,
    RequestConfig,
    RunOutcome,
    TextPart,
    ToolResults,
    UserInput,
    assistant_message,
    reasoning,
    tool_call,
    tool_result,
    user_message,
)
from sessionlog.cli.text import safe
from sessionlog.exporters import Omissions
from sessionlog.exporters.inert import LANGUAGES, fenced, prose, quote
from sessionlog.exporters.markdown import entry_lines

EXTENSIONS = ["table", "strikethrough", "autolink", "tagfilter", "tasklist"]
OPTIONS = cmark.Options.CMARK_OPT_UNSAFE | cmark.Options.CMARK_OPT_FOOTNOTES
OURS = {"p", "br", "blockquote", "pre", "code", "em", "strong"}
LINKED = re.compile(
    r"://|www\.|mailto:|xmpp:|@[A-Za-z0-9]|#[0-9]|\bGH-[0-9]|\b(?:GHSA|CVE)-|\b[0-9a-f]{7,40}\b|:[a-z0-9_+-]+:|\$|\[![A-Z]",
    re.ASCII | re.IGNORECASE,
)
"""What GitHub looks for in the parsed text outside code."""
FENCE_LINE = re.compile(r"(?m)^ *(`{3,}|~{3,})[ ]*([A-Za-z0-9]*)[ ]*$")

# fmt: off
LINES = [
    "https://example.com/a_b*c*", "_https://example.com_", "**http://x.y**", "ftp://x.y/z", "www.example.com.",
    "(www.x.y)", "mailto:a@b.com", "xmpp:a@b.com/c", "a@b.com", "a.b-c_d@e.co", "_a@b.com_", "@user", "@org/team",
    "(@user)", "*@user*", "#123", "user/repo#1", "GH-1", "gh-22", "GHSA-aaaa-bbbb-cccc", "CVE-2020-1", "deadbeef0",
    "a@0123456789abcdef", "0123456789abcdef0123456789abcdef01234567", ":smile:", ":+1:", "$x$", "$$", "$`x`$",
    "costs $5 and $6", "[!NOTE]", "[!warning]", "[^1]", "[^1]: note", "^[in]", "[x](http://y)", "![x](http://y)",
    "[x]: http://y", "[x][y]", "[x]", "<b>", "<http://x>", "<a@b.c>", "<script>", "<!-- c", "-->", "<?x", "<![CDATA[",
    "]]>", "<details>", "</blockquote>", "<img src=x>", "&lt;b&gt;", "&#60;i&#62;", "&amp;", "&copy", "# h",
    "## h ##", "#h", "title", "===", "---", "- - -", "***", "* * *", "___", "-", "+", "* a", "- a", "+ a", "1. a",
    "1) a", "12345678. a", "1234567890. a", "- [ ] t", "- [x] t", "[ ] t", "| a | b |", "| - | - |", "|-|", ":-:",
    ":-", "-:", "a | b", "--- | ---", ":--|--:", "> q", ">", ">> q", ": def", "~~x~~", "~x~", "*em*", "__b__",
    "***x***", "_", "*", "`x`", "``x", "`", "`` ` ``", "a`@b", "```@x``", "@```", "`@", "@`", "@`a``b```", "    code",
    "\tcode", "  two", " \t x", "\\", "x\\", "\\*", "\\\\", "\\<b>", "a  b", "x  ", "\xa0nb", "\u2003em", "\u3000",
    "{: .c}", "{{x}}", "%%c%%", "==m==", "^s^", "H~2~O", "%", "!", "![", "](", ")", "(", "<", ">x", "&", "\x00",
    "\x1b[31m", "\x0b", "\x1f", "\u200b", "\u202e", "a\u0301\u0301\u0301\u0301\u0301\u0301", "1\ufe0f\u20e3",
    "\U0001f468\u200d\U0001f469", "\ufeff# h", "\xe9@x", "\xe9#1", "\xe9GH-1", "\uff20user", "",
]
FENCES = [
    "```", "````", "~~~", "~~~~~", "```mermaid", "``` mermaid", "~~~ math", "```geojson", "```topojson", "```stl",
    "```python", "``` JSON ", "```suggestion", "```python title=<b>", "~~~ `x`", "   ```sh", "    ```", "```a`",
    "``` ", "```c++", "```{=html}", "```@user",
]
# fmt: on
GLUE = ["", " ", " ", "\n", "\n", "\n\n", "  \n", "\\\n", "\t", "\r\n", "\r", "_", "*", "/", ".", ","]
SOUP = "<>&`~*_[]()!#|\\-+=.:/@$^\"'1ax  \t\n\n"


class Page(HTMLParser):
    """What a parser made of a document: its text, and of that what is not code."""

    def __init__(self, markdown: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.plain = ""
        self._code = 0
        self.feed(cmark.markdown_to_html_with_extensions(markdown, OPTIONS, EXTENSIONS))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._code += tag == "code"
        assert all(
            name == "class" and tag == "code" and value.removeprefix("language-") in LANGUAGES
            for name, value in attrs
            if value is not None
        ), attrs

    def handle_endtag(self, tag: str) -> None:
        self._code -= tag == "code"

    def handle_data(self, data: str) -> None:
        self.text += data
        self.plain += "\0" if self._code else data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(decl)

    def handle_pi(self, data: str) -> None:
        raise AssertionError(data)

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(data)

    def check(self, *, headings: int = 0) -> None:
        assert set(self.tags) <= OURS | {"h1", "h2"}, set(self.tags)
        assert sum(tag in ("h1", "h2") for tag in self.tags) == headings
        found = LINKED.search(self.plain)
        assert found is None, found


def shown(text: str) -> list[str]:
    """The words of a text or a page; a line that only opens or ends a fence is none."""
    text = text.replace("\xa0", " ")
    return FENCE_LINE.sub(lambda match: match[0] if match[2].lower() not in LANGUAGES | {""} else "", text).split()


def make_text(source: random.Random) -> str:
    """Of fragments, with and without fences, or of single characters that mean something."""
    if source.random() < 0.25:
        return "".join(source.choices(SOUP, k=source.randint(1, 24)))
    pool = LINES if source.random() < 0.6 else LINES + FENCES * 4
    parts: list[str] = []
    for _ in range(source.randint(1, 7)):
        parts += (source.choice(pool), source.choice(GLUE))
    return "".join(parts)


def everywhere(text: str) -> Iterator[LogEntry]:
    """Entries that carry a text wherever one can."""
    image = ImagePart(data="aGk=", media_type=text)
    yield UserInput(ts=1, item=user_message(text))
    yield AssistantItems(
        ts=1,
        items=[
            assistant_message(text),
            reasoning(text),
            tool_call(text, text, text),
            tool_call("c", "n", f'{{"a":1}} {text}'),
        ],
    )
    yield ToolResults(ts=1, items=[tool_result(text, text, text + text)])
    yield HookInjectedItems(ts=1, items=[Message("system", [RefusalPart(text), TextPart(text), image])])
    yield RunOutcome(ts=1, outcome="error", message=text, interrupted=True)
    yield ConfigChanged(ts=1, config=RequestConfig(model=text))


def render(lines: Iterator[str]) -> Page:
    return Page("\n".join([*map(safe, lines), "", "the end"]))


def check_text(text: str) -> None:
    """The whole promise for one text."""
    page = render(quote(text))
    page.check()
    assert page.tags[-1:] == ["p"]
    words = safe_lines(text.expandtabs(4))
    assert shown(page.text) == [*shown(words), "the", "end"]

    page = render(iter([prose(text)]))
    page.check()
    assert set(page.tags) <= {"p", "code"}
    assert page.text.split() == [*safe(" ".join(text.split())).split(), "the", "end"]

    page = render(fenced(text.expandtabs(4).splitlines()))
    page.check()
    assert page.tags == ["pre", "code", "p"]
    assert page.text.removesuffix("\nthe end\n").strip("\n") == words.strip("\n")


def safe_lines(text: str) -> str:
    return "\n".join(safe(line) for line in text.splitlines())


def check_document(text: str) -> None:
    omitted = Omissions()
    page = render(line for entry in everywhere(text) for line in entry_lines(entry, omitted))
    page.check()
    assert page.tags[-1] == "p"
    assert page.text.endswith("the end\n")


@pytest.mark.parametrize("text", [*LINES, *FENCES])
def test_no_fragment_is_anything_but_text(text: str) -> None:
    for one in (text, f"a {text} b", f"a\n{text}\nb", f"{text}\n{text}", f"a\n\n{text}\n\nb"):
        check_text(one)
        check_document(one)


def test_no_mix_of_fragments_is_anything_but_text() -> None:
    source = random.Random(12)
    for _ in range(600):
        text = make_text(source)
        check_text(text)
        check_document(text)


@pytest.mark.long
def test_no_mix_of_sixty_thousand_is_anything_but_text() -> None:
    source = random.Random(60_000)
    for _ in range(60_000):
        text = make_text(source)
        check_text(text)
        check_document(text)


UNESCAPED = {
    "https://x.y": "<a",
    "_https://x.y_": "<a",
    "a@b.com": "<a",
    "mailto:a@b.com": "<a",
    "xmpp:a@b.com": "<a",
    "www.x.y": "<a",
    "# x": "<h1",
    "x\n===": "<h1",
    "<b>x": "<b",
    "|a|\n|-|": "<table",
    "- [ ] x": "<input",
    "x[^1]\n\n[^1]: y": "<sup",
    "![x](y)": "<img",
    "~~x~~": "<del",
}


@pytest.mark.parametrize(("text", "tag"), UNESCAPED.items())
def test_the_parser_does_make_something_of_what_is_not_escaped(text: str, tag: str) -> None:
    assert tag in cmark.markdown_to_html_with_extensions(text, OPTIONS, EXTENSIONS)
    with pytest.raises(AssertionError):
        Page(text).check()
    check_text(text)


@pytest.mark.parametrize("text", ["@user", "#1", "GH-1", "deadbeef1", ":smile:", "$x$", "[!NOTE]"])
def test_what_github_adds_is_looked_for(text: str) -> None:
    assert LINKED.search(text)
    assert prose(text) == f"`{text}`"


def test_lines_stay_lines() -> None:
    assert render(quote("a\nb\n@c\n\nd")).tags == ["blockquote", "p", "br", "br", "code", "p", "p"]


def test_only_a_language_of_the_list_reaches_a_fence() -> None:
    assert list(quote("```Python\nx\n```")) == ["> ```python", "> x", "> ```"]
    assert list(quote("```mermaid\ngraph\n```\nb")) == ["> ````", "> ```mermaid", "> graph", "> ```", "> ````", "> b"]
    for one in ("mermaid", "geojson", "topojson", "stl", "math", "suggestion"):
        assert one not in LANGUAGES
