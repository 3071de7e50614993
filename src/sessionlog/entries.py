"""Entries: what a record says, as frozen structs, and their one encoding (FORMAT sections 2, 4 and 9).

``decode_entry(encode_entry(e)) == e`` for every entry that ``encode_entry`` lets through. That is the very check: JSON
libraries write NaN as ``null``, integer keys as strings and raw fragments unread, all without a word, so an entry is
accepted only if what would be stored decodes to what was given. Anything else is :class:`InvalidEntry`, before a byte
is written. A kind that this version does not know decodes to :class:`UnknownEntry` with all its members.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

from .errors import InvalidEntry
from .items import Item

FORMAT: Final = "sessionlog/1"
NESTING_DEPTH_MAX: Final = 64
INTEGER_MIN: Final = -(2**63)
INTEGER_MAX: Final = 2**64 - 1
ENVELOPE_MEMBERS: Final = ("hash", "prev_hash", "seq", "kind", "ts")

Outcome: TypeAlias = Literal["finished", "paused", "limit_reached", "yielded", "error"]
"""How a run ended."""


class RequestConfig(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """How the model is asked; members that are not set are left to the provider."""

    model: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: Sequence[str] = msgspec.field(default_factory=list)


class SessionOrigin(msgspec.Struct, frozen=True, gc=False):
    """The record of another session from which a session was made (FORMAT section 7)."""

    session_id: str
    at_hash: str


class SessionStart(
    msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True, tag_field="kind", tag="session_start"
):
    """Always the first record: binds the chain to its session and seeds the state."""

    ts: int
    format: str
    session_id: str
    system_prompt: str | None = None
    config: RequestConfig
    history: Sequence[Item]
    forked_from: SessionOrigin | None = None
    compacted_from: SessionOrigin | None = None
    title: str | None = None
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)


class UserInput(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="kind", tag="user_input"):
    """One user message."""

    ts: int
    item: Item


class AssistantItems(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="kind", tag="assistant_items"):
    """Assistant messages, tool calls and reasoning, in the order in which the model gave them."""

    ts: int
    items: Sequence[Item]


class ToolResults(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="kind", tag="tool_results"):
    """Tool results."""

    ts: int
    items: Sequence[Item]


class HookInjectedItems(
    msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="kind", tag="hook_injected_items"
):
    """Anything else that was put into the history."""

    ts: int
    items: Sequence[Item]


class TurnEnd(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="kind", tag="turn_end"):
    """A turn is over; ``turn_count`` counts it in."""

    ts: int
    turn_count: int


class Locked(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="kind", tag="locked"):
    """The first ``locked_prefix_len`` items of the history are fixed from here on (KV cache)."""

    ts: int
    locked_prefix_len: int


class CacheUnlocked(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="kind", tag="cache_unlocked"):
    """The locked prefix is free again."""

    ts: int


class RunOutcome(
    msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True, tag_field="kind", tag="run_outcome"
):
    """How a run ended. The state takes ``interrupted`` only; the rest is for audits."""

    ts: int
    outcome: Outcome
    message: str | None = None
    interrupted: bool


class ConfigChanged(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="kind", tag="config_changed"):
    """The request configuration from here on."""

    ts: int
    config: RequestConfig


class LlmUsage(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="kind", tag="llm_usage"):
    """What one model request cost, in tokens; ``input_total_tokens`` is the whole prompt, as the provider says."""

    ts: int
    history_len: int
    input_total_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int


class LabelsChanged(
    msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True, tag_field="kind", tag="labels_changed"
):
    """What the session is called and filed under from here on; what is not named stays as it was.

    ``title`` ``None`` takes the title away; a label of ``None`` takes that label away.
    """

    ts: int
    title: str | msgspec.UnsetType | None = msgspec.UNSET
    labels: Mapping[str, str | None] = msgspec.field(default_factory=dict)


class Extension(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="kind", tag="extension"):
    """An application's own record: ``payload`` is any JSON value, untouched by the core."""

    ts: int
    domain: str
    payload: Any


class AgentEventEntry(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="kind", tag="agent_event"):
    """One runtime event (loops, turns, tools), any JSON value here; the loop tree is folded from these."""

    ts: int
    event: Any


