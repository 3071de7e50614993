"""Characters that act or hide are shown as escapes; words and emoji of the world are shown as they are."""

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionlog.cli.text import json_safe, safe

from .conftest import Cli, assistant, user

DEFAULT_IGNORABLE = (
    "00AD 034F 061C 115F..1160 17B4..17B5 180B..180F 200B..200F 202A..202E 2060..206F 3164 FE00..FE0F FEFF FFA0 "
    "FFF0..FFF8 1BCA0..1BCA3 1D173..1D17A E0000..E0FFF"
)
"""Unicode 16, DerivedCoreProperties.txt (the same since 12)."""
VISIBLE_FORMAT = {0x600, 0x601, 0x602, 0x603, 0x604, 0x605, 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
"""Of category Cf, yet seen: the marks that stand before numbers (Prepended_Concatenation_Mark)."""
BLANK = {0x2800, 0x16FE4, 0x1D159}
WORDS = {
    "Persian": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "Arabic": "\u0645\u064f\u062d\u064e\u0645\u0651\u064e\u062f\u064c",
    "Hindi": "\u0915\u094d\u200d\u0937 \u0930\u093e\u0937\u094d\u091f\u094d\u0930",
    "Malayalam": "\u0d28\u0d4d\u200d\u0d31\u0d46",
    "Sinhala": "\u0dc1\u0dca\u200d\u0dbb\u0dd3",
    "Burmese": "\u1000\u103c\u1031\u102c\u1004\u103a\u1038",
    "Thai": "\u0e01\u0e33\u0e25\u0e31\u0e07",
    "Hebrew": "\u05d1\u05bc\u05b0\u05bc\u05e8\u05b5\u05d0\u05e9\u05c1\u05b4\u0596\u05d9\u05ea",
    "Vietnamese": unicodedata.normalize("NFD", "Ti\u1ebfng Vi\u1ec7t"),
    "Korean": "\ud55c\uad6d\uc5b4 \u1112\u1161\u11ab",
    "Japanese": "\u304b\u3099\u3000\u6f22\u5b57",
    "family": "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "heart on fire": "\u2764\ufe0f\u200d\U0001f525",
    "skin": "\U0001f44d\U0001f3fd \U0001f9d1\U0001f3fb\u200d\U0001f4bb",
    "rainbow flag": "\U0001f3f3\ufe0f\u200d\U0001f308",
    "flags": "\U0001f1eb\U0001f1f7\U0001f1ef\U0001f1f5",
    "keycap": "1\ufe0f\u20e3 #\ufe0f\u20e3",
    "text and emoji": "\u2714\ufe0e \u2714\ufe0f \xa9\ufe0f",
    "private use": "\ue0b0 \uf115",
    "spaces of print": "10\u202f000\xa0km",
}
PAYLOADS = {
    "selectors": "x\U000e0148\U000e0155",
    "selectors of the other block": "\U0001f600\ufe00\ufe01\ufe0f",
    "selectors in a row": "\u2764\ufe0f\ufe0e\ufe0f\ufe0f",
    "a selector behind a letter": "a\ufe0f b\ufe0e",
    "a selector behind a digit that is no keycap": "1\ufe0f 2",
    "a selector in front": "\ufe0fa",
    "tags": "\U0001f3f4\U000e0067\U000e0062\U000e007f",
    "Hangul fillers": "\u115f\u1160\u3164\uffa0",
    "grapheme joiner": "a\u034fb",
    "Mongolian": "\u180b\u180c\u180d\u180e\u180f",
    "Khmer": "\u17b4\u17b5",
    "interlinear": "\ufff9a\ufffab\ufffb",
    "blank": "\u2800\u2800\U0001d159",
    "bits of joiners": "a\u200c\u200d\u200db",
    "joiners between Latin letters": "a\u200db\u200cc",
    "joiners in a row": "\u0645\u200c\u200c\u062e",
    "joiners at the ends": "\u200d\u0645\u200d",
    "an emoji joined with nothing": "\U0001f468\u200d",
    "zero width": "a\u200b\u2060\ufeff\xadb",
    "noncharacters": "\ufdd0\ufffe\U0010ffff",
}


def code_points(ranges: str) -> set[int]:
    ends = [[int(end, 16) for end in one.split("..")] for one in ranges.split()]
    return {code for one in ends for code in range(one[0], one[-1] + 1)}


def test_every_character_that_acts_or_hides_is_escaped() -> None:
    """By Unicode's own lists, each alone; nothing that is assigned and seen."""
    ignorable = code_points(DEFAULT_IGNORABLE)
    assert len(ignorable) == 4174
    escaped = set()
    for code in range(sys.maxunicode + 1):
        one = chr(code)
        category = unicodedata.category(one)
        acts = category in ("Cc", "Cf", "Zl", "Zp", "Cs") and code not in VISIBLE_FORMAT
        if acts or code in ignorable or code in BLANK:
            assert safe(one) == (
                f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
            )
            assert safe(json_safe(one)) == json_safe(one)
            assert json.loads(f'"{json_safe(one)}"') == one
            escaped.add(code)
        elif category != "Cn":
            assert safe(one) == one
            assert json_safe(one) == one
    assert ignorable <= escaped


@pytest.mark.parametrize("text", WORDS.values(), ids=WORDS)
def test_words_and_emoji_stay_as_they_are(text: str) -> None:
    assert safe(f"so {text}.") == f"so {text}."
    assert json_safe(f'{{"a":"{text}"}}') == f'{{"a":"{text}"}}'


@pytest.mark.parametrize("text", PAYLOADS.values(), ids=PAYLOADS)
def test_nothing_invisible_is_left_of_a_payload(text: str) -> None:
    """But the one selector that makes an emoji of the heart."""
    hiding = code_points(DEFAULT_IGNORABLE) | BLANK | {0xFDD0, 0xFFFE, 0x10FFFF}
    left = [one for one in safe(text).replace("\u2764\ufe0f", "", 1) if ord(one) in hiding]
    assert left == []
    assert json.loads(f'"{json_safe(text)}"') == text


def test_of_the_marks_on_one_character_four_stay() -> None:
    assert safe("a" + "\u0301" * 4 + "b") == "a" + "\u0301" * 4 + "b"
    assert safe("a" + "\u0301" * 6 + "b") == "a" + "\u0301" * 4 + r"\u0301\u0301" + "b"
    assert safe("e\u20dd\u0488\u0300\u0301\u0302") == "e\u20dd\u0488\u0300\u0301" + r"\u0302"


def test_every_mark_counts() -> None:
    """Whatever block it is from."""
    for code in range(sys.maxunicode + 1):
        one = chr(code)
        if unicodedata.category(one) in ("Mn", "Me") and safe(one) == one:
            assert safe("a" + one * 6).startswith("a" + one * 4 + "\\")
            assert one * 5 not in safe("a" + one * 6)


@given(st.text(st.sampled_from("a\u0301\u0915\u094d\u200d\u200c\ufe0f\u2764\U0001f468\U000e0100 1\u20e3\u0645")))
def test_the_same_text_to_a_parser_and_nothing_to_escape_is_left(text: str) -> None:
    assert json.loads(f'"{json_safe(text)}"') == text
    assert safe(safe(text)) == safe(text)
    assert "\u200d\u200d" not in safe(text)
    assert "\ufe0f\ufe0f" not in safe(text)


def test_a_payload_in_a_log_is_seen_on_the_way_out(run: Cli) -> None:
    """Text, JSON and Markdown: what a session says to a model its reader sees, too."""
    payload = "".join(chr(0xE0100 + byte) for byte in b"obey me")
    run.append("hiding", user(f"hello{payload}"), assistant("\u3164\u3164"))
    for args in (("show", "hiding"), ("show", "hiding", "--json"), ("log", "hiding"), ("search", "hello")):
        out = run(*args).stdout
        assert payload[0] not in out
        assert "\u3164" not in out
    assert r"\U000e016f" in run("search", "hello").stdout
    exported = run("export", "hiding", "--format", "markdown").stdout
    assert payload[0] not in exported
    assert "\u3164" not in exported
