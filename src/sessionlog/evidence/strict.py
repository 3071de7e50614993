"""Strict spellings that every format here shares: base64, decimals, hex and LF-ended lines, each with one encoding.

A value that has two spellings lets two copies of one proof differ, so each parser takes the canonical one alone.
"""

import base64
import binascii
import re
from typing import Final

from .errors import InvalidEvidence

NUMBER_MAX: Final = 2**63 - 1
"""The largest size, index, count or time: what a signed 64-bit integer holds."""
HASH_BYTES: Final = 32

_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_HASH_HEX: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


def parse_decimal(text: str, what: str) -> int:
    """Return a number of 0 to ``NUMBER_MAX``, written without sign or leading zeros. Raises InvalidEvidence."""
    if _DECIMAL.fullmatch(text) is None or (number := int(text)) > NUMBER_MAX:
        raise InvalidEvidence(f"{what} must be a plain decimal number below 2^63, not {shown(text)}")
    return number


def parse_base64(text: str, what: str, *, size: int | None = None) -> bytes:
    """Return what canonical base64 (RFC 4648 section 4, padded) stands for, of ``size`` bytes. Raises InvalidEvidence.

    Python's strict mode takes stray bits in the last character; encoding the result again does not.
    """
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:
        raise InvalidEvidence(f"{what} is not base64: {shown(text)}") from error
    if encode_base64(data) != text:
        raise InvalidEvidence(f"{what} is not canonical base64: {shown(text)}")
    if size is not None and len(data) != size:
        raise InvalidEvidence(f"{what} has {len(data)} bytes, not {size}")
    return data


def encode_base64(data: bytes) -> str:
    """Return ``data`` in base64, padded."""
    return base64.b64encode(data).decode("ascii")


def parse_hash_hex(text: str, what: str) -> bytes:
    """Return the 32 bytes that 64 lower-case hex digits stand for. Raises InvalidEvidence."""
    if _HASH_HEX.fullmatch(text) is None:
        raise InvalidEvidence(f"{what} must be 64 lower-case hex digits, not {shown(text)}")
    return bytes.fromhex(text)


def parse_text(data: bytes, what: str) -> str:
    """Return UTF-8 text without control characters below U+0020 but LF. Raises InvalidEvidence."""
    for byte in data:
        if byte < 0x20 and byte != 0x0A:
            raise InvalidEvidence(f"{what} holds the control character {byte:#04x}")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidEvidence(f"{what} is not UTF-8: {error}") from error


def split_lines(text: str, what: str) -> list[str]:
    """Return the lines of ``text``, each of which ends in LF. Raises InvalidEvidence if the last one does not."""
    if not text:
        return []
    if not text.endswith("\n"):
        raise InvalidEvidence(f"{what} does not end in a line feed")
    return text[:-1].split("\n")


def check_size(data: bytes, bytes_max: int, what: str) -> None:
    """Raise InvalidEvidence if ``data`` is longer than ``bytes_max``."""
    if len(data) > bytes_max:
        raise InvalidEvidence(f"{what} has {len(data)} bytes, more than the {bytes_max} allowed")


def shown(text: str) -> str:
    """Return foreign text as a message may show it: quoted, escaped and short."""
    quoted = ascii(text)
    return quoted if len(quoted) <= 80 else f"{quoted[:77]}..."
