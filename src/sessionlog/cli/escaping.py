"""Which characters of a text are not shown as they are, because they act on a terminal or are not seen at all.

Escaped are the controls, format characters, separators and lone surrogates (they act: Unicode TR9, TR36), and all that
has the property ``Default_Ignorable_Code_Point``, with the few other characters that have no glyph (they hide: a text
can carry a message to a model that its reader does not see). Some of these spell words or emoji, and stay where they
do: a joiner between two letters of a script that joins, or between two emoji; a variation selector right behind an
emoji. Of the marks on one character four stay, the bound of Unicode TS39, section 5.4.
"""

import re
import unicodedata
from collections.abc import Callable
from typing import Final

MARKS_MAX: Final = 4
"""So many marks that take no room may stand on a character."""
_JOINERS: Final = "\u200c\u200d"
_SELECTORS: Final = "\ufe0e\ufe0f"
_ACTING: Final = (
    "\x00-\x1f\x7f-\x9f\u2028-\u202e\ufff9-\ufffb\ud800-\udfff"
    "\U00013430-\U0001343f"  # hieroglyph format controls
)
_IGNORABLE: Final = (  # Default_Ignorable_Code_Point, DerivedCoreProperties.txt of Unicode 16
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_BLANK: Final = "\u2800\U00016fe4\U0001d159"  # braille pattern blank, Khitan filler, musical symbol null notehead
_NONCHARACTERS: Final = "\ufdd0-\ufdef" + "".join(
    f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000)
)
_SUSPECT: Final = re.compile(f"[{_ACTING}{_IGNORABLE}{_BLANK}{_NONCHARACTERS}]")
_SUSPECT_ASCII: Final = re.compile("[\x00-\x1f\x7f]")

_JOINING_SCRIPT: Final = re.compile(  # Arabic to Myanmar, Tagalog to Vedic, and their extensions
    "[\u0620-\u10ff\u1700-\u17b3\u17b6-\u180a\u1810-\u1cff\ua800-\uabff\ufb50-\ufdcf\ufdf0-\ufdff\ufe70-\ufefc"
    "\U00010a00-\U00011fff\U0001e900-\U0001e95f]"
)
_EMOJI: Final = "\xa9\xae\u203c\u2049\u2122\u2139\u2190-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
_BEFORE_SELECTOR: Final = re.compile(f"[{_EMOJI}]")
_BEFORE_EMOJI_JOINER: Final = re.compile(f"[{_EMOJI}\ufe0f]")
_KEYCAP: Final = re.compile("[0-9#*]\ufe0f\u20e3")

_MARKED: Final = re.compile(  # wherever marks are: each such run is looked at one by one
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u0711\u0730-\u074a"
    "\u07a6-\u07b0\u07eb-\u07fd\u0816-\u082d\u0859-\u085b\u0897-\u109f\u135d-\u135f\u1700-\u1cff\u1dc0-\u1dff"
    "\u200c\u200d\u20d0-\u20ff\u2cef-\u2cf1\u2d7f\u2de0-\u2dff\u302a-\u302d\u3099\u309a\ua66f-\ua69f\ua6f0\ua6f1"
    "\ua800-\uabff\ufb1e\ufe0e\ufe0f\ufe20-\ufe2f\U000101fd-\U00011fff\U00016100-\U00016fff\U0001bc9d\U0001bc9e"
    f"\U0001cf00-\U0001cf46\U0001d160-\U0001d24f\U0001da00-\U0001e95f]{{{MARKS_MAX + 1},}}"
)


def escaped(text: str, escape: Callable[[str], str]) -> str:
    """Return ``text`` with each character that acts or hides replaced by what ``escape`` makes of it."""
    if text.isascii():
        return text if text.isprintable() else _SUSPECT_ASCII.sub(lambda match: escape(match[0]), text)
    text = _SUSPECT.sub(lambda match: match[0] if _spells(text, match.start()) else escape(match[0]), text)
    return _MARKED.sub(lambda match: _thinned(match[0], escape), text)


def _spells(text: str, at: int) -> bool:
    """Tell whether a character that could hide is part of a word or an emoji where it stands."""
    one, before, after = text[at], text[max(0, at - 1) : at], text[at + 1 : at + 2]
    if one in _JOINERS:
        in_word = _JOINING_SCRIPT.match(before) and _JOINING_SCRIPT.match(after)
        in_emoji = one == "\u200d" and _BEFORE_EMOJI_JOINER.match(before) and _BEFORE_SELECTOR.match(after)
        return bool(in_word or in_emoji)
    if one in _SELECTORS:
        return bool(_BEFORE_SELECTOR.match(before) or (before and _KEYCAP.match(text, at - 1)))
    return False


def _thinned(run: str, escape: Callable[[str], str]) -> str:
    """Return ``run`` with the marks that are too many for their character escaped."""
    shown: list[str] = []
    marks = 0
    for one in run:
        marks = marks + 1 if one in _JOINERS or unicodedata.category(one) in ("Mn", "Me") else 0
        shown.append(one if marks <= MARKS_MAX else escape(one))
    return "".join(shown)
