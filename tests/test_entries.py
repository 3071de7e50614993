"""Entries: one encoding, everything that goes in comes out, and whatever would not is refused."""

import datetime as dt
import decimal
import enum
import json
import types
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given

from sessionlog import (
    AgentEventEntry,
    AssistantItems,
    CacheUnlocked,
    ConfigChanged,
    EntryHash,
    Extension,
    HookInjectedItems,
    ImagePart,
    InvalidEntry,
    LabelsChanged,
    LlmUsage,
    Locked,
    LogEntry,
    Message,
    Reasoning,
    RefusalPart,
    RequestConfig,
    RunOutcome,
    SessionId,
    SessionOrigin,
    SessionStart,
    TextPart,
    ToolCall,
    ToolResult,
    ToolResults,
    TurnEnd,
    UnknownEntry,
    UserInput,
    assistant_message,
    decode_entry,
    encode_entry,
    entry_kind,
    reasoning,
    system_message,
    tool_call,
    tool_result,
    user_message,
)
from sessionlog.entries import INTEGER_MAX, INTEGER_MIN, KINDS, NESTING_DEPTH_MAX, written_otherwise
from strategies import entries, json_values, later_entries

S = SessionId("s")
ENCODINGS: list[tuple[LogEntry, str]] = [
    (
        SessionStart(ts=1, format="sessionlog/1", session_id=S, config=RequestConfig(), history=[]),
        '{"kind":"session_start","ts":1,"format":"sessionlog/1","session_id":"s","config":{},"history":[]}',
    ),
    (
        SessionStart(
            ts=1,
            format="sessionlog/1",
            session_id=S,
            system_prompt="",
            config=RequestConfig(model="m", max_tokens=1, temperature=0.5, top_p=1.0, top_k=2, stop_sequences=["a"]),
            history=[user_message("hi")],
            forked_from=SessionOrigin(SessionId("a"), EntryHash("b")),
            compacted_from=SessionOrigin(SessionId("c"), EntryHash("d")),
        ),
        (
            '{"kind":"session_start","ts":1,"format":"sessionlog/1","session_id":"s","system_prompt":"","config":{"model":'
            '"m","max_tokens":1,"temperature":0.5,"top_p":1.0,"top_k":2,"stop_sequences":["a"]},"history":[{"type":'
            '"message","role":"user","content":[{"type":"text","text":"hi"}]}],"forked_from":{"session_id":"a","at_hash":'
            '"b"},"compacted_from":{"session_id":"c","at_hash":"d"}}'
        ),
    ),
    (
        UserInput(ts=1, item=Message("user", [TextPart("é\u2028")], id="i", status="completed")),
        (
            '{"kind":"user_input","ts":1,"item":{"type":"message","role":"user","content":[{"type":"text","text":'
            '"é\u2028"}],"id":"i","status":"completed"}}'
        ),
    ),
    (
        AssistantItems(
            ts=1,
            items=[
                assistant_message("a"),
                ToolCall("c", "n", "{", id="i", status="in_progress"),
                tool_call("c", "n", ""),
                Reasoning("r", signature="s", id="i", status="incomplete"),
                reasoning("r"),
                Message("assistant", [ImagePart(data="d", media_type="m", url="u"), ImagePart(), RefusalPart("no")]),
            ],
        ),
        (
            '{"kind":"assistant_items","ts":1,"items":[{"type":"message","role":"assistant","content":[{"type":"text",'
            '"text":"a"}]},{"type":"tool_call","call_id":"c","name":"n","arguments":"{","id":"i","status":"in_progress"},'
            '{"type":"tool_call","call_id":"c","name":"n","arguments":""},{"type":"reasoning","text":"r","signature":"s",'
            '"id":"i","status":"incomplete"},{"type":"reasoning","text":"r"},{"type":"message","role":"assistant",'
            '"content":[{"type":"image","data":"d","media_type":"m","url":"u"},{"type":"image"},{"type":"refusal",'
            '"refusal":"no"}]}]}'
        ),
    ),
    (
        ToolResults(ts=1, items=[ToolResult("c", "s", content="x", is_error=True, id="i"), tool_result("c", "s")]),
        (
            '{"kind":"tool_results","ts":1,"items":[{"type":"tool_result","call_id":"c","summary":"s","content":"x",'
            '"is_error":true,"id":"i"},{"type":"tool_result","call_id":"c","summary":"s"}]}'
        ),
    ),
    (
        HookInjectedItems(ts=1, items=[system_message("s")]),
        (
            '{"kind":"hook_injected_items","ts":1,"items":[{"type":"message","role":"system","content":[{"type":"text",'
            '"text":"s"}]}]}'
        ),
    ),
    (TurnEnd(ts=-1, turn_count=2), '{"kind":"turn_end","ts":-1,"turn_count":2}'),
    (Locked(ts=1, locked_prefix_len=2), '{"kind":"locked","ts":1,"locked_prefix_len":2}'),
    (CacheUnlocked(ts=1), '{"kind":"cache_unlocked","ts":1}'),
    (
        RunOutcome(ts=1, outcome="error", message="m", interrupted=True),
        '{"kind":"run_outcome","ts":1,"outcome":"error","message":"m","interrupted":true}',
    ),
    (
        RunOutcome(ts=1, outcome="limit_reached", interrupted=False),
        '{"kind":"run_outcome","ts":1,"outcome":"limit_reached","interrupted":false}',
    ),
    (ConfigChanged(ts=1, config=RequestConfig()), '{"kind":"config_changed","ts":1,"config":{}}'),
    (
        LlmUsage(ts=1, history_len=2, input_total_tokens=3, cache_read_tokens=4, cache_write_tokens=5, output_tokens=6),
        (
            '{"kind":"llm_usage","ts":1,"history_len":2,"input_total_tokens":3,"cache_read_tokens":4,'
            '"cache_write_tokens":5,"output_tokens":6}'
        ),
    ),
    (LabelsChanged(ts=1), '{"kind":"labels_changed","ts":1}'),
    (LabelsChanged(ts=1, title=None), '{"kind":"labels_changed","ts":1,"title":null}'),
    (
        LabelsChanged(ts=1, title="t", labels={"b": "1", "a": None}),
        '{"kind":"labels_changed","ts":1,"title":"t","labels":{"b":"1","a":null}}',
    ),
    (
        Extension(ts=1, domain="d", payload={"b": [None, True, 1.5], "a": {}}),
        '{"kind":"extension","ts":1,"domain":"d","payload":{"b":[null,true,1.5],"a":{}}}',
    ),
    (AgentEventEntry(ts=1, event={"type": "x"}), '{"kind":"agent_event","ts":1,"event":{"type":"x"}}'),
    (UnknownEntry(kind="new", ts=1, members={"z": 1, "a": [2]}), '{"kind":"new","ts":1,"z":1,"a":[2]}'),
]