class UnknownEntry(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """An entry of a kind that this version does not know: kept, listed, skipped by the folds.

    ``members`` holds what follows ``kind`` and ``ts``, in the order of the line.
    """

    kind: str
    ts: int
    members: Mapping[str, Any] = msgspec.field(default_factory=dict)


class _CacheLocked(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="kind", tag="cache_locked"):
    """``locked`` under its old name: read, never written."""

    ts: int
    locked_prefix_len: int


KnownEntry: TypeAlias = (
    SessionStart
    | UserInput
    | AssistantItems
    | ToolResults
    | HookInjectedItems
    | TurnEnd
    | Locked
    | CacheUnlocked
    | RunOutcome
    | ConfigChanged
    | LlmUsage
    | LabelsChanged
    | Extension
    | AgentEventEntry
)
LogEntry: TypeAlias = KnownEntry | UnknownEntry
"""What a record can say: one of the known kinds, or one that this version does not know."""

_KNOWN_TYPES: Final[tuple[type[KnownEntry], ...]] = KnownEntry.__args__
KINDS: Final = frozenset(str(struct.__struct_config__.tag) for struct in _KNOWN_TYPES) | {"cache_locked"}

_encode = msgspec.json.Encoder().encode
_encode_msgpack = msgspec.msgpack.Encoder().encode
_decode_known = msgspec.json.Decoder(KnownEntry | _CacheLocked).decode
_decode_any = msgspec.json.Decoder().decode
_INTEGERS: Final[dict[type, tuple[str, ...]]] = {
    struct: tuple(field.name for field in msgspec.structs.fields(struct) if field.type is int)
    for struct in _KNOWN_TYPES
}
_NUMBERS: Final = ("max_tokens", "temperature", "top_p", "top_k")
_FREE_MEMBERS: Final[dict[type, str]] = {Extension: "payload", AgentEventEntry: "event"}

_WITH_MORE_NUMBERS: Final = frozenset(
    {SessionStart, ConfigChanged, *_FREE_MEMBERS, *(struct for struct, names in _INTEGERS.items() if names != ("ts",))}
)
"""The kinds that hold numbers beside ``ts``."""
_LOOKED_INTO: Final = _WITH_MORE_NUMBERS | {_CacheLocked}


class _KindOnly(msgspec.Struct):
    kind: str


def entry_kind(entry: LogEntry) -> str:
    """Return the ``kind`` member that the entry is written under."""
    return entry.kind if isinstance(entry, UnknownEntry) else str(type(entry).__struct_config__.tag)


def encode_entry(entry: LogEntry) -> bytes:
    """Return the entry's compact JSON: ``{"kind":…,"ts":…, …}``, non-ASCII as is.

    Raises :class:`InvalidEntry` for whatever would not come back equal: NaN, infinities, lone surrogates, integers past
    64 bits, keys that are no strings, raw fragments, wrong types, nesting deeper than 64.
    """
    struct = type(entry)
    if struct not in _INTEGERS:
        return _encode_unknown(entry)
    ts = entry.ts
    if type(ts) is not int or not INTEGER_MIN <= ts <= INTEGER_MAX or struct in _WITH_MORE_NUMBERS:
        _check_numbers(entry)
    free = _FREE_MEMBERS.get(struct)
    try:
        data = _encode(entry)
        decoded = _decode_known(data)
    except (ValueError, TypeError, RecursionError) as error:
        if free is not None:
            _check_json(getattr(entry, free), free, depth=2)
        raise _invalid(f"{entry_kind(entry)}: {_advice(error)}") from error
    if decoded != entry:
        if free is not None:
            _check_json(getattr(entry, free), free, depth=2)
        _check_same(entry, decoded, entry_kind(entry))
    if free is not None:
        _check_free(getattr(entry, free), free, data)
    return data


def encode_event_entry(event: Any, *, ts: int) -> bytes:
    """Return what :func:`encode_entry` does for an agent event that is JSON for sure: a decoder has just made it."""
    return wrap_event(_encode(event), ts=ts)


def wrap_event(encoded: bytes, *, ts: int) -> bytes:
    """Return the entry's JSON for an agent event that is encoded already, and that a log can hold."""
    return b'{"kind":"agent_event","ts":%d,"event":%b}' % (ts, encoded)


def written_otherwise(lines: Iterable[bytes], seq: int, *, members_at: int) -> Iterator[int]:
    """Yield the positions of the records among ``lines`` that are not, to the byte, what :func:`encode_entry` writes.

    Any other record holds an entry that it lets through, written as it writes it: compact, no member twice or unknown,
    numbers and nesting within the limits, and no second ``session_start``. The envelope is not compared. The positions
    that are yielded need a closer look, which may find nothing wrong.

    Args:
        lines: Lines of consecutive records, without LF.
        seq: The position of the first of them.
        members_at: The byte at which a record's own members begin if its position has one digit.
    """
    decode, encode = _decode_known, _encode  # the loop that every audited byte goes through: written for speed
    digits = len(str(seq))
    members_at += digits - 1
    more_digits_at = 10**digits
    for at, line in enumerate(lines, seq):
        if at == more_digits_at:
            members_at += 1
            more_digits_at *= 10
        try:
            entry: KnownEntry | _CacheLocked = decode(line)
        except (ValueError, RecursionError):
            yield at
            continue
        data = encode(entry)
        if (
            len(line) != members_at + len(data) - 1
            or not line.endswith(data[1:])
            or not INTEGER_MIN <= entry.ts <= INTEGER_MAX
            or (type(entry) in _LOOKED_INTO and not _is_in_place(entry, data, at))
        ):
            yield at


def _is_in_place(entry: "KnownEntry | _CacheLocked", data: bytes, seq: int) -> bool:
    """Tell whether an entry of a kind that its encoding does not tell all of is right where it stands."""
    struct = type(entry)
    if struct is _CacheLocked or (struct is SessionStart and seq):
        return False
    free = _FREE_MEMBERS.get(struct)
    if free is None:
        return is_within_limits(entry, b"", depth=1)
    return is_within_limits(getattr(entry, free), data, depth=2)


def _check_free(value: object, name: str, data: bytes) -> None:
    """Check what equality after the round trip does not show of a free member: 64 bits, and the nesting depth."""
    if not is_within_limits(value, data, depth=2):
        _check_json(value, name, depth=2)


def is_within_limits(value: object, data: bytes, *, depth: int) -> bool:
    """Tell whether a JSON value, encoded in ``data``, keeps to 64 bits and the nesting that a line may have.

    ``depth`` is the nesting depth at which it stands in its line. Both are asked of native code: MessagePack has no
    integers beyond 64 bits, and what holds fewer brackets than the limit, text included, is not nested deeper. Python
    walks the value only if one of them does not settle it.
    """
    try:
        _encode_msgpack(value)
    except (OverflowError, ValueError, TypeError, RecursionError):
        return False
    brackets = data.count(b"{") + data.count(b"[")
    return brackets <= NESTING_DEPTH_MAX - depth or not is_deeper(value, NESTING_DEPTH_MAX - depth + 1)


def is_deeper(value: object, levels: int) -> bool:
    """Tell whether ``value``, a JSON value, nests more than ``levels`` containers in each other."""
    if not isinstance(value, dict | list | tuple):
        return False
    if not levels:
        return True
    members = value.values() if isinstance(value, dict) else value
    return any(isinstance(member, dict | list | tuple) and is_deeper(member, levels - 1) for member in members)


def _check_numbers(entry: LogEntry) -> None:
    """Check every integer of the entry."""
    for name in _INTEGERS[type(entry)]:
        _check_integer(getattr(entry, name), name)
    if isinstance(entry, SessionStart | ConfigChanged):
        for name in _NUMBERS:
            number = getattr(entry.config, name, None)
            if isinstance(number, int):  # also where a float is declared: 2**64 would be written as an integer
                _check_integer(number, f"config.{name}")


def decode_entry(data: bytes | memoryview) -> LogEntry:
    """Return the entry in ``data``: its own JSON, or a whole record line (the envelope is passed over).

    Raises ``ValueError`` when it is no JSON or a known kind does not decode.
    """
    try:
        entry: KnownEntry | _CacheLocked = _decode_known(data)
    except msgspec.ValidationError:
        kind = msgspec.json.decode(data, type=_KindOnly).kind
        if kind in KINDS:
            raise
        return _unknown(data)
    if isinstance(entry, _CacheLocked):
        return Locked(ts=entry.ts, locked_prefix_len=entry.locked_prefix_len)
    return entry


def _unknown(data: bytes | memoryview) -> UnknownEntry:
    members = _decode_any(data)
    envelope = {name: members.pop(name, None) for name in ENVELOPE_MEMBERS}
    return msgspec.convert({"kind": envelope["kind"], "ts": envelope["ts"], "members": members}, UnknownEntry)


def _encode_unknown(entry: object) -> bytes:
    if not isinstance(entry, UnknownEntry):
        raise InvalidEntry(f"{type(entry).__name__} is no log entry")
    kind, members = entry.kind, entry.members
    if not isinstance(kind, str) or kind in KINDS or not kind:
        raise _invalid(f"{kind!r} cannot be the kind of an UnknownEntry: use the class of that kind")
    if not isinstance(members, Mapping):
        raise _invalid(f"{kind}: the members are no mapping: {_shortened(members)}")
    taken = [name for name in ENVELOPE_MEMBERS if name in members]
    if taken:
        raise _invalid(f"{kind}: the member {taken[0]!r} is the record's own")
    _check_integer(entry.ts, "ts")
    _check_json(members, kind, depth=1)
    try:
        return _encode({"kind": kind, "ts": entry.ts, **members})
    except (ValueError, TypeError) as error:
        raise _invalid(f"{kind}: {_advice(error)}") from error


def _check_integer(value: object, name: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _invalid(f"{name}: {_shortened(value)} is no integer")
    if not INTEGER_MIN <= value <= INTEGER_MAX:
        raise _invalid(f"{name}: {_shortened(value)} does not fit in 64 bits: write it as a string")


def _check_json(value: object, where: str, *, depth: int) -> None:
    """Refuse what JSON cannot hold faithfully; ``depth`` is the nesting depth at which ``value`` stands in its line."""
    if value is None or isinstance(value, str | bool):
        return
    if isinstance(value, int):
        _check_integer(value, where)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise _invalid(f"{where}: {value} is not finite and JSON has no word for it: write null or a string")
    elif isinstance(value, Mapping | list | tuple):
        if depth > NESTING_DEPTH_MAX:
            raise _invalid(f"{where}: nested deeper than {NESTING_DEPTH_MAX}")
        if isinstance(value, Mapping):
            for key, member in value.items():
                if not isinstance(key, str):
                    raise _invalid(f"{where}: the key {_shortened(key)} is no string")
                _check_json(member, f"{where}.{key}", depth=depth + 1)
        else:
            for index, member in enumerate(value):
                _check_json(member, f"{where}[{index}]", depth=depth + 1)
    else:
        raise _invalid(f"{where}: {type(value).__name__} is no JSON value")


def _check_same(given: object, kept: object, where: str) -> None:
    """Refuse ``given`` if ``kept``, what the file would say, differs in more than list for tuple."""
    if isinstance(given, msgspec.Struct) and type(given) is type(kept):
        for name in given.__struct_fields__:
            _check_same(getattr(given, name), getattr(kept, name), f"{where}.{name}")
    elif isinstance(given, list | tuple) and isinstance(kept, list) and len(given) == len(kept):
        for index, (one, other) in enumerate(zip(given, kept, strict=True)):
            _check_same(one, other, f"{where}[{index}]")
    elif isinstance(given, Mapping) and isinstance(kept, dict) and given.keys() == kept.keys():
        for key in given:
            _check_same(given[key], kept[key], f"{where}.{key}")
    elif given != kept:
        raise _invalid(f"{where}: {_shortened(given)} would be kept as {_shortened(kept)}")


def _invalid(reason: str) -> InvalidEntry:
    """Return the refusal, printable even where ``reason`` quotes a key that UTF-8 cannot carry."""
    return InvalidEntry(reason.encode("utf-8", "backslashreplace").decode())


def _shortened(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 256:  # Python refuses to print the longest
        return f"an integer of {value.bit_length()} bits"
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _advice(error: Exception) -> str:
    if isinstance(error, UnicodeEncodeError):
        return "a string holds a lone surrogate, which UTF-8 cannot carry: replace it"
    return str(error)
