"""How the seed spells the tree's structs in JSON: a table, and the little that reads and writes by it.

A :class:`Spelling` turns a value into the seed's JSON (``write``) and the seed's JSON into ours (``read``), which
msgspec then decodes and checks. Whatever the table does not name is spelt alike on both sides; free JSON (metadata,
arguments, payloads) is passed through untouched.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple, get_args

import msgspec

from .blocks import CompactedSection, CompactionBlock, TurnRange
from .events import EVENT_TYPES, StreamDelta, TextDelta, ThinkingDelta, ToolCallDelta, encode_event
from .kinds import (
    Branch,
    Compaction,
    Default,
    Explicit,
    FirstLoop,
    InactivityTimeout,
    Initial,
    LoopConfigSnapshot,
    LoopStatus,
    Rerun,
    TurnId,
    TurnTrigger,
)
from .messages import (
    AssistantMessage,
    ExtensionMessage,
    Image,
    StopReason,
    Text,
    Thinking,
    ToolCallContent,
    ToolResult,
    ToolResultMessage,
    UserMessage,
)
from .model import ChildLoopRef, LoopEvent, LoopRecord, ParallelGroupRecord, Session, SpawnRef, Turn
from .usage import Usage


class Spelling(NamedTuple):
    """One type's two directions."""

    read: Callable[[Any], Any]
    write: Callable[[Any], Any]


_CAMEL: Final = {
    "turn_id": "turnId",
    "node_id": "nodeId",
    "parent_id": "parentId",
    "provenance_hint": "provenanceHint",
    "stop_reason": "stopReason",
    "tool_call_id": "toolCallId",
    "tool_name": "toolName",
    "is_error": "isError",
}
_MARKS: Final = ("turn_id", "node_id", "parent_id", "tags", "provenance_hint")
_RENAMED: Final[Mapping[type, Mapping[str, str]]] = {
    Image: {"mime_type": "mimeType"},
    UserMessage: _CAMEL,
    AssistantMessage: _CAMEL,
    ToolResultMessage: _CAMEL,
    TurnId: {"loop_id": "loopId", "turn_index": "turnIndex"},
    TurnRange: {"start_turn": "startTurn", "end_turn": "endTurn"},
    CompactionBlock: {"created_at": "createdAt"},
}
_LEFT_OUT_WHEN_EMPTY: Final[Mapping[type, Iterable[str]]] = {
    Image: ("url",),
    Thinking: ("signature",),
    UserMessage: _MARKS,
    AssistantMessage: (*_MARKS, "error_message"),
    ToolResultMessage: _MARKS,
    ToolResult: ("child_loop_id",),
    LoopConfigSnapshot: tuple(
        name for name in LoopConfigSnapshot.__struct_fields__ if name not in {"model", "provider", "config_id"}
    ),
    CompactionBlock: ("keep_first", "keep_recent", "keep_compacted"),
    Turn: ("request_payload",),
    LoopRecord: ("compaction_block",),
}


def _same(data: Any) -> Any:
    return data


def _struct(struct: Any) -> Spelling:
    """Spell a struct by the tables: members by name, ``null`` and missing ones as their defaults."""
    renamed = _RENAMED.get(struct, {})
    left_out = _LEFT_OUT_WHEN_EMPTY.get(struct, ())
    names: tuple[str, ...] = struct.__struct_fields__
    config = struct.__struct_config__
    tag = {} if config.tag is None else {config.tag_field: config.tag}
    is_delta = struct in get_args(StreamDelta)  # whose own "delta" is a text

    def spelling(name: str) -> Spelling:
        return _FREE if is_delta else _MEMBERS.get(name, _FREE)

    def read(data: Any) -> Any:
        if not isinstance(data, Mapping):
            raise TypeError(f"{struct.__name__} is no object")
        members = dict(tag)
        for name in names:
            value = data.get(renamed.get(name, name))
            if value is None:
                value = data.get(name)
            if value is not None:
                members[name] = spelling(name).read(value)
        return members

    def write(value: Any) -> Any:
        members: dict[str, Any] = dict(tag)
        for name in names:
            member = getattr(value, name)
            if name not in left_out or member not in (None, []):
                member = None if member is None else spelling(name).write(member)
                members[renamed.get(name, name)] = member
        return members

    return Spelling(read, write)


def _listed(item: Spelling) -> Spelling:
    def read(data: Any) -> Any:
        if not isinstance(data, list):
            raise TypeError("a list is no array")
        return [item.read(element) for element in data]

    return Spelling(read, lambda values: [item.write(value) for value in values])