class Text(str):
    __slots__ = ()


class Config(RequestConfig, frozen=True):
    more: int = 0


class Start(SessionStart, frozen=True, tag="session_start"):
    pass


def refused(entry: object) -> str:
    """Return the reason for which ``entry`` is refused; it must be printable."""
    with pytest.raises(InvalidEntry) as error:
        encode_entry(entry)  # type: ignore[arg-type]
    assert error.value.reason == str(error.value)
    return error.value.reason.encode().decode()


def extension(payload: object) -> Extension:
    return Extension(ts=1, domain="d", payload=payload)


def config_changed(**members: Any) -> ConfigChanged:
    return ConfigChanged(ts=1, config=msgspec.structs.replace(RequestConfig(), **members))


def unknown(member: object) -> UnknownEntry:
    return UnknownEntry(kind="new", ts=1, members={"m": member})


FREE: list[Callable[[Any], LogEntry]] = [
    extension,
    unknown,
    lambda value: AgentEventEntry(ts=1, event=value),
]
"""The three ways for any JSON value into a log."""


@pytest.mark.parametrize(("entry", "text"), ENCODINGS, ids=range(len(ENCODINGS)))
def test_each_kind_has_one_encoding(entry: LogEntry, text: str) -> None:
    """Members stand in the order of FORMAT section 9, unset ones are left out, nothing is escaped without need."""
    assert encode_entry(entry).decode() == text
    assert decode_entry(text.encode()) == entry


