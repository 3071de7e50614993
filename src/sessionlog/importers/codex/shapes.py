"""The shapes of a rollout's lines, as far as they matter here, as frozen structs; parsing is lenient.

Today every line is ``{timestamp, type, payload}``. Older rollouts start with a header that has no ``type`` and go on
with bare items and ``{record_type: "state"}`` lines: :func:`parse_line` reads both alike.
"""

import re
from typing import Any, Final

import msgspec

from ..values import is_word, stamp_ms

_BARE_TYPES: Final = frozenset(
    (
        "message",
        "reasoning",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
        "local_shell_call",
        "web_search_call",
    )
)
_UUID_AT_END: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")


class Part(msgspec.Struct, frozen=True, gc=False):
    """A part of a message's content or of a reasoning's summary."""

    type: str
    text: str | None = None
    image_url: str | None = None


class ResponseItem(msgspec.Struct, frozen=True):
    """What the model was sent or gave back; which members are set depends on ``type``."""

    type: str
    id: str | None = None
    role: str | None = None
    content: list[Part] | str | None = None
    summary: list[Part] | None = None
    encrypted_content: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    input: str | None = None
    action: Any = None
    output: Any = None


class Meta(msgspec.Struct, frozen=True):
    """The header: which thread this is, and which one it comes from."""

    id: str
    cwd: str | None = None
    cli_version: str | None = None
    forked_from_id: str | None = None
    parent_thread_id: str | None = None
    source: Any = None
    agent_nickname: str | None = None
    agent_role: str | None = None
    base_instructions: Any = None
    model_provider: Any = None

    @property
    def spawned_by(self) -> str | None:
        """The thread that spawned this one."""
        if self.parent_thread_id is not None:
            return self.parent_thread_id
        place = self.source
        for name in ("subagent", "thread_spawn", "parent_thread_id"):
            place = place.get(name) if isinstance(place, dict) else None
        return place if isinstance(place, str) else None

    @property
    def system_prompt(self) -> str | None:
        """What the model was told first."""
        text = self.base_instructions.get("text") if isinstance(self.base_instructions, dict) else None
        return text if isinstance(text, str) else None


class TokenUsage(msgspec.Struct, frozen=True, gc=False):
    """Tokens; ``input_tokens`` is the whole prompt, those read from cache included."""

    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None


class TokenInfo(msgspec.Struct, frozen=True):
    """What the last request cost, and all of the thread's so far."""

    total_token_usage: TokenUsage | None = None
    last_token_usage: TokenUsage | None = None


class Event(msgspec.Struct, frozen=True):
    """The payload of an ``event_msg``."""

    type: str
    message: str | None = None
    text: str | None = None
    info: TokenInfo | None = None
    num_turns: int | None = None
    reason: str | None = None
    call_id: str | None = None
    new_thread_id: str | None = None
    kind: Any = None
    agent_thread_id: str | None = None

    @property
    def spawned_thread(self) -> str | None:
        """The thread that was spawned here: as versions before 0.145 say it, or as those since then do."""
        if self.type == "sub_agent_activity" and self.kind == "started":
            return self.agent_thread_id
        return self.new_thread_id if self.type == "collab_agent_spawn_end" else None

    @property
    def words(self) -> str | None:
        """What somebody said."""
        return self.message if self.text is None else self.text


class Compacted(msgspec.Struct, frozen=True):
    """The payload of a ``compacted`` line: what takes the place of the history."""

    message: str | None = None
    replacement_history: list[Any] | None = None


class TurnContext(msgspec.Struct, frozen=True):
    """The payload of a ``turn_context`` line."""

    model: str | None = None


Payload = Meta | ResponseItem | Event | Compacted | TurnContext
_SHAPES: Final[dict[str, type[Any]]] = {
    "session_meta": Meta,
    "response_item": ResponseItem,
    "event_msg": Event,
    "compacted": Compacted,
    "turn_context": TurnContext,
}


def parse_line(value: dict[str, Any]) -> Payload | None:
    """Return what the line says; ``None`` for a line of another kind or shape."""
    kind, payload = value.get("type"), value.get("payload")
    if payload is None and is_word(kind, _BARE_TYPES):
        kind, payload = "response_item", value
    elif kind is None and is_old_header(value):
        kind, payload = "session_meta", value
    shape = _SHAPES.get(kind) if isinstance(kind, str) else None
    return None if shape is None else convert(payload, shape)


def convert(value: Any, shape: type[Any]) -> Any:
    """Return ``value`` as a struct of this ``shape``; ``None`` if it is of another."""
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError:
        return None


def is_old_header(value: dict[str, Any]) -> bool:
    """Tell whether this is the header of an older rollout."""
    if "type" in value or value.keys().isdisjoint(("instructions", "git")):
        return False
    return {"id", "timestamp"} <= value.keys()


def is_line(value: dict[str, Any]) -> bool:
    """Tell whether this is a line of a rollout, and of nothing else."""
    if is_word(value.get("type"), _SHAPES):
        return "timestamp" in value and isinstance(value.get("payload"), dict)
    return is_old_header(value) or value.get("record_type") == "state"


def line_ms(value: dict[str, Any]) -> int | None:
    """Return the line's time in unix ms."""
    return stamp_ms(value.get("timestamp"))


def uuid_in(stem: str) -> str | None:
    """Return the UUID that a rollout's name ends in."""
    found = _UUID_AT_END.search(stem)
    return None if found is None else found[0]
