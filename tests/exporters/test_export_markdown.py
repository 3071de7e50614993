"""Markdown shows what a log holds and obeys none of it; raw lines are the log's own."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from sessionlog import (
    Extension,
    ImagePart,
    Item,
    MemoryStore,
    Message,
    RefusalPart,
    RequestConfig,
    SessionStartState,
    TextPart,
    assistant_message,
    create_session,
    fork_at,
    parse_record,
    reasoning,
    system_message,
    tool_call,
    tool_result,
    user_message,
    verify_chain,
)
from sessionlog.exporters import Omissions, export_jsonl, export_markdown
from sessionlog.exporters.inert import fenced, prose, quote

MARKDOWN = MarkdownIt("commonmark").enable("table").enable("strikethrough")
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "```\ncode\n```\n# not a heading",
    "```\nnever closed",
    "~~~~ <b>\nx\n~~~~~",
    "````\n```\n````\n<b>",
    "[link](javascript:alert(1)) ![pixel](http://x/y.png) <http://auto.link> [ref]: http://x",
    "| a | b |\n| - | - |\n| 1 | 2 |",
    "title\n===\n---\n* * *\n+ item\n1. item\n2) item",
    "&lt;b&gt; &#60;i&#62; &amp;",
    "    indented <b>code</b>\n\ttab",
    "\\<b\\> `tick` ``two`` *em* __strong__ ~~gone~~ $x$",
    "> quote\n\n- list\n\n  <details><summary>x",
    "text\\",
    "]]>--><!-- x -->",
]
SAFE_TAGS = {"p", "br", "blockquote", "pre", "code", "h1", "h2", "em", "strong"}


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.headings = 0
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.headings += tag in ("h1", "h2")
        assert all(name == "class" for name, _ in attrs), attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def render(lines: list[str]) -> Page:
    page = Page()
    page.feed(MARKDOWN.render("\n".join(lines)))
    return page


async def markdown(*items: Item, omitted: Omissions | None = None) -> list[str]:
    store = MemoryStore()
    log = await create_session(store, SessionStartState("system", RequestConfig(model="<m>")))
    await log.save_delta(list(items))
    return [line async for line in export_markdown(store, log.session_id, omitted or Omissions())]


@pytest.mark.anyio
@pytest.mark.parametrize("text", HOSTILE)
async def test_nothing_in_a_log_acts_as_markup(text: str) -> None:
    """No tag, link, image or heading of a log's making, wherever the text stands; what follows is not swallowed."""
    lines = await markdown(
        user_message(text),
        reasoning(text),
        assistant_message(text),
        Message("assistant", [RefusalPart(text), TextPart(text)]),
        tool_call(text, text, text),
        tool_result(text, text, text + text),
        user_message("the end"),
    )
    page = render(lines)
    assert page.tags <= SAFE_TAGS
    assert page.headings == 3
    assert page.text.rstrip().endswith("the end")


@given(st.text(alphabet="<>&`~*_[]()!#|\\-+=.:/1 \tab\n\"'$", max_size=60))
def test_prose_reads_as_it_was_written(text: str) -> None:
    """Rendered, a quote has the very words of the text, code fences aside."""
    page = render([*quote(text), "", "the end"])
    assert page.tags <= SAFE_TAGS
    assert page.text.rstrip().endswith("the end")
    if "```" not in text and "~~~" not in text:
        shown = page.text.removesuffix("the end\n").replace("\xa0", " ")
        assert shown.split() == text.split()


@given(st.lists(st.text(alphabet="`~ab ", max_size=12), max_size=5))
def test_a_fence_holds_whatever_is_in_it(lines: list[str]) -> None:
    page = render([*fenced(lines), "", "the end"])
    assert page.text.split("the end")[0].strip("\n") == "\n".join(lines).strip("\n")
    assert page.text.rstrip().endswith("the end")


def test_names_stay_on_one_line() -> None:
    assert prose("a\n# b") == r"a \# b"
    assert prose("1. x") == r"1\. x"
    assert prose("see https://x") == "see `https://x`"


@pytest.mark.anyio
async def test_code_in_a_message_stays_code() -> None:
    lines = await markdown(assistant_message("Run\n```sh\nls <dir>\n```\nand see."))
    at = lines.index("> ```sh")
    assert lines[at - 1 : at + 4] == ["> Run", "> ```sh", "> ls <dir>", "> ```", "> and see."]


@pytest.mark.anyio
async def test_what_is_no_conversation_is_counted() -> None:
    store = MemoryStore()
    log = await create_session(store, SessionStartState())
    await log.append(Extension(ts=1, domain="d", payload=1))
    omitted = Omissions()
    lines = [line async for line in export_markdown(store, log.session_id, omitted)]
    assert lines[0].startswith("# Session")
    assert dict(omitted) == {"extension record: left out": 1}


@pytest.mark.anyio
async def test_raw_lines_are_the_log_and_verify() -> None:
    store = MemoryStore()
    log = await create_session(store, SessionStartState())
    await log.save_delta([user_message("x\u2028\x1b"), assistant_message("y")])
    lines = [line async for line in export_jsonl(store, log.session_id)]
    records = await store.read_all(log.session_id)
    assert lines == [record.line + b"\n" for record in records]
    assert verify_chain(parse_record(line[:-1]) for line in lines).head == log.head


@pytest.mark.anyio
async def test_a_fork_names_its_source_and_images_their_type() -> None:
    store = MemoryStore()
    log = await create_session(store, SessionStartState())
    [at] = await log.save_delta([Message("user", [ImagePart(data="aGk=", media_type="image/<b>")])])
    fork = await fork_at(store, log.session_id, at)
    await fork.save_outcome("error", interrupted=True, message="<i>")
    await fork.save_config_changed(RequestConfig(model="m*"))
    await fork.save_delta([system_message("noted")])
    omitted = Omissions()
    lines = [line async for line in export_markdown(store, fork.session_id, omitted)]
    assert f"Forked from `{log.session_id}` at {at}." in lines
    assert r"> (image image/\<b\>)" in lines
    assert r"*The run ended:* error: \<i\>" in lines
    assert r"*Model:* m\*" in lines
    assert "*Put in by a hook:*" in lines
    assert dict(omitted) == {"image: left out, its type is there": 1}