def test_each_kind_is_tested() -> None:
    """The encodings above leave out no kind; ``cache_locked`` is read and never written."""
    assert {entry_kind(entry) for entry, _ in ENCODINGS} == KINDS - {"cache_locked"} | {"new"}


@given(entries)
def test_what_goes_in_comes_out(entry: LogEntry) -> None:
    """Decoding is the inverse of encoding, and any JSON parser sees one compact object: kind first, ts second."""
    data = encode_entry(entry)
    assert decode_entry(data) == entry
    assert b"\n" not in data
    parsed = json.loads(data)
    assert list(parsed)[:2] == ["kind", "ts"]
    assert parsed["kind"] == entry_kind(entry)
    assert encode_entry(decode_entry(data)) == data


@given(json_values)
def test_free_members_hold_any_json(value: object) -> None:
    """Whatever JSON can hold comes back from the members that take any value."""
    for make in FREE:
        entry = make(value)
        assert decode_entry(encode_entry(entry)) == entry


def test_cache_locked_is_read_as_locked() -> None:
    """The old name of ``locked`` is read; the new one is written."""
    entry = decode_entry(b'{"kind":"cache_locked","ts":1,"locked_prefix_len":3}')
    assert entry == Locked(ts=1, locked_prefix_len=3)
    assert encode_entry(entry).startswith(b'{"kind":"locked"')


def test_unknown_kinds_keep_their_members() -> None:
    """A kind that is not known keeps its members, their order and its bytes."""
    data = b'{"kind":"new","ts":5,"z":{"y":1},"a":[1.5,null],"payload":"p"}'
    entry = decode_entry(data)
    assert isinstance(entry, UnknownEntry)
    assert (entry.kind, entry.ts, list(entry.members)) == ("new", 5, ["z", "a", "payload"])
    assert encode_entry(entry) == data


def test_unknown_members_of_known_kinds_are_passed_over() -> None:
    """What a newer version adds to a known kind does not keep it from being read."""
    data = b'{"kind":"user_input","ts":1,"new":[1],"item":{"type":"message","role":"user","content":[],"new":2}}'
    assert decode_entry(data) == UserInput(ts=1, item=Message("user", []))


def test_the_envelope_is_passed_over() -> None:
    """A whole line decodes to its entry, of a known and of an unknown kind."""
    envelope = b'{"hash":"x","prev_hash":null,"seq":0,'
    assert decode_entry(envelope + b'"kind":"turn_end","ts":1,"turn_count":2}') == TurnEnd(ts=1, turn_count=2)
    assert decode_entry(envelope + b'"kind":"new","ts":1,"a":2}') == UnknownEntry(kind="new", ts=1, members={"a": 2})


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{", b"[]", b"null", b"{}", b'{"kind":1,"ts":1}', b'{"kind":"new"}', b'{"kind":"new","ts":"1"}'),
        *(b'{"ts":1,"turn_count":1}', b'{"kind":"turn_end","ts":1}', b'{"kind":"turn_end","ts":1,"turn_count":1.0}'),
        *(b'{"kind":"turn_end","ts":1,"turn_count":"1"}', b'{"kind":"cache_locked","ts":1}'),
        b'{"kind":"run_outcome","ts":1,"outcome":"won","interrupted":false}',
        b'{"kind":"user_input","ts":1,"item":{"type":"poem"}}',
        b'{"kind":"extension","ts":1,"domain":"\xff","payload":1}',
    ],
)
def test_what_is_no_entry_does_not_decode(data: bytes) -> None:
    """Bytes that are no entry, or a known kind with a member missing or of another type, raise ``ValueError``."""
    with pytest.raises(ValueError, match=r"."):
        decode_entry(data)


