"""How one record is shown: a line, its full text, or an object."""

import msgspec

from .. import CorruptLog, Damage, HashedEntry, entry_kind
from .output import Output, Segment
from .summary import describe_entry, summarize_entry
from .text import one_line, safe, short, utc

_KIND_CHARS = 15
_KIND_CHARS_MAX = 24
"""Kinds that are not known may be of any length."""
_KIND_STYLES = {
    "session_start": "bold",
    "user_input": "bold green",
    "assistant_items": "blue",
    "tool_results": "magenta",
    "extension": "dim",
    "llm_usage": "dim",
    "turn_end": "dim",
}


async def print_record(out: Output, record: HashedEntry, *, seq_chars: int, full: bool = False) -> None:
    """Print a record as one line (and then in full), or as its JSON object.

    Raises :class:`CorruptLog` if what it says cannot be decoded.
    """
    if out.json:
        await out.object(record_object(record))
        return
    summary = "" if full else summarize_entry(record.entry)
    await out.row(*_record_segments(record, seq_chars=seq_chars), rest=summary)
    if full:
        for line in describe_entry(record.entry):
            await out.line(line, indent=4)
        await out.line()


def _record_segments(record: HashedEntry, *, seq_chars: int) -> list[Segment]:
    """Return position, short hash, time and kind of a record."""
    entry = record.entry
    kind = one_line(safe(entry_kind(entry)), chars_max=_KIND_CHARS_MAX)
    return [
        (f"{record.seq:>{seq_chars}}", "cyan"),
        (f"  {short(record.hash)}", "yellow"),
        (f"  {utc(entry.ts)}", "dim"),
        (f"  {kind:<{_KIND_CHARS}}  ", _KIND_STYLES.get(kind, "")),
    ]


def record_object(record: HashedEntry) -> dict[str, object]:
    """Return the record's members, in the order of its line.

    The envelope is that of the checked offsets: a second ``hash`` further on in the line does not win.
    """
    try:
        members = msgspec.json.decode(record.line, type=dict[str, object])
        msgspec.json.encode(members)
    except (ValueError, OverflowError, RecursionError) as error:
        raise CorruptLog(
            f"the record is no JSON that can be shown: {error}", damage=Damage.JSON, seq=record.seq, offset=None
        ) from error
    return {**members, "hash": record.hash, "prev_hash": record.prev_hash, "seq": record.seq}