def _tagged(structs: Iterable[Any], *, unknown: Spelling | None = None) -> Spelling:
    """Spell a union whose members carry their tag beside their own members, as they do here."""
    by_type = {struct: _struct(struct) for struct in structs}
    by_tag = {struct.__struct_config__.tag: spelling for struct, spelling in by_type.items()}
    tag_field = next(iter(by_type)).__struct_config__.tag_field

    def read(data: Any) -> Any:
        tag = data.get(tag_field) if isinstance(data, Mapping) else None
        spelling = by_tag.get(tag, unknown)
        if spelling is None:
            raise ValueError(f"{tag_field} {tag!r} is none of {', '.join(by_tag)}")
        return spelling.read(data)

    def write(value: Any) -> Any:
        return by_type.get(type(value), unknown or _FREE).write(value)

    return Spelling(read, write)


def _external(variants: Mapping[Any, str]) -> Spelling:
    """Spell a union as ``"Variant"`` where it carries no data, else as ``{"Variant": {…}}``."""
    by_name = {name: struct for struct, name in variants.items()}

    def read(data: Any) -> Any:
        variant = {data: {}} if isinstance(data, str) else data
        name, members = (
            next(iter(variant.items())) if isinstance(variant, Mapping) and len(variant) == 1 else (data, {})
        )
        if not isinstance(name, str) or name not in by_name:
            raise ValueError(f"{name!r} is none of {', '.join(by_name)}")
        return _struct(by_name[name]).read(members or {})

    def write(value: Any) -> Any:
        members = _struct(type(value)).write(value)
        del members[type(value).__struct_config__.tag_field]
        return {variants[type(value)]: members} if members else variants[type(value)]

    return Spelling(read, write)


def _enum(names: Mapping[StrEnum, str], **old_names: StrEnum) -> Spelling:
    """Spell an enum by the seed's names of its variants, and read their old names."""
    by_name = {**old_names, **{name: member for member, name in names.items()}}

    def read(data: Any) -> Any:
        if not isinstance(data, str) or data not in by_name:
            raise ValueError(f"{data!r} is none of {', '.join(by_name)}")
        return by_name[data].value

    return Spelling(read, lambda value: names[value])


def _pascal(member: StrEnum) -> str:
    return "".join(word.capitalize() for word in member.value.split("_"))


def _camel(member: StrEnum) -> str:
    pascal = _pascal(member)
    return pascal[:1].lower() + pascal[1:]


_FREE: Final = Spelling(_same, msgspec.to_builtins)
_MESSAGE: Final = _tagged((UserMessage, AssistantMessage, ToolResultMessage, ExtensionMessage))
_MESSAGES: Final = _listed(_MESSAGE)
_SECTION: Final = _struct(CompactedSection)
_TOOL_RESULT: Final = _struct(ToolResult)
_MEMBERS: Final[dict[str, Spelling]] = {
    "block": _struct(CompactionBlock),
    "child_loop_refs": _listed(_struct(ChildLoopRef)),
    "compaction_block": _struct(CompactionBlock),
    "config": _struct(LoopConfigSnapshot),
    "config_snapshot": _struct(LoopConfigSnapshot),
    "content": _listed(_tagged((Text, Image, Thinking, ToolCallContent))),
    "continuation_kind": _external({kind: kind.__name__ for kind in (Initial, Default, Rerun, Branch, Compaction)}),
    "delta": _external({TextDelta: "Text", ThinkingDelta: "Thinking", ToolCallDelta: "ToolCallDelta"}),
    "evaluation_usage": _struct(Usage),
    "event": _tagged(EVENT_TYPES.values(), unknown=Spelling(_same, encode_event)),
    "events": _listed(_struct(LoopEvent)),
    "formation": _external({kind: kind.__name__ for kind in (Explicit, FirstLoop, InactivityTimeout)}),
    "input_messages": _MESSAGES,
    "keep_compacted": _SECTION,
    "keep_first": _struct(TurnRange),
    "keep_recent": _SECTION,
    "loops": _listed(_struct(LoopRecord)),
    "message": _MESSAGE,
    "messages": _MESSAGES,
    "output_message": _MESSAGE,
    "parallel_group": _struct(ParallelGroupRecord),
    "parent_spawn_ref": _struct(SpawnRef),
    "partial_result": _TOOL_RESULT,
    "range": _struct(TurnRange),
    "result": _TOOL_RESULT,
    "status": _enum({status: _pascal(status) for status in LoopStatus}),
    "stop_reason": _enum({reason: _camel(reason) for reason in StopReason}),
    "tool_results": _MESSAGES,
    "triggered_by": _enum({trigger: _pascal(trigger) for trigger in TurnTrigger}, FollowUp=TurnTrigger.CONTINUATION),
    "turn_id": _struct(TurnId),
    "turns": _listed(_struct(Turn)),
    "usage": _struct(Usage),
}
"""How the members of these names are spelt, in whichever struct they stand."""

SESSION: Final = _struct(Session)
"""How the whole document is spelt."""