@pytest.mark.parametrize("make", FREE)
@pytest.mark.parametrize(
    "nest",
    [lambda value: [value], lambda value: {"k": value}, lambda value: (value,)],
    ids=["list", "dict", "tuple"],
)
def test_depth_limit(make: Callable[[Any], LogEntry], nest: Callable[[Any], Any]) -> None:
    """A line nests 64 deep, its own braces counted, and not 65."""
    value: Any = 0
    for _ in range(NESTING_DEPTH_MAX - 1):
        value = nest(value)
    data = encode_entry(make(value))
    assert data.count(b"[") + data.count(b"{") == NESTING_DEPTH_MAX
    assert "deeper than 64" in refused(make(nest(value)))


def test_a_cycle_is_too_deep() -> None:
    """A list that holds itself is refused like any other that nests too deep."""
    cycle: list[object] = []
    cycle.append(cycle)
    for make in FREE:
        assert "deeper" in refused(make(cycle))


INTEGER_PLACES: dict[str, Callable[[Any], LogEntry]] = {
    **{f"free{index}": make for index, make in enumerate(FREE)},
    "nested": lambda value: extension([{"a": value}]),
    "ts": lambda value: CacheUnlocked(ts=value),
    "unknown ts": lambda value: UnknownEntry(kind="new", ts=value),
    "start ts": lambda value: SessionStart(
        ts=value, format="sessionlog/1", session_id=S, config=RequestConfig(), history=[]
    ),
    "start max_tokens": lambda value: SessionStart(
        ts=1, format="sessionlog/1", session_id=S, config=RequestConfig(max_tokens=value), history=[]
    ),
    "turn_count": lambda value: TurnEnd(ts=1, turn_count=value),
    "locked_prefix_len": lambda value: Locked(ts=1, locked_prefix_len=value),
    "max_tokens": lambda value: ConfigChanged(ts=1, config=RequestConfig(max_tokens=value)),
    "top_k": lambda value: ConfigChanged(ts=1, config=RequestConfig(top_k=value)),
    **{
        name: lambda value, name=name: LlmUsage(  # type: ignore[misc]
            **{
                **dict.fromkeys(
                    ("ts", "history_len", "input_total_tokens", "cache_read_tokens", "cache_write_tokens"), 0
                ),
                "output_tokens": 0,
                name: value,
            }
        )
        for name in ("history_len", "input_total_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")
    },
}


@pytest.mark.parametrize("place", INTEGER_PLACES)
def test_integer_limits(place: str) -> None:
    """Integers have 64 bits, signed or unsigned, and not one more; larger ones are refused however large."""
    make = INTEGER_PLACES[place]
    for value in (INTEGER_MIN, INTEGER_MAX, -(2**63), 2**64 - 1, 0):
        entry = make(value)
        assert decode_entry(encode_entry(entry)) == entry
    for value in (2**64, -(2**63) - 1, 10**400, -(10**5000)):
        reason = refused(make(value))
        assert "64 bits" in reason
        assert len(reason) < 200


@pytest.mark.parametrize("name", ["temperature", "top_p"])
def test_integers_where_floats_are_declared(name: str) -> None:
    """An integer may stand for a float, within the same 64 bits: the line would hold it as an integer."""
    assert b":1}" in encode_entry(config_changed(**{name: 1}))
    encode_entry(config_changed(**{name: 2**63}))
    assert "64 bits" in refused(config_changed(**{name: 2**64}))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_floats_are_finite(value: float) -> None:
    """NaN and the infinities, which JSON cannot hold, are refused instead of written as null."""
    for make in FREE:
        assert "finite" in refused(make(value))
        assert "finite" in refused(make({"a": [value]}))
    for name in ("temperature", "top_p"):
        refused(config_changed(**{name: value}))
    refused(TurnEnd(ts=1, turn_count=value))  # type: ignore[arg-type]


