"""Entries of the anchor log: anchors and receipts. Each is a first line that names its kind, then ``name value`` lines.

    sessionlog/anchor/1           sessionlog/receipt/1
    time <unix ms>                time <unix ms>
    sessions <count>              kind delete | accept-loss
    catalog <root, 64 hex>        session <session id>
                                  records <count>
                                  root <root of the session's tree, 64 hex>
                                  by <text>           optional: who deleted it, on the keeper's word
                                  reason <text>       optional

Each line ends in LF, and the names stand in this order. An anchor is the last entry of its run, so the last entry of a
signed log is the newest catalog. Times never decrease, and are the keeper's word: only a cosignature proves a time.
"""

from enum import StrEnum
from typing import Final

import msgspec

from ..ids import is_session_id
from .errors import InvalidEvidence
from .strict import check_size, parse_decimal, parse_hash_hex, parse_text, shown, split_lines
from .tiles import ENTRY_BYTES_MAX

RECEIPT_TEXT_CHARS_MAX: Final = 500
_ANCHOR: Final = "sessionlog/anchor/1"
_RECEIPT: Final = "sessionlog/receipt/1"
_RECEIPT_LINES: Final = ("time", "kind", "session", "records", "root")


class AnchorEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A catalog, as of one run: how many sessions it holds, and its root."""

    time_ms: int
    sessions: int
    catalog: bytes

    def encode(self) -> bytes:
        """Return the entry's bytes; the inverse of :func:`parse_log_entry`."""
        return f"{_ANCHOR}\ntime {self.time_ms}\nsessions {self.sessions}\ncatalog {self.catalog.hex()}\n".encode()


class ReceiptKind(StrEnum):
    """Why a session is gone: it was deleted on purpose, or its loss was accepted."""

    DELETE = "delete"
    ACCEPT_LOSS = "accept-loss"


class ReceiptEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Says that a session is gone: which, with which records, by whom and why."""

    time_ms: int
    kind: ReceiptKind
    session_id: str
    records: int
    root: bytes
    by: str | None = None
    reason: str | None = None

    def encode(self) -> bytes:
        """Return the entry's bytes; the inverse of :func:`parse_log_entry`."""
        values: list[tuple[str, object]] = [
            ("time", self.time_ms),
            ("kind", self.kind.value),
            ("session", self.session_id),
            ("records", self.records),
            ("root", self.root.hex()),
        ]
        values += [(name, text) for name, text in (("by", self.by), ("reason", self.reason)) if text is not None]
        return "".join((f"{_RECEIPT}\n", *(f"{name} {value}\n" for name, value in values))).encode()


def receipt_text(text: str | None) -> str | None:
    """Return what a receipt can hold of ``text``: one line, without control characters, cut at the limit.

    The store's own record of the deletion keeps the whole text, and is anchored as every record is.
    """
    if text is None:
        return None
    line = "".join(char if char.isprintable() else " " for char in text[:RECEIPT_TEXT_CHARS_MAX])
    return " ".join(line.split()) or None


def parse_log_entry(data: bytes) -> AnchorEntry | ReceiptEntry:
    """Return what an entry of the anchor log says. Raises :class:`InvalidEvidence`."""
    check_size(data, ENTRY_BYTES_MAX, "an entry of the anchor log")
    lines = split_lines(parse_text(data, "an entry of the anchor log"), "an entry of the anchor log")
    kind, rest = (lines[0], lines[1:]) if lines else ("", [])
    pairs = [(name, value) for name, _, value in (line.partition(" ") for line in rest)]
    names = tuple(name for name, _ in pairs)
    values = dict(pairs)
    if kind == _ANCHOR and names == ("time", "sessions", "catalog"):
        return AnchorEntry(
            time_ms=parse_decimal(values["time"], "the time of an anchor"),
            sessions=parse_decimal(values["sessions"], "the number of sessions"),
            catalog=parse_hash_hex(values["catalog"], "the root of the catalog"),
        )
    optional = tuple(name for name in ("by", "reason") if name in values)
    if kind == _RECEIPT and names == (*_RECEIPT_LINES, *optional):
        return _receipt(values)
    raise InvalidEvidence(f"not an entry of an anchor log that is known here: {shown(kind)}")


def _receipt(values: dict[str, str]) -> ReceiptEntry:
    if values["kind"] not in tuple(ReceiptKind):
        raise InvalidEvidence(f"not a kind of receipt that is known here: {shown(values['kind'])}")
    if not is_session_id(values["session"]):
        raise InvalidEvidence(f"a receipt names no session: {shown(values['session'])}")
    by, reason = values.get("by"), values.get("reason")
    if by != receipt_text(by) or reason != receipt_text(reason):
        raise InvalidEvidence("a text of a receipt is empty, too long or no plain line")
    return ReceiptEntry(
        time_ms=parse_decimal(values["time"], "the time of a receipt"),
        kind=ReceiptKind(values["kind"]),
        session_id=values["session"],
        records=parse_decimal(values["records"], "the number of records"),
        root=parse_hash_hex(values["root"], "the root of a session"),
        by=by,
        reason=reason,
    )


__all__ = [
    "RECEIPT_TEXT_CHARS_MAX",
    "AnchorEntry",
    "ReceiptEntry",
    "ReceiptKind",
    "parse_log_entry",
    "receipt_text",
]