@pytest.mark.parametrize("surrogate", ["\ud800", "a\udfff", "\udc00\ud800"])
def test_lone_surrogates_are_refused(surrogate: str) -> None:
    """A string that UTF-8 cannot carry is refused wherever it stands, with a message that can be printed."""
    places: list[LogEntry] = [
        *(make(surrogate) for make in FREE),
        *(make({surrogate: 1}) for make in FREE),
        *(make({surrogate: float("nan")}) for make in FREE),
        UnknownEntry(kind=surrogate, ts=1),
        UnknownEntry(kind="new", ts=1, members={surrogate: 1}),
        Extension(ts=1, domain=surrogate, payload=None),
        RunOutcome(ts=1, outcome="error", message=surrogate, interrupted=False),
        ConfigChanged(ts=1, config=RequestConfig(model=surrogate)),
        ConfigChanged(ts=1, config=RequestConfig(stop_sequences=[surrogate])),
        UserInput(ts=1, item=user_message(surrogate)),
        AssistantItems(ts=1, items=[tool_call(surrogate, "n", "a")]),
        AssistantItems(ts=1, items=[tool_call("c", "n", surrogate)]),
        ToolResults(ts=1, items=[tool_result("c", "s", surrogate)]),
        SessionStart(
            ts=1,
            format="sessionlog/1",
            session_id=S,
            system_prompt=surrogate,
            config=RequestConfig(),
            history=[reasoning(surrogate)],
        ),
    ]
    for entry in places:
        refused(entry)


@pytest.mark.parametrize(
    "value",
    [
        *(b"bytes", bytearray(b"x"), {1, 2}, object(), 1j, decimal.Decimal(1), dt.date(2020, 1, 1)),
        *(msgspec.Raw(b"1"), msgspec.Raw(b"1\n"), msgspec.UNSET, user_message("a"), Text("a"), range(3), iter([])),
        *({1: "a"}, {None: 1}, {b"a": 1}, {(1,): 1}, {True: 1}, {Text("a"): Text("b")}),
    ],
)
def test_what_is_no_json_is_refused(value: object) -> None:
    """Values that JSON has no word for, raw fragments and keys that are no strings are refused, never converted."""
    for make in FREE:
        refused(make(value))
        refused(make([value]))
        refused(make({"a": value}))


RAW = msgspec.Raw(b'"x"')


@pytest.mark.parametrize(
    "entry",
    [
        UserInput(ts=1, item=user_message(RAW)),  # type: ignore[arg-type]
        UserInput(ts=1, item=msgspec.Raw(b'{"type":"message","role":"user","content":[]}')),  # type: ignore[arg-type]
        UserInput(ts=1, item={"type": "message", "role": "user", "content": []}),  # type: ignore[arg-type]
        UserInput(ts=1, item=None),  # type: ignore[arg-type]
        UserInput(ts=1, item=Message("robot", [])),  # type: ignore[arg-type]
        UserInput(ts=1, item=Message("user", None)),  # type: ignore[arg-type]
        UserInput(ts=1, item=Message("user", "text")),  # type: ignore[arg-type]
        UserInput(ts=1, item=Message("user", [TextPart(b"x")])),  # type: ignore[arg-type]
        UserInput(ts=1, item=Message("user", [], status="done")),  # type: ignore[arg-type]
        AssistantItems(ts=1, items=msgspec.Raw(b"[]")),  # type: ignore[arg-type]
        AssistantItems(ts=1, items={user_message("a").role}),  # type: ignore[arg-type]
        AssistantItems(ts=1, items=iter(())),  # type: ignore[arg-type]
        ToolResults(ts=1, items=[ToolResult("c", "s", is_error=1)]),  # type: ignore[arg-type]
        TurnEnd(ts=True, turn_count=1),
        TurnEnd(ts=1, turn_count=True),
        TurnEnd(ts=1, turn_count=1.0),  # type: ignore[arg-type]
        TurnEnd(ts=1, turn_count="1"),  # type: ignore[arg-type]
        TurnEnd(ts=1, turn_count=RAW),  # type: ignore[arg-type]
        RunOutcome(ts=1, outcome="won", interrupted=False),  # type: ignore[arg-type]
        RunOutcome(ts=1, outcome="error", interrupted=0),  # type: ignore[arg-type]
        RunOutcome(ts=1, outcome="error", message=RAW, interrupted=False),  # type: ignore[arg-type]
        ConfigChanged(ts=1, config=None),  # type: ignore[arg-type]
        ConfigChanged(ts=1, config={}),  # type: ignore[arg-type]
        ConfigChanged(ts=1, config=Config(more=1)),
        ConfigChanged(ts=1, config=RequestConfig(max_tokens=1.0)),  # type: ignore[arg-type]
        ConfigChanged(ts=1, config=RequestConfig(max_tokens=True)),
        ConfigChanged(ts=1, config=RequestConfig(temperature=True)),
        ConfigChanged(ts=1, config=RequestConfig(temperature=2**53 + 1)),
        ConfigChanged(ts=1, config=RequestConfig(stop_sequences="ab")),
        ConfigChanged(ts=1, config=RequestConfig(model=msgspec.UNSET)),  # type: ignore[arg-type]
        Extension(ts=1, domain=RAW, payload=1),  # type: ignore[arg-type]
        Extension(ts=1, domain=1, payload=1),  # type: ignore[arg-type]
        Start(ts=1, format="sessionlog/1", session_id=S, config=RequestConfig(), history=[]),
        UnknownEntry(kind="turn_end", ts=1),
        UnknownEntry(kind="cache_locked", ts=1),
        UnknownEntry(kind="", ts=1),
        UnknownEntry(kind=RAW, ts=1),  # type: ignore[arg-type]
        UnknownEntry(kind=["new"], ts=1),  # type: ignore[arg-type]
        UnknownEntry(kind="new", ts=1.5),  # type: ignore[arg-type]
        UnknownEntry(kind="new", ts=True),
        *(UnknownEntry(kind="new", ts=1, members={name: 1}) for name in ("hash", "prev_hash", "seq", "kind", "ts")),
        UnknownEntry(kind="new", ts=1, members=None),  # type: ignore[arg-type]
        UnknownEntry(kind="new", ts=1, members=["a"]),  # type: ignore[arg-type]
        UnknownEntry(kind="new", ts=1, members={1: 2}),  # type: ignore[dict-item]
        user_message("no entry"),
        {"kind": "turn_end", "ts": 1, "turn_count": 1},
        b'{"kind":"turn_end","ts":1,"turn_count":1}',
        None,
    ],
)
def test_what_would_come_back_otherwise_is_refused(entry: object) -> None:
    """An entry that the file would hold as something else is refused: other types, raw fragments, subclasses."""
    assert refused(entry)


def test_sequences_of_any_kind_become_arrays() -> None:
    """Tuples are written as the lists that they come back as."""
    assert encode_entry(extension((1, (2,), {"a": ()}))) == encode_entry(extension([1, [2], {"a": []}]))
    given_tuples = AssistantItems(ts=1, items=(Message("assistant", (TextPart("a"),)),))
    given_lists = AssistantItems(ts=1, items=[Message("assistant", [TextPart("a")])])
    assert encode_entry(given_tuples) == encode_entry(given_lists)
    assert encode_entry(ConfigChanged(ts=1, config=RequestConfig(stop_sequences=("a",)))).endswith(b'["a"]}}')


def test_names_of_a_string_enum_are_strings() -> None:
    """Members of a ``StrEnum`` and read-only mappings are what they equal: strings and objects."""

    class Name(enum.StrEnum):
        A = "a"

    assert encode_entry(extension({"n": Name.A})) == encode_entry(extension({"n": "a"}))
    entry = UnknownEntry(kind="new", ts=1, members=types.MappingProxyType({"a": 1}))
    assert encode_entry(entry) == b'{"kind":"new","ts":1,"a":1}'


def test_reasons_name_the_place() -> None:
    """A refusal says where in the entry the fault is."""
    assert "payload.a[1].b" in refused(extension({"a": [0, {"b": float("nan")}]}))
    assert "new.m[0]" in refused(unknown([{1}]))
    assert "item.content[0].text" in refused(UserInput(ts=1, item=user_message(RAW)))  # type: ignore[arg-type]
    assert "config.top_k" in refused(ConfigChanged(ts=1, config=RequestConfig(top_k=2**64)))
    assert "surrogate" in refused(extension("\ud800"))


def test_message_text_joins_its_parts() -> None:
    """A message's text is that of its text parts alone."""
    assert Message("user", [TextPart("a"), ImagePart(), TextPart("b"), RefusalPart("c")]).text == "ab"


@given(later_entries)
def test_what_is_written_is_as_encoded(entry: LogEntry) -> None:
    """Every entry of a known kind, as this version writes it, passes the quick check; an unknown kind never does."""
    try:
        data = encode_entry(entry)
    except InvalidEntry:
        return
    line = b'{"seq":7,' + data[1:]
    found = list(written_otherwise([line], 7, members_at=9))
    assert found == ([7] if isinstance(entry, UnknownEntry) else [])
    assert list(written_otherwise([line], 7, members_at=8)) == list(written_otherwise([line], 7, members_at=10)) == [7]


def test_a_line_may_be_longer_by_each_digit_of_its_position() -> None:
    """Wherever the lines begin, and whatever power of ten they pass."""
    data = encode_entry(UserInput(ts=1, item=user_message("q")))
    for first in (1, 8, 95, 999, 1000, 99_998):
        lines = [b'{"seq":%d,' % seq + data[1:] for seq in range(first, first + 12)]
        assert list(written_otherwise(lines, first, members_at=9)) == []
        lines[5] = lines[5].replace(b"ts", b"tz")
        assert list(written_otherwise(lines, first, members_at=9)) == [first + 5]


@pytest.mark.parametrize(
    "data",
    [
        b'{"kind":"turn_end","ts":1,"turn_count":1 }',
        b'{"kind":"turn_end","ts":1,"turn_count":1,"turn_count":1}',
        b'{"kind":"turn_end","ts":1,"turn_count":1,"more":1}',
        b'{"ts":1,"kind":"turn_end","turn_count":1}',
        b'{"kind":"turn_end","ts":1,"turn_count":18446744073709551616}',
        b'{"kind":"turn_end","ts":18446744073709551616,"turn_count":1}',
        b'{"kind":"cache_unlocked","ts":18446744073709551616}',
        b'{"kind":"cache_locked","ts":1,"locked_prefix_len":1}',
        b'{"kind":"extension","ts":1,"domain":"d","payload":[1,-9223372036854775809]}',
        b'{"kind":"extension","ts":1,"domain":"d","payload":{"a":1,"a":1}}',
        b'{"kind":"extension","ts":1,"domain":"d","payload":"\\u00e9"}',
        b'{"kind":"extension","ts":1,"domain":"d","payload":' + b"[" * 64 + b"]" * 64 + b"}",
        b'{"kind":"config_changed","ts":1,"config":{"temperature":1}}',
        b'{"kind":"extension","ts":1,"domain":"d","payload":1.50}',
    ],
)
def test_what_is_written_otherwise_is_looked_into(data: bytes) -> None:
    """Whatever this version would not have written so takes the closer look, right or wrong."""
    assert list(written_otherwise([data], 1, members_at=1)) == [1]
